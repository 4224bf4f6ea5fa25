"""What differs between databases, in one place: URLs, engines, what a driver's error means.

This module knows databases and drivers; it refuses to know sessions and messages. Statements that differ by
database are in ``statements.py`` and ``search.py``, and ask the `Traits` made here.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    NoSuchModuleError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, StaticPool
from sqlalchemy.pool.base import ResetStyle

from chatstore.backends.sql.crossing import Watched, watch
from chatstore.backends.sql.lending import AwaitingPool, LendingPool
from chatstore.backends.sql.poolers import UNNAMED, prepare_where_direct
from chatstore.errors import Invalid, MessageTooLarge
from chatstore.extras import driver_not_installed
from chatstore.messages import Durability
from chatstore.schemes import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Dialect, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import Pool

#: Seconds a writer waits for another writer's lock before it gives up.
BUSY_SECONDS = 30
#: Seconds to wait for a server to accept a connection.
CONNECT_SECONDS = 10
_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "postgresql+psycopg"),
    "postgres": ("postgresql+psycopg", "postgresql+psycopg"),
    "mysql": ("mysql+pymysql", "mysql+aiomysql"),
    "mariadb": ("mariadb+pymysql", "mariadb+aiomysql"),
}
#: Options of a URL that are nobody's business.
_SECRET = re.compile("pass|pwd|secret|token|odbc_connect", re.IGNORECASE)
EngineT = TypeVar("EngineT")
#: The execution option that makes a transaction of an engine of ours begin. Without it each statement stands alone:
#: drivers are in autocommit, which saves setting and resetting it around every single statement.
WRITES = "chatstore_writes"
#: The execution option of a connection whose statements may go to the driver directly (`first_row`).
DIRECT = "chatstore_direct"
#: The driver's cursor that stays with a connection, in its `info`.
_KEPT = "chatstore_cursor"
_BEGIN = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "BEGIN",
    "mysql": "START TRANSACTION",
    "mariadb": "START TRANSACTION",
}
_AUTOCOMMITTING = {"psycopg", "pymysql", "aiomysql"}


# ------------------------------------------------------------------------------------------------ traits


@dataclass(frozen=True, slots=True)
class Traits:
    """The shortcuts a database has. The plain ones work on any SQLAlchemy dialect; tests switch all others off.

    *append*: how the session's counter and the messages are written. *lock*: how a unit locks the session's row.
    *search*: the full-text index, or a scan. *native_json*: whether ``payload`` can be queried inside the database.
    """

    name: str
    append: Literal["one_statement", "upsert_returning", "on_duplicate_key", "plain"] = "plain"
    lock: Literal["for_update", "update"] = "update"
    search: Literal["fts5", "tsvector", "fulltext", "scan"] = "scan"
    native_json: bool = False
    notes: tuple[str, ...] = ()

    def plain(self) -> Traits:
        """Return the traits of a database about which nothing is known but its name."""
        return replace(self, append="plain", lock="update", search="scan", native_json=False, notes=())


_FULLTEXT_NOTE = (
    "search on MySQL and MariaDB scans for queries of short words and stopwords only: the FULLTEXT index leaves out "
    "words under innodb_ft_min_token_size (3), and holds snake_case as one word, which snake or case does not find, "
    "and what is written with combining marks or mathematical letters as the database splits it"
)
_FTS5_NOTE = (
    "search on SQLite holds combining marks as part of their word, so that an e and an accent are not found by e, and "
    "folds case by a table of its own, which differs from Python's for a few letters (\u0130, \u017f)"
)
_TSVECTOR_NOTE = (
    "search on PostgreSQL looks at the first 262,000 characters of a message, and at words of up to 2,046 bytes that "
    "its parser takes for words (a circled digit is none)"
)


_UNRESET_NOTE = (
    "the pool of this engine does not roll back what comes back to it (pool_reset_on_return=None), so that after an "
    "interrupt in the middle of a call a transaction may stay open in it: leave that option out"
)


def traits_of(dialect: Dialect, pool: Pool | None = None) -> Traits:
    """Return what chatstore may use on this dialect, and what is to be said of the *pool* of a passed-in engine."""
    traits = _traits_of(dialect)
    if pool is None or pool._reset_on_return is not ResetStyle.reset_none:
        return traits
    return replace(traits, notes=(*traits.notes, _UNRESET_NOTE))


def _traits_of(dialect: Dialect) -> Traits:
    if dialect.name == "postgresql":
        return Traits(
            "postgresql",
            "one_statement",
            "for_update",
            "tsvector",
            native_json=True,
            notes=(_TSVECTOR_NOTE,),
        )
    if dialect.name in {"mysql", "mariadb"}:
        return Traits(
            "mysql", "on_duplicate_key", "for_update", "fulltext", native_json=True, notes=(_FULLTEXT_NOTE,)
        )
    if dialect.name == "sqlite":
        recent = sqlite3.sqlite_version_info >= (3, 35)
        return Traits(
            "sqlite",
            "upsert_returning" if recent else "plain",
            "update",
            "fts5",
            native_json=True,
            notes=(_FTS5_NOTE,),
        )
    return Traits(dialect.name)


# ------------------------------------------------------------------------------------------------ URLs and engines


def parse_url(url: str | URL, *, asynchronous: bool = False) -> URL:
    """Return *url* with the driver chatstore uses where none is named.

    ``postgres://`` and ``postgresql://`` mean psycopg 3, ``mysql://`` and ``mariadb://`` PyMySQL (aiomysql when
    *asynchronous*), and the latter two stand for each other. Any other driver that is named stays, but for aiosqlite:
    files are read and written in threads of our own. Raises `Invalid` for text that is no URL; never shows it.
    """
    parsed = _made(url)
    if parsed is None or (parsed.get_backend_name() == "sqlite" and parsed.host):
        msg = (
            "this is not a database URL: write one like sqlite:///chat.db (three slashes, four before an absolute "
            "path) or postgresql://user:password@host/database"
        )
        raise Invalid(msg)
    if parsed.drivername == "sqlite+aiosqlite":
        parsed = parsed.set(drivername="sqlite")  # files are read and written in threads of our own
    if parsed.drivername in _DRIVERS:
        parsed = parsed.set(drivername=_DRIVERS[parsed.drivername][asynchronous])
    elif asynchronous and parsed.drivername in {"mysql+pymysql", "mariadb+pymysql"}:
        parsed = parsed.set(drivername=parsed.drivername.replace("pymysql", "aiomysql"))
    elif not asynchronous and parsed.drivername in {"mysql+aiomysql", "mariadb+aiomysql"}:
        parsed = parsed.set(drivername=parsed.drivername.replace("aiomysql", "pymysql"))
    if parsed.get_backend_name() == "sqlite":
        _synchronous(parsed)
    if parsed.get_backend_name() in {"mysql", "mariadb"} and "charset" not in parsed.query:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    return parsed


def shown(url: URL) -> str:
    """Return *url* for people: no password, neither before the host nor among the options."""
    hidden = {name: "***" for name in url.query if _SECRET.search(name)}
    said: str = url.update_query_dict(hidden).render_as_string(hide_password=True)
    return said.replace("%2A%2A%2A", "***")


def _made(url: str | URL) -> URL | None:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None  # not even as a context: the latter shows what stands where a port should be


def is_memory(url: URL) -> bool:
    """Tell whether *url* is a SQLite database that lives in the process only."""
    return url.get_backend_name() == "sqlite" and (
        url.database in (None, "", ":memory:") or "mode=memory" in str(url)
    )


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None for a memory database and every other database."""
    if url.get_backend_name() != "sqlite" or is_memory(url) or not url.database:
        return None
    return Path(url.database.removeprefix("file:"))


