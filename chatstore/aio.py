"""`AsyncRepository`: the contract of `chatstore.repository.Repository`, word for word, with ``await``.

This pair is the only one written by hand, and a test compares it. This module knows how to await; what is checked,
and what each operation does, is written once, elsewhere.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

from chatstore import arguments, codec
from chatstore.arguments import UNSET, utcnow
from chatstore.core import (
    CHUNK,
    Answer,
    Args,
    T,
    Walk,
    answered,
    batch,
    changes_of,
    chunks,
    counted,
    expected,
    missing,
    new_session,
    page_of,
    rows_of,
)
from chatstore.errors import CorruptRecord, PartialWrite
from chatstore.repository import Facade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from chatstore.messages import (
        ChatSession,
        Durability,
        Message,
        MessageRecord,
        Page,
        PurgeReport,
        Records,
        SearchHit,
        UsageRow,
    )


class AsyncRepository(Facade):
    """Conversations, each a session of messages in order; every method as `Repository` promises, awaited."""

    @abstractmethod
    async def _run(self, operation: Callable[[*Args], Answer[T]], /, *args: *Args) -> T:
        """As `Repository._run`."""

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
        """As `Repository.create_session`."""
        given = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "title": title,
            "metadata": metadata,
            "expires_at": expires_at,
        }
        return await self._run(self._core.create, new_session(self._scope, session_id, given), utcnow())

    async def get_session(self, session_id: str) -> ChatSession:
        """As `Repository.get_session`."""
        found = await self._run(self._core.get, self._scope, arguments.session_id(session_id), utcnow())
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
        """As `Repository.update_session`."""
        given = {
            "title": title,
            "metadata": metadata,
            "archived": archived,
            "expires_at": expires_at,
            "user_id": user_id,
            "tenant_id": tenant_id,
        }
        changes = changes_of(self._scope, given)
        arguments.session_id(session_id)
        return await self._run(
            self._core.update, self._scope, session_id, changes, expected(expected_revision), utcnow()
        )

    async def delete_session(self, session_id: str) -> bool:
        """As `Repository.delete_session`."""
        return await self._run(self._core.delete, self._scope, arguments.session_id(session_id), utcnow())

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
        """As `Repository.list_sessions`."""
        wanted = arguments.session_filter(
            tenant_id=tenant_id,
            user_id=user_id,
            archived=archived,
            metadata=metadata,
            updated_since=updated_since,
        )
        digest = wanted.digest(self._scope)
        start, size = arguments.keyset(cursor, digest), arguments.page_limit(limit)
        found = (
            await self._run(self._core.sessions, self._scope, wanted, size + 1, start, utcnow())
            if size
            else []
        )
        return page_of(found, size, digest)

    async def fork_session(
        self, session_id: str, new_session_id: str, *, through: int | None = None
    ) -> ChatSession:
        """As `Repository.fork_session`."""
        arguments.session_id(session_id), arguments.session_id(new_session_id)
        if through is not None:
            through = arguments.natural(through, "through")
        return await self._run(self._core.fork, self._scope, session_id, new_session_id, through, utcnow())

    async def load_records(self, session_id: str, records: Iterable[MessageRecord]) -> int:
        """As `Repository.load_records`."""
        arguments.session_id(session_id)
        new = 0
        for part in chunks(records):
            new += await self._run(
                self._core.load, self._scope, session_id, rows_of(session_id, part), utcnow()
            )
        return new

    # ---- messages

    async def add_messages(
        self, session_id: str, messages: Iterable[Message], *, expected_revision: int | None = None
    ) -> Records:
        """As `Repository.add_messages`."""
        revision, now = expected(expected_revision), utcnow()
        made = batch(session_id, messages, now)
        if not made.drafts:
            return await self.get_records(session_id, last=0)
        try:
            done = await self._run(self._core.append, self._scope, session_id, made.drafts, revision, now)
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
        """As `Repository.get_messages`."""
        arguments.session_id(session_id)
        chosen = arguments.window(last, after, before, limit)
        return await self._run(self._core.messages, self._scope, session_id, chosen, utcnow())

    async def get_records(
        self,
        session_id: str,
        *,
        last: int | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Records:
        """As `Repository.get_records`."""
        arguments.session_id(session_id)
        chosen = arguments.window(last, after, before, limit)
        return await self._run(self._core.records, self._scope, session_id, chosen, utcnow())

    async def iter_records(
        self, session_id: str, *, after: int | None = None
    ) -> AsyncIterator[MessageRecord]:
        """As `Repository.iter_records`."""
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
        """As `Repository.get_message`."""
        arguments.session_id(session_id)
        return await self._run(
            self._core.message, self._scope, session_id, arguments.message_key(key), utcnow()
        )

    async def update_message(
        self, session_id: str, key: int | str, message: Message, *, expected_revision: int | None = None
    ) -> MessageRecord:
        """As `Repository.update_message`."""
        arguments.session_id(session_id)
        key, revision, now = arguments.message_key(key), expected(expected_revision), utcnow()
        draft = codec.encode(message, now=now)
        return await self._run(self._core.edit, self._scope, session_id, key, draft, revision, now)

    async def delete_message(self, session_id: str, key: int | str) -> None:
        """As `Repository.delete_message`."""
        arguments.session_id(session_id)
        await self._run(self._core.remove, self._scope, session_id, arguments.message_key(key), utcnow())

    async def pop_message(self, session_id: str) -> MessageRecord | None:
        """As `Repository.pop_message`."""
        return await self._run(self._core.pop, self._scope, arguments.session_id(session_id), utcnow())

    async def count_messages(self, session_id: str) -> int:
        """As `Repository.count_messages`."""
        return await self._run(self._core.count, self._scope, arguments.session_id(session_id), utcnow())

    async def truncate(self, session_id: str, *, after: int) -> None:
        """As `Repository.truncate`."""
        arguments.session_id(session_id)
        await self._run(
            self._core.truncate, self._scope, session_id, arguments.natural(after, "after"), utcnow()
        )

    async def clear(self, session_id: str) -> None:
        """As `Repository.clear`."""
        await self.truncate(session_id, after=0)

    async def replace_messages(
        self, session_id: str, messages: Iterable[Message], *, expected_revision: int | None = None
    ) -> Records:
        """As `Repository.replace_messages`."""
        revision, now = expected(expected_revision), utcnow()
        made = batch(session_id, messages, now)
        return answered(
            session_id,
            made,
            await self._run(self._core.replace, self._scope, session_id, made.drafts, revision, now),
        )

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
        """As `Repository.search`."""
        wanted = arguments.search_filter(
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
        return await self._run(self._core.search, self._scope, wanted, utcnow())

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

        Days are UTC days; *since* is inclusive, *until* exclusive. Keys that are not in *by* are None.
        """
        wanted = arguments.usage_filter(by, tenant_id=tenant_id, user_id=user_id, since=since, until=until)
        return await self._run(self._core.usage, self._scope, wanted, utcnow())

    async def purge(
        self,
        *,
        updated_before: datetime | None = None,
        archived_only: bool = False,
        expired_only: bool | None = None,
        dry_run: bool = False,
    ) -> PurgeReport:
        """As `Repository.purge`."""
        rule = arguments.purge_rule(
            updated_before, archived_only=archived_only, expired_only=expired_only, dry_run=dry_run
        )
        return await self._run(self._core.purge, self._scope, rule, utcnow())

    # ---- the repository itself

    async def durability(self) -> Durability:
        """As `Repository.durability`."""
        return await self._run(self._core.durability)

    async def close(self) -> None:
        """As `Repository.close`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
