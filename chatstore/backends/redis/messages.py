"""The operations on the messages of a session: the arguments of each script, and what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backends import conversation as rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.layout import extract_body, format_position, pack_draft, pack_row, parse_row
from chatstore.codec import Appended, Row, messages_of, record_of, records_of, same_body
from chatstore.errors import StorageUnavailable
from chatstore.failures import another_body, no_message, stale

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from chatstore.arguments import Scope, Window
    from chatstore.backends.redis.server import Server
    from chatstore.codec import Draft
    from chatstore.messages import Message
    from chatstore.records import MessageRecord, Records

#: How often an edit is tried while others edit the same message.
CONTENDED = 50


class Messages:
    """The operations of the contract on the messages of one session."""

    def __init__(self, server: Server) -> None:
        """Read from and write to *server*."""
        self.server = server

    def append(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
        positions: Sequence[int] = (),
    ) -> Generator[Any, Any, Appended]:
        """Append *drafts*, at *positions* if these are given."""
        rows = [pack_draft(draft) for draft in drafts]
        args, expires_at = [*rows, *map(format_position, positions)], self.server.find_expiry(now)
        while True:
            word, answer = yield from self.server.run(
                scripts.APPEND,
                scope,
                session_id,
                now,
                args,
                expected=expected_revision,
                expires_at=expires_at,
                rows=len(rows),
                numbered=bool(positions),
            )
            if word == "done":
                break
            # The bytes differ, but the messages may be equal: JSON with its keys in another order.
            args += _accept_bodies(session_id, drafts, answer[0])
        revision, (first, *stored) = answer
        known, position = _parse_known(stored) if stored else {}, int(first or 0)
        done = []
        for place, draft in enumerate(drafts):
            if place in known:
                done.append(known[place])
                continue
            done.append(Row(positions[place] if positions else position, draft))
            position += 1
        return Appended(int(revision), done)

    def load(
        self, scope: Scope, session_id: str, rows: Sequence[Row], now: datetime
    ) -> Generator[Any, Any, int]:
        drafts, positions = [row.draft for row in rows], [row.position for row in rows]
        done = yield from self.append(scope, session_id, drafts, None, now, positions)
        return sum(stored.draft is row.draft for stored, row in zip(done.rows, rows, strict=True))

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        _, (revision, first) = yield from self.server.run(
            scripts.REPLACE,
            scope,
            session_id,
            now,
            [pack_draft(draft) for draft in drafts],
            expected=expected_revision,
            expires_at=self.server.find_expiry(now),
            rows=len(drafts),
            once=True,
        )
        return Appended(
            int(revision), [Row(position, draft) for position, draft in enumerate(drafts, int(first))]
        )

    def messages(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, list[Message]]:
        _, rows = yield from self._read_window(scope, session_id, window, now)
        return messages_of(session_id, rows)

    def records(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, Records]:
        revision, rows = yield from self._read_window(scope, session_id, window, now)
        return records_of(session_id, rows, revision)

    def message(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, MessageRecord]:
        _, found = yield from self._read_one(scope, session_id, key, now)
        return record_of(session_id, parse_row(found))

    def edit(
        self,
        scope: Scope,
        session_id: str,
        key: int | str,
        draft: Draft,
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, MessageRecord]:
        """Replace exactly the row that was read; if somebody else changed it first, read again."""
        for _ in range(CONTENDED):
            revision, found = yield from self._read_one(scope, session_id, key, now)
            row = parse_row(found)
            edited = row._replace(draft=rules.edited_draft(session_id, row.draft, draft))
            if expected_revision is not None and expected_revision != revision:
                raise stale(session_id, expected_revision, revision)
            if same_body(edited.draft, row.draft):
                return record_of(session_id, row)
            args = [found, pack_row(edited)]
            word, _ = yield from self.server.run(
                scripts.EDIT, scope, session_id, now, args, expected=expected_revision, once=True
            )
            if word == "done":
                return record_of(session_id, edited)
        msg = f"a message of session {session_id!r} was edited by others at every attempt: repeat the call later"
        raise StorageUnavailable(msg)

    def remove(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, None]:
        word, _ = yield from self.server.run(
            scripts.REMOVE, scope, session_id, now, _pack_key(key), once=True
        )
        if word == "none":
            raise no_message(session_id, key)

    def pop(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, MessageRecord | None]:
        word, answer = yield from self.server.run(scripts.POP, scope, session_id, now, once=True)
        return record_of(session_id, parse_row(answer[0])) if word == "done" else None

    def truncate(self, scope: Scope, session_id: str, after: int, now: datetime) -> Generator[Any, Any, None]:
        yield from self.server.run(scripts.TRUNCATE, scope, session_id, now, [format_position(after)])

    # ---- reading

    def _read_one(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, tuple[int, Any]]:
        """Return the session's revision, and the member that *key* names."""
        word, answer = yield from self.server.run(scripts.MESSAGE, scope, session_id, now, _pack_key(key))
        if word == "none":
            raise no_message(session_id, key)
        return int(answer[0]), answer[1]

    def _read_window(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, tuple[int, list[Row]]]:
        """Return the session's revision, and the rows inside *window*, oldest first."""
        session, found = yield from self.server.read(session_id, window)
        if session is None or not rules.visible(session, scope, now):
            return 0, []
        rows = [parse_row(one) for one in found]
        if window.last is not None:
            rows.reverse()
        return session.revision, rows


def _accept_bodies(session_id: str, drafts: Sequence[Draft], answer: Sequence[Any]) -> list[Any]:
    """Return the stored bodies that equal their drafts, as `append.lua` takes them; raise if one differs."""
    pairs: list[Any] = []
    for place, stored in _parse_known(answer).items():
        if not same_body(drafts[place], stored.draft):
            raise another_body(session_id, stored.draft.message_id)
        pairs += [place + 1, extract_body(pack_draft(stored.draft))]
    return pairs


def _parse_known(answer: Sequence[Any]) -> dict[int, Row]:
    """Return the stored rows of an answer, by the index of the draft with the same id."""
    return {int(answer[i]) - 1: parse_row(answer[i + 1]) for i in range(0, len(answer), 2)}


def _pack_key(key: int | str) -> list[str]:
    return ["id", key] if isinstance(key, str) else ["position", format_position(key)]
