"""How the campaigns and the matrix use the door of the OpenAI Agents SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.integrations.openai_agents import SOURCE, ChatstoreSession
from chatstore.integrations.responses import load

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every item says *label*."""
    return [
        {"role": "user", "content": f"{label} question"},
        {"type": "function_call", "call_id": label, "name": "climate", "arguments": f'{{"city":"{label}"}}'},
        {"type": "function_call_output", "call_id": label, "output": f"{label} output"},
        {
            "id": f"msg_{label}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": f"{label} answer", "annotations": []}],
        },
    ]


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door."""
    await ChatstoreSession(session_id, store).add_items(items)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* items, or all, as JSON."""
    items: list[Any] = await ChatstoreSession(session_id, store).get_items(last)
    return items


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [load(item, native={SOURCE: item}) for item in items]


class Rival:
    """The SDK's own SQL session, on the same database."""

    def __init__(self, session: Any) -> None:
        """Use *session*."""
        self.session = session

    @classmethod
    async def open(cls, url: str, session_id: str) -> Rival:
        """Make the tables of *session_id*'s session in the database *url*."""
        from agents.extensions.memory import SQLAlchemySession

        async_url = url.replace("sqlite:", "sqlite+aiosqlite:")
        made = cls(SQLAlchemySession.from_url(session_id, url=async_url, create_tables=True))
        await made.read(1)
        return made

    async def append(self, items: list[Any]) -> None:
        """Store *items*."""
        await self.session.add_items(items)

    async def read(self, last: int | None) -> list[Any]:
        """Return the newest *last* items, or all."""
        items: list[Any] = await self.session.get_items(last)
        return items

    async def close(self) -> None:
        """Close its connections."""
        await self.session.engine.dispose()
