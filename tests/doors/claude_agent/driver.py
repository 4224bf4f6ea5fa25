"""How the campaigns and the matrix use the door of the Claude Agent SDK."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from chatstore.integrations.claude_agent import ChatstoreSessionStore
from chatstore.integrations.claude_lines import load

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return the lines of a turn with a call of a tool, each of which says *label*."""
    usage = {"input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 2}
    answer = {"role": "assistant", "model": "claude-test", "usage": usage}
    call = {"type": "tool_use", "id": label, "name": "climate", "input": {"city": label}}
    result = {"type": "tool_result", "tool_use_id": label, "content": f"{label} output"}
    said: list[dict[str, Any]] = [
        {"role": "user", "content": f"{label} question"},
        {
            **answer,
            "id": f"1 {label}",
            "content": [{"type": "thinking", "thinking": "?", "signature": "s"}, call],
        },
        {"role": "user", "content": [result]},
        {**answer, "id": f"2 {label}", "content": [{"type": "text", "text": f"{label} answer"}]},
    ]
    return [
        {
            "type": message["role"],
            "uuid": str(uuid5(NAMESPACE_URL, f"{label} {number}")),
            "sessionId": "shared",
            "timestamp": "2026-11-29T10:00:00.000Z",
            "message": message,
        }
        for number, message in enumerate(said)
    ]


def _key(session_id: str) -> Any:
    names = ("project_key", "session_id", "subpath")
    return {"session_id": "main", **dict(zip(names, session_id.split("/"), strict=False))}


@cache
def door(store: AsyncRepository) -> ChatstoreSessionStore:
    """Return the door over *store*: an application has one."""
    return ChatstoreSessionStore(store)


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door."""
    await door(store).append(_key(session_id), items)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return all items, as JSON: the SDK reads nothing else than whole transcripts, whatever *last* says."""
    lines: list[Any] = await ChatstoreSessionStore(store).load(_key(session_id)) or []
    return lines[-last:] if last else lines


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [load(item, None) for item in items]
