"""Sessions and messages to the columns of a row, and back.

This module knows the columns of sessions and messages and their order; it refuses to know how a statement is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backends.sql import models
from chatstore.codec import Draft, Row
from chatstore.messages import ChatSession
from chatstore.records import SESSION_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The columns of a message that its draft fills, in the draft's order.
DRAFT = Draft._fields


def session_of(row: Sequence[Any]) -> ChatSession:
    """Return the session of a row of `Statements.session_columns`."""
    return ChatSession(*row)


def session_values(session: ChatSession) -> dict[str, Any]:
    """Return the columns of *session*."""
    return {name: getattr(session, name) for name in SESSION_FIELDS}


def row_of(row: Sequence[Any]) -> Row:
    """Return the stored row of a line that begins with its position."""
    position, created_at, message_id, generated, type_, content, *rest = row
    return Row(position, Draft(created_at, message_id, bool(generated), type_, content or "", *rest))


def message_values(session_id: str, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the columns of each of *rows*; the payload is JSON already."""
    made = []
    for position, draft in rows:
        line: dict[str, Any] = dict(zip(DRAFT, draft, strict=True))
        line["payload"] = models.JSONText(draft.payload)
        line["session_id"], line["position"] = session_id, position
        made.append(line)
    return made
