"""What the pages read: a repository, by its public methods, and by SQL what only a SQL database can say.

Knows which questions there are; refuses to know URLs and HTML.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from chatstore.errors import CorruptRecord, NotSupported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from chatstore.backends.sql.repository import SQLRepository
    from chatstore.messages import ChatSession, MessageRecord, SearchHit
    from chatstore.repository import Repository

#: Forks of a session that are shown.
FORKS = 20


class Filters(NamedTuple):
    """What a list is narrowed to; days are whole days in UTC, both inclusive."""

    user: str | None = None
    tenant: str | None = None
    since: date | None = None
    until: date | None = None
    type: str | None = None
    model: str | None = None
    failed: bool = False
    archived: str | None = None

    @property
    def begin(self) -> datetime | None:
        """The first moment of the first day."""
        return None if self.since is None else datetime.combine(self.since, time(), UTC)

    @property
    def end(self) -> datetime | None:
        """The first moment after the last day."""
        return None if self.until is None else datetime.combine(self.until + timedelta(days=1), time(), UTC)


class Place(NamedTuple):
    """Where a page of a list begins: behind a session, or before it where *newer*."""

    updated_at: datetime
    session_id: str
    newer: bool = False


class LastWords(NamedTuple):
    """The newest message of a session: its type, and how its text begins."""

    type: str
    text: str


class Row(NamedTuple):
    """A line of the list."""

    session: ChatSession
    last: LastWords | None


class Listed(NamedTuple):
    """A page of the list, and where the pages beside it begin; *looked* says that the looking ended early."""

    rows: list[Row]
    newer: Place | None
    older: Place | None
    cursor: str | None = None
    looked: bool = False


class Source:
    """A repository, as the pages read it."""

    def __init__(self, repository: Repository) -> None:
        """Read *repository*, which stays the caller's."""
        self.repository = repository

    @property
    def sql(self) -> SQLRepository | None:
        """The repository, if SQL reads it."""
        if not type(self.repository).__module__.startswith("chatstore.backends.sql"):
            return None
        from chatstore.backends.sql.repository import SQLRepository

        return self.repository if isinstance(self.repository, SQLRepository) else None

    def can(self, method: str) -> bool:
        """Tell whether the repository has *method*."""
        return method not in self.repository.capabilities.denied

    # ---- lists

    def sessions(self, wanted: Filters, place: Place | None, cursor: str | None, limit: int) -> Listed:
        """Return a page of sessions, newest first."""
        sql = self.sql
        archived = {"only": True, "all": None}.get(wanted.archived or "", False)
        if sql is None:
            if wanted.until or wanted.type or wanted.model or wanted.failed:
                raise NotSupported("only a SQL database looks inside of messages: take that filter away")
            return self._by_cursor(wanted, archived, cursor, limit)
        from chatstore.backends.sql import browsing

        asked = browsing.Wanted(
            wanted.tenant,
            wanted.user,
            archived,
            wanted.begin,
            wanted.end,
            wanted.type,
            wanted.model,
            wanted.failed,
        )
        newer = place is not None and place.newer
        start = None if place is None else (place.updated_at, place.session_id)
        part = browsing.list_sessions(sql, asked, start=start, newer=newer, limit=limit)
        words = browsing.last_words(sql, part.sessions)
        rows = [
            Row(one, said and LastWords(*said))
            for one in part.sessions
            for said in [words.get(one.session_id)]
        ]
        first = Place(rows[0].session.updated_at, rows[0].session.session_id, newer=True) if rows else None
        last = Place(rows[-1].session.updated_at, rows[-1].session.session_id) if rows else None
        if part.reached is not None:
            last = Place(*part.reached) if not newer else last
            first = Place(*part.reached, newer=True) if newer else first
        older_is_there = part.more or newer
        newer_is_there = part.more if newer else place is not None
        return Listed(
            rows,
            first if newer_is_there else None,
            last if older_is_there else None,
            looked=part.reached is not None,
        )

    def _by_cursor(self, wanted: Filters, archived: bool | None, cursor: str | None, limit: int) -> Listed:  # noqa: FBT001
        page = self.repository.list_sessions(
            tenant_id=wanted.tenant,
            user_id=wanted.user,
            archived=archived,
            updated_since=wanted.begin,
            limit=limit,
            cursor=cursor,
        )
        rows = [Row(session, self._last_of(session)) for session in page.items]
        return Listed(rows, None, None, cursor=page.next_cursor)

    def _last_of(self, session: ChatSession) -> LastWords | None:
        records = self.records(session.session_id, last=1) if session.message_count else []
        return LastWords(records[-1].message.type, records[-1].message.text[:300]) if records else None

    def search(
        self, query: str, wanted: Filters, *, session_id: str | None, best: bool, limit: int
    ) -> list[SearchHit]:
        """Return the messages that say *query*. Raises `NotSupported`."""
        if not self.can("search"):
            raise NotSupported("this repository has no full text: open a conversation from the list")
        return self.repository.search(
            query,
            session_id=session_id,
            tenant_id=wanted.tenant,
            user_id=wanted.user,
            types=None if wanted.type is None else [wanted.type],
            since=wanted.begin,
            until=wanted.end,
            limit=limit,
            order="best" if best else "newest",
        )

    # ---- one conversation

    def records(
        self,
        session_id: str,
        *,
        last: int | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Sequence[MessageRecord]:
        """Return records, oldest first; damaged ones are left out."""
        try:
            return self.repository.get_records(session_id, last=last, after=after, before=before, limit=limit)
        except CorruptRecord as error:
            if not error.positions:
                raise
            return error.records

    def forks(self, session: ChatSession) -> list[ChatSession]:
        """Return the newest forks of *session* that have its owner, as forks have unless they were given away.

        No index leads to the forks of a session. That of the owner's sessions, and of those changed since this one
        began, leaves few to look at.
        """
        found = self.repository.list_sessions(
            forked_from=session.session_id,
            user_id=session.user_id,
            tenant_id=session.tenant_id,
            updated_since=session.created_at,
            archived=None,
            limit=FORKS,
        )
        return found.items
