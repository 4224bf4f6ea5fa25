"""The small file with a session's own data, which lies beside its array and is replaced atomically.

This module knows that file; it refuses to know messages. What every append changes (the count, the last position, the
revision, the time) stands in the array's last element; here it is as it was when this file was written.

Two keys tell which array is meant, so that no crash between two files leaves half a change: elements that say
a revision up to ``rows_after`` are void (the session was cleared); and where ``needs_rows`` is true, the session exists
only if its array has others (it was made by its first append, or is being deleted).
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore import codec
from chatstore.backends.file import disk, elements
from chatstore.errors import CorruptRecord, InvalidMessage
from chatstore.messages import ChatSession

if TYPE_CHECKING:
    from datetime import datetime

_TIMES: Final = ("created_at", "updated_at", "archived_at", "expires_at")
_NUMBERS: Final = ("message_count", "last_position", "revision")
_TEXTS: Final = ("tenant_id", "user_id", "title", "forked_from")


class Own(NamedTuple):
    """A session's own data, and which array belongs to it."""

    session: ChatSession
    rows_after: int = 0
    needs_rows: bool = False


def read(path: str, session_id: str | None = None) -> Own | None:
    """Return what is in the file *path*, None where there is none.

    Raises `CorruptRecord` where it cannot be read, or is not that of *session_id*.
    """
    text = disk.contents(path)
    if text is None:
        return None
    try:
        value = codec.loads(text)
        own = _own(value)
    except (InvalidMessage, KeyError, TypeError, ValueError) as error:
        msg = f"{path} is damaged: restore it from a backup, or delete it (the messages stay, owner and title go)"
        raise CorruptRecord(msg) from error
    if session_id is not None and own.session.session_id != session_id:
        msg = f"{path} says it is of another session: restore it from a backup, or delete it"
        raise CorruptRecord(msg)
    return own


def _own(value: Any) -> Own:
    if not isinstance(value, dict):
        raise TypeError
    given = {field.name: value.get(field.name) for field in fields(ChatSession)}
    given |= {name: _checked(given[name], str) for name in _TEXTS}
    given |= {name: elements.time_of(given[name]) for name in _TIMES}
    if codec.id_fault(given["session_id"]) or given["created_at"] is None or given["updated_at"] is None:
        raise ValueError
    if not all(type(given[name]) is int for name in _NUMBERS) or not isinstance(given["metadata"], dict):
        raise TypeError
    return Own(ChatSession(**given), int(value.get("rows_after", 0)), value.get("needs_rows") is True)


def _checked(value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise TypeError
    return value


def write(path: str, own: Own) -> None:
    """Put *own* in the place of the file *path*."""
    value: dict[str, Any] = {
        field.name: _written(getattr(own.session, field.name)) for field in fields(own.session)
    }
    value["rows_after"] = own.rows_after
    if own.needs_rows:
        value["needs_rows"] = True
    disk.replace_file(path, [codec.dumps(value).encode(), b"\n"], mtime=1000 * own.session.revision)


def _written(value: Any) -> Any:
    moment: datetime | None = value if hasattr(value, "isoformat") else None
    return value if moment is None else moment.isoformat()
