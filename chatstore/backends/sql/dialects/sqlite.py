"""SQLite: what chatstore does there in its own way.

Knows its types and errors, its full text (an FTS5 table kept by triggers) and how a migration has it to itself;
refuses to know sessions and messages beyond the columns it is handed. ``sqlite_engine.py`` opens it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Integer, Text, and_, cast, column, exists, func, select, table, type_coerce
from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects import sqlite_engine
from chatstore.backends.sql.dialects.base import MESSAGES, Dialect, FullText, Kind, Upsert, insert_by, no_url
from chatstore.backends.sql.dialects.migrating import begun, poll
from chatstore.errors import SchemaError
from chatstore.messages import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

    from chatstore.arguments import SearchFilter

#: The FTS5 table; its rowid is the message's ``id``.
SEARCH_TABLE = "chatstore_messages_fts"
#: What keeps it in step.
SEARCH_TRIGGERS = tuple(f"{SEARCH_TABLE}_{event}" for event in ("insert", "delete", "update"))
_BEGIN = "BEGIN IMMEDIATE"
_TABLES = ("chatstore_sessions", MESSAGES)
_CODES: dict[int, Kind] = {
    sqlite3.SQLITE_BUSY: "busy", sqlite3.SQLITE_LOCKED: "busy", sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_FULL: "full", sqlite3.SQLITE_TOOBIG: "too_large", sqlite3.SQLITE_CANTOPEN: "refused",
    sqlite3.SQLITE_NOTADB: "no_database", sqlite3.SQLITE_CORRUPT: "damaged", sqlite3.SQLITE_PERM: "refused",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "duplicate", sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "duplicate",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "duplicate", sqlite3.SQLITE_CONSTRAINT: "other",
}  # fmt: skip
_NOTE = (
    "search on SQLite holds combining marks as part of their word, so that an e and an accent are not found by e, and "
    "folds case by a table of its own, which differs from Python's for a few letters (\u0130, \u017f)"
)


class _FTS5(FullText):
    """A virtual table over the content."""

    #: What FTS5 keeps behind it.
    tables = (
        SEARCH_TABLE,
        *(f"{SEARCH_TABLE}_{part}" for part in ("data", "idx", "content", "docsize", "config")),
    )

    def is_possible(self, connection: sa.Connection) -> bool:
        """Tell whether this build of SQLite has FTS5."""
        return "fts5" in connection.exec_driver_sql("PRAGMA module_list").scalars().all()

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        found = connection.exec_driver_sql(
            f"SELECT count(*) FROM {_within(connection, schema)}sqlite_master WHERE name IN (?, ?, ?, ?)",  # noqa: S608 -- quoted
            (SEARCH_TABLE, *SEARCH_TRIGGERS),
        )
        return bool(found.scalar_one() == 1 + len(SEARCH_TRIGGERS))

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        fts = qualify(here, SEARCH_TABLE, schema)
        tokens = "unicode61 remove_diacritics 0"
        settings = f"content, content='{MESSAGES}', content_rowid='id', tokenize=\"{tokens}\""
        return [
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {fts} USING fts5({settings})",
            *self.triggers(here, schema),
            f"INSERT INTO {fts}({SEARCH_TABLE}) VALUES ('rebuild')",  # noqa: S608 -- constants
        ]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        triggers = [f"DROP TRIGGER IF EXISTS {qualify(here, name, schema)}" for name in SEARCH_TRIGGERS]
        return [*triggers, f"DROP TABLE IF EXISTS {qualify(here, SEARCH_TABLE, schema)}"]

    def triggers(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the triggers, whose bodies name tables of their own database only, without a schema."""
        into = f"INSERT INTO {SEARCH_TABLE}"
        add = f"{into}(rowid, content) VALUES (new.id, new.content);"
        remove = f"{into}({SEARCH_TABLE}, rowid, content) VALUES ('delete', old.id, old.content);"
        events = {
            "insert": ("INSERT", add),
            "delete": ("DELETE", remove),
            "update": ("UPDATE OF content", remove + " " + add),
        }
        return [
            f"CREATE TRIGGER IF NOT EXISTS {qualify(here, f'{SEARCH_TABLE}_{name}', schema)} "
            f"AFTER {event} ON {MESSAGES} BEGIN {body} END"
            for name, (event, body) in events.items()
        ]

    def select(
        self, found: sa.Select[Any], messages: sa.Table, wanted: SearchFilter, schema: str | None
    ) -> sa.Select[Any]:
        """Ask FTS5, whose query language quotes a literal word by double quotes."""
        fts = table(SEARCH_TABLE, column("rowid"), column("rank"), column(SEARCH_TABLE), schema=schema)
        query = " ".join(f'"{word}"' for word in wanted.words)
        matching = found.add_columns(-fts.c.rank).where(
            fts.c.rowid == messages.c.id, fts.c[SEARCH_TABLE].op("MATCH")(query)
        )
        return matching.order_by(fts.c.rank, messages.c.id.desc()).limit(wanted.limit)


