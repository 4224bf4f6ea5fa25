"""Headers and rows as plain dictionaries of text, integers, booleans and None, and back."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chatstore import codec
from chatstore.backends.common.documents.header import Header, Leftover, Part
from chatstore.codec import FIELDS, Draft, Row
from chatstore.errors import CorruptRecord
from chatstore.messages import ChatSession

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMES = frozenset(
    {"created_at", "updated_at", "archived_at", "expires_at", "first_token_at", "last_token_at"}
)
#: These can be above 2**53. A store whose numbers are floats writes them as text; they are read back from either.
WHOLE = frozenset({"position", "last_position", "revision", "forked_at", "message_count"})


def serialize_header(header: Header) -> dict[str, Any]:
    """Return *header* as text, integers and None; metadata and parts are JSON text, so that numbers stay the same."""
    document: dict[str, Any] = {
        "token": header.token,
        "parts": codec.dumps([list(part) for part in header.parts]),
        "leftovers": codec.dumps([list(left) for left in header.leftovers]),
        "sweep_at": _to_text(header.sweep_at),
    }
    if header.session is not None:
        document |= {one.name: _to_text(getattr(header.session, one.name)) for one in fields(ChatSession)}
        document["metadata"] = codec.dumps(header.session.metadata)
    return document


def parse_header(document: Mapping[str, Any], etag: Any = None) -> Header:
    """Return the header that `serialize_header` made *document* of; what is missing is None.

    Raises `CorruptRecord` for one that was damaged.
    """
    try:
        return _parse_header_values(document, etag)
    except (KeyError, TypeError, ValueError) as error:
        msg = (
            f"the data of session {document.get('session_id')!r} cannot be read: restore its item from a backup, or "
            "delete its items"
        )
        raise CorruptRecord(msg) from error


def _parse_header_values(document: Mapping[str, Any], etag: Any) -> Header:
    session = None
    if document.get("session_id") is not None:
        values = {one.name: _parse_value(one.name, document.get(one.name)) for one in fields(ChatSession)}
        session = ChatSession(**{**values, "metadata": codec.loads(document["metadata"])})
    return Header(
        session,
        tuple(Part(*part) for part in codec.loads(document["parts"])),
        tuple(Leftover(*left) for left in codec.loads(document["leftovers"])),
        _parse_value("expires_at", document.get("sweep_at")),
        document["token"],
        etag,
    )


def serialize_row(row: Row) -> dict[str, Any]:
    """Return *row* as text, integers, booleans and None."""
    values = {name: _to_text(value) for name, value in row.draft._asdict().items()}
    return {"position": row.position, **values}


def parse_row(document: Mapping[str, Any]) -> Row:
    """Return the row that `serialize_row` made *document* of; one that was damaged is a row that nobody can decode."""
    position = int(document["position"])
    try:
        values = {name: _parse_value(name, document.get(name)) for name in FIELDS}
        if all(isinstance(values[name], kind) for name, kind in FIELDS.items()):
            return Row(position, Draft(**values))
    except (TypeError, ValueError):
        pass  # as a needed value that is missing
    generated = document.get("id_generated") is not False
    return Row(position, Draft.damaged(str(document.get("message_id")), _LONG_AGO, id_generated=generated))


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _to_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _parse_value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return datetime.fromisoformat(value)
    return int(value) if name in WHOLE or isinstance(value, float) else value
