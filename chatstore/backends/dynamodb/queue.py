"""Writers of one process queue at their session, because a race that is lost costs more than a moment's waiting.

This is a courtesy: nothing is wrong if somebody does not wait. Between processes the conditions of the commits decide.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from chatstore.deadlines import left
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds after which a writer goes ahead all the same: the one in front may be waiting for the service.
PATIENCE = 5.0


class Queue:
    """A lock for each session that somebody writes to at this moment."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock, self._places = Lock(), dict[str, tuple[Lock, list[None]]]()

    @contextmanager
    def at(self, session_id: str) -> Iterator[None]:
        """Wait for the turn at a session, for a few seconds at most."""
        with self._lock:
            turn, people = self._places.setdefault(session_id, (Lock(), []))
            people.append(None)
        mine = turn.acquire(timeout=left(PATIENCE))
        try:
            yield
        finally:
            if mine:
                turn.release()
            with self._lock:
                people.pop()
                if not people:
                    self._places.pop(session_id, None)
