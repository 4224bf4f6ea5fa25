"""The Claude Agent SDK: `ChatstoreSessionStore`, transcripts in any repository as a session store of the SDK.

This module knows the SDK's keys and lists; what a line says is known in `chatstore.integrations.claude_lines`. A
transcript is the session ``session_key(project, session)``, that of a subagent
``session_key(project, session, subpath)``; what the SDK lists by stands in the session's metadata.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import Conflict, MessageConflict, MessageNotFound, SessionExists, SessionNotFound
from chatstore.extras import not_installed
from chatstore.ids import session_key
from chatstore.integrations.awaiting import Awaiting
from chatstore.integrations.claude_lines import PROJECT, SESSION, SOURCE, SUBPATH, dump, load, spender

try:
    from claude_agent_sdk import fold_session_summary
except ImportError as error:
    raise not_installed("the Claude Agent SDK", "claude-agent") from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from claude_agent_sdk import SessionKey, SessionStoreEntry
    from claude_agent_sdk.types import SessionListSubkeysKey, SessionStoreListEntry, SessionSummaryEntry

    from chatstore.aio import AsyncRepository
    from chatstore.records import ChatSession
    from chatstore.repository import Repository

__all__ = ["ChatstoreSessionStore"]

#: The keys of a session's metadata beside the parts of its key: the SDK's summary, and up to which position that is.
SUMMARY: Final = "claude_summary"
FOLDED: Final = "claude_folded"
_PAGE: Final = 1_000
_REMEMBERED: Final = 100


class ChatstoreSessionStore(Awaiting):
    """Transcripts in a repository: pass it to ``ClaudeAgentOptions(session_store=…)``.

    Lines come back deep-equal, and can be read, searched and counted as messages. A scope of a repository keeps one
    owner's. Flushed eagerly or in batches, a batch is stored whole or not at all, and a repeated one not twice.
    """

    def __init__(self, repository: Repository | AsyncRepository) -> None:
        """Work on *repository*, which may be a scope; nothing is read or written yet."""
        super().__init__(repository)
        #: Of the transcripts written last: the answer whose tokens were counted last, '' for none.
        self._known: dict[str, str] = {}

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Append lines of a transcript, those left out whose ``uuid`` is stored already.

        Raises `InvalidMessage` for a line that is not JSON, `SessionExists` for a transcript of another owner; then
        nothing is written.
        """
        session_id, wanted = _id(key), _distinct(entries)
        while wanted:
            known = self._known.pop(session_id, None)
            if known is None:
                known = await self._look(session_id, key)
            counted, messages = known, []
            for entry in wanted:
                messages.append(load(entry, counted))
                counted = spender(entry) or counted
            created: dict[str, Any] = (
                {"metadata": _parts(key), "expected_revision": 0} if known is None else {}
            )
            try:
                done = await self._store.add_messages(session_id, messages, **created)
            except SessionExists:
                raise
            except MessageConflict:
                wanted = [entry for entry in wanted if not await self._has(session_id, entry)]
            except Conflict:
                continue  # another writer created it
            else:
                if (
                    done[0].position > 1 or created
                ):  # else it was deleted since it was looked at, and is to be looked at
                    self._remember(session_id, counted or "")
                else:
                    await self._look(session_id, key)
                return

    def _remember(self, session_id: str, counted: str) -> None:
        self._known[session_id] = counted
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _look(self, session_id: str, key: SessionKey) -> str | None:
        """Return whose tokens the newest line has ('': none), None for no session; mark a session that is not yet."""
        while True:
            try:
                session = await self._store.get_session(session_id)
                if session.metadata != (marked := {**session.metadata, **_parts(key)}):
                    await self._store.update_session(
                        session_id, metadata=marked, expected_revision=session.revision
                    )
            except SessionNotFound:
                return None
            except Conflict:
                continue  # another writer's append
            newest = await self._store.get_records(session_id, last=1)
            return next((spender(one.message.native.get(SOURCE) or {}) for one in newest), None) or ""

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return the lines of a transcript, oldest first; None for one that was never written, or is empty.

        What other frameworks stored in its session comes as lines that say the same.
        """
        lines: list[Any] = []
        before: str | None = None
        async for record in self._store.iter_records(_id(key)):
            line = record.message.native.get(SOURCE)
            if line is None:
                line = dump(record, before, key["session_id"])
            if line is not None:
                lines.append(line)
                before = line.get("uuid", before)
        return lines or None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the transcripts of a project, those of subagents left out, the newest first."""
        return [
            {"session_id": session.metadata[SESSION], "mtime": _mtime(session)}
            async for session in self._sessions({PROJECT: project_key, SUBPATH: ""})
        ]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the summaries of the transcripts that `list_sessions` lists, as the SDK makes them.

        What was appended since a summary was asked for last is folded into it now, and kept.
        """
        found = [session async for session in self._sessions({PROJECT: project_key, SUBPATH: ""})]
        return [
            {
                "session_id": session.metadata[SESSION],
                "mtime": _mtime(session),
                "data": await self._summary(session),
            }
            for session in found
        ]

    async def _summary(self, session: ChatSession) -> dict[str, Any]:
        """Return the SDK's summary of a transcript, brought up to date."""
        known, after = session.metadata.get(SUMMARY), session.metadata.get(FOLDED, 0)
        key: Any = {"project_key": session.metadata[PROJECT], "session_id": session.metadata[SESSION]}
        if known is not None and after == session.last_position:
            return dict(known)
        lines: list[Any] = []
        async for record in self._store.iter_records(session.session_id, after=after):
            after = record.position
            lines += [line for line in [record.message.native.get(SOURCE)] if line is not None]
        before: Any = known and {**key, "mtime": 0, "data": known}
        data: dict[str, Any] = fold_session_summary(before, key, lines)["data"]
        kept = {**session.metadata, SUMMARY: data, FOLDED: after}
        with suppress(Conflict, SessionNotFound):  # it was written to meanwhile: the next list keeps it
            await self._store.update_session(
                session.session_id, metadata=kept, expected_revision=session.revision, touch=False
            )
        return data

    async def delete(self, key: SessionKey) -> None:
        """Delete a transcript; with the transcripts of its subagents where it is not one of those."""
        if not key.get("subpath"):
            parts = {name: value for name, value in _parts(key).items() if name != SUBPATH}
            for session in [one async for one in self._sessions(parts)]:
                await self._store.delete_session(session.session_id)
        await self._store.delete_session(_id(key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session's subagents, sorted."""
        parts = {PROJECT: key["project_key"], SESSION: key["session_id"]}
        found = [session.metadata.get(SUBPATH) async for session in self._sessions(parts)]
        return sorted(filter(None, found))

    async def _sessions(self, metadata: Mapping[str, Any]) -> AsyncIterator[ChatSession]:
        cursor = None
        while True:
            page = await self._store.list_sessions(
                metadata=metadata, archived=None, limit=_PAGE, cursor=cursor
            )
            for session in page.items:
                yield session
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _has(self, session_id: str, entry: SessionStoreEntry) -> bool:
        try:
            await self._store.get_message(session_id, entry["uuid"])
        except (KeyError, MessageNotFound):
            return False
        return True


def _id(key: SessionKey) -> str:
    subpath = key.get("subpath")
    return session_key(key["project_key"], key["session_id"], *([subpath] if subpath else []))


def _distinct(entries: list[Any]) -> list[Any]:
    """Return *entries* without those whose ``uuid`` an earlier one has."""
    first = {entry["uuid"]: number for number, entry in reversed([*enumerate(entries)]) if "uuid" in entry}
    return [entry for number, entry in enumerate(entries) if first.get(entry.get("uuid"), number) == number]


def _parts(key: SessionKey) -> dict[str, Any]:
    return {PROJECT: key["project_key"], SESSION: key["session_id"], SUBPATH: key.get("subpath") or ""}


def _mtime(session: ChatSession) -> int:
    return int(session.updated_at.timestamp() * 1000)
