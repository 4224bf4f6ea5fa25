"""Google ADK: `ChatstoreSessionService` and `ChatstoreMemoryService`, over any repository that keeps named states.

This module knows the framework's sessions and states. A session is one of the repository under `session_key` of its
application, user and id, owned by the two as tenant and user; an event is kept as it came, under the name
``google-adk`` in the native form of its last message. A session's state is in its metadata, those of an application and
of a user are named states; an event brings all three in its own write.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import Conflict
from chatstore.extras import not_installed
from chatstore.ids import new_id, session_key
from chatstore.integrations.awaiting import Awaiting

try:
    from google.adk.errors._stale_session_error import StaleSessionError
    from google.adk.errors.already_exists_error import AlreadyExistsError
    from google.adk.errors.session_not_found_error import SessionNotFoundError
    from google.adk.events.event import Event
    from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
    from google.adk.memory.memory_entry import MemoryEntry
    from google.adk.sessions import _session_util
    from google.adk.sessions.base_session_service import BaseSessionService, ListSessionsResponse
    from google.adk.sessions.session import Session
    from google.adk.sessions.state import State
except ImportError as error:
    raise not_installed("Google ADK", "google-adk") from error

from chatstore.integrations.adk_events import load, names_of, said

if TYPE_CHECKING:
    from google.adk.sessions.base_session_service import GetSessionConfig

    from chatstore.aio import AsyncRepository
    from chatstore.messages import ChatSession
    from chatstore.records import MessageRecord

__all__ = ["ChatstoreMemoryService", "ChatstoreSessionService"]

#: Under which name messages, metadata and states keep what the framework stored, and what the column `source` says.
SOURCE: Final = "google-adk"
#: How many times as many messages are read where too few events were found, and sessions at a time.
_SPREAD, _PAGE = 3, 1000


class ChatstoreSessionService(Awaiting, BaseSessionService):
    """The sessions of a repository as a ``BaseSessionService`` of Google ADK.

    A writer whose session is not as it is stored is refused with ``StaleSessionError``, and nothing is written; an
    event that is stored already is not stored again.
    """

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Create a session with the states in *state*. Raises ``AlreadyExistsError``."""
        name = (session_id or "").strip() or new_id()
        deltas = _session_util.extract_json_safe_state_delta(state or {})
        about = {"app": app_name, "user": user_id, "id": name, "state": deltas["session"]}
        key = session_key(app_name, user_id, name)
        try:
            await self._owned(app_name, user_id).add_messages(
                key, [], expected_revision=0, metadata={SOURCE: about}
            )
        except Conflict as error:
            raise AlreadyExistsError(f"Session with id {name} already exists.") from error
        for namespace, values in _states(app_name, user_id, deltas).items():
            await self._store.set_states(namespace, values)
        return await self._session(await self._store.get_session(key), about, [])

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events, oldest first, as *config* narrows them; None for a missing one."""
        name = session_id.strip()
        key = session_key(app_name, user_id, name)
        wanted = config.num_recent_events if config else None
        since = (config.after_timestamp if config else None) or 0
        window = None if wanted is None else wanted + wanted // 4  # most events are one message
        while True:
            found = await self._read_session(key)
            if found is None:
                return None
            records = await self._store.get_records(key, last=window)
            if records.revision != found.revision:  # somebody wrote in between
                continue
            events = [event for record in records if (event := _event(record, app_name))]
            if wanted is None or window is None or len(events) >= wanted or len(records) < window:
                chosen = events if wanted is None else events[len(events) - min(wanted, len(events)) :]
                about = names_of(found, SOURCE, app_name, user_id, name) or {}
                return await self._session(found, about, [one for one in chosen if one.timestamp >= since])
            window *= _SPREAD

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Return the sessions of an application, or of a user of it, the oldest change first, without events."""
        found: list[Session] = []
        tenant = app_name if self._store.tenant_id is None else None
        cursor = None
        while True:
            page = await self._store.list_sessions(
                tenant_id=tenant, user_id=user_id, order="updated_at", limit=_PAGE, cursor=cursor
            )
            for session in page.items:
                about = names_of(session, SOURCE, app_name, user_id)
                if about and about["app"] == app_name:
                    found.append(_bare(session, about, [], {}))
            if (cursor := page.next_cursor) is None:
                return ListSessionsResponse(sessions=found)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session with its events; nothing happens where there is none. States of others stay."""
        await self._store.delete_session(session_key(app_name, user_id, session_id.strip()))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state of a user of an application, without the prefix ``user:``."""
        states = await self._store.get_states(_namespaces(app_name, user_id)[1])
        return {key: state.value for key, state in states.items()}

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store *event* and the three states that it changes, in one transaction; a partial one is not stored.

        Raises ``StaleSessionError`` where *session* is not as it is stored, ``SessionNotFoundError``.
        """
        if event.partial:
            return event
        key = session_key(session.app_name, session.user_id, session.id)
        recent = self._recent.get(key)
        known = recent is not None and str(recent.revision) == session._storage_update_marker
        found = recent if known else await self._read_session(key)
        if found is None:
            raise SessionNotFoundError(f"Session {session.id} not found.")
        expected = await self._expected(key, session, found)
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        deltas = _session_util.extract_json_safe_state_delta(event.actions.state_delta or {})
        about = names_of(found, SOURCE, session.app_name, session.user_id, session.id) or {}
        about = {**about, "state": {**about["state"], **deltas["session"]}}
        try:
            stored = await self._append(
                replace(found, revision=expected),
                said(event, SOURCE),
                {**found.metadata, SOURCE: about},
                _states(session.app_name, session.user_id, deltas),
            )
        except Conflict as error:
            if await self._read_session(key) is None:
                raise SessionNotFoundError(f"Session {session.id} not found.") from error
            raise StaleSessionError(
                f"Session {session.id} was changed since it was loaded: load it again."
            ) from error
        if stored.revision != expected + 1:  # it was there already
            return event
        session._storage_update_marker = str(stored.revision)
        session.last_update_time = stored[-1].created_at.timestamp()
        return self._commit_event_to_session(session, event)

    # ---- sessions and owners

    async def _expected(self, key: str, session: Session, found: ChatSession) -> int:
        """Return the revision that *session* was loaded at; one without it must have all events that are stored."""
        with suppress(TypeError, ValueError):
            return int(session._storage_update_marker or "")
        records = await self._store.get_records(key)
        ids = [event.id for record in records if (event := _event(record, session.app_name))]
        return records.revision if ids == [event.id for event in session.events] else found.revision - 1

    def _owned(self, app_name: str, user_id: str) -> AsyncRepository:
        """Return the repository in the scope of the application, where that is not taken, and the user."""
        tenant = app_name if self._store.tenant_id is None else None
        return self._store.scope(tenant_id=tenant, user_id=user_id)

    async def _session(self, found: ChatSession, about: dict[str, Any], events: list[Event]) -> Session:
        state: dict[str, Any] = {}
        prefixes = (State.APP_PREFIX, State.USER_PREFIX)
        for namespace, prefix in zip(_namespaces(about["app"], about["user"]), prefixes, strict=True):
            states = await self._store.get_states(namespace)
            state.update({prefix + key: one.value for key, one in states.items()})
        return _bare(found, about, events, {**about["state"], **state})


class ChatstoreMemoryService(Awaiting, BaseMemoryService):
    """What was said in a user's sessions, found by full text: nothing has to be added to it."""

    async def add_session_to_memory(self, session: Session) -> None:
        """Do nothing: a session of `ChatstoreSessionService` is found as it is."""

    async def search_memory(self, *, app_name: str, user_id: str, query: str) -> SearchMemoryResponse:
        """Return the ten messages that share the most words with *query*."""
        tenant = app_name if self._store.tenant_id is None else None
        found: dict[tuple[str, str], list[Any]] = {}
        for word in dict.fromkeys(query.split()[:20]):
            for hit in await self._store.search(word, tenant_id=tenant, user_id=user_id, limit=50):
                found.setdefault((hit.session_id, hit.message_id), []).append(hit)
        best = sorted(found.values(), key=lambda hits: (len(hits), hits[0].created_at), reverse=True)[:10]
        return SearchMemoryResponse(memories=[_memory(hits[0]) for hits in best])


