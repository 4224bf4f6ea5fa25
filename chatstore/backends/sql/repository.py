"""`SQLRepository` and `AsyncSQLRepository`: who lends the operations a connection, and ends its transaction.

This module knows connections, transactions, savepoints and what a broken one means; it refuses to know what runs
inside (``core``, ``reading``, ``appending``) and when it is tried again (``plans``).
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, NoReturn, Self
from weakref import ref

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from chatstore.aio import AsyncRepository
from chatstore.backends.common.leases import User
from chatstore.backends.sql.dialects import dialect_for, dialect_over
from chatstore.backends.sql.driver_errors import unwrapped
from chatstore.backends.sql.engine_factory import dialect_of
from chatstore.backends.sql.engines import Engines, engines_for
from chatstore.backends.sql.failures import make_failed
from chatstore.backends.sql.lending import TOLD, Lent, free, interrupt_in, still_open, undone
from chatstore.backends.sql.levels import LEVEL, set_level
from chatstore.backends.sql.plans import SQLCore, Step
from chatstore.backends.sql.schema_check import prepare_file, schema_state, upgrade_empty
from chatstore.backends.sql.statements import Statements
from chatstore.backends.sql.url import parse_url
from chatstore.deadlines import DEFAULT, awaited, running
from chatstore.driving import Failed, Pause, adrive, drive
from chatstore.errors import ChatstoreError, Invalid
from chatstore.forks import this_thread
from chatstore.repository import Facade, Repository
from chatstore.threads import ThreadedRepository

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect as SQLAlchemyDialect
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session, scoped_session

    from chatstore.backends.sql.dialects import Dialect
    from chatstore.contract import Answer, C, T


#: In the `info` of a connection: the transaction of the caller's in which the tables were made.
_MADE = "chatstore_made"


def repository_for(target: Any, schema: str | None) -> SQLRepository:
    """Return the repository of a URL or a SQLAlchemy Engine."""
    if isinstance(target, Engine):
        dialect_for(target.dialect.name).refuse(target.url)
        return SQLRepository(target, schema=schema)
    _refuse_async(target)
    url = parse_url(target)
    if dialect_of(url).is_async:
        msg = f"the driver {url.get_driver_name()!r} awaits: use connect_async, or name another driver in the URL"
        raise Invalid(msg)
    return SQLRepository(lease=engines_for(url), schema=schema)


def async_repository_for(target: Any, schema: str | None) -> AsyncRepository:
    """Return the asynchronous repository of a URL, an AsyncEngine, or (in threads) an Engine."""
    if type(target).__name__ == "AsyncEngine":
        dialect_for(target.dialect.name).refuse(target.url)
        return AsyncSQLRepository(target, schema=schema)
    if isinstance(target, Engine):
        return ThreadedRepository(repository_for(target, schema=schema), owns=True)
    url = parse_url(target)
    if dialect_for(url.get_backend_name()).embedded:
        return ThreadedRepository(repository_for(url, schema=schema), owns=True)
    awaiting = parse_url(url, asynchronous=True)
    if not type(dialect_of(awaiting)).get_async_dialect_cls(awaiting).is_async:
        driver = url.get_driver_name()
        msg = f"the driver {driver!r} does not await: use connect, or name an asynchronous driver in the URL"
        raise Invalid(msg)
    return AsyncSQLRepository(lease=engines_for(url), schema=schema)


def _refuse_async(target: Any) -> None:
    if type(target).__name__ == "AsyncEngine":
        msg = "an AsyncEngine awaits: pass it to connect_async instead of connect"
        raise Invalid(msg)
    if not isinstance(target, str) and type(target).__name__ != "URL":
        kind = type(target).__name__
        msg = (
            f"cannot connect to a value of type {kind}: pass a URL or an Engine (a Connection goes to using)"
        )
        raise Invalid(msg)


def _meant(
    error: Exception,
    here: SQLAlchemyDialect,
    lease: Engines,
    *,
    ambiguous: bool = False,
    inside: bool = False,
) -> BaseException:
    """Return what *error* means: the interrupt below it, or what failed for a driver's, or itself."""
    interrupt = interrupt_in(error)
    if interrupt is not None:
        return interrupt
    told = error if isinstance(error, SQLAlchemyError) else unwrapped(error, here)
    if told is None:
        return error
    failed = make_failed(told, ambiguous=ambiguous, inside=inside)
    if failed.kind == "no_table":
        lease.checked.clear()  # what was there is gone (a rollback, another database): look again the next time
    return failed


# ------------------------------------------------------------------------------------- steps, on either kind of engine


def _end_inside(error: Exception, here: SQLAlchemyDialect, lease: Engines) -> NoReturn:
    """Raise what *error* means in a caller's transaction, where nothing is tried again."""
    meant = _meant(error, here, lease, inside=True)
    if meant is error:
        raise error
    if isinstance(meant, Failed):
        raise meant.error from meant.cause
    raise meant from None


