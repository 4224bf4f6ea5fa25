"""When a change of a session is tried again that lost a race, or did not get through.

Other failures wait as everywhere (`chatstore.driving`). In each race somebody succeeds, so the pauses
are shorter. This module refuses to know what is tried.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, TypeVar

from chatstore import deadlines
from chatstore.backends.common.documents.steps import Lost
from chatstore.driving import Failed, Patience, Pause, outcome_unknown
from chatstore.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

#: Pauses in seconds after a lost race: where the header is known that won, and at most.
_SHORTEST, _LONGEST = 0.01, 0.1


class PatienceInRaces(Patience):
    """What is left of one change's time."""

    def after_any(self, failure: Lost | Failed, *, unknown: bool = False) -> Pause:
        """Return the pause before the next attempt; raise as `after`."""
        if isinstance(failure, Failed):
            return self.after(failure, unknown=unknown)
        # The refusal carried the current header. The longer the pause, the surer it is out of date.
        seconds = random.uniform(0, _SHORTEST) if failure.header is not None else self.seconds(_LONGEST)  # noqa: S311 - jitter
        if not self.is_over(seconds):
            return Pause(seconds)
        if unknown:
            raise outcome_unknown()
        msg = (
            f"other writers changed the same session all the time: repeat the call later ({deadlines.said()})"
        )
        raise StorageUnavailable(msg)


def repeated(attempt: Callable[[], Generator[Any, Any, T]]) -> Generator[Any, Any, T]:
    """Try something that changes nothing, or may be done twice, until it succeeds or patience ends."""
    patience = PatienceInRaces()
    while True:
        try:
            return (yield from attempt())
        except (Lost, Failed) as failure:
            pause = patience.after_any(failure)
        yield pause
