"""The record of this backend: what `connect` and the command line ask it; see `chatstore.backend.Backend`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatstore.backend import Backend
from chatstore.backends.file.url import parse_url
from chatstore.contract import STATES

if TYPE_CHECKING:
    from chatstore.repository import Repository


def _open(target: Any, schema: str | None) -> Repository:  # noqa: ARG001 - folders have none
    from chatstore.backends.file.directory import FileRepository

    return FileRepository(parse_url(target))


def _path(url: str) -> Path:
    return Path(parse_url(url))


BACKEND = Backend(open=_open, path=_path, denied=STATES)
