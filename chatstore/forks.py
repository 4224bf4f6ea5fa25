"""What must be new in a forked child: locks that another thread held, threads, and connections.

This module knows only that a process was forked. An object that holds such things calls `renewed_in_child` once and
has a method ``_renew``.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Something that can begin anew in a forked child."""

    def _renew(self) -> None: ...


_things: WeakSet[Renewable] = WeakSet()


def renewed_in_child(thing: Renewable) -> None:
    """Call ``thing._renew()`` in every child this process forks, as long as *thing* lives."""
    _things.add(thing)


def _in_child() -> None:
    for thing in list(_things):
        thing._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
