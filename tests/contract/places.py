"""Where the contract is run: every backend, driver and way in, each behind the same small interface.

A `Place` is opened once for all tests of a module and lends an empty repository to each. Knows how to make a
repository, empty what is behind it cheaply, and look at the stored rows; knows nothing of what a repository promises.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chatstore import connect, connect_async
from chatstore.backends.memory.awaited import AsyncMemoryRepository
from chatstore.backends.memory.repository import MemoryRepository
from chatstore.repository import Repository
from tests import cosmos, dynamo, servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine


T = TypeVar("T")
TABLES = ("chatstore_messages", "chatstore_sessions", "chatstore_states")
#: A folder in memory, where the system has one: the contract is tested here, not the disk.
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass
class Place:
    """A backend under test, and the event loop in which it lives."""

    runner: asyncio.Runner
    lacks: frozenset[str] = frozenset()
    make: Callable[[], Any] = MemoryRepository
    empty: Callable[[], None] = lambda: None
    evidence: Callable[[], object] = lambda: None
    pools: list[Any] = field(default_factory=list)

    @contextlib.contextmanager
    def lent(self) -> Iterator[Any]:
        """Give a repository without a session in it; at the end no connection of it may be checked out."""
        repository = self.make()
        yield repository
        if self.pools:
            assert [0] * len(self.pools) == [pool.checkedout() for pool in self.pools]
        self.empty()


@contextlib.contextmanager
def opened(name: str) -> Iterator[Place]:
    """Open the place *name* for the tests of one module."""
    way, _, kind = name.partition("-")
    with asyncio.Runner() as runner, WAYS[way](Place(runner), kind) as place:
        yield place


# ------------------------------------------------------------------------------------------------ no database


@contextlib.contextmanager
def _memory(place: Place, kind: str) -> Iterator[Place]:
    place.make = AsyncMemoryRepository if kind == "async" else MemoryRepository
    place.lacks = frozenset({"large"} if kind == "async" else ())
    yield place


@contextlib.contextmanager
def _file(place: Place, kind: str) -> Iterator[Place]:
    with (
        tempfile.TemporaryDirectory(prefix="chatstore-test-", dir=FAST) as top,
        contextlib.ExitStack() as opened_here,
    ):
        folders = (Path(top) / str(number) for number in range(10**6))
        current: list[Path] = []

        def make() -> Any:
            current[:] = [next(folders)]
            url = f"file:{current[0]}"
            repository = connect_async(url) if kind == "async" else connect(url)
            opened_here.callback(_close, place.runner, repository)
            return repository

        def evidence() -> object:
            return {path.name: path.read_bytes() for path in sorted(current[0].rglob("*")) if path.is_file()}

        place.make, place.evidence = make, evidence
        place.lacks = frozenset({"large"} if kind == "async" else ())
        yield place


# ------------------------------------------------------------------------------------------------ Redis


@contextlib.contextmanager
def _redis(place: Place, kind: str) -> Iterator[Place]:
    """Open a server or a cluster, by URL or by a client that is passed in; each test has keys of its own."""
    import redis

    from tests import redis_servers

    where, mode = kind.split("-")
    url = f"{servers.obtain('redis')}/9" if where == "server" else redis_servers.cluster_url()
    plain = url.partition("?")[0]
    maker, awaiting = (
        (redis.Redis, redis.asyncio.Redis)
        if where == "server"
        else (redis.RedisCluster, redis.asyncio.RedisCluster)
    )
    prefixes = (f"contract:{os.getpid()}:{mode}:{number}:" for number in range(10**6))
    current: list[str] = []
    with maker.from_url(plain) as looking, contextlib.ExitStack() as stack:
        given: Any = None
        if mode == "client":
            given = stack.enter_context(maker.from_url(plain, decode_responses=True))
        elif mode == "awaiting":
            given = awaiting.from_url(plain, decode_responses=True)
            stack.callback(lambda: place.runner.run(given.aclose()))

        def make() -> Any:
            current[:] = [next(prefixes)]
            if given is not None:
                repository: Any = (_AsyncRedis if mode == "awaiting" else _Redis)(
                    given, key_prefix=current[0]
                )
            else:
                mark = "&" if "?" in url else "?"
                connecting: Any = connect_async if mode == "async" else connect
                repository = connecting(f"{url}{mark}key_prefix={current[0]}")
            stack.callback(_close, place.runner, repository)
            return repository

        def keys() -> list[bytes]:
            return sorted(looking.scan_iter(match=f"{current[0]}*", count=1000))

        def evidence() -> object:
            read = {
                b"hash": looking.hgetall,
                b"zset": lambda key: looking.zrange(key, 0, -1, withscores=True),
                b"string": looking.get,
            }
            return {key: read[looking.type(key)](key) for key in keys()}

        def empty() -> None:
            for key in keys():
                looking.delete(key)

        place.make, place.evidence, place.empty = make, evidence, empty
        place.lacks = frozenset({"large"} if mode != "sync" else ())
        yield place


def _Redis(client: Any, **options: Any) -> Any:  # noqa: N802 - stands for the class, which loads its driver
    from chatstore.backends.redis.repository import RedisRepository

    return RedisRepository(client, **options)


def _AsyncRedis(client: Any, **options: Any) -> Any:  # noqa: N802
    from chatstore.backends.redis.repository import AsyncRedisRepository

    return AsyncRedisRepository(client, **options)


@contextlib.contextmanager
def _cosmosdb(place: Place, kind: str) -> Iterator[Place]:
    """Open a container of an account: the fake, or the one that the environment names."""
    with cosmos.account() as account, account.container() as url:
        place.lacks = frozenset({"large"} if kind == "async" else ())
        repository = connect_async(url) if kind == "async" else connect(url)
        place.make = lambda: repository
        place.empty = lambda: account.empty(url)
        place.evidence = lambda: account.documents(url)
        yield place
        _close(place.runner, repository)


# ------------------------------------------------------------------------------------------------ SQL


@contextlib.contextmanager
def _url(place: Place, kind: str) -> Iterator[Place]:
    """Open a repository made from a URL, which owns its engine."""
    database, _, mode = kind.partition("-")
    with _database(place, database) as url:
        place.lacks = frozenset({"large"} if mode == "async" else ())
        repository = connect_async(url) if mode == "async" else connect(url)
        yield _shared(place, repository)
        _close(place.runner, repository)


@contextlib.contextmanager
def _pooled(place: Place, mode: str) -> Iterator[Place]:
    """Open PostgreSQL by a URL that leads to a pooler, which gives each transaction another server connection."""
    with _database(place, "postgres") as url, servers.pooled(url, 4) as at:
        place.lacks = frozenset({"large"} if mode != "sync" else ())
        there = at if mode != "asyncpg" else at.replace("+psycopg", "+asyncpg")
        repository = connect(there) if mode == "sync" else connect_async(there)
        yield _shared(place, repository)
        _close(place.runner, repository)


@contextlib.contextmanager
def _in_memory(place: Place, kind: str) -> Iterator[Place]:
    """Open a SQLite database in memory, emptied by its own means."""
    repository = connect_async("sqlite://") if kind == "async" else connect("sqlite:///:memory:")
    place.lacks = frozenset({"large"})
    yield _shared(place, repository)
    _close(place.runner, repository)


@contextlib.contextmanager
def _engine(place: Place, driver: str) -> Iterator[Place]:
    """Open a repository over an engine that was passed in, with nobody's settings but SQLAlchemy's own."""
    database, asynchronous = DRIVERS[driver]
    with _database(place, database) as url:
        plain = make_url(url).set(drivername=f"{make_url(url).get_backend_name()}+{driver}")
        engine: Any = create_async_engine(plain) if asynchronous else create_engine(plain)
        _used(place.runner, engine)
        before = _listeners(engine)
        repository = connect_async(engine) if asynchronous else connect(engine)
        place.lacks = frozenset({"large"})
        yield _shared(place, repository)
        _close(place.runner, repository)
        _still_open(place.runner, engine, before)


@contextlib.contextmanager
def _generic(place: Place, database: str) -> Iterator[Place]:
    """Open a database about which nothing is known but that SQLAlchemy has a dialect for it."""
    from chatstore.backends.sql.dialects import dialect_for
    from chatstore.backends.sql.repository import SQLRepository

    with _database(place, database) as url:
        engine = create_engine(url)
        repository = SQLRepository(engine, dialect=dialect_for(engine.dialect.name).plain())
        place.lacks = frozenset({"large"})
        yield _shared(place, repository)
        engine.dispose()


@contextlib.contextmanager
def _ordinary(place: Place, database: str) -> Iterator[Place]:
    """Open a repository made from a URL, whose every statement goes through SQLAlchemy."""
    from chatstore.backends.sql import execution

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "prepare", execution.ordinary)
        patch.setattr(execution, "run", execution.run_ordinarily)
        patch.setattr(execution, "begin", execution.begin_ordinarily)
        with _url(place, f"{database}-sync") as found:
            yield found


@contextlib.contextmanager
def _using(place: Place, kind: str) -> Iterator[Place]:
    """Open a repository inside the transaction of a caller, who takes everything back after each test."""
    database, _, mode = kind.partition("-")
    with _database(place, database) as url, contextlib.ExitStack() as stack:
        place.lacks = frozenset({"large", "threads", "twin"})
        if mode == "async":
            _using_async(place, make_url(url), stack)
        else:
            engine = create_engine(url)
            stack.callback(engine.dispose)
            _using_sync(place, engine, stack)
        yield place


def _using_sync(place: Place, engine: Engine, stack: contextlib.ExitStack) -> None:
    connection = stack.enter_context(engine.connect())
    place.make = lambda: connect(engine).using(connection)
    place.empty = connection.rollback
    place.evidence = lambda: _rows(connection)


def _using_async(place: Place, url: Any, stack: contextlib.ExitStack) -> None:
    engine = create_async_engine(url)
    stack.callback(lambda: place.runner.run(engine.dispose()))
    connection = place.runner.run(_started(engine.connect()))
    stack.callback(lambda: place.runner.run(connection.close()))
    place.make = lambda: connect_async(engine).using(connection)
    place.empty = lambda: place.runner.run(connection.rollback())


async def _started(connecting: Any) -> Any:
    return await connecting


@contextlib.contextmanager
def _database(place: Place, database: str) -> Iterator[str]:
    """Give the URL of a migrated database; *place* can empty it and look at its rows from then on."""
    with servers.migrated_url(database) as kept, contextlib.ExitStack() as stack:
        url = kept if database != "sqlite" else stack.enter_context(_copied(kept))
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        stack.callback(engine.dispose)
        connection = stack.enter_context(engine.connect())
        _prepare(connection, stack)

        def empty() -> None:
            for table in TABLES:
                connection.execute(text(f"DELETE FROM {table}"))

        place.empty, place.evidence = empty, lambda: _rows(connection)
        yield url


@contextlib.contextmanager
def _copied(url: str) -> Iterator[str]:
    """Give the URL of a copy of an SQLite file, in memory where that can be."""
    with tempfile.TemporaryDirectory(prefix="chatstore-test-", dir=FAST) as folder:
        shutil.copyfile(str(make_url(url).database), f"{folder}/chat.db")
        yield f"sqlite:///{folder}/chat.db"


def _prepare(connection: Connection, stack: contextlib.ExitStack) -> None:
    """Let a lock that a test left behind fail the next one instead of hanging it; and let nobody wait for the disk."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA busy_timeout = 5000"))
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SET lock_timeout = '5s'"))
        name = connection.dialect.identifier_preparer.quote(str(connection.engine.url.database))
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        stack.callback(lambda: connection.execute(text(f"ALTER DATABASE {name} RESET synchronous_commit")))
    else:
        connection.execute(text("SET innodb_lock_wait_timeout = 5"))


