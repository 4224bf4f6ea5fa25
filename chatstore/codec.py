"""Messages to rows and back, without loss.

This module knows the stored form of a message, the `Draft`: readable *content*, columns people filter on, and
a *payload* with all the rest. With it comes, from `chatstore.wire` and `chatstore.strictjson`, everything
else that turns messages into text. It refuses to know where rows are kept.

What does not survive JSON (tuples, bytes, dates, keys that are not text, NaN) is refused with the path of the
value, never the value. What a database cannot hold (NUL, lone surrogates, nesting over 30 levels, integers
beyond every double) puts the payload into its marked form, a JSON string. So every row stays JSON that every
database function can read, and the round trip stays exact.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime  # noqa: TC003 - `get_type_hints` looks it up
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast, get_type_hints

from pydantic import ValidationError

from chatstore.arguments import MAX_POSITION, check_natural, check_time, utcnow
from chatstore.errors import CorruptRecord, Invalid, InvalidMessage
from chatstore.failures import another_body, corrupt, out_of_order, partly
from chatstore.ids import checked_id, id_fault, new_id
from chatstore.messages import (
    CLASSES,
    OpaqueMessage,
    set_extra,
    set_given,
    set_private,
    set_values,
    text_of,
)
from chatstore.records import (
    ABANDONED,
    ABANDONED_AFTER,
    ANSWER_STATES,
    INCOMPLETE,
    STREAMING,
    MessageRecord,
    Records,
)
from chatstore.strictjson import canonical, check_json, dumps, is_storable, loads, pack, readable, unpack
from chatstore.wire import SHAPES, fault_of, from_wire, rest_of, shape_of, to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chatstore.errors import PartialWrite
    from chatstore.messages import Message
    from chatstore.records import AnswerState

__all__ = [
    "Draft",
    "check_json",
    "checked_id",
    "decode",
    "draft_to_wire",
    "dumps",
    "encode",
    "from_wire",
    "id_fault",
    "is_storable",
    "loads",
    "new_id",
    "same",
    "to_wire",
]

#: Records written in one transaction by `load_records`, and read at a time by `iter_records`.
CHUNK: Final = 500
MAX_COPY: Final = 255
MAX_TYPE: Final = 32
MAX_SOURCE: Final = 64
_BY_TAG: Final = {tag: SHAPES[cls] for tag, cls in CLASSES.items()}


class Draft(NamedTuple):
    """One message as it is stored, without session and position.

    *created_at* is aware, in UTC. *content* is what a person reads; *payload* is JSON text with everything that
    *type*, *content* and *message_id* do not hold: '{}' for a plain message. The rest are columns for filters, None
    where there is nothing that a column can hold: copies of what the payload has, *source* among them: the framework
    whose form of the message is in it (`BaseMessage.native`). Of an answer that was streamed, *state* says how far it
    is, *first_token_at* and *last_token_at* when its text came; *updated_at* is when the message was last changed.
    Every backend stores all fields by their names here; a new one is named here, in `_copies`, in the SQL model and in
    a revision, and nowhere else.
    """

    created_at: datetime
    message_id: str
    id_generated: bool
    type: str
    content: str
    payload: str
    name: str | None = None
    tool_call_id: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    source: str | None = None
    finish_reason: str | None = None
    state: str | None = None
    updated_at: datetime | None = None
    first_token_at: datetime | None = None
    last_token_at: datetime | None = None

    @classmethod
    def damaged(cls, message_id: str, created_at: datetime, *, id_generated: bool = True) -> Draft:
        """Return what stands for a stored message that cannot be read: `decode` raises `CorruptRecord` for it."""
        return cls(created_at, message_id, id_generated, "", "", "")


#: The fields of a draft and their types, for what reads one back from where types were lost.
FIELDS: Final = get_type_hints(Draft)
#: The optional fields of a draft, in order: a backend that is not made of columns keeps those that are not None.
OPTIONAL: Final = Draft._fields[6:]
#: The fields that say what became of a message after it was stored, all None in a new one but an answer's placeholder.
LATER: Final = Draft._fields[-4:]


def encode(message: Message, *, now: datetime, source: str | None = None) -> Draft:
    """Return the row of *message*, made at *now*; *source* is for a stored one whose `native` does not say it.

    A message without an id gets a generated one. Raises `InvalidMessage`, with the path, for what would not
    come back equal.
    """
    if isinstance(message, OpaqueMessage):
        return _encode_opaque(message, now, source)
    shape = SHAPES.get(type(message)) or shape_of(message)
    values = message.__dict__
    content, given = values.get("content"), values.get("id")
    message_id = new_id() if given is None else checked_id(given)
    rest = rest_of(message, shape)
    if type(content) is str and ((content.isascii() and "\0" not in content) or is_storable(content)):
        if not rest:
            return Draft(now, message_id, given is None, shape.tag, content, "{}", source=source)
        text = content
    else:
        rest["content"] = content
        text = readable(text_of(content))
    payload = pack(rest)
    shape.check({"content": "", **rest})
    return Draft(now, message_id, given is None, shape.tag, text, payload, **_copies(rest, source))


def _encode_opaque(message: OpaqueMessage, now: datetime, source: str | None) -> Draft:
    tag, data = message.type, message.data
    if id_fault(tag) or len(tag) > MAX_TYPE:
        msg = f"type must have 1 to {MAX_TYPE} characters, no control characters or spaces at the ends: change it"
        raise InvalidMessage(msg)
    if tag in CLASSES or not isinstance(data, dict):
        msg = f"an OpaqueMessage needs a type of its own and a dict as data: use {CLASSES.get(tag, dict).__name__}"
        raise InvalidMessage(msg)
    payload = pack(data)
    given = None if id_fault(message.id) else message.id
    text = readable(message.text)
    return Draft(now, given or new_id(), given is None, tag, text, payload, **_copies(data, source))


def _copies(data: dict[str, Any], source: str | None) -> dict[str, Any]:
    """Return what columns hold besides the payload, by the fields of a draft."""
    model = None
    for key in ("response_metadata", "additional_kwargs"):
        if model is None and (about := _dict(data.get(key))):
            model = _short(about.get("model_name")) or _short(about.get("model"))
    usage = _dict(data.get("usage_metadata"))
    for framework in _dict(data.get("native")):
        source = _short(framework, MAX_SOURCE)
        break
    return {
        "name": _short(data.get("name")),
        "tool_call_id": _short(data.get("tool_call_id")),
        "model": model,
        "input_tokens": _int32(usage.get("input_tokens")),
        "output_tokens": _int32(usage.get("output_tokens")),
        "finish_reason": _finish_reason(data.get("response_metadata")),
        "source": source,
    }


def finish_reason_of(message: Message) -> str | None:
    """Return why the model ended, as *message* says: what its draft has as a copy."""
    return _finish_reason(getattr(message, "response_metadata", None))


def _finish_reason(value: Any) -> str | None:
    about = _dict(value)
    return _short(about.get("finish_reason")) or _short(about.get("stop_reason"))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(value: Any, limit: int = MAX_COPY) -> str | None:
    return value if isinstance(value, str) and len(value) <= limit and is_storable(value) else None


def _int32(value: Any) -> int | None:
    return value if type(value) is int and -(2**31) <= value < 2**31 else None


def decode(type_: str, content: str, payload: str | bytes, message_id: str | None) -> Message:
    """Return the message of a row; *message_id* is None where the id was generated.

    Raises `CorruptRecord` for a payload that cannot be read; which record it is, the caller adds.
    """
    (message,) = decode_all([(type_, content, payload, message_id, message_id is None)])
    return cast("Message", message)


#: What may make something else of a stored message than a message: see `GetMessages`.
Form: TypeAlias = Callable[[str, str, dict[str, Any]], Any]


def decode_all(
    lines: Iterable[tuple[str, str | None, str | bytes, str | None, bool]] | Iterable[Any],
    form: Form | None = None,
) -> list[Any]:
    """Return the messages of rows, each given as type, content, payload, message id, and whether that was generated.

    As `decode`, for as many as there are: a read of 10,000 messages is mostly these lines. What *form* makes of a
    message that is not damaged stands in its place.
    """
    messages: list[Any] = []
    keep, new = messages.append, object.__new__
    for type_, content, payload, message_id, generated in lines:
        shape = _BY_TAG.get(type_)
        data = {} if payload == "{}" else _unpacked(payload)
        if shape is None or ((data or shape.required) and not shape.fits(data)):
            keep(_built(type_, content or "", data, None if generated else message_id))
            continue
        if form is not None and (made := form(type_, content or "", data)) is not None:
            keep(made)
            continue
        # As `Shape.build` and `fill` do, without the calls.
        message = new(shape.cls)
        given = {"content"} if generated else {"content", "id"}
        values = shape.blank(content or "", None if generated else message_id)
        extra = {}
        if data:
            given.update(data)
            if "native" in data:
                extra["native"] = data.pop("native")
            values.update(data)
        set_values(message, values)
        set_given(message, given)
        set_extra(message, extra)
        set_private(message, None)
        keep(message)
    return messages


def _unpacked(payload: str | bytes) -> dict[str, Any]:
    try:
        return unpack(payload)
    except InvalidMessage as error:
        raise _unreadable(str(error)) from None


def _built(type_: str, content: str, data: dict[str, Any], message_id: str | None) -> Message:
    try:
        shape = _BY_TAG.get(type_)
        if shape is None:
            return OpaqueMessage.model_construct(type=type_, data=data)
        data.setdefault("content", content)
        if message_id is not None:
            data["id"] = message_id
        return cast("Message", shape.build(data))
    except ValidationError as error:
        raise _unreadable(fault_of(error, data)) from None


def _unreadable(fault: str) -> CorruptRecord:
    return CorruptRecord(
        f"a stored message cannot be read ({fault}): replace or delete it, or restore it from a backup"
    )


def draft_to_wire(draft: Draft) -> dict[str, Any]:
    """Return the wire form of *draft*, which `encode` made: what `to_wire` gives for its message, without making it.

    Raises `CorruptRecord` for a damaged one.
    """
    data = {} if draft.payload == "{}" else _unpacked(draft.payload)
    shape = _BY_TAG.get(draft.type)
    if shape is not None:
        data = {"content": draft.content, "additional_kwargs": {}, **shape.example, **data}
        if not draft.id_generated:
            data["id"] = draft.message_id
    return {"type": draft.type, "data": data}


def same(draft: Draft, other: Draft) -> bool:
    """Tell whether two rows hold equal messages, ids apart: equal as JSON, whatever the order of keys."""
    if draft.type == other.type and draft.content == other.content and draft.payload == other.payload:
        return True
    return _canonical(draft) == _canonical(other)


def _canonical(draft: Draft) -> str:
    return canonical(to_wire(decode(draft.type, draft.content, draft.payload, None)))


# ------------------------------------------------------------------------------------- rows


class Row(NamedTuple):
    """One stored message: its place in the session, and its stored form."""

    position: int
    draft: Draft


class Appended(NamedTuple):
    """What an append did: the session's revision, and one row for each draft, in order.

    A row holds the very draft that was passed where it was stored now, and the stored one where its id was known.
    """

    revision: int
    rows: Sequence[Row]


def same_body(new: Draft, stored: Draft) -> bool:
    """Tell whether two drafts are the same message; a damaged one is like no other."""
    try:
        return same(new, stored)
    except CorruptRecord:
        return False


def decoded(session_id: str, row: Row) -> Message:
    """Return the message of *row*; a damaged one raises `CorruptRecord` that names it."""
    position, draft = row
    try:
        return decode(
            draft.type, draft.content, draft.payload, None if draft.id_generated else draft.message_id
        )
    except CorruptRecord as error:
        raise corrupt(session_id, [position]) from error


def messages_of(session_id: str, rows: Sequence[Row]) -> list[Message]:
    """Return the messages of *rows*; damaged ones are named together in one `CorruptRecord`."""
    try:
        return _decoded_all(rows)
    except CorruptRecord:
        records_of(session_id, rows, 0)
        raise


def record_of(session_id: str, row: Row) -> MessageRecord:
    """Return the record of *row*."""
    return recorded(session_id, decoded(session_id, row), row)


def recorded(session_id: str, message: Message, row: Row) -> MessageRecord:
    """Return the record of *message*, which *row* holds."""
    position, draft = row
    state: AnswerState | None = None
    reason = draft.finish_reason
    if draft.state is not None:
        state, reason = seen_state(draft, utcnow())
    return MessageRecord(
        message, position, draft.message_id, draft.created_at, session_id, draft.updated_at, state, reason
    )


def seen_state(draft: Draft, now: datetime) -> tuple[AnswerState | None, str | None]:
    """Return the state and the finish reason of *draft* as a reader sees them *now*.

    What nobody has written to for a minute has no writer any more: every writer does, a few times a minute.
    """
    if (
        draft.state == STREAMING
        and draft.updated_at is not None
        and draft.updated_at <= now - ABANDONED_AFTER
    ):
        return INCOMPLETE, ABANDONED
    return cast("AnswerState | None", draft.state), draft.finish_reason


def records_of(session_id: str, rows: Iterable[Row], revision: int, form: Form | None = None) -> Records:
    """Return the records of *rows* at *revision*; damaged ones are named together in one `CorruptRecord`."""
    records, damaged, known = Records(), [], list(rows)
    records.revision = revision
    try:
        records.extend(map(partial(recorded, session_id), _decoded_all(known, form), known))
    except CorruptRecord:
        for row in known:
            try:
                records.append(record_of(session_id, row))
            except CorruptRecord:
                damaged.append(row.position)
        raise corrupt(session_id, damaged, records) from None
    return records


def _decoded_all(rows: Iterable[Row], form: Form | None = None) -> list[Message]:
    lines = (
        (draft.type, draft.content, draft.payload, draft.message_id, draft.id_generated) for _, draft in rows
    )
    return decode_all(lines, form)


# ------------------------------------------------------------------------------------- a call and its answer


class Batch(NamedTuple):
    """Checked messages: the distinct *drafts*, and for each message passed which of them it is."""

    messages: Sequence[Message]
    drafts: list[Draft]
    places: list[int] | None


def batch(session_id: str, messages: Iterable[Message], now: datetime) -> Batch:
    """Encode *messages*; the same id twice must have the same body and is stored once.

    Raises `InvalidMessage` or `MessageConflict` before anything is written.
    """
    given = listed(messages)
    drafts, named = [], 0
    for message in given:
        draft = encode(message, now=now)
        drafts.append(draft)
        named += not draft.id_generated
    if named > 1 and len({draft.message_id for draft in drafts}) < len(drafts):
        return _without_repeats(session_id, given, drafts)
    return Batch(given, drafts, None)


def listed(messages: Iterable[Message]) -> list[Message]:
    """Return *messages* as a list; raise `InvalidMessage` for what is no list of messages."""
    if (
        isinstance(messages, str | bytes)
        or not hasattr(messages, "__iter__")
        or hasattr(messages, "model_fields_set")
    ):
        msg = "messages must be a list of messages: wrap a single one in a list, and text in HumanMessage"
        raise InvalidMessage(msg)
    return list(messages)


def _without_repeats(session_id: str, given: Sequence[Message], drafts: list[Draft]) -> Batch:
    distinct: dict[str, int] = {}
    kept: list[Draft] = []
    places = []
    for draft in drafts:
        place = distinct.setdefault(draft.message_id, len(kept))
        if place == len(kept):
            kept.append(draft)
        elif not same_body(draft, kept[place]):
            raise another_body(session_id, draft.message_id)
        places.append(place)
    return Batch(given, kept, places)


def answered(session_id: str, made: Batch, done: Appended) -> Records:
    """Return one record for each message passed; those stored now carry the caller's own objects."""
    rows = done.rows if made.places is None else [done.rows[place] for place in made.places]
    drafts = made.drafts if made.places is None else [made.drafts[place] for place in made.places]
    records = Records()
    records.revision = done.revision
    for message, draft, row in zip(made.messages, drafts, rows, strict=True):
        known = message if row.draft is draft else decoded(session_id, row)
        records.append(recorded(session_id, known, row))
    return records


