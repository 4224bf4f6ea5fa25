"""What a repository says about sessions and messages: plain values, true at one moment.

Rows are named tuples and not frozen dataclasses: they are made by the thousand (0.26 us each against 0.63),
and defining one costs a tenth of the time at import.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar, get_args

if TYPE_CHECKING:
    from datetime import date, datetime

    from chatstore.messages import Message

T = TypeVar("T")
#: What a list of sessions is sorted by; with a minus, the newest come first.
SessionOrder: TypeAlias = Literal["-updated_at", "updated_at", "-created_at", "created_at"]
NEWEST_FIRST: Final = "-updated_at"
SESSION_ORDERS: Final = get_args(SessionOrder)
#: How far an answer is that was streamed: see `MessageRecord`.
AnswerState: TypeAlias = Literal["streaming", "complete", "incomplete"]
STREAMING: Final = "streaming"
COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
ANSWER_STATES: Final = (STREAMING, COMPLETE, INCOMPLETE)
#: Why an answer is incomplete that nobody has written to for this long: its writer is gone.
ABANDONED: Final = "abandoned"
ABANDONED_AFTER: Final = timedelta(minutes=1)


class MessageRecord(NamedTuple):
    """One stored message and where it stands.

    *position* starts at 1 and orders the session; *created_at* is aware, UTC, with microseconds, and orders
    nothing. *message_id* is the message's own id, or a generated one where `message.id` is None. *updated_at* is when
    the message was last changed, None where it is as it was stored at first. *state* is that of an answer which was
    streamed (``begin_answer``): ``streaming`` while its text grows, ``complete``, or ``incomplete``; None for all other
    messages. *finish_reason* is why an answer ended: the model's word (``stop``, ``length``), or why it is incomplete
    (``error``, ``cancelled``, ``stopped``, ``abandoned``).
    """

    message: Message
    position: int
    message_id: str
    created_at: datetime
    session_id: str
    updated_at: datetime | None = None
    state: AnswerState | None = None
    finish_reason: str | None = None


class AnswerPart(NamedTuple):
    """What a follower of an answer is told: the *text* that is new, and the *offset* to go on from.

    An offset counts the characters before it. *state* and *finish_reason* are those of `MessageRecord`: as long as it
    is ``streaming``, more may come.
    """

    text: str
    offset: int
    state: AnswerState
    finish_reason: str | None


class Records(list[MessageRecord]):
    """Records, oldest first, with the session's *revision* when they were read (0: there was no session)."""

    revision: int = 0


@dataclass(frozen=True, slots=True)
class ChatSession:
    """One session. Times are aware, UTC, with microseconds.

    *message_count* is how many messages there are, *last_position* the highest position ever used. *revision*
    grows with every change and is what ``expected_revision`` compares. *forked_from* is a session id,
    *forked_at* the last position that was copied. *metadata* is the application's own JSON object.
    """

    session_id: str
    tenant_id: str | None
    user_id: str | None
    title: str | None
    metadata: dict[str, Any]
    message_count: int
    last_position: int
    revision: int
    forked_from: str | None
    forked_at: int | None
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    expires_at: datetime | None


#: The fields of a session, in their order: every backend keeps them, and the command line shows them.
SESSION_FIELDS: Final = tuple(ChatSession.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list. *next_cursor* continues it and is None at the end."""

    items: list[T]
    next_cursor: str | None = None


class SearchHit(NamedTuple):
    """One message that a search found.

    *content* is the message's readable text and *snippet* a short part of it around the first words found, on one
    line. *highlights* are the places in the snippet where words were found, each a start and an end, so that
    ``snippet[start:end]`` is what to mark. *rank* is how often the text says what was wanted, and compares only within
    one answer. *title*, *tenant_id* and *user_id* are the session's.
    """

    session_id: str
    position: int
    message_id: str
    type: str
    content: str
    snippet: str
    rank: float
    created_at: datetime
    title: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
    highlights: tuple[tuple[int, int], ...] = ()


class UsageRow(NamedTuple):
    """Messages and tokens of one group. What was not grouped by is None; *day* is a day in UTC."""

    day: date | None = None
    model: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
    session_id: str | None = None
    messages: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class State(NamedTuple):
    """One named state: its *key* in its namespace, its *value* as JSON, and its own *revision*, which grows."""

    key: str
    value: Any
    revision: int
    updated_at: datetime
    namespace: str
    tenant_id: str | None
    user_id: str | None


class PurgeReport(NamedTuple):
    """How many sessions and messages a purge removed, or would remove where *dry_run* is true."""

    sessions: int
    messages: int
    dry_run: bool = False


class Capabilities(NamedTuple):
    """What a backend cannot do.

    *denied* holds the names of the repository methods that raise `NotSupported`; *atomic_batch* is how many
    messages one call stores atomically (None: any number); *notes* are sentences for people.
    """

    denied: frozenset[str] = frozenset()
    atomic_batch: int | None = None
    notes: tuple[str, ...] = ()


DurabilityLevel: TypeAlias = Literal["none", "snapshot", "unknown", "process", "machine"]


class Durability(NamedTuple):
    """What an acknowledged write survives: *level* is one word, *detail* a sentence for people.

    The words, from the weakest: ``none``; ``snapshot`` (what the last one holds survives the process); ``unknown``;
    ``process`` (survives the end of the process); ``machine`` (survives a crash of the machine, too).
    """

    level: DurabilityLevel
    detail: str
