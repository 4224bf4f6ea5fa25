"""Strands Agents: `ChatstoreSessionRepository`, over any repository that blocks; and `ChatstoreStorage`, for snapshots.

This module knows the framework's repository of sessions; what messages say, and whose they are, is known in
`chatstore.integrations.strands_messages`. An agent has its messages in the session of `key_of`, each kept as it came,
under the name ``strands`` in the native form of its last message; the metadata has what the framework knows of session
and agent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatstore.errors import Conflict, MessageConflict, NotFound, SessionExists
from chatstore.extras import not_installed

try:
    from strands.session import SessionRepository
    from strands.types.exceptions import SessionException
    from strands.types.session import Session, SessionAgent, SessionMessage, SessionType
except ImportError as error:
    raise not_installed("Strands Agents", "strands") from error

from chatstore.integrations.strands_messages import (
    SOURCE,
    agent_of,
    fitted,
    id_of,
    is_of,
    kept_of,
    key_of,
    load,
    names_of,
    numbered,
    plain,
    said,
)
from chatstore.integrations.strands_storage import ChatstoreStorage, blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from strands.multiagent.base import MultiAgentBase

    from chatstore.messages import ChatSession
    from chatstore.records import MessageRecord
    from chatstore.repository import Repository

__all__ = ["ChatstoreSessionRepository", "ChatstoreStorage"]


class ChatstoreSessionRepository(SessionRepository):
    """The sessions of a repository as a ``SessionRepository``: pass it to ``RepositorySessionManager``.

    The number of a message is given once: of two that continue a conversation from the same place, the second is
    refused with ``SessionException``, and nothing of it is written. A message that is stored as it is already is not
    stored again.
    """

    def __init__(self, repository: Repository) -> None:
        """Work on *repository*, which may be a scope; nothing is read or written yet."""
        self.repository = blocking(repository)

    def create_session(self, session: Session, **_: Any) -> Session:
        """Create a session. Raises ``SessionException`` where its id is in use."""
        about = {**session.to_dict(), "session_type": SessionType(session.session_type).value}
        if not self._change(session.session_id, lambda found: None if found else {"session": about}):
            raise SessionException(
                f"the session {session.session_id!r} exists: make its manager anew, or choose another id"
            )
        return session

    def read_session(self, session_id: str, **_: Any) -> Session | None:
        """Return a session, be it another framework's; None for a missing one."""
        found = self._found(session_id)
        kept = kept_of(found)
        if found is None or "session_id" in kept:
            return None
        times = {"created_at": found.created_at.isoformat(), "updated_at": found.updated_at.isoformat()}
        about = {"session_id": session_id, "session_type": SessionType.AGENT, **times}
        return Session.from_dict(kept.get("session", about))

    # ---- agents

    def create_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Create an agent. Raises ``SessionException`` where it exists, and the default one of a missing session."""
        names = (session_id, session_agent.agent_id)
        about = {**names_of(*names), "agent": session_agent.to_dict()}

        def changed(found: ChatSession | None) -> dict[str, Any] | None:
            free = is_of(found, *names) and agent_of(found, *names) is None
            return {**kept_of(found), **about} if free and (found or names_of(*names)) else None

        if not self._change(key_of(*names), changed):
            raise SessionException(
                f"agent {names[1]!r} cannot be created in session {session_id!r}: create the session before it, and "
                f"choose another id where {key_of(*names)!r} belongs to an agent already"
            )

    def read_agent(self, session_id: str, agent_id: str, **_: Any) -> SessionAgent | None:
        """Return an agent, be its messages another framework's; None for a missing one."""
        return agent_of(self._found(key_of(session_id, agent_id)), session_id, agent_id)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Store an agent as it is now; when it was created stays. Raises ``SessionException`` for a missing one."""
        names = (session_id, session_agent.agent_id)

        def changed(found: ChatSession | None) -> dict[str, Any] | None:
            if (before := agent_of(found, *names)) is None:
                return None
            about = replace(session_agent, created_at=before.created_at)
            return {**kept_of(found), **names_of(*names), "agent": about.to_dict()}

        if not self._change(key_of(*names), changed):
            raise SessionException(f"there is no agent {names[1]!r} in session {names[0]!r}: create it first")

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **_: Any) -> None:
        """Store the state of a graph or a swarm. Raises ``SessionException`` for a missing session."""
        self._keep(session_id, multi_agent, lambda found: found is not None)

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **_: Any) -> dict[str, Any] | None:
        """Return the state of a graph or a swarm; None for a missing one."""
        state: dict[str, Any] | None = _states(self._found(session_id)).get(multi_agent_id)
        return state

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **_: Any) -> None:
        """Store the state of a graph or a swarm as it is now. Raises ``SessionException`` for a missing one."""
        self._keep(session_id, multi_agent, lambda found: multi_agent.id in _states(found))

    def _keep(
        self, session_id: str, multi_agent: MultiAgentBase, may: Callable[[ChatSession | None], bool]
    ) -> None:
        state = {multi_agent.id: multi_agent.serialize_state()}

        def changed(found: ChatSession | None) -> dict[str, Any] | None:
            states = {**_states(found), **state}
            return {**kept_of(found), "multi_agents": states} if may(found) else None

        if not self._change(session_id, changed):
            raise SessionException(f"session {session_id!r} has no {multi_agent.id!r}: create it first")

    # ---- messages

    def create_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any
    ) -> None:
        """Append a message, all of it or nothing. Raises ``SessionException`` where its number is another's."""
        try:
            self.repository.add_messages(key_of(session_id, agent_id), said(session_message))
        except (MessageConflict, SessionExists) as error:
            raise SessionException(
                f"message {session_message.message_id} of agent {agent_id!r} in session {session_id!r} is somebody "
                "else's: make the session manager anew, which reads what was said meanwhile"
            ) from error

    def read_message(
        self, session_id: str, agent_id: str, message_id: int, **_: Any
    ) -> SessionMessage | None:
        """Return a message by its number; None for a missing one."""
        found = self._numbered(key_of(session_id, agent_id), message_id)
        return found and load(*found)

    def update_message(
        self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any
    ) -> None:
        """Put a message, such as a redacted one, in the place of that with its number; when it was created stays.

        Raises ``SessionException`` for a missing one.
        """
        key = key_of(session_id, agent_id)
        found = self._numbered(key, session_message.message_id)
        if found is None:
            raise SessionException(f"there is no message {session_message.message_id}: create it first")
        before = load(*found)
        places = self._places(key, before, found[1])
        new = fitted(said(replace(session_message, created_at=before.created_at)), len(places))
        for place in places[: -len(new)]:
            self.repository.delete_message(key, place)
        # To the framework it is as it was until the last is new.
        for place, message in zip(places[-len(new) :], new, strict=True):
            self.repository.update_message(key, place, message)

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **_: Any
    ) -> list[SessionMessage]:
        """Return messages by their numbers: at most *limit*, without the first *offset*; none for a missing agent."""
        found = numbered(self.repository.get_records(key_of(session_id, agent_id)))
        return [load(*one) for one in found[offset:][:limit]]

    def _numbered(self, key: str, number: int) -> tuple[int, list[MessageRecord], list[Any]] | None:
        try:
            return number, [self.repository.get_message(key, id_of(number))], []
        except NotFound:  # another framework's, if any
            every = numbered(self.repository.get_records(key))
            return next((one for one in every if one[0] == number), None)

    def _places(self, key: str, before: SessionMessage, records: list[MessageRecord]) -> list[int]:
        """Return where the messages stand that say what *before* says, of which *records* are known."""
        near = self.repository.get_records(key, before=records[0].position, last=len(said(before)) - 1)
        parts = [
            one for one in near if one.message.native.get(SOURCE, {}).get("part_of") == before.message_id
        ]
        return [record.position for record in (*parts, *records)]

    # ---- what is kept beside

    def _found(self, key: str) -> ChatSession | None:
        try:
            return self.repository.get_session(key)
        except NotFound:
            return None

    def _change(self, key: str, changed: Callable[[ChatSession | None], dict[str, Any] | None]) -> bool:
        """Keep what *changed* makes of what there is; tell whether it made anything."""
        while True:
            found = self._found(key)
            kept = changed(found)
            if kept is None:
                return False
            metadata = {**(found.metadata if found else {}), SOURCE: plain(kept)}
            revision = found.revision if found else 0
            try:
                self.repository.add_messages(key, [], metadata=metadata, expected_revision=revision)
            except SessionExists:  # another owner's
                return False
            except Conflict:  # somebody wrote in between
                continue
            return True


def _states(found: ChatSession | None) -> dict[str, Any]:
    states: dict[str, Any] = kept_of(found).get("multi_agents", {})
    return states