def new_engine(url: str | URL, **options: Any) -> Engine:
    """Return an engine of our own for *url*; no I/O happens before its first use.

    Raises `MissingDependency` with the pip command where the driver is not installed, `Invalid` for a bad URL.
    """
    parsed = parse_url(url)
    options.setdefault("hide_parameters", True)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, options)
    dialect_of(parsed)
    options.setdefault("connect_args", _connect_args(parsed))
    options.setdefault("poolclass", LendingPool)
    if not begins_explicitly(parsed):
        return _guarded(parsed, lambda: create_engine(parsed, **options))
    # Every transaction is ended where it was begun, and a connection where that failed does not come back.
    options["connect_args"]["autocommit"] = True
    engine = _guarded(parsed, lambda: create_engine(parsed, pool_reset_on_return=None, **options))
    _listen(engine)
    prepare_where_direct(engine)
    return engine


def begins_explicitly(url: URL) -> bool:
    """Tell whether an engine of ours for *url* begins only transactions that have the `WRITES` option."""
    return url.get_backend_name() == "sqlite" or url.get_driver_name() in _AUTOCOMMITTING


def _listen(engine: Engine) -> None:
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _notice_broken)


def _notice_broken(context: ExceptionContext) -> None:
    """Have the pool drop a connection that only its driver knows to be broken."""
    context.is_disconnect = context.is_disconnect or _socket_closed(context.original_exception)


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES):
        with _cursor(connection) as cursor:
            cursor.execute(_BEGIN[connection.dialect.name])


