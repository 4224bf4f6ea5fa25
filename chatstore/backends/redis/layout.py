"""What the keys are called, and what stands in them.

For a session ``garden`` under the prefix ``chatstore:`` there are three keys, all under one hash tag, so that a
cluster keeps them together:

- ``chatstore:{garden}:session``: a hash with the fields of `ChatSession`; times are ISO 8601 in UTC, all of one
  length, so that they compare as text; metadata is JSON; what is None is no field;
- ``chatstore:{garden}:messages``: a sorted set whose scores are all 0, so that its members are in the order of their
  text, which begins with the position. A member has seven parts, each but the last on a line of its own: the position
  in 19 digits, the message id, the time, what else is known about the message (JSON), its type, its payload (JSON),
  and then its content as it is;
- ``chatstore:{garden}:ids``: a hash from message id to position.

Sessions are listed in ``chatstore:sessions``, ``chatstore:sessions:user:USER`` and
``chatstore:sessions:tenant:TENANT``, sorted sets of session ids by ``updated_at`` in microseconds, each in a slot of
its own.

This module knows bytes and text; it refuses to know any server.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import to_json

from chatstore.arguments import Scope, microseconds
from chatstore.codec import OPTIONAL, Draft, Row
from chatstore.errors import CorruptRecord, Invalid, MessageTooLarge
from chatstore.records import SESSION_FIELDS, ChatSession
from chatstore.strictjson import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_PREFIX: Final = "chatstore:"
#: The largest string that Redis takes (proto-max-bulk-len), in bytes.
MAX_ROW: Final = 512 * 1024 * 1024
#: Digits of a position: those of the largest integer of 64 bits.
DIGITS: Final = 19
#: What a session's hash has: its id is in the key.
FIELDS: Final = SESSION_FIELDS[1:]
_TIMES = frozenset({"created_at", "updated_at", "archived_at", "expires_at"})
_NUMBERS = frozenset({"message_count", "last_position", "revision", "forked_at"})
_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(_TIMES, datetime.fromisoformat),
    **dict.fromkeys(_NUMBERS, int),
    "metadata": json.loads,
}
_GENERATED = '{"id_generated":true}'
_NONE = (None,) * len(OPTIONAL)
_LONG_AGO = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


class Keys:
    """The names of keys under one *prefix*."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        """Check that *prefix* leaves the hash tag to the session id."""
        if not isinstance(prefix, str) or not prefix or set(prefix) & {"{", "}"} or not prefix.isprintable():
            msg = "key_prefix must be printable text without braces, which mark the hash tag: use chatstore:"
            raise Invalid(msg)
        self.prefix = prefix
        self.index = f"{prefix}sessions"

    def of(self, session_id: str) -> tuple[str, str, str]:
        """Return the keys of a session: its own data, its messages, its ids."""
        tag = session_id.replace("%", "%25").replace("}", "%7D")
        start = f"{self.prefix}{{{tag}}}:"
        return f"{start}session", f"{start}messages", f"{start}ids"

    def lists(self, tenant_id: str | None, user_id: str | None) -> list[str]:
        """Return the indexes in which a session of this owner stands."""
        return [
            self.index,
            *([f"{self.index}:user:{user_id}"] if user_id else []),
            *([f"{self.index}:tenant:{tenant_id}"] if tenant_id else []),
        ]

    def narrowest(self, scope: Scope, tenant_id: str | None, user_id: str | None) -> str:
        """Return the index to walk for what *scope* and a filter see."""
        user, tenant = scope.user_id or user_id, scope.tenant_id or tenant_id
        return self.lists(None, user)[-1] if user else self.lists(tenant, None)[-1]


# ------------------------------------------------------------------------------------------------ small values


def to_text(value: bytes | str) -> str:
    """Return *value* as text, whether the client decodes answers or not."""
    return value if isinstance(value, str) else value.decode()


def format_position(position: int) -> str:
    """Return *position* so that positions sort as text."""
    return f"{position:0{DIGITS}d}"


@lru_cache(maxsize=16)  # all messages of a call have one time
def format_time(moment: datetime) -> str:
    """Return *moment* (UTC) so that moments sort as text."""
    return moment.isoformat(timespec="microseconds")


def format_score(moment: datetime) -> str:
    """Return *moment* as the score of an index: microseconds, which a double holds until the year 2255."""
    return str(microseconds(moment))


# ------------------------------------------------------------------------------------------------ messages


def pack_draft(draft: Draft) -> bytes:
    """Return *draft* as it is stored, without the position and its line."""
    about = _GENERATED if draft.id_generated else "{}"
    values = draft[-len(OPTIONAL) :]
    if values != _NONE:
        known = {name: value for name, value in zip(OPTIONAL, values, strict=True) if value is not None}
        about = to_json(known | ({"id_generated": True} if draft.id_generated else {})).decode()
    lines = (draft.message_id, format_time(draft.created_at), about, draft.type, draft.payload, draft.content)
    data = "\n".join(lines).encode()
    if len(data) > MAX_ROW - DIGITS - 1:
        msg = f"a message takes {len(data)} bytes, Redis stores at most {MAX_ROW}: shorten it, or split it"
        raise MessageTooLarge(msg, limit=MAX_ROW, size=len(data))
    return data


def pack_row(row: Row) -> bytes:
    """Return *row* as the member of the sorted set that it is."""
    return format_position(row.position).encode() + b"\n" + pack_draft(row.draft)


def extract_body(row: bytes) -> bytes:
    """Return the part of a packed row (without position) that says what the message is: type, payload, content."""
    return row.split(b"\n", 3)[3]


def parse_row(stored: bytes | str) -> Row:
    """Return the row of a member; what cannot be read becomes a row that no message can be made of."""
    try:
        position, message_id, moment, about, type_, payload, content = to_text(stored).split("\n", 6)
        created_at = datetime.fromisoformat(moment)
        if about in {"{}", _GENERATED}:
            rest: Sequence[Any] = _NONE
            generated = about != "{}"
        else:
            known = json.loads(about)
            rest, generated = (
                [_value(name, known.get(name)) for name in OPTIONAL],
                bool(known.get("id_generated")),
            )
        draft = Draft(created_at, message_id, generated, type_, content, payload, *rest)
        return Row(int(position), draft)
    except (ValueError, TypeError, AttributeError):
        return _mark_damaged(stored)


def _value(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if value is not None and name.endswith("_at") else value


def _mark_damaged(stored: bytes | str) -> Row:
    head = stored[:DIGITS]
    lines = stored.encode() if isinstance(stored, str) else stored
    message_id = lines.split(b"\n", 2)[1:2] or [b""]
    known = message_id[0].decode(errors="replace")
    return Row(int(head) if head.isdigit() else 0, Draft.damaged(known, _LONG_AGO))


# ------------------------------------------------------------------------------------------------ sessions


def format_field(name: str, value: Any) -> str | None:
    """Return the value of a session's field as it is stored; None: no field."""
    if value is None:
        return None
    if name in _TIMES:
        return format_time(value)
    return canonical(value) if name == "metadata" else str(value)


def pack_session(session: ChatSession) -> list[str]:
    """Return the hash of *session*, flat: name, value, name, value."""
    fields = ((name, format_field(name, getattr(session, name))) for name in FIELDS)
    return [part for name, value in fields if value is not None for part in (name, value)]


def parse_session(session_id: str, values: Sequence[bytes | str | None]) -> ChatSession | None:
    """Return the session whose `FIELDS` have these *values*; None where there is none. Raises `CorruptRecord`."""
    if values[FIELDS.index("revision")] is None:
        return None
    try:
        known = {
            name: None if value is None else _PARSERS.get(name, str)(to_text(value))
            for name, value in zip(FIELDS, values, strict=True)
        }
        return ChatSession(session_id=session_id, **known)  # type: ignore[arg-type]  # each field has its own type
    except (ValueError, TypeError) as error:
        msg = f"the data of session {session_id!r} cannot be read: delete the session, or restore it from a backup"
        raise CorruptRecord(msg) from error
