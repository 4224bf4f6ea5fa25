"""What is asked of a server: the steps that operations yield beside `Pause`, and `sending` carries out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatstore.backends.redis.scripts import Script


class Run(NamedTuple):
    """A script to run. *once*: what it does must not be done twice."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Any]
    once: bool = False


class Many(NamedTuple):
    """Commands to send at once, each of its own, to wherever its key is; answered by a list."""

    commands: Sequence[tuple[Any, ...]]


class Settings(NamedTuple):
    """The question how each server keeps its data; answered by a list of dictionaries."""
