"""What a SQL dialect is to chatstore: one object that is asked, wherever databases differ.

Knows the questions, and the answers that hold for any database SQLAlchemy has a dialect for. Refuses to know one
database by name: each has a module of its own beside this one. "Here" is SQLAlchemy's dialect of the same database,
which knows what its server told it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sqlalchemy import DateTime, String, Text, create_engine, extract, type_coerce

from chatstore.backends.sql.dialects.migrating import transaction
from chatstore.errors import Invalid, MessageTooLarge
from chatstore.messages import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

    from chatstore.arguments import SearchFilter

Kind = Literal[
    "duplicate", "busy", "exhausted", "lost", "readonly", "no_table", "full", "too_large", "refused",
    "no_database", "damaged", "other",
]  # fmt: skip
#: Seconds to wait for a server to accept a connection.
CONNECT_SECONDS = 10
#: Characters up to which a message is within every limit, and is not measured.
UNMEASURED = 200_000
#: The table that is searched.
MESSAGES = "chatstore_messages"
#: The index of a database that has its full text in one.
SEARCH_INDEX = "ix_chatstore_messages_words"
#: Matches that are ranked: the newest, where the database has to read each of them for that.
RANKED = 1000


def no_url() -> Invalid:
    """Return the error about text that is not a URL; it never shows it."""
    return Invalid(
        "this is not a database URL: write one like sqlite:///chat.db (three slashes, four before an absolute "
        "path) or postgresql://user:password@host/database"
    )


def insert_by(name: str) -> Callable[[sa.Table], Any]:
    """Return a database's own INSERT, whose dialect is imported where one is made only (15 to 40 ms each)."""
    return lambda table: import_module(f"sqlalchemy.dialects.{name}").insert(table)


@dataclass(frozen=True)
class Upsert:
    """How the row of a session is created, or counted on, by one INSERT; this is ON CONFLICT, with RETURNING."""

    insert: Callable[[sa.Table], Any]
    #: Whether it gives the row back as it is afterwards; else the caller reads it.
    returns: ClassVar[bool] = True
    #: Whether an INSERT may stand in a CTE, so that a session and its messages are written by one statement.
    with_messages: bool = False
    #: Whether an INSERT that meets another writer's row waits for it.
    waits: bool = False

    def hold(self, table: sa.Table) -> Any:
        """Insert a session unless there is one, which is waited for."""
        return self.insert(table).on_conflict_do_nothing()

    def count(
        self,
        table: sa.Table,
        first: Mapping[str, Any],
        counted: Callable[[Any], dict[str, Any]],
        seen: sa.ColumnElement[bool],
    ) -> Any:
        """Insert a session with the values *first*, or set what *counted* makes of them, if the session is *seen*."""
        made = self.insert(table).values(**first)
        made = made.on_conflict_do_update(
            index_elements=["session_id"], set_=counted(made.excluded), where=seen
        )
        return made.returning(table.c.last_position, table.c.revision)


