"""Engines for SQLite: connections that are prepared, roll back, and are never carried over a fork.

Knows sqlite3, its pragmas and SQLAlchemy's events; refuses to know what is stored.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

from chatstore.backends.sql.dialects.crossing import Watched, watch
from chatstore.backends.sql.lending import TOLD, LendingPool
from chatstore.deadlines import left
from chatstore.errors import Invalid

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

#: Seconds a writer waits for another writer's lock before it gives up.
BUSY_SECONDS = 30
SYNCHRONOUS = {"off": 0, "normal": 1, "full": 2, "extra": 3}


def is_memory(url: URL) -> bool:
    """Tell whether *url* is a database that lives in the process only."""
    return url.database in (None, "", ":memory:") or "mode=memory" in str(url)


def path(url: URL) -> Path | None:
    """Return the file of *url*; None for a database in memory."""
    if is_memory(url) or not url.database:
        return None
    return Path(url.database.removeprefix("file:"))


def synchronous(url: URL) -> int:
    """Return the level of the pragma that *url* asks for. Raises `Invalid`."""
    level = str(url.query.get("synchronous", "full")).lower()
    if level not in SYNCHRONOUS:
        msg = f"synchronous={level!r} is not a level SQLite has: use one of {', '.join(SYNCHRONOUS)}"
        raise Invalid(msg)
    return SYNCHRONOUS[level]


def make(url: URL, options: dict[str, Any], *, wal: bool) -> Engine:
    """Return an engine for *url*; a file is switched to WAL if *wal*."""
    level = synchronous(url)
    url = url.difference_update_query(["synchronous"])
    options.setdefault("connect_args", {} if "timeout" in url.query else {"timeout": BUSY_SECONDS})
    if is_memory(url):
        options["poolclass"] = StaticPool
        options["connect_args"] = {"check_same_thread": False, "factory": _InMemory}
    else:
        options.setdefault("poolclass", LendingPool)
    in_file = path(url) is not None
    watched = in_file and url.get_driver_name() == "pysqlite"
    if watched:
        options["connect_args"] = {**options["connect_args"], "factory": Watched}
    engine = create_engine(url, **options)
    if is_memory(url):
        _keep_one(engine)
    if watched:
        watch(engine)

    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[TOLD] = BUSY_SECONDS  # or less, where the URL says so, which then stays
        _prepare_sqlite(connection, level, in_file=wal and in_file)

    event.listen(engine, "connect", connected)
    event.listen(engine, "close", _roll_back)
    return engine


def wait_for(lent: Any, seconds: float) -> None:
    """Have the connection that a pool has *lent* wait *seconds* for a lock."""
    lent.driver_connection.execute(f"PRAGMA busy_timeout={round(1000 * seconds)}")


def _roll_back(connection: Any, _record: object) -> None:
    """End what is open: SQLite closes a connection only when nobody holds its cursors, as an error's frames do."""
    connection.rollback()


class _InMemory(sqlite3.Connection):
    """A database in memory, which ends with its connection: closing rolls back, `end` closes.

    SQLAlchemy closes a connection that Ctrl-C came upon.
    """

    def close(self) -> None:
        self.rollback()

    def end(self) -> None:
        super().close()


def _keep_one(engine: Engine) -> None:
    """Have *engine* use one connection until it is disposed of, as an interrupt left it, but for its transaction."""
    kept: list[_InMemory] = []

    def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> _InMemory:
        if not kept:
            kept.append(sqlite3.connect(*arguments, **options))
        return kept[0]

    def lent(connection: _InMemory, _record: object, _proxy: object) -> None:
        connection.rollback()

    def disposed(_engine: Engine) -> None:
        while kept:
            kept.pop().end()

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", lent)
    event.listen(engine, "engine_disposed", disposed)


def _prepare_sqlite(connection: Any, synchronous: int, *, in_file: bool) -> None:
    # The driver opens no transaction of its own: without this it would not even begin one for a first SELECT,
    # and BEGIN IMMEDIATE would meet one that is open already.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    if in_file:
        _switch_to_wal(connection)
        connection.execute(f"PRAGMA synchronous={synchronous}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; several processes may do so at once, and SQLite's busy handler does not cover it."""
    until = time.monotonic() + left(BUSY_SECONDS)
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except Exception as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_READONLY:
                return  # it can still be read
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return  # some file systems keep the rollback journal; slower, not wrong
