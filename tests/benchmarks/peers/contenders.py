"""Who is compared: how each opens a database, and how a turn is stored and read back there as its own pages show it.

Knows their interfaces and nothing of how they are measured. None is helped or hindered: each makes its own tables,
keeps its own engine or connection open, and gets its own kind of messages, made before anything is timed. SQLite files
are in WAL for all of them, which is the file's own property; commits wait for the disk everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from time import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from agents.extensions.memory.sqlalchemy_session import SQLAlchemySession
from agents.memory import SQLiteSession
from agno.db.base import SessionType
from agno.db.postgres import PostgresDb
from agno.db.sqlite import SqliteDb
from agno.models.message import Message as AgnoMessage
from agno.run.agent import RunOutput
from agno.session import AgentSession
from google.adk.events import Event
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types
from langchain_community.chat_message_histories import SQLChatMessageHistory
from langchain_postgres import PostgresChatMessageHistory
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

import chatstore
from chatstore.backends.sql.migrations import upgrade
from chatstore.integrations.langchain import to_langchain
from tests.benchmarks.harness import Side, each, each_awaited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.turns import Turn

#: The user whose sessions are listed, and how many are asked for.
USER, PAGE, LAST = "ada", 50, 20
_AWAITING = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def awaiting(url: str) -> str:
    """Return *url* with the driver that awaits."""
    parts = make_url(url)
    return parts.set(drivername=_AWAITING[parts.get_backend_name()]).render_as_string(hide_password=False)


class Contender:
    """A library on a database of its own. What it cannot do gives None; what it can is a side of a race."""

    name: str
    #: The distribution whose version is told.
    package: str
    kinds: tuple[str, ...] = ("sqlite", "postgres")
    #: Messages in one bulk call, where it has none and they are stored one turn after the other.
    at_most: int | None = None

    def __init__(self, url: str, turns: list[Turn]) -> None:
        """Open *url* and make the tables; *turns* are what is stored, over and over."""
        self.url = url
        self.opened = contextlib.ExitStack()
        self.made = [self.messages(turn) for turn in turns]
        self.source = itertools.cycle(self.made)

    def messages(self, turn: Turn) -> list[Any]:
        """Return the messages of *turn* as this library has them."""
        raise NotImplementedError

    def some(self, size: int) -> list[Any]:
        """Return *size* messages in one list."""
        every = itertools.chain.from_iterable(itertools.cycle(self.made))
        return list(itertools.islice(every, size))

    def append(self, session_id: str) -> Side:
        """Store the next turn."""
        raise NotImplementedError

    def bulk(self, size: int) -> Side:
        """Store *size* messages in a new session."""
        raise NotImplementedError

    def read(self, session_id: str) -> Side:
        """Read all messages of a session."""
        raise NotImplementedError

    def last(self, session_id: str) -> Side:
        """Read the last messages of a session."""
        raise NotImplementedError

    def own(self, count: int) -> None:
        """Make that many sessions of the user."""

    def listed(self) -> Side | None:
        """List the newest of the user's sessions."""
        return None

    def fill(self, session_id: str, size: int) -> None:
        """Make a session *size* messages long."""
        self.append(session_id)(size // 2)

    def close(self) -> None:
        """Close what was opened."""
        self.opened.close()


class Chatstore(Contender):
    """chatstore, search included."""

    name, package = "chatstore", "chatstore-sql"

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        upgrade(url)
        self.repository = self.opened.enter_context(contextlib.closing(chatstore.connect(url)))

    def messages(self, turn: Turn) -> list[Any]:
        return list(turn.messages)

    def append(self, session_id: str) -> Side:
        return each(lambda: self.repository.add_messages(session_id, next(self.source)))

    def bulk(self, size: int) -> Side:
        messages = self.some(size)
        return each(lambda: self.repository.add_messages(str(uuid4()), messages))

    def read(self, session_id: str) -> Side:
        return each(lambda: self.repository.get_messages(session_id))

    def last(self, session_id: str) -> Side:
        return each(lambda: self.repository.get_messages(session_id, last=LAST))

    def fill(self, session_id: str, size: int) -> None:
        self.repository.add_messages(session_id, self.some(size))

    def own(self, count: int) -> None:
        mine = self.repository.scope(user_id=USER)
        for number in range(count):
            mine.create_session(f"own-{number}", title=f"chat {number}")

    def listed(self) -> Side:
        return each(lambda: self.repository.list_sessions(user_id=USER, limit=PAGE).items)


class _History(Contender):
    """What has LangChain's interface of a history, which reads everything."""

    history: Callable[[str], Any]

    def messages(self, turn: Turn) -> list[Any]:
        return [to_langchain(message) for message in turn.messages]

    def append(self, session_id: str) -> Side:
        history = self.history(session_id)
        return each(lambda: history.add_messages(next(self.source)))

    def bulk(self, size: int) -> Side:
        messages = self.some(size)
        return each(lambda: self.history(str(uuid4())).add_messages(messages))

    def read(self, session_id: str) -> Side:
        history = self.history(session_id)
        return each(lambda: history.messages)

    def last(self, session_id: str) -> Side:
        history = self.history(session_id)
        return each(lambda: history.messages[-LAST:])

    def fill(self, session_id: str, size: int) -> None:
        self.history(session_id).add_messages(self.some(size))


class Community(_History):
    """`SQLChatMessageHistory` of langchain-community."""

    name, package = "langchain-community", "langchain-community"

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        engine = create_engine(url)
        self.opened.callback(engine.dispose)
        self.history = lambda session_id: SQLChatMessageHistory(session_id, connection=engine)


class LangChainPostgres(_History):
    """`PostgresChatMessageHistory` of langchain-postgres."""

    name, package, kinds = "langchain-postgres", "langchain-postgres", ("postgres",)

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        link = self.opened.enter_context(psycopg.connect(url.replace("+psycopg", "")))
        PostgresChatMessageHistory.create_tables(link, "history")
        ids: dict[str, str] = {}
        self.history = lambda session_id: PostgresChatMessageHistory(
            "history", ids.setdefault(session_id, str(uuid4())), sync_connection=link
        )


class _Awaited(Contender):
    """What is asynchronous: a burst runs in one loop, one call after the other."""

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        self.loop = self.opened.enter_context(asyncio.Runner())

    def side(self, call: Callable[[], Any]) -> Side:
        """Return the side that awaits *call*."""
        return each_awaited(self.loop, call)


class _Agents(_Awaited):
    """What has the interface of a session of openai-agents."""

    session: Callable[[str], Any]
    package = "openai-agents"

    def messages(self, turn: Turn) -> list[Any]:
        roles = {"human": "user", "ai": "assistant"}
        return [
            {
                "role": roles[plain.type],
                "content": plain.content,
                **({"usage": plain.rest} if plain.rest else {}),
            }
            for plain in turn.plain
        ]

    def append(self, session_id: str) -> Side:
        session = self.session(session_id)
        return self.side(lambda: session.add_items(next(self.source)))

    def bulk(self, size: int) -> Side:
        items = self.some(size)
        return self.side(lambda: self.session(str(uuid4())).add_items(items))

    def read(self, session_id: str) -> Side:
        session = self.session(session_id)
        return self.side(session.get_items)

    def last(self, session_id: str) -> Side:
        session = self.session(session_id)
        return self.side(lambda: session.get_items(limit=LAST))

    def fill(self, session_id: str, size: int) -> None:
        self.loop.run(self.session(session_id).add_items(self.some(size)))


class AgentsSQLite(_Agents):
    """`SQLiteSession` of openai-agents."""

    name, kinds = "openai-agents, SQLiteSession", ("sqlite",)

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        path = make_url(url).database or ""
        kept: dict[str, Any] = {}

        def session(session_id: str) -> Any:
            if session_id not in kept:
                kept[session_id] = SQLiteSession(session_id, path)
                self.opened.callback(kept[session_id].close)
            return kept[session_id]

        self.session = session


class AgentsSQLAlchemy(_Agents):
    """`SQLAlchemySession` of openai-agents."""

    name = "openai-agents, SQLAlchemySession"

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        engine = create_async_engine(awaiting(url))
        self.opened.callback(lambda: self.loop.run(engine.dispose()))
        self.loop.run(SQLAlchemySession("first", engine=engine, create_tables=True).get_items())
        self.session = lambda session_id: SQLAlchemySession(session_id, engine=engine)


class ADK(_Awaited):
    """`DatabaseSessionService` of Google ADK, which stores one event after the other."""

    name, package, at_most = "Google ADK", "google-adk", 100

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        self.service = DatabaseSessionService(awaiting(url))
        self.opened.callback(lambda: self.loop.run(self.service.close()))
        self.sessions: dict[str, Any] = {}

    def messages(self, turn: Turn) -> list[Any]:
        roles = {"human": "user", "ai": "model"}
        return [(roles[plain.type], plain.content, plain.rest) for plain in turn.plain]

    async def _session(self, session_id: str) -> Any:
        if session_id not in self.sessions:
            self.sessions[session_id] = await self.service.create_session(
                app_name="app", user_id="somebody", session_id=session_id
            )
        return self.sessions[session_id]

    async def _add(self, session_id: str, messages: list[Any]) -> None:
        session = await self._session(session_id)
        for role, text, rest in messages:
            content = types.Content(role=role, parts=[types.Part(text=text)])
            event = Event(author=role, content=content, custom_metadata=rest or None, invocation_id="i")
            await self.service.append_event(session, event)

    def append(self, session_id: str) -> Side:
        return self.side(lambda: self._add(session_id, next(self.source)))

    def bulk(self, size: int) -> Side:
        messages = self.some(size)
        return self.side(lambda: self._add(str(uuid4()), messages))

    def _get(self, session_id: str, config: Any) -> Side:
        return self.side(
            lambda: self.service.get_session(
                app_name="app", user_id="somebody", session_id=session_id, config=config
            )
        )

    def read(self, session_id: str) -> Side:
        return self._get(session_id, None)

    def last(self, session_id: str) -> Side:
        return self._get(session_id, GetSessionConfig(num_recent_events=LAST))

    def own(self, count: int) -> None:
        async def make() -> None:
            for number in range(count):
                await self.service.create_session(
                    app_name="app",
                    user_id=USER,
                    session_id=f"own-{number}",
                    state={"title": f"chat {number}"},
                )

        self.loop.run(make())

    def listed(self) -> Side:
        return self.side(lambda: self.service.list_sessions(app_name="app", user_id=USER))


class LlamaIndex(_Awaited):
    """`SQLAlchemyChatStore` of LlamaIndex, whose ``limit`` gives the oldest: the last are cut from all."""

    name, package = "LlamaIndex", "llama-index-core"

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        engine = create_async_engine(awaiting(url))
        self.opened.callback(lambda: self.loop.run(engine.dispose()))
        self.store = SQLAlchemyChatStore("chats", async_engine=engine)
        self.loop.run(self.store.get_keys())

    def messages(self, turn: Turn) -> list[Any]:
        roles = {"human": "user", "ai": "assistant"}
        return [
            ChatMessage(role=roles[plain.type], content=plain.content, additional_kwargs=plain.rest)
            for plain in turn.plain
        ]

    def append(self, session_id: str) -> Side:
        return self.side(lambda: self.store.add_messages(session_id, next(self.source)))

    #: One statement has five parameters a message, and asyncpg takes 32,767 of them.
    at_most = 5_000

    def bulk(self, size: int) -> Side:
        messages = self.some(size)
        return self.side(lambda: self.store.add_messages(str(uuid4()), messages))

    def read(self, session_id: str) -> Side:
        return self.side(lambda: self.store.get_messages(session_id))

    def last(self, session_id: str) -> Side:
        async def last() -> Any:
            return (await self.store.get_messages(session_id))[-LAST:]

        return self.side(last)


class Agno(Contender):
    """`SqliteDb` and `PostgresDb` of Agno, which stores a turn as a run."""

    name, package, at_most = "Agno", "agno", 100

    def __init__(self, url: str, turns: list[Turn]) -> None:
        super().__init__(url, turns)
        self.db: Any = SqliteDb(db_url=url) if url.startswith("sqlite") else PostgresDb(db_url=url)
        self.opened.callback(self.db.db_engine.dispose)
        self.indexes: dict[str, int] = {}

    def messages(self, turn: Turn) -> list[Any]:
        roles = {"human": "user", "ai": "assistant"}
        return [
            AgnoMessage(role=roles[plain.type], content=plain.content, provider_data=plain.rest or None)
            for plain in turn.plain
        ]

    def _add(self, session_id: str, messages: list[Any]) -> None:
        if session_id not in self.indexes:
            self.indexes[session_id] = 0
            self.db.upsert_session(
                AgentSession(session_id, agent_id="a", user_id="somebody", created_at=int(time()))
            )
        for start in range(0, len(messages), 2):
            run = RunOutput(run_id=str(uuid4()), agent_id="a", session_id=session_id, user_id="somebody")
            run.messages = messages[start : start + 2]
            self.db.upsert_run(run, session_id, "somebody", self.indexes[session_id])
            self.indexes[session_id] += 1

    def append(self, session_id: str) -> Side:
        return each(lambda: self._add(session_id, next(self.source)))

    def bulk(self, size: int) -> Side:
        messages = self.some(size)
        return each(lambda: self._add(str(uuid4()), messages))

    def read(self, session_id: str) -> Side:
        return each(lambda: self.db.get_session(session_id, SessionType.AGENT))

    def last(self, session_id: str) -> Side:
        return each(lambda: self.db.get_session(session_id, SessionType.AGENT, runs_limit=LAST // 2))

    def own(self, count: int) -> None:
        for number in range(count):
            session = AgentSession(f"own-{number}", agent_id="a", user_id=USER, created_at=int(time()))
            session.session_data = {"session_name": f"chat {number}"}
            self.db.upsert_session(session)

    def listed(self) -> Side:
        return each(
            lambda: self.db.get_sessions(
                SessionType.AGENT,
                user_id=USER,
                limit=PAGE,
                sort_by="updated_at",
                sort_order="desc",
                include_runs=False,
            )
        )


ALL: tuple[type[Contender], ...] = (
    Chatstore, Community, LangChainPostgres, AgentsSQLite, AgentsSQLAlchemy, ADK, LlamaIndex, Agno,
)  # fmt: skip


@contextlib.contextmanager
def opened(kind: type[Contender], url: str, turns: list[Turn]) -> Iterator[Contender]:
    """Give a contender on the empty database *url*, closed afterwards."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(make_url(url).database or "")) as link:
            link.execute("PRAGMA journal_mode=WAL")
    made = kind(url, turns)
    try:
        yield made
    finally:
        made.close()
