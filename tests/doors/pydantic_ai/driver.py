"""How the campaigns and the matrix use the door of Pydantic AI."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic_ai import Conversation
from pydantic_ai.conversation_store import ConversationConflict
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from chatstore.integrations.pydantic_ai import ChatstoreConversationStore
from chatstore.integrations.pydantic_entries import SOURCE
from chatstore.integrations.pydantic_messages import said

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


MOMENT = datetime(2026, 11, 29, 10, tzinfo=UTC)


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every message says *label*."""
    returned = ToolReturnPart("climate", f"{label} output", label, timestamp=MOMENT)
    messages: list[ModelMessage] = [
        ModelRequest([UserPromptPart(f"{label} question", timestamp=MOMENT)], timestamp=MOMENT),
        ModelResponse([ToolCallPart("climate", {"city": label}, label)], timestamp=MOMENT),
        ModelRequest([returned], timestamp=MOMENT),
        ModelResponse([TextPart(f"{label} answer")], timestamp=MOMENT),
    ]
    dumped: list[Any] = ModelMessagesTypeAdapter.dump_python(messages, mode="json")
    return dumped


@cache
def door(store: AsyncRepository) -> tuple[ChatstoreConversationStore, dict[str, Conversation]]:
    """Return the door over *store*, and the conversations that it gave: an application holds one through a run."""
    return ChatstoreConversationStore(store), {}


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one save of the door, again where somebody else was faster."""
    conversations, held = door(store)
    messages = ModelMessagesTypeAdapter.validate_python(items)
    while True:
        found = held.pop(session_id, None) or await conversations.load(session_id)
        found = found or Conversation(conversation_id=session_id)
        found.messages.extend(messages)
        try:
            await conversations.save(found)
        except ConversationConflict:
            await asyncio.sleep(random.random() / 50)
        else:
            held[session_id] = found
            return


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* messages, or all, as JSON."""
    conversations, _ = door(store)
    record = await conversations.read_record(session_id)
    entries = await conversations.read_history(record.head_id, limit=last) if record else []
    items: list[Any] = ModelMessagesTypeAdapter.dump_python([one.message for one in entries], mode="json")
    return items


async def listed(store: AsyncRepository) -> list[str]:
    """Return the ids of the conversations that the door lists."""
    conversations, _ = door(store)
    return [one.conversation_id for one in await conversations.list_conversations()]


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    made: list[Any] = []
    for item, theirs in zip(items, ModelMessagesTypeAdapter.validate_python(items), strict=True):
        made += said(theirs, SOURCE)
        made[-1].native[SOURCE].update(message=item)
    return made
