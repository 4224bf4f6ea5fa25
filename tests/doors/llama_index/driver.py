"""How the campaigns and the matrix use the doors of LlamaIndex."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from llama_index.core.llms import ChatMessage

from chatstore.integrations.llama_index import ChatstoreDBChatStore, ChatstoreMemoryBlock
from chatstore.integrations.llama_messages import said

if TYPE_CHECKING:
    from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore

    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every message says *label*."""
    call = {
        "block_type": "tool_call",
        "tool_call_id": label,
        "tool_name": "climate",
        "tool_kwargs": {"city": label},
    }
    return [
        _message("user", _text(f"{label} question")),
        _message("assistant", call),
        _message("tool", _text(f"{label} output"), tool_call_id=label),
        _message("assistant", _text(f"{label} answer")),
    ]


def _text(text: str) -> dict[str, Any]:
    return {"block_type": "text", "text": text}


def _message(role: str, *blocks: dict[str, Any], **about: Any) -> dict[str, Any]:
    return {"role": role, "additional_kwargs": about, "blocks": [*blocks]}


class Held:
    """A store of the framework's, with its messages as JSON."""

    def __init__(self, store: AsyncDBChatStore) -> None:
        """Use *store*."""
        self.store = store

    async def append(self, session_id: str, items: list[Any]) -> None:
        """Store *items* by one call."""
        await self.store.add_messages(session_id, [ChatMessage.model_validate(item) for item in items])

    async def read(self, session_id: str, last: int | None = None) -> list[Any]:
        """Return the newest *last* messages, or all; the framework itself asks for all that are active."""
        found = await self.store.get_messages(session_id)
        return [message.model_dump(mode="json") for message in (found if last is None else found[-last:])]


@cache
def door(store: AsyncRepository) -> Held:
    """Return the door over *store*: an application has one."""
    return Held(ChatstoreDBChatStore(store))


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door."""
    await door(store).append(session_id, items)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* messages, or all, as JSON."""
    return await door(store).read(session_id, last)


async def listed(store: AsyncRepository) -> list[str]:
    """Return the keys that the door lists."""
    keys: list[str] = await door(store).store.get_keys()
    return keys


async def searched(store: AsyncRepository, word: str) -> list[str]:
    """Return the texts in which the memory block finds *word*."""
    block = ChatstoreMemoryBlock(store, across_sessions=True)
    found = await block.aget([ChatMessage(word)])
    return [one.text.partition(": ")[2] for one in found]


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [said(ChatMessage.model_validate(item)) for item in items]


class Rival(Held):
    """The framework's own SQL store, on the same database."""

    def __init__(self, store: Any, session_id: str) -> None:
        """Use *store* for *session_id*."""
        super().__init__(store)
        self.session_id = session_id

    @classmethod
    async def open(cls, url: str, session_id: str) -> Rival:
        """Make the table of the store in the database *url*."""
        from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore

        made = cls(SQLAlchemyChatStore("rival", url.replace("sqlite:", "sqlite+aiosqlite:")), session_id)
        await made.read(1)
        return made

    async def append(self, items: list[Any]) -> None:  # type: ignore[override]
        """Store *items*."""
        await super().append(self.session_id, items)

    async def read(self, last: int | None) -> list[Any]:  # type: ignore[override]
        """Return the newest *last* messages, or all."""
        return await super().read(self.session_id, last)

    async def close(self) -> None:
        """Close its connections."""
        await self.store._async_engine.dispose()
