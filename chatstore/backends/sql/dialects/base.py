"""What a SQL dialect is to chatstore: one object that is asked, wherever databases differ.

Knows the questions, and the answers that hold for any database SQLAlchemy has a dialect for. Refuses to know one
database by name: each has a module of its own beside this one. "Here" is SQLAlchemy's dialect of the same database,
which knows what its server told it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import DateTime, String, Text, bindparam, create_engine, extract, type_coerce

from chatstore.backends.sql.dialects.migrating import Waiting, transaction
from chatstore.errors import Invalid, MessageTooLarge
from chatstore.records import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

    from chatstore.words import Query

Kind = Literal[
    "duplicate", "busy", "exhausted", "lost", "limit", "timeout", "readonly", "no_table", "full", "too_large",
    "refused", "rights", "tls", "encoding", "option", "no_database", "damaged", "other",
]  # fmt: skip
#: Seconds to wait for a server to accept a connection.
CONNECT_SECONDS = 10
#: Characters up to which a message is within every limit, and is not measured.
UNMEASURED = 200_000
#: The table that is searched, and the one that holds what its messages say.
MESSAGES, SEARCH_TABLE = "chatstore_messages", "chatstore_search"
#: The index on the words in that, where it is an index.
SEARCH_INDEX = "ix_chatstore_search_words"


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
    """How the row of a session is created, or counted on, by one INSERT; this is ON CONFLICT."""

    insert: Callable[[sa.Table], Any]
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
        return made.on_conflict_do_update(
            index_elements=["session_id"], set_=counted(made.excluded), where=seen
        )

    def given(self, table: sa.Table, seen: sa.ColumnElement[bool]) -> tuple[Any, ...]:  # noqa: ARG002
        """Return what RETURNING gives of the row as `count` left it: its last position and its revision.

        There is no row, or no position, where the session is not *seen*.
        """
        return table.c.last_position, table.c.revision


class Indexing(NamedTuple):
    """A message for the index: what `chatstore.words.indexed` makes of its text, and marks of its session and owner.

    Its time is as the driver gives it.
    """

    message: int
    created_at: datetime | str
    words: str


class Asked(NamedTuple):
    """Messages that a search is about."""

    #: Selects them, with their sessions.
    found: sa.Select[Any]
    messages: sa.Table
    schema: str | None
    #: How many words are counted: ``:said_0`` and so on.
    counted: int = 0
    #: Whether so many messages say it that it is quicker to look at one after the other, from the newest on.
    often: bool = False


#: Of how many of the newest lines `sample` counts those that say something.
SAMPLED = 1_000


class FullText:
    """The full-text index of a database: how it is made, seen, written, asked and taken away.

    It stands in tables of its own, which nothing but a refresh writes to. Every step may be repeated.
    """

    #: The tables behind it.
    tables: tuple[str, ...] = (SEARCH_TABLE,)
    #: Whether it reads all that it has of each word, whoever said it, so that few messages are read quicker one by one.
    may_be_few: bool = False

    def is_possible(self, connection: sa.Connection) -> bool:  # noqa: ARG002
        """Tell whether this server or library can have the index."""
        return True

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        """Tell whether the index is there and whole."""
        raise NotImplementedError

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the statements that create an empty index."""
        raise NotImplementedError

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the statements that take the index away."""
        raise NotImplementedError

    def write(self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]) -> None:
        """Put messages into the index, each in the place of what it holds of that message."""
        raise NotImplementedError

    def tidy(self, connection: sa.Connection, schema: str | None, *, begun: bool) -> bool:  # noqa: ARG002
        """Do a part of what makes an index that was written to bit by bit quicker to read; tell whether it did any.

        *begun*: the part before was done just now. Who waits to write waits for one part only.
        """
        return False

    def asks_for(self, query: Query, marks: Sequence[str]) -> str:
        """Return what the index is asked, so that it finds at least what *query* finds where all *marks* are."""
        raise NotImplementedError

    def counts(self, query: Query) -> Sequence[str] | None:  # noqa: ARG002
        """Return what the index counts in a text to know how often it says *query*: ``:said_0`` and so on, in `select`.

        None where it cannot.
        """
        return None

    def sample(self, schema: str | None) -> sa.Select[Any] | None:  # noqa: ARG002
        """Select how many of the newest `SAMPLED` lines say ``:asked``; None where it does not matter."""
        return None

    def select(self, asked: Asked) -> sa.Select[Any]:
        """Narrow what is *asked* for to what the index finds for ``:asked``: the newest ``:n``.

        Where words are counted, a last column says how often; null where it does not hold a whole text.
        """
        raise NotImplementedError

    def find(self, schema: str | None, counted: int, *, often: bool) -> sa.Select[Any] | None:  # noqa: ARG002
        """Select which messages say ``:asked``: the newest ``:n``, and those as old as the last of them.

        Where *counted* words are counted, the best ``:n`` of all, with how often each says them, as in `select`, its
        time, and how many there are. None where `select` is as quick.
        """
        return None

    def read(self, asked: Asked) -> sa.Select[Any]:
        """Narrow what is *asked* for to the messages ``:ids``, whose ids come last; called for what `find` found."""
        raise NotImplementedError

    def select_few(self, asked: Asked, query: Query) -> sa.Select[Any]:
        """As `select`, by reading the index's lines of what is *asked* for: few; called where that `may_be_few`."""
        raise NotImplementedError


