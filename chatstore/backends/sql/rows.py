"""What statements take and give: arguments in, values to bind out; lines of a result in, sessions and messages out.

This module knows the columns of sessions and messages and their order; it refuses to know how a statement is written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chatstore.arguments import microseconds
from chatstore.backends.sql import column_types, models
from chatstore.codec import LATER, Draft, Row
from chatstore.contract import InSession
from chatstore.messages import ChatSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatstore.arguments import Keyset
    from chatstore.contract import AddMessages, Call, GetMessages, ListSessions

#: The columns of a message that its draft fills, in the draft's order.
DRAFT = Draft._fields
#: What of a draft a reader sees, besides its position: what a record is made of.
SEEN = (*DRAFT[:6], "finish_reason", "state", "updated_at")
#: Up to this many messages, one VALUES list of parameters is faster than one JSON document of them.
SMALL_BATCH = 8
#: What an append sends of each draft: all but its time, the first field, which is the append's, and what comes later.
SENT = tuple(name for name in DRAFT[1:] if name not in LATER)
#: What an append that is more than one statement sends of each message, as `lines` puts it.
LINE = ("created_at", "session_id", "position", *SENT)

#: The columns of a session, in the order of `ChatSession`.
SESSION = tuple(name for name in ChatSession.__dataclass_fields__)


def session_of(row: Sequence[Any]) -> ChatSession:
    """Return the session of a row of `Statements.session_columns`."""
    return ChatSession(*row)


def session_values(session: ChatSession) -> dict[str, Any]:
    """Return the columns of *session*."""
    return {name: getattr(session, name) for name in SESSION}


def row_of(row: Sequence[Any]) -> Row:
    """Return the stored row of a line that begins with its position."""
    position, created_at, message_id, generated, type_, content, *rest = row
    return Row(position, Draft(created_at, message_id, bool(generated), type_, content or "", *rest))


def seen_row_of(row: Sequence[Any]) -> Row:
    """Return the row of a line that begins with its position and has what is in `SEEN`: to be read, not kept."""
    position, created_at, message_id, generated, type_, content, payload, reason, state, updated_at = row
    return Row(
        position,
        Draft(
            created_at,
            message_id,
            generated,
            type_,
            content or "",
            payload,
            finish_reason=reason,
            state=state,
            updated_at=updated_at,
        ),
    )


def lines(session_id: str, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Return what `Statements.insert_many` stores of *rows*, which are new."""
    return [(draft[0], session_id, position, *draft[1 : -len(LATER)]) for position, draft in rows]


def message_values(session_id: str, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the columns of each of *rows*; the payload is JSON already."""
    made = []
    for position, draft in rows:
        line: dict[str, Any] = dict(zip(DRAFT, draft, strict=True))
        line["payload"] = models.JSONText(draft.payload)
        line["session_id"], line["position"] = session_id, position
        made.append(line)
    return made


def parameters(call: Call) -> dict[str, Any]:
    """Return the parameters of every statement about what *call* sees, in its session or in all of them."""
    made: dict[str, Any] = {"now": call.now}
    if isinstance(call, InSession):
        made["sid"] = call.session_id
    if call.scope.tenant_id is not None:
        made["tenant"] = call.scope.tenant_id
    if call.scope.user_id is not None:
        made["user"] = call.scope.user_id
    return made


def listing(call: ListSessions, start: Keyset | None) -> dict[str, Any]:
    """Return the parameters of `Statements.sessions` for the page of *call* behind *start*."""
    wanted = call.wanted
    made = parameters(call) | {"n": call.limit}
    if wanted.tenant_id is not None:
        made["of_tenant"] = wanted.tenant_id
    if wanted.user_id is not None:
        made["of_user"] = wanted.user_id
    if wanted.updated_since is not None:
        made["since"] = wanted.updated_since
    if wanted.forked_from is not None:
        made["of_source"] = wanted.forked_from
    if start is not None:
        made["moment"], made["last_id"] = start
    return made


def windowed(call: GetMessages) -> dict[str, Any]:
    """Return the parameters of a statement about the messages that *call* wants."""
    made, window = parameters(call), call.window
    if window.after is not None:
        made["after"] = window.after
    if window.before is not None:
        made["before"] = window.before
    size = window.last if window.last is not None else window.limit
    if size is not None:
        made["n"] = size
    return made


def counting(call: AddMessages) -> dict[str, Any]:
    """Return the parameters of what makes room for the messages of *call*: `Statements.upsert`, or `count_on`."""
    if call.expected_revision is not None:
        return counting_on(call)
    return {
        "sid": call.session_id,
        "tenant": call.scope.tenant_id,
        "user": call.scope.user_id,
        "meta": _EMPTY,
        "n": len(call.drafts),
        "rev": microseconds(call.now),
        "now": call.now,
    }


def counting_on(call: AddMessages) -> dict[str, Any]:
    """Return the parameters of `Statements.count_on`."""
    made = parameters(call) | {"n": len(call.drafts)}
    if call.expected_revision is not None:
        made["expected"] = call.expected_revision
    for name, value in call.changes.items():
        made[f"set_{name}"] = (
            models.JSONText(column_types.encode(value)) if isinstance(value, dict) else value
        )
    return made


_EMPTY = models.JSONText("{}")
_NUMBERED = [[f"{name}_{number}" for name in SENT] for number in range(SMALL_BATCH)]


def appending(call: AddMessages) -> dict[str, Any]:
    """Return the parameters of `Statements.append_at_once`, for drafts made at the time of *call*."""
    made = counting(call)
    if len(call.drafts) > SMALL_BATCH:
        rows = (dict(zip(SENT, _sent(draft), strict=True)) for draft in call.drafts)
        numbered = [{**row, "ord": number} for number, row in enumerate(rows, 1)]
        made["rows"] = json.dumps(numbered, ensure_ascii=False)
        return made
    for names, draft in zip(_NUMBERED, call.drafts, strict=False):
        made.update(zip(names, _sent(draft), strict=True))
    return made


def _sent(draft: Draft) -> Sequence[Any]:
    return draft[1 : -len(LATER)]
