"""One connection for one look or one migration: how it is opened, what its errors mean, which revision it finds.

This module knows databases outside of a repository; it refuses to know what a migration does, and imports no
Alembic, so that looking at a database costs little.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from chatstore.backends.sql.driver_errors import kind_of
from chatstore.backends.sql.engine_factory import migration_engine
from chatstore.backends.sql.failures import make_failed
from chatstore.backends.sql.schema_check import stored_revision
from chatstore.backends.sql.url import create_private_file, parse_url, sqlite_path
from chatstore.errors import Invalid, SchemaError, StorageUnavailable
from chatstore.forks import this_thread
from chatstore.schemes import unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Dialect

#: What a migration says otherwise than a call of a repository's.
_WHY = {
    "busy": "another connection holds a lock on the tables: end it, then run this again",
    "damaged": "the database file is damaged: restore it from a backup, or try sqlite3's .recover",
    "full": "the disk is full: make room, then run this again",
    "no_database": "the file is no SQLite database: check the URL's path, or move that file away",
    "readonly": "the database is read-only: run this where it can be written",
}
#: What it says in the same words, being no step that a database refused.
_SAME = frozenset({"lost", "limit", "timeout", "refused", "rights", "tls", "option"})


def current(target: str | URL | Engine | Connection, *, schema: str | None = None) -> str | None:
    """Return the revision a database is at; None where it holds none of our tables. Creates nothing."""
    with translate_errors(), connected(target, create=False) as connection:
        return stored_revision(connection, schema)[0] or None


@contextlib.contextmanager
def connected(target: str | URL | Engine | Connection, *, create: bool) -> Iterator[Connection]:
    """Lend a connection to *target*; a SQLite file that is missing is created, or else read as empty."""
    if isinstance(target, Connection):
        yield target
        return
    if isinstance(target, Engine):
        with target.connect() as connection:
            yield connection
        return
    if not isinstance(target, str | URL):
        msg = (
            f"a database is named by a URL, an Engine or a Connection, not by a value of type {type(target).__name__}: "
            "pass one of these (of asynchronous ones, by connection.run_sync)"
        )
        raise Invalid(msg)
    url = _synchronous(parse_url(target))
    path = sqlite_path(url)
    if path is not None and not path.exists():
        if create:
            create_private_file(path)
        else:
            url = URL.create(url.get_backend_name())  # in memory
    engine = migration_engine(url)
    try:
        with (
            contextlib.nullcontext() if path is None else this_thread.undivided,
            engine.connect() as connection,
        ):
            yield connection
    finally:
        engine.dispose()


def _synchronous(url: URL) -> URL:
    """Replace an asynchronous driver by the usual one: a migration has nothing else to do meanwhile."""
    return parse_url(url.set(drivername=url.get_backend_name())) if dialect_of(url).is_async else url


def dialect_of(url: URL) -> type[Dialect]:
    """Return the dialect of *url* without its driver; `Invalid` where nobody has installed it."""
    try:
        return url.get_dialect()
    except NoSuchModuleError:
        raise unknown(url.drivername) from None


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the errors of drivers and of the file system into ours."""
    try:
        yield
    except SQLAlchemyError as error:
        kind = kind_of(error)
        if kind in _SAME:
            told = make_failed(error)
            raise told.error from told.cause
        why = _WHY.get(kind)
        if why is None:
            raise SchemaError(
                f"the database refused a step of the migration ({_first_line(error)}): correct what it says, "
                "then run this again"
            ) from error
        raise StorageUnavailable(why) from error
    except OSError as error:
        raise StorageUnavailable(
            f"the database file cannot be opened ({error.strerror}): check that its folder is there and yours"
        ) from error


def _first_line(error: SQLAlchemyError) -> str:
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
