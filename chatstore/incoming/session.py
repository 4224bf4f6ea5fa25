"""What a reader yields: sessions, and in them elements, each a message or what is wrong with it.

This module knows how one foreign element becomes a message; it refuses to know where elements are kept. Faults are
values here and not errors, so that a damaged element never hides the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chatstore import codec
from chatstore.errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from chatstore.messages import Message


class Element(NamedTuple):
    """One element, or what is wrong with it (*fault*; then there is no *message*).

    *ordinal* counts the session's elements from 1, the oldest; *place* names it for people. *key* is what the source
    itself calls it, where that is more lasting than the ordinal. *message_id*, *position* and *created_at* are those
    that the source gave it. *size* is about its bytes.
    """

    ordinal: int
    place: str
    message: Message | None = None
    fault: str = ""
    key: str | None = None
    message_id: str | None = None
    position: int | None = None
    created_at: datetime | None = None
    size: int = 0


class Incoming(NamedTuple):
    """One session of a file or a source; its *elements* come oldest first.

    *session_id* is None where a file does not say one. *origin* is the part of the source's name that stays when the
    server moves, or the file's name; *place* names the session for people. *fault* says why nothing of it can be read,
    *skipped* why it is left out on purpose. *number* counts the sessions of a file from 1.

    A source's elements can be read once; a file's are a list of messages without faults.
    """

    session_id: str | None
    origin: str
    place: str
    elements: Iterable[Element] = ()
    tenant_id: str | None = None
    user_id: str | None = None
    title: str | None = None
    metadata: dict[str, Any] | None = None
    archived_at: datetime | None = None
    expires_at: datetime | None = None
    number: int = 1
    fault: str = ""
    skipped: str = ""


def load_element(ordinal: int, place: str, load: Callable[[], Message], **known: Any) -> Element:
    """Return the element of the message that *load* returns; *known* are further fields of it."""
    message, fault = None, ""
    try:
        message = load()
    except InvalidMessage as error:
        fault = str(error)
    except RecursionError:
        fault = "it is nested too deeply to be stored: flatten it"
    return Element(ordinal, place, message, fault, **known)


def parse_element(ordinal: int, place: str, raw: Any, **known: Any) -> Element:
    """Return the element that *raw* is in LangChain's form: JSON text, its bytes, or the value itself."""

    def load() -> Message:
        return codec.from_wire(codec.loads(raw) if isinstance(raw, str | bytes) else raw)

    return load_element(ordinal, place, load, **{"size": measure(raw), **known})


def measure(raw: Any) -> int:
    """Return about how many bytes *raw* takes."""
    if isinstance(raw, str | bytes):
        return len(raw)
    if isinstance(raw, dict):
        return sum(len(str(key)) + measure(value) for key, value in raw.items())
    return sum(map(measure, raw)) if isinstance(raw, list) else 8