def new_async_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """Return an asynchronous engine of our own for *url*, for the running loop only."""
    from sqlalchemy.ext.asyncio import create_async_engine  # 40 ms that synchronous callers need not pay

    parsed = parse_url(url, asynchronous=True)
    options.setdefault("hide_parameters", True)
    options.setdefault("connect_args", _connect_args(parsed))
    options.setdefault("poolclass", AwaitingPool)
    explicit = begins_explicitly(parsed) and parsed.get_backend_name() != "sqlite"
    if explicit:
        options["connect_args"]["autocommit"] = True
    engine = _guarded(parsed, lambda: create_async_engine(parsed, **options))
    if explicit:
        _listen(engine.sync_engine)
    prepare_where_direct(engine.sync_engine)
    return engine


def migration_engine(url: str | URL) -> Engine:
    """Return an engine for one migration: no pool (but for a memory database), transactions as SQLAlchemy has them."""
    parsed = parse_url(url)
    if is_memory(parsed):
        return new_engine(parsed)
    if parsed.get_backend_name() == "sqlite":
        # Looking whether somebody's file is ours must not turn it to WAL; the first repository on it will.
        return _sqlite_engine(parsed, {"poolclass": NullPool, "hide_parameters": True}, wal=False)
    dialect_of(parsed)
    arguments = _connect_args(parsed)
    return _guarded(
        parsed,
        lambda: create_engine(parsed, poolclass=NullPool, hide_parameters=True, connect_args=arguments),
    )


def dialect_of(url: URL) -> Dialect:
    """Return the dialect of *url*, whose driver must be installed, without making an engine."""

    def load() -> Dialect:
        kind = url.get_dialect()
        kind.import_dbapi()
        return kind()

    return _guarded(url, load)


async def _connected_in_time(*args: Any, **options: Any) -> Any:
    """Connect by aiomysql, whose own limit ends before the greeting of the server."""
    import asyncio

    import aiomysql

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await aiomysql.connect(*args, **options)
    except TimeoutError:
        raise aiomysql.OperationalError(2003, f"no greeting within {CONNECT_SECONDS} s") from None


#: What tells a driver to give up on a server that accepts a connection and then falls silent, in its own units.
#: A statement may wait for a lock of InnoDB for 50 s, and for as long as it runs; what is gone must not hang for ever.
#: aiomysql cannot be told so for statements: who awaits may set a limit of their own, by `asyncio.timeout`.
_PATIENCE: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000, "keepalives_idle": 30},
    "psycopg2": {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000, "keepalives_idle": 30},
    "pymysql": {"connect_timeout": CONNECT_SECONDS, "read_timeout": 120, "write_timeout": 120},
    "aiomysql": {"async_creator_fn": _connected_in_time},
}


def _connect_args(url: URL) -> dict[str, Any]:
    driver = url.get_driver_name()
    ours = _PATIENCE.get(driver, {}) | UNNAMED.get(driver, {})
    return {name: value for name, value in ours.items() if name not in url.query}


def _guarded(url: URL, make: Callable[[], EngineT]) -> EngineT:
    driver = url.get_driver_name() if "+" in url.drivername else url.drivername
    try:
        return make()
    except NoSuchModuleError:
        raise unknown(url.drivername) from None
    except ImportError as error:
        raise driver_not_installed(driver, error.name) from error
    except InvalidRequestError:
        msg = f"the driver {driver!r} does not await: use connect, or name an asynchronous driver in the URL"
        raise Invalid(msg) from None
    except (ArgumentError, TypeError) as error:
        msg = f"the engine for {url.get_backend_name()!r} refuses an option: check the URL's query and the arguments"
        raise Invalid(msg) from error


