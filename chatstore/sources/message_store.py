"""The SQL tables of LangChain's packages: one row for each message, in a table called ``message_store``.

This module knows the layouts: ``(id, session_id, message)`` with JSON as text or JSONB, and the same with a UUID for
a session id and a ``created_at``. It reads any database that SQLAlchemy knows, in one statement through a cursor of
the server's, in a transaction that may only read.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from chatstore.errors import Invalid, StorageError, StorageUnavailable
from chatstore.extras import driver_not_installed
from chatstore.incoming.session import Element, Incoming, parse_element
from chatstore.sources.reading import PAGE, require

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from sqlalchemy import URL, Connection, Engine, Select

OPTIONS: Final = {"table": "message_store", "session_key": "session_id"}
#: The driver that reads for one that awaits, or where none is named.
_DRIVERS: Final = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+aiomysql": "mysql+pymysql",
    "mysql+asyncmy": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "mariadb+aiomysql": "mariadb+pymysql",
    "sqlite+aiosqlite": "sqlite",
}
_MYSQL: Final = ("mysql", "mariadb")
#: Seconds that MySQL waits for us to take rows while we write the ones before; its own patience is a minute.
_WRITE_TIMEOUT: Final = 8 * 3600


def mask(source: str) -> str:
    """Return the URL without its password and parameters."""
    return _parse_url(source).set(query={}).render_as_string(hide_password=True)


def read(source: str, session: str | None, options: Mapping[str, str]) -> Generator[Incoming, None, None]:
    """Yield the sessions of the table, in the order of their ids; *session* alone where it is named."""
    from sqlalchemy import inspect

    url, name = _parse_url(source), options["table"]
    with _open_engine(url) as engine, _translate_errors(source), _open_connection(engine) as connection:
        columns = _find_columns(inspect(connection), name, options["session_key"], mask(source))
        rows = connection.execute(_build_statement(connection, name, columns, session))
        # MySQL takes A and a for the same
        found = (
            _read_session(one, group, name)
            for one, group in groupby(rows, key=lambda row: row[0])
            if session is None or _to_text(one) == session
        )
        yield from require(found, session, f"table {name}", "check the id, --table and --session-key")


def _parse_url(source: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        msg = "this is not a database URL: write one like sqlite:///old.db or postgresql://user:password@host/database"
        raise Invalid(msg) from None
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


@contextmanager
def _open_engine(url: URL) -> Iterator[Engine]:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import ArgumentError

    try:
        connect = {"creator": _make_opener(url)} if url.get_backend_name() == "sqlite" else {}
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, **connect)
    except ImportError as error:
        raise driver_not_installed(url.get_driver_name(), error.name) from error
    except ArgumentError as error:
        msg = f"SQLAlchemy does not know {url.drivername}: check the URL's first part"
        raise Invalid(msg) from error
    try:
        yield engine
    finally:
        engine.dispose()


def _make_opener(url: URL) -> Any:
    """Return what opens a SQLite file for reading only; text that is not UTF-8 must not end the whole cursor."""
    path = Path(url.database or "")
    if not path.is_file():
        msg = f"there is no SQLite file {url.database!r}: check the path"
        raise StorageError(msg)

    def open_file() -> sqlite3.Connection:
        link = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False
        )
        link.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        return link

    return open_file


@contextmanager
def _open_connection(engine: Engine) -> Iterator[Connection]:
    """Lend a connection whose answers come row by row, in a transaction that may only read where there is one."""
    options: dict[str, Any] = {"stream_results": True, "yield_per": PAGE}
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    with engine.connect() as connection:
        if engine.dialect.name in _MYSQL:
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SET SESSION net_write_timeout = {_WRITE_TIMEOUT}")
            connection.commit()
        yield connection.execution_options(**options)


@contextmanager
def _translate_errors(source: str) -> Iterator[None]:
    """Turn the database's errors into ours; a driver's text may hold a password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        msg = f"{mask(source)} cannot be read ({kind}): check server, database, password and rights, then repeat this"
        raise StorageUnavailable(msg) from error


def _find_columns(inspector: Any, name: str, session_key: str, place: str) -> list[str]:
    """Return the columns to read: session, id, message and, where there is one, the time."""
    schema, _, bare = name.rpartition(".")
    if not inspector.has_table(bare, schema=schema or None):
        tables = ", ".join(inspector.get_table_names(schema=schema or None)[:20]) or "no tables"
        msg = f"{place} has no table {name!r}, it has {tables}: name the right one with --table"
        raise StorageError(msg)
    there = [column["name"] for column in inspector.get_columns(bare, schema=schema or None)]
    wanted = [session_key, "id", "message"]
    if missing := [column for column in wanted if column not in there]:
        msg = f"table {name!r} has no column {missing[0]!r}, it has {', '.join(there)}: check --table and --session-key"
        raise StorageError(msg)
    return [*wanted, *(["created_at"] if "created_at" in there else [])]


def _build_statement(
    connection: Connection, name: str, columns: list[str], session: str | None
) -> Select[Any]:
    """Write the one statement; what two databases would do to values and their order is kept out of it."""
    from sqlalchemy import LargeBinary, Text, cast, column, select, table

    schema, _, bare = name.rpartition(".")
    old = table(bare, *map(column, columns), schema=schema or None)
    expressions: list[Any] = [old.c[each] for each in columns]
    found, key, message, *times = expressions
    ordered = found
    if connection.dialect.name == "postgresql":
        found, message = cast(found, Text), cast(message, Text)  # a UUID; JSONB as the text it was
        ordered = found
    elif connection.dialect.name in _MYSQL:
        ordered = cast(found, LargeBinary)  # its collations take A and a for the same
    statement = select(found, key, message, *times).order_by(ordered, key)
    return statement if session is None else statement.where(found == session)


def _read_session(session: Any, rows: Iterable[Any], table: str) -> Incoming:
    if session is None:
        return Incoming(
            "",
            table,
            f"{table} rows without a session",
            fault="their session id is NULL: set it in a copy to import them",
        )
    session_id = _to_text(session)
    if not session_id.isascii() and session_id != session_id.encode(errors="replace").decode():
        place = f"{table} session {session_id.encode('utf-8', 'surrogateescape')!r}"
        return Incoming("", table, place, fault="its id is not UTF-8: correct it in a copy")
    return Incoming(session_id, table, f"{table} session {session_id}", _read_elements(rows, table))


def _read_elements(rows: Iterable[Any], table: str) -> Iterator[Element]:
    for ordinal, (_, key, message, *times) in enumerate(rows, 1):
        # Surrogates stand for bytes that are not UTF-8; given the bytes, the codec says where they are.
        raw = message.encode("utf-8", "surrogateescape") if isinstance(message, str) else message
        place, created_at = f"{table} row {key}", _parse_time(times[0]) if times else None
        yield parse_element(ordinal, place, raw, key=str(key), created_at=created_at)


def _to_text(session: Any) -> str:
    return session.decode("utf-8", "surrogateescape") if isinstance(session, bytes) else str(session)


def _parse_time(value: Any) -> datetime | None:
    """Return a stored time; one without a zone is in UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(moment, datetime):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
