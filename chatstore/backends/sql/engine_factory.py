"""Engines of our own, made for a URL: pools, patience, and how their transactions begin.

Knows SQLAlchemy's engines and events; refuses to know how long an engine lives, and what differs between databases,
which their dialects say.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import ArgumentError, InvalidRequestError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from chatstore.backends.sql import execution
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.driver_errors import is_lost
from chatstore.backends.sql.lending import AwaitingPool, LendingPool
from chatstore.backends.sql.url import is_memory, parse_url
from chatstore.errors import Invalid
from chatstore.extras import driver_not_installed
from chatstore.schemes import unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from sqlalchemy import URL, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncEngine

    from chatstore.backends.sql.dialects import Dialect

MadeT = TypeVar("MadeT")


def new_engine(url: str | URL, **options: Any) -> Engine:
    """Return an engine of our own for *url*; no I/O happens before its first use.

    Raises `MissingDependency` with the pip command where the driver is not installed, `Invalid` for a bad URL.
    """
    parsed = parse_url(url)
    dialect = dialect_for(parsed.get_backend_name())
    options.setdefault("hide_parameters", True)
    if dialect.embedded:
        return _begun_by(dialect, dialect.open(parsed, options))
    dialect_of(parsed)
    made_for, told = dialect.arguments(parsed)
    options.setdefault("connect_args", told)
    options.setdefault("poolclass", LendingPool)
    if not dialect.begins_explicitly(parsed):
        engine = _guarded(parsed, lambda: create_engine(made_for, **options))
        dialect.prepare_engine(engine, parsed)
        return engine
    # Every transaction is ended where it was begun, and a connection where that failed does not come back.
    options["connect_args"]["autocommit"] = True
    engine = _guarded(parsed, lambda: create_engine(made_for, pool_reset_on_return=None, **options))
    event.listen(_begun_by(dialect, engine), "handle_error", _notice_broken)
    dialect.prepare_engine(engine, parsed)
    return engine


def new_async_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """Return an asynchronous engine of our own for *url*, for the running loop only."""
    from sqlalchemy.ext.asyncio import create_async_engine  # 40 ms that synchronous callers need not pay

    parsed = parse_url(url, asynchronous=True)
    dialect = dialect_for(parsed.get_backend_name())
    options.setdefault("hide_parameters", True)
    made_for, told = dialect.arguments(parsed)
    options.setdefault("connect_args", told)
    options.setdefault("poolclass", AwaitingPool)
    explicit = dialect.begins_explicitly(parsed) and not dialect.embedded
    if explicit:
        options["connect_args"]["autocommit"] = True
    engine = _guarded(parsed, lambda: create_async_engine(made_for, **options))
    if explicit:
        event.listen(_begun_by(dialect, engine.sync_engine), "handle_error", _notice_broken)
    dialect.prepare_engine(engine.sync_engine, parsed)
    return engine


def migration_engine(url: str | URL) -> Engine:
    """Return an engine for one migration: no pool (but for a memory database), transactions as SQLAlchemy has them."""
    parsed = parse_url(url)
    dialect = dialect_for(parsed.get_backend_name())
    if is_memory(parsed):
        return new_engine(parsed)
    options: dict[str, Any] = {"poolclass": NullPool, "hide_parameters": True}
    if dialect.embedded:
        # Looking whether somebody's file is ours must not turn it to WAL; the first repository on it will.
        return _begun_by(dialect, dialect.open(parsed, options, look_only=True))
    dialect_of(parsed)
    made_for, options["connect_args"] = dialect.arguments(parsed)
    return _guarded(parsed, lambda: create_engine(made_for, **options))


def dialect_of(url: URL) -> sa.Dialect:
    """Return SQLAlchemy's dialect of *url*, whose driver must be installed, without making an engine.

    Raises `Invalid` for an option that its driver does not know, and for a database that cannot keep what is promised.
    """
    ours = dialect_for(url.get_backend_name())
    ours.refuse(url)

    def load() -> sa.Dialect:
        kind = url.get_dialect()
        kind.import_dbapi()
        return kind()

    here = _guarded(url, load)
    ours.translated(url)
    return here


def begins_explicitly(url: URL) -> bool:
    """Tell whether an engine of ours for *url* begins only transactions that have the `WRITES` option."""
    return dialect_for(url.get_backend_name()).begins_explicitly(url)


def _begun_by(dialect: Dialect, engine: Engine) -> Engine:
    """Have *engine* begin the transactions that have the `WRITES` option, in the way of *dialect*."""
    event.listen(engine, "begin", partial(execution.begin, dialect.begin))
    return engine


def _notice_broken(context: ExceptionContext) -> None:
    """Have the pool drop a connection that only its driver knows to be broken."""
    context.is_disconnect = context.is_disconnect or is_lost(context.original_exception)


def _guarded(url: URL, make: Callable[[], MadeT]) -> MadeT:
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