# ------------------------------------------------------------------------------------------------ SQLite

_SYNCHRONOUS = {"off": 0, "normal": 1, "full": 2, "extra": 3}


def _synchronous(url: URL) -> int:
    level = str(url.query.get("synchronous", "full")).lower()
    if level not in _SYNCHRONOUS:
        msg = f"synchronous={level!r} is not a level SQLite has: use one of {', '.join(_SYNCHRONOUS)}"
        raise Invalid(msg)
    return _SYNCHRONOUS[level]


def _sqlite_engine(url: URL, options: dict[str, Any], *, wal: bool = True) -> Engine:
    level = _synchronous(url)
    url = url.difference_update_query(["synchronous"])
    options.setdefault("connect_args", {"timeout": BUSY_SECONDS})
    if is_memory(url):
        options["poolclass"] = StaticPool
        options["connect_args"] = {"check_same_thread": False, "factory": _InMemory}
    else:
        options.setdefault("poolclass", LendingPool)
    path = sqlite_path(url)
    watched = path is not None and url.get_driver_name() == "pysqlite"
    if watched:
        options["connect_args"] = {**options["connect_args"], "factory": Watched}
    engine = create_engine(url, **options)
    if is_memory(url):
        _keep_one(engine)
    if watched:
        watch(engine)

    def connected(connection: DBAPIConnection, _record: object) -> None:
        _prepare_sqlite(connection, level, in_file=wal and path is not None)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "close", _roll_back)
    return engine


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
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                return  # it can still be read
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return  # some file systems keep the rollback journal; slower, not wrong


def begin_for_savepoint(connection: Connection) -> None:
    """Begin the transaction that SQLAlchemy thinks is open: SQLite's driver begins none before a SAVEPOINT.

    Without it the savepoint would be the transaction, and releasing it would commit behind the caller's back.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        if autocommits(connection):
            msg = (
                "this connection commits each statement by itself (AUTOCOMMIT), so there is no transaction to work in: "
                "pass using a connection without that option, or call the repository without using"
            )
            raise Invalid(msg)
    elif not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def autocommits(lender: Engine | AsyncEngine | Connection) -> bool:
    """Tell whether an engine or a connection was told to commit each statement by itself."""
    given = lender.get_execution_options().get("isolation_level")
    return (given or getattr(lender.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT"


def create_private_file(path: Path) -> None:
    """Create *path* readable for its owner only, if it is missing; WAL and shm files inherit that."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


# ------------------------------------------------------------------------------------------------ errors


class DriverFailed(SQLAlchemyError):
    """A driver's error met on its own cursor; it looks like SQLAlchemy's wrapper to `kind_of`."""

    def __init__(self, orig: BaseException, *, connection_invalidated: bool) -> None:
        super().__init__(type(orig).__name__)
        self.orig = orig
        self.connection_invalidated = connection_invalidated


def first_row(connection: Connection, sql: str, parameters: Any) -> Any:
    """Execute compiled *sql* and return its first row, or None.

    On an engine of ours it goes to the driver's own cursor, which halves what a small append costs in Python. On one
    that was passed in it goes through SQLAlchemy, where the application may have hung its own instruments.
    """
    if not connection.get_execution_options().get(DIRECT):
        return connection.exec_driver_sql(sql, parameters).first()
    with _cursor(connection) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


def run_many(connection: Connection, sql: str, parameters: list[Any]) -> None:
    """Execute compiled *sql* once for each of *parameters*, in the way of `first_row`."""
    if not connection.get_execution_options().get(DIRECT):
        connection.exec_driver_sql(sql, parameters)
        return
    with _cursor(connection) as cursor:
        cursor.executemany(sql, parameters)


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """Lend a cursor of the driver; its errors become `DriverFailed`, and a lost connection leaves the pool.

    It stays with the connection where it can: a new one of psycopg's learns again how to write each type, which is a
    tenth of a small append. SQLite's costs next to nothing, and an open one may hold a lock.
    """
    fairy = connection.connection
    lasting = connection.dialect.name != "sqlite"
    cursor = fairy.info.get(_KEPT) if lasting else None
    if cursor is None:
        cursor = fairy.cursor()
        if lasting:
            fairy.info[_KEPT] = cursor
    try:
        yield cursor
    except connection.dialect.loaded_dbapi.Error as error:
        lost = connection.dialect.is_disconnect(error, fairy.dbapi_connection, cursor) or _socket_closed(
            error
        )
        if lost:
            # As SQLAlchemy does: other connections of this age are as dead.
            connection.invalidate(error)
            connection.engine.dispose()
        raise DriverFailed(error, connection_invalidated=lost) from None
    finally:
        if not lasting:
            cursor.close()


