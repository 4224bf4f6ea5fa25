"""SQLite: what chatstore does there in its own way.

Knows its types and errors, its full text (an FTS5 table of words) and how a migration has it to itself;
refuses to know sessions and messages beyond the columns it is handed. ``sqlite_engine.py`` opens it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Float,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    column,
    exists,
    func,
    insert,
    select,
    table,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError

from chatstore import words
from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects import options, sqlite_engine
from chatstore.backends.sql.dialects.base import (
    MESSAGES,
    SEARCH_TABLE,
    Asked,
    Dialect,
    FullText,
    Indexing,
    Kind,
    Upsert,
    insert_by,
    no_url,
)
from chatstore.backends.sql.dialects.migrating import Waiting, begun
from chatstore.backends.sql.dialects.sqlite_engine import BUSY_SECONDS
from chatstore.errors import NotSupported, SchemaError
from chatstore.records import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

    from chatstore.words import Query

#: The FTS5 table.
SEARCH_WORDS = f"{SEARCH_TABLE}_words"
_EPOCH, _MILLISECOND = datetime(1, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
#: Numbers that each millisecond has.
_NUMBERS = 1 << 14
#: Pages of the index that are merged in one transaction.
_PAGES = 200
#: Terms of a query that the index is asked for.
_TERMS = 64
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


class _FTS5(FullText):
    """A virtual table of words without their text, and a table that says whose they are.

    A message's words stand under a number that is never given twice, while SQLite gives a deleted message's id to the
    next one. What is indexed again gets a new number, and the old one belongs to nobody. Numbers grow with the time of
    the message, so that the newest are found first, without looking at the others.
    """

    #: What FTS5 keeps behind it, too.
    tables = (
        SEARCH_TABLE,
        SEARCH_WORDS,
        *(f"{SEARCH_WORDS}_{part}" for part in ("data", "idx", "docsize", "config")),
    )

    def is_possible(self, connection: sa.Connection) -> bool:
        """Tell whether this build of SQLite has FTS5."""
        return "fts5" in connection.exec_driver_sql("PRAGMA module_list").scalars().all()

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        found = connection.exec_driver_sql(
            f"SELECT count(*) FROM {_within(connection, schema)}sqlite_master WHERE name IN (?, ?)",  # noqa: S608 -- quoted
            (SEARCH_TABLE, SEARCH_WORDS),
        )
        return bool(found.scalar_one() == len((SEARCH_TABLE, SEARCH_WORDS)))

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        numbers, fts = (qualify(here, name, schema) for name in (SEARCH_TABLE, SEARCH_WORDS))
        return [
            (
                f"CREATE TABLE IF NOT EXISTS {numbers} (number INTEGER NOT NULL PRIMARY KEY, "
                f"message INTEGER NOT NULL UNIQUE REFERENCES {MESSAGES} (id) ON DELETE CASCADE)"
            ),
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {fts} USING fts5(words, content='', tokenize='ascii')",
        ]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        return [
            f"DROP TABLE IF EXISTS {qualify(here, name, schema)}" for name in (SEARCH_WORDS, SEARCH_TABLE)
        ]

    def write(self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]) -> None:
        from chatstore.backends.sql import execution  # which knows the dialects

        numbers, fts = self._tables(schema)
        # FTS5 writes a part of its index whenever a number is not higher than the one before.
        numbered = sorted(self._numbered(connection, schema, lines))
        belongs = insert(numbers).prefix_with("OR REPLACE")
        execution.prepare(belongs, connection.dialect, ("number", "message")).insert(
            connection, [(number, line.message) for number, line in numbered]
        )
        execution.prepare(insert(fts), connection.dialect, ("rowid", "words")).insert(
            connection, [(number, line.words) for number, line in numbered]
        )

    def _numbered(
        self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]
    ) -> Iterator[tuple[int, Indexing]]:
        """Give each of *lines* a number that no other had, in the order of their times, then their own."""
        numbers = table(f"{SEARCH_WORDS}_docsize", column("id"), schema=schema).c.id
        first = {moment: _first_number(moment) for moment in {line.created_at for line in lines}}
        wanted, last = [], -1
        for line in sorted(lines, key=lambda line: first[line.created_at]):
            last = max(last + 1, first[line.created_at])
            wanted.append((last, line))
        each = func.json_each(json.dumps([number for number, _ in wanted])).table_valued("value")
        if connection.scalar(select(numbers).where(numbers.in_(select(each.c.value))).limit(1)) is None:
            yield from wanted
            return
        last = -1
        for number, together in groupby(
            (line for _, line in wanted), key=lambda line: first[line.created_at]
        ):
            given = [*together]
            free = self._free(connection, numbers, max(last + 1, number), len(given))
            for last, line in enumerate(given, free):
                yield last, line

    def _free(self, connection: sa.Connection, numbers: Any, start: int, count: int) -> int:
        """Return from where on *count* numbers are free: behind all of the millisecond of *start*."""
        while True:
            end = max((start | (_NUMBERS - 1)) + 1, start + count)
            taken = connection.scalar(select(func.max(numbers)).where(numbers >= start, numbers < end))
            if taken is None:
                return start
            start = taken + 1

    def tidy(self, connection: sa.Connection, schema: str | None, *, begun: bool) -> bool:
        """Merge the parts of the index, which each search reads: all into one, once the others make up a tenth of all.

        FTS5 does so with a few pages at a time, from a negative number on (https://sqlite.org/fts5.html#the_merge_command).
        """
        _, fts = self._tables(schema)
        if not begun:
            parts = table(f"{SEARCH_WORDS}_idx", column("segid"), schema=schema)
            sizes = connection.scalars(select(func.count()).select_from(parts).group_by(parts.c.segid)).all()
            if 10 * (sum(sizes) - max(sizes, default=0)) <= sum(sizes):
                return False
        changes = select(func.total_changes())
        before = connection.scalar(changes) or 0
        merge = insert(fts).values({SEARCH_WORDS: "merge", "rank": _PAGES if begun else -_PAGES})
        connection.execute(merge)
        return (connection.scalar(changes) or 0) - before > 1

    def asks_for(self, query: Query, marks: Sequence[str]) -> str:
        """Write it in FTS5's language, in which words of letters and digits are words."""
        wanted = [_in_fts5(term) for term in query.wanted[:_TERMS]]
        said = f"({' AND '.join(wanted)})"
        if unwanted := [_in_fts5(term) for term in query.unwanted[:_TERMS] if words.is_exact(term)]:
            said = f"({said} NOT ({' OR '.join(unwanted)}))"
        return " AND ".join([*(f'"{mark}"' for mark in marks), f'({said} OR "{words.MORE}")'])

    def select(self, asked: Asked) -> sa.Select[Any]:
        """Narrow it by FTS5, which tells no count without its text."""
        numbers, fts = self._tables(asked.schema)
        matching = fts.c[SEARCH_WORDS].op("MATCH")(bindparam("asked", type_=Text()))
        narrowed = (matching, numbers.c.number == fts.c.rowid, asked.messages.c.id == numbers.c.message)
        return (
            asked.found.where(*narrowed).order_by(fts.c.rowid.desc()).limit(bindparam("n", type_=Integer()))
        )

    def _tables(self, schema: str | None) -> tuple[Any, Any]:
        numbers = table(SEARCH_TABLE, column("number"), column("message"), schema=schema)
        columns: list[Any] = [column(name) for name in ("rowid", "words", "rank", SEARCH_WORDS)]
        return numbers, table(SEARCH_WORDS, *columns, schema=schema)


def _in_fts5(term: words.Term) -> str:
    term = words.in_index(term)
    return f'"{" ".join(term.words)}"{"*" if term.begins else ""}'


def _first_number(moment: datetime | str) -> int:
    """Return the first of the numbers of a millisecond."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    moment = moment.replace(tzinfo=UTC)
    return int((moment - _EPOCH) / _MILLISECOND) * _NUMBERS


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
    embedded=True,
    begin=_BEGIN,
    isolation="SERIALIZABLE",
    keeps_cursors=False,  # a new one costs next to nothing, and an open one may hold a lock
    moments_are_text=True,
    id_type=Integer(),  # an INTEGER primary key is the rowid itself
    copies_tables=True,
    transactional_ddl=True,
)
