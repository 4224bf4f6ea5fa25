"""Lending a connection to one call, so that no interrupt of the call is met by the next one.

A signal's handler, Ctrl-C, a cancellation or an exception sent to a thread ends a call at any line: after BEGIN,
between a statement and its answer, inside SQLAlchemy's pool. So nothing that runs on the way out is relied upon. A
connection goes back only if its call says, as its last act, that the connection is clean. A call that cannot say so
any more has left it dirty, and it is closed. A connection that an interrupt loses on its way is no longer counted.

This module knows SQLAlchemy's connections and pools; it refuses to know what they are lent for.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool, SingletonThreadPool, StaticPool
from sqlalchemy.pool.base import _ConnectionRecord
from sqlalchemy.util import await_only

from chatstore.deadlines import left, passed
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from sqlalchemy import Connection, Engine

#: The execution option that makes a transaction of an engine of ours begin. Without it each statement stands alone:
#: drivers are in autocommit, which saves setting and resetting it around every single statement.
WRITES = "chatstore_writes"
#: The execution option of a connection of ours, whose statements may go to the driver directly. On one that was passed
#: in they go through SQLAlchemy, where the application may have hung its own instruments.
DIRECT = "chatstore_direct"
#: In the `info` of a connection: for how many seconds its database was last told to work, or wait, for a call.
TOLD = "chatstore_told"
#: What a call leaves in the `info` of a connection that may be lent again.
_CLEAN = "chatstore_clean"
#: Seconds after which who waits for a connection looks whether one was lost instead of given back.
_LOOK_SECONDS = 0.1
#: Seconds until the garbage of the process is collected again for this, or twenty times as long as it took last, where
#: that is longer: in a process with many objects it stands still for seconds.
_COLLECT_SECONDS = 5.0


def free(turn: Any) -> AbstractContextManager[object]:
    """Wait until *turn* is free, or this thread's already, and return it; raise at the deadline.

    Who takes it then, by a plain ``with``, which no interrupt can leave half done, may still wait for another thread's
    call, which has a deadline too.
    """
    if turn._is_owned():
        return turn  # type: ignore[no-any-return]
    try:
        taken = turn.acquire(blocking=False) or turn.acquire(timeout=left(TIMEOUT_MAX))
        if taken:
            turn.release()
    except BaseException:
        if turn._is_owned():  # an interrupt came in between
            turn.release()
        raise
    if not taken:
        raise passed("other threads of this process used the SQLite file")
    return turn  # type: ignore[no-any-return]


class Lent:
    """A connection of *engine* for one call: ``with Lent(engine) as connection``.

    What the call has begun and not committed is rolled back. After an error that is neither chatstore's nor a
    driver's, nobody knows how far the call came: the connection is closed then, and the server rolls back.
    """

    __slots__ = ("_connection", "_engine")

    def __init__(self, engine: Engine) -> None:
        """Connect on entering."""
        self._engine = engine

    def __enter__(self) -> Connection:
        self._connection = self._engine.connect()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        connection = self._connection
        try:
            if error is None:
                connection.rollback()  # nothing is sent where nothing is open
            elif not undone(connection, error):
                _give_up(connection, error)
            if not connection.invalidated:
                connection.connection.info[_CLEAN] = True
        except BaseException as another:  # noqa: BLE001 - or what it hides is raised
            connection.invalidate(another)
            raise interrupt_in(another) or another from None
        finally:
            # Of one that is given back, what SQLAlchemy knows may be half made.
            if not connection.invalidated:
                connection.close()


def undone(connection: Connection, error: BaseException) -> bool:
    """Roll back what *error* ended; False after an interrupt, when nobody knows how far the call came.

    Where that fails too, *error* is what the caller should hear of.
    """
    if not isinstance(error, ChatstoreError | SQLAlchemyError) or interrupt_in(error) is not None:
        return False
    try:
        connection.rollback()
    except SQLAlchemyError as another:
        connection.invalidate(another)
    return True


def _give_up(connection: Connection, error: BaseException) -> None:
    """Close a connection that may be anywhere; a passed-in engine's only one may be the database: it is rolled back."""
    if isinstance(connection.engine.pool, StaticPool | SingletonThreadPool):
        connection.rollback()
    else:
        connection.invalidate(error)


def still_open(connection: Connection) -> Any:
    """Return the driver's connection where *connection* was neither given back nor given up, else None."""
    if connection.closed or connection.invalidated:
        return None
    return connection.connection.driver_connection


def interrupt_in(error: BaseException) -> BaseException | None:
    """Return the interrupt that *error*, made by SQLAlchemy, came on top of or took for a fault; None for others."""
    below = error
    while isinstance(below, _CHECKS) and below.__context__ is not None:
        below = below.__context__
    if type(below) is StatementError and below.orig is not None and not isinstance(below.orig, _FAULTS):
        return below.orig
    return None if below is error or isinstance(below, SQLAlchemyError) else below


