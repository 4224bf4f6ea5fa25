"""What deadlines promise beside ending in time: what a call sends, what is unknown, and whose settings stay."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

import chatstore
from chatstore import HumanMessage
from chatstore.errors import OutcomeUnknown, StorageUnavailable
from tests import databases, embedded, servers
from tests.deadlines import hanging
from tests.deadlines.calls import CALLS, DEADLINE, MARGIN, SESSION, acalled, called, check
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

postgres, mariadb = pytest.mark.postgres, pytest.mark.mariadb


# ------------------------------------------------------------------------------------------------ what is sent


@contextlib.contextmanager
def told_sqlite() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a SQLite file, and what is executed on connections to it from now on."""
    sent: list[str] = []

    def connected(connection: Any, _record: object) -> None:
        connection.set_trace_callback(sent.append)

    with servers.migrated_url("sqlite") as url, chatstore.connect(url) as store:
        engine: Engine = store._lease.lend(store._user).engine  # type: ignore[attr-defined]
        event.listen(engine, "connect", connected)
        yield url, sent


@contextlib.contextmanager
def told_psycopg() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a database that is known to be direct, and how often psycopg waits for its server."""
    sent: list[str] = []
    with servers.migrated_url("postgres") as url, pytest.MonkeyPatch.context() as patch:
        before = psycopg.Connection.wait

        def wait(*args: Any, **options: Any) -> Any:
            sent.append("")
            return before(*args, **options)

        patch.setattr(psycopg.Connection, "wait", wait)
        # By a URL that no other test has: its engine has one connection, which is told once.
        yield f"{hanging.by(url, 'psycopg')}?application_name=counted", sent


@contextlib.contextmanager
def told_mariadb() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a database, and the packets that come to its server."""
    sent: list[str] = []

    def seen(packet: bytes) -> bool:
        sent.append(packet.decode("utf-8", "replace"))
        return False

    with servers.migrated_url("mariadb") as url:
        at = make_url(url)
        with FaultProxy(str(at.host), int(at.port or 0)) as proxy:
            proxy.arm(Mode.BEFORE, seen)
            through = at.set(host="127.0.0.1", port=proxy.port, drivername="mariadb+pymysql")
            yield through.render_as_string(hide_password=False), sent


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(told_sqlite, id="sqlite"),
        pytest.param(told_psycopg, id="psycopg", marks=postgres),
        pytest.param(told_mariadb, id="pymysql", marks=mariadb),
    ],
)
def test_a_call_sends_nothing_more(
    told: Callable[[], contextlib.AbstractContextManager[tuple[str, list[str]]]],
) -> None:
    """On an open connection a call sends what it would without a deadline; another deadline is told once."""
    with told() as (url, sent), chatstore.connect(url) as store:
        lease: Any = store._lease  # type: ignore[attr-defined]

        def counted(store: Any) -> dict[str, int]:
            numbers = {}
            for name in ("append", "read"):
                sent.clear()
                CALLS[name](store)
                numbers[name] = len(sent)
            return numbers

        for _ in range(2):
            counted(store)  # connects, and the server is told
        limited, limit = counted(store), lease.limit
        lease.limit = None
        plain = counted(store)
        lease.limit = limit

        assert min(plain.values()) > 0
        assert plain == limited
        with chatstore.connect(url, deadline=7) as other:
            assert {"append": plain["append"] + 1, "read": plain["read"]} == counted(other)
            assert plain == counted(other)


# ------------------------------------------------------------------------------------------------ what is unknown