def _run_step(
    engine: Engine, step: Step[Any], lease: Engines, lent: Callable[[Connection], object] = bool
) -> Any:
    """Run *step* where each statement is its own transaction; a unit in one, of which only COMMIT is ambiguous.

    *lent* is told of the connection.
    """
    ambiguous, level = False, engine.get_execution_options().get(LEVEL)
    try:
        with Lent(engine) as connection:
            lent(connection)
            if level is not None:
                set_level(connection, level)
            if lease.limit is not None:
                call, info = running.get(), connection.connection.info
                seconds = DEFAULT if call is None else call.seconds
                # A server is told of the whole: with what is left of it, it might end the telling of the next call.
                if lease.embedded and call is not None:
                    seconds = max(call.until - time.monotonic(), 0.001)
                if abs(info.get(TOLD, math.inf) - seconds) > seconds / 100:
                    lease.limit(connection, seconds)
                    info[TOLD] = seconds
            ambiguous = not step.unit
            if not step.unit:
                return step.function(connection, *step.args)
            try:
                transaction = connection.begin()
                result = step.function(connection, *step.args)
                ambiguous = True
                transaction.commit()
                return result
            except BaseException as error:
                undone(connection, error)  # in here, where an interrupt of it is still met by `Lent`
                raise
    except ChatstoreError:
        raise
    except Exception as error:
        meant = _meant(error, engine.dialect, lease, ambiguous=ambiguous)
        if meant is error:
            raise
        raise meant from None


class _OnEngine(Facade):
    """What both repositories work on."""

    _core: SQLCore
    _lease: Engines
    _schema: str | None
    _user: User

    def _take(
        self,
        engine: Engine | AsyncEngine | None,
        schema: str | None,
        lease: Engines | None,
        dialect: Dialect | None,
    ) -> None:
        """Take what the repository is made with; nothing connects."""
        self._lease = lease if lease is not None else Engines(engine)
        self._schema = schema
        if dialect is None:
            here = engine.dialect if engine is not None else dialect_of(self._lease.url)
            dialect = dialect_over(here.name, None if engine is None else engine.pool)
        self._core = SQLCore(Statements(dialect, schema))
        self._user = User()


# ------------------------------------------------------------------------------------------------ synchronous


class SQLRepository(_OnEngine, Repository):
    """Conversations in a SQL database; see `Repository` for what everything does."""

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        schema: str | None = None,
        lease: Engines | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """Work on *engine*, which is neither configured nor closed here, in database schema *schema*."""
        self._take(engine, schema, lease, dialect)
        self._lease.enter(self._user)

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if self._transaction is not None:
            return drive(operation(call), self._inside)
        if self._schema not in self._lease.checked:
            self._check()
        return drive(operation(call), self._lend)

    # ---- lending

    def _lend(self, wanted: Step[Any] | Pause) -> Any:
        if isinstance(wanted, Pause):
            time.sleep(wanted.seconds)
            return None
        lease = self._lease
        views = lease.thing if lease.thing is not None and self._user.counted else lease.lend(self._user)
        engine = views.unit if wanted.unit else views.single
        if not lease.embedded:
            return _run_step(engine, wanted, lease)
        # SQLite's own locks, too, must not be held by nobody in a forked child.
        if wanted.unit or lease.one_connection:
            with free(lease.turn or lease.find_turn()), this_thread.undivided:
                return _run_step(engine, wanted, lease)
        with this_thread.undivided:
            return _run_step(engine, wanted, lease)

    def _inside(self, step: Step[Any]) -> Any:
        """Run *step* in the caller's transaction; a change in a savepoint, so that an error leaves it usable."""
        connection = _connection_of(self._transaction)
        try:
            _ready_inside(connection, self._lease, self._schema)
            if not step.unit:
                return step.function(connection, *step.args)
            self._core.q.dialect.begin_for_savepoint(connection)
            with connection.begin_nested():
                return step.function(connection, *step.args)
        except ChatstoreError:
            raise
        except Exception as error:  # noqa: BLE001 - what is not a driver's is raised again
            _end_inside(error, connection.dialect, self._lease)

    # ---- the schema

    def _check(self) -> None:
        if not self._lease.given:
            prepare_file(self._lease.url)
        drive(self._core.ready(self._schema), self._lend)
        self._lease.checked.add(self._schema)

    # ---- the repository itself

    def using(self, transaction: Connection | Session | scoped_session[Any]) -> Self:
        """Return the same repository working inside the caller's transaction, which stays the caller's to end.

        *transaction* is a Connection or an ORM Session; each change runs in a savepoint, and nothing is committed,
        rolled back or retried. A change keeps the session's row locked until the caller ends the transaction.
        """
        from sqlalchemy.orm import Session, scoped_session  # 60 ms that programs without an ORM need not pay

        if not isinstance(transaction, Connection | Session | scoped_session):
            kind = type(transaction).__name__
            msg = f"using takes a SQLAlchemy Connection or ORM Session, not a value of type {kind}: pass one"
            raise Invalid(msg)
        return self._copied(_transaction=transaction, _core=SQLCore(self._core.q, inside=True))

    def _asynchronous(self) -> AsyncRepository:
        if self._lease.given or self._lease.embedded:
            return ThreadedRepository(self)
        return self._awaiting()

    def _awaiting(self) -> AsyncSQLRepository:
        """Return a twin on the same lease."""
        twin = AsyncSQLRepository(lease=self._lease, schema=self._schema, dialect=self._core.q.dialect)
        return twin._copied(_scope=self._scope)

    def close(self) -> None:
        """Give the engine back; the last repository on a URL disposes of it, a passed-in engine stays open.

        A repository made from a URL can be used afterwards all the same: it then opens anew, until it is closed again.
        """
        self._lease.close(self._user)


