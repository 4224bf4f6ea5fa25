"""`AsyncRepository`: what `chatstore.repository.Repository` is, awaited.

Written by ``python -m tests.reference`` from ``chatstore/repository.py``. Change that file, then run the command.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self
from chatstore import arguments, codec
from chatstore.arguments import UNSET, check_revision, make_changes, make_page, make_session, utcnow
from chatstore.codec import CHUNK, answered, batch, chunks, counted, rows_of
from chatstore.contract import AddMessages, AskDurability, CountMessages, CreateSession, DeleteMessage, DeleteSession, ForkSession, GetMessage, GetMessages, GetRecords, GetSession, ListSessions, LoadRecords, PopMessage, Purge, ReplaceMessages, Search, Truncate, UpdateMessage, UpdateSession, Usage
from chatstore.errors import CorruptRecord, PartialWrite
from chatstore.failures import missing
from chatstore.ids import check_session_id
from chatstore.repository import Facade, Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, AsyncIterator, Mapping, Sequence
    from datetime import datetime
    from chatstore.contract import Answer, C, T
    from chatstore.messages import ChatSession, Durability, Message, MessageRecord, Page, PurgeReport, Records, SearchHit, UsageRow


class AsyncRepository(Facade):
    """Sessions with their messages: every method of `Repository`, awaited.

    Every method may raise `StorageUnavailable` (the storage did not answer or stayed busy), `SchemaError`
    (the database needs `chatstore upgrade`) and, for bad arguments, `Invalid`; bad input changes nothing stored. A call
    that is cancelled is stored whole or not at all.
    """

    @abstractmethod
    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        """Carry out *call* by *operation*, a method of the core, which is lent what it works on."""

    # ---- sessions

    async def create_session(
        self,
        session_id: str,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_at: datetime | None = None,
    ) -> ChatSession:
        """Create an empty session and return it.

        In a scope the session belongs to its owner. Ids have 1 to 255 characters; *metadata* is a JSON object of at
        most 30 levels. Raises `SessionExists` if the id is in use, by any owner (an expired session frees its id),
        `InvalidSessionId` or `Invalid` for bad values.
        """
        given = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "title": title,
            "metadata": metadata,
            "expires_at": expires_at,
        }
        new = make_session(self._scope, session_id, given)
        return await self._run(self._core.create_session, CreateSession(self._scope, utcnow(), new))

    async def get_session(self, session_id: str) -> ChatSession:
        """Return the session's own data. Raises `SessionNotFound`."""
        found = await self._run(self._core.get_session, GetSession(*self._at(session_id)))
        if found is None:
            raise missing(session_id)
        return found

    async def update_session(
        self,
        session_id: str,
        *,
        title: str | None = UNSET,
        metadata: Mapping[str, Any] | None = UNSET,
        archived: bool = UNSET,
        expires_at: datetime | None = UNSET,
        user_id: str | None = UNSET,
        tenant_id: str | None = UNSET,
        expected_revision: int | None = None,
    ) -> ChatSession:
        """Change the session and return it: what is left out stays, None clears.

        *metadata* replaces the whole object. Only a repository without a scope can change the owner (when a visitor
        logs in). Raises `SessionNotFound`, `Conflict` if the session is not at *expected_revision*, `Invalid`.
        """
        given = {
            "title": title,
            "metadata": metadata,
            "archived": archived,
            "expires_at": expires_at,
            "user_id": user_id,
            "tenant_id": tenant_id,
        }
        changes, revision = make_changes(self._scope, given), check_revision(expected_revision)
        call = UpdateSession(*self._at(session_id), changes, revision)
        return await self._run(self._core.update_session, call)

    async def delete_session(self, session_id: str) -> bool:
        """Delete the session with all its messages; return whether there was one."""
        return await self._run(self._core.delete_session, DeleteSession(*self._at(session_id)))

    async def list_sessions(
        self,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        archived: bool | None = False,
        metadata: Mapping[str, Any] | None = None,
        updated_since: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ChatSession]:
        """Return a page of sessions, newest first by (updated_at, session_id), at most *limit* (up to 1,000).

        *archived* False leaves archived sessions out, True lists only these, None both. *metadata* selects sessions
        whose top-level keys have these values. *updated_since* is inclusive. The list is live: a session that changes
        while you page moves to the front. Raises `InvalidCursor` for a malformed cursor, or one of other filters.
        """
        wanted = arguments.make_session_filter(
            tenant_id=tenant_id,
            user_id=user_id,
            archived=archived,
            metadata=metadata,
            updated_since=updated_since,
        )
        digest = wanted.digest(self._scope)
        start, size = arguments.decode_cursor(cursor, digest), arguments.check_page_limit(limit)
        call = ListSessions(self._scope, utcnow(), wanted, size + 1, start)
        found = await self._run(self._core.list_sessions, call) if size else []
        return make_page(found, size, digest)

    async def fork_session(
        self, session_id: str, new_session_id: str, *, through: int | None = None
    ) -> ChatSession:
        """Copy the session, with its messages up to position *through* (inclusive; None: all), and return the copy.

        Positions, ids and times stay; title, metadata and owner are copied. Raises `SessionNotFound` for the
        source, `SessionExists` for the target.
        """
        if through is not None:
            through = arguments.check_natural(through, "through")
        call = ForkSession(*self._at(session_id), check_session_id(new_session_id), through)
        return await self._run(self._core.fork_session, call)

    async def load_records(self, session_id: str, records: Iterable[MessageRecord]) -> int:
        """Store records with their own positions, times and ids; return how many were new.

        For import and copy. Creates the session, owned by the scope, where it is missing. A session that had no
        message of its own gets the first record's time as `created_at`, unless that is later: it began elsewhere.
        Idempotent by message id; written in chunks, each in a transaction. Raises `Conflict` for a new record at or
        below another record's position, `MessageConflict` for a known id with another body, `InvalidMessage`,
        `SessionExists`.
        """
        check_session_id(session_id)
        new = 0
        for part in chunks(records):
            call = LoadRecords(*self._at(session_id), rows_of(session_id, part))
            new += await self._run(self._core.load_records, call)
        return new

    # ---- messages

    async def add_messages(
        self, session_id: str, messages: Iterable[Message], *, expected_revision: int | None = None
    ) -> Records:
        """Append *messages*, all or none and next to each other, and return their records in the order passed.

        Creates the session if it is missing. Any number of writers succeed. A message whose ``id`` is stored already
        is not stored again: its record is returned, so that the same call can be repeated. If its body differs, it
        raises `MessageConflict`. A message without an id is always appended. With *expected_revision* (0: the
        session must not exist yet) a session at another revision raises `Conflict`, unless every message is stored
        already. An empty list does nothing. Raises `InvalidMessage`, `MessageTooLarge`, and `SessionExists` if the
        id belongs to another owner; then nothing is written. Some services limit what is atomic
        (`capabilities.atomic_batch`): more messages are written in pieces of that size, in order, and `PartialWrite`
        says how many are stored if a piece fails.
        """
        revision = None if expected_revision is None else check_revision(expected_revision)
        now = utcnow()
        made = batch(session_id, messages, now)
        if not made.drafts:
            return await self.get_records(session_id, last=0)
        try:
            call = AddMessages(self._scope, now, session_id, made.drafts, revision)
            done = await self._run(self._core.add_messages, call)
        except PartialWrite as error:
            raise counted(session_id, made, error) from error.__cause__
        return answered(session_id, made, done)

    async def get_messages(
        self,
        session_id: str,
        *,
        last: int | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[Message]:
        """Return messages, oldest first: those between the exclusive positions *after* and *before*.

        *last* takes the newest of these, *limit* the oldest; both together raise `Invalid`. To scroll up, pass
        ``before=p, last=20``. A missing session has no messages. Raises `CorruptRecord` for damaged records.
        """
        chosen = arguments.make_window(last, after, before, limit)
        return await self._run(self._core.get_messages, GetMessages(*self._at(session_id), chosen))

    async def get_records(
        self,
        session_id: str,
        *,
        last: int | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Records:
        """Return the messages as records, with the session's ``revision`` at that moment (0: no session)."""
        chosen = arguments.make_window(last, after, before, limit)
        return await self._run(self._core.get_records, GetRecords(*self._at(session_id), chosen))

    async def iter_records(self, session_id: str, *, after: int | None = None) -> AsyncIterator[MessageRecord]:
        """Yield the records after position *after*, oldest first, in bounded memory.

        It reads page by page, not one snapshot: messages appended meanwhile are included. Damaged records are left
        out, and named in one `CorruptRecord` at the end.
        """
        walk = Walk(session_id, after)
        while walk.more:
            try:
                part = walk.step(await self.get_records(session_id, after=walk.position, limit=CHUNK))
            except CorruptRecord as error:
                part = walk.passed(error)
            for record in part:
                yield record
        walk.end()

    async def get_message(self, session_id: str, key: int | str) -> MessageRecord:
        """Return one record: *key* is a position (int) or a message id (str).

        Raises `SessionNotFound`, `MessageNotFound`.
        """
        call = GetMessage(*self._at(session_id), arguments.check_message_key(key))
        return await self._run(self._core.get_message, call)

    async def update_message(
        self, session_id: str, key: int | str, message: Message, *, expected_revision: int | None = None
    ) -> MessageRecord:
        """Replace a stored message, which keeps its position, id and time; return the new record.

        *key* is a position (int) or a message id (str). Raises `SessionNotFound`, `MessageNotFound`, `Conflict` if the
        session is not at *expected_revision*, `InvalidMessage` if *message* has another id.
        """
        scope, now, session_id = self._at(session_id)
        key, revision = arguments.check_message_key(key), check_revision(expected_revision)
        call = UpdateMessage(scope, now, session_id, key, codec.encode(message, now=now), revision)
        return await self._run(self._core.update_message, call)

    async def delete_message(self, session_id: str, key: int | str) -> None:
        """Delete one message by position (int) or id (str); its position is not used again, its id may be.

        Raises `SessionNotFound`, `MessageNotFound`.
        """
        call = DeleteMessage(*self._at(session_id), arguments.check_message_key(key))
        await self._run(self._core.delete_message, call)

    async def pop_message(self, session_id: str) -> MessageRecord | None:
        """Delete the newest message and return its record; None without messages."""
        return await self._run(self._core.pop_message, PopMessage(*self._at(session_id)))

    async def count_messages(self, session_id: str) -> int:
        """Return the number of messages; 0 for a missing session."""
        return await self._run(self._core.count_messages, CountMessages(*self._at(session_id)))

    async def truncate(self, session_id: str, *, after: int) -> None:
        """Delete the messages after position *after*; later messages get new positions."""
        call = Truncate(*self._at(session_id), arguments.check_natural(after, "after"))
        await self._run(self._core.truncate, call)

    async def clear(self, session_id: str) -> None:
        """Delete all messages and keep the session."""
        await self.truncate(session_id, after=0)

    async def replace_messages(
        self, session_id: str, messages: Iterable[Message], *, expected_revision: int | None = None
    ) -> Records:
        """Replace all stored messages by *messages*, in one transaction; return the new records.

        Creates the session if it is missing. The new messages get new positions. Raises `Conflict` if the session
        is not at *expected_revision*, `SessionExists` if the id belongs to another owner, `InvalidMessage`.
        """
        revision, now = check_revision(expected_revision), utcnow()
        made = batch(session_id, messages, now)
        call = ReplaceMessages(self._scope, now, session_id, made.drafts, revision)
        return answered(session_id, made, await self._run(self._core.replace_messages, call))

    # ---- across sessions

    async def search(
        self,
        query: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        types: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
    ) -> list[SearchHit]:
        """Return messages that contain all words of *query*, best first, at most *limit* (up to 1,000).

        Words are runs of letters and digits, compared without case; there is no stemming, no prefix and no
        syntax. ``rank`` is comparable only within one result. *since* is inclusive, *until* exclusive.
        Raises `NotSupported` on DynamoDB and Cosmos DB, which have no full text.
        """
        wanted = arguments.make_search_filter(
            query,
            session=session_id,
            tenant_id=tenant_id,
            user_id=user_id,
            types=types,
            since=since,
            until=until,
            limit=limit,
        )
        if not wanted.words or not wanted.limit:
            return []
        return await self._run(self._core.search, Search(self._scope, utcnow(), wanted))

    async def usage(
        self,
        *,
        by: Sequence[str] = ("day", "model"),
        user_id: str | None = None,
        tenant_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[UsageRow]:
        """Return messages and tokens summed by *by* (of day, model, user_id, tenant_id, session_id), in their order.

        Each message counts once, in the session it was stored in: what a fork copied (positions up to its
        ``forked_at``) is no usage. What was deleted, truncated or replaced counts no longer: keep the rows that this
        returns where you must know what was ever spent. Days are UTC days; *since* is inclusive, *until* exclusive.
        Keys that are not in *by* are None. Raises `Invalid` for a key that is not one of these.
        """
        wanted = arguments.make_usage_filter(
            by, tenant_id=tenant_id, user_id=user_id, since=since, until=until
        )
        return await self._run(self._core.usage, Usage(self._scope, utcnow(), wanted))

    async def purge(
        self,
        *,
        updated_before: datetime | None = None,
        archived_only: bool = False,
        expired_only: bool | None = None,
        dry_run: bool = False,
    ) -> PurgeReport:
        """Delete the sessions that meet all conditions, and return how many; without conditions, the expired ones.

        *updated_before* is exclusive. *dry_run* only counts. Sessions are deleted in batches: after an error some are
        gone, and those of a batch during which the connection broke may be missing from the report. Raises `Invalid`
        if *expired_only* is False and there is no other condition.
        """
        rule = arguments.make_purge_rule(
            updated_before, archived_only=archived_only, expired_only=expired_only, dry_run=dry_run
        )
        return await self._run(self._core.purge, Purge(self._scope, utcnow(), rule))

    # ---- the repository itself

    async def durability(self) -> Durability:
        """Return what this storage keeps when the process ends or the machine crashes."""
        return await self._run(self._core.durability, AskDurability(self._scope, utcnow()))

    async def close(self) -> None:
        """Close the connections of this repository; an engine or client that was passed in stays open.

        A repository made from a URL can be used again: it opens new connections, which another call closes.
        """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
