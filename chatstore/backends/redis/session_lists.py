"""The lists of sessions: reading a part of an index, repairing it on the way, and updating it on a cluster.

On a single server the scripts keep the indexes, which are therefore exact. On a cluster the indexes are in other slots
than the sessions, so the client keeps them: it enters a session before it is created, and gives it a new score after
each change. In between, or if a client dies, an entry may have an early or late score, or no session. So every entry
that is read is checked against its session.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chatstore.backends.redis.layout import FIELDS, Keys, format_score, parse_session, to_text
from chatstore.backends.redis.scripts import MEND, PAGE
from chatstore.backends.redis.steps import Many, Run
from chatstore.driving import attempts
from chatstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from chatstore.paging import Keyset
    from chatstore.records import ChatSession

#: How long an entry without a session may belong to a session that is just being created.
GRACE = timedelta(hours=1)
#: Sessions read at a time.
BATCH = 200
_log = logging.getLogger("chatstore")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry:
    """A session id in an index, and the score it has there."""

    __slots__ = ("score", "session_id")

    def __init__(self, session_id: str, points: str) -> None:
        """Parse *points*, the score as Redis writes it."""
        self.session_id, self.score = session_id, int(float(points))

    @property
    def key(self) -> Keyset:
        """Return the key that the list is sorted by, according to the index."""
        return _EPOCH + timedelta(microseconds=self.score), self.session_id


class SessionLists:
    """The indexes of sessions under one prefix, and how they are read, repaired and, on a cluster, updated."""

    def __init__(self, keys: Keys, *, apart: bool) -> None:
        """Use the indexes of *keys*; *apart* means that they are in other slots than the sessions (a cluster)."""
        self.keys = keys
        self.apart = apart

    def walk(
        self, name: str, start: Keyset | None, since: datetime | None, size: int
    ) -> Generator[Any, Any, tuple[list[ChatSession], Keyset | None]]:
        """Return about *size* sessions after *start* in index *name*, in order, and where to continue (None: the end).

        The caller filters: the sessions include expired ones, and ones that belong to another owner by now.
        """
        count = max(1, min(size, BATCH))
        while True:
            high = "+inf" if start is None else format_score(start[0])
            low = "-inf" if since is None else format_score(since)
            found = yield from attempts(Run(PAGE, (name,), (high, low, count)), repeatable=True)
            entries = [Entry(to_text(found[i]), to_text(found[i + 1])) for i in range(0, len(found), 2)]
            fresh = [entry for entry in entries if start is None or entry.key < start]
            if fresh or len(entries) < count:
                break
            count *= 2  # all of them have the time of *start*, and come before it
        commands = [("HMGET", self.keys.of(entry.session_id)[0], *FIELDS) for entry in fresh]
        answers = (yield from attempts(Many(commands), repeatable=True)) if commands else []
        sessions = []
        for entry, values in zip(fresh, answers, strict=True):
            session = parse_session(entry.session_id, values)
            wrong = self._correct_score(name, entry, session)
            if wrong is not None:
                yield from attempts(
                    Run(MEND, (name,), (entry.session_id, entry.score, wrong)), repeatable=True
                )
            if session is not None and (start is None or (session.updated_at, session.session_id) < start):
                sessions.append(session)
        sessions.sort(key=lambda session: (session.updated_at, session.session_id), reverse=True)
        return sessions, fresh[-1].key if fresh and len(entries) == count else None

    def _correct_score(self, name: str, entry: Entry, session: ChatSession | None) -> str | None:
        """Return the score that *entry* should have, '' if it should not be there, None if it is right."""
        if session is None or name not in self.keys.lists(session.tenant_id, session.user_id):
            old = entry.key[0] < datetime.now(UTC) - GRACE
            return "" if old else None
        right = format_score(session.updated_at)
        return None if right == str(entry.score) else right

    # ---- on a cluster

    def enter(
        self, session_id: str, updated_at: datetime, tenant_id: str | None, user_id: str | None
    ) -> Generator[Any, Any, None]:
        """Put the session into its lists, or move it forward there."""
        names = self.keys.lists(tenant_id, user_id)
        yield from attempts(
            Many([("ZADD", name, "GT", format_score(updated_at), session_id) for name in names]),
            repeatable=True,
        )

    def move(self, session_id: str, owner: Sequence[bytes | str]) -> Generator[Any, Any, None]:
        """Move a changed session forward in its lists; a failure is logged, since the change itself is stored.

        *owner* is what a script answers: when the session was changed, its tenant and its user.
        """
        moment, tenant_id, user_id = map(to_text, owner)
        try:
            yield from self.enter(session_id, _parse_time(moment), tenant_id, user_id)
        except StorageError as error:
            _log.warning(
                "a changed session keeps its old place in the list until it is read there: %s", error
            )

    def leave(self, session_id: str, owner: Sequence[bytes | str]) -> Generator[Any, Any, None]:
        """Take a deleted session out of its lists, unless it was created again; *owner* is as for `move`, or empty."""
        if not owner:  # the script has done it
            return
        moment, tenant_id, user_id = map(to_text, owner)
        args = (session_id, format_score(_parse_time(moment)), "")
        try:
            for name in self.keys.lists(tenant_id, user_id):
                yield from attempts(Run(MEND, (name,), args), repeatable=True)
        except StorageError as error:
            _log.warning("a deleted session stays in the list until it is read there: %s", error)


def _parse_time(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone(UTC)
