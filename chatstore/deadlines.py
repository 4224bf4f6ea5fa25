"""How long a call may take: its deadline, and how much of it is left.

A repository begins each call with its deadline (`connect`'s ``deadline=``, ``?deadline=`` in a URL). Whatever waits on
the way, for a lock, a pool, an answer or another attempt, asks `left`. This module knows time; it refuses to know what
is waited for.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from chatstore.errors import Invalid, OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

T = TypeVar("T")

#: Seconds that a call may take where nobody says.
DEFAULT = 30.0
#: Seconds after the deadline until which whoever is waited for may still say why; then nobody waits any more.
GRACE: Final = 0.5
#: The name of the option in URLs.
OPTION: Final = "deadline"
_IN_QUERY: Final = re.compile(rf"(?<=[?&]){OPTION}=([^&#]*)(?:&|(?=#)|$)")


class Deadline(NamedTuple):
    """When the running call ends: *until*, in the time of `time.monotonic`, *seconds* after it began.

    *writes* tells whether it may change something.
    """

    seconds: float
    until: float
    writes: bool


#: That of the call that runs in this thread or task.
running: ContextVar[Deadline | None] = ContextVar("chatstore_deadline", default=None)


def renew() -> None:
    """Let the running call begin anew: it works in pieces, has finished one, and each may take as long."""
    now = running.get()
    if now is not None:
        running.set(now._replace(until=time.monotonic() + now.seconds))


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the running call wait in here no longer than *seconds* for anything."""
    now = running.get()
    if now is not None:
        running.set(now._replace(until=min(now.until, time.monotonic() + seconds)))
    try:
        yield
    finally:
        running.set(now)


def writes() -> bool:
    """Tell whether there is a running call that may change something."""
    now = running.get()
    return now is not None and now.writes


def allowed() -> float:
    """Return how many seconds the running call may take as a whole."""
    now = running.get()
    return DEFAULT if now is None else now.seconds


def left(most: float = math.inf) -> float:
    """Return how many seconds the running call has left: 0 or more, and *most* at most; *most* outside of calls."""
    now = running.get()
    return most if now is None else min(most, max(now.until - time.monotonic(), 0.0))


def is_over(grace: float = 0.0) -> bool:
    """Tell whether there is a running call, and its deadline passed *grace* seconds ago."""
    now = running.get()
    return now is not None and time.monotonic() > now.until + grace


# ------------------------------------------------------------------------------------------------ as it is said


def said() -> str:
    """Return what an error says at its end: which deadline passed."""
    return f"the deadline of {allowed():g} s passed"


def passed(what: str, *, unknown: bool = False) -> StorageUnavailable:
    """Make the error for a call whose deadline passed while it waited for *what*.

    *unknown*: what it would have written may be stored.
    """
    if unknown:
        return OutcomeUnknown(
            f"{what} for {allowed():g} s, the deadline, during a change that may be stored: read before repeating it"
        )
    return StorageUnavailable(
        f"{what} for {allowed():g} s, the deadline: end what hangs, or raise the deadline, then repeat the call"
    )


async def awaited(work: Awaitable[T], what: str, *, unknown: bool) -> T:
    """Await *work* until a second after the deadline; then raise the error that `passed` makes.

    Where the task was cancelled meanwhile it ends so, even if a driver did not: `asyncio.wait_for`, in Python 3.11,
    forgets a cancellation that comes together with the answer, and the caller's timeout would never end the task.
    """
    import asyncio  # which those who block need not load

    task: Any = asyncio.current_task()
    before = task.cancelling()
    limit = asyncio.timeout(left() + 2 * GRACE if running.get() else None)
    try:
        async with limit:
            done = await work
        if task.cancelling() > before:
            raise asyncio.CancelledError
        return done
    except Exception as error:  # a driver's own that was being cancelled, too
        if not limit.expired():
            raise
        raise passed(what, unknown=unknown) from error


# ------------------------------------------------------------------------------------------------ as it is given


def checked(seconds: Any) -> float | None:
    """Return *seconds* as a number, or None. Raises `Invalid` for what is no time."""
    if seconds is None:
        return None
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not known or not 0 < seconds < math.inf:
        msg = "deadline is not a number of seconds above 0: pass one such as deadline=30"
        raise Invalid(msg)
    return float(seconds)


def split(url: Any) -> tuple[Any, float | None]:
    """Return *url*, text or a URL of SQLAlchemy, without its ``deadline``, and that. Raises `Invalid`."""
    if isinstance(url, str):
        found = _IN_QUERY.search(url)
        if found is None:
            return url, None
        head, tail = url[: found.start()], url[found.end() :]
        return (head if tail and not tail.startswith("#") else head[:-1]) + tail, _number(found[1])
    query = getattr(url, "query", None)
    if query is None or not hasattr(url, "difference_update_query") or OPTION not in query:
        return url, None
    return url.difference_update_query([OPTION]), _number(query[OPTION])


def _number(text: Any) -> float | None:
    try:
        return checked(float(text))
    except (TypeError, ValueError):
        msg = "deadline in the URL is no number of seconds: write deadline=30"
        raise Invalid(msg) from None
