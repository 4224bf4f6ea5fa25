"""`Place`: a database of ours or of the caller's, and whether its schema has been looked at.

This module knows engines and how long they live: one for each URL and process, counted, and new in a forked child.
It refuses to know sessions and messages.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Engine, MetaData, String, Table, event, inspect, select

from chatstore.backends.common.leases import Registry
from chatstore.backends.sql import models
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.dialects.base import autocommits
from chatstore.backends.sql.engine_factory import begins_explicitly, new_async_engine, new_engine
from chatstore.backends.sql.lending import DIRECT, WRITES
from chatstore.backends.sql.url import create_private_file, is_memory, sqlite_path
from chatstore.errors import SchemaError, SchemaMissing, SchemaOutdated, SchemaTooNew, StorageError
from chatstore.forks import renewed_in_child, undivided

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

EngineT = TypeVar("EngineT", "Engine", "AsyncEngine")

#: The version table of a host application's own migrations.
HOSTS_TABLE = "alembic_version"
_log = logging.getLogger("chatstore")
_file_locks: dict[str, Any] = {}
#: The schemas found ready on engines that were passed in.
_checked: WeakKeyDictionary[Engine, set[str | None]] = WeakKeyDictionary()
#: In a forked child, what belongs to the parent: to collect it would touch the parent's sockets.
_left_alone: list[Any] = []


class Place:
    """Where the tables are: an engine made here for a URL, or one that was passed in."""

    def __init__(self, engine: Engine | AsyncEngine | None = None, url: URL | None = None) -> None:
        """Hold an *engine* of the caller's, or make one for *url* at the first use."""
        self.url: URL = engine.url if engine is not None else cast("URL", url)
        self.given = engine is not None
        #: Whether all threads share one connection (SQLite in memory).
        self.one_connection = is_memory(self.url)
        #: Whether the database is in this process, and calls share its locks.
        self.embedded = dialect_for(self.url.get_backend_name()).embedded
        #: What a call runs in: its locks, SQLite's own among them, must not be held by nobody in a forked child.
        self.undivided: AbstractContextManager[None] = undivided if self.embedded else nullcontext()
        self._async_given: tuple[AsyncEngine, AsyncEngine] | None = None
        self.users = 0
        self.checked: set[str | None] = set()
        if engine is not None:
            inner: Engine = engine if isinstance(engine, Engine) else engine.sync_engine
            self.checked = _checked.setdefault(inner, self.checked)
        self._engine: Engine | None = None
        if isinstance(engine, Engine):
            self._engine = engine
        elif engine is not None:
            self._async_given = _views(engine, ours=False)
        self._async_engines: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[AsyncEngine, AsyncEngine, set[int]]
        ]
        self._async_engines = WeakKeyDictionary()
        self._derived: tuple[Engine, Engine, Engine] | None = None
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        """Begin anew in a forked child: the parent's sockets stay the parent's."""
        self._lock = Lock()
        _file_locks.clear()
        if self.given:
            self._look_for_crossed()
        elif self._engine is not None:
            # Not only its pool is the parent's: another thread may be half way through the first look at the server.
            if self.one_connection:
                self._engine.dispose()
                self.checked.clear()  # a new connection is a new database
            else:
                # Some drivers take leave of the server when they are collected.
                _left_alone.append(self._engine)
            self._engine = None
        if self._async_engines:
            _left_alone.append(list(self._async_engines.values()))
            self._async_engines.clear()

    def _look_for_crossed(self) -> None:
        """Warn in a child to which an engine of the caller's brought connections to a SQLite file."""
        path = sqlite_path(self.url)
        pool: Any = getattr(self._engine or (self._async_given or [None])[0], "pool", None)
        if path is not None and hasattr(pool, "checkedin") and pool.checkedin() + pool.checkedout() > 0:
            _log.warning(
                "an engine that was passed in has connections to %s from before this process was forked, and SQLite "
                "loses messages over such: call engine.dispose() before the fork",
                path,
            )

    # ---- engines

    @property
    def engine(self) -> Engine:
        """The synchronous engine."""
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = new_engine(self.url)
                    _connect_undivided(self._engine)
        return self._engine

    def engines(self) -> tuple[Engine, Engine]:
        """Return views of the engine on the same pool: for single statements, and for units."""
        if self._derived is None or self._derived[0] is not self.engine:
            engine = self.engine
            single, unit = _views(engine, ours=not self.given)
            self._derived = (engine, single, unit)
        return self._derived[1:]

    def async_engines(self, user: object = None) -> tuple[AsyncEngine, AsyncEngine]:
        """Return the same views for the running loop, whose engine is kept until its last *user* closes."""
        if self._async_given is not None:
            return self._async_given
        loop = asyncio.get_running_loop()
        kept = self._async_engines.get(loop)
        if kept is None:
            engine = new_async_engine(self.url)
            _connect_undivided(engine.sync_engine)
            kept = self._async_engines[loop] = (*_views(engine, ours=True), set())
        if user is not None:
            kept[2].add(id(user))
        return kept[:2]

    def serial(self, *, unit: bool) -> AbstractContextManager[object]:
        """Hold other threads of this process off a SQLite file in a *unit*: its own waiting is not fair."""
        if not self.embedded or not (unit or self.one_connection):
            return nullcontext()
        name = f"memory {id(self.engine)}" if self.one_connection else str(self.url.database)
        lock: AbstractContextManager[object] = _file_locks.get(name) or _file_locks.setdefault(name, RLock())
        return lock

    def close(self) -> None:
        """Count one user less; dispose of what was made here with the last."""
        last = _registry.given_back(self)
        if last and not self.given and self._engine is not None:
            self._engine.dispose()

    async def release(self, user: object) -> None:
        """Give the running loop's engine back, which goes with its last user."""
        loop = asyncio.get_running_loop()
        kept = self._async_engines.get(loop)
        if kept is not None:
            kept[2].discard(id(user))
            if not kept[2]:
                del self._async_engines[loop]
                await kept[0].dispose()


