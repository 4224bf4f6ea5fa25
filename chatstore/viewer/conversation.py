"""A part of a conversation, as turns that a person reads: each tool call with its result, each answer with its wait.

Knows which records make a page and what stands beside each; refuses to know URLs and HTML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from chatstore.viewer.parts import Call, Result, Text, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from chatstore.messages import ChatSession, MessageRecord
    from chatstore.viewer.parts import Part
    from chatstore.viewer.source import Source

#: Messages on a page, and how many more are read so that a call and its results stay together.
SIZE: Final = 50
TOGETHER: Final = 20
#: Who speaks, by the type of the message.
ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}
_MODEL: Final = ("model_name", "model")
_REASON: Final = ("finish_reason", "stop_reason", "done_reason")
#: Results of tools are said to these roles.
_ANSWERS: Final = frozenset({"tool"})


@dataclass(slots=True)
class CallShown:
    """A tool call and its result, which may be missing: *record* is the message that brought it."""

    call: Call
    result: Result | None = None
    record: MessageRecord | None = None

    @property
    def status(self) -> str:
        """How it ended: ok, failed, invalid or unanswered."""
        if not self.call.valid:
            return "invalid"
        if self.result is None:
            return "unanswered"
        return "failed" if self.result.failed else "ok"


@dataclass(slots=True)
class Turn:
    """A message and what stands beside it."""

    record: MessageRecord
    role: str
    parts: list[Part]
    calls: list[CallShown] = field(default_factory=list)
    waited: timedelta | None = None
    copied: bool = False
    forks: list[ChatSession] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Where the message stands."""
        return self.record.position

    @property
    def name(self) -> str | None:
        """The name that the message carries."""
        return getattr(self.record.message, "name", None)

    @property
    def model(self) -> str | None:
        """The model that wrote it."""
        return _first(self._about, _MODEL)

    @property
    def finish_reason(self) -> str | None:
        """Why the model ended, where that is worth a word."""
        reason = self.record.finish_reason or _first(self._about, _REASON)
        return None if reason in {"stop", "end_turn", "tool_calls", "tool_use"} else reason

    @property
    def tokens(self) -> tuple[Any, Any] | None:
        """Tokens read and written."""
        usage = getattr(self.record.message, "usage_metadata", None)
        return (usage.get("input_tokens"), usage.get("output_tokens")) if isinstance(usage, dict) else None

    @property
    def edited(self) -> datetime | None:
        """When the message was changed; None for a streamed answer, which always was."""
        return self.record.updated_at if self.record.state is None else None

    @property
    def _about(self) -> dict[str, Any]:
        return getattr(self.record.message, "response_metadata", None) or {}


@dataclass(slots=True)
class Window:
    """Consecutive turns, oldest first, and whether there are messages on either side."""

    turns: list[Turn]
    earlier: bool
    later: bool


def newest(source: Source, session: ChatSession) -> Window:
    """Return the end of *session*."""
    records = list(source.records(session.session_id, last=SIZE + TOGETHER))
    cut = _begin(records, max(0, len(records) - SIZE))
    return _window(
        source, session, records[cut:], earlier=cut > 0 or len(records) == SIZE + TOGETHER, later=False
    )


def before(source: Source, session: ChatSession, position: int) -> Window:
    """Return the turns before *position*."""
    records = list(source.records(session.session_id, before=position, last=SIZE + TOGETHER))
    cut = _begin(records, max(0, len(records) - SIZE))
    return _window(
        source, session, records[cut:], earlier=cut > 0 or len(records) == SIZE + TOGETHER, later=True
    )


def after(source: Source, session: ChatSession, position: int) -> Window:
    """Return the turns after *position*."""
    records = list(source.records(session.session_id, after=position, limit=SIZE + TOGETHER))
    cut = _end(records, min(SIZE, len(records)))
    more = cut < len(records) or len(records) == SIZE + TOGETHER
    return _window(source, session, records[:cut], earlier=position > 0, later=more)


