"""`ChatMessageHistory`: a session of any repository as LangChain's own kind of history.

This module knows what LangChain's chains, memories and runnables call, and where they lose messages; it refuses to
know where anything is kept. The base class is LangChain's where it still has one, so that pydantic's instance checks
in the memory classes pass; nothing else of it is used.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict

from langchain_core import messages as theirs

from chatstore import codec
from chatstore import history as plain
from chatstore.arguments import check_session_id, utcnow
from chatstore.contract import AddMessages
from chatstore.driving import adrive, drive
from chatstore.errors import NotFound
from chatstore.integrations.langchain.convert import become, from_langchain
from chatstore.integrations.langchain.state import loud, upserted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

    from chatstore.aio import AsyncRepository
    from chatstore.contract import Answer, T
    from chatstore.integrations.langchain.state import Step
    from chatstore.messages import Content, Message
    from chatstore.repository import Repository

try:
    from langchain_core.chat_history import BaseChatMessageHistory as _Base
except ImportError:

    class _Base:  # type: ignore[no-redef]
        """Nothing: langchain-core 2 has no base class, and no memory class that would ask for it."""


class Options(TypedDict, total=False):
    """What every history of this package takes; `ChatMessageHistory` says what each means."""

    last: int | None
    pinned: bool | None
    prunes: bool
    omits: bool


class ChatMessageHistory(_Base, plain.ChatMessageHistory):
    """One session of a repository, in LangChain's messages; without arguments, a conversation in memory.

    Give it to `ConversationBufferMemory` and its relatives as ``chat_memory``, or return it from the function that
    `RunnableWithMessageHistory` calls. Both sides work, ``messages`` and ``aget_messages``; over an
    `AsyncRepository` only the latter. What cannot be stored is logged at ERROR and raised, because
    `RunnableWithMessageHistory` swallows the exception.
    """

    _read: list[Any] | None = None
    _writes = 0
    _unsure: tuple[list[Any], codec.Batch] | None = None
    _pinned: bool | None = None
    _prunes = False
    _omits = False

    def __init__(
        self,
        repository: Repository | AsyncRepository | None = None,
        session_id: str | None = None,
        *,
        last: int | None = None,
        pinned: bool | None = None,
        prunes: bool = False,
        omits: bool = False,
        messages: Iterable[BaseMessage] | None = None,
    ) -> None:
        """Work on session *session_id* (a new id where it is None) of *repository* (one of its own in memory).

        *last* limits what is read to the newest that many. Every reading asks the repository, but one: what
        `RunnableWithMessageHistory` read at the beginning of a call is what it gets at the end, because it would cut
        the user's question off if another worker had appended in between. *pinned* says so for every reader (True:
        until this object writes) or for none (False). *prunes* deletes from the session what a memory class pops from
        the list it was given, as `ConversationTokenBufferMemory` and `ConversationSummaryBufferMemory` do. *omits*
        leaves out what JSON cannot say (in the artifact of a tool, for example), which is refused otherwise.
        *messages* are appended at once.
        """
        plain.ChatMessageHistory.__init__(self, repository, session_id, last=last)
        self._pinned, self._prunes, self._omits = pinned, prunes, omits
        if messages is not None:
            self.add_messages(messages)

    def _adopt(self, inner: plain.ChatMessageHistory, options: Options) -> None:
        """Become what *inner*, made by a constructor of `chatstore.histories`, is."""
        ChatMessageHistory.__init__(self, inner.repository, inner.session_id, **options)
        self._owned = inner._owned

    __str__ = plain.BaseChatMessageHistory.__str__  # LangChain's fails on some messages

    # ---- reading

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages, oldest first, in a fresh list (the newest *last* of them)."""
        return self._do(self._reading())

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        self._do(self._replacing(list(messages)))

    async def aget_messages(self) -> list[BaseMessage]:
        """Return `messages`."""
        return await self._ado(self._reading())

    def _reading(self) -> Generator[Step, Any, list[BaseMessage]]:
        pinned = self._is_run() if self._pinned is None else self._pinned
        read, writes = self._read if pinned else None, self._writes
        if read is None:
            if self._prunes:
                found = yield lambda store: store.get_records(self.session_id, last=self.last)
                read = [(become(record.message), record.position) for record in found]
            else:
                found = yield lambda store: store.get_messages(self.session_id, last=self.last)
                read = [become(message) for message in found]
            if pinned and writes == self._writes:  # else another thread wrote by this object meanwhile
                self._read = read
        return Prunable(self, read) if self._prunes else list(read)

    def _is_run(self) -> bool:
        """Tell whether this is the history of a `RunnableWithMessageHistory` in whose call we are."""
        runnables = sys.modules.get("langchain_core.runnables.config")  # no call without it
        config = runnables.var_child_runnable_config.get() if runnables else None
        return config is not None and config.get("configurable", {}).get("message_history") is self

    # ---- writing

    def add_message(self, message: BaseMessage) -> None:
        """Append one message."""
        self.add_messages([message])

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append *messages* in one piece; the session is created if it is missing.

        A call that failed may be repeated with the same messages on this object: nothing is stored twice, also of
        messages without an id. Raises as `Repository.add_messages`.
        """
        self._do(self._adding(list(messages)))

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """As `add_messages`."""
        await self._ado(self._adding(list(messages)))

    def add_user_message(self, message: HumanMessage | Content) -> None:
        """Append what the user said: a message, its text, or its content blocks."""
        self.add_message(theirs.HumanMessage(content=message) if isinstance(message, str | list) else message)

    def add_ai_message(self, message: AIMessage | Content) -> None:
        """Append what the model said: a message, its text, or its content blocks."""
        self.add_message(theirs.AIMessage(content=message) if isinstance(message, str | list) else message)

    def clear(self) -> None:
        """Delete all messages and keep the session."""
        self._do(self._clearing())

    async def aclear(self) -> None:
        """Delete all messages and keep the session."""
        await self._ado(self._clearing())

    def upsert_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Append those of *messages* whose id is not stored, and update those whose body changed.

        For the state of a graph, which is passed whole, again and again. `RemoveMessage`, which tells a graph to
        forget, changes nothing here. Raises `Invalid` for a message without an id, and as
        `Repository.add_messages`.
        """
        self._do(self._upserting(list(messages)))

    async def aupsert_messages(self, messages: Iterable[BaseMessage]) -> None:
        """As `upsert_messages`."""
        await self._ado(self._upserting(list(messages)))

    def _adding(self, given: list[Any]) -> Generator[Step, Any, None]:
        if not given:
            return
        with self._writing(len(given)):
            now, session_id = utcnow(), check_session_id(self.session_id)
            made = self._same_ids(given, codec.batch(session_id, self._translated(given), now))
            self._unsure = (given, made)
            # What `Repository.add_messages` does, but with ids that outlive a call that failed.
            yield lambda store: store._call(
                store._core.add_messages, AddMessages(store._scope, now, session_id, made.drafts, None)
            )
            self._unsure = None

    def _translated(self, given: list[Any]) -> list[Message]:
        return [from_langchain(message, omits=self._omits) for message in given]

    @contextmanager
    def _writing(self, count: int) -> Iterator[None]:
        """Log a failed write of *count* messages; what was read before it, or during it, is not kept."""
        self._read, self._writes = None, self._writes + 1
        try:
            with loud(self.session_id, count):
                yield
        finally:
            self._read, self._writes = None, self._writes + 1

    def _same_ids(self, given: list[Any], made: codec.Batch) -> codec.Batch:
        """Give messages without an id those of the failed call that this one repeats."""
        if self._unsure is None:
            return made
        before, known = self._unsure
        if list(map(id, before)) != list(map(id, given)) or len(known.drafts) != len(made.drafts):
            return made
        drafts = [
            new._replace(message_id=old.message_id) if new.id_generated and old.id_generated else new
            for new, old in zip(made.drafts, known.drafts, strict=True)
        ]
        return made._replace(drafts=drafts)

    def _replacing(self, given: list[Any]) -> Generator[Step, Any, None]:
        with self._writing(len(given)):
            yield lambda store: store.replace_messages(self.session_id, self._translated(given))

    def _clearing(self) -> Generator[Step, Any, None]:
        with self._writing(0):
            yield lambda store: store.clear(self.session_id)

    def _upserting(self, given: list[Any]) -> Generator[Step, Any, None]:
        with self._writing(len(given)):
            yield from upserted(self.session_id, given, {}, omits=self._omits)

    def _forget(self, position: int) -> None:
        with self._writing(0):
            try:
                self._blocking().delete_message(self.session_id, position)
            except NotFound:  # another worker pruned it first: it is gone, which was wanted
                return

    def _do(self, plan: Generator[Step, Any, T]) -> T:
        """Carry out what *plan* yields on the repository."""
        answer: Answer[T] = plan
        return drive(answer, lambda step: step(self._blocking()))

    async def _ado(self, plan: Generator[Step, Any, T]) -> T:
        """As `_do`, awaiting each step."""
        answer: Answer[T] = plan
        return await adrive(answer, lambda step: step(self._awaited()))


class Prunable(list[Any]):
    """The messages that were read; what is popped from this list leaves the session too."""

    def __init__(self, history: ChatMessageHistory, read: Iterable[tuple[Any, int]]) -> None:
        """Remember the position of each message *read*."""
        super().__init__(message for message, _ in read)
        self._history = history
        self._positions = {id(message): position for message, position in read}

    def pop(self, index: SupportsIndex = -1, /) -> Any:
        """Remove and return one message, here and in the session."""
        message = self[index]
        position = self._positions.get(id(message))
        if position is not None:  # None: the caller put it there
            self._history._forget(position)
        return super().pop(index)
