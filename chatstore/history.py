"""Chat message histories: one session of any repository, with the interface of LangChain's.

`chatstore.histories` has the named ones (`FileChatMessageHistory`, `SQLChatMessageHistory`, …).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from chatstore.errors import NotSupported
from chatstore.ids import new_id
from chatstore.messages import AIMessage, HumanMessage, text_of
from chatstore.repository import Repository, check_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from chatstore.aio import AsyncRepository
    from chatstore.contract import T
    from chatstore.messages import Content, Message


async def _threaded(call: Callable[[], T]) -> T:
    from asyncio import to_thread  # 20 ms that synchronous callers need not pay

    return await to_thread(call)


class BaseChatMessageHistory(ABC):
    """The interface for storing and reading one session: implement `messages`, `add_messages` and `clear`."""

    @property
    @abstractmethod
    def messages(self) -> list[Message]:
        """The messages, oldest first, as a fresh list."""

    @abstractmethod
    def add_messages(self, messages: Iterable[Message]) -> None:
        """Append *messages* in one piece."""

    @abstractmethod
    def clear(self) -> None:
        """Delete all messages."""

    def add_message(self, message: Message) -> None:
        """Append one message."""
        self.add_messages([message])

    def add_user_message(self, message: HumanMessage | Content) -> None:
        """Append a message of the user: whole, or its text or list of content blocks."""
        self.add_message(HumanMessage(content=message) if isinstance(message, str | list) else message)

    def add_ai_message(self, message: AIMessage | Content) -> None:
        """Append a message of the model: whole, or its text or list of content blocks."""
        self.add_message(AIMessage(content=message) if isinstance(message, str | list) else message)

    async def aget_messages(self) -> list[Message]:
        """Return `messages` without blocking the loop."""
        return await _threaded(lambda: self.messages)

    async def aadd_messages(self, messages: Iterable[Message]) -> None:
        """Do `add_messages` without blocking the loop."""
        await _threaded(lambda: self.add_messages(messages))

    async def aclear(self) -> None:
        """Do `clear` without blocking the loop."""
        await _threaded(self.clear)

    def __str__(self) -> str:
        """Return the messages as a transcript, one per line."""
        names = {"human": "Human", "ai": "AI", "system": "System", "tool": "Tool", "function": "Function"}
        return "\n".join(
            f"{names.get(message.type, getattr(message, 'role', message.type))}: {text_of(message.content)}"
            for message in self.messages
        )


class ChatMessageHistory(BaseChatMessageHistory):
    """One session of a repository; without arguments, a new one in memory."""

    def __init__(
        self,
        repository: Repository | AsyncRepository | None = None,
        session_id: str | None = None,
        *,
        last: int | None = None,
    ) -> None:
        """Work on session *session_id* (None: a new id) of *repository* (None: one in memory).

        *last* limits `messages` to that many of the newest. Nothing is read or written yet. One history has synchronous
        and asynchronous methods; on an `AsyncRepository` only the asynchronous ones work.
        """
        if repository is None:
            from chatstore.backends.memory.repository import (
                MemoryRepository,  # the only backend a history knows by name
            )

            repository = MemoryRepository()
        self.repository = check_repository(repository)
        self.session_id = new_id() if session_id is None else session_id
        self.last = last
        self._owned = False

    @property
    def messages(self) -> list[Message]:
        """The messages, oldest first, as a fresh list (the newest *last* of them)."""
        return self._blocking().get_messages(self.session_id, last=self.last)

    @messages.setter
    def messages(self, messages: Iterable[Message]) -> None:
        self._blocking().replace_messages(self.session_id, messages)

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Append *messages* in one piece; the session is created if it is missing."""
        self._blocking().add_messages(self.session_id, messages)

    def clear(self) -> None:
        """Delete all messages and keep the session."""
        self._blocking().clear(self.session_id)

    async def aget_messages(self) -> list[Message]:
        """Return `messages`."""
        return await self._awaited().get_messages(self.session_id, last=self.last)

    async def aadd_messages(self, messages: Iterable[Message]) -> None:
        """Append *messages* in one piece; the session is created if it is missing."""
        await self._awaited().add_messages(self.session_id, messages)

    async def aclear(self) -> None:
        """Delete all messages and keep the session."""
        await self._awaited().clear(self.session_id)

    def close(self) -> None:
        """Close the repository, if this history made it."""
        if self._owned and isinstance(self.repository, Repository):
            self.repository.close()

    async def aclose(self) -> None:
        """Release what the asynchronous methods opened on the running loop, and do `close`.

        Histories of one repository share it; the last of them closes it.
        """
        if isinstance(self.repository, Repository):
            await self.repository._release_twin(self)
        elif self._owned:
            await self.repository.close()
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(session_id={self.session_id!r})"

    def _blocking(self) -> Repository:
        if isinstance(self.repository, Repository):
            return self.repository
        msg = "this history has an AsyncRepository: await aget_messages, aadd_messages and aclear instead"
        raise NotSupported(msg)

    def _awaited(self) -> AsyncRepository:
        return (
            self.repository._lend_twin(self) if isinstance(self.repository, Repository) else self.repository
        )


def owned(history: Any, repository: Repository, session_id: str, last: int | None = None) -> None:
    """Set up *history* on a *repository* that was made for it and is closed with it."""
    ChatMessageHistory.__init__(history, repository, session_id, last=last)
    history._owned = True