@pytest.mark.parametrize(
    ("kind", "driver", "awaited"),
    [
        pytest.param("postgres", "psycopg", False, marks=postgres),
        pytest.param("postgres", "psycopg", True, marks=postgres),
        pytest.param("postgres", "asyncpg", True, marks=postgres),
        pytest.param("mariadb", "pymysql", False, marks=mariadb),
        pytest.param("mariadb", "aiomysql", True, marks=mariadb),
    ],
)
def test_a_server_that_falls_silent_during_a_write(kind: str, driver: str, awaited: bool) -> None:
    """The server stores what was appended, its answer is lost: `OutcomeUnknown`, and the same call again stores once.

    Where the COMMIT was not sent yet, nothing is stored, and `StorageUnavailable` may say so.
    """
    late = HumanMessage("late", id="late")
    raised: list[tuple[Exception, float]] = []

    def append() -> None:
        async def work() -> None:
            async with chatstore.connect_async(through, deadline=DEADLINE) as store:
                await store.get_messages(SESSION)
                ready.set()
                await store.add_messages(SESSION, [late])

        try:
            if awaited:
                asyncio.run(work())
                return
            with chatstore.connect(through, deadline=DEADLINE) as store:
                store.get_messages(SESSION)
                ready.set()
                store.add_messages(SESSION, [late])
        except StorageUnavailable as error:
            raised.append((error, time.monotonic()))

    with servers.migrated_url(kind) as url, databases.connection(url) as watcher:
        with chatstore.connect(url) as store:
            store.add_messages(SESSION, [HumanMessage("seed")])
        at, ready = make_url(url), threading.Event()
        with FaultProxy(str(at.host), int(at.port or 0)) as proxy:
            aside = at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            through, thread = hanging.by(aside, driver), threading.Thread(target=append)
            with databases.connection(url) as holder:
                holder.execute("BEGIN")
                holder.execute("UPDATE chatstore_sessions SET revision = revision")
                began = time.monotonic()
                thread.start()
                ready.wait(10)
                embedded.wait_until(lambda: _waits(watcher, kind), 10, "the append")
                proxy.arm(Mode.BLACKHOLE)
                holder.execute("ROLLBACK")
            thread.join()
            proxy.disarm()
        (error, ended) = raised[0]
        with chatstore.connect(url) as store:
            stored = [one.content for one in store.get_messages(SESSION)]
            if kind == "postgres":  # one statement, which was at the server
                assert ["seed", "late"] == stored
            assert isinstance(error, OutcomeUnknown) or stored == ["seed"], str(error)
            store.add_messages(SESSION, [late])
            assert ["seed", "late"] == [one.content for one in store.get_messages(SESSION)]
        assert ended - began < 10 + DEADLINE + MARGIN


def _waits(cursor: Any, kind: str) -> bool:
    if kind == "postgres":
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%chatstore_sessions%'"
        )
    else:
        cursor.execute("DO SLEEP(0.12)")  # what is asked more often is answered from a copy
        cursor.execute(
            "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
            "ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND trx_state = 'LOCK WAIT'"
        )
    return bool(cursor.fetchone()[0])


# ------------------------------------------------------------------------------------- a limit of the server's own


@pytest.mark.parametrize(
    ("seconds", "says"), [(0.3, "ended a statement .*raise the limit of its time"), (30, "the deadline:")]
)
@postgres
def test_whose_limit_it_was_is_said(seconds: float, says: str) -> None:
    """A lower limit of the role's or the URL's stays and is named; else it was the deadline, and that is said."""
    with hanging.locked_tables("postgres", "psycopg") as storage:
        limited = (
            make_url(storage.url)
            .update_query_dict({"options": f"-c statement_timeout={1000 * seconds:.0f}"})
            .render_as_string(hide_password=False)
        )
        with chatstore.connect(limited, deadline=DEADLINE) as store:
            store.count_messages(SESSION)
            began = time.monotonic()
            with storage.hang(), pytest.raises(StorageUnavailable, match=says):
                store.get_messages(SESSION)
            assert time.monotonic() - began < min(seconds, DEADLINE) + MARGIN


# ------------------------------------------------------------------------------------------------ whose settings stay