#: What SQLAlchemy's own checks that a transaction has ended raise, also where an interrupt kept it from ending.
_CHECKS = (AssertionError, AttributeError)
#: What a parameter that cannot be written raises; anything else under a bare StatementError came from outside.
_FAULTS = (SQLAlchemyError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


class LendingPool(QueuePool):
    """A pool that lends a connection again only after a call that said that it is clean.

    It counts the connections that there are, instead of how many were lent and given back: an interrupt may come
    between these two, and would make a pool that counts them smaller each time.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what `QueuePool` takes."""
        super().__init__(*args, **options)
        # Their methods are atomic: no interrupt finds them half changed, and none leaves a lock held. Nobody waits by
        # the queue's own `get`, which may never end in spite of its timeout where somebody else takes what was put.
        self._idle: SimpleQueue[ConnectionPoolEntry] = SimpleQueue()
        self._waiting: deque[Any] = deque()
        self._records: WeakSet[ConnectionPoolEntry] = WeakSet()
        self._ended = False
        self._collect_again = 0.0

    def _do_get(self) -> ConnectionPoolEntry:
        until: float | None = None
        while True:
            try:
                return self._idle.get_nowait()
            except Empty:
                pass
            record = self._new()
            if record is not None:
                return record
            now = time.monotonic()
            until = now + left(self._timeout) if until is None else until
            if now >= until and not self._collect(now):
                msg = f"all {len(self._records)} connections stayed in use"
                raise PoolTimeout(msg)
            self._wait(min(_LOOK_SECONDS, max(until - now, 0)))

    def _collect(self, now: float) -> bool:
        """Free what an interrupt may have left in a cycle; once for all who stop waiting at about the same time."""
        if now < self._collect_again:
            return False
        freed = gc.collect()
        ended = time.monotonic()
        self._collect_again = ended + max(_COLLECT_SECONDS, 20 * (ended - now))
        return freed > 0

    def _new(self) -> ConnectionPoolEntry | None:
        """Return a record that connects when it is used, or None where there are as many as may be."""
        record = _ConnectionRecord(self, connect=False)
        self._records.add(record)
        if self._max_overflow < 0 or len(self._records) <= self.size() + self._max_overflow:
            return record
        self._records.discard(record)
        self._forget_lost()
        return None

    def _known(self) -> list[ConnectionPoolEntry]:
        while True:
            try:
                return list(self._records)
            except RuntimeError:  # another thread added one meanwhile
                continue

    def _forget_lost(self) -> None:
        """Close connections whose call lost them, where an interrupt kept SQLAlchemy from hearing of it.

        Whoever loses one is told of by the garbage collector, in the midst of another call, which may be interrupted.
        """
        for record in filter(_is_lost, self._known()):
            self._records.discard(record)
            record.close()

    def _wait(self, seconds: float) -> None:
        """Wait until a record comes back, *seconds* at most."""
        turn = Lock()
        turn.acquire()
        self._waiting.append(turn)
        if self._idle.empty():  # still: who gave one back just before this saw nobody wait
            turn.acquire(timeout=seconds)
        with suppress(ValueError):  # taken out by who gave a record back
            self._waiting.remove(turn)

    def _wake(self) -> None:
        """Have one of those go on who wait; one that has gone meanwhile costs the others `_LOOK_SECONDS`."""
        with suppress(IndexError):
            self._waiting.popleft().release()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        clean = record.info.pop(_CLEAN, False)
        if self._ended or 0 < self.size() <= self._idle.qsize():
            self._records.discard(record)
            record.close()
            if self._waiting:
                self._wake()
            return
        if not clean:
            record.invalidate()
        self._records.add(record)  # which may have been taken for lost just now
        self._idle.put(record)
        if self._waiting:
            self._wake()

    def dispose(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._ended = True
        while True:
            try:
                record = self._idle.get_nowait()
            except Empty:
                return
            self._records.discard(record)
            record.close()

    def drivers(self) -> list[Any]:
        """Return the drivers' own connections that there are."""
        fairies = [record.dbapi_connection for record in self._known()]
        return [one.driver_connection for one in fairies if one is not None]

    def checkedin(self) -> int:
        """Return how many connections are idle."""
        return self._idle.qsize()

    def checkedout(self) -> int:
        """Return how many connections are lent."""
        return len(self._records) - self._idle.qsize() - sum(map(_is_lost, self._known()))

    def overflow(self) -> int:
        """Return by how many the connections are more than the pool keeps."""
        return len(self._records) - self.size()


def _is_lost(record: Any) -> bool:
    """Tell whether nobody has the connection of *record* any more, though SQLAlchemy has not heard of it."""
    call = record.fairy_ref
    return call is not None and call() is None


class AwaitingPool(LendingPool):
    """The same for the tasks of one event loop."""

    _is_asyncio = True

    def _wait(self, seconds: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await_only(asyncio.wait([turn], timeout=seconds))
        turn.cancel()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
