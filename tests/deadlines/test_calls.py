"""Every call ends with its deadline, whatever hangs: a lock, a pool, a server; on every backend, sync and async."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

import chatstore
from chatstore.errors import Invalid
from tests.deadlines import hanging
from tests.deadlines.calls import CALLS, CROWDED, DEADLINE, SESSION, acalled, called, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.deadlines.hanging import Storage

postgres, mariadb = pytest.mark.postgres, pytest.mark.mariadb
redis, dynamodb = pytest.mark.redis, pytest.mark.dynamodb
#: What hangs, whether calls await, and the calls that must not wait for it.
PLACES = [
    pytest.param(hanging.sqlite_writer, False, {"read", "list"}, id="sqlite writer"),
    pytest.param(hanging.sqlite_writer, True, {"read", "list"}, id="sqlite writer, awaited"),
    *(
        pytest.param(
            partial(make, kind, driver),
            awaited,
            set[str](),
            id=f"{make.__name__} {driver} {awaited}",
            marks=mark,
        )
        for make in (hanging.locked_tables, hanging.silent_database)
        for kind, driver, awaited, mark in (
            ("postgres", "psycopg", False, postgres),
            ("postgres", "psycopg", True, postgres),
            ("postgres", "asyncpg", True, postgres),
            ("mariadb", "pymysql", False, mariadb),
            ("mariadb", "aiomysql", True, mariadb),
        )
    ),
    pytest.param(hanging.stopped_redis, False, set[str](), id="redis stopped", marks=redis),
    pytest.param(hanging.stopped_redis, True, set[str](), id="redis stopped, awaited", marks=redis),
    pytest.param(hanging.silent_dynamodb, False, set[str](), id="dynamodb silent", marks=dynamodb),
    pytest.param(hanging.silent_dynamodb, True, set[str](), id="dynamodb silent, awaited", marks=dynamodb),
]


@pytest.mark.parametrize(("place", "awaited", "unhindered"), PLACES)
def test_a_call_ends_with_its_deadline(
    place: Callable[[], AbstractContextManager[Storage]], awaited: bool, unhindered: set[str]
) -> None:
    """Connections that are open, and new ones: each call ends in time; afterwards the same repository works."""

    async def await_all(storage: Storage, *, used: bool) -> None:
        async with chatstore.connect_async(storage.url, deadline=DEADLINE) as store:
            if used:
                await store.get_messages(SESSION)
            with storage.hang():
                for name in CALLS:
                    check(name, await acalled(store, name), unhindered)
            assert await store.get_messages(SESSION)

    with place() as storage:
        for used in (True, False):
            if awaited:
                asyncio.run(await_all(storage, used=used))
                continue
            with chatstore.connect(storage.url, deadline=DEADLINE) as store:
                if used:
                    store.get_messages(SESSION)
                with storage.hang():
                    for name in CALLS:
                        check(name, called(store, name), unhindered)
                assert store.get_messages(SESSION)


@pytest.mark.parametrize("awaited", [False, True])
def test_a_file_that_another_process_has_locked(tmp_path: Path, awaited: bool) -> None:
    """Files as well: each call ends in time, and nothing is stored."""
    with hanging.locked_folder(tmp_path / "chats") as storage:
        before = storage.url

        async def await_all() -> None:
            async with chatstore.connect_async(before, deadline=DEADLINE) as store:
                for name in ("append", "pop", "read"):
                    check(name, await acalled(store, name), set())

        with storage.hang():
            if awaited:
                asyncio.run(await_all())
            else:
                with chatstore.connect(before, deadline=DEADLINE) as store:
                    for name in ("append", "pop", "read"):
                        check(name, called(store, name), set())
        with chatstore.connect(before) as store:
            assert ["seed"] == [one.content for one in store.get_messages(SESSION)]


@contextlib.contextmanager
def _many(storage: Storage, threads: int) -> Iterator[list[tuple[BaseException | None, float]]]:
    found: list[tuple[BaseException | None, float]] = []
    with chatstore.connect(storage.url, deadline=DEADLINE) as store:
        store.get_messages(SESSION)
        with storage.hang():
            running = [
                threading.Thread(target=lambda: found.append(called(store, "append"))) for _ in range(threads)
            ]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
        yield found
        assert store.get_messages(SESSION)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(hanging.sqlite_writer, id="sqlite"),
        pytest.param(partial(hanging.locked_tables, "postgres", "psycopg"), id="postgres", marks=postgres),
        pytest.param(partial(hanging.locked_tables, "mariadb", "pymysql"), id="mariadb", marks=mariadb),
    ],
)
def test_a_pool_that_is_exhausted(place: Callable[[], AbstractContextManager[Storage]]) -> None:
    """Forty threads, more than the pool has connections: who waits for a connection or a turn ends in time, too."""
    with place() as storage, _many(storage, 40) as found:
        assert 40 == len(found)
        for one in found:
            check("append", one, set(), CROWDED)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(partial(hanging.locked_tables, "postgres", "asyncpg"), id="asyncpg", marks=postgres),
        pytest.param(partial(hanging.locked_tables, "postgres", "psycopg"), id="psycopg", marks=postgres),
        pytest.param(partial(hanging.locked_tables, "mariadb", "aiomysql"), id="aiomysql", marks=mariadb),
    ],
)
def test_a_pool_that_is_exhausted_by_tasks(place: Callable[[], AbstractContextManager[Storage]]) -> None:
    """Forty tasks: the same."""

    async def run(storage: Storage) -> None:
        async with chatstore.connect_async(storage.url, deadline=DEADLINE) as store:
            await store.get_messages(SESSION)
            with storage.hang():
                for one in await asyncio.gather(*(acalled(store, "append") for _ in range(40))):
                    check("append", one, set(), CROWDED)
            assert await store.get_messages(SESSION)

    with place() as storage:
        asyncio.run(run(storage))


def test_a_deadline_is_part_of_a_url_or_an_argument(tmp_path: Path) -> None:
    """Both say the same, the argument goes first, and a bad one is refused before anything is opened."""
    folder = f"file:{tmp_path}/chats"
    assert 5.0 == chatstore.connect(f"{folder}?deadline=5")._deadline
    assert 3.0 == chatstore.connect(f"{folder}?deadline=5", deadline=3)._deadline
    assert 5.0 == chatstore.connect("redis://127.0.0.1:1/0?deadline=5&ttl=60")._deadline
    assert 5.0 == chatstore.connect("sqlite:///:memory:?deadline=5").scope(user_id="ada")._deadline
    assert chatstore.connect("memory:")._deadline is None
    for bad in ("0", "-1", "soon", "inf", "nan", ""):
        with pytest.raises(Invalid, match="deadline"):
            chatstore.connect(f"memory:?deadline={bad}")
    for wrong in (0, -1, True, "5", float("inf")):
        with pytest.raises(Invalid, match="deadline"):
            chatstore.connect("memory:", deadline=wrong)  # type: ignore[arg-type]
