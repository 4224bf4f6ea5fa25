"""Campaigns against a door: many processes on one conversation, and processes that are killed while they write.

    python -m tests.doors.campaigns crowd DOOR URL [--processes 8] [--turns 25]
    python -m tests.doors.campaigns kills DOOR URL [--count 200] [--seed N]

Each process stores turns by single calls of the door (of a framework that stores events one by one, events) and says
which were acknowledged. The judge then reads the conversation through the door: an acknowledged turn that is missing
was *lost*, one that is there twice *doubled*, and one that is not whole, or not in one piece, *torn*. Prints one line
of JSON, and fails if any of these is not zero.
`--plant torn|lost|doubled` makes the door do that, so that the judge is seen to find it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.doors.frameworks import at_once, quietly

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.aio import AsyncRepository

SESSION = "shared"
#: The longest that a process lives after its first acknowledged turn, in seconds, before it is killed.
LONGEST = 0.15


class Verdict(NamedTuple):
    """What the judge found: how many turns were acknowledged and found whole, and what went wrong."""

    acknowledged: int
    whole: int
    lost: list[str]
    doubled: list[str]
    torn: list[str]


def judge(turn: Callable[[str], list[Any]], found: list[Any], acknowledged: set[str]) -> Verdict:
    """Compare what was *found* with the turns that were *acknowledged*; unacknowledged ones may be there, whole."""
    texts = [json.dumps(item, sort_keys=True, default=str) for item in found]
    whole: Counter[str] = Counter()
    torn: list[str] = []
    at = 0
    while at < len(texts):
        label = _label(texts[at])
        expected = [_label(json.dumps(item, sort_keys=True, default=str)) for item in turn(label)]
        piece = [_label(text) for text in texts[at : at + len(expected)]]
        if piece == expected:
            whole[label] += 1
            at += len(expected)
        else:
            torn.append(label)
            at += 1
    lost = sorted(acknowledged - set(whole) - set(torn))
    doubled = sorted(label for label, times in whole.items() if times > 1)
    return Verdict(len(acknowledged), sum(whole.values()), lost, doubled, sorted(set(torn)))


def _label(text: str) -> str:
    """Return the label of a turn that *text* says: a word like ``p3n17x``."""
    return next(
        (
            word
            for word in text.replace('"', " ").replace("\\", " ").split()
            if word[0] == "p" and word[-1] == "x"
        ),
        "?",
    )


def driver_of(door: str, planted: str | None) -> Any:
    """Return the driver of *door*, whose appends go wrong as *planted* says."""
    quietly(door)
    driver: Any = importlib.import_module(f"tests.doors.{door}.driver")
    good = driver.append

    async def torn(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
        await good(store, session_id, items[:1])
        await asyncio.sleep(0.005)
        await good(store, session_id, items[1:])

    async def lost(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
        if random.random() < 0.9:
            await good(store, session_id, items)

    async def doubled(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
        await good(store, session_id, items)
        if random.random() < 0.1:
            await good(store, session_id, items)

    faults: dict[str | None, Any] = {None: good, "torn": torn, "lost": lost, "doubled": doubled}
    driver.append = faults[planted]
    return driver


async def _write(driver: Any, url: str, name: str, turns: int, said: int) -> None:
    import chatstore

    async with chatstore.connect_async(url) as store:
        for number in range(turns):
            label = f"p{name}n{number}x"
            await driver.append(store, SESSION, at_once(driver)(label))
            os.write(said, f"{label}\n".encode())


def _fork(driver: Any, url: str, name: str, turns: int, said: int) -> int:
    """Write in a child process; return its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(_write(driver, url, name, turns, said))
            code = 0
        finally:
            os._exit(code)
    return child


async def _found(driver: Any, url: str) -> list[Any]:
    import chatstore

    async with chatstore.connect_async(url) as store:
        found: list[Any] = await driver.read(store, SESSION)
        return found


def crowd(driver: Any, url: str, processes: int, turns: int) -> Verdict:
    """Let *processes* write *turns* each to one conversation at the same time."""
    reading, said = os.pipe()
    children = [_fork(driver, url, str(number), turns, said) for number in range(processes)]
    os.close(said)
    acknowledged = set(_lines(reading))
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if failed:
        msg = f"{len(failed)} of {processes} processes failed: their errors stand above"
        raise SystemExit(msg)
    return judge(at_once(driver), asyncio.run(_found(driver, url)), acknowledged)


def kills(driver: Any, url: str, count: int, seed: int) -> Verdict:
    """Kill *count* processes, one after the other, at random moments while they write; read after each."""
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    torn: set[str] = set()
    verdict = Verdict(0, 0, [], [], [])
    for number in range(count):
        reading, said = os.pipe()
        child = _fork(driver, url, str(number), 1_000_000, said)
        os.close(said)
        first = os.read(reading, 1 << 16)  # it writes; without this most would die before they begin
        time.sleep(chance.random() * LONGEST)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged |= {*first.decode().split(), *_lines(reading)}
        if number % 10 == 9 or number == count - 1:
            verdict = judge(at_once(driver), asyncio.run(_found(driver, url)), acknowledged)
            torn |= set(verdict.torn)
    return verdict._replace(torn=sorted(torn))


def _lines(reading: int) -> list[str]:
    with os.fdopen(reading) as lines:
        return lines.read().split()


def main(arguments: list[str]) -> int:
    """Run one campaign, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.doors.campaigns")
    parser.add_argument("campaign", choices=["crowd", "kills"])
    parser.add_argument("door")
    parser.add_argument("url")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=["torn", "lost", "doubled"])
    given = parser.parse_args(arguments)
    driver = driver_of(given.door, given.plant)
    asyncio.run(_found(driver, given.url))  # what that imports, no child has to
    if given.campaign == "crowd":
        verdict = crowd(driver, given.url, given.processes, given.turns)
    else:
        verdict = kills(driver, given.url, given.count, given.seed)
    print(
        json.dumps({"campaign": given.campaign, "door": given.door, "seed": given.seed, **verdict._asdict()})
    )
    return 1 if verdict.lost or verdict.doubled or verdict.torn else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
