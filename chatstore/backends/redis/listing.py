"""The operations on many sessions: list, search, usage, purge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore import deadlines
from chatstore.arguments import Scope, Window
from chatstore.backends.common import rules, searching
from chatstore.backends.redis import scripts
from chatstore.backends.redis.layout import parse_row
from chatstore.backends.redis.steps import Many
from chatstore.codec import CHUNK
from chatstore.contract import GetMessage, InSession
from chatstore.driving import attempts
from chatstore.errors import NotFound
from chatstore.failures import found_nowhere
from chatstore.records import NEWEST_FIRST, PurgeReport, UsageRow

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from chatstore.backends.redis.server import Server
    from chatstore.contract import (
        Call,
        CloseAnswers,
        FindMessage,
        ListSessions,
        Purge,
        Search,
        Usage,
        WriteAnswer,
    )
    from chatstore.paging import Keyset
    from chatstore.records import ChatSession, MessageRecord, SearchHit


class Listing:
    """The operations of the contract that read one session after another."""

    def __init__(self, server: Server) -> None:
        """Read from *server*."""
        self.server = server
        self.keys = server.keys
        self.lists = server.lists

    def list_sessions(self, call: ListSessions) -> Generator[Any, Any, list[ChatSession]]:
        start = call.start
        name = self.keys.narrowest(call.scope, call.wanted.tenant_id, call.wanted.user_id)
        found: list[ChatSession] = []
        if call.order != NEWEST_FIRST:  # which is how they are kept
            return (yield from self._list_all(call, name))
        while len(found) < call.limit:
            some, start = yield from self.lists.walk(
                name, start, call.wanted.updated_since, call.limit - len(found)
            )
            found += [session for session in some if rules.wanted(session, call.scope, call.wanted, call.now)]
            if start is None:
                break
        return found[: call.limit]

    def _list_all(self, call: ListSessions, name: str) -> Generator[Any, Any, list[ChatSession]]:
        """Read the whole list for a page of it in another order."""
        found: dict[str, ChatSession] = {}
        start: Keyset | None = None
        while True:
            some, start = yield from self.lists.walk(name, start, call.wanted.updated_since, CHUNK)
            found.update((session.session_id, session) for session in some)
            if start is None:
                break
        wanted = [one for one in found.values() if rules.wanted(one, call.scope, call.wanted, call.now)]
        return rules.sort_sessions(wanted, call.order, call.start, call.limit)

    def find_message(
        self, call: FindMessage, read: Callable[[GetMessage], Generator[Any, Any, MessageRecord]]
    ) -> Generator[Any, Any, MessageRecord]:
        """Ask every session for the id, a few hundred at a time, and *read* the message."""
        start: Keyset | None = None
        found: list[ChatSession] = []
        while True:
            some, start = yield from self._walk(self.keys.narrowest(call.scope, None, None), start)
            seen = [session for session in some if rules.visible(session, call.scope, call.now)]
            asked = [("HGET", self.keys.of(session.session_id)[2], call.message_id) for session in seen]
            places = (yield from attempts(Many(asked), repeatable=True)) if asked else []
            found += [session for session, place in zip(seen, places, strict=True) if place is not None]
            if start is None:
                break
        for session in rules.sort_sessions(found, "created_at", None, None):
            try:
                at = GetMessage(call.scope, call.now, session.session_id, call.message_id)
                return (yield from read(at))
            except NotFound:  # it went in the meantime
                continue
        raise found_nowhere(call.message_id)

    def search(self, call: Search) -> Generator[Any, Any, list[SearchHit]]:
        """Read every message, a few hundred at a time, and keep what decides the answer."""
        found: list[searching.Found] = []
        start: Keyset | None = None
        while True:
            some, start = yield from self._walk_visible(call, start)
            for session in some:
                after: int | None = 0
                while after is not None:
                    part, after = yield from self._read_part(call, session, after)
                    found = searching.newest([*found, *searching.matches([part], call.wanted)], call.wanted)
            if start is None:
                return searching.hits(found, call.wanted)

    def usage(self, call: Usage) -> Generator[Any, Any, list[UsageRow]]:
        """Read every message, a few hundred at a time, and sum up."""
        sums: dict[tuple[Any, ...], UsageRow] = {}
        start: Keyset | None = None
        while True:
            some, start = yield from self._walk_visible(call, start)
            for session in some:
                after: int | None = 0
                while after is not None:
                    part, after = yield from self._read_part(call, session, after)
                    for row in rules.usage([part], call.wanted):
                        key = tuple(getattr(row, name) for name in call.wanted.by)
                        sums[key] = _add(sums[key], row) if key in sums else row
            if start is None:
                return [sums[key] for key in sorted(sums, key=rules.usage_order)]

    def purge(self, call: Purge) -> Generator[Any, Any, PurgeReport]:
        """Delete one session after another, each only if it has not changed since the rule was applied to it."""
        sessions = messages = 0
        start: Keyset | None = None
        while True:
            some, start = yield from self._walk(self.keys.narrowest(call.scope, None, None), start)
            for session in some:
                deadlines.renew()
                lost = yield from self._purge_one(call, session)
                if lost is not None:
                    sessions, messages = sessions + 1, messages + lost
            if start is None:
                return PurgeReport(sessions=sessions, messages=messages, dry_run=call.rule.dry_run)

    def close_answers(
        self, call: CloseAnswers, close: Callable[[WriteAnswer], Generator[Any, Any, Any]]
    ) -> Generator[Any, Any, int]:
        """Read every message, a few hundred at a time, and *close* the answers that *call* names."""
        closed = 0
        start: Keyset | None = None
        while True:
            some, start = yield from self._walk(self.keys.narrowest(call.scope, None, None), start)
            for session in some:
                after: int | None = 0
                while after is not None:
                    part, after = yield from self._read_part(call, session, after)
                    left = [row for row in part.rows if rules.unattended(row.draft, call.untouched_since)]
                    closed += len(left)
                    for row in () if call.dry_run else left:
                        yield from close(rules.closing(call, session.session_id, row.draft))
            if start is None:
                return closed

    # ---- walking

    def _walk(
        self, name: str, start: Keyset | None
    ) -> Generator[Any, Any, tuple[list[ChatSession], Keyset | None]]:
        return self.lists.walk(name, start, None, CHUNK)

    def _walk_visible(
        self, call: Search | Usage, start: Keyset | None
    ) -> Generator[Any, Any, tuple[list[ChatSession], Keyset | None]]:
        owner = Scope(call.wanted.tenant_id, call.wanted.user_id)
        only = getattr(call.wanted, "session_id", None)
        some: Sequence[ChatSession | None]
        if only is not None:
            some, start = [(yield from self.server.read_session(only))], None
        else:
            name = self.keys.narrowest(call.scope, call.wanted.tenant_id, call.wanted.user_id)
            some, start = yield from self._walk(name, start)
        seen = [
            session
            for session in some
            if session is not None
            and rules.visible(session, call.scope, call.now)
            and owner.sees(session.tenant_id, session.user_id)
        ]
        return seen, start

    def _read_part(
        self, call: Call, session: ChatSession, after: int
    ) -> Generator[Any, Any, tuple[rules.SessionState, int | None]]:
        """Return the next messages of *session* after position *after*, and where to continue (None: the end)."""
        window = Window(after=after, limit=CHUNK)
        seen, found = yield from self.server.read(session.session_id, window)
        rows = [parse_row(one) for one in found] if rules.visible(seen, call.scope, call.now) else []
        more = rows[-1].position if len(rows) == CHUNK else None
        return rules.SessionState(session, rows), more

    def _purge_one(self, call: Purge, session: ChatSession | None) -> Generator[Any, Any, int | None]:
        """Delete *session* if *rule* says so; return how many messages it had, or None if it stays."""
        while session is not None and rules.purged(session, call.scope, call.rule, call.now):
            if call.rule.dry_run:
                return session.message_count
            word, answer = yield from self.server.run(
                scripts.DELETE,
                InSession(Scope(), call.now, session.session_id),
                expected=session.revision,
                repeatable=call.repeatable,
            )
            if word == "deleted":
                yield from self.lists.leave(session.session_id, answer[0])
                return session.message_count
            session = yield from self.server.read_session(session.session_id)
        return None


def _add(left: UsageRow, right: UsageRow) -> UsageRow:
    return left._replace(
        messages=left.messages + right.messages,
        input_tokens=left.input_tokens + right.input_tokens,
        output_tokens=left.output_tokens + right.output_tokens,
    )
