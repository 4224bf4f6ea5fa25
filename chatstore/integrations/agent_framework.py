"""Microsoft Agent Framework: histories, sessions and AG-UI's snapshots in a repository.

This module knows the framework's stores; what a message says is known in
`chatstore.integrations.agent_framework_messages`. A message is kept as it came, under the name ``agent-framework`` in
its message's native form; sessions and snapshots are named states.
"""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.errors import Conflict, Invalid, MessageConflict, SessionExists
from chatstore.extras import not_installed
from chatstore.ids import session_key
from chatstore.integrations.awaiting import Awaiting, Recent

try:
    from agent_framework import AgentSession, HistoryProvider, Message, SessionStore
except ImportError as error:
    raise not_installed("Microsoft Agent Framework", "agent-framework") from error

from chatstore.integrations.agent_framework_messages import (
    SOURCE,
    Outline,
    converted,
    count_new,
    load,
    tells_again,
    tools_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_framework import AgentResponse
    from agent_framework_ag_ui import AGUIThreadSnapshot

    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository

__all__ = ["ChatstoreHistoryProvider", "ChatstoreSessionStore", "ChatstoreThreadSnapshotStore"]

#: How many of the newest messages a provider remembers of a session, so that it need not read them before it writes.
_NEWEST: Final = 16
#: The response whose messages are being stored.
_response: ContextVar[AgentResponse | None] = ContextVar("chatstore_agent_framework_response", default=None)


class _Tail(NamedTuple):
    """The newest messages of a session in outline, *whole* if there are no others; and their tools."""

    revision: int
    newest: list[Outline]
    whole: bool
    tools: dict[str, str]


class ChatstoreHistoryProvider(Awaiting, HistoryProvider):
    """The conversations of a repository as a ``HistoryProvider``: ``context_providers=[…]`` of an agent.

    What a run stores is one transaction. What is handed once more is not stored twice: new is what the framework's own
    providers take for new, and, of a conversation that a client tells again with each run, what says something new.
    What other frameworks stored is read as messages that say the same.
    """

    def __init__(
        self,
        repository: Repository | AsyncRepository,
        source_id: str = "chatstore",
        *,
        last: int | None = None,
        **options: Any,
    ) -> None:
        """Work on *repository*, which may be a scope; *options* are those of ``HistoryProvider``.

        *last* is how many of the newest messages a run gets; None is all. They never begin with a tool's result.
        """
        Awaiting.__init__(self, repository)
        HistoryProvider.__init__(self, source_id, **options)
        self._last = last
        self._tails: Recent[Any, _Tail] = Recent()

    async def get_messages(self, session_id: str | None, **_: Any) -> list[Message]:
        """Return the messages of a session, oldest first, as the framework stored them; none for a missing one."""
        wanted = None if self._last is None else max(self._last, _NEWEST)
        messages, tail = await self._read(session_id, wanted)
        self._remember(session_id, tail)
        if self._last is None:
            return messages
        del messages[: len(messages) - min(self._last, len(messages))]
        while messages and messages[0].role == "tool":  # its call is not there, and models refuse that
            del messages[0]
        return messages

    async def save_messages(self, session_id: str | None, messages: Sequence[Message], **_: Any) -> None:
        """Append what is new in *messages*, all or none and next to each other; a missing session is created.

        Raises `InvalidMessage` for what is not JSON, with the path to it; then nothing is written.
        """
        given = list(messages)
        if tells_again(given, _response.get()):
            self._tails.pop(session_id, None)
            await self._add(session_id, given, [], None)
            return
        outlines = [Outline.of(one) for one in given]
        while given:
            tail = self._tails.pop(session_id, None)
            recent = tail is not None and (tail.whole or len(tail.newest) > len(given))
            if tail is None or not recent:
                tail = (await self._read(session_id, len(given) + 1))[1]
            new = count_new(tail.newest, outlines)
            if new and await self._add(session_id, given[-new:], outlines[-new:], tail):
                return
            if not new and not recent:  # of what was there before, others may have deleted some
                return

    async def after_run(self, **run: Any) -> None:
        """Store what a run said, with its model and the tokens that it used; the framework calls this."""
        token = _response.set(run["context"].response)
        try:
            await super().after_run(**run)
        finally:
            _response.reset(token)

    async def _read(self, session_id: Any, wanted: int | None) -> tuple[list[Message], _Tail]:
        """Return the newest *wanted* messages, or more, or all there are; and what to remember of them."""
        window = wanted
        while True:
            records = await self._store.get_records(session_id, last=window)
            messages = [message for record in records if (message := load(record)) is not None]
            all_ = window is None or len(records) < window
            if window is None or wanted is None or all_ or len(messages) >= wanted:
                newest = messages[-max(_NEWEST, wanted or 0) :]
                known, whole = [Outline.of(one) for one in newest], all_ and len(newest) == len(messages)
                return messages, _Tail(records.revision, known, whole, tools_of(newest))
            window *= 2  # a message may be several here

    async def _add(
        self, session_id: Any, messages: list[Message], outlines: list[Outline], tail: _Tail | None
    ) -> bool:
        """Append *messages* if nothing has come since *tail*, and tell whether that was so; without, what is new."""
        tools = (tail.tools if tail else {}) | tools_of(messages)
        condition = {"expected_revision": tail.revision} if tail else {"overlap": True}
        for named in (True, False):
            made = converted(messages, tools, _response.get(), named=named, again=tail is None)
            try:
                done = await self._store.add_messages(session_id, made, **condition)
            except MessageConflict:  # the framework, or a client, said something else under the same id
                continue
            except SessionExists:  # somebody else's
                raise
            except Conflict:
                return False
            if tail and done.revision == tail.revision + 1:  # else all of it was stored already
                newest = [*tail.newest, *outlines]
                self._remember(session_id, _Tail(done.revision, newest, tail.whole, tools))
            return True
        return False

    def _remember(self, session_id: Any, tail: _Tail) -> None:
        whole, tools = tail.whole and len(tail.newest) <= _NEWEST, [*tail.tools.items()][-_NEWEST:]
        self._tails[session_id] = _Tail(tail.revision, tail.newest[-_NEWEST:], whole, dict(tools))


# ------------------------------------------------------------------------------------------- sessions and snapshots


#: The namespace of sessions, and the one that lists those of snapshots, one a scope.
_SESSIONS, _SNAPSHOTS = f"{SOURCE}:sessions", f"{SOURCE}:ag-ui"

with warnings.catch_warnings(action="ignore"):
    # The framework says once that its interface is experimental: not to those who import this for their histories.
    type("_Said", (SessionStore,), {})


class ChatstoreSessionStore(Awaiting, SessionStore):
    """The framework's ``AgentSession`` objects, by ids that the application chooses: an experimental interface of it.

    The last writer wins, as in the framework's own. Their histories are kept by `ChatstoreHistoryProvider`.
    """

    async def get(self, session_id: str) -> AgentSession | None:
        """Return the session that is stored under *session_id*, None where there is none. Raises ``ValueError``."""
        key = _key(session_id, "session_id")
        found = await self._store.get_states(_SESSIONS, key)
        return AgentSession.from_dict(found[key].value) if found else None

    async def set(self, session_id: str, session: AgentSession) -> None:
        """Store *session* under *session_id*, in the place of what was there.

        Raises ``TypeError`` for a subclass, which could not be made again, `Invalid` for what is not JSON.
        """
        if type(session) is not AgentSession:
            raise TypeError(f"{type(session).__name__} is no AgentSession: keep what it adds in its state")
        await self._store.set_states(_SESSIONS, {_key(session_id, "session_id"): session.to_dict()})

    async def delete(self, session_id: str) -> None:
        """Delete what is stored under *session_id*; nothing happens where there is nothing. Raises ``ValueError``."""
        await self._store.delete_states(_SESSIONS, _key(session_id, "session_id"))


class ChatstoreThreadSnapshotStore(Awaiting):
    """The newest snapshot of each AG-UI thread: an ``AGUIThreadSnapshotStore`` of ``agent-framework-ag-ui``."""

    def __init__(self, repository: Repository | AsyncRepository) -> None:
        """Work on *repository*; nothing is read or written yet."""
        super().__init__(repository)
        self._listed: Recent[str, None] = Recent()

    async def save(self, *, scope: str, thread_id: str, snapshot: AGUIThreadSnapshot) -> None:
        """Store *snapshot* in the place of the one before. Raises `Invalid` for names or values that are none."""
        space, states = _space(scope), {_key(thread_id, "thread_id"): asdict(snapshot)}
        if space not in self._listed:
            await self._store.set_states(_SNAPSHOTS, {space: None})
            self._listed[space] = None
        await self._store.set_states(space, states)

    async def get(self, *, scope: str, thread_id: str) -> AGUIThreadSnapshot | None:
        """Return the newest snapshot of a thread, None where there is none."""
        from agent_framework_ag_ui import AGUIThreadSnapshot

        key = _key(thread_id, "thread_id")
        found = await self._store.get_states(_space(scope), key)
        return AGUIThreadSnapshot(**found[key].value) if found else None

    async def delete(self, *, scope: str, thread_id: str) -> bool:
        """Delete the snapshot of a thread; tell whether there was one."""
        return await self._store.delete_states(_space(scope), _key(thread_id, "thread_id")) > 0

    async def clear(self, *, scope: str | None = None) -> None:
        """Delete all snapshots of *scope*, or without one those of all scopes that the repository sees."""
        spaces = await self._store.get_states(_SNAPSHOTS) if scope is None else [_space(scope)]
        for space in spaces:
            await self._store.delete_states(space)


def _key(value: str, name: str) -> str:
    """Return a state's key for *value*."""
    if not isinstance(value, str) or not value:
        raise Invalid(f"{name} must be a string that is not empty: pass the one that the framework uses")
    return session_key(value)


def _space(scope: str) -> str:
    return session_key(_SNAPSHOTS, _key(scope, "scope"))
