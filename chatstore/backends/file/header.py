"""A session's header: the small file with its own data, which lies beside its array and is replaced atomically.

This module knows that file; it refuses to know messages. What every append changes (the count, the last
position, the revision, the time) is in the array's last element; here it is as it was when this file was
written.

Four keys keep a crash between two files from leaving half a change: elements that say a revision up to
``rows_after`` are void (the session is being cleared); where ``needs_rows`` is true, the session exists only with
an array (it was made by its first append); where ``deleted`` is true, not even then; and ``pending`` is the title and
the metadata that an append brings, which count from the revision on that it says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from chatstore import codec
from chatstore.backends.file import element, filesystem
from chatstore.backends.file.names import file_name
from chatstore.errors import CorruptRecord, InvalidMessage
from chatstore.messages import ChatSession
from chatstore.records import SESSION_FIELDS

_TIMES: Final = ("created_at", "updated_at", "archived_at", "expires_at")


class Pending(NamedTuple):
    """What an append makes of the session's title and metadata, once the array says *revision*."""

    revision: int
    title: str | None
    metadata: dict[str, Any]


class Header(NamedTuple):
    """A session's own data, which array belongs to it, and what becomes of it with the array's newest element."""

    session: ChatSession
    rows_after: int = 0
    needs_rows: bool = False
    deleted: bool = False
    pending: Pending | None = None


def read(path: str) -> Header:
    """Return what is in the file *path*. Raises `CorruptRecord` where it cannot be read, or is another session's."""
    try:
        value = codec.loads(filesystem.read_file(path) or b"")
        given: dict[str, Any] = {name: value[name] for name in SESSION_FIELDS}
        times = {name: element.parse_time(given[name]) for name in _TIMES}
        flags = [value.get(name) is True for name in ("needs_rows", "deleted")]
        pending = Pending(**value["pending"]) if "pending" in value else None
        header = Header(ChatSession(**given | times), value["rows_after"], flags[0], flags[1], pending)
        optional = {"archived_at", "expires_at"}
        known = all(times[name] or (name in optional and given[name] is None) for name in _TIMES)
        if not known or not _has_types(header) or file_name(header.session.session_id) != Path(path).stem:
            _refuse(path, None)
    except (InvalidMessage, KeyError, TypeError) as error:
        _refuse(path, error)
    return header


def _has_types(header: Header) -> bool:
    """Tell whether every value has the type it must have."""
    session: Any = header.session
    texts = (session.tenant_id, session.user_id, session.title, session.forked_from)
    numbers = (session.message_count, session.last_position, session.revision, header.rows_after)
    return (
        codec.id_fault(session.session_id) is None
        and all(text is None or isinstance(text, str) for text in texts)
        and all(type(number) is int for number in numbers)
        and isinstance(session.metadata, dict)
        and isinstance(session.forked_at, int | None)
        and (
            header.pending is None
            or (
                type(header.pending.revision) is int
                and isinstance(header.pending.title, str | None)
                and isinstance(header.pending.metadata, dict)
            )
        )
    )


def _refuse(path: str, error: Exception | None) -> NoReturn:
    msg = (
        f"{path} is damaged, or of another session: restore it, or delete it (only owner, title and times go)"
    )
    raise CorruptRecord(msg) from error


def write(path: str, header: Header) -> None:
    """Put *header* in the place of the file *path*."""
    value = {name: getattr(header.session, name) for name in SESSION_FIELDS}
    value |= {name: value[name] and value[name].isoformat() for name in _TIMES}
    value["rows_after"] = header.rows_after
    value |= {name: True for name in ("needs_rows", "deleted") if getattr(header, name)}
    if header.pending is not None:
        value["pending"] = header.pending._asdict()
    filesystem.replace_file(path, [codec.dumps(value).encode(), b"\n"], mtime=1000 * header.session.revision)
