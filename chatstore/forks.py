"""What a fork must not cut in two, and what must be new in the child.

This module knows only that a process forks. Work that is only half there in a child, or holds what must not be there,
runs inside ``with this_thread.undivided:``, which a fork takes from every other thread first; or under a lock of its
own that the fork takes too (`taken_by_forks`). An object that has locks, threads or connections calls
`renewed_in_child` once and has a method ``_renew``.
"""

from __future__ import annotations

# Before the handlers below: handlers of a fork run in the opposite order, so that logging's lock is still free while a
# thread that is waited for logs something, and is new in the child when something is logged there.
import logging  # noqa: F401
import os
import time
from threading import RLock, local
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a fork waits for what is undivided in other threads: as long as these may wait for a lock of SQLite.
PATIENCE = 30.0


class Renewable(Protocol):
    """Something that can begin anew in a forked child."""

    def _renew(self) -> None: ...


_things: WeakSet[Renewable] = WeakSet()
_closing: list[Callable[[bool], None]] = []
#: Held where `_own` and `_locks` grow: a thread that is new while a process forks waits until that is over.
_growing: Any = RLock()
#: The lock of each thread's own, and those of things, which are taken when no thread is inside its own any more.
_own: WeakSet[Any] = WeakSet()
_locks: WeakSet[Any] = WeakSet()


class _Thread(local):
    """What each thread has of its own: a lock that only forks take from it, and what its own fork has taken."""

    def __init__(self) -> None:
        self.undivided: Any = RLock()
        self.taken = list[Any]()
        with _growing:
            _own.add(self.undivided)


this_thread = _Thread()


def renewed_in_child(thing: Renewable) -> None:
    """Call ``thing._renew()`` in every child this process forks, as long as *thing* lives."""
    _things.add(thing)


def before_forks(close: Callable[[bool], None]) -> None:
    """Call *close* before every fork of this process, with whether nothing `undivided` is going on."""
    _closing.append(close)


def taken_by_forks(lock: RLock) -> None:
    """Have every fork of this process wait for *lock*, and hold it: nothing that it guards is half there in a child."""
    with _growing:
        _locks.add(lock)


def _before() -> None:
    until = time.monotonic() + PATIENCE
    # A thread that forks inside its own would wait for itself: it is told from one that is outside.
    quiet = not this_thread.undivided._is_owned()
    _take(_growing, until)
    for lock in list(_own):
        quiet = _take(lock, until) and quiet
    for close in _closing:
        close(quiet)
    for lock in list(_locks):
        _take(lock, time.monotonic() + PATIENCE)


def _take(lock: Any, until: float) -> bool:
    this_thread.taken.append(lock)  # first: an interrupt may come in between
    return bool(lock.acquire(timeout=max(until - time.monotonic(), 0)))


def _give_back() -> None:
    taken = this_thread.taken
    while taken:
        lock = taken.pop()
        if lock._is_owned():
            lock.release()


def _in_child() -> None:
    _give_back()
    for thing in list(_things):
        thing._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_give_back, after_in_child=_in_child)