def _rows(connection: Connection) -> object:
    """Return every stored row, byte for byte."""
    return [connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2")).all() for table in TABLES]


def _shared(place: Place, repository: Any) -> Place:
    """Lend the one *repository* to all tests, and watch the pools that it fills."""
    if repository.__class__.__name__ == "ThreadedRepository":
        place.pools = [repository._inner._lease.lend(repository._inner._user).unit.pool]
    elif isinstance(repository, Repository):
        place.pools = [repository._lease.lend(repository._user).unit.pool]  # type: ignore[attr-defined]
    else:
        place.pools = [place.runner.run(_pool_of(repository))]
    place.pools = [pool for pool in place.pools if hasattr(pool, "checkedout")]
    place.make = lambda: repository
    if place.empty is Place.empty:
        place.empty = lambda: _purge(place.runner, repository)
    return place


async def _pool_of(repository: Any) -> Any:
    return repository._lease.lend_awaiting(repository._user).unit.pool


def _purge(runner: asyncio.Runner, repository: Any) -> None:
    from chatstore.testing.driver import asyncified
    from chatstore.testing.samples import FUTURE

    async def purge() -> None:
        store = asyncified(repository)
        await store.purge(updated_before=FUTURE)
        for state in [one async for one in store.iter_states()]:
            owner = {"tenant_id": state.tenant_id, "user_id": state.user_id}
            named = {name: value for name, value in owner.items() if value is not None}
            await (store.scope(**named) if named else store).delete_states(state.namespace)

    runner.run(purge())


def _close(runner: asyncio.Runner, repository: Any) -> None:
    closing = repository.close()
    if closing is not None:
        runner.run(closing)


def _listeners(engine: Any) -> dict[str, int]:
    """Count who listens to the events of *engine*, its dialect and its pool."""
    sync = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    return {
        f"{type(part).__name__}.{name}": len(list(getattr(part.dispatch, name)))
        for part in (sync, sync.pool, sync.dialect)
        for name in sorted(part.dispatch._event_names)
    }


def _still_open(runner: asyncio.Runner, engine: Any, before: dict[str, int]) -> None:
    """Assert that an engine which was passed in, used and left is neither closed nor changed; then dispose of it."""
    _used(runner, engine)
    assert before == _listeners(engine), "chatstore listens to events of an engine that is not its own"
    if isinstance(engine, AsyncEngine):
        runner.run(engine.dispose())
    else:
        engine.dispose()


def _used(runner: asyncio.Runner, engine: Any) -> None:
    """Ask something over *engine*, as its owner does."""
    if isinstance(engine, AsyncEngine):
        runner.run(_asked(engine))
    else:
        with engine.connect() as connection:
            assert 1 == connection.execute(text("SELECT 1")).scalar()


async def _asked(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert 1 == (await connection.execute(text("SELECT 1"))).scalar()


@contextlib.contextmanager
def _django(place: Place, kind: str) -> Iterator[Place]:
    """Open a database on Django's own connection; *inside* a transaction of Django's that is taken back."""
    from chatstore.contrib.django import connect_async
    from tests.django_host import alias_of

    database, _, mode = kind.partition("-")
    with _database(place, database) as url, alias_of(url) as alias, ThreadPoolExecutor(1) as thread:
        place.lacks = frozenset({"large"} if mode == "async" else ())
        inside = mode == "inside"
        repository: Any = connect_async(alias) if mode == "async" else _Driven(alias, thread, inside=inside)
        place.make = lambda: repository
        if inside:
            place.lacks = frozenset({"threads", "twin"})
            undo = contextlib.ExitStack()
            place.evidence = lambda: thread.submit(_rows_by, alias).result()
            place.make = lambda: undo.enter_context(_taken_back(repository, alias, thread))
            place.empty = undo.close
        yield place
        thread.submit(_leave, alias).result()


def _Driven(alias: str, thread: ThreadPoolExecutor, *, inside: bool) -> Any:  # noqa: N802 - stands for the class
    from django.db import connections

    from chatstore.contrib.django import DjangoRepository
    from chatstore.threads import ThreadedRepository

    class Driven(DjangoRepository):
        """Works in a *thread*, as views do, where it is called from a loop; other threads leave no connection open.

        *inside*: it always works there, where the transaction is.
        """

        def _run(self, operation: Any, call: Any, /) -> Any:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop()
                return thread.submit(super()._run, operation, call).result()
            if inside:
                return thread.submit(super()._run, operation, call).result()
            try:
                return super()._run(operation, call)
            finally:
                connections[alias].close()

        def _asynchronous(self) -> Any:
            return ThreadedRepository(self) if inside else super()._asynchronous()

    return Driven(alias)


@contextlib.contextmanager
def _taken_back(repository: Any, alias: str, thread: ThreadPoolExecutor) -> Iterator[Any]:
    """Begin a transaction in *thread*, and take it back."""
    from django.db import transaction

    block = transaction.atomic(using=alias)
    thread.submit(block.__enter__).result()
    yield repository
    thread.submit(transaction.set_rollback, True, using=alias).result()
    thread.submit(block.__exit__, None, None, None).result()


def _leave(alias: str) -> None:
    from django.db import connections

    connections[alias].close()


def _rows_by(alias: str) -> object:
    from django.db import connections

    rows = []
    for table in TABLES:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
            rows.append(cursor.fetchall())
    return rows


# ------------------------------------------------------------------------------------------------ services


@contextlib.contextmanager
def _dynamodb(place: Place, kind: str) -> Iterator[Place]:
    with servers.fresh_table() as url:
        repository = connect_async(url) if kind == "async" else connect(url)
        lent, table = dynamo.client(url), dynamo.table_of(url)
        place.lacks = frozenset({"large"} if kind == "async" else ())
        place.make = lambda: repository
        place.empty = lambda: dynamo.empty(lent, table)
        place.evidence = lambda: dynamo.items(lent, table)
        yield place
        _close(place.runner, repository)
        lent.close()


WAYS: dict[str, Callable[[Place, str], contextlib.AbstractContextManager[Place]]] = {
    "memory": _memory,
    "file": _file,
    "cosmosdb": _cosmosdb,
    "url": _url,
    "pooled": _pooled,
    "private": _in_memory,
    "engine": _engine,
    "generic": _generic,
    "ordinary": _ordinary,
    "using": _using,
    "django": _django,
    "redis": _redis,
    "dynamodb": _dynamodb,
}
DRIVERS = {
    "pysqlite": ("sqlite", False),
    "aiosqlite": ("sqlite", True),
    "psycopg2": ("postgres", False),
    "asyncpg": ("postgres", True),
    "pymysql": ("mariadb", False),
}
#: Every place of the suite: way in, then database or driver, then "async".
NAMES = [
    "memory-sync", "memory-async", "file-sync", "file-async", "private-sync", "private-async",
    "url-sqlite-sync", "url-sqlite-async", "url-postgres-sync", "url-postgres-async",
    "url-mariadb-sync", "url-mariadb-async", "pooled-sync", "pooled-async", "pooled-asyncpg",
    "engine-pysqlite", "engine-aiosqlite", "engine-psycopg2", "engine-asyncpg", "engine-pymysql",
    "generic-sqlite", "generic-mariadb", "ordinary-sqlite", "ordinary-postgres",
    "using-sqlite-sync", "using-postgres-sync", "using-postgres-async", "using-mariadb-sync", "redis-server-sync",
    "redis-server-async", "redis-cluster-sync", "redis-cluster-async",
    "redis-server-client", "redis-server-awaiting", "redis-cluster-client", "redis-cluster-awaiting",
    "django-sqlite-sync", "django-sqlite-inside", "django-sqlite-async", "django-postgres-sync",
    "django-postgres-inside", "django-postgres-async", "django-mariadb-sync", "django-mariadb-inside",
    "django-mariadb-async", "dynamodb-sync", "dynamodb-async", "cosmosdb-sync", "cosmosdb-async",
]  # fmt: skip

#: What the README's command runs, in five minutes; the others are marked `wide`, and run by .ci/run.
LIGHT = frozenset(
    {
        "memory-sync", "memory-async", "file-sync", "url-sqlite-sync", "url-sqlite-async", "url-postgres-sync",
        "url-mariadb-sync", "redis-server-sync",
    }
)  # fmt: skip


#: Most combinations of what is tested one by one; others stand for them in .ci/run, and all run before a release.
WHOLE = (frozenset(name for name in NAMES if name.startswith("django-"))
    - {"django-postgres-sync", "django-mariadb-async"}
    | {
        "redis-cluster-client", "redis-cluster-awaiting", "pooled-asyncpg", "private-async", "engine-pysqlite",
        "engine-pymysql", "using-postgres-async",
    })  # fmt: skip


def marked(name: str) -> Any:
    """Return *name* as a pytest parameter, marked with the server it wants and kept in one process."""
    servers_of = {
        "postgres": ("postgres", "psycopg2", "asyncpg", "pooled"),
        "mariadb": ("mariadb", "pymysql"),
        "redis": ("redis",),
        "dynamodb": ("dynamodb",),
    }
    wants = [kind for kind, drivers in servers_of.items() if any(driver in name for driver in drivers)]
    marks = [pytest.mark.xdist_group(name), *(getattr(pytest.mark, kind) for kind in wants)]
    if name not in LIGHT:
        marks.append(pytest.mark.whole if name in WHOLE else pytest.mark.wide)
    return pytest.param(name, marks=marks)