@dataclass(frozen=True, kw_only=True)
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

    def is_memory(self, url: sa.URL) -> bool:
        return sqlite_engine.is_memory(url)

    def path(self, url: sa.URL) -> Path | None:
        return sqlite_engine.path(url)

    def begins_explicitly(self, url: sa.URL) -> bool:  # noqa: ARG002
        return True

    def open(self, url: sa.URL, options: dict[str, Any], *, look_only: bool = False) -> sa.Engine:
        return sqlite_engine.make(url, options, wal=not look_only)

    def begin_for_savepoint(self, connection: sa.Connection) -> None:
        """Begin the transaction that SQLAlchemy thinks is open: the driver begins none before a SAVEPOINT.

        Without it the savepoint would be the transaction, and releasing it would commit behind the caller's back.
        """
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            connection.exec_driver_sql(_BEGIN)

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:
        code = getattr(error, "sqlite_errorcode", None)
        known = _CODES.get(code, _CODES.get(code & 0xFF)) if isinstance(code, int) else None
        if known is None and any(said in str(error) for said in ("no such table", "no such column")):
            return "no_table"
        return known

    # ---- column types

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        return JSON()

    # ---- columns in statements

    def read_flag(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return type_coerce(col, Integer)

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        """Cut the text: the date functions round to milliseconds, and have none for the last one of the year 9999."""
        written = type_coerce(moment, Text)
        return [cast(func.substr(written, *part), Integer) for part in ((1, 4), (6, 2), (9, 2))]

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
    def alone(self, connection: sa.Connection, schema: str | None) -> Iterator[None]:
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
            poll(lambda: self._begin_immediate(connection))
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
    check = f"PRAGMA {_within(connection, schema)}foreign_key_check(chatstore_messages)"
    return len(connection.exec_driver_sql(check).all())


def _tables(connection: sa.Connection, schema: str | None) -> set[str]:
    where = f"{_within(connection, schema)}sqlite_master"
    found = connection.exec_driver_sql(
        f"SELECT name FROM {where} WHERE type = 'table' AND name IN (?, ?)",  # noqa: S608 -- quoted above
        _TABLES,
    )
    return set(found.scalars())


def _within(connection: sa.Connection, schema: str | None) -> str:
    return f"{qualify(connection.dialect, schema, None)}." if schema else ""


def _narrow_metadata(metadata: sa.Column[Any], wanted: dict[str, Any]) -> sa.ColumnElement[bool]:
    def has(key: str) -> sa.ColumnElement[bool]:
        each = func.json_each(type_coerce(metadata, Text)).table_valued("key", "value")
        return exists(select(each.c.key).where(each.c.key == key))

    return and_(*map(has, wanted))


SQLITE = _SQLite(
    name="sqlite",
    upsert=Upsert(insert_by("sqlite")) if sqlite3.sqlite_version_info >= (3, 35) else None,
    full_text=_FTS5(),
    narrow_metadata=_narrow_metadata,
    notes=(_NOTE,),
    embedded=True,
    begin=_BEGIN,
    isolation="SERIALIZABLE",
    keeps_cursors=False,  # a new one costs next to nothing, and an open one may hold a lock
    moments_are_text=True,
    id_type=Integer(),  # an INTEGER primary key is the rowid itself
    copies_tables=True,
    transactional_ddl=True,
)
