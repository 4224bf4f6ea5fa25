"""How often, how long and with what pauses a step is tried again.

This module knows patience; it refuses to know what is tried.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

from chatstore.backends.common.documents.steps import Failed, Lost, Pause
from chatstore.errors import ChatstoreError, OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

#: Seconds after which an operation (a chunk of a long one) that cannot get through is an error.
DEADLINE = 20.0
#: Seconds after which a change that others are always faster than is an error. In each race somebody succeeds.
RACE_DEADLINE = 120.0
#: Attempts to reach a service where nothing answers: an application should hear of it soon.
SILENT_ATTEMPTS = 4
#: Pauses in seconds: at first, at most while others write the same session, at most while the service has had enough.
_SHORTEST, _LONGEST_LOST, _LONGEST_FAILED = 0.01, 0.1, 2.0


class Patience:
    """What is left of one operation's time."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._longest, self._silent = _SHORTEST, 0

    def pause(self, failure: Lost | Failed, *, unclear: bool = False) -> Generator[Any, Any, None]:
        """Yield a pause that fits *failure*; raise what the caller should hear if there is no time for it.

        *unclear*: something that must not be done twice may have been done.
        """
        failed = failure if isinstance(failure, Failed) else None
        seconds = self._seconds(failure)
        self._silent += failed is not None and failed.soon
        late = time.monotonic() + seconds > self.began + (DEADLINE if failed else RACE_DEADLINE)
        if late or self._silent >= SILENT_ATTEMPTS:
            raise self._final(failed, unclear=unclear) from (failed.cause if failed else None)
        yield Pause(seconds)

    def _seconds(self, failure: Lost | Failed) -> float:
        if isinstance(failure, Lost) and failure.header is not None:
            # What it would look at is known, and the longer it waits, the surer that is out of date.
            return random.uniform(0, _SHORTEST)  # noqa: S311 - jitter
        longest = _LONGEST_LOST if isinstance(failure, Lost) else _LONGEST_FAILED
        self._longest = min(2 * self._longest, longest)
        return random.uniform(self._longest / 2, self._longest)  # noqa: S311 - jitter

    @staticmethod
    def _final(failed: Failed | None, *, unclear: bool) -> ChatstoreError:
        if unclear:
            return unknown()
        if failed is not None:
            return failed.error
        return StorageUnavailable(
            "other writers changed the same session until the deadline: repeat the call later"
        )


def unknown() -> OutcomeUnknown:
    """Make the error for a change that may be stored, and cannot be found out about."""
    return OutcomeUnknown(
        "the connection broke while the change was being stored, and it may be stored: read before repeating it"
    )


def repeated(attempt: Callable[[], Generator[Any, Any, T]]) -> Generator[Any, Any, T]:
    """Try something that changes nothing, or may be done twice, until it succeeds or patience ends."""
    patience = Patience()
    while True:
        try:
            return (yield from attempt())
        except (Lost, Failed) as caught:
            failure = caught
        yield from patience.pause(failure)
