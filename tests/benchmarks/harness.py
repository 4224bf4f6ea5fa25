"""How two pieces of code are raced on a machine that has other work to do, and what a figure is.

Knows repetitions, medians and the garbage collector; refuses to know what is measured. Both sides run in
short bursts, in turns, so that whatever slows the machine slows both; a ratio is only ever taken inside one
repetition, the figure is the median of these, and the quartiles beside it say how far to trust it.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

#: Makes that many calls and returns the seconds each of them took.
Side: TypeAlias = Callable[[int], list[float]]


class Size(NamedTuple):
    """How much is measured: *FULL* for the page, *QUICK* to see that everything runs."""

    bursts: int
    calls: int
    rounds: int
    long: int
    bulk: int
    long_file: int


FULL = Size(bursts=40, calls=25, rounds=15, long=100_000, bulk=10_000, long_file=10_000)
QUICK = Size(bursts=6, calls=10, rounds=3, long=5_000, bulk=1_000, long_file=1_000)


class Race(NamedTuple):
    """What came out: for each repetition, the median seconds of a call on each side."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as long ours took, in each repetition."""
        return [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def differences(self) -> list[float]:
        """How many seconds longer ours took, in each repetition."""
        return [mine - other for mine, other in zip(self.ours, self.theirs, strict=True)]


class Figure(NamedTuple):
    """One line of the page: *value* is in *unit*; *low* and *high* are the quartiles of its repetitions.

    *ours* and *theirs* are seconds of a call, medians; *limit* is None where a figure is only reported.
    """

    work: str
    against: str
    value: float
    low: float
    high: float
    unit: str
    limit: float | None
    ours: float | None
    theirs: float | None

    @property
    def met(self) -> bool:
        """Whether the limit holds; what has none always does."""
        return self.limit is None or self.value <= self.limit


def race(ours: Side, theirs: Side, *, bursts: int, calls: int, warm: int) -> Race:
    """Run bursts of *calls* calls, *bursts* on each side, the sides taking turns to go first.

    The time of a burst is the median of its calls. *warm* calls of each side before that are not counted.
    """
    sides, times = (ours, theirs), Race([], [])
    for side in sides:
        side(warm)
    for burst in range(bursts):
        for place in (1, 0) if burst % 2 else (0, 1):
            times[place].append(statistics.median(_undisturbed(sides[place], calls)))
    return times


def compared(work: str, against: str, outcome: Race, limit: float | None) -> Figure:
    """Return the figure of a race, as a ratio."""
    return figure(work, against, outcome.ratios, "x", limit, outcome)


def figure(
    work: str, against: str, values: list[float], unit: str, limit: float | None, outcome: Race | None = None
) -> Figure:
    """Return the figure of *values*, one a repetition."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    ours, theirs = (statistics.median(side) for side in outcome) if outcome else (None, None)
    return Figure(work, against, middle, low, high, unit, limit, ours, theirs)


def each(call: Callable[[], object]) -> Side:
    """Return the side that makes *call*."""

    def burst(calls: int) -> list[float]:
        return [_timed(call) for _ in range(calls)]

    return burst


def each_awaited(loop: asyncio.Runner, call: Callable[[], Awaitable[object]]) -> Side:
    """Return the side that awaits *call* on *loop*, one after the other."""

    async def burst(calls: int) -> list[float]:
        times = []
        for _ in range(calls):
            started = perf_counter_ns()
            await call()
            times.append((perf_counter_ns() - started) / 1e9)
        return times

    return lambda calls: loop.run(burst(calls))


def _undisturbed(side: Side, calls: int) -> list[float]:
    """Run a burst; what lived before it is not the collector's work meanwhile, what it makes is."""
    gc.collect()
    gc.freeze()
    try:
        return side(calls)
    finally:
        gc.unfreeze()


def _timed(call: Callable[[], object]) -> float:
    started = perf_counter_ns()
    kept = call()  # dropping what came back is not the call's time
    seconds = (perf_counter_ns() - started) / 1e9
    del kept
    return seconds