Kind = Literal[
    "duplicate", "busy", "exhausted", "lost", "readonly", "no_table", "full", "too_large", "refused",
    "no_database", "damaged", "other",
]  # fmt: skip
_PG_STATES: dict[str, Kind] = {
    "23505": "duplicate", "23P01": "other", "23502": "other", "23503": "other", "23514": "other",
    "40001": "busy", "40P01": "busy", "55P03": "busy",
    "25006": "readonly", "42P01": "no_table", "42703": "no_table", "3F000": "no_table",
    "53100": "full", "54000": "too_large", "28P01": "refused", "28000": "refused", "3D000": "refused",
    "42501": "refused",
    "57P01": "lost", "57P02": "lost", "57P03": "lost", "53300": "lost",
}  # fmt: skip
_MYSQL_CODES: dict[int, Kind] = {
    1062: "duplicate", 1048: "other", 1451: "other", 1452: "other", 3819: "other", 4025: "other",
    1213: "busy", 1305: "busy", 1205: "busy", 1020: "busy", 1180: "busy", 1047: "busy",
    1290: "readonly", 1792: "readonly", 1836: "readonly", 1146: "no_table", 1054: "no_table",
    1021: "full", 1114: "full", 1153: "too_large", 1406: "too_large", 1045: "refused", 1044: "refused", 1049: "refused",
    1142: "refused", 1040: "lost", 1053: "lost", 2002: "lost", 2003: "lost", 2006: "lost", 2013: "lost", 2014: "lost",
}  # fmt: skip
_SQLITE_CODES: dict[int, Kind] = {
    sqlite3.SQLITE_BUSY: "busy", sqlite3.SQLITE_LOCKED: "busy", sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_FULL: "full", sqlite3.SQLITE_TOOBIG: "too_large", sqlite3.SQLITE_CANTOPEN: "refused",
    sqlite3.SQLITE_NOTADB: "no_database", sqlite3.SQLITE_CORRUPT: "damaged", sqlite3.SQLITE_PERM: "refused",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "duplicate", sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "duplicate",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "duplicate", sqlite3.SQLITE_CONSTRAINT: "other",
}  # fmt: skip


def kind_of(error: SQLAlchemyError) -> Kind:
    """Say what a driver's error means, by its code; by SQLAlchemy's class where the driver gives none."""
    if isinstance(error, PoolTimeout):
        return "exhausted"
    orig: Any = getattr(error, "orig", None)
    known = _by_code(orig) or _refused(orig)
    if known is not None:
        return known
    if isinstance(error, IntegrityError):
        return "duplicate"
    if isinstance(error, DBAPIError | DriverFailed) and (
        error.connection_invalidated or _never_connected(orig) or _socket_closed(orig)
    ):
        return "lost"
    if "no such table" in str(orig) or "no such column" in str(orig):
        return "no_table"
    return "other"


