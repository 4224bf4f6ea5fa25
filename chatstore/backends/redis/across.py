"""What the operations of `RedisCore` stand on, and those that look at many sessions.

This module knows how a script is addressed and how indexes are walked; it refuses to know what is inside a session.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chatstore.arguments import Scope, Window
from chatstore.backends import conversation as rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.attempts import Many, Run, Settings, attempts, unknown
from chatstore.backends.redis.durability import durability_of
from chatstore.backends.redis.index import Index
from chatstore.backends.redis.layout import FIELDS, Keys, digits, row_of, score, session_of, stamp, text
from chatstore.core import CHUNK
from chatstore.errors import StorageError
from chatstore.ids import new_id
from chatstore.messages import Capabilities, PurgeReport, UsageRow

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from chatstore.arguments import Keyset, PurgeRule, SearchFilter, SessionFilter, UsageFilter
    from chatstore.backends.redis.scripts import Script
    from chatstore.messages import ChatSession, Durability, SearchHit

#: How long after it looks missing an expired session is swept by the server itself.
SWEPT_AFTER = timedelta(hours=1)
#: How often a moving session is read by plain commands before a script does it.
TRIES = 3
_MOST = 2**62
_NOTES = (
    "search scans every message",
    "search, usage and purge read one session after another, not all of them at one moment",
)
_APART = "on a cluster, the order of a session list follows a change a moment later"
_log = logging.getLogger("chatstore")


class Across:
    """The operations that walk over sessions, and how all operations reach the server.

    *apart*: the indexes stand in other slots than the sessions (a cluster). *ttl*: seconds after which a session
    expires that is not written to. *guarded*: the client repeats commands by itself.
    """

    def __init__(self, prefix: str, *, apart: bool, ttl: int | None, guarded: bool) -> None:
        """Name the keys by *prefix*."""
        self.keys = Keys(prefix)
        self.index = Index(self.keys, apart=apart)
        self.ttl = ttl
        self.guarded = guarded
        notes = (*_NOTES, _APART) if apart else _NOTES
        self.capabilities = Capabilities(denied=frozenset(), atomic_batch=None, notes=notes)

    # ---- operations

    def sessions(
        self, scope: Scope, wanted: SessionFilter, limit: int, start: Keyset | None, now: datetime
    ) -> Generator[Any, Any, list[ChatSession]]:
        name = self.keys.narrowest(scope, wanted.tenant_id, wanted.user_id)
        found: list[ChatSession] = []
        while len(found) < limit:
            some, start = yield from self.index.walk(name, start, wanted.updated_since, limit - len(found))
            found += [session for session in some if rules.wanted(session, scope, wanted, now)]
            if start is None:
                break
        return found[:limit]

    def search(
        self, scope: Scope, wanted: SearchFilter, now: datetime
    ) -> Generator[Any, Any, list[SearchHit]]:
        """Read every message, a few hundred at a time, and keep the best."""
        best: list[SearchHit] = []
        start: Keyset | None = None
        while True:
            some, start = yield from self._owned(scope, wanted, start, now)
            for session in some:
                after: int | None = 0
                while after is not None:
                    part, after = yield from self._part(scope, session, after, now)
                    best = rules.best([*best, *rules.hits([part], wanted)], wanted.limit)
            if start is None:
                return best

    def usage(self, scope: Scope, wanted: UsageFilter, now: datetime) -> Generator[Any, Any, list[UsageRow]]:
        """Sum up part by part."""
        sums: dict[tuple[Any, ...], UsageRow] = {}
        start: Keyset | None = None
        while True:
            some, start = yield from self._owned(scope, wanted, start, now)
            for session in some:
                after: int | None = 0
                while after is not None:
                    part, after = yield from self._part(scope, session, after, now)
                    for row in rules.usage([part], wanted):
                        key = tuple(getattr(row, name) for name in wanted.by)
                        sums[key] = _sum(sums[key], row) if key in sums else row
            if start is None:
                return [sums[key] for key in sorted(sums, key=rules.usage_order)]

    def purge(self, scope: Scope, rule: PurgeRule, now: datetime) -> Generator[Any, Any, PurgeReport]:
        """Delete one session after another, each only if it still is what the rule was asked about."""
        sessions = messages = 0
        start: Keyset | None = None
        while True:
            some, start = yield from self._listed(self.keys.narrowest(scope, None, None), start)
            for session in some:
                lost = yield from self._purged(scope, rule, session, now)
                if lost is not None:
                    sessions, messages = sessions + 1, messages + lost
            if start is None:
                return PurgeReport(sessions=sessions, messages=messages, dry_run=rule.dry_run)

    def durability(self) -> Generator[Any, Any, Durability]:
        servers = yield from attempts(Settings())
        return durability_of(servers)

    # ---- walking

    def _listed(
        self, name: str, start: Keyset | None
    ) -> Generator[Any, Any, tuple[list[ChatSession], Keyset | None]]:
        return self.index.walk(name, start, None, CHUNK)

    def _owned(
        self, scope: Scope, wanted: SearchFilter | UsageFilter, start: Keyset | None, now: datetime
    ) -> Generator[Any, Any, tuple[list[ChatSession], Keyset | None]]:
        owner = Scope(wanted.tenant_id, wanted.user_id)
        only = getattr(wanted, "session_id", None)
        some: Sequence[ChatSession | None]
        if only is not None:
            some, start = [(yield from self._session(only))], None
        else:
            name = self.keys.narrowest(scope, wanted.tenant_id, wanted.user_id)
            some, start = yield from self._listed(name, start)
        seen = [
            session
            for session in some
            if session is not None
            and rules.visible(session, scope, now)
            and owner.sees(session.tenant_id, session.user_id)
        ]
        return seen, start

    def _part(
        self, scope: Scope, session: ChatSession, after: int, now: datetime
    ) -> Generator[Any, Any, tuple[rules.Conversation, int | None]]:
        """Return the next messages of *session* behind *after*, and where to go on (None: the end)."""
        window = Window(after=after, limit=CHUNK)
        seen, found = yield from self._snapshot(session.session_id, window)
        rows = [row_of(one) for one in found] if rules.visible(seen, scope, now) else []
        more = rows[-1].position if len(rows) == CHUNK else None
        return rules.Conversation(session, rows), more

    def _purged(
        self, scope: Scope, rule: PurgeRule, session: ChatSession | None, now: datetime
    ) -> Generator[Any, Any, int | None]:
        """Delete *session* if *rule* says so, and return how many messages went; None if it stays."""
        while session is not None and rules.purged(session, scope, rule, now):
            if rule.dry_run:
                return session.message_count
            at = str(session.revision)
            word, *rest = yield from self._change(scripts.DELETE, Scope(), session.session_id, now, [at])
            if word == "done":
                yield from self._gone(session.session_id, rest[1])
                return session.message_count
            session = yield from self._session(session.session_id)
        return None

    # ---- reaching the server

    def _session(self, session_id: str) -> Generator[Any, Any, ChatSession | None]:
        """Return the session, expired or not."""
        command = ("HMGET", self.keys.of(session_id)[0], *FIELDS)
        (values,) = yield from attempts(Many([command]))
        return session_of(session_id, values)

    def _snapshot(
        self, session_id: str, window: Window
    ) -> Generator[Any, Any, tuple[ChatSession | None, list[Any]]]:
        """Return the session, expired or not, and members inside *window* as they were at one moment.

        Plain commands, since Lua takes several times as long for many messages, and a server does nothing else
        meanwhile. They are of one moment if the revision is the same before and after; where it keeps moving, a script
        reads once and for all. With ``last``, the newest come first.
        """
        session_key, messages, _ = self.keys.of(session_id)
        low = "-" if window.after is None else f"[{digits(window.after)}\v"
        high = "+" if window.before is None else f"({digits(window.before)}"
        count = window.limit if window.last is None else window.last
        size = 0 if window.empty else -1 if count is None else min(count, _MOST)
        ranged = ("ZRANGEBYLEX", low, high) if window.last is None else ("ZREVRANGEBYLEX", high, low)
        command = (ranged[0], messages, *ranged[1:], "LIMIT", 0, size)
        for _ in range(TRIES):
            about = ("HMGET", session_key, *FIELDS)
            step = Many([about, command, ("HGET", session_key, "revision")])
            values, members, after = yield from attempts(step)
            if values[FIELDS.index("revision")] == after:
                return session_of(session_id, values), members
        values, members = yield from attempts(
            Run(scripts.SNAPSHOT, (session_key, messages), (*ranged, size, *FIELDS))
        )
        return session_of(session_id, values), members

    def _change(
        self,
        script: Script,
        scope: Scope,
        session_id: str,
        now: datetime,
        args: Sequence[Any],
        *,
        rest: str = "",
        once: bool = False,
    ) -> Generator[Any, Any, list[Any]]:
        """Run *script* on the session and return its answer, the first of it as text; see `head.lua` for *rest*."""
        keys = self.keys.of(session_id)
        if once and self.guarded:
            keys = (*keys, f"{keys[0]}:once:{new_id()}")  # type: ignore[assignment]  # four for this one
        index = "" if self.index.apart else self.keys.index
        owner = f"{scope.tenant_id or ''}\n{scope.user_id or ''}"
        head = f"{stamp(now)}\n{score(now)}\n{owner}\n{index}\n{session_id}\n{rest}"
        word, *answer = yield from attempts(Run(script, keys, (head, *args), once))
        word = text(word)
        if word == "repeated":
            raise unknown()
        return [word, *answer]

    def _expiry(self, now: datetime) -> datetime | None:
        return None if self.ttl is None else now + timedelta(seconds=self.ttl)

    def _sweep(self, expires_at: datetime | None, now: datetime) -> str | int:
        """Return in how many milliseconds the server may take the session away, '' for never."""
        if expires_at is None:
            return ""
        return (max(expires_at - now, timedelta()) + SWEPT_AFTER) // timedelta(milliseconds=1)

    # ---- the index of a cluster

    def _moved(
        self, session_id: str, updated_at: datetime, tenant_id: str | None, user_id: str | None
    ) -> Generator[Any, Any, None]:
        """Move a changed session forward in its lists; the change itself is done, whatever happens here."""
        if self.index.apart:
            try:
                yield from attempts(self.index.entered(session_id, updated_at, tenant_id, user_id))
            except StorageError as error:
                _log.warning(
                    "a changed session keeps its old place in the list until it is read there: %s", error
                )

    def _rescored(self, session_id: str, owner: Sequence[Any]) -> Generator[Any, Any, None]:
        """As `_moved`, for what a script answered: updated_at, tenant and user."""
        if self.index.apart:
            moment, tenant_id, user_id = map(text, owner)
            yield from self._moved(session_id, _time(moment), tenant_id or None, user_id or None)

    def _gone(self, session_id: str, owner: Sequence[Any]) -> Generator[Any, Any, None]:
        """Take a deleted session out of its lists."""
        if self.index.apart:
            moment, tenant_id, user_id = map(text, owner)
            try:
                for step in self.index.left(session_id, _time(moment), tenant_id or None, user_id or None):
                    yield from attempts(step)
            except StorageError as error:
                _log.warning("a deleted session stays in the list until it is read there: %s", error)


def _time(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone(UTC)


def _sum(left: UsageRow, right: UsageRow) -> UsageRow:
    return left._replace(
        messages=left.messages + right.messages,
        input_tokens=left.input_tokens + right.input_tokens,
        output_tokens=left.output_tokens + right.output_tokens,
    )
