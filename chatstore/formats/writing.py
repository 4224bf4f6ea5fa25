"""Sessions as files: an array of messages, or JSON Lines of sessions, in JSON that a terminal can show.

This module knows what stands around messages; what a message says is for its format.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from chatstore import codec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.formats import Format
    from chatstore.messages import ChatSession, Message, MessageRecord

_TIMES: Final = ("archived_at", "expires_at")
#: DEL, C1, separators at which JavaScript breaks lines, what turns the direction of text, invisible tags.
_HAZARD: Final = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)


def write_array(stream: BinaryIO, form: Format, messages: Iterable[Message]) -> int:
    """Write *messages* as one JSON array, an element a line; return how many."""
    count = 0
    for message in messages:
        stream.write(b",\n" if count else b"[\n")
        stream.write(dump_json(form.dump(message)))
        count += 1
    stream.write(b"\n]\n" if count else b"[]\n")
    return count


def write_line(stream: BinaryIO, form: Format, session: ChatSession, records: Iterable[MessageRecord]) -> int:
    """Write a session as one line: an object with what is known of it, and its messages; return how many.

    Beside a ``type`` and ``data`` stand the message's position, id and time, from which `read` restores them.
    """
    stream.write(dump_json(_describe(session))[:-1] + b', "messages": [')
    count = 0
    for record in records:
        stream.write(b", " if count else b"")
        stream.write(dump_json(_dump_record(form, record)))
        count += 1
    stream.write(b"]}\n")
    return count


def dump_json(value: Any) -> bytes:
    """Return *value* as JSON in UTF-8 that a terminal can show."""
    return escape_hazards(codec.dumps(value)).encode()


def escape_hazards(text: str) -> str:
    """Return the same JSON without the characters that JSON may hold raw and a terminal must never see."""
    return _HAZARD.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _describe(session: ChatSession) -> dict[str, Any]:
    names = ("session_id", "tenant_id", "user_id", "title", "metadata", *_TIMES)
    values = {name: getattr(session, name) for name in names}
    times = {name: values[name].isoformat() for name in _TIMES if values[name]}
    return {name: value for name, value in {**values, **times}.items() if value}


def _dump_record(form: Format, record: MessageRecord) -> dict[str, Any]:
    element = form.dump(record.message)
    if element.keys() == {"type", "data"}:
        element["position"] = record.position
        element["message_id"] = record.message_id
        element["created_at"] = record.created_at.isoformat()
    return element