def _connect_undivided(engine: Engine) -> None:
    """Have forks wait while a server is connected to: a child would find TLS's own locks held, and hang."""
    if not dialect_for(engine.dialect.name).embedded:  # whose calls are undivided as a whole
        event.listen(engine, "do_connect", _connect)


def _connect(dialect: Dialect, _: object, args: Any, options: Any) -> Any:
    with undivided:
        return dialect.connect(*args, **options)


def _views(engine: EngineT, *, ours: bool) -> tuple[EngineT, EngineT]:
    """Return views of *engine* for single statements and for units.

    An engine of ours commits each statement by itself and begins units explicitly; on one that was passed in,
    autocommit is set for a single statement. SQLite's driver commits a single statement anyway. An engine that was
    made with autocommit would keep half a unit, so that units are given a transaction there.
    """
    if ours and begins_explicitly(engine.url):
        return engine.execution_options(**{DIRECT: True}), engine.execution_options(
            **{DIRECT: True, WRITES: True}
        )
    dialect = dialect_for(engine.dialect.name)
    unit = engine.execution_options(isolation_level=dialect.isolation) if autocommits(engine) else engine
    return (engine if dialect.embedded else engine.execution_options(isolation_level="AUTOCOMMIT")), unit


_registry: Registry[Place] = Registry()


def shared(url: URL) -> Place:
    """Return the place of *url* in this process, counted once more."""
    if is_memory(url):
        return Place(url=url)  # it is its connection's: sharing one by URL would mix strangers' data
    return _registry.lent(url.render_as_string(hide_password=False), lambda: Place(url=url))


# ------------------------------------------------------------------------------------------------ the schema


