"""`Engines`: the engines for a database of ours or of the caller's, and which of its schemas have been looked at.

This module knows how an engine is made and prepared, and what is held by who writes to a SQLite file. How long engines
live is the lease's (`chatstore.backends.common.leases`). It refuses to know sessions and messages.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event

from chatstore.backends.common.leases import Lease, shared
from chatstore.backends.sql.dialects import dialect_for, waiting
from chatstore.backends.sql.dialects.base import autocommits
from chatstore.backends.sql.engine_factory import begins_explicitly, new_async_engine, new_engine
from chatstore.backends.sql.lending import DIRECT, WRITES
from chatstore.backends.sql.levels import LEVEL
from chatstore.backends.sql.url import is_memory, sqlite_path
from chatstore.forks import renewed_in_child, this_thread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

EngineT = TypeVar("EngineT", "Engine", "AsyncEngine")

_log = logging.getLogger("chatstore")
#: The schemas found ready on engines that were passed in.
_checked: WeakKeyDictionary[Engine, set[str | None]] = WeakKeyDictionary()


class Views(NamedTuple, Generic[EngineT]):
    """An engine, and views of it on the same pool: for single statements, and for units."""

    single: EngineT
    unit: EngineT
    engine: EngineT


class Engines(Lease["Views[Engine]", "Views[AsyncEngine]"]):
    """The engines for a URL, or one that was passed in."""

    def __init__(self, engine: Engine | AsyncEngine | None = None, url: URL | None = None) -> None:
        """Lend an *engine* of the caller's, or make one for *url* at the first use."""
        self.url: URL = engine.url if engine is not None else cast("URL", url)
        #: Whether the database is in this process, and calls share its locks.
        dialect = dialect_for(self.url.get_backend_name())
        self.embedded = dialect.embedded
        #: Has the database of an engine of ours keep the deadline of a call.
        self.limit = dialect.limit if engine is None else None
        self._end = dialect.end
        #: Whether all threads share one connection (SQLite in memory).
        self.one_connection = is_memory(self.url)
        #: The schemas that were found ready.
        self.checked: set[str | None] = set()
        if engine is not None:
            inner: Engine = engine if isinstance(engine, Engine) else engine.sync_engine
            self.checked = _checked.setdefault(inner, self.checked)
        #: What a unit on a SQLite file holds, and any step on a connection that all threads share.
        self.turn: AbstractContextManager[object] | None = None
        views: Any = None if engine is None else _views(cast("Any", engine), ours=False)
        #: What the caller's engine has open when it is passed in is this process's own.
        self._may_have_crossed = False
        super().__init__(views)
        self._may_have_crossed = self.given

    # ---- what `Lease` asks

    def make(self) -> Views[Engine]:
        """Make an engine."""
        engine = new_engine(self.url)
        _connect_undivided(engine)
        return _views(engine, ours=True)

    def make_awaiting(self) -> Views[AsyncEngine]:
        """Make an engine for the running loop."""
        engine = new_async_engine(self.url)
        _connect_undivided(engine.sync_engine)
        return _views(engine, ours=True)

    def dispose(self, thing: Views[Engine]) -> None:
        """Close the pool's connections."""
        thing.engine.dispose()

    async def dispose_awaiting(self, thing: Views[AsyncEngine]) -> None:
        """Close the pool's connections."""
        await thing.engine.dispose()

    def abandon(self, thing: Views[AsyncEngine]) -> None:
        """End its connections, as far as their driver can without its loop."""
        pool: Any = thing.engine.sync_engine.pool
        for driver in pool.drivers():
            with suppress(RuntimeError):  # the loop is closed
                self._end(driver)

    def leave(self, thing: Views[Engine]) -> None:
        """Let go of an engine of the parent's: some drivers take leave of the server when they are collected."""
        if self.one_connection:
            thing.engine.dispose()
            self.checked.clear()  # a new connection is a new database
        else:
            super().leave(thing)

    def unlearn(self) -> None:
        """Forget which schemas were found ready."""
        self.checked.clear()

    # ---- a SQLite file

    def find_turn(self) -> AbstractContextManager[object]:
        """Find, and keep in `turn`, what holds other threads of this process off the file: its waiting is not fair."""
        shared_by = self.thing.engine if self.given else self
        name = f"memory {id(shared_by)}" if self.one_connection else str(self.url.database)
        self.turn = turn = _turns.find(name)
        return turn

    def _renew(self) -> None:
        """Begin anew in a forked child."""
        self.turn = None  # another thread of the parent may have had it
        super()._renew()
        if self._may_have_crossed:
            self._look_for_crossed()

    def _look_for_crossed(self) -> None:
        """Warn in a child to which an engine of the caller's brought connections to a SQLite file."""
        path = sqlite_path(self.url)
        pool: Any = getattr(self.thing.engine, "pool", None)
        if path is not None and hasattr(pool, "checkedin") and pool.checkedin() + pool.checkedout() > 0:
            _log.warning(
                "an engine that was passed in has connections to %s from before this process was forked, and SQLite "
                "loses messages over such: call engine.dispose() before the fork",
                path,
            )


class _Turns:
    """A lock for each SQLite file that this process writes to, and each connection that threads share."""

    def __init__(self) -> None:
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._locks = dict[str, Any]()

    def find(self, name: str) -> AbstractContextManager[object]:
        lock: AbstractContextManager[object] = self._locks.get(name) or self._locks.setdefault(name, RLock())
        return lock


_turns = _Turns()


def engines_for(url: URL) -> Engines:
    """Return the engines for *url* in this process."""
    if is_memory(url):
        return Engines(url=url)  # it is its connection's: sharing one by URL would mix strangers' data
    return shared(Engines, url.render_as_string(hide_password=False), make=lambda: Engines(url=url))


def _connect_undivided(engine: Engine) -> None:
    """Have forks wait while a server is connected to: a child would find TLS's own locks held, and hang."""
    if not dialect_for(engine.dialect.name).embedded:  # whose calls are undivided as a whole
        event.listen(engine, "do_connect", _connect)
        event.listen(engine, "invalidate", waiting.cut_off)


def _connect(dialect: Dialect, _: object, args: Any, options: Any) -> Any:
    with this_thread.undivided:
        return waiting.connect(dialect, args, options)


def _views(engine: EngineT, *, ours: bool) -> Views[EngineT]:
    """Return the views of *engine*.

    An engine of ours commits each statement by itself and begins units explicitly; on one that was passed in,
    autocommit is set for a single statement. SQLite's driver commits a single statement anyway. An engine that was
    made with autocommit would keep half a unit, so that units are given a transaction there.
    """
    if ours and begins_explicitly(engine.url):
        return Views(
            engine.execution_options(**{DIRECT: True}),
            engine.execution_options(**{DIRECT: True, WRITES: True}),
            engine,
        )
    dialect = dialect_for(engine.dialect.name)
    unit = engine.execution_options(**{LEVEL: dialect.isolation}) if autocommits(engine) else engine
    single = engine if dialect.embedded else engine.execution_options(**{LEVEL: "AUTOCOMMIT"})
    return Views(single, unit, engine)
