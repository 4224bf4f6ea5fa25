"""Who migrates, when several want to at once: one, and the others look again when it is done.

Knows how each database lets one connection exclude others, and how a migration begins and ends there. Refuses
to know what is migrated.

Waiters poll. A waiter that slept inside the database would hold a snapshot, and an index that is built
concurrently waits for every snapshot: a deadlock that several libraries shipped.

A connection that is in a transaction already is its caller's: nothing is committed or rolled back on it, and
the caller's commit is what lets the others in. Databases that are not named here get a plain transaction and
no lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects import kind_of
from chatstore.errors import SchemaError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

#: Seconds to wait for somebody else's migration.
WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.05
#: The advisory lock on PostgreSQL, a number of our own; such locks are per database.
_LOCK = int.from_bytes(hashlib.sha256(b"chatstore migrations").digest()[:8], signed=True)
_TABLES = ("chatstore_sessions", "chatstore_messages")


@contextlib.contextmanager
def alone(connection: Connection, *, schema: str | None = None) -> Iterator[None]:
    """Be the only one who migrates, in one transaction where the database can roll DDL back.

    Raises `StorageUnavailable` when somebody else's migration takes longer than `WAIT_SECONDS`.
    """
    locks = {"postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql, "sqlite": _sqlite}
    with locks.get(connection.dialect.name, _without_lock)(connection, schema):
        yield


@contextlib.contextmanager
def _without_lock(connection: Connection, _schema: str | None) -> Iterator[None]:
    with _transaction(connection):
        yield


@contextlib.contextmanager
def _postgresql(connection: Connection, _schema: str | None) -> Iterator[None]:
    """Take the lock for the transaction; it ends with it, after a crash and behind a pooler too."""
    ours = not connection.in_transaction()

    def attempt() -> bool:
        taken = bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))))
        if ours and not taken:
            connection.rollback()
        return taken

    with _leaving_autocommit(connection):
        _poll(attempt)
        with _begun(connection) if ours else contextlib.nullcontext():
            yield


@contextlib.contextmanager
def _leaving_autocommit(connection: Connection) -> Iterator[None]:
    """Give a connection in AUTOCOMMIT real transactions meanwhile."""
    if not in_autocommit(connection):
        yield
        return
    if connection.in_transaction():
        raise SchemaError(
            "a migration needs a transaction, and in AUTOCOMMIT what was begun is none: pass a connection that has "
            "not begun one, or one that is not in AUTOCOMMIT"
        )
    connection.execution_options(isolation_level=connection.default_isolation_level)
    try:
        yield
    finally:
        connection.execution_options(isolation_level="AUTOCOMMIT")


def in_autocommit(connection: Connection) -> bool:
    """Tell whether each statement commits by itself, where the driver says so in DB-API's usual place."""
    return getattr(connection.connection.dbapi_connection, "autocommit", False) is True


@contextlib.contextmanager
def _mysql(connection: Connection, schema: str | None) -> Iterator[None]:
    """Take a named lock; the server frees it when the connection ends, however it ends."""
    ours = not connection.in_transaction()
    database = schema or connection.scalar(select(func.database()))
    name = "chatstore:" + hashlib.sha256(str(database).encode()).hexdigest()[:40]
    _poll(lambda: connection.scalar(select(func.get_lock(name, 0))) == 1)
    try:
        # A snapshot from before the lock would show an old version table, and a version that is written but
        # not committed would be invisible to the next in line. A change of a table commits here in any case.
        connection.rollback() if ours else connection.exec_driver_sql("COMMIT")
        with _transaction(connection):
            yield
        if not ours:
            connection.exec_driver_sql("COMMIT")
    finally:
        with contextlib.suppress(SQLAlchemyError):  # the connection is gone, and with it the lock
            connection.scalar(select(func.release_lock(name)))
            if ours:
                connection.rollback()


@contextlib.contextmanager
def _sqlite(connection: Connection, schema: str | None) -> Iterator[None]:
    """Take the write lock first of all, with foreign keys off, because tables are altered by copying them.

    With foreign keys on, dropping the old copy of the sessions would delete the messages; a rename would
    follow them into views and triggers. Both switches work outside a transaction only, and are put back
    afterwards.
    """
    if connection.in_transaction():
        if _pragma(connection, "foreign_keys") and _tables(connection, schema):
            raise SchemaError(
                "SQLite cannot switch foreign keys off inside a transaction: upgrade on a connection that "
                "has not begun one, or on the URL"
            )
        yield
        return
    switches = {name: _pragma(connection, name) for name in ("foreign_keys", "legacy_alter_table")}
    _pragma(connection, "foreign_keys", 0)
    _pragma(connection, "legacy_alter_table", 1)
    try:
        _poll(lambda: _begin_immediate(connection))
        with _begun(connection):
            before = _violations(connection, schema)
            yield
            if broken := _violations(connection, schema) - before:
                raise SchemaError(
                    f"the migration left {broken} messages without their session and was rolled back: "
                    "please report it"
                )
    finally:
        for name, value in switches.items():
            _pragma(connection, name, value)


def _begin_immediate(connection: Connection) -> bool:
    """Begin with the write lock; False while somebody else has it."""
    connection.begin()
    try:
        if _driver_in_transaction(connection):  # a listener began one that takes the lock too late
            connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except SQLAlchemyError as error:
        connection.rollback()
        if kind_of(error) != "busy":
            raise
        return False
    return True


def _driver_in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", False))


def _pragma(connection: Connection, name: str, value: int | None = None) -> int:
    """Read or set a switch of SQLite through the driver: SQLAlchemy would begin a transaction first."""
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(f"PRAGMA {name}" if value is None else f"PRAGMA {name}={value:d}")
        row = cursor.fetchone()
        return int(row[0]) if row else 0
    finally:
        cursor.close()


def _violations(connection: Connection, schema: str | None) -> int:
    """Count messages without their session; a host that never switched foreign keys on may have some."""
    if _tables(connection, schema) != set(_TABLES):
        return 0
    check = f"PRAGMA {_within(connection, schema)}foreign_key_check(chatstore_messages)"
    return len(connection.exec_driver_sql(check).all())


def _tables(connection: Connection, schema: str | None) -> set[str]:
    where = f"{_within(connection, schema)}sqlite_master"
    found = connection.exec_driver_sql(
        f"SELECT name FROM {where} WHERE type = 'table' AND name IN (?, ?)",  # noqa: S608 -- quoted above
        _TABLES,
    )
    return set(found.scalars())


def _within(connection: Connection, schema: str | None) -> str:
    return f"{qualify(connection.dialect, schema, None)}." if schema else ""


@contextlib.contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    with contextlib.nullcontext() if connection.in_transaction() else connection.begin():
        yield


@contextlib.contextmanager
def _begun(connection: Connection) -> Iterator[None]:
    """Commit the transaction that has begun, or roll it back on an error."""
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _poll(attempt: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not attempt():
        if time.monotonic() > deadline:
            raise StorageUnavailable(
                f"another process has been migrating this database for {WAIT_SECONDS:.0f} s: wait for it or "
                "end it, then run this again"
            )
        time.sleep(_POLL_SECONDS)
