"""SQLite: what chatstore does there in its own way.

Knows its types and errors, and how a migration has it to itself; refuses to know sessions and messages beyond the
columns it is handed. ``sqlite_search.py`` has its full text, and ``sqlite_engine.py`` opens it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Float,
    Integer,
    Text,
    and_,
    cast,
    exists,
    func,
    select,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.dialects import options, sqlite_engine
from chatstore.backends.sql.dialects.base import (
    MESSAGES,
    Dialect,
    Kind,
    Upsert,
    insert_by,
    no_url,
)
from chatstore.backends.sql.dialects.migrating import Waiting, begun
from chatstore.backends.sql.dialects.sqlite_engine import BUSY_SECONDS
from chatstore.backends.sql.dialects.sqlite_search import FULL_TEXT, within
from chatstore.errors import NotSupported, SchemaError
from chatstore.records import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine


_BEGIN = "BEGIN IMMEDIATE"
_TABLES = ("chatstore_sessions", MESSAGES)
_CODES: dict[int, Kind] = {
    sqlite3.SQLITE_BUSY: "busy", sqlite3.SQLITE_LOCKED: "busy", sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_FULL: "full", sqlite3.SQLITE_TOOBIG: "too_large", sqlite3.SQLITE_CANTOPEN: "refused",
    sqlite3.SQLITE_NOTADB: "no_database", sqlite3.SQLITE_CORRUPT: "damaged", sqlite3.SQLITE_PERM: "refused",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "duplicate", sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "duplicate",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "duplicate", sqlite3.SQLITE_CONSTRAINT: "other",
}  # fmt: skip
_VAGUE = frozenset((sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT))
_WORDS: dict[str, Kind] = {
    "no such table": "no_table", "no such column": "no_table", "has no column named": "no_table",
    "UNIQUE constraint failed": "duplicate",
    "database is locked": "busy", "database table is locked": "busy", "readonly database": "readonly",
    "file is not a database": "no_database", "database disk image is malformed": "damaged",
    "database or disk is full": "full", "unable to open database file": "refused",
}  # fmt: skip


class _SQLite(Dialect):
    """A file, or a database in memory."""

    # ---- URLs and engines

    def complete(self, url: sa.URL, *, asynchronous: bool) -> sa.URL:  # noqa: ARG002
        """Read and write files in threads of our own, whatever driver awaits them; raise `Invalid` for a host."""
        if url.host:
            raise no_url()
        if url.get_driver_name() == "aiosqlite":
            url = url.set(drivername=self.name)
        sqlite_engine.synchronous(url)
        return url

    def refuse(self, url: sa.URL) -> None:
        """Refuse drivers that are not sqlite3, aiosqlite or SQLCipher: libSQL's waits for no lock and has no errors."""
        if url.get_driver_name() not in options.NATIVE:
            msg = (
                f"the driver {url.get_driver_name()!r} of SQLite has neither its locks nor its errors as chatstore "
                "needs them: use sqlite:///FILE, or sqlite+pysqlcipher:// for an encrypted one"
            )
            raise NotSupported(msg)

    def translated(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        options.read(url)
        return url, {}

    def is_memory(self, url: sa.URL) -> bool:
        return sqlite_engine.is_memory(url)

    def path(self, url: sa.URL) -> Path | None:
        return sqlite_engine.path(url)

    def begins_explicitly(self, url: sa.URL) -> bool:  # noqa: ARG002
        return True

    def open(self, url: sa.URL, options: dict[str, Any], *, look_only: bool = False) -> sa.Engine:
        return sqlite_engine.make(url, options, wal=not look_only)

    def limit(self, connection: sa.Connection, seconds: float) -> None:
        """Wait for other processes no longer than *seconds*."""
        sqlite_engine.wait_for(connection.connection, min(seconds, BUSY_SECONDS))

    def begin_for_savepoint(self, connection: sa.Connection) -> None:
        """Begin the transaction that SQLAlchemy thinks is open: the driver begins none before a SAVEPOINT.

        Without it the savepoint would be the transaction, and releasing it would commit behind the caller's back.
        """
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql(_BEGIN)

    def lent(self, kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Have moments that may have been read already, which the fast path must know, too."""
        from chatstore.backends.sql.dialects import lent

        return {"colspecs": lent.moments(kind), "reads_moments": True}, {}

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:
        code = getattr(error, "sqlite_errorcode", None)
        known = _CODES.get(code, _CODES.get(code & 0xFF)) if isinstance(code, int) else None
        if known is not None and code not in _VAGUE:
            return known
        text = str(error)  # SQLCipher has no extended codes, libSQL none at all, but both SQLite's own words
        return next((kind for said, kind in _WORDS.items() if said in text), known)

    # ---- column types

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        return JSON()

    def json_value(self, here: sa.Dialect) -> TypeEngine[Any]:  # noqa: ARG002
        """Not JSON, to which SQLite gives the affinity of numbers: of the text 1.0 it would make 1."""
        return Text()

    # ---- columns in statements

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        """Cut the text: the date functions round to milliseconds, and have none for the last one of the year 9999."""
        written = type_coerce(moment, Text)
        return [cast(func.substr(written, *part), Integer) for part in ((1, 4), (6, 2), (9, 2))]

    def hour(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return cast(func.substr(type_coerce(moment, Text), 12, 2), Integer)

    def seconds_between(
        self, begin: sa.ColumnElement[Any], end: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[Any]:
        days = func.julianday(end, type_=Float) - func.julianday(begin, type_=Float)
        return func.round(days * 86400, 3)

    # ---- promises

    def durability(self, connection: sa.Connection) -> Durability:
        mode, level = (
            str(connection.exec_driver_sql(f"PRAGMA {what}").scalar())
            for what in ("journal_mode", "synchronous")
        )
        if not connection.exec_driver_sql("PRAGMA database_list").all()[0][2]:
            return Durability("none", "a SQLite database in memory ends with its process")
        names = {str(number): name.upper() for name, number in sqlite_engine.SYNCHRONOUS.items()}
        return Durability(
            "machine" if level in {"2", "3"} else "process",
            f"SQLite, journal_mode={mode}, synchronous={names[level]}",
        )

    # ---- migrations

    @contextlib.contextmanager
    def alone(self, connection: sa.Connection, schema: str | None, waiting: Waiting) -> Iterator[None]:
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
        names = ("foreign_keys", "legacy_alter_table", "busy_timeout")
        switches = {name: _pragma(connection, name) for name in names}
        _pragma(connection, "foreign_keys", 0)
        _pragma(connection, "legacy_alter_table", 1)
        try:
            _pragma(connection, "busy_timeout", 0)
            waiting.poll(
                lambda: self._begin_immediate(connection),
                lambda: "another connection to the file, or a writer",
            )
            _pragma(connection, "busy_timeout", switches["busy_timeout"])
            with begun(connection):
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

    def _begin_immediate(self, connection: sa.Connection) -> bool:
        """Begin with the write lock; False while somebody else has it."""
        connection.begin()
        try:
            if _driver_in_transaction(connection):  # a listener began one that takes the lock too late
                connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql(_BEGIN)
        except SQLAlchemyError as error:
            connection.rollback()
            if self.error_kind(getattr(error, "orig", None)) != "busy":
                raise
            return False
        return True


def _driver_in_transaction(connection: sa.Connection) -> bool:
    return bool(getattr(connection.connection.driver_connection, "in_transaction", False))


def _pragma(connection: sa.Connection, name: str, value: int | None = None) -> int:
    """Read or set a switch of SQLite through the driver: SQLAlchemy would begin a transaction first."""
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(f"PRAGMA {name}" if value is None else f"PRAGMA {name}={value:d}")
        row = cursor.fetchone()
        return int(row[0]) if row else 0
    finally:
        cursor.close()


def _violations(connection: sa.Connection, schema: str | None) -> int:
    """Count messages without their session; a host that never switched foreign keys on may have some."""
    if _tables(connection, schema) != set(_TABLES):
        return 0
    check = f"PRAGMA {within(connection, schema)}foreign_key_check(chatstore_messages)"
    return len(connection.exec_driver_sql(check).all())


def _tables(connection: sa.Connection, schema: str | None) -> set[str]:
    where = f"{within(connection, schema)}sqlite_master"
    found = connection.exec_driver_sql(
        f"SELECT name FROM {where} WHERE type = 'table' AND name IN (?, ?)",  # noqa: S608 -- quoted above
        _TABLES,
    )
    return set(found.scalars())


def _narrow_metadata(metadata: sa.Column[Any], wanted: dict[str, Any]) -> sa.ColumnElement[bool]:
    def has(key: str) -> sa.ColumnElement[bool]:
        each = func.json_each(type_coerce(metadata, Text)).table_valued("key", "value")
        return exists(select(each.c.key).where(each.c.key == key))

    return and_(*map(has, wanted))


SQLITE = _SQLite(
    name="sqlite",
    upsert=Upsert(insert_by("sqlite")) if sqlite3.sqlite_version_info >= (3, 35) else None,
    full_text=FULL_TEXT,
    narrow_metadata=_narrow_metadata,
    embedded=True,
    begin=_BEGIN,
    isolation="SERIALIZABLE",
    keeps_cursors=False,  # a new one costs next to nothing, and an open one may hold a lock
    moments_are_text=True,
    id_type=Integer(),  # an INTEGER primary key is the rowid itself
    copies_tables=True,
    transactional_ddl=True,
)