def said(counted: int) -> list[Any]:
    """Return the parameters that are *counted*."""
    return [bindparam(f"said_{number}", type_=Text()) for number in range(counted)]


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

    def translated(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """Return *url* without the options that its driver is told in its own way, and what it is told.

        Raises `Invalid`, which names the option that the driver has not, or whose value is none.
        """
        return url, {}

    def arguments(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """Return *url* as SQLAlchemy takes it, and what the driver is told beside; the URL's own options go first."""
        given = url.query
        url, told = self.translated(url)
        patience = self.connect_args.get(url.get_driver_name(), {})
        return url, {name: value for name, value in patience.items() if name not in given} | told

    def is_memory(self, url: sa.URL) -> bool:  # noqa: ARG002
        """Tell whether *url* is a database that ends with its connection."""
        return False

    def path(self, url: sa.URL) -> Path | None:  # noqa: ARG002
        """Return the file of *url*; None where it is none."""
        return None

    def begins_explicitly(self, url: sa.URL) -> bool:
        """Tell whether an engine of ours is in autocommit, and begins only transactions that are asked for."""
        return url.get_driver_name() in self.autocommitting

    def end(self, driver: Any) -> None:
        """Close an awaiting driver's connection at once, where that can be done without awaiting it."""

    def open(self, url: sa.URL, options: dict[str, Any], *, look_only: bool = False) -> sa.Engine:  # noqa: ARG002
        """Return an engine for an `embedded` database; *look_only* leaves a file as it is."""
        return create_engine(url, **options)

    def lent(self, kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ARG002
        """Return what SQLAlchemy's dialect *kind* must have, and is made with, for connections that are lent to it."""
        return {}, {}

    def refuse(self, url: sa.URL) -> None:
        """Raise `Invalid` for the *url* of a database that cannot keep what is promised."""

    def prepare_engine(self, engine: sa.Engine, url: sa.URL) -> None:
        """Hang onto an engine of ours for *url* what its new connections need."""

    def limit(self, connection: sa.Connection, seconds: float) -> None:
        """Have the database give up on what a connection of ours asks of it after *seconds*, from now on."""

    def look_at(self, connection: sa.Connection) -> None:
        """Log what is wrong with an engine that was passed in, by a *connection* of it; `Invalid` if it cannot do."""

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

    def json_value(self, here: sa.Dialect) -> TypeEngine[Any]:
        """Return the same for any value, a number by itself among them."""
        return self.json(here, binary=False)

    # ---- columns in statements

    def read_moment(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a moment as it is read."""
        return col

    def read_json(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return a JSON column as text, whatever the driver would make of it."""
        return type_coerce(col, Text)

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        """Return the year, month and day of *moment* in UTC."""
        return [extract(part, type_coerce(moment, DateTime)) for part in ("year", "month", "day")]

    def hour(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return the hour of *moment* in UTC, from 0 to 23."""
        return extract("hour", type_coerce(moment, DateTime))

    def seconds_between(
        self,
        begin: sa.ColumnElement[Any],  # noqa: ARG002
        end: sa.ColumnElement[Any],  # noqa: ARG002
    ) -> sa.ColumnElement[Any] | None:
        """Return the seconds from *begin* to *end*, with their fraction; None where it is not known how."""
        return None

    def rows_of(self, document: Any, columns: list[Any]) -> Any:
        """Return a table of *columns* from a JSON *document*, for an `Upsert` that is `with_messages`."""
        raise NotImplementedError

    def copying(self, here: sa.Dialect, table: sa.Table, names: Sequence[str]) -> str | None:  # noqa: ARG002
        """Return what has a driver's ``cursor.copy`` take lines of these columns; None where there is no such thing."""
        return None

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
        waiting: Waiting,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Keep other migrations out, in one transaction where the database can roll DDL back; no lock here."""
        return transaction(connection)

    def briefly(self, connection: sa.Connection) -> AbstractContextManager[None]:  # noqa: ARG002
        """Have changes of tables give up soon where a lock is held, since others queue behind them."""
        return nullcontext()

    def holders(self, connection: sa.Connection) -> str:  # noqa: ARG002
        """Say who holds locks on the tables, by what a person can end them."""
        return "another connection"


def autocommits(lender: Any) -> bool:
    """Tell whether an engine or a connection was told to commit each statement by itself."""
    given = lender.get_execution_options().get("isolation_level")
    return (given or getattr(lender.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT"