def _by_code(orig: Any) -> Kind | None:
    args = getattr(orig, "args", ())
    if args and isinstance(args[0], int):  # first: PyMySQL's errors have a sqlstate too, which says less
        return _MYSQL_CODES.get(args[0])
    state = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)
    if isinstance(state, str):
        return "lost" if state.startswith("08") else _PG_STATES.get(state)
    code = getattr(orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE_CODES.get(code, _SQLITE_CODES.get(code & 0xFF))
    return None


def cause_of(error: SQLAlchemyError) -> BaseException | None:
    """Return what people may see of *error*: the driver's own, without the parameters that SQLAlchemy shows.

    PostgreSQL adds the failing row, or the text around a fault in JSON: these lines are cut off.
    """
    orig: BaseException | None = getattr(error, "orig", None)
    if orig is None:
        return None if isinstance(error, StatementError) else error
    if orig.args and isinstance(orig.args[0], str):
        shown = re.split(r"\n(?:DETAIL: +Failing row|CONTEXT:)", orig.args[0], maxsplit=1)[0]
        if shown != orig.args[0]:
            orig.args, orig.__cause__, orig.__context__ = (shown, *orig.args[1:]), None, None
    return orig


def _refused(orig: Any) -> Kind | None:
    """Read a refusal at the door from its text: psycopg has no code for a connection that never was."""
    said = str(orig)
    told = ("does not exist", "authentication failed", "no pg_hba.conf entry", "not permitted")
    return "refused" if "FATAL:" in said and any(part in said for part in told) else None


def _never_connected(orig: Any) -> bool:
    text = str(orig).lower()
    return isinstance(orig, OSError) or any(
        part in text for part in ("connection refused", "connection failed", "could not connect", "timeout expired",
                                  "server closed the connection", "connection is closed", "connection was closed")
    )  # fmt: skip


def _socket_closed(orig: Any) -> bool:
    """Tell whether psycopg met a broken socket: it has no code then, and libpq may not have noticed yet.

    SQLAlchemy asks the connection whether it is closed, which is still denied at that moment.
    """
    return (
        type(orig).__module__.partition(".")[0] == "psycopg"
        and any(base.__name__ == "OperationalError" for base in type(orig).__mro__)
        and orig.sqlstate is None
    )


# ------------------------------------------------------------------------------------------------ sizes

#: Characters up to which a message is within every limit, and is not measured.
UNMEASURED = 200_000
#: Bytes of a statement left for everything but a message's content and payload.
_AROUND = 16_384
_ESCAPED_BY_MYSQL = "\0\n\r\x1a\"'\\"


def check_size(connection: Connection, *texts: str) -> None:
    """Raise `MessageTooLarge` where *texts*, stored in one row, are more than this database takes."""
    if sum(map(len, texts)) <= UNMEASURED:
        return
    size = sum(len(text.encode()) for text in texts)
    limit = 1_000_000_000  # SQLite's, and what PostgreSQL's 1 GB leaves beside the rest of a row
    advice = "shorten the message"
    if connection.dialect.name in {"mysql", "mariadb"}:
        size += sum(text.count(mark) for text in texts for mark in _ESCAPED_BY_MYSQL)
        limit = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one()) - _AROUND
        advice += ", or raise the server's max_allowed_packet"
    if size > limit:
        msg = f"a message takes {size} bytes, this database holds {limit}: {advice}"
        raise MessageTooLarge(msg, limit=limit, size=size)


# ------------------------------------------------------------------------------------------------ durability


def durability_of(connection: Connection) -> Durability:
    """Read from the server what a commit means there."""
    name = connection.dialect.name
    if name == "sqlite":
        mode, level = (
            str(connection.exec_driver_sql(f"PRAGMA {what}").scalar())
            for what in ("journal_mode", "synchronous")
        )
        if not connection.exec_driver_sql("PRAGMA database_list").all()[0][2]:
            return Durability("none", "a SQLite database in memory ends with its process")
        full = level in {"2", "3"}
        name_of = {str(number): name.upper() for name, number in _SYNCHRONOUS.items()}
        return Durability(
            "machine" if full else "process", f"SQLite, journal_mode={mode}, synchronous={name_of[level]}"
        )
    if name == "postgresql":
        commit, sync = (
            str(connection.exec_driver_sql(f"SHOW {what}").scalar())
            for what in ("synchronous_commit", "fsync")
        )
        safe = sync == "on" and commit != "off"
        return Durability(
            "machine" if safe else "process", f"PostgreSQL, synchronous_commit={commit}, fsync={sync}"
        )
    if name in {"mysql", "mariadb"}:
        flush = str(connection.exec_driver_sql("SELECT @@innodb_flush_log_at_trx_commit").scalar())
        return Durability(
            "machine" if flush == "1" else "process", f"InnoDB, innodb_flush_log_at_trx_commit={flush} of 1"
        )
    return Durability(
        "unknown", f"{name} is not one of the databases chatstore knows: read its documentation"
    )
