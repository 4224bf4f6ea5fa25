"""What a source finds: a session, and in it elements, each a message or what is wrong with it.

This module knows how one foreign element becomes a message, whichever shape it has; it refuses to know where elements
are kept. Faults are values here and not errors, so that a damaged element never hides the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore import codec
from chatstore.errors import InvalidMessage, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from chatstore.messages import Message

#: Elements asked for at a time. Messages with pictures in them have megabytes.
PAGE: Final = 100


class Element(NamedTuple):
    """One stored element, or what is wrong with it (*fault*; then there is no *message*).

    *ordinal* counts the session's elements from 1, the oldest; *place* names it for people. *key* is what the source
    itself calls it, where that is more lasting than the ordinal; *record_id* is an id that the source gave it.
    *size* is about its bytes.
    """

    ordinal: int
    place: str
    message: Message | None = None
    fault: str = ""
    key: str | None = None
    record_id: str | None = None
    created_at: datetime | None = None
    size: int = 0


class Found(NamedTuple):
    """One session of a source; its *elements* come oldest first and are read once.

    *origin* is the part of the source's name that stays when the server moves; *place* names the session for people.
    *fault* says why nothing of it can be read, *skipped* why it is left out on purpose.
    """

    session_id: str
    origin: str
    place: str
    elements: Iterable[Element] = ()
    user_id: str | None = None
    expires_at: datetime | None = None
    fault: str = ""
    skipped: str = ""


def element(
    ordinal: int,
    place: str,
    raw: Any,
    *,
    key: str | None = None,
    record_id: str | None = None,
    created_at: datetime | None = None,
) -> Element:
    """Return the element that *raw* is: JSON text, its bytes, or the value itself."""
    message, fault = None, ""
    try:
        value = codec.loads(raw) if isinstance(raw, str | bytes) else raw
        message = codec.from_wire(value)
    except InvalidMessage as error:
        fault = str(error)
    except RecursionError:
        fault = "it is nested too deeply to be stored: flatten it"
    return Element(ordinal, place, message, fault, key, record_id, created_at, size_of(raw))


def size_of(raw: Any) -> int:
    """Return about how many bytes *raw* takes."""
    if isinstance(raw, str | bytes):
        return len(raw)
    if isinstance(raw, dict):
        return sum(len(str(key)) + size_of(value) for key, value in raw.items())
    return sum(map(size_of, raw)) if isinstance(raw, list) else 8


def nothing_there(place: str, session: str, advice: str) -> StorageError:
    """Make the error for a session that was asked for and is not in the source."""
    return StorageError(f"{place} holds nothing for session {session!r}: {advice}")
