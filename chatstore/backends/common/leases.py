"""`Registry`: one place for each address in a process, shared by all repositories on it and counted by them.

This module knows counts and forks; it refuses to know what a place is. A forked child begins with places of its own.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator


class Counted(Protocol):
    """What has users."""

    users: int


P = TypeVar("P", bound=Counted)


class Registry(Generic[P]):
    """The places in use; safe for threads."""

    def __init__(self) -> None:
        """Begin empty."""
        self._places: dict[tuple[Hashable, int], P] = {}
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock = Lock()  # another thread of the parent may have held it

    def __iter__(self) -> Iterator[P]:
        return iter(self._places.values())

    def lent(self, key: Hashable, make: Callable[[], P]) -> P:
        """Return the place of *key* in this process, made where there is none, counted once more."""
        at = key, os.getpid()
        with self._lock:
            place = self._places.get(at)
            if place is None:
                place = self._places[at] = make()
            place.users += 1
            return place

    def given_back(self, place: P) -> bool:
        """Count one user less; forget *place* with the last, and tell whether this was the last."""
        with self._lock:
            place.users -= 1
            if place.users > 0:
                return False
            for key in [key for key, kept in self._places.items() if kept is place]:
                del self._places[key]
            return True
