"""How the matrix uses LangChain's door, whose own tests lie in `tests/integrations/langchain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from chatstore.integrations.langchain import ChatMessageHistory

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every message says *label*."""
    call = {"name": "climate", "args": {"city": label}, "id": label, "type": "tool_call"}
    return [
        HumanMessage(f"{label} question"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(f"{label} output", tool_call_id=label),
        AIMessage(f"{label} answer", response_metadata={"model_name": "a-model"}),
    ]


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door."""
    await ChatMessageHistory(store, session_id).aadd_messages(items)


async def read(store: AsyncRepository, session_id: str) -> list[Any]:
    """Return all messages."""
    messages: list[Any] = await ChatMessageHistory(store, session_id).aget_messages()
    return messages
