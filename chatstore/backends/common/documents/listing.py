"""The operations on many sessions: list, usage, purge."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from chatstore import deadlines
from chatstore.arguments import EVERYTHING, Scope
from chatstore.backends.common import rules
from chatstore.backends.common.documents import reading
from chatstore.backends.common.documents.attempts import repeated
from chatstore.backends.common.documents.steps import Commit, Listing
from chatstore.contract import InSession
from chatstore.errors import NotSupported
from chatstore.messages import PurgeReport
from chatstore.records import NEWEST_FIRST
from chatstore.schemes import schemes_where

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from chatstore.backends.common.documents.committing import Committer, Plan
    from chatstore.backends.common.documents.header import Header
    from chatstore.backends.common.documents.steps import Listed
    from chatstore.contract import ListSessions, Purge, Search, Usage
    from chatstore.messages import ChatSession, SearchHit, UsageRow


class Lister:
    """The operations of the contract on many sessions."""

    def __init__(self, committer: Committer) -> None:
        """Delete with *committer*."""
        self.committer = committer

    def list_sessions(self, call: ListSessions) -> Generator[Any, Any, list[ChatSession]]:
        found: list[ChatSession] = []
        owner = Scope(call.wanted.tenant_id, call.wanted.user_id)
        forth = call.order == NEWEST_FIRST  # as the services keep them; else all must be read
        pages = Pages(call.scope, owner, call.start[0] if call.start and forth else None)
        while (page := (yield from pages.next())) is not None:
            found += [
                header.session
                for _, header in page.headers
                if header.session is not None
                and rules.wanted(header.session, call.scope, call.wanted, call.now)
            ]
            once = {one.session_id: one for one in found}
            found = rules.sort_sessions(once.values(), call.order, call.start, call.limit)
            full = len(found) == call.limit
            if forth and full and page.reached is not None and page.reached < found[-1].updated_at:
                break
        return [rules.handed_out(session) for session in found]

    def search(self, _call: Search) -> list[SearchHit]:
        can = schemes_where(lambda backend: "search" not in backend.denied)
        raise NotSupported(f"this service cannot search text: use a backend that can ({can})")

    def usage(self, call: Usage) -> Generator[Any, Any, list[UsageRow]]:
        """Sum up session by session, so that only one session's messages are in memory at a time."""
        sums: dict[tuple[Any, ...], list[int]] = {}
        owner = Scope(call.wanted.tenant_id, call.wanted.user_id)
        pages = Pages(call.scope, owner, None)
        while (page := (yield from pages.next())) is not None:
            for session_id, header in page.headers:
                if header.session is None or not owner.sees(header.session.tenant_id, header.session.user_id):
                    continue
                read = partial(reading.snapshot, InSession(call.scope, call.now, session_id), EVERYTHING)
                found = yield from repeated(read)
                for row in rules.usage([found] if found else [], call.wanted):
                    total = sums.setdefault(tuple(getattr(row, key) for key in call.wanted.by), [0, 0, 0])
                    for place, value in enumerate((row.messages, row.input_tokens, row.output_tokens)):
                        total[place] += value
        return [
            rules.usage_row(call.wanted.by, key, *sums[key]) for key in sorted(sums, key=rules.usage_order)
        ]

    def purge(self, call: Purge) -> Generator[Any, Any, PurgeReport]:
        """Delete session by session; what others left over goes too."""
        sessions = messages = 0
        pages = Pages(call.scope, Scope(), None)
        while (page := (yield from pages.next())) is not None:
            for session_id, header in page.headers:
                deadlines.renew()
                if header.session is not None and rules.purged(
                    header.session, call.scope, call.rule, call.now
                ):
                    gone: int | None = header.session.message_count
                    if not call.rule.dry_run:
                        gone = yield from self._purge_one(session_id, call)
                    sessions, messages = sessions + (gone is not None), messages + (gone or 0)
                elif not call.rule.dry_run and not call.scope:
                    yield from self.committer.tidy(session_id, header, (), call.now)
        return PurgeReport(sessions=sessions, messages=messages, dry_run=call.rule.dry_run)

    def _purge_one(self, session_id: str, call: Purge) -> Generator[Any, Any, int | None]:
        def attempt(header: Header | None) -> Plan:
            session = header.session if header else None
            if (
                header is None
                or session is None
                or not rules.purged(session, call.scope, call.rule, call.now)
            ):
                return None, None  # somebody was faster
            return drop(session_id, header, call.now), session.message_count

        return self.committer.write(session_id, attempt, call.now, repeatable=call.repeatable)


class Pages:
    """The headers of an owner, page by page."""

    def __init__(self, scope: Scope, owner: Scope, until: datetime | None) -> None:
        tenant_id, user_id = scope.tenant_id or owner.tenant_id, scope.user_id or owner.user_id
        self._step: Listing | None = Listing(tenant_id, user_id, until)

    def next(self) -> Generator[Any, Any, Listed | None]:
        """Return the next page, or None after the last."""
        if self._step is None:
            return None
        step = self._step

        def attempt() -> Generator[Any, Any, Listed]:
            page: Listed = yield step
            return page

        page = yield from repeated(attempt)
        self._step = None if page.token is None else step._replace(token=page.token)
        return page


def drop(session_id: str, header: Header, now: datetime) -> Commit:
    """Return the commit after which there is no session; what it had is left over."""
    if not header.data.message_count and not header.leftovers:
        return Commit(session_id, header, None)
    return Commit(session_id, header, header.emptied(None, 0, now))
