"""What stands around messages in a file: arrays, conversation objects, JSON Lines.

This module knows a file's outer shape, for reading and for writing; it refuses to know what a message says.
Read are

- an array of messages, one message a line, or a single message: one conversation;
- an object with a list of messages under ``messages`` or ``traj``, or an array of such objects, or one a
  line;
- an array of arrays of messages, or one a line: a conversation each.

What such an object has beside its messages is the conversation's own: ids, owner, title, ``metadata``, and
every other key becomes metadata too.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore import codec
from chatstore.errors import InvalidMessage
from chatstore.incoming.session import IncomingSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from chatstore.formats import Format
    from chatstore.incoming.session import Element
    from chatstore.messages import ChatSession, Message, MessageRecord

LISTS: Final = ("messages", "traj")
IDS: Final = ("session_id", "conversation_id", "thread_id", "id")
_TIMES: Final = ("archived_at", "expires_at")
#: DEL, C1, separators at which JavaScript breaks lines, what turns the direction of text, invisible tags.
_HAZARD: Final = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)


class Envelope(NamedTuple):
    """A conversation whose messages are still JSON, and the object it came in."""

    messages: list[Any]
    number: int
    place: str
    about: dict[str, Any]

    def session(self, elements: list[Element], origin: str) -> IncomingSession:
        """Return the session of these *elements*. Raises `InvalidMessage` for a key that is there twice."""
        rest = {key: value for key, value in self.about.items() if key not in LISTS}
        taken: dict[str, Any] = {name: _id(rest, [name]) for name in ("tenant_id", "user_id")}
        session_id = _id(rest, IDS)
        taken["title"] = rest.pop("title") if isinstance(rest.get("title"), str) else None
        for name in _TIMES:
            taken[name] = _time(rest.get(name))
            if taken[name] or rest.get(name, 0) is None:
                del rest[name]
        metadata = rest.pop("metadata", None) if isinstance(rest.get("metadata"), dict | None) else None
        if twice := sorted(rest.keys() & (metadata or {}).keys()):
            msg = f"{self.place}the key {twice[0]!r} stands in metadata and beside it: keep one of them"
            raise InvalidMessage(msg)
        taken["metadata"] = {**(metadata or {}), **rest}
        return IncomingSession(session_id, origin, self.place, elements, number=self.number, **taken)


def envelopes(stream: BinaryIO) -> Iterator[Envelope]:
    """Yield the conversations in *stream*. Raises `InvalidMessage`, saying where, for what is none."""
    loose = list[Any]()
    for number, (place, value) in enumerate(_values(stream), 1):
        messages = _messages(value)
        if messages is None and isinstance(value, dict):
            loose.append(value)
        elif messages is not None:
            yield Envelope(messages, number, place, value if isinstance(value, dict) else {})
        if len(loose) not in (0, number) or (messages is None and not loose):
            msg = f"{place}this does not belong here: write messages only, or conversations only"
            raise InvalidMessage(msg)
    if loose:
        yield Envelope(loose, 1, "", {})


def _messages(value: Any) -> list[Any] | None:
    """Return the messages of a conversation, None for what is none (a message, say)."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or "role" in value:
        return None
    return next((value[name] for name in LISTS if isinstance(value.get(name), list)), None)


def _values(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the outermost values with their places: the lines of JSON Lines, or a document's elements."""
    head, solid = list[bytes](), list[bytes]()
    for line in stream:
        head.append(line)
        solid += [line] if line.strip() else []
        if len(solid) == 2:  # noqa: PLR2004 - more than one line, and the first is whole: JSON Lines
            break
    if len(solid) == 2 and _is_json(solid[0]):  # noqa: PLR2004
        yield from _lines(chain(head, stream))
        return
    if not solid:
        msg = "the file is empty: write [] for no messages"
        raise InvalidMessage(msg)
    value = codec.loads(b"".join(chain(head, stream)), unique_keys=True)
    if isinstance(value, list) and value and _messages(value[0]) is not None:
        yield from ((f"conversation {number}: ", one) for number, one in enumerate(value, 1))
    else:
        yield "", value


def _is_json(line: bytes) -> bool:
    try:
        codec.loads(line)
    except InvalidMessage:
        return False
    return True


def _lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"line {number}: ", codec.loads(line, unique_keys=True)
            except InvalidMessage as error:
                msg = f"line {number}: {error}".replace("(line 1, column", "(column")
                raise InvalidMessage(msg) from None


def _id(about: dict[str, Any], names: Iterable[str]) -> str | None:
    """Take the first of *names* that is an id out of *about*; numbers become text."""
    for name in names:
        value = about.get(name)
        if isinstance(value, str) or type(value) is int:
            del about[name]
            return str(value)
        if name in about and value is None:
            del about[name]
    return None


def beside(message: dict[str, Any]) -> dict[str, Any]:
    """Return what stands beside ``type`` and ``data`` in the JSON of a *message*, as fields of an `Element`."""
    if "data" not in message:
        return {}
    message_id, position = message.get("message_id"), message.get("position")
    return {
        "message_id": message_id if isinstance(message_id, str) and not codec.id_fault(message_id) else None,
        "position": position if type(position) is int and position > 0 else None,
        "created_at": _time(message.get("created_at")),
    }


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


# ---------------------------------------------------------------------------------------------------- writing


def write_array(stream: BinaryIO, form: Format, messages: Iterable[Message]) -> int:
    """Write *messages* as one JSON array, an element a line; return how many."""
    count = 0
    for message in messages:
        stream.write(b",\n" if count else b"[\n")
        stream.write(as_json(form.dump(message)))
        count += 1
    stream.write(b"\n]\n" if count else b"[]\n")
    return count


def write_line(stream: BinaryIO, form: Format, session: ChatSession, records: Iterable[MessageRecord]) -> int:
    """Write a session as one line: an object with what is known of it, and its messages; return how many.

    Beside a ``type`` and ``data`` stand the message's position, id and time, from which `read` restores them.
    """
    stream.write(as_json(_about(session))[:-1] + b', "messages": [')
    count = 0
    for record in records:
        stream.write(b", " if count else b"")
        stream.write(as_json(_element(form, record)))
        count += 1
    stream.write(b"]}\n")
    return count


def as_json(value: Any) -> bytes:
    """Return *value* as JSON in UTF-8 that a terminal can show."""
    return harmless(codec.dumps(value)).encode()


def harmless(text: str) -> str:
    """Return the same JSON without the characters that JSON may hold raw and a terminal must never see."""
    return _HAZARD.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _about(session: ChatSession) -> dict[str, Any]:
    names = ("session_id", "tenant_id", "user_id", "title", "metadata", *_TIMES)
    values = {name: getattr(session, name) for name in names}
    times = {name: values[name].isoformat() for name in _TIMES if values[name]}
    return {name: value for name, value in {**values, **times}.items() if value}


def _element(form: Format, record: MessageRecord) -> dict[str, Any]:
    element = form.dump(record.message)
    if element.keys() == {"type", "data"}:
        element["position"] = record.position
        element["message_id"] = record.message_id
        element["created_at"] = record.created_at.isoformat()
    return element