def prepare_file(url: URL) -> None:
    """Create a missing SQLite file for its owner only; raise `StorageError` where that cannot be."""
    path = sqlite_path(url)
    if path is None or str(path).startswith("file:"):
        return
    if path.is_dir():
        msg = f"{path} is a directory, not a SQLite file: name a file inside it"
        raise StorageError(msg)
    if not path.exists():
        try:
            create_private_file(path)
        except OSError as error:
            what = "give this user the right to write in" if path.parent.is_dir() else "create"
            msg = f"the SQLite file {path} cannot be created ({error.strerror}): {what} its folder, or name another"
            raise StorageError(msg) from error


def schema_state(connection: Connection, schema: str | None) -> str:
    """Return 'ready' or 'empty' (a SQLite database without any table), or raise a `SchemaError`."""
    if not connection.get_execution_options().get(DIRECT):
        dialect_for(connection.dialect.name).warn(connection)
    found, where = stored_revision(connection, schema)
    if found == models.HEAD:
        return "ready"
    if not found:
        inspector = inspect(connection)
        if dialect_for(connection.dialect.name).embedded and not inspector.get_table_names(schema=schema):
            return "empty"
        if inspector.has_table(models.sessions.name, schema=schema):
            msg = (
                "the database has chatstore's tables, but nothing says at which revision: "
                "run chatstore upgrade on it, which looks whether they are as they should be"
            )
            raise SchemaError(msg)
        msg = "the database has no chatstore tables: run chatstore upgrade (or alembic upgrade head) on it"
        raise SchemaMissing(msg)
    if found < models.HEAD:
        msg = f"the database is at {found}, this release needs {models.HEAD}: run {upgrade_command(where)} on it"
        raise SchemaOutdated(msg)
    _check_newer(connection, schema, found)
    return "ready"


def stored_revision(connection: Connection, schema: str | None) -> tuple[str, str]:
    """Return the revision the tables are at ('' where none is told), and the version table that says so.

    A host may have taken our revisions into its own history; then they stand in its version table.
    """
    inspector = inspect(connection)
    for name in (models.VERSION_TABLE, HOSTS_TABLE):
        if inspector.has_table(name, schema=schema):
            versions = Table(name, MetaData(), Column("version_num", String(32)), schema=schema)
            stored = connection.execute(select(versions.c.version_num)).scalars()
            found = max((version for version in stored if version.startswith("chatstore_")), default="")
            if found:
                return found, name
    return "", models.VERSION_TABLE


def upgrade_command(version_table: str) -> str:
    """Return what brings tables to this release whose revision stands in *version_table*."""
    return (
        "the application's own alembic upgrade heads" if version_table == HOSTS_TABLE else "chatstore upgrade"
    )


def _check_newer(connection: Connection, schema: str | None, found: str) -> None:
    """Accept a newer schema that has all we use and asks for nothing we do not know (a rolling deploy)."""
    inspector = inspect(connection)
    for ours in (models.sessions, models.messages):
        theirs = (
            {col["name"]: col for col in inspector.get_columns(ours.name, schema=schema)}
            if inspector.has_table(ours.name, schema=schema)
            else {}
        )
        lost = [col.name for col in ours.columns if col.name not in theirs]
        needed = [name for name, col in theirs.items() if name not in ours.columns and _required(col)]
        if lost or needed:
            what = ", ".join(f"{ours.name}.{name}" for name in lost + needed)
            msg = f"the database is at {found}, which this release cannot use ({what}): install a newer chatstore-sql"
            raise SchemaTooNew(msg)
    _log.warning(
        "the database is at %s, newer than this release's %s: upgrade chatstore soon", found, models.HEAD
    )


def _required(col: Any) -> bool:
    return not col["nullable"] and col.get("default") is None and col.get("autoincrement", False) is not True


def upgrade_empty(connection: Connection, schema: str | None) -> None:
    """Migrate an empty SQLite database, unless another process just has."""
    from chatstore.backends.sql.migrations import upgrade  # Alembic: only for a new file

    if schema_state(connection, schema) == "empty":
        upgrade(connection, schema=schema)


__all__ = ["Place", "prepare_file", "schema_state", "shared", "upgrade_empty"]
