"""Pydantic AI: `ChatstoreConversationStore`, the framework's store of conversations over any repository.

This module knows the framework's records and entries. A conversation is a session: a log of all its entries, those of
branches that were left among them, and the record in the session's metadata, written with them in one transaction. Each
entry is kept as it came, under the name ``pydantic-ai`` in its message's native form; one with several parts is several
messages, of which the last has it. What another framework stored follows whatever stands before it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

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
    from pydantic_ai.messages import ModelMessagesTypeAdapter
except ImportError as error:
    raise not_installed("Pydantic AI", "pydantic-ai") from error

from pydantic import ConfigDict, TypeAdapter

from chatstore.integrations.pydantic_messages import load, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatstore.messages import ChatSession, Message, MessageRecord

__all__ = ["ChatstoreConversationStore"]

#: Under which name messages and metadata keep what the framework stored, and what the column `source` says.
SOURCE: Final = "pydantic-ai"
#: Of a list, as the framework's own for messages: a dataclass by itself would have its own way with bytes.
_RECORDS: Final = TypeAdapter(
    list[ConversationRecord], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
)
#: How many messages are read for one that is wanted, since branches lie between; and at least.
_SPREAD, _LEAST = 3, 20


class ChatstoreConversationStore(Awaiting, ConversationStore):
    """The conversations of a repository as a ``ConversationStore`` of Pydantic AI.

    A record's ``scope`` is the user who owns the session, unless the repository is one user's already. A deletion
    deletes every entry of the conversation; its forks have copies of theirs.
    """

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return the record of a conversation, None where there is none."""
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
        new = [message for entry in new_entries for message in _dump(entry)]
        ids = {None, *(entry.id for entry in new_entries)}
        while True:
            recent = self._recent.pop(record.conversation_id, None)
            session = recent or await self._read_session(record.conversation_id)
            stored = await self._record(session) if session else None
            if (stored.revision if stored else None) != expected_revision:
                if recent:  # others may have written since
                    continue
                raise ConversationConflict(record.conversation_id)
            reached = ids | ({stored.head_id} if stored else set())
            messages = new if record.head_id in reached else [*await self._line(record, session), *new]
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
            line = _line_of(records, head_id, limit, whole=whole)
            if line is not None:
                return line
            if window is None or whole:
                raise MessageNotFound(f"an entry before {head_id!r} was deleted: restore the session")
            window *= _SPREAD

    # ---- sessions and records

    def _owns(self) -> bool:
        """Tell whether a record's scope is the owner of its session: not where all are one user's."""
        return self._store._scope.user_id is None

    async def _record(self, session: ChatSession) -> ConversationRecord:
        """Return the record of *session*, up to what others have stored behind it since."""
        kept = session.metadata.get(SOURCE)
        if isinstance(kept, dict):
            (record,) = _RECORDS.validate_json(json.dumps([kept["record"]]))
            if session.last_position <= kept["position"]:
                return record
        else:
            record = ConversationRecord(
                conversation_id=session.session_id, head_id=None, scope=session.user_id, revision=""
            )
        newest = await self._store.get_records(session.session_id, last=_LEAST)
        ours = [one for one in newest if _entry(one, None) is not None]
        head_id = ours[-1].message_id if ours else record.head_id
        revision = f"{record.revision}/{session.revision}"
        return replace(record, head_id=head_id, revision=revision, updated_at=session.updated_at)

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
        return [message for entry in line for message in _dump(entry)]


# ------------------------------------------------------------------------------------------------ entries and messages


def _line_of(
    records: Sequence[MessageRecord], head_id: str, limit: int | None, *, whole: bool
) -> list[ConversationEntry] | None:
    """Return the line up to *head_id*; None where an entry of it is not in *records*."""
    entries: dict[str | None, ConversationEntry] = {}
    before = None if whole else ""  # an id that no entry has: what stands there is not known
    for record in records:
        entry = _entry(record, before)
        if entry is not None:
            entries[entry.id] = entry
            before = entry.id
    line: list[ConversationEntry] = []
    at: str | None = head_id
    while at is not None and (limit is None or len(line) < limit):
        if at not in entries:
            return None
        line.append(entries[at])
        at = entries[at].parent_id
    return line[::-1]


def _entry(record: MessageRecord, before: str | None) -> ConversationEntry | None:
    """Return the entry that *record* holds; None for a part of one, and for what only its own framework knows."""
    kept = record.message.native.get(SOURCE)
    if isinstance(kept, dict):
        if "message" not in kept:
            return None
        (message,) = ModelMessagesTypeAdapter.validate_json(json.dumps([kept["message"]]))
        return ConversationEntry(id=record.message_id, parent_id=kept["parent_id"], message=message)
    made = load(record.message, record.created_at)
    return None if made is None else ConversationEntry(id=record.message_id, parent_id=before, message=made)


def _dump(entry: ConversationEntry) -> list[Message]:
    """Return the messages of *entry*: one for each part of a request, the last with the entry itself."""
    (native,) = ModelMessagesTypeAdapter.dump_python([entry.message], mode="json")
    messages = said(entry.message, SOURCE)
    for number, message in enumerate(messages[:-1], 1):
        message.id = f"{entry.id}#{number}"
        message.native[SOURCE].update(part_of=entry.id)
    messages[-1].id = entry.id
    messages[-1].native[SOURCE].update(parent_id=entry.parent_id, message=native)
    return messages
