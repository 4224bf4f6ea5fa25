"""What awaiting costs, and how many turns a second eight writers store in one session."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import chatstore
from tests.benchmarks import stores, turns
from tests.benchmarks.appending import WARM, appends
from tests.benchmarks.harness import compared, each, each_awaited, figure, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Race, Size

WRITERS = 8


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in stores.SQL:
        yield from _awaited(size, kind)
    for kind in (*stores.SQL, "file"):
        yield _writers(size, kind)


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
