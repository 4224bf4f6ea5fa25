"""What lies in the table, item by item.

This module knows keys, attributes and sizes; it refuses to know when anything is written.

All items of a session have its id as ``PK``. ``SK`` says what an item is: ``S`` the session, ``M#generation#position``
a message, ``I#generation#=id`` (or ``~`` and a digest, where the key would be too long) that this id is taken, and by
which position. Numbers are integers; metadata and payloads are JSON text, so nothing in them is ever a Decimal.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from chatstore.arguments import microseconds
from chatstore.backends.common.documents.header import to_epoch
from chatstore.backends.common.documents.serial import serialize_header, serialize_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatstore.backends.common.documents.header import Header
    from chatstore.codec import Row

#: An item or key as the service takes it: attributes by name, each a value under its type.
Item: TypeAlias = dict[str, dict[str, Any]]

SESSION = "S"
#: Bytes of a sort key, and of an item.
MAX_SORT_KEY, MAX_ITEM = 1024, 400 * 1024
TTL = "ttl"
#: The attributes that the indexes are over. Every session is in the first index: one without a user by its own id, so
#: that no key of the index is hot.
USER_KEY, TENANT_KEY, TOUCHED = "user_key", "tenant_key", "touched"


def message_key(generation: str, position: int) -> str:
    """Return the sort key of a message; positions order as numbers."""
    return f"M#{generation}#{position:019d}"


def position_of(sort_key: str) -> int:
    """Return the position in the sort key of a message."""
    return int(sort_key.rpartition("#")[2])


def generation_of(sort_key: str) -> str:
    """Return the generation in the sort key of a message or an id."""
    return sort_key.split("#", 2)[1]


def id_prefix(generation: str) -> str:
    """Return what the sort keys of all ids of *generation* begin with."""
    return f"I#{generation}#"


def id_key(generation: str, message_id: str) -> str:
    """Return the sort key of a message id."""
    plain = f"{id_prefix(generation)}={message_id}"
    if len(plain.encode()) <= MAX_SORT_KEY:
        return plain
    return f"{id_prefix(generation)}~{sha256(message_id.encode()).hexdigest()}"


def key(session_id: str, sort_key: str) -> Item:
    """Return the key of an item."""
    return {"PK": {"S": session_id}, "SK": {"S": sort_key}}


def message_item(session_id: str, generation: str, row: Row, sweep_at: datetime | None) -> Item:
    """Return the item of a message."""
    sort_key = message_key(generation, row.position)
    return key(session_id, sort_key) | _attributes(serialize_row(row)) | _ttl(sweep_at)


def id_item(session_id: str, generation: str, row: Row, sweep_at: datetime | None) -> Item:
    """Return the item that says that the id of *row* is taken."""
    about = {"position": row.position, "message_id": row.draft.message_id}
    sort_key = id_key(generation, row.draft.message_id)
    return key(session_id, sort_key) | _attributes(about) | _ttl(sweep_at)


def header_item(session_id: str, header: Header) -> Item:
    """Return the item of a session, or of what is left over where there is none."""
    session = header.session
    index = {
        USER_KEY: f"-#{session_id}" if session is None or session.user_id is None else f"u#{session.user_id}",
        TENANT_KEY: None if session is None or session.tenant_id is None else f"t#{session.tenant_id}",
        TOUCHED: touched(session.updated_at) if session else touched(None),
    }
    return key(session_id, SESSION) | _attributes({**serialize_header(header), **index}) | _ttl(header.expiry)


def touched(moment: datetime | None) -> str:
    """Return *moment* so that text orders as time does; None is before everything."""
    return f"{0 if moment is None else max(0, microseconds(moment)):020d}"


def moment_of(text: str) -> datetime:
    """Return the moment that `touched` wrote."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(text))


def document(item: Item) -> dict[str, Any]:
    """Return the plain values of *item*."""
    values: dict[str, Any] = {}
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        values[name] = int(value) if kind == "N" else value
    return values


def size(item: Item) -> int:
    """Return the bytes of *item* as the service counts them, or a few more: numbers are counted generously."""
    return sum(len(name.encode()) + _bytes(value) for name, typed in item.items() for value in typed.values())


def _bytes(value: Any) -> int:
    return len(value.encode()) + 2 if isinstance(value, str) else 1


def _attributes(values: Mapping[str, Any]) -> Item:
    return {name: _typed(value) for name, value in values.items() if value is not None}


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def _ttl(moment: datetime | None) -> Item:
    return {} if moment is None else {TTL: {"N": str(to_epoch(moment))}}