def around(source: Source, session: ChatSession, position: int) -> Window:
    """Return turns with the one at *position* among them."""
    half = SIZE // 2
    earlier = list(source.records(session.session_id, before=position, last=half + TOGETHER))
    later = list(source.records(session.session_id, after=position - 1, limit=half + TOGETHER))
    first = _begin(earlier + later[:1], max(0, len(earlier) - half))
    last = _end(later, min(half, len(later)))
    more = last < len(later) or len(later) == half + TOGETHER
    return _window(
        source,
        session,
        earlier[first:] + later[:last],
        earlier=first > 0 or len(earlier) == half + TOGETHER,
        later=more,
    )


def one(source: Source, session: ChatSession, record: MessageRecord) -> Turn:
    """Return a single turn, with the results of its calls that come next."""
    beside = source.records(session.session_id, after=record.position, limit=TOGETHER)
    results = [other for other in beside if ROLES.get(other.message.type) in _ANSWERS]
    return _turns([record, *results])[0]


def _begin(records: Sequence[MessageRecord], index: int) -> int:
    """Move *index* towards the beginning while a tool's answer stands there: its call is before it."""
    first = index
    while first > 0 and ROLES.get(records[first].message.type) in _ANSWERS:
        first -= 1
    return first


def _end(records: Sequence[MessageRecord], index: int) -> int:
    """Move *index* towards the end while what follows answers calls before it."""
    while index < len(records) and ROLES.get(records[index].message.type) in _ANSWERS:
        index += 1
    return index


def _window(
    source: Source,
    session: ChatSession,
    records: Sequence[MessageRecord],
    *,
    earlier: bool,
    later: bool,
) -> Window:
    turns = _turns(records)
    for turn in turns:
        turn.copied = session.forked_at is not None and turn.position <= session.forked_at
    if turns:
        _hang_forks(turns, source.forks(session))
    return Window(turns, earlier, later)


def _turns(records: Iterable[MessageRecord]) -> list[Turn]:
    """Make turns of *records*: a tool's answer goes to its call where that is among them."""
    turns: list[Turn] = []
    calls: dict[str, CallShown] = {}
    asked: MessageRecord | None = None
    for record in records:
        parts = parts_of(record.message)
        left = [part for part in parts if not _answers(part, calls, record)]
        role = ROLES.get(record.message.type) or str(getattr(record.message, "role", record.message.type))
        if parts and not left:
            continue
        turn = Turn(record, role, [part for part in left if not isinstance(part, Call)])
        turn.calls = [CallShown(part) for part in left if isinstance(part, Call)]
        calls.update({shown.call.id: shown for shown in turn.calls if shown.call.id})
        if role == "user":
            asked = record
        elif asked is not None and role == "assistant" and any(isinstance(part, Text) for part in parts):
            turn.waited = (
                record.created_at - asked.created_at if record.created_at > asked.created_at else None
            )
            asked = None
        turns.append(turn)
    return turns


def _answers(part: Part, calls: dict[str, CallShown], record: MessageRecord) -> bool:
    """Put a result beside the call that it answers, if that is known and unanswered."""
    shown = calls.get(part.id or "") if isinstance(part, Result) else None
    if shown is None or shown.result is not None:
        return False
    shown.result, shown.record = part, record  # type: ignore[assignment]
    return True


def _hang_forks(turns: list[Turn], forks: Iterable[ChatSession]) -> None:
    """Put each fork below the last turn that it copied, where that is here."""
    first, last = turns[0].position, turns[-1].position
    for fork in forks:
        at = fork.forked_at or 0
        if first <= at <= last:
            next(turn for turn in reversed(turns) if turn.position <= at).forks.append(fork)


def _first(about: dict[str, Any], names: Iterable[str]) -> str | None:
    return next((str(about[name]) for name in names if about.get(name)), None)
