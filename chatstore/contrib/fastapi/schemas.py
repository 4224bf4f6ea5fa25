"""What the routes take and give, as pydantic models: objects with names, so that OpenAPI and clients can read them.

Each model of an answer is made from the library's own value by ``of``. Refuses to know routes.
"""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chatstore.codec import to_wire
from chatstore.ids import MAX_ID
from chatstore.messages import ChatSession, MessageRecord, Records, SearchHit
from chatstore.records import AnswerState, Page

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]


class _Given(BaseModel):
    """A body: what it does not know is refused, so that a misspelt field is no surprise."""

    model_config = ConfigDict(extra="forbid")


def _addressable(id_: str) -> str:
    """Return *id_* if a chat can be reached by it: it is a part of the path of every other route."""
    if "/" in id_ or id_ in {".", "..", "search"}:
        msg = "it cannot stand in an address: choose one without a slash, and none of ., .. and search"
        raise ValueError(msg)
    return id_


class NewSession(_Given):
    """A chat to begin. Without an *id* it gets one."""

    id: Annotated[Id, AfterValidator(_addressable)] | None = None
    title: str | None = None
    metadata: dict[str, Any] = {}


class SessionChanges(_Given):
    """What is to change: what is left out stays; a title of null goes."""

    title: str | None = None
    archived: bool = False


class Question(_Given):
    """What a user says. The same *id* once more is stored once, so that a client may repeat a request."""

    text: str
    id: Id | None = None


class Regeneration(_Given):
    """Which question to answer once more, by its position; the last one if that is left out."""

    position: Annotated[int, Field(ge=1, lt=2**63)] | None = None


class ForkPoint(_Given):
    """Up to which position a chat is copied, inclusive; all of it if that is left out."""

    through: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Session(BaseModel):
    """A chat. *revision* grows with every change."""

    id: str
    title: str | None
    metadata: dict[str, Any]
    message_count: int
    revision: int
    forked_from: str | None
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    expires_at: datetime | None

    @classmethod
    def of(cls, session: ChatSession) -> Self:
        """Make it from the library's."""
        return cls(id=session.session_id, **{name: getattr(session, name) for name in _COPIED})


_COPIED = [name for name in Session.model_fields if name != "id"]


class SessionPage(BaseModel):
    """Chats, newest first. Pass *next_cursor* on for those after them; null at the end."""

    items: list[Session]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[ChatSession]) -> Self:
        """Make it from the library's."""
        return cls(items=[Session.of(one) for one in page.items], next_cursor=page.next_cursor)


class Record(BaseModel):
    """A message as it is stored, at its place in the chat.

    *text* is what a person reads, *data* all of the message, as in LangChain's JSON. *state* is that of a streamed
    answer: streaming, complete or incomplete; null for other messages.
    """

    id: str
    position: int
    type: str
    text: str
    data: dict[str, Any]
    state: AnswerState | None
    finish_reason: str | None
    created_at: datetime
    updated_at: datetime | None

    @classmethod
    def of(cls, record: MessageRecord) -> Self:
        """Make it from the library's."""
        wire = to_wire(record.message)
        return cls(
            id=record.message_id,
            position=record.position,
            type=wire["type"],
            text=record.message.text,
            data=wire["data"],
            state=record.state,
            finish_reason=record.finish_reason,
            created_at=record.created_at,
            updated_at=record.updated_at,
        )


class RecordPage(BaseModel):
    """Messages, oldest first. Pass *before* on for those above them; null where there are none.

    *revision* is the chat's at that moment.
    """

    items: list[Record]
    before: int | None
    revision: int

    @classmethod
    def of(cls, records: Records, limit: int) -> Self:
        """Make it from the library's, of which there is one more than *limit* if there are more above."""
        shown = records[-limit:]
        before = shown[0].position if len(records) > limit else None
        return cls(items=[Record.of(one) for one in shown], before=before, revision=records.revision)


class Hit(BaseModel):
    """A message that a search found. *snippet* is the part around the words; *rank* compares within one answer."""

    session_id: str
    message_id: str
    position: int
    type: str
    text: str
    snippet: str
    rank: float
    created_at: datetime

    @classmethod
    def of(cls, hit: SearchHit) -> Self:
        """Make it from the library's."""
        named = {name: getattr(hit, name) for name in cls.model_fields if name != "text"}
        return cls(text=hit.content, **named)


class Hits(BaseModel):
    """What a search found, best first."""

    items: list[Hit]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