@pytest.mark.parametrize(
    ("driver", "awaited"), [("psycopg", False), ("psycopg", True), ("asyncpg", True)], ids=str
)
@postgres
def test_behind_a_pooler(driver: str, awaited: bool) -> None:
    """Calls end in time there, too, and the server's connections, which other clients get, stay as they were."""
    with hanging.locked_tables("postgres", driver) as storage:
        plain = hanging.by(storage.url, "psycopg")
        with servers.pooled(plain) as behind:
            url = hanging.by(behind, driver)

            async def await_all() -> None:
                async with chatstore.connect_async(url, deadline=DEADLINE) as store:
                    await store.get_messages(SESSION)
                    with storage.hang():
                        for name in ("append", "read"):
                            check(name, await acalled(store, name), set())
                    assert await store.get_messages(SESSION)

            if awaited:
                asyncio.run(await_all())
            else:
                with chatstore.connect(url, deadline=DEADLINE) as store:
                    store.get_messages(SESSION)
                    with storage.hang():
                        for name in ("append", "read"):
                            check(name, called(store, name), set())
                    assert store.get_messages(SESSION)
            for _ in range(4):
                with databases.connection(behind) as cursor:
                    cursor.execute("SHOW statement_timeout")
                    assert "0" == cursor.fetchone()[0]


def test_an_engine_that_was_passed_in_for_sqlite() -> None:
    """What gives up sooner is tried again until the deadline, by one thread or by many; the engine stays as it is."""
    with hanging.sqlite_writer() as storage:
        engine = create_engine(storage.url, connect_args={"timeout": 0.1})
        store = chatstore.connect(engine, deadline=DEADLINE)
        store.get_messages(SESSION)
        found: list[tuple[BaseException | None, float]] = []
        with storage.hang():
            threads = [
                threading.Thread(target=lambda: found.append(called(store, "append"))) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert 4 == len(found)
        for one in found:
            check("append", one, set())
        assert store.get_messages(SESSION)
        with engine.connect() as connection:
            assert 100 == connection.execute(text("PRAGMA busy_timeout")).scalar()
        engine.dispose()


@postgres
def test_an_engine_that_was_passed_in_and_waits() -> None:
    """Its own limits end each attempt, and the deadline the attempts; nothing is set on its connections."""
    with hanging.locked_tables("postgres", "psycopg") as storage:
        engine = create_engine(storage.url, connect_args={"options": "-c lock_timeout=200"})
        store = chatstore.connect(engine, deadline=DEADLINE)
        store.get_messages(SESSION)
        with storage.hang():
            for name in ("append", "read"):
                check(name, called(store, name), set())
        assert store.get_messages(SESSION)
        with engine.connect() as connection:
            assert "0" == connection.execute(text("SHOW statement_timeout")).scalar()
        engine.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
@postgres
def test_an_engine_that_was_passed_in_and_awaits(driver: str) -> None:
    """What is awaited ends with its deadline, whatever the engine would wait for; nothing is set on its connections."""

    async def work(storage: hanging.Storage) -> None:
        engine = create_async_engine(storage.url)
        store = chatstore.connect_async(engine, deadline=DEADLINE)
        await store.get_messages(SESSION)
        with storage.hang():
            for name in CALLS:
                check(name, await acalled(store, name), set())
        assert await store.get_messages(SESSION)
        async with engine.connect() as connection:
            assert "0" == (await connection.execute(text("SHOW statement_timeout"))).scalar()
        await engine.dispose()

    with hanging.locked_tables("postgres", driver) as storage:
        asyncio.run(work(storage))


# ------------------------------------------------------------------------------------------------ nobody is left out


#: A repository, and the one that it passes calls on to, whose deadline has begun.
_WRAPPED = {"self", "self._inner"}


def untimed(source: str) -> list[str]:
    """Return what *source* runs of another object's past `Repository._call`, which begins the deadline."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr == "_run" and ast.unparse(node.value) not in _WRAPPED
    ]


def test_every_call_begins_a_deadline() -> None:
    """Integrations, too, run operations by `_call`; only a repository around another one goes on with its `_run`."""
    root = Path(chatstore.__file__).parent
    found = {path.relative_to(root).as_posix(): untimed(path.read_text()) for path in root.rglob("*.py")}

    assert ["store._run"] == untimed("yield lambda store: store._run(store._core.add_messages, call)")
    assert {} == {name: calls for name, calls in found.items() if calls}
