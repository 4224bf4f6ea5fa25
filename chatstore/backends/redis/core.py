"""`RedisCore`: what each operation of the contract asks of the server, and what it makes of the answer.

Each operation is a generator that yields steps (`attempts`); the repositories carry them out. A change is one script,
however much it changes. This module knows scripts by name and their arguments; it refuses to know clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chatstore import failures
from chatstore.backends import conversation as rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.attempts import attempts
from chatstore.backends.redis.layout import (
    body,
    digits,
    member,
    packed,
    row_of,
    stamp,
)
from chatstore.backends.redis.sessions import Sessions, number, refuse
from chatstore.codec import Appended, Row, messages_of, record_of, records_of, same_body
from chatstore.errors import StorageUnavailable
from chatstore.failures import missing, stale

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from chatstore.arguments import Scope, Window
    from chatstore.codec import Draft
    from chatstore.messages import Message
    from chatstore.records import MessageRecord, Records

#: How often an edit is tried whose message others edit at the same moment.
CONTENDED = 50


class Wanted(NamedTuple):
    """What an append or replacement asks of the session: a revision, when it will expire, and the sizes of it all."""

    revision: int | None
    expires: str
    swept: str | int
    sizes: str

    def lines(self, entered: str) -> str:
        """Return it as a script takes it; *entered*: whether the index knows the session."""
        return f"{number(self.revision)}\n{self.expires}\n{self.swept}\n{entered}\n{self.sizes}"


class RedisCore(Sessions):
    """The operations of the contract on Redis: here those on messages."""

    def load(
        self, scope: Scope, session_id: str, rows: Sequence[Row], now: datetime
    ) -> Generator[Any, Any, int]:
        positions = [digits(row.position) for row in rows]
        done = yield from self._add(scope, session_id, [row.draft for row in rows], positions, None, now)
        return sum(stored.draft is row.draft for stored, row in zip(done.rows, rows, strict=True))

    def append(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        return self._add(scope, session_id, drafts, (), expected_revision, now)

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        expires = self._expiry(now)
        wanted = Wanted(expected_revision, _moment(expires), self._sweep(expires, now), f"{len(drafts)}")
        args = [packed(draft) for draft in drafts]
        revision, answer, owner = yield from self._written(
            scripts.REPLACE, scope, session_id, args, wanted, now, once=True
        )
        yield from self._rescored(session_id, owner)
        first = int(answer[0])
        return Appended(revision, [Row(position, draft) for position, draft in enumerate(drafts, first)])

    def messages(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, list[Message]]:
        _, rows = yield from self._window(scope, session_id, window, now)
        return messages_of(session_id, rows)

    def records(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, Records]:
        revision, rows = yield from self._window(scope, session_id, window, now)
        return records_of(session_id, rows, revision)

    def message(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, MessageRecord]:
        _, found = yield from self._message(scope, session_id, key, now)
        return record_of(session_id, row_of(found))

    def edit(
        self,
        scope: Scope,
        session_id: str,
        key: int | str,
        draft: Draft,
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, MessageRecord]:
        """Swap the very row that was read for the new one; where somebody else was faster, read again."""
        for _ in range(CONTENDED):
            revision, found = yield from self._message(scope, session_id, key, now)
            row = row_of(found)
            edited = row._replace(draft=rules.edited_draft(session_id, row.draft, draft))
            if expected_revision is not None and expected_revision != revision:
                raise stale(session_id, expected_revision, revision)
            if same_body(edited.draft, row.draft):
                return record_of(session_id, row)
            args = [number(expected_revision), found, member(edited)]
            word, *rest = yield from self._change(scripts.EDIT, scope, session_id, now, args, once=True)
            if word == "done":
                yield from self._rescored(session_id, rest[1])
                return record_of(session_id, edited)
            if word != "gone":
                refuse(word, rest, session_id, expected_revision)
        msg = f"a message of session {session_id!r} was edited by others at every attempt: repeat the call later"
        raise StorageUnavailable(msg)

    def remove(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, None]:
        word, *rest = yield from self._change(scripts.REMOVE, scope, session_id, now, _key(key), once=True)
        if word == "none":
            raise failures.no_message(session_id, key)
        if word != "done":
            refuse(word, rest, session_id, None)
        yield from self._rescored(session_id, rest[1])

    def pop(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, MessageRecord | None]:
        word, *rest = yield from self._change(scripts.POP, scope, session_id, now, [], once=True)
        if word != "done":
            return None
        yield from self._rescored(session_id, rest[2])
        return record_of(session_id, row_of(rest[1]))

    def count(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, int]:
        found = yield from self.get(scope, session_id, now)
        return found.message_count if found else 0

    def truncate(self, scope: Scope, session_id: str, after: int, now: datetime) -> Generator[Any, Any, None]:
        word, *rest = yield from self._change(scripts.TRUNCATE, scope, session_id, now, [digits(after)])
        if word == "done":
            yield from self._rescored(session_id, rest[1])

    # ---- how

    def _add(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        positions: Sequence[str],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        expires = self._expiry(now)
        rows = [packed(draft) for draft in drafts]
        equal: dict[int, bytes] = {}
        sizes = f"{len(rows)}\n{len(positions)}"
        wanted = Wanted(expected_revision, _moment(expires), self._sweep(expires, now), sizes)
        while True:
            args = [*rows, *positions, *(part for pair in equal.items() for part in pair)]
            revision, answer, owner = yield from self._written(
                scripts.APPEND, scope, session_id, args, wanted, now
            )
            if revision is not None:
                break
            # Other bytes, perhaps the same message: keys in another order. If so, the script is told.
            for place, stored in _known(answer).items():
                if not same_body(drafts[place], stored.draft):
                    raise failures.another_body(session_id, stored.draft.message_id)
                equal[place + 1] = body(packed(stored.draft))
        yield from self._rescored(session_id, owner)
        known, position = _known(answer[1:]), int(answer[0] or 0)
        done = []
        for place, draft in enumerate(drafts):
            if place in known:
                done.append(known[place])
                continue
            done.append(Row(int(positions[place]) if positions else position, draft))
            position += 1
        return Appended(revision, done)

    def _written(
        self,
        script: scripts.Script,
        scope: Scope,
        session_id: str,
        args: Sequence[Any],
        wanted: Wanted,
        now: datetime,
        *,
        once: bool = False,
    ) -> Generator[Any, Any, tuple[Any, list[Any], list[Any]]]:
        """Run *script*, which may make the session; return the revision (None: messages differ), rows and owner."""
        rest = wanted.lines("")
        word, *answer = yield from self._change(script, scope, session_id, now, args, rest=rest, once=once)
        if word == "enter":  # a session that is in no list would be lost there if this process died now
            yield from attempts(self.index.entered(session_id, now, *scope))
            rest = wanted.lines("1")
            word, *answer = yield from self._change(
                script, scope, session_id, now, args, rest=rest, once=once
            )
        if word == "differs":
            return None, answer[0], []
        if word == "order":
            raise failures.out_of_order(session_id, int(answer[0]), int(answer[1]))
        if word != "done":
            refuse(word, answer, session_id, wanted.revision)
        return int(answer[0]), answer[1], answer[2]

    def _message(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, tuple[int, Any]]:
        word, *rest = yield from self._change(scripts.MESSAGE, scope, session_id, now, _key(key))
        if word == "none":
            raise failures.no_message(session_id, key)
        if word != "done":
            raise missing(session_id)
        return int(rest[0]), rest[1]

    def _window(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, tuple[int, list[Row]]]:
        session, found = yield from self._snapshot(session_id, window)
        if session is None or not rules.visible(session, scope, now):
            return 0, []
        rows = [row_of(one) for one in found]
        if window.last is not None:
            rows.reverse()
        return session.revision, rows


def _known(answer: Sequence[Any]) -> dict[int, Row]:
    """Return the stored rows of an answer by their place among the drafts."""
    return {int(answer[i]) - 1: row_of(answer[i + 1]) for i in range(0, len(answer), 2)}


def _key(key: int | str) -> list[str]:
    return ["id", key] if isinstance(key, str) else ["position", digits(key)]


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else stamp(moment)
