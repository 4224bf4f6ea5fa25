"""Conversations in a dictionary: the reference implementation, against which the others are tested.

This module knows a dictionary and a lock. The rules are in `chatstore.backends.common.rules` (inside one session) and
`chatstore.backends.common.whole_sessions` (around it); read those to learn what a backend must do.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from chatstore.backends.common import states
from chatstore.backends.common.whole_sessions import WholeSessionCore
from chatstore.forks import taken_by_forks
from chatstore.messages import Durability
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from chatstore.aio import AsyncRepository
    from chatstore.arguments import Scope
    from chatstore.backends.common.rules import SessionState
    from chatstore.contract import (
        Answer,
        AskDurability,
        C,
        DeleteStates,
        GetStates,
        ListStates,
        NewStates,
        SetStates,
        T,
    )
    from chatstore.messages import ChatSession, State


class MemoryCore(WholeSessionCore):
    """What a repository in memory and its awaiting twins share; safe for threads."""

    capabilities = WholeSessionCore.capabilities._replace(denied=frozenset())

    def __init__(self) -> None:
        self._shelf: dict[str, SessionState] = {}
        self._states: states.States = {}
        self._lock = RLock()
        taken_by_forks(self._lock)

    def locked(self, session_id: str, *, write: bool) -> AbstractContextManager[object]:  # noqa: ARG002 - one for all
        return self._lock

    def find(self, session_id: str) -> SessionState | None:
        found = self._shelf.get(session_id)
        return None if found is None else found.opened()

    def save(self, conversation: SessionState, *, rows: bool) -> None:  # noqa: ARG002 - both count from here on
        self._shelf[conversation.session.session_id] = conversation

    def drop(self, session_id: str) -> None:
        del self._shelf[session_id]

    def session_data(self) -> list[ChatSession]:
        with self._lock:
            return [conversation.session for conversation in self._shelf.values()]

    def keep_states(self, scope: Scope, new: NewStates, now: datetime) -> None:
        states.write(self._states, scope, new, now)

    def get_states(self, call: GetStates) -> list[State]:
        with self._lock:
            return states.read(self._states, call)

    def iter_states(self, call: ListStates) -> list[State]:
        with self._lock:
            return states.listed(self._states, call)

    def set_states(self, call: SetStates) -> list[State]:
        with self._lock:
            return states.write(self._states, call.scope, call.states, call.now, call.expected_revision)

    def delete_states(self, call: DeleteStates) -> int:
        with self._lock:
            return states.remove(self._states, call)

    def durability(self, call: AskDurability) -> Durability:  # noqa: ARG002 - there is but one answer
        return Durability("none", "messages live in this process only and end with it")


class MemoryRepository(Repository):
    """Conversations that live as long as this object; safe for threads."""

    def __init__(self) -> None:
        """Begin empty."""
        self._core: MemoryCore = MemoryCore()

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        return operation(call)  # type: ignore[return-value]  # nothing in memory is worth waiting for

    def _asynchronous(self) -> AsyncRepository:
        from chatstore.backends.memory.awaited import AsyncMemoryRepository  # and asyncio, which takes 20 ms

        return AsyncMemoryRepository(self._core)._copied(_scope=self._scope)
