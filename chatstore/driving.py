"""How an operation that waits is carried out, what of it is tried again, and what a caller hears in the end.

Such an operation is a generator that yields steps and pauses: a backend carries each out (`drive`, `adrive`), and
`attempts` yields one again where that may help. This module knows four kinds of failures that pass, by their names; a
backend says which of its driver's errors is of which kind, and makes the error for the caller. It refuses to know
drivers.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, overload

from chatstore import deadlines
from chatstore.errors import OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatstore.contract import Answer, C
    from chatstore.errors import ChatstoreError

T = TypeVar("T")
U = TypeVar("U")


# ------------------------------------------------------------------------------------------------ carrying out


def then(operation: Callable[[C], Answer[T]], make: Callable[[T], U]) -> Callable[[C], Answer[U]]:
    """Return *operation* with what *make* makes of its answer, in the thread that carries it out, if there is one."""

    def both(call: C) -> Answer[U]:
        answer = operation(call)
        return _after(answer, make) if isinstance(answer, Generator) else make(answer)

    return both


def _after(plan: Generator[Any, Any, T], make: Callable[[T], U]) -> Generator[Any, Any, U]:
    return make((yield from plan))


@overload
def drive(plan: Generator[Any, Any, T], carry_out: Callable[[Any], Any]) -> T: ...
@overload
def drive(plan: Answer[T], carry_out: Callable[[Any], Any]) -> T: ...
def drive(plan: Answer[T], carry_out: Callable[[Any], Any]) -> T:
    """Carry out what a generator yields, one thing after the other, and return its answer."""
    if not isinstance(plan, Generator):
        return plan
    try:
        wanted = next(plan)
        while True:
            try:
                got = carry_out(wanted)
            except Exception as error:  # noqa: BLE001 - the generator decides
                wanted = plan.throw(error)
            else:
                wanted = plan.send(got)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


@overload
async def adrive(plan: Generator[Any, Any, T], carry_out: Callable[[Any], Awaitable[Any]]) -> T: ...
@overload
async def adrive(plan: Answer[T], carry_out: Callable[[Any], Awaitable[Any]]) -> T: ...
async def adrive(plan: Answer[T], carry_out: Callable[[Any], Awaitable[Any]]) -> T:
    """As `drive`, awaiting each thing; the generator hears of a cancellation, too."""
    from asyncio import CancelledError  # 20 ms that synchronous callers need not pay

    if not isinstance(plan, Generator):
        return plan
    try:
        wanted = next(plan)
        while True:
            try:
                got = await carry_out(wanted)
            except (Exception, CancelledError) as error:  # noqa: BLE001 - the generator decides
                wanted = plan.throw(error)
            else:
                wanted = plan.send(got)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


# ------------------------------------------------------------------------------------------------ trying again

#: Attempts to reach a server that does not answer: an application should hear of it soon.
UNREACHABLE_ATTEMPTS: Final = 4
#: Attempts to make a row that somebody else makes at the same moment.
DUPLICATE_ATTEMPTS: Final = 8
#: The longest pause in seconds, at first and in the end; each is up to half shorter, by chance.
SHORTEST, LONGEST = 0.005, 1.0

#: How often what fails so may be tried; None for any number until the deadline. Other failures do not pass.
_TRIED: Final[dict[str, int | None]] = {
    "busy": None,
    "duplicate": DUPLICATE_ATTEMPTS,
    "lost": UNREACHABLE_ATTEMPTS,
    "limit": UNREACHABLE_ATTEMPTS,
}


class Pause(NamedTuple):
    """Seconds to wait before the next step."""

    seconds: float


class Failed(Exception):
    """A step was not done: what who carries it out raises for a driver's error.

    *kind*: "busy", "duplicate", "lost" and "limit" may pass, any other word does not. *error* is what the caller
    hears when nothing is tried any more, caused by *cause*. *ambiguous*: the step may have been done all the same.
    """

    def __init__(
        self, kind: str, error: ChatstoreError, cause: BaseException | None, *, ambiguous: bool = False
    ) -> None:
        """Keep what is decided by, and what is told in the end."""
        super().__init__(str(error))
        self.kind, self.error, self.cause, self.ambiguous = kind, error, cause, ambiguous


class Patience:
    """What is left of the time for one step, or for a few that belong together."""

    def __init__(self, began: float | None = None) -> None:
        """Begin now, or at the time *began* of `time.monotonic`."""
        self._began = time.monotonic() if began is None else began
        self._longest = SHORTEST
        self._failures: dict[str, int] = {}

    def after(self, failed: Failed, *, unknown: bool = False) -> Pause:
        """Return the pause before the next attempt; raise what the caller hears where there is none.

        *unknown*: something that must not be done twice may have been done, which is then said instead.
        """
        times = self._failures[failed.kind] = self._failures.get(failed.kind, 0) + 1
        most = _TRIED.get(failed.kind, 1)
        # A broken connection is replaced at once: the pool may be full of others of that age.
        seconds = 0.0 if failed.kind == "lost" and times == 1 else self.seconds(LONGEST)
        if most is not None and times >= most:
            raise (outcome_unknown() if unknown else failed.error) from failed.cause
        if self.is_over(seconds):
            raise (outcome_unknown() if unknown else _in_the_end(failed.error)) from failed.cause
        return Pause(seconds)

    def seconds(self, longest: float) -> float:
        """Return how long to wait: twice as long as before, at most *longest*, and a part of it by chance."""
        self._longest = min(2 * self._longest, longest)
        return random.uniform(self._longest / 2, self._longest)  # noqa: S311 - jitter

    def is_over(self, seconds: float) -> bool:
        """Tell whether the deadline will have passed after a pause of *seconds*; outside of calls, the usual one."""
        otherwise = max(self._began + deadlines.DEFAULT - time.monotonic(), 0.0)
        return seconds >= (deadlines.left() if deadlines.running.get() else otherwise)


def attempts(
    step: Any, *, repeatable: bool, raised: str = "", writes: bool = False
) -> Generator[Any, Any, Any]:
    """Yield *step* until it succeeds, or is not worth another attempt.

    What is not *repeatable* raises `OutcomeUnknown` where it may have been done; so does what *writes*, once it is not
    tried any more. A failure of the kind *raised* is raised as it is.
    """
    began, patience, done = time.monotonic(), None, False
    while True:
        try:
            return (yield step)
        except Failed as failed:
            if failed.kind == raised:
                raise
            if failed.ambiguous and not repeatable:
                raise outcome_unknown() from failed.cause
            patience, done = patience or Patience(began), done or (failed.ambiguous and writes)
            pause = patience.after(failed, unknown=done)
        yield pause


def _in_the_end(error: ChatstoreError) -> ChatstoreError:
    """Return *error*, which says that the deadline has passed where it is about waiting."""
    if not deadlines.running.get() or type(error) is not StorageUnavailable:
        return error
    return StorageUnavailable(f"{error} ({deadlines.said()})")


def outcome_unknown() -> OutcomeUnknown:
    """Make the error for a change that may be stored, and cannot be found out about."""
    return OutcomeUnknown(
        "the connection broke, or nothing answered, during a change that may be stored: read before repeating it"
    )