class FullText:
    """The full-text index of a database: how it is made, seen, asked and taken away; every step may be repeated."""

    #: Whether what the index finds and ranks is the answer; else each message is looked into.
    answers: bool = True
    #: Whether it sees what the transaction has written that asks.
    sees_own_writes: bool = True
    #: The tables behind it.
    tables: tuple[str, ...] = ()
    #: Whether taking away what is not there is an error.
    drops_once: bool = False

    def is_possible(self, connection: sa.Connection) -> bool:  # noqa: ARG002
        """Tell whether this server or library can have the index."""
        return True

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        """Tell whether the index is there and whole."""
        raise NotImplementedError

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the statements that create the index over all that is stored."""
        raise NotImplementedError

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the statements that take the index away."""
        raise NotImplementedError

    def triggers(self, here: sa.Dialect, schema: str | None) -> list[str]:  # noqa: ARG002
        """Return the statements that create what keeps the index in step, where the table loses it when altered."""
        return []

    def select(
        self, found: sa.Select[Any], messages: sa.Table, wanted: SearchFilter, schema: str | None
    ) -> sa.Select[Any] | None:
        """Narrow *found*, which selects hits among *messages*, to those with all words; the best ones first.

        The rank is the last column where the index `answers`. None where the index knows none of these words.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What is different in one database. Fields are facts and shortcuts; methods are what is done another way.

    `plain` switches the shortcuts off. What is left is what makes a database work at all.
    """

    name: str
    #: Other names in URLs.
    aliases: tuple[str, ...] = ()

    # ---- shortcuts
    #: How an append writes the session's row at once; None: an UPDATE, then a SELECT.
    upsert: Upsert | None = None
    #: Whether SELECT … FOR UPDATE holds a row; else an UPDATE that changes nothing does.
    locks_rows: bool = False
    #: The full-text index; None: a search reads every message.
    full_text: FullText | None = None
    #: Narrows to sessions with these top-level metadata as far as the database can; every row is checked again.
    narrow_metadata: Callable[[sa.Column[Any], dict[str, Any]], sa.ColumnElement[bool]] | None = None
    #: What ``capabilities`` says of all this.
    notes: tuple[str, ...] = ()

    # ---- facts
    #: Whether it is a library in this process: calls run in threads, one writer at a time, no fork amid a call.
    embedded: bool = False
    #: The statement that begins a transaction on a connection in autocommit, by these drivers.
    begin: str = "BEGIN"
    autocommitting: frozenset[str] = frozenset()
    #: The level of isolation that a unit gets on an engine whose own is AUTOCOMMIT.
    isolation: str = "READ COMMITTED"
    #: Whether a transaction sees, without locking, only what was committed at its start.
    reads_snapshot: bool = False
    #: Whether a driver's cursor may stay open between statements.
    keeps_cursors: bool = True
    #: What each driver is told, so that it gives up on a server that accepts a connection and then falls silent.
    #: A statement may wait long for a lock, and runs as long as it runs; what is gone must not hang for ever.
    connect_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    # ---- facts about DDL
    #: Whether a driver is handed a moment as text, in UTC.
    moments_are_text: bool = False
    #: Whether a moment keeps its zone.
    has_zones: bool = False
    #: Whether drivers decode JSON by themselves.
    decodes_json: bool = False
    #: Whether JSON columns are plain text, which a constraint has to check.
    checks_json: bool = False
    #: The type of a message's ``id`` where it is not BIGINT.
    id_type: TypeEngine[int] | None = None
    #: Options of tables, in the way of SQLAlchemy's `Table`.
    table_options: Mapping[str, str] = field(default_factory=dict)
    #: Whether a migration creates the schema it is told.
    creates_schema: bool = False
    #: Whether tables are altered by copying them, which loses triggers and may leave a copy behind.
    copies_tables: bool = False
    #: What Alembic is told of rolling DDL back; None: what it knows itself.
    transactional_ddl: bool | None = None
    #: The schema that comments name where none is chosen.
    default_schema: str | None = None

    def plain(self) -> Dialect:
        """Return this dialect without its shortcuts, whose place is taken by what works on any database."""
        return replace(self, upsert=None, locks_rows=False, full_text=None, narrow_metadata=None, notes=())

    # ---- URLs and engines

    def complete(self, url: sa.URL, *, asynchronous: bool) -> sa.URL:  # noqa: ARG002
        """Return *url* with the driver and the options chatstore uses where none are named."""
        return url

    def arguments(self, url: sa.URL) -> dict[str, Any]:
        """Return what the driver of *url* is told when it connects; the URL's own options go first."""
        told = self.connect_args.get(url.get_driver_name(), {})
        return {name: value for name, value in told.items() if name not in url.query}

    def is_memory(self, url: sa.URL) -> bool:  # noqa: ARG002
        """Tell whether *url* is a database that ends with its connection."""
        return False

    def path(self, url: sa.URL) -> Path | None:  # noqa: ARG002
        """Return the file of *url*; None where it is none."""
        return None

    def begins_explicitly(self, url: sa.URL) -> bool:
        """Tell whether an engine of ours is in autocommit, and begins only transactions that are asked for."""
        return url.get_driver_name() in self.autocommitting

    def open(self, url: sa.URL, options: dict[str, Any], *, look_only: bool = False) -> sa.Engine:  # noqa: ARG002
        """Return an engine for an `embedded` database; *look_only* leaves a file as it is."""
        return create_engine(url, **options)

    def prepare_engine(self, engine: sa.Engine) -> None:
        """Hang onto an engine of ours what its new connections need."""

    def warn(self, connection: sa.Connection) -> None:
        """Log what is wrong with a connection of an engine that was passed in."""

    def begin_for_savepoint(self, connection: sa.Connection) -> None:
        """Make sure that a transaction is open on a caller's connection, in which a savepoint can be made."""
        if autocommits(connection):
            msg = (
                "this connection commits each statement by itself (AUTOCOMMIT), so there is no transaction to work in: "
                "pass using a connection without that option, or call the repository without using"
            )
            raise Invalid(msg)

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:  # noqa: ARG002
        """Say what a driver's *error* means; None where it is not one of this database, or is unknown."""
        return None

    def lost(self, error: Any) -> bool:  # noqa: ARG002
        """Tell whether *error* is a lost connection that SQLAlchemy does not notice."""
        return False

    def without_data(self, text: str) -> str:
        """Return the *text* of an error without what is stored."""
        return text

    # ---- column types

    def moment(self) -> TypeEngine[Any]:
        """Return the type of a moment with microseconds."""
        return DateTime(timezone=self.has_zones)

    def long_text(self, here: sa.Dialect) -> TypeEngine[Any]:  # noqa: ARG002
        """Return the type of text of any length."""
        return Text()

    def exact_string(self, here: sa.Dialect, length: int | None) -> TypeEngine[Any]:  # noqa: ARG002
        """Return the type of a string that is compared byte for byte."""
        return String(length)

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        """Return the type of JSON that keeps the text as written, unless *binary*."""
        return self.long_text(here)

    # ---- columns in statements

    def read_moment(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a moment as it is read."""
        return col

    def read_json(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a JSON column as text, whatever the driver would make of it."""
        return type_coerce(col, Text)

    def read_flag(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a boolean as what is fastest and true or false."""
        return col

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        """Return the year, month and day of *moment* in UTC."""
        return [extract(part, type_coerce(moment, DateTime)) for part in ("year", "month", "day")]

    def rows_of(self, document: Any, columns: list[Any]) -> Any:
        """Return a table of *columns* from a JSON *document*, for an `Upsert` that is `with_messages`."""
        raise NotImplementedError

    # ---- limits and promises

    def check_size(self, connection: sa.Connection, *texts: str) -> None:
        """Raise `MessageTooLarge` where *texts*, stored in one row, are more than this database takes."""
        size, limit, advice = self.measured(connection, *texts)
        if size > limit:
            msg = f"a message takes {size} bytes, this database holds {limit}: {advice}"
            raise MessageTooLarge(msg, limit=limit, size=size)

    def measured(self, connection: sa.Connection, *texts: str) -> tuple[int, int, str]:  # noqa: ARG002
        """Return the size of *texts* in bytes, how many a row holds, and what helps where that is too little."""
        # SQLite's limit, and what PostgreSQL's 1 GB leaves beside the rest of a row
        return sum(len(text.encode()) for text in texts), 1_000_000_000, "shorten the message"

    def durability(self, connection: sa.Connection) -> Durability:  # noqa: ARG002
        """Read from the server what a commit means there."""
        return Durability(
            "unknown", f"{self.name} is not one of the databases chatstore knows: read its documentation"
        )

    # ---- migrations

    def alone(
        self,
        connection: sa.Connection,
        schema: str | None,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Keep other migrations out, in one transaction where the database can roll DDL back; no lock here."""
        return transaction(connection)


def autocommits(lender: Any) -> bool:
    """Tell whether an engine or a connection was told to commit each statement by itself."""
    given = lender.get_execution_options().get("isolation_level")
    return (given or getattr(lender.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT"
