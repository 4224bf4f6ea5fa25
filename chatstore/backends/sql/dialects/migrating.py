"""Taking turns in a migration: waiting for one's own, and transactions that are begun, committed and rolled back.

Knows connections only; refuses to know how a database keeps others out, which its dialect says.

Waiters poll. A waiter that slept inside the database would hold a snapshot, and an index that is built
concurrently waits for every snapshot: a deadlock that several libraries shipped.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from chatstore.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

#: Seconds to wait for somebody else's migration.
WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.05


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


def poll(attempt: Callable[[], bool]) -> None:
    """Repeat *attempt* until it succeeds; raise `StorageUnavailable` after `WAIT_SECONDS`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not attempt():
        if time.monotonic() > deadline:
            raise StorageUnavailable(
                f"another process has been migrating this database for {WAIT_SECONDS:.0f} s: wait for it or "
                "end it, then run this again"
            )
        time.sleep(_POLL_SECONDS)


def in_autocommit(connection: Connection) -> bool:
    """Tell whether each statement commits by itself, where the driver says so in DB-API's usual place."""
    return getattr(connection.connection.dbapi_connection, "autocommit", False) is True
