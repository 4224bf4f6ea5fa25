"""How the campaigns and the matrix use the door of Microsoft Agent Framework."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from agent_framework import Content, Message

from chatstore.integrations.agent_framework import ChatstoreHistoryProvider
from chatstore.integrations.agent_framework_messages import converted, tools_of

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every message says *label*."""
    call = Content.from_function_call(label, "climate", arguments=f'{{"city":"{label}"}}')
    said = [
        Message("user", [f"{label} question"]),
        Message("assistant", [call], message_id=f"call_{label}"),
        Message("tool", [Content.from_function_result(label, result=f"{label} output")]),
        Message("assistant", [f"{label} answer"], author_name="Gardener", message_id=f"answer_{label}"),
    ]
    return [message.to_dict() for message in said]


@cache
def door(store: AsyncRepository, last: int | None = None) -> ChatstoreHistoryProvider:
    """Return the door over *store*: an application has one."""
    return ChatstoreHistoryProvider(store, last=last)


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door."""
    await door(store).save_messages(session_id, [*map(Message.from_dict, items)])


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* messages, or all, as JSON."""
    return [message.to_dict() for message in await door(store, last).get_messages(session_id)]


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    given = [*map(Message.from_dict, items)]
    return converted(given, tools_of(given), None, named=True)