def _connection_of(transaction: Any) -> Connection:
    return transaction if isinstance(transaction, Connection) else transaction.connection()


def _ready_inside(connection: Connection, lease: Engines, schema: str | None) -> None:
    """Look whether the tables of *schema* are there; make them in the caller's transaction, whole or not at all."""
    if schema in lease.checked:
        return
    if schema_state(connection, schema) == "empty":
        dialect_for(connection.dialect.name).begin_for_savepoint(connection)
        upgrade_empty(connection, schema)
        connection.info[_MADE] = ref(connection.get_transaction())
    made = connection.info.get(_MADE)
    if made is None or made() is not connection.get_transaction():  # else a rollback takes them away
        lease.checked.add(schema)


# ------------------------------------------------------------------------------------------------ asynchronous


class AsyncSQLRepository(_OnEngine, AsyncRepository):
    """The same with ``await``, on an AsyncEngine or, for a URL, on one for each running loop."""

    def __init__(
        self,
        engine: AsyncEngine | None = None,
        *,
        schema: str | None = None,
        lease: Engines | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """Work on *engine*, which is neither configured nor closed here, in database schema *schema*."""
        self._take(engine, schema, lease, dialect)

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if self._transaction is not None:
            return await adrive(operation(call), self._inside)
        if self._schema not in self._lease.checked:
            await self._check()
        return await adrive(operation(call), self._lend)

    async def _lend(self, wanted: Step[Any] | Pause) -> Any:
        if isinstance(wanted, Pause):
            await asyncio.sleep(wanted.seconds)
            return None
        views = self._lease.lend_awaiting(self._user)
        engine = views.unit if wanted.unit else views.single
        lent: list[Connection] = []
        work = greenlet_spawn(_run_step, engine.sync_engine, wanted, self._lease, lent.append)
        try:
            return await awaited(work, "the database did not answer", unknown=wanted.writes)
        except BaseException:
            # An interrupt between the loop and the step leaves the step where it is, and with it a transaction.
            for connection in lent:
                if (driver := still_open(connection)) is not None:
                    self._core.q.dialect.end(driver)
            raise

    async def _inside(self, step: Step[Any]) -> Any:
        connection = await _async_connection_of(self._transaction)
        try:
            await connection.run_sync(_ready_inside, self._lease, self._schema)
            if not step.unit:
                return await connection.run_sync(step.function, *step.args)
            await connection.run_sync(self._core.q.dialect.begin_for_savepoint)
            async with connection.begin_nested():
                return await connection.run_sync(step.function, *step.args)
        except ChatstoreError:
            raise
        except Exception as error:  # noqa: BLE001 - what is not a driver's is raised again
            _end_inside(error, connection.dialect, self._lease)

    async def _check(self) -> None:
        await adrive(self._core.ready(self._schema), self._lend)
        self._lease.checked.add(self._schema)

    def using(self, transaction: AsyncConnection | AsyncSession) -> Self:
        """Return the same repository working inside the caller's transaction, which stays the caller's to end.

        *transaction* is an AsyncConnection or an AsyncSession; else as `SQLRepository.using`.
        """
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

        if not isinstance(transaction, AsyncConnection | AsyncSession | async_scoped_session):
            kind = type(transaction).__name__
            msg = f"using takes an AsyncConnection or AsyncSession, not a value of type {kind}: pass one"
            raise Invalid(msg)
        return self._copied(_transaction=transaction, _core=SQLCore(self._core.q, inside=True))

    async def close(self) -> None:
        """Give the engine back; the last repository on a URL disposes of it, a passed-in engine stays open.

        A repository made from a URL can be used afterwards all the same: it then opens anew, until it is closed again.
        """
        await self._lease.aclose(self._user)


async def _async_connection_of(transaction: Any) -> AsyncConnection:
    from sqlalchemy.ext.asyncio import AsyncConnection

    return transaction if isinstance(transaction, AsyncConnection) else await transaction.connection()
