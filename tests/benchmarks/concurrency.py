"""What awaiting costs, and how many turns a second eight writers store, in one session and in their own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from psycopg import RawCursor
from sqlalchemy import make_url

import chatstore
from tests.benchmarks import raw_mariadb, raw_postgres, raw_sqlite, stores, turns
from tests.benchmarks.appending import WARM, appends
from tests.benchmarks.harness import compared, each, each_awaited, figure, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Race, Side, Size

WRITERS = 8
#: The share of the raw driver's turns that eight writers must reach; a figure says how many times as long they take.
SHARES = {"sqlite": 0.7, "postgres": 0.8, "mariadb": 0.7}


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in stores.SQL:
        yield from _awaited(size, kind)
    for kind in (*stores.SQL, "file"):
        yield _writers(size, kind)
    for kind, share in SHARES.items():
        for own in (False, True):
            yield _beside_raw(size, kind, share, own=own)


def _awaited(size: Size, kind: str) -> Iterator[Figure]:
    name = stores.NAMES[kind]
    with stores.migrated(kind) as url, stores.connected(url) as plain, asyncio.Runner() as loop:
        twin = chatstore.connect_async(url)
        try:
            for work, outcome in _races(size, plain, twin, loop).items():
                yield compared(f"{work}, awaited, {name}", "the same call without async", outcome, None)
        finally:
            loop.run(twin.close())


def _races(size: Size, plain: Repository, twin: AsyncRepository, loop: asyncio.Runner) -> dict[str, Race]:
    source = turns.turns()
    ours = each_awaited(loop, lambda: twin.add_messages("awaited", next(source).messages))
    theirs = each(appends(plain, "plain"))
    added = race(ours, theirs, bursts=size.bursts // 2, calls=size.calls, warm=WARM)
    ours = each_awaited(loop, lambda: twin.get_messages("awaited", last=20))
    theirs = each(lambda: plain.get_messages("plain", last=20))
    read = race(ours, theirs, bursts=size.bursts // 2, calls=size.calls, warm=WARM)
    return {"append a turn": added, "last 20": read}


def _writers(size: Size, kind: str) -> Figure:
    rates = []
    each_writes = size.calls * 2
    with stores.migrated(kind) as url, stores.connected(url) as repository:
        for number in range(max(3, size.rounds // 3)):
            session_id = f"hot-{number}"
            seconds = _together(partial(_write, repository, session_id, each_writes))
            expected = WRITERS * each_writes * 2
            if (found := repository.count_messages(session_id)) != expected:
                msg = f"{found} of {expected} messages are there"
                raise AssertionError(msg)
            rates.append(WRITERS * each_writes / seconds)
    work = f"{WRITERS} threads append to one session, {stores.NAMES[kind]}"
    return figure(work, "none lost", rates, "turns/s", None)


def _beside_raw(size: Size, kind: str, share: float, *, own: bool) -> Figure:
    """Race eight threads with eight of the raw driver's, each on a connection of its own; SQLite's share a lock."""
    count, lock = size.calls, threading.Lock()
    with stores.migrated(kind) as url, stores.connected(url) as repository, stores.migrated(kind) as other:
        path = make_url(other).database or ""

        def plain(session_id: str) -> None:
            source = turns.turns()
            if kind == "postgres":
                with raw_postgres.connected(other) as link, RawCursor(link) as cursor:
                    for _ in range(count):
                        raw_postgres.append(cursor, session_id, next(source).plain)
                return
            if kind == "mariadb":
                with contextlib.closing(raw_mariadb.connected(other)) as connection:
                    for _ in range(count):
                        raw_mariadb.append(connection, session_id, next(source).plain)
                return
            with contextlib.closing(raw_sqlite.connected(path, "FULL")) as file:
                for _ in range(count):
                    with lock:
                        raw_sqlite.append(file, session_id, next(source).plain)

        def side(write: Callable[[str], None]) -> Side:
            def burst(_: int) -> list[float]:
                ids = itertools.count()
                return [_together(lambda: write(f"s-{next(ids) if own else 0}"))]

            return burst

        outcome = race(
            side(lambda session_id: _write(repository, session_id, count)),
            side(plain),
            bursts=size.rounds,
            calls=1,
            warm=1,
        )
    where = "sessions of their own" if own else "one session"
    work = f"{WRITERS} threads append to {where}, {stores.NAMES[kind]}"
    return compared(work, "as many of the raw driver", outcome, round(1 / share, 2))


def _write(repository: Repository, session_id: str, count: int) -> None:
    append = appends(repository, session_id)
    for _ in range(count):
        append()


def _together(work: Callable[[], None]) -> float:
    """Run *work* in all threads at once; return the seconds until the last is done."""
    faults: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as fault:  # noqa: BLE001 - raised again below
            faults.append(fault)

    threads = [threading.Thread(target=guarded) for _ in range(WRITERS)]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = perf_counter() - started
    if faults:
        raise faults[0]
    return seconds
