"""From a file's conversation to a session of a repository: the same file twice stores everything once.

This module knows sessions and positions; it refuses to know formats and files. A message without an id gets
one made from the file's name, the session and its place, so that an import that was interrupted is
completed by repeating it.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

from chatstore.arguments import Scope, utcnow
from chatstore.errors import Conflict, InvalidMessage, SessionExists
from chatstore.messages import MessageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.formats.containers import Conversation, Item
    from chatstore.messages import ChatSession
    from chatstore.repository import Repository

_NAMESPACE: Final = uuid.UUID("6b0f6f0e-6a0c-5d8e-9a5b-2f1c8f4f0d63")


class Loaded(NamedTuple):
    """What became of one conversation: how many of its messages are *new*, how many were *known*."""

    session_id: str
    new: int
    known: int


def load(
    repository: Repository,
    conversation: Conversation,
    session_id: str,
    *,
    source: str,
    join: bool = False,
    tenant_id: str | None = None,
    user_id: str | None = None,
) -> Loaded:
    """Store *conversation* as session *session_id*, behind what is stored of it already; return the counts.

    *source* is the file's name. A session that is missing is created with the owner passed, else the
    conversation's, and its title and metadata. One that holds other messages raises `Conflict`, unless
    *join* is true: then the messages are appended. One of another owner than the one passed raises `Conflict`
    too. Raises `MessageConflict` for a known id with another body, `InvalidMessage`, `Invalid` for an owner.
    """
    ids = _ids(conversation, source, session_id)
    made = _create(repository, conversation, session_id, tenant_id, user_id)
    stored = (
        {} if made else {record.message_id: record.position for record in repository.iter_records(session_id)}
    )
    known = sum(message_id in stored for message_id in ids)
    if known < len(ids) and len(stored) > known and not join:
        msg = (
            f"session {session_id!r} holds other messages than this file's: name another session "
            "(--session, --prefix), or name this one with --session to append to it"
        )
        raise Conflict(msg)
    last = 0 if made else repository.get_session(session_id).last_position
    new = repository.load_records(session_id, _records(conversation, session_id, ids, stored, last))
    if made and (conversation.archived_at or conversation.expires_at):
        archived = conversation.archived_at is not None
        repository.update_session(session_id, archived=archived, expires_at=conversation.expires_at)
    return Loaded(session_id, new, len(ids) - new)


def session_id_of(conversation: Conversation, prefix: str, *, alone: bool) -> str:
    """Return the conversation's own id, else *prefix*, with its number unless it is *alone* in its file."""
    if conversation.session_id is not None:
        return conversation.session_id
    return prefix if alone else f"{prefix}/{conversation.number}"


def _create(
    repository: Repository,
    conversation: Conversation,
    session_id: str,
    tenant_id: str | None,
    user_id: str | None,
) -> ChatSession | None:
    """Create the session; None where there is one, which must be the passed owner's."""
    try:
        return repository.create_session(
            session_id,
            tenant_id=conversation.tenant_id if tenant_id is None else tenant_id,
            user_id=conversation.user_id if user_id is None else user_id,
            title=conversation.title,
            metadata=conversation.metadata,
        )
    except SessionExists:
        if owner := Scope(tenant_id, user_id):
            session = repository.get_session(session_id)
            if not owner.sees(session.tenant_id, session.user_id):
                msg = (
                    f"session {session_id!r} is there already and has another owner: name another (--session)"
                )
                raise Conflict(msg) from None
        return None


def _ids(conversation: Conversation, source: str, session_id: str) -> list[str]:
    ids = [_message_id(item, source, session_id, place) for place, item in enumerate(conversation.items, 1)]
    if len(set(ids)) < len(ids):
        twice = next(message_id for message_id in ids if ids.count(message_id) > 1)
        msg = f"{conversation.place}two messages have the id {twice!r}: remove one of them, or its id"
        raise InvalidMessage(msg)
    return ids


def _message_id(item: Item, source: str, session_id: str, place: int) -> str:
    if item.message.id is not None:
        return item.message.id
    return item.message_id or str(uuid.uuid5(_NAMESPACE, json.dumps([source, session_id, place])))


def _records(
    conversation: Conversation, session_id: str, ids: list[str], stored: dict[str, int], last: int
) -> Iterator[MessageRecord]:
    """Yield the records: stored ones where they are, new ones behind *last* or where the file says."""
    now = utcnow()
    for item, message_id in zip(conversation.items, ids, strict=True):
        position = stored.get(message_id)
        if position is None:
            last = position = max(last + 1, item.position or 0)
        yield MessageRecord(item.message, position, message_id, item.created_at or now, session_id)
