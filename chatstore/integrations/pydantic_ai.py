"""Pydantic AI: `ChatstoreConversationStore`, the framework's store of conversations over any repository.

This module knows the framework's records and entries. A conversation is a session: a log of all its entries, those of
branches that were left among them, and the record in the session's metadata, written with them in one transaction. Each
entry is kept as it came, under the name ``pydantic-ai`` in its message's native form; one with several parts is several
messages, of which the last has it. What another framework stored follows whatever stands before it.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from chatstore.errors import Conflict, MessageNotFound
from chatstore.extras import not_installed
from chatstore.integrations.awaiting import Awaiting

try:
    from pydantic_ai.conversation_store import (
        ConversationConflict,
        ConversationEntry,
        ConversationRecord,
        ConversationStore,
    )
    from pydantic_ai.run import AgentRunResult
except ImportError as error:
    raise not_installed("Pydantic AI", "pydantic-ai") from error

from pydantic import ConfigDict, TypeAdapter

from chatstore.integrations.pydantic_entries import SOURCE, dump, line_of, link
from chatstore.strictjson import dump_checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_ai import Conversation

    from chatstore.messages import ChatSession, Message

__all__ = ["ChatstoreConversationStore"]

#: Of a list, as the framework's own for messages: a dataclass by itself would have its own way with bytes.
_RECORDS: Final = TypeAdapter(
    list[ConversationRecord], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
)
#: How many messages are read for one that is wanted, since branches lie between; and at least.
_SPREAD, _LEAST = 3, 20
#: The revision of the conversation that is being saved, until its record has been asked for.
_saved: ContextVar[str | None] = ContextVar("chatstore_pydantic_ai_saved", default=None)


class ChatstoreConversationStore(Awaiting, ConversationStore):
    """The conversations of a repository as a ``ConversationStore`` of Pydantic AI.

    A record's ``scope`` is the user who owns the session, unless the repository is one user's already. A deletion
    deletes every entry of the conversation; its forks have copies of theirs.
    """

    async def save(
        self, conversation: Conversation | AgentRunResult[Any], *, scope: str | None = None
    ) -> list[ConversationEntry]:
        """Store what is new, as the framework does it. Raises ``ConversationConflict``.

        Where *conversation* goes on from what this object wrote last, that is not read again: the write depends on it.
        """
        held = conversation.conversation if isinstance(conversation, AgentRunResult) else conversation
        token = _saved.set(held.revision)
        try:
            entries: list[ConversationEntry] = await super().save(conversation, scope=scope)
        finally:
            _saved.reset(token)
        return entries

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return the record of a conversation, None where there is none."""
        expected = _saved.get()
        _saved.set(None)  # if it is asked for once more, then because something was not as expected
        session = self._recent.get(conversation_id) if expected else None
        if session is None or (_newest(session) or {}).get("revision") != expected:
            session = await self._read_session(conversation_id)
        return None if session is None else await self._record(session)

    async def read_records(
        self, *, scope: str | None = None, limit: int | None = None
    ) -> list[ConversationRecord]:
        """Return the newest *limit* records, those of *scope*; archived conversations are left out."""
        found: list[ConversationRecord] = []
        user_id = scope if self._owns() else None
        cursor = None
        while limit is None or len(found) < limit:
            page = await self._store.list_sessions(user_id=user_id, limit=100, cursor=cursor)
            records = [await self._record(session) for session in page.items]
            found += [record for record in records if scope in (None, record.scope)]
            if (cursor := page.next_cursor) is None:
                break
        return found[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store the record and its new entries in one transaction. Raises ``ConversationConflict``."""
        new = dump(new_entries)
        ids = {None, *(entry.id for entry in new_entries)}
        while True:
            recent = self._recent.pop(record.conversation_id, None)
            session = recent or await self._read_session(record.conversation_id)
            head_id, revision = await self._end(session) if session else (None, None)
            if revision != expected_revision:
                if recent:  # others may have written since
                    continue
                raise ConversationConflict(record.conversation_id)
            is_there = record.head_id == head_id or record.head_id in ids
            messages = new if is_there else [*await self._line(record, session), *new]
            position = (session.last_position if session else 0) + len(messages)
            kept = {"record": _RECORDS.dump_python([record], mode="json")[0], "position": position}
            try:
                if session:
                    await self._append(session, messages, {**session.metadata, SOURCE: kept})
                else:
                    owner = record.scope if self._owns() else None
                    store = self._store if owner is None else self._store.scope(user_id=owner)
                    await store.add_messages(
                        record.conversation_id, messages, expected_revision=0, metadata={SOURCE: kept}
                    )
            except Conflict as error:
                if type(error) is not Conflict:  # the id is somebody else's
                    raise ConversationConflict(record.conversation_id) from error
            else:
                return

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation with all its entries. Raises ``ConversationConflict``."""
        while True:
            session = await self._read_session(conversation_id)
            if session is None or (await self._record(session)).revision != expected_revision:
                raise ConversationConflict(conversation_id)
            with suppress(Conflict):
                if await self._store.delete_session(conversation_id, expected_revision=session.revision):
                    return

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry by its id, in whatever conversation it is. Raises `MessageNotFound`, a ``LookupError``."""
        return (await self.read_history(entry_id, limit=1))[0]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the line up to *head_id*, oldest first, or its last *limit*. Raises `MessageNotFound`."""
        if head_id is None or limit == 0:
            return []
        head = await self._store.find_message(head_id)
        window = None if limit is None else max(_SPREAD * limit, _LEAST)
        while True:
            records = await self._store.get_records(head.session_id, before=head.position + 1, last=window)
            whole = window is None or len(records) < window
            line = line_of(records, head_id, limit, whole=whole)
            if line is not None:
                return line
            if window is None or whole:
                raise MessageNotFound(f"an entry before {head_id!r} was deleted: restore the session")
            window *= _SPREAD

    # ---- sessions and records

    def _owns(self) -> bool:
        """Tell whether a record's scope is the owner of its session: not where all are one user's."""
        return self._store.user_id is None

    async def _record(self, session: ChatSession) -> ConversationRecord:
        """Return the record of *session*, up to what others have stored behind it since."""
        kept = session.metadata.get(SOURCE)
        if isinstance(kept, dict):
            (record,) = _RECORDS.validate_json(dump_checked([kept["record"]]))
        else:
            record = ConversationRecord(
                conversation_id=session.session_id, head_id=None, scope=session.user_id, revision=""
            )
        head_id, revision = await self._end(session)
        if revision == record.revision:
            return record
        return replace(record, head_id=head_id, revision=revision, updated_at=session.updated_at)

    async def _end(self, session: ChatSession) -> tuple[str | None, str]:
        """Return the head and the revision of the record of *session*."""
        if record := _newest(session):
            return record["head_id"], record["revision"]
        kept = session.metadata.get(SOURCE)
        record = kept["record"] if isinstance(kept, dict) else {"head_id": None, "revision": ""}
        newest = await self._store.get_records(session.session_id, last=_LEAST)
        ours = [one.message_id for one in newest if link(one, None)]
        return ours[-1] if ours else record["head_id"], f"{record['revision']}/{session.revision}"

    async def _line(self, record: ConversationRecord, session: ChatSession | None) -> list[Message]:
        """Return what the session needs beside new entries to hold the line of *record*: nothing if it is there."""
        head_id = cast("str", record.head_id)
        try:
            if session is not None:
                await self._store.get_message(session.session_id, head_id)
                return []
        except MessageNotFound:
            pass
        try:
            line = await self.read_history(head_id)
        except MessageNotFound as error:
            raise ConversationConflict(record.conversation_id) from error
        return dump(line)


def _newest(session: ChatSession) -> dict[str, Any] | None:
    """Return the record that *session* keeps, as JSON; None where others have stored something since."""
    kept = session.metadata.get(SOURCE)
    if not isinstance(kept, dict) or session.last_position > kept["position"]:
        return None
    record: dict[str, Any] = kept["record"]
    return record
