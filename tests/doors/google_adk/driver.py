"""How the campaigns and the matrix use the doors of Google ADK."""

from __future__ import annotations

import asyncio
import random
from functools import cache
from typing import TYPE_CHECKING, Any

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.events.event import Event
from google.adk.sessions.base_session_service import GetSessionConfig

from chatstore.integrations.adk_events import said
from chatstore.integrations.google_adk import SOURCE, ChatstoreMemoryService, ChatstoreSessionService

if TYPE_CHECKING:
    from google.adk.sessions import BaseSessionService
    from google.adk.sessions.session import Session

    from chatstore.aio import AsyncRepository

APP, USER = "garden", "ada"


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every event says *label*."""
    call = {"function_call": {"name": "climate", "args": {"city": label}, "id": label}}
    response = {"name": "climate", "response": {"result": f"{label} output"}, "id": label}
    return [
        _event(f"1{label}", "user", "user", {"text": f"{label} question"}),
        _event(f"2{label}", "agent", "model", call),
        _event(f"3{label}", "agent", "user", {"function_response": response}),
        _event(f"4{label}", "agent", "model", {"text": f"{label} answer"}),
    ]


def at_once(label: str) -> list[Any]:
    """Return one event that says *label*: the framework appends events one by one."""
    call = {"function_call": {"name": "climate", "args": {"city": label}, "id": label}}
    return [_event(label, "agent", "model", {"text": f"{label} answer"}, call)]


def _event(id_: str, author: str, role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    content = {"role": role, "parts": parts}
    event = Event.model_validate({"id": id_, "author": author, "timestamp": 1.0, "content": content})
    dumped: dict[str, Any] = event.model_dump(mode="json", exclude_none=True)
    return dumped


def _names(session_id: str) -> dict[str, Any]:
    """Return what the framework asks for the session by; one in three parts is the same session as other doors'."""
    parts = session_id.split("/")
    app, user, name = parts if len(parts) == 3 else (APP, USER, session_id)
    return {"app_name": app, "user_id": user, "session_id": name}


class Held:
    """A service, and the sessions that it gave: a runner holds one through a run."""

    def __init__(self, service: BaseSessionService) -> None:
        """Use *service*."""
        self.service = service
        self.sessions: dict[str, Session] = {}

    async def append(self, session_id: str, items: list[Any]) -> None:
        """Store *items* by one call each, again where somebody else was faster."""
        names = _names(session_id)
        for item in items:
            while True:
                session = self.sessions.pop(session_id, None) or await self.service.get_session(**names)
                try:
                    if session is None:
                        session = await self.service.create_session(**names)
                    await self.service.append_event(session, Event.model_validate(item))
                except (StaleSessionError, AlreadyExistsError):
                    await asyncio.sleep(random.random() / 50)
                else:
                    self.sessions[session_id] = session
                    break

    async def read(self, session_id: str, last: int | None = None) -> list[Any]:
        """Return the newest *last* events, or all, as JSON."""
        config = GetSessionConfig(num_recent_events=last)
        found = await self.service.get_session(**_names(session_id), config=config)
        return [event.model_dump(mode="json", exclude_none=True) for event in found.events] if found else []


@cache
def door(store: AsyncRepository) -> Held:
    """Return the door over *store*: an application has one."""
    return Held(ChatstoreSessionService(store))


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door each."""
    await door(store).append(session_id, items)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* events, or all, as JSON."""
    return await door(store).read(session_id, last)


async def listed(store: AsyncRepository) -> list[str]:
    """Return the names of the sessions that the door lists."""
    found = await door(store).service.list_sessions(app_name=APP, user_id=USER)
    return [session.id for session in found.sessions]


async def searched(store: AsyncRepository, word: str) -> list[str]:
    """Return the texts in which the framework's memory finds *word*."""
    memory = ChatstoreMemoryService(store)
    found = await memory.search_memory(app_name=APP, user_id=USER, query=word)
    return [part.text or "" for one in found.memories for part in one.content.parts or []]


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [message for item in items for message in said(Event.model_validate(item), SOURCE)]


class Rival(Held):
    """The framework's own SQL service, on the same database."""

    def __init__(self, service: Any, session_id: str) -> None:
        """Use *service* for *session_id*."""
        super().__init__(service)
        self.session_id = session_id

    @classmethod
    async def open(cls, url: str, session_id: str) -> Rival:
        """Make the tables of the service in the database *url*."""
        from google.adk.sessions import DatabaseSessionService

        made = cls(DatabaseSessionService(url.replace("sqlite:", "sqlite+aiosqlite:")), session_id)
        await made.read(1)
        return made

    async def append(self, items: list[Any]) -> None:  # type: ignore[override]
        """Store *items*."""
        await super().append(self.session_id, items)

    async def read(self, last: int | None) -> list[Any]:  # type: ignore[override]
        """Return the newest *last* events, or all."""
        return await super().read(self.session_id, last)

    async def close(self) -> None:
        """Close its connections."""
        await self.service.close()
