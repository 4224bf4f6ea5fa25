"""What a fork must not cut in two, and what must be new in the child.

This module knows only that a process forks. Work that is only half there in a child, or holds what must not be there,
runs inside `undivided`, for which a fork waits; or under a lock of its own that the fork takes (`taken_by_forks`). An
object that has locks, threads or connections calls `renewed_in_child` once and has a method ``_renew``.
"""

from __future__ import annotations

# Before the handlers below: handlers of a fork run in the opposite order, so that logging's lock is still free while a
# thread that is waited for logs something, and is new in the child when something is logged there.
import logging  # noqa: F401
import os
import sys
from threading import Condition, get_ident
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock

#: Seconds that a fork waits for what is undivided in other threads: as long as these may wait for a lock of SQLite.
PATIENCE = 30.0


class Renewable(Protocol):
    """Something that can begin anew in a forked child."""

    def _renew(self) -> None: ...


class Undivided:
    """A context: a fork waits until other threads have left it, and holds them off until it is over."""

    def __init__(self) -> None:
        """Begin with nobody inside, and no fork."""
        self._renew()

    def _renew(self) -> None:
        self._changed = Condition()
        self._inside = set[int]()
        self._forking: list[int] = []

    def __enter__(self) -> None:
        me = get_ident()
        try:
            self._inside.add(me)  # then look: who forks says so first, and then looks who is inside
            if self._forking:
                self._queue(me)
        except BaseException:  # a signal's, say
            self._inside.discard(me)
            raise

    def __exit__(self, *_: object) -> None:
        self._inside.discard(get_ident())
        if self._forking:
            with self._changed:
                self._changed.notify_all()

    def _queue(self, me: int) -> None:
        with self._changed:
            while self._forking and me not in self._forking:
                self._inside.discard(me)
                self._changed.notify_all()
                self._changed.wait()
                self._inside.add(me)

    def hold(self) -> bool:
        """Wait until nobody is inside, for `PATIENCE` seconds at most, and tell whether that is so now.

        A thread that forks where it is inside itself would wait for itself: nobody does.
        """
        me = get_ident()
        with self._changed:
            self._forking.append(me)
            return self._changed.wait_for(lambda: not self._others(me), PATIENCE) and me not in self._inside

    def _others(self, me: int) -> set[int]:
        # An exception from outside may have ended a thread between the two lines of `__enter__`.
        return (self._inside & sys._current_frames().keys()) - {me}

    def let_go(self) -> None:
        """Let those in who were held off."""
        me = get_ident()
        with self._changed:
            if me in self._forking:  # a signal may have ended `hold` before it began
                self._forking.remove(me)
            self._changed.notify_all()


undivided = Undivided()
_things: WeakSet[Renewable] = WeakSet()
_closing: list[Callable[[bool], None]] = []
_locks: WeakSet[RLock] = WeakSet()
_taken: list[RLock] = []


def renewed_in_child(thing: Renewable) -> None:
    """Call ``thing._renew()`` in every child this process forks, as long as *thing* lives."""
    _things.add(thing)


def before_forks(close: Callable[[bool], None]) -> None:
    """Call *close* before every fork of this process, with whether nothing `undivided` is going on."""
    _closing.append(close)


def taken_by_forks(lock: RLock) -> None:
    """Have every fork of this process wait for *lock*, and hold it: nothing that it guards is half there in a child."""
    _locks.add(lock)


def _before() -> None:
    quiet = undivided.hold()
    for close in _closing:
        close(quiet)
    _taken.extend(lock for lock in list(_locks) if lock.acquire(timeout=PATIENCE))


def _give_back() -> None:
    while _taken:
        _taken.pop().release()


def _in_parent() -> None:
    _give_back()
    undivided.let_go()


def _in_child() -> None:
    _give_back()
    undivided._renew()
    for thing in list(_things):
        thing._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
