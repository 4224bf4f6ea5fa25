"""`python -m tests.benchmarks.peers`: measure all in one run; write a page, its plots, and the results as JSON."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import platform
import sqlite3
import statistics
import sys
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests import servers
from tests.benchmarks import turns
from tests.benchmarks.harness import _undisturbed
from tests.benchmarks.peers import contenders, report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.harness import Side
    from tests.benchmarks.peers.contenders import Contender


class Size(NamedTuple):
    """How much is measured."""

    bursts: int
    calls: int
    rounds: int
    bulk: int
    long: int
    own: int


FULL = Size(bursts=12, calls=10, rounds=5, bulk=10_000, long=1_000, own=200)
QUICK = Size(bursts=3, calls=5, rounds=2, bulk=500, long=200, own=30)
DOCS = Path(__file__).parents[3] / "docs" / "reference"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, in two minutes")
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="where to; else docs/reference, if not --quick"
    )
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    size = QUICK if asked.quick else FULL
    results = []
    for kind in ("sqlite", "postgres"):
        for one in measured(kind, size):
            results.append(one)
            print(report.line(one), flush=True)
    found = {"about": about(size), "results": results}
    folder = asked.write or (None if asked.quick else DOCS)
    if folder is not None:
        report.write(folder, found)
        print(f"written: {folder}", file=sys.stderr)


def about(size: Size) -> dict[str, Any]:
    """Return what the run ran on."""
    packages = sorted({kind.package for kind in contenders.ALL})
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in packages},
        "size": size._asdict(),
        "seed": turns.SEED,
    }


def measured(kind: str, size: Size) -> Iterator[dict[str, Any]]:
    """Race all that work on databases of this *kind*, on databases of their own, work after work."""
    source = list(itertools.islice(turns.turns(), 512))
    with contextlib.ExitStack() as stack:
        field = []
        for made in contenders.ALL:
            if kind in made.kinds:
                url = stack.enter_context(servers.fresh_database(kind))
                field.append(stack.enter_context(contenders.opened(made, url, source)))
        for one in field:
            one.fill("short", 100)
            one.fill("long", size.long)
            one.own(size.own)
        yield from raced(kind, "append a turn", {one: one.append("short") for one in field}, size)
        parts = {one: min(size.bulk, one.at_most or size.bulk) for one in field}
        yield from raced(
            kind,
            f"add {size.bulk:,} messages",
            {one: one.bulk(parts[one]) for one in field},
            size,
            calls=1,
            times={one: size.bulk / part for one, part in parts.items()},
        )
        yield from raced(
            kind, f"read {size.long:,} messages", {one: one.read("long") for one in field}, size, calls=1
        )
        last = f"last {contenders.LAST} of {size.long:,}"
        yield from raced(kind, last, {one: one.last("long") for one in field}, size)
        listed = {one: side for one in field if (side := one.listed()) is not None}
        yield from raced(kind, f"list {contenders.PAGE} of a user's {size.own:,} sessions", listed, size)


def raced(
    kind: str,
    work: str,
    sides: dict[Contender, Side],
    size: Size,
    *,
    calls: int | None = None,
    times: dict[Contender, float] | None = None,
) -> Iterator[dict[str, Any]]:
    """Run short bursts of all sides in turns; a ratio is taken inside one round of them."""
    taken: dict[Contender, list[float]] = {one: [] for one in sides}
    for side in sides.values():
        side(1 if calls else 5)
    order = list(sides)
    for _ in range(size.rounds if calls else size.bursts):
        for one in order:
            burst = statistics.median(_undisturbed(sides[one], calls or size.calls))
            taken[one].append(burst * (times[one] if times else 1))
        order.append(order.pop(0))
    ours = next(one for one in sides if isinstance(one, contenders.Chatstore))
    for one in sides:
        ratios = [theirs / mine for theirs, mine in zip(taken[one], taken[ours], strict=True)]
        yield {
            "database": kind,
            "work": work,
            "who": one.name,
            "seconds": statistics.median(taken[one]),
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
            "scaled": bool(times and times[one] != 1),
        }


if __name__ == "__main__":
    main()
