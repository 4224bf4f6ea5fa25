"""What is tried again, how often, with what pauses, and what a caller hears in the end."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.driving import (
    DUPLICATE_ATTEMPTS,
    LONGEST,
    UNREACHABLE_ATTEMPTS,
    Failed,
    Pause,
    attempts,
    drive,
)
from chatstore.errors import OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD = StorageUnavailable("it does not answer: look")


def run(failure: Callable[[], Failed], times: int = 10**9, **options: Any) -> tuple[list[float], int]:
    """Run a step that fails so many *times*; return the pauses, and how often it was tried (below 0: in vain)."""
    pauses: list[float] = []
    counter = itertools.count(1)
    tried = 0

    def carry_out(wanted: Any) -> str:
        nonlocal tried
        if isinstance(wanted, Pause):
            pauses.append(wanted.seconds)
            return ""
        tried = next(counter)
        if tried <= times:
            raise failure()
        return "done"

    options.setdefault("repeatable", True)
    try:
        assert "done" == drive(attempts("step", **options), carry_out)
    except StorageUnavailable:
        return pauses, -tried
    return pauses, tried


def test_what_is_busy_is_tried_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow up to the longest, by chance up to half shorter; when time is over the caller hears of it."""
    pauses, tried = run(lambda: Failed("busy", TOLD, None), 30)
    assert 31 == tried
    assert all(0 < seconds <= LONGEST for seconds in pauses)
    assert pauses[0] <= 0.01 < LONGEST / 2 <= pauses[-1]

    clock = itertools.count(step=3.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert -10 == run(lambda: Failed("busy", TOLD, None))[1]


@pytest.mark.parametrize(
    ("kind", "most"),
    [("lost", UNREACHABLE_ATTEMPTS), ("duplicate", DUPLICATE_ATTEMPTS), ("refused", 1), ("full", 1)],
)
def test_each_kind_is_tried_so_often(kind: str, most: int) -> None:
    """What is lost or duplicate a few times, what does not pass once; a lost connection is replaced at once."""
    pauses, tried = run(lambda: Failed(kind, TOLD, None))
    assert -most == tried
    assert most - 1 == len(pauses)
    assert (kind == "lost") == (0.0 in pauses[:1])
    assert most == abs(run(lambda: Failed(kind, TOLD, None), most - 1)[1])


def test_what_may_be_done_twice_is_tried_again_though_it_may_be_done() -> None:
    """An ambiguous failure ends what cannot be repeated, with its driver's error as the cause; nothing else."""
    cause = ConnectionResetError("gone")

    def failure() -> Failed:
        return Failed("lost", TOLD, cause, ambiguous=True)

    assert 2 == run(failure, 1)[1]
    assert -1 == run(failure, 1, repeatable=False)[1]
    assert 2 == run(lambda: Failed("lost", TOLD, cause), 1, repeatable=False)[1]
    with pytest.raises(StorageUnavailable) as told:
        drive(attempts("step", repeatable=True), lambda _: _raise(Failed("refused", TOLD, cause)))
    assert (TOLD, cause) == (told.value, told.value.__cause__)
    with pytest.raises(OutcomeUnknown) as caught:
        drive(attempts("step", repeatable=False), lambda _: _raise(failure()))
    assert cause is caught.value.__cause__


def test_a_kind_that_is_asked_for_is_raised_as_it_is() -> None:
    """Who knows what to do about a kind of failure gets it, at the first time."""
    with pytest.raises(Failed):
        run(lambda: Failed("duplicate", TOLD, None), raised="duplicate")
    assert 2 == run(lambda: Failed("busy", TOLD, None), 1, raised="duplicate")[1]


def _raise(error: Exception) -> Any:
    raise error
