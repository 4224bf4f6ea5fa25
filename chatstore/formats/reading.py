"""Sessions in files: arrays, conversation objects, JSON Lines, whatever format their messages have.

This module knows a file's outer shape; it refuses to know what a message says. It reads

- an array of messages, one message a line, or a single message: one session;
- an object with a list of messages under ``messages`` or ``traj``, or an array of such objects, or one a line;
- an array of arrays of messages, or one a line: a session each.

What such an object has beside its messages is the session's own: ids, owner, title, ``metadata``; every other key
becomes metadata too.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from chatstore import codec
from chatstore.errors import InvalidMessage
from chatstore.formats import FORMATS, find, foreign
from chatstore.incoming.session import Incoming, load_element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from chatstore.formats import Format
    from chatstore.incoming.session import Element

LISTS: Final = ("messages", "traj")
IDS: Final = ("session_id", "conversation_id", "thread_id", "id")
_TIMES: Final = ("archived_at", "expires_at")


def read(stream: BinaryIO, name: str = "auto", *, file: str = "") -> Iterator[Incoming]:
    """Yield the sessions in *stream*, in order; JSON Lines are read line by line.

    *name* is a format, or ``auto``: then each session's first message decides. *file* is the file's name: ids
    of messages are made from it. Raises `InvalidMessage` with the place of what is not JSON, or not of the format.
    """
    given = None if name == "auto" else find(name)
    for number, (place, messages, about) in enumerate(_read_conversations(stream), 1):
        form = given or _recognise(messages, place)
        elements = [
            _read_element(form, message, at, f"{place}message {at}") for at, message in enumerate(messages, 1)
        ]
        yield Incoming(
            origin=file, place=place, elements=elements, number=number, **_read_session_data(about, place)
        )


def _recognise(messages: list[Any], place: str) -> Format:
    first = messages[0] if messages else {"type": "human", "data": {}}  # an empty list fits every format
    for name in FORMATS:
        form = find(name)
        if isinstance(first, dict) and form.fits(first):
            return form
    why = foreign.refusal(first) or (
        "it has neither a type and data (langchain) nor a role (openai): "
        "say --format, or convert the file to one of them"
    )
    msg = f"{place}message 1: {why}"
    raise InvalidMessage(msg)


def _read_element(form: Format, value: Any, ordinal: int, place: str) -> Element:
    if not isinstance(value, dict):
        msg = f"{place}: it is of type {type(value).__name__}: write an object"
        raise InvalidMessage(msg)
    element = load_element(ordinal, place, lambda: form.load(value), **_read_known(value))
    if element.fault:
        msg = f"{place}: {element.fault}"
        raise InvalidMessage(msg)
    return element


def _read_conversations(stream: BinaryIO) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Yield the place, the messages and the object of each conversation. Raises `InvalidMessage` for other values."""
    loose = list[Any]()
    for number, (place, value) in enumerate(_read_values(stream), 1):
        messages = _find_messages(value, place)
        if messages is None and (why := foreign.refusal(value)):
            msg = f"{place}{why}"
            raise InvalidMessage(msg)
        if messages is None and isinstance(value, dict):
            loose.append(value)
        elif messages is not None:
            yield place, messages, value if isinstance(value, dict) else {}
        if len(loose) not in (0, number) or (messages is None and not loose):
            msg = f"{place}this does not belong here: write messages only, or conversations only"
            raise InvalidMessage(msg)
    if loose:
        yield "", loose, {}


def _read_session_data(about: dict[str, Any], place: str) -> dict[str, Any]:
    """Return what an object says of its session. Raises `InvalidMessage` for a key that stands twice."""
    rest = {key: value for key, value in about.items() if key not in LISTS}
    data: dict[str, Any] = {name: _take_id(rest, [name]) for name in ("tenant_id", "user_id")}
    data["session_id"] = _take_id(rest, IDS)
    data["title"] = rest.pop("title") if isinstance(rest.get("title"), str) else None
    for name in _TIMES:
        data[name] = _parse_time(rest.get(name))
        if data[name] or rest.get(name, 0) is None:
            del rest[name]
    metadata = rest.pop("metadata", None) if isinstance(rest.get("metadata"), dict | None) else None
    if twice := sorted(rest.keys() & (metadata or {}).keys()):
        msg = f"{place}the key {twice[0]!r} stands in metadata and beside it: keep one of them"
        raise InvalidMessage(msg)
    return {**data, "metadata": {**(metadata or {}), **rest}}


def _find_messages(value: Any, place: str = "") -> list[Any] | None:
    """Return the messages of a conversation, None for anything else (a message, say).

    Raises `InvalidMessage` for a conversation with two lists of messages.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or "role" in value:
        return None
    lists = [value[name] for name in LISTS if isinstance(value.get(name), list)]
    if sum(map(bool, lists)) > 1:
        msg = f"{place}there are messages under {' and under '.join(LISTS)}: keep one of these lists"
        raise InvalidMessage(msg)
    return next((one for one in lists if one), lists[0] if lists else None)


def _read_values(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the outermost values with their places: the lines of JSON Lines, or a document's elements."""
    head, solid = list[bytes](), list[bytes]()
    for line in stream:
        head.append(line)
        solid += [line] if line.strip() else []
        if len(solid) == 2:  # noqa: PLR2004 - more than one line, and the first is whole: JSON Lines
            break
    if len(solid) == 2 and _is_json(solid[0]):  # noqa: PLR2004
        yield from _read_lines(chain(head, stream))
        return
    if not solid:
        msg = "the file is empty: write [] for no messages"
        raise InvalidMessage(msg)
    value = codec.loads(b"".join(chain(head, stream)), unique_keys=True)
    if isinstance(value, list) and value and _find_messages(value[0]) is not None:
        yield from ((f"conversation {number}: ", one) for number, one in enumerate(value, 1))
    else:
        yield "", value


def _is_json(line: bytes) -> bool:
    try:
        codec.loads(line)
    except InvalidMessage:
        return False
    return True


def _read_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield f"line {number}: ", codec.loads(line, unique_keys=True)
            except InvalidMessage as error:
                msg = f"line {number}: {error}".replace("(line 1, column", "(column")
                raise InvalidMessage(msg) from None


def _take_id(about: dict[str, Any], names: Iterable[str]) -> str | None:
    """Take the first of *names* that is an id out of *about*; numbers become text."""
    for name in names:
        value = about.get(name)
        if isinstance(value, str) or type(value) is int:
            del about[name]
            return str(value)
        if name in about and value is None:
            del about[name]
    return None


def _read_known(message: dict[str, Any]) -> dict[str, Any]:
    """Return what stands beside ``type`` and ``data`` in the JSON of a *message*, as fields of an `Element`."""
    if "data" not in message:
        return {}
    message_id, position = message.get("message_id"), message.get("position")
    return {
        "message_id": message_id if isinstance(message_id, str) and not codec.id_fault(message_id) else None,
        "position": position if type(position) is int and position > 0 else None,
        "created_at": _parse_time(message.get("created_at")),
    }


def _parse_time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None
