"""How the campaigns and the matrix use the door of Strands Agents."""

from __future__ import annotations

import asyncio
import random
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

from strands.types.exceptions import SessionException
from strands.types.session import SessionMessage

from chatstore.backends.sql.repository import SQLRepository
from chatstore.integrations.strands import ChatstoreSessionRepository
from chatstore.integrations.strands_messages import said
from chatstore.threads import ThreadedRepository

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository

AGENT = "default"


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every message says *label*."""
    usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
    call = {"toolUse": {"toolUseId": label, "name": "climate", "input": {"city": label}}}
    return [
        _message("user", {"text": f"{label} question"}),
        _message("assistant", call, metadata={"usage": usage, "metrics": {"latencyMs": 1}}),
        _message("user", _result(label, f"{label} output")),
        _message("assistant", {"text": f"{label} answer"}),
    ]


def at_once(label: str) -> list[Any]:
    """Return one message that says *label*: the framework stores messages one by one; this one is two here."""
    return [_message("user", _result(f"{label} 1", f"{label} output"), _result(f"{label} 2", "more"))]


def _message(role: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": role, "content": [*content], **more}


def _result(call_id: str, text: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": call_id, "status": "success", "content": [{"text": text}]}}


class Held:
    """A door, and what number comes next in each session: a session manager knows it, and counts on."""

    def __init__(self, repository: Repository) -> None:
        """Use *repository*."""
        self.door = ChatstoreSessionRepository(repository)
        self.next: dict[str, int] = {}

    async def append(self, session_id: str, items: list[Any]) -> None:
        """Store *items* by one call each, again where somebody else was faster."""
        for item in items:
            while True:
                if session_id not in self.next:
                    stored = self.door.list_messages(session_id, AGENT)
                    self.next[session_id] = stored[-1].message_id + 1 if stored else 0
                number = self.next.pop(session_id)
                try:
                    self.door.create_message(session_id, AGENT, SessionMessage.from_message(item, number))
                except SessionException:
                    await asyncio.sleep(random.random() / 50)
                else:
                    self.next[session_id] = number + 1
                    break


def blocking(store: AsyncRepository) -> Repository:
    """Return a repository that blocks, on what *store* works on: the framework awaits none."""
    if isinstance(store, ThreadedRepository):
        return store._inner._copied(_scope=store._scope)
    twin: Any = store
    made = SQLRepository(lease=twin._lease, schema=twin._schema, dialect=twin._core.q.dialect)
    return made._copied(_scope=store._scope)


@cache
def door(store: AsyncRepository) -> Held:
    """Return the door over *store*: an application has one."""
    return Held(blocking(store))


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door each."""
    await door(store).append(session_id, items)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return all messages: the framework reads them from one on, not the newest, whatever *last* says."""
    stored = door(store).door.list_messages(session_id, AGENT)
    return [one.to_message() for one in (stored if last is None else stored[-last:])]


_numbers = count()


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [part for item in items for part in said(SessionMessage.from_message(item, next(_numbers)))]
