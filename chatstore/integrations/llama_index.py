"""LlamaIndex: `ChatstoreDBChatStore` and `ChatstoreChatStore`, its two kinds of chat store, and a memory that recalls.

This module knows the framework's stores and the status of their messages; what a message says is known in
`chatstore.integrations.llama_messages`. A key is a session. Up to which position a session is archived stands in its
metadata, under ``llama-index``; a message that was archived when it was stored says so in its native form.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from chatstore.arguments import check_natural
from chatstore.errors import Conflict, Invalid, NotFound, SessionNotFound
from chatstore.extras import not_installed
from chatstore.repository import Repository

try:
    from llama_index.core.storage.chat_store import BaseChatStore
    from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
    from llama_index.core.storage.chat_store.base_db import MessageStatus as Status
except ImportError as error:
    raise not_installed("LlamaIndex", "llama-index") from error

from pydantic import PrivateAttr

from chatstore.integrations.awaiting import Sessions
from chatstore.integrations.llama_memory import Awaited, ChatstoreMemoryBlock, Over
from chatstore.integrations.llama_messages import (
    SOURCE,
    again,
    archived_through,
    form,
    load,
    load_all,
    said,
    shown,
    with_status,
)

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import ChatMessage

    from chatstore.integrations.llama_messages import Shown
    from chatstore.messages import ChatSession, Records

__all__ = ["ChatstoreChatStore", "ChatstoreDBChatStore", "ChatstoreMemoryBlock"]

ACTIVE = Status.ACTIVE
#: How keys are listed, how many at a time, and how many messages are read for the last one.
_ORDER: Final = "created_at"
_PAGE, _NEAR = 1000, 20


class ChatstoreChatStore(Over, BaseChatStore):
    """The sessions of a repository as a ``BaseChatStore``: ``ChatMemoryBuffer.from_defaults(chat_store=…)``.

    It knows no status: archived messages are messages as any. The awaited methods are the framework's own, which run
    these in threads.
    """

    _store: Repository = PrivateAttr()

    def __init__(self, repository: Repository) -> None:
        """Work on *repository*, which may be a scope. Raises `Invalid` for an asynchronous one."""
        if not isinstance(repository, Repository):
            msg = "this store is synchronous: pass chatstore.connect(…), or use ChatstoreDBChatStore"
            raise Invalid(msg)
        super().__init__(repository)

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Put *messages* in the place of all others, in one transaction."""
        self._store.replace_messages(key, [said(message) for message in messages])

    def get_messages(self, key: str) -> list[ChatMessage]:
        """Return the messages, oldest first; none where there are none."""
        return [found for found in load_all(self._store.get_messages(key)) if found is not None]

    def add_message(self, key: str, message: ChatMessage) -> None:
        """Append *message*."""
        self._store.add_messages(key, [said(message)])

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Delete all messages, keep the session, and return what was deleted; None where there was nothing."""
        while records := self._store.get_records(key):
            with suppress(Conflict):  # somebody wrote in between
                self._store.replace_messages(key, [], expected_revision=records.revision)
                return [one.message for one in shown(records)]
        return None

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at *idx* and return it; -1 is the last one. None where there is no such one."""
        last = _NEAR - idx if idx < 0 else None
        while True:
            records = self._store.get_records(key, last=last)
            found = shown(records)
            if -len(found) <= idx < len(found):
                with suppress(NotFound):  # somebody was faster
                    self._store.delete_message(key, found[idx].position)
                    return found[idx].message
            elif last is None or len(records) < last:
                return None
            else:
                last = None

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Delete the newest message and return it; None without messages."""
        return self.delete_message(key, -1)

    def get_keys(self) -> list[str]:
        """Return the sessions that have messages, the oldest first."""
        found: list[str] = []
        cursor = None
        while True:
            page = self._store.list_sessions(archived=None, order=_ORDER, limit=_PAGE, cursor=cursor)
            found += [session.session_id for session in page.items if session.message_count]
            if (cursor := page.next_cursor) is None:
                return found


class ChatstoreDBChatStore(Awaited, AsyncDBChatStore):
    """The sessions of a repository as an ``AsyncDBChatStore``: ``Memory.from_defaults(chat_store=…)``.

    Each change is one transaction. Archived messages stay where they are.
    """

    _recent: Sessions = PrivateAttr(default_factory=Sessions)

    async def get_messages(
        self,
        key: str,
        status: Status | None = ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Return the messages of *status*, oldest first: of them, *limit* after the first *offset*."""
        begin = check_natural(offset or 0, "offset")
        end = None if limit is None else begin + check_natural(limit, "limit")
        found = (await self._read(key, status, end))[1]
        return [one.message for one in found[begin:end]]

    async def count_messages(self, key: str, status: Status | None = ACTIVE) -> int:
        """Return how many messages of *status* there are."""
        return len((await self._read(key, status))[1])

    async def add_message(self, key: str, message: ChatMessage, status: Status = ACTIVE) -> None:
        """Append *message* with *status*."""
        await self.add_messages(key, [message], status)

    async def add_messages(self, key: str, messages: list[ChatMessage], status: Status = ACTIVE) -> None:
        """Append *messages* with *status*, all or none and next to each other."""
        made = [with_status(said(message), status) for message in messages]
        known = self._recent.pop(key, None)
        done = await self._store.add_messages(key, made)
        if known:
            self._recent.advance(known, done.revision)

    async def set_messages(self, key: str, messages: list[ChatMessage], status: Status = ACTIVE) -> None:
        """Put *messages*, with *status*, in the place of all others, whatever theirs."""
        await self._store.replace_messages(key, [with_status(said(message), status) for message in messages])

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at position *idx*, as its record says, and return it; None where there is none."""
        with suppress(NotFound):
            message = load((await self._store.get_message(key, idx)).message)
            if message is not None:
                await self._store.delete_message(key, idx)
                return message
        return None

    async def delete_messages(self, key: str, status: Status | None = None) -> None:
        """Delete the messages of *status*, or all, and keep the session."""
        if status is not None:
            await self._remove(key, status)
        else:
            with suppress(SessionNotFound):
                await self._store.clear(key)

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest *n* active messages and return them."""
        return await self._remove(key, ACTIVE, check_natural(n, "n"))

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest *n* active messages and return them."""
        while True:
            session, found = await self._read(key, ACTIVE, check_natural(n, "n"))
            chosen = found[:n]
            if session is None or not chosen:
                return []
            kept = {"session": key, "archived": chosen[-1].position}
            with suppress(Conflict, NotFound):  # somebody wrote in between
                self._recent[key] = await self._store.update_session(
                    key, metadata={**session.metadata, SOURCE: kept}, expected_revision=session.revision
                )
                return [one.message for one in chosen]

    async def get_keys(self) -> list[str]:
        """Return the sessions that have messages, the oldest first."""
        found: list[str] = []
        cursor = None
        while True:
            page = await self._store.list_sessions(archived=None, order=_ORDER, limit=_PAGE, cursor=cursor)
            found += [session.session_id for session in page.items if session.message_count]
            if (cursor := page.next_cursor) is None:
                return found

    # ---- statuses

    async def _read(
        self, key: str, status: Status | None, wanted: int | None = None
    ) -> tuple[ChatSession | None, list[Shown]]:
        """Return the session and its messages of *status*, at least the first *wanted* where there are as many."""

        def make(records: Records, session: ChatSession | None) -> tuple[int, list[Shown]]:
            return len(records), [one for one in shown(records, session) if status in (None, one.status)]

        window = wanted
        while True:
            begin = archived_through if status == ACTIVE else None
            read = self._recent.with_records(self._store, key, begin, window, form, make)
            session, (count, found) = await read
            if window is None or wanted is None or len(found) >= wanted or count < window:
                return session, found
            window *= 2

    async def _remove(self, key: str, status: Status, n: int | None = None) -> list[ChatMessage]:
        """Delete the messages of *status*, or the oldest *n* of them, in one transaction, and return them.

        Those that stay are stored anew: nothing else deletes some of a session on condition that nobody wrote.
        """
        while True:
            read = self._recent.with_records(self._store, key, None, None, None, lambda records, _: records)
            session, records = await read
            chosen = [one for one in shown(records, session) if one.status == status][:n]
            if not chosen:
                return []
            gone = {one.position for one in chosen}
            kept = [again(record, session) for record in records if record.position not in gone]
            with suppress(Conflict, NotFound):
                await self._store.replace_messages(key, kept, expected_revision=records.revision)
                return [one.message for one in chosen]