def counted(session_id: str, made: Batch, error: PartialWrite) -> PartialWrite:
    """Return *error* about the messages passed: a core counts each id once, a caller may pass it twice."""
    if made.places is None:
        return error
    unstored = (number for number, place in enumerate(made.places) if place >= error.stored)
    return partly(session_id, next(unstored, len(made.places)))


def rows_of(session_id: str, records: Iterable[MessageRecord]) -> list[Row]:
    """Return the checked rows of *records*, for `load_records`: positions must grow from 1; an id counts once."""
    rows: dict[str, Row] = {}
    last = 0
    for record in records:
        row = _loaded(record)
        if row.position <= last:
            raise out_of_order(session_id, row.position, last)
        last = row.position
        first = rows.setdefault(row.draft.message_id, row)
        if first is not row and not same_body(row.draft, first.draft):
            raise another_body(session_id, row.draft.message_id)
    return list(rows.values())


def _loaded(record: MessageRecord) -> Row:
    if not isinstance(record, MessageRecord):
        msg = f"load_records got a value of type {type(record).__name__}: pass MessageRecord objects"
        raise Invalid(msg)
    position = check_natural(record.position, "position")
    if position > MAX_POSITION:
        msg = f"the position of a record is over {MAX_POSITION}: number the records from 1"
        raise Invalid(msg)
    created_at = check_time(record.created_at, "created_at")
    if created_at is None:
        msg = "created_at of a record must be an aware datetime: use datetime.now(UTC)"
        raise Invalid(msg)
    draft = encode(record.message, now=created_at)
    if draft.id_generated:
        draft = draft._replace(message_id=checked_id(record.message_id))
    elif draft.message_id != record.message_id:
        msg = f"the record at position {position} and its message have different ids: make them equal"
        raise InvalidMessage(msg)
    return Row(position, _as_recorded(draft, record))


def _as_recorded(draft: Draft, record: MessageRecord) -> Draft:
    """Return *draft* with what *record* says of it beside the message."""
    if record.updated_at is None and record.state is None:
        return draft
    if record.state not in (None, *ANSWER_STATES):
        msg = f"the state of a record is none of {', '.join(ANSWER_STATES)}: leave it out"
        raise Invalid(msg)
    reason = draft.finish_reason if record.finish_reason is None else checked_id(record.finish_reason)
    updated_at = check_time(record.updated_at, "updated_at") or draft.created_at
    return draft._replace(state=record.state, updated_at=updated_at, finish_reason=reason)


def chunks(records: Iterable[MessageRecord]) -> Iterator[list[MessageRecord]]:
    """Cut *records* into lists of at most `CHUNK`."""
    part: list[MessageRecord] = []
    for record in records:
        part.append(record)
        if len(part) == CHUNK:
            yield part
            part = []
    if part:
        yield part
