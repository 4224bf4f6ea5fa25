"""A session's header: its own data, the generations its messages lie in, and what is left of older ones.

Messages lie in *generations*, each with a name of its own that is never used again. What no part of the header names
cannot be reached, so dropping any number of messages is one write of the header; what they leave is swept afterwards.
A header without a session means that there is none, but something is left to sweep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from chatstore.arguments import microseconds
from chatstore.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatstore.arguments import Window
    from chatstore.backends.common.rules import SessionState
    from chatstore.codec import Row
    from chatstore.messages import ChatSession

#: Above every position there can be.
END = 2**63 - 1
#: After this, leftovers count as forgotten by whoever made them, and anybody sweeps them.
GRACE = timedelta(minutes=15)
#: Seconds by which a service's own sweeping comes later than ``expires_at``: clocks differ.
LATER = 3600


class Part(NamedTuple):
    """The messages of one generation at positions above *after*, up to *last*."""

    generation: str
    after: int
    last: int = END


class Leftover(NamedTuple):
    """Items that nothing reaches any more, or not yet: those of *generation* at positions above *above*.

    *since* is in microseconds. *staged* means that somebody is still writing them, to make them reachable later.
    """

    generation: str
    above: int
    since: int
    staged: bool


@dataclass(frozen=True, slots=True)
class Header:
    """What one write makes visible: the session's own data, and where its messages lie.

    *token* is new in every commit; the next one is on condition of it. *etag* is the store's own, for a service that
    has such a thing. *sweep_at* is when the service may delete the items by itself (None: never).
    """

    session: ChatSession | None
    parts: tuple[Part, ...]
    leftovers: tuple[Leftover, ...] = ()
    sweep_at: datetime | None = None
    token: str = field(default_factory=new_id)
    etag: Any = field(default=None, compare=False)

    @property
    def data(self) -> ChatSession:
        """The session of a header that has one."""
        assert self.session is not None, "whoever asks has looked first"  # noqa: S101 - for the type checker
        return self.session

    @property
    def expiry(self) -> datetime | None:
        """When the service may delete the header itself: never before somebody has swept what is left over."""
        return None if self.leftovers or self.session is None else self.sweep_at

    @property
    def open(self) -> Part:
        """The part that new messages go into; a header without a session may have none."""
        return self.parts[-1]

    @property
    def generations(self) -> tuple[str, ...]:
        """Every generation that has reachable messages."""
        return tuple(part.generation for part in self.parts)

    def holds(self, generation: str, position: int) -> bool:
        """Tell whether an item at this place is reachable."""
        return any(
            part.generation == generation and part.after < position <= part.last for part in self.parts
        )

    def generation_of(self, position: int) -> str:
        """Return the generation of a reachable position."""
        return next(part.generation for part in reversed(self.parts) if part.after < position <= part.last)

    def ranges(self, window: Window) -> list[Part]:
        """Return what must be read for *window*, oldest first; the last position ends it, so no commit is seen half."""
        low, high = window.after or 0, self.data.last_position
        if window.before is not None:
            high = min(high, window.before - 1)
        cut = [Part(part.generation, max(low, part.after), min(high, part.last)) for part in self.parts]
        return [part for part in cut if part.after < part.last]

    def certain(self, window: Window, rows: Sequence[Row]) -> bool:
        """Tell whether *rows* must be all there is in *window*, even if somebody sweeps at this moment."""
        session = self.data
        if len(rows) == session.message_count:
            return True
        ranges = self.ranges(window)
        if len(self.parts) != 1 or session.message_count != session.last_position - self.open.after:
            return not ranges
        low, high = (ranges[0].after, ranges[0].last) if ranges else (0, 0)
        if window.last is not None:
            low = max(low, high - window.last)
        elif window.limit is not None:
            high = min(high, low + window.limit)
        # No position is missing in this session, so the first and the number of them tell.
        return len(rows) == high - low and (not rows or rows[0].position == low + 1)

    # ---- what it becomes

    def now(self, **changes: Any) -> Header:
        """Return the next header: as this one, with *changes* and a new token."""
        return replace(self, **changes, token=new_id())

    def counted(self, after: SessionState, rows: int) -> Header:
        """Return the header after a change to a conversation that held only *rows* of the session's rows."""
        count = self.data.message_count + len(after.rows) - rows
        return self.now(session=replace(after.session, message_count=count))

    def emptied(self, session: ChatSession | None, after: int, now: datetime) -> Header:
        """Return the header with no reachable message; a new part is open behind *after*, old ones are left over."""
        gone = tuple(Leftover(part.generation, 0, microseconds(now), staged=False) for part in self.parts)
        return self.now(
            session=session,
            parts=(Part(new_id(), after),),
            leftovers=self.leftovers + gone,
            sweep_at=sweep_time(session.expires_at if session else None),
        )

    def cut(self, session: ChatSession, after: int, now: datetime) -> Header:
        """Return the header without the messages behind *after*; those in front of it stay where they are."""
        since = microseconds(now)
        kept = [part._replace(last=min(part.last, after)) for part in self.parts if part.after < after]
        gone = [
            Leftover(part.generation, max(after, 0) if part.after < after else 0, since, staged=False)
            for part in self.parts
            if part.last > after
        ]
        opened = Part(new_id(), session.last_position)
        return self.now(session=session, parts=(*kept, opened), leftovers=(*self.leftovers, *gone))

    def forgotten(self, now: datetime) -> list[Leftover]:
        """Return the leftovers whose maker seems to have stopped."""
        limit = microseconds(now - GRACE)
        return [left for left in self.leftovers if left.since <= limit]

    def disowned(self, leftovers: Iterable[Leftover]) -> Header:
        """Return the header in which none of *leftovers* is staged any more."""
        gone = {left.generation for left in leftovers}
        return self.now(
            leftovers=tuple(
                left._replace(staged=False) if left.generation in gone else left for left in self.leftovers
            )
        )

    def without(self, leftovers: Iterable[Leftover]) -> Header:
        """Return the header that knows nothing of *leftovers*."""
        gone = set(leftovers)
        return self.now(leftovers=tuple(left for left in self.leftovers if left not in gone))


def begin(session: ChatSession, old: Header | None, now: datetime) -> Header:
    """Return the header of a session that begins; what *old* had of an expired one is left over."""
    return (old or NOTHING).emptied(session, 0, now)


def sweep_time(expires_at: datetime | None) -> datetime | None:
    """Return when a service may sweep what expires then."""
    if expires_at is None:
        return None
    return min(expires_at, datetime.max.replace(tzinfo=UTC) - timedelta(seconds=LATER)) + timedelta(
        seconds=LATER
    )


def to_epoch(moment: datetime | None) -> int | None:
    """Return *moment* in whole seconds since 1970, rounded up: what services take as the time to live."""
    return None if moment is None else math.ceil(microseconds(moment) / 1_000_000)


#: What stands for a header where there is none.
NOTHING = Header(None, ())
