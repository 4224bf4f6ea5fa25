"""What a door costs: an append of a turn, the newest twenty messages, and all of them, against what else does the same.

    python -m tests.doors.figures DOOR URL [--turns 200] [--rounds 5]

The same turns, or events of a framework that stores them one by one, are stored in turn through the door, through
`add_messages` with the messages that the door makes, and, where the framework has a SQL session of its own, through
that, on the same database; in another order each time. The figure is the median over the rounds of a side's median
time, in milliseconds. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from chatstore import migrations
from tests.doors.frameworks import at_once, quietly

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeAlias

    from chatstore.aio import AsyncRepository

    Times: TypeAlias = dict[tuple[str, str], list[float]]


class Door:
    """The door."""

    def __init__(self, driver: Any, store: AsyncRepository, session_id: str) -> None:
        """Work on *session_id* of *store*."""
        self.driver, self.store, self.session_id = driver, store, session_id

    async def append(self, items: list[Any]) -> None:
        """Store *items*."""
        await self.driver.append(self.store, self.session_id, items)

    async def read(self, last: int | None) -> list[Any]:
        """Return the newest *last*, or all."""
        found: list[Any] = await self.driver.read(self.store, self.session_id, last)
        return found


class Plain(Door):
    """The repository, with the same messages."""

    async def append(self, items: list[Any]) -> None:
        """Store *items*."""
        await self.store.add_messages(self.session_id, self.driver.messages(items))

    async def read(self, last: int | None) -> list[Any]:
        """Return the newest *last*, or all."""
        return [*await self.store.get_messages(self.session_id, last=last)]


async def one_round(sides: dict[str, Any], driver: Any, turns: int, chance: random.Random) -> Times:
    """Return the times of each side in milliseconds, by what was done."""
    times: Times = {}

    async def timed(what: str, side: str, work: Awaitable[Any]) -> None:
        began = time.perf_counter()
        await work
        times.setdefault((what, side), []).append((time.perf_counter() - began) * 1_000)

    for turn in range(turns):
        for side in chance.sample([*sides], len(sides)):
            await timed("append", side, sides[side].append(at_once(driver)(f"p{turn}x")))
    for what, last in (("newest 20", 20), ("all", None)):
        for _ in range(9):
            for side in chance.sample([*sides], len(sides)):
                await timed(what, side, sides[side].read(last))
    return times


async def measure(driver: Any, url: str, turns: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the median times of each side, by what was done."""
    import chatstore

    taken: Times = {}
    async with chatstore.connect_async(url) as store:
        for number in range(rounds):
            sides: dict[str, Any] = {
                "door": Door(driver, store, f"door {number}"),
                "add_messages": Plain(driver, store, f"plain {number}"),
            }
            if hasattr(driver, "Rival"):
                sides["their own"] = await driver.Rival.open(url, f"rival {number}")
            for key, times in (await one_round(sides, driver, turns, random.Random(number))).items():
                taken.setdefault(key, []).append(statistics.median(times))
            if "their own" in sides:
                await sides["their own"].close()
    found: dict[str, dict[str, float]] = {}
    for (what, side), medians in taken.items():
        found.setdefault(what, {})[side] = round(statistics.median(medians), 3)
    return found


def main(arguments: list[str]) -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.doors.figures")
    parser.add_argument("door")
    parser.add_argument("url")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    quietly(given.door)
    driver = importlib.import_module(f"tests.doors.{given.door}.driver")
    migrations.upgrade(given.url)
    found = asyncio.run(measure(driver, given.url, given.turns, given.rounds))
    ratios = {
        what: {side: round(sides["door"] / spent, 2) for side, spent in sides.items() if side != "door"}
        for what, sides in found.items()
    }
    print(json.dumps({"door": given.door, "milliseconds": found, "door against": ratios}))


if __name__ == "__main__":
    main(sys.argv[1:])
