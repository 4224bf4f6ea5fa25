"""The small file with a session's own data, which lies beside its array and is replaced atomically.

This module knows that file; it refuses to know messages. What every append changes (the count, the last
position, the revision, the time) stands in the array's last element; here it is as it was when this file was
written.

Three keys keep a crash between two files from leaving half a change: elements that say a revision up to
``rows_after`` are void (the session is being cleared); where ``needs_rows`` is true, the session exists only with
an array (it was made by its first append); and where ``deleted`` is true, not even then.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from chatstore import codec
from chatstore.backends.file import element, filesystem
from chatstore.errors import CorruptRecord, InvalidMessage
from chatstore.messages import ChatSession

if TYPE_CHECKING:
    from chatstore.backends.file.filesystem import Stamp

_FIELDS: Final = tuple(field.name for field in fields(ChatSession))
_TIMES: Final = ("created_at", "updated_at", "archived_at", "expires_at")
_REMEMBERED: Final = 1000


class Header(NamedTuple):
    """A session's own data, and which array belongs to it."""

    session: ChatSession
    rows_after: int = 0
    needs_rows: bool = False
    deleted: bool = False


#: What was read last. A file is never changed in place, and its time is the revision, so its stamp says all.
_known: Final[dict[str, tuple[Stamp, Header]]] = {}


def read(path: str, session_id: str | None = None) -> Header | None:
    """Return what is in the file *path*, None where there is none.

    Raises `CorruptRecord` where it cannot be read, or is not that of *session_id*.
    """
    stamp = filesystem.stamp(path)
    if stamp is None:
        return None
    remembered = _known.get(path)
    if remembered is not None and remembered[0] == stamp:
        own = remembered[1]
    else:
        own = _parsed(path, filesystem.contents(path))
        if len(_known) >= _REMEMBERED:
            _known.clear()
        _known[path] = stamp, own
    if session_id is not None and own.session.session_id != session_id:
        _refuse(path, None)
    session = own.session
    return (
        own._replace(session=replace(session, metadata=deepcopy(session.metadata)))
        if session.metadata
        else own
    )


def _parsed(path: str, text: bytes | None) -> Header:
    try:
        value = codec.loads(text or b"")
        given: dict[str, Any] = {name: value[name] for name in _FIELDS}
        times = {name: element.time_of(given[name]) for name in _TIMES}
        flags = [value.get(name) is True for name in ("needs_rows", "deleted")]
        own = Header(ChatSession(**given | times), value["rows_after"], *flags)
        optional = {"archived_at", "expires_at"}
        known = all(times[name] or (name in optional and given[name] is None) for name in _TIMES)
        if not known or not _fits(own):
            _refuse(path, None)
    except (InvalidMessage, KeyError, TypeError) as error:
        _refuse(path, error)
    return own


def _fits(own: Header) -> bool:
    """Tell whether every value has the type it must have."""
    session: Any = own.session
    texts = (session.tenant_id, session.user_id, session.title, session.forked_from)
    numbers = (session.message_count, session.last_position, session.revision, own.rows_after)
    return (
        codec.id_fault(session.session_id) is None
        and all(text is None or isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and isinstance(session.metadata, dict)
        and isinstance(session.forked_at, int | None)
    )


def _refuse(path: str, error: Exception | None) -> NoReturn:
    msg = (
        f"{path} is damaged, or of another session: restore it, or delete it (only owner, title and times go)"
    )
    raise CorruptRecord(msg) from error


def write(path: str, own: Header) -> None:
    """Put *own* in the place of the file *path*."""
    value = {name: getattr(own.session, name) for name in _FIELDS}
    value |= {name: value[name] and value[name].isoformat() for name in _TIMES}
    value["rows_after"] = own.rows_after
    value |= {name: True for name in ("needs_rows", "deleted") if getattr(own, name)}
    filesystem.replace_file(path, [codec.dumps(value).encode(), b"\n"], mtime=1000 * own.session.revision)
