"""A session as documents: its header, the generations its messages lie in, and what is left of older ones.

This module knows how headers and rows become plain dictionaries and what a header becomes when something changes; it
refuses to know where they are kept.

Messages lie in *generations*, each with a name of its own that is never used again. What no part of the header names
cannot be reached, so dropping any number of messages is one write of the header; what they leave is swept afterwards.
A header without a session means that there is none, but something is left to sweep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from chatstore import codec
from chatstore.arguments import microseconds
from chatstore.codec import FIELDS, Draft, Row
from chatstore.errors import CorruptRecord
from chatstore.ids import new_id
from chatstore.messages import ChatSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chatstore.arguments import Window
    from chatstore.backends.conversation import Conversation

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

    def counted(self, after: Conversation, rows: int) -> Header:
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
            sweep_at=sweeping(session.expires_at if session else None),
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


def begun(session: ChatSession, old: Header | None, now: datetime) -> Header:
    """Return the header of a session that begins; what *old* had of an expired one is left over."""
    return (old or NOTHING).emptied(session, 0, now)


def sweeping(expires_at: datetime | None) -> datetime | None:
    """Return when a service may sweep what expires then."""
    if expires_at is None:
        return None
    return min(expires_at, datetime.max.replace(tzinfo=UTC) - timedelta(seconds=LATER)) + timedelta(
        seconds=LATER
    )


def epoch(moment: datetime | None) -> int | None:
    """Return *moment* in whole seconds since 1970, rounded up: what services take as the time to live."""
    return None if moment is None else math.ceil(microseconds(moment) / 1_000_000)


#: What stands for a header where there is none.
NOTHING = Header(None, ())

# ------------------------------------------------------------------------------------------------ dictionaries

_TIMES = frozenset({"created_at", "updated_at", "archived_at", "expires_at"})
#: These can be above 2**53. A store whose numbers are floats writes them as text; they are read back from either.
WHOLE = frozenset({"position", "last_position", "revision", "forked_at", "message_count"})


def header_document(header: Header) -> dict[str, Any]:
    """Return *header* as text, integers and None; metadata and parts are JSON text, so that numbers stay the same."""
    document: dict[str, Any] = {
        "token": header.token,
        "parts": codec.dumps([list(part) for part in header.parts]),
        "leftovers": codec.dumps([list(left) for left in header.leftovers]),
        "sweep_at": _text(header.sweep_at),
    }
    if header.session is not None:
        document |= {one.name: _text(getattr(header.session, one.name)) for one in fields(ChatSession)}
        document["metadata"] = codec.dumps(header.session.metadata)
    return document


def header_of(document: Mapping[str, Any], etag: Any = None) -> Header:
    """Return the header that `header_document` made *document* of; what is missing is None.

    Raises `CorruptRecord` for one that was damaged.
    """
    try:
        return _header(document, etag)
    except (KeyError, TypeError, ValueError) as error:
        msg = (
            f"the data of session {document.get('session_id')!r} cannot be read: restore its item from a backup, or "
            "delete its items"
        )
        raise CorruptRecord(msg) from error


def _header(document: Mapping[str, Any], etag: Any) -> Header:
    session = None
    if document.get("session_id") is not None:
        values = {one.name: _value(one.name, document.get(one.name)) for one in fields(ChatSession)}
        session = ChatSession(**{**values, "metadata": codec.loads(document["metadata"])})
    return Header(
        session,
        tuple(Part(*part) for part in codec.loads(document["parts"])),
        tuple(Leftover(*left) for left in codec.loads(document["leftovers"])),
        _value("expires_at", document.get("sweep_at")),
        document["token"],
        etag,
    )


def row_document(row: Row) -> dict[str, Any]:
    """Return *row* as text, integers, booleans and None."""
    values = {name: _text(value) for name, value in row.draft._asdict().items()}
    return {"position": row.position, **values}


def row_of(document: Mapping[str, Any]) -> Row:
    """Return the row that `row_document` made *document* of; one that was damaged is a row that nobody can decode."""
    position = int(document["position"])
    try:
        values = {name: _value(name, document.get(name)) for name in FIELDS}
        if all(isinstance(values[name], kind) for name, kind in FIELDS.items()):
            return Row(position, Draft(**values))
    except (TypeError, ValueError):
        pass  # as a needed value that is missing
    generated = document.get("id_generated") is not False
    return Row(position, Draft.damaged(str(document.get("message_id")), _LONG_AGO, id_generated=generated))


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return datetime.fromisoformat(value)
    return int(value) if name in WHOLE or isinstance(value, float) else value
