"""Entries of Pydantic AI's log of a conversation: a message, and which entry it stands behind.

This module knows how an entry is kept: as it came, under the name ``pydantic-ai`` in its message's native form; of
several messages, the last has it. What a message says is known in `chatstore.integrations.pydantic_messages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_ai.conversation_store import ConversationEntry
from pydantic_ai.messages import ModelMessagesTypeAdapter

from chatstore.integrations.pydantic_messages import load, said
from chatstore.strictjson import dump_checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatstore.messages import Message, MessageRecord

#: Under which name messages and metadata keep what the framework stored, and what the column `source` says.
SOURCE: Final = "pydantic-ai"


class Link(NamedTuple):
    """An entry whose message is still JSON, as a dict, or of another framework, and loaded."""

    id: str
    parent_id: str | None
    message: Any


def link(record: MessageRecord, before: str | None) -> Link | None:
    """Return the entry that *record* holds, or one behind *before*.

    None for a part of one, and for what only its own framework knows.
    """
    kept = record.message.native.get(SOURCE)
    if isinstance(kept, dict):
        return Link(record.message_id, kept["parent_id"], kept["message"]) if "message" in kept else None
    made = load(record.message, record.created_at)
    return None if made is None else Link(record.message_id, before, made)


def line_of(
    records: Sequence[MessageRecord], head_id: str, limit: int | None, *, whole: bool
) -> list[ConversationEntry] | None:
    """Return the line up to *head_id*; None where an entry of it is not in *records*."""
    links: dict[str | None, Link] = {}
    before = None if whole else ""  # an id that no entry has: what stands there is not known
    for record in records:
        found = link(record, before)
        if found is not None:
            links[found.id] = found
            before = found.id
    line: list[Link] = []
    at: str | None = head_id
    while at is not None and (limit is None or len(line) < limit):
        if at not in links:
            return None
        line.append(links[at])
        at = links[at].parent_id
    line.reverse()
    kept = [one.message for one in line if isinstance(one.message, dict)]
    loaded = iter(ModelMessagesTypeAdapter.validate_json(dump_checked(kept)))
    return [
        ConversationEntry(
            id=one.id,
            parent_id=one.parent_id,
            message=next(loaded) if isinstance(one.message, dict) else one.message,
        )
        for one in line
    ]


def dump(entries: Sequence[ConversationEntry]) -> list[Message]:
    """Return the messages of *entries*: one for each part of a request, the last with the entry itself."""
    natives = ModelMessagesTypeAdapter.dump_python([entry.message for entry in entries], mode="json")
    made: list[Message] = []
    for entry, native in zip(entries, natives, strict=True):
        messages = said(entry.message, SOURCE)
        for number, message in enumerate(messages[:-1], 1):
            message.id = f"{entry.id}#{number}"
            message.native[SOURCE].update(part_of=entry.id)
        messages[-1].id = entry.id
        messages[-1].native[SOURCE].update(parent_id=entry.parent_id, message=native)
        made += messages
    return made
