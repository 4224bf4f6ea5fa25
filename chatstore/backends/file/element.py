"""What an element of a session's array says: the message in wire form, and beside it what the store knows.

::

    {"type": "human", "data": {…}, "position": 7, "message_id": "…", "created_at": "…", "session": {…}}

``session`` is in the last element of every append and says what the session was after it, so that an
append touches no other file; what equals the element's own position and time is left out there. ``source``
names the framework a payload came from, ``payload`` holds what JSON text cannot say, ``updated_at`` is when the message
was changed, and ``answer`` says of one that was streamed how far it is. This module knows these
keys; it refuses to know where elements stand.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import from_json

from chatstore import codec
from chatstore.codec import Draft, Row
from chatstore.errors import CorruptRecord, InvalidMessage
from chatstore.failures import corrupt
from chatstore.messages import Records
from chatstore.records import ANSWER_STATES
from chatstore.strictjson import dump_checked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.messages import ChatSession, Message

_POSITION: Final = b',"position":'
_SESSION: Final = b',"session":'
_OWN: Final = frozenset({"position", "message_id", "created_at", "updated_at", "answer", "session"})


class Entry(NamedTuple):
    """One element: its place, its JSON value (None where it is damaged), and its line where it has one."""

    position: int
    message_id: str
    created_at: datetime
    value: Any
    line: bytes | None


def parse(text: bytes, *, strict: bool = False) -> Any:
    """Return the JSON value of *text*; with *strict*, without numbers that JSON lacks (NaN). Raises ValueError."""
    try:
        return from_json(text, allow_inf_nan=not strict)
    except ValueError:
        pass  # also a lone surrogate
    if strict:
        return codec.loads(text)
    try:
        return json.loads(text.decode())
    except RecursionError as error:
        raise ValueError from error


def read_leniently(line: bytes | None) -> dict[str, Any]:
    """Return the keys of a *line* that is not strict JSON; none where it is not JSON at all."""
    try:
        value = parse(line or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_strict(value: Any) -> bool:
    """Tell whether all numbers in *value*, which was read leniently, are JSON numbers."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def parse_time(value: Any) -> datetime | None:
    """Return the aware time that *value* writes, in UTC; None for anything else."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if found.tzinfo is UTC:
        return found
    return None if found.tzinfo is None else found.astimezone(UTC)


def is_natural(*values: Any) -> bool:
    """Tell whether all *values* are integers of 1 or more."""
    for value in values:  # noqa: SIM110 - a third of the time of all()
        if type(value) is not int or value < 1:
            return False
    return True


def choose_id(value: Any, position: int) -> str:
    """Return the id that the element *value* says, or one that is derived from its position."""
    return _find_id(value) or f"#{position}"


def read_id(line: bytes) -> str | None:
    """Return the id that the element in *line* says, if any."""
    try:
        return _find_id(parse(line))
    except ValueError:
        return None


def _find_id(value: Any) -> str | None:
    """Return the store's id, else the message's own; what is of type remove names another message."""
    if not isinstance(value, dict):
        return None
    data = value.get("data")
    own = data.get("id") if isinstance(data, dict) and value.get("type") != "remove" else None
    for found in (value.get("message_id"), str(own) if type(own) is int else own):
        if found and isinstance(found, str):
            return found
    return None


# -------------------------------------------------------------------------------- reading


def read_entry(line: bytes) -> Entry:
    """Return the entry of a *line* that this store wrote. Raises ValueError for any other."""
    value = parse(line, strict=True)
    beside = value if isinstance(value, dict) else {}
    position: Any = beside.get("position")
    message_id, created_at = beside.get("message_id"), parse_time(beside.get("created_at"))
    if created_at is None or not is_natural(position) or not isinstance(message_id, str):
        raise ValueError
    return Entry(position, message_id, created_at, value, line)


def read_message(entry: Entry) -> Message:
    """Return the message of *entry*. Raises `InvalidMessage` or `CorruptRecord` where it is damaged."""
    value = entry.value
    if (
        isinstance(value, dict)
        and isinstance(value.get("payload"), str)
        and isinstance(value.get("type"), str)
    ):
        data = value.get("data")
        own = isinstance(data, dict) and data.get("id") == entry.message_id
        return codec.decode(value["type"], "", value["payload"], entry.message_id if own else None)
    if isinstance(value, dict) and "data" not in value:  # an older shape, with its fields beside ours
        value = _without_own(value)
    return codec.from_wire(value)


def read_records(session_id: str, entries: Iterable[Entry], revision: int) -> Records:
    """Return the records of *entries*; damaged ones are named together in one `CorruptRecord`."""
    records, damaged = Records(), []
    records.revision = revision
    for entry in entries:
        try:
            message = read_message(entry)
        except (InvalidMessage, CorruptRecord):
            damaged.append(entry.position)
            continue
        draft = Draft.damaged(entry.message_id, entry.created_at)  # what a record takes of it is not
        draft = draft._replace(finish_reason=codec.finish_reason_of(message))._replace(**_read_later(entry))
        records.append(codec.recorded(session_id, message, Row(entry.position, draft)))
    if damaged:
        raise corrupt(session_id, damaged, records)
    return records


def read_row(entry: Entry) -> Row:
    """Return the row of *entry*; a damaged one has a draft that nothing can decode."""
    source = entry.value.get("source") if isinstance(entry.value, dict) else None
    try:
        draft = codec.encode(read_message(entry), now=entry.created_at, source=source)
    except (InvalidMessage, CorruptRecord):
        return Row(entry.position, Draft.damaged(codec.new_id(), entry.created_at))
    if draft.id_generated:
        draft = draft._replace(message_id=entry.message_id)
    later = _read_later(entry)
    return Row(entry.position, draft._replace(**later) if later else draft)


def _read_later(entry: Entry) -> dict[str, Any]:
    """Return what *entry* says of its message beside it, by the fields of a draft; nothing of most."""
    value = entry.value
    if not isinstance(value, dict) or "updated_at" not in value:
        return {}
    found: dict[str, Any] = {"updated_at": parse_time(value["updated_at"])}
    answer = value.get("answer")
    if isinstance(answer, dict) and answer.get("state") in ANSWER_STATES:
        found["state"] = answer["state"]
        for name in ("first_token_at", "last_token_at"):
            found[name] = parse_time(answer.get(name))
        if isinstance(answer.get("finish_reason"), str):
            found["finish_reason"] = answer["finish_reason"]
    return found


def _write_later(draft: Draft) -> dict[str, Any]:
    """Return what `_read_later` reads."""
    beside: dict[str, Any] = {}
    if draft.updated_at is not None:
        beside["updated_at"] = draft.updated_at.isoformat()
    if draft.state is not None:
        times = {"first_token_at": draft.first_token_at, "last_token_at": draft.last_token_at}
        answer = {"state": draft.state, "finish_reason": draft.finish_reason}
        answer |= {name: None if time is None else time.isoformat() for name, time in times.items()}
        beside["answer"] = {name: value for name, value in answer.items() if value is not None}
    return beside


# -------------------------------------------------------------------------------- what is beside the message


class Mark(NamedTuple):
    """What a session was after its newest element was written."""

    revision: int
    message_count: int
    last_position: int
    updated_at: datetime


def read_beside(text: bytes) -> dict[str, Any]:
    """Return the keys beside the message in the line at the end of *text*. Raises ValueError.

    The message is not read: *text* may begin inside it. The store's own keys come last, and nothing inside a value
    can look like the first of them: quotes are escaped there, and an object inside another leaves a brace too many.
    """
    found: dict[str, Any] = from_json(b"{" + text[text.rindex(_POSITION) + 1 :])
    if not is_natural(found.get("position")) or not isinstance(found.get("message_id"), str):
        msg = "not an element of this store"
        raise ValueError(msg)
    return found


def read_mark(text: bytes) -> Mark | None:
    """Return what the element at the end of *text* says about the session, or None."""
    try:
        beside = read_beside(text)
    except ValueError:
        return None
    position, session = beside["position"], beside.get("session")
    if not isinstance(session, dict):
        return None
    revision: Any = session.get("revision")
    count, last = session.get("message_count", position), session.get("last_position", position)
    updated_at = parse_time(session.get("updated_at", beside.get("created_at")))
    if updated_at is None or not is_natural(revision, count, last):
        return None
    return Mark(revision, count, last, updated_at)


def apply_mark(session: ChatSession, mark: Mark) -> ChatSession:
    """Return *session*, as its own file has it, with what the newest element says."""
    return replace(
        session,
        message_count=mark.message_count,
        last_position=max(session.last_position, mark.last_position),
        revision=max(session.revision, mark.revision),
        updated_at=max(session.updated_at, mark.updated_at),
    )


# -------------------------------------------------------------------------------- writing


def write_line(session_id: str, row: Row, session: ChatSession | None) -> bytes:
    """Return the line of *row*; *session* is what it became, where this is the last row of an append."""
    draft = row.draft
    beside: dict[str, Any] = {
        "position": row.position,
        "message_id": draft.message_id,
        "created_at": draft.created_at.isoformat(),
    }
    if draft.source is not None:
        beside["source"] = draft.source
    beside |= _write_later(draft)
    if session is not None:
        beside["session"] = _summarize(row.position, draft.created_at, session)
    try:
        wire = codec.draft_to_wire(draft)
    except CorruptRecord as error:
        raise corrupt(session_id, [row.position]) from error
    try:
        return dump_checked(wire | beside)
    except InvalidMessage:
        # Two surrogates that every reader would join: JSON text cannot say this, the payload can.
        return json.dumps(
            wire | {"payload": draft.payload} | beside, allow_nan=False, separators=(",", ":")
        ).encode()


def compact(value: Any) -> bytes:
    """Return the line of a *value* that was read from JSON and stays what it is, NaN included."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def keep_line(entry: Entry, session: ChatSession | None) -> bytes:
    """Return the line of an *entry* that stays as it is; *session* as in `write_line`."""
    line = entry.line
    if line is not None:
        try:
            if read_beside(line).get("session") is not None:
                line = line[: line.rindex(_SESSION)] + b"}"
        except ValueError:
            line = line if entry.value is None else None
    if line is None:
        line = _carry(entry)
    if session is None or not isinstance(entry.value, dict):
        return line
    summary = _summarize(entry.position, entry.created_at, session)
    return line[:-1] + _SESSION + codec.dumps(summary).encode() + b"}"


def _carry(entry: Entry) -> bytes:
    """Return the line of an element that came in another shape: what it says, then what the store adds."""
    value = entry.value
    if isinstance(value, dict):
        value = _without_own(value) | {
            "position": entry.position,
            "message_id": entry.message_id,
            "created_at": entry.created_at.isoformat(),
        }
    return compact(value)


def _without_own(value: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name not in _OWN}


def _summarize(position: int, created_at: datetime, session: ChatSession) -> dict[str, Any]:
    summary: dict[str, Any] = {"revision": session.revision}
    if session.message_count != position:
        summary["message_count"] = session.message_count
    if session.last_position != position:
        summary["last_position"] = session.last_position
    if session.updated_at != created_at:
        summary["updated_at"] = session.updated_at.isoformat()
    return summary