def _memory(hit: Any) -> MemoryEntry:
    role = "model" if hit.type == "ai" else "user"
    content = {"role": role, "parts": [{"text": hit.content}]}
    return MemoryEntry(content=content, id=hit.message_id, author=role, timestamp=hit.created_at.isoformat())


def _bare(found: ChatSession, about: dict[str, Any], events: list[Event], state: dict[str, Any]) -> Session:
    moment = found.updated_at.timestamp()
    names = {"id": about["id"], "app_name": about["app"], "user_id": about["user"]}
    session = Session(**names, state=state, events=events, last_update_time=moment)
    session._storage_update_marker = str(found.revision)
    return session


def _event(record: MessageRecord, app_name: str) -> Event | None:
    """Return the event that *record* holds, or one that says the same; None for a part of one."""
    kept = record.message.native.get(SOURCE)
    if isinstance(kept, dict):
        return Event.model_validate(kept["event"]) if "event" in kept else None
    return load(record, app_name)


def _namespaces(app_name: str, user_id: str) -> tuple[str, str]:
    return session_key(SOURCE, "app", app_name), session_key(SOURCE, "user", app_name, user_id)


def _states(app_name: str, user_id: str, deltas: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the states of application and user that change, by their namespaces."""
    app, user = _namespaces(app_name, user_id)
    return {name: delta for name, delta in ((app, deltas["app"]), (user, deltas["user"])) if delta}
