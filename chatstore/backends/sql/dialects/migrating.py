"""Taking turns in a migration: waiting for one's own, and transactions that are begun, committed and rolled back.

Knows connections only; refuses to know how a database keeps others out, which its dialect says.

Waiters poll. A waiter that slept inside the database would hold a snapshot, and an index that is built
concurrently waits for every snapshot: a deadlock that several libraries shipped.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from chatstore.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

#: Seconds to wait for somebody else: another migration, or an application's transaction that holds a lock.
WAIT_SECONDS = 60.0
#: Seconds that a change of a table may wait for its lock. Whoever comes after it queues behind it, so it gives up, lets
#: them through, and tries again. A migration takes locks one after the other: all of these together end in a second.
LOCK_SECONDS = 0.2
_POLL_SECONDS = 0.05
#: Seconds between two attempts at locks, at least and at most.
_BREATH = (0.25, 1.0)
#: Seconds of waiting after which it is said for whom, and between two such lines.
_SAID_AFTER, _SAID_EVERY = 1.0, 10.0
_log = logging.getLogger("chatstore")


class Waiting:
    """The time that one migration spends on waiting for others."""

    def __init__(self, seconds: float | None = None) -> None:
        """Wait for *seconds* in all, None for `WAIT_SECONDS`."""
        self.seconds = WAIT_SECONDS if seconds is None else seconds
        self._began = time.monotonic()
        self._said: float | None = None

    def poll(self, attempt: Callable[[], bool], who: Callable[[], str]) -> None:
        """Repeat *attempt* until it succeeds; say that *who* is migrating, and raise when time is over."""
        while not attempt():
            self._go_on(who, "another migration runs", "wait for it or end it, then run this again")
            time.sleep(_POLL_SECONDS)

    def breathe(self, who: Callable[[], str]) -> None:
        """Let those through who queued behind a lock that *who* holds; say so, and raise when time is over."""
        self._go_on(
            who,
            "a lock on the tables is held",
            "end that transaction, or wait longer (--wait), then run this again, which goes on from there",
            at_once=True,
        )
        time.sleep(random.uniform(*_BREATH))  # noqa: S311 - jitter

    def _go_on(self, who: Callable[[], str], what: str, advice: str, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if now - self._began >= self.seconds:
            raise StorageUnavailable(f"{what} by {who()} for {self.seconds:g} s: {advice}")
        due = (
            self._began + (0 if at_once else _SAID_AFTER) if self._said is None else self._said + _SAID_EVERY
        )
        if now >= due:
            self._said = now
            left = self._began + self.seconds - now
            _log.warning("waiting, %.0f s more at most: %s by %s", left, what, who())


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Be in a transaction: the one that is open, or a new one."""
    with contextlib.nullcontext() if connection.in_transaction() else connection.begin():
        yield


@contextlib.contextmanager
def begun(connection: Connection) -> Iterator[None]:
    """Commit the transaction that has begun, or roll it back on an error."""
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def in_autocommit(connection: Connection) -> bool:
    """Tell whether each statement commits by itself, where the driver says so in DB-API's usual place."""
    return getattr(connection.connection.dbapi_connection, "autocommit", False) is True
