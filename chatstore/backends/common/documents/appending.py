"""Append and load: in one commit where it fits, else in as few as possible, all checked before the first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from chatstore.arguments import NewSession
from chatstore.backends.common import rules
from chatstore.backends.common.documents import reading
from chatstore.backends.common.documents.attempts import repeated
from chatstore.backends.common.documents.header import begin
from chatstore.backends.common.documents.steps import Commit, Look
from chatstore.backends.common.rules import SessionState
from chatstore.codec import Appended
from chatstore.failures import missing, stale, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import datetime

    from chatstore.backends.common.documents.committing import Committer, Plan
    from chatstore.backends.common.documents.header import Header
    from chatstore.codec import Draft, Row
    from chatstore.contract import AddMessages, InSession, LoadRecords


class Appender:
    """The operations of the contract that add messages."""

    def __init__(self, committer: Committer) -> None:
        """Write with *committer*."""
        self.committer = committer

    def add_messages(self, call: AddMessages) -> Generator[Any, Any, Appended]:
        """Append in one commit, or in several if one is too small; everything is checked before the first."""
        named = any(not draft.id_generated for draft in call.drafts)
        revision = call.expected_revision

        def change(part: Sequence[Draft], found: SessionState, expected: int | None) -> Appended:
            last = not part or part[-1] is call.drafts[-1]
            return found.append(part, expected, call.now, changes=call.changes if last else rules.NOTHING)

        pieces = self.committer.cut(call.session_id, call.drafts, lambda draft: draft)
        if len(pieces) > 1 and (named or revision is not None):
            yield from self._check(call, call.drafts, revision, change)
        rows: list[Row] = []
        for piece in pieces:
            first = named and revision is not None
            write = partial(
                self._plan,
                call,
                piece,
                revision,
                change,
                named=named,
                first=first,
            )
            done, moved = yield from self.committer.write_piece(call.session_id, write, len(rows), call.now)
            rows += done.rows
            revision = None if moved else revision
        return Appended(done.revision, rows)

    def load_records(self, call: LoadRecords) -> Generator[Any, Any, int]:
        """Load in commits as large as can be; all is checked before the first."""

        def change(part: Sequence[Row], found: SessionState, _: int | None) -> int:
            return found.load(part, call.now)

        pieces = self.committer.cut(call.session_id, call.rows, lambda row: row.draft)
        if len(pieces) > 1:
            yield from self._check(call, call.rows, None, change)
        new = done = 0
        for piece in pieces:
            write = partial(self._plan, call, piece, None, change)
            count, _ = yield from self.committer.write_piece(call.session_id, write, done, call.now)
            new, done = new + count, done + len(piece)
        return new

    def _check(
        self,
        call: InSession,
        items: Sequence[Any],
        revision: int | None,
        change: Callable[..., Any],
    ) -> Generator[Any, Any, None]:
        """Raise what any piece of *items* would raise, before the first is written."""

        def look() -> Generator[Any, Any, None]:
            header: Header | None = yield Look(call.session_id)
            yield from self._plan(call, items, revision, change, header, again=True)

        yield from repeated(look)

    def _plan(
        self,
        call: InSession,
        items: Sequence[Any],
        revision: int | None,
        change: Callable[..., Any],
        header: Header | None,
        *,
        named: bool = True,
        first: bool = True,
        again: bool,
    ) -> Generator[Any, Any, Plan]:
        """Plan to add *items* (drafts, or rows) by *change*; the answer is that of *change*, and whether it writes.

        Ids are looked up *first*, or *again*, when a commit has been refused: it refuses ids that the open part has. In
        other parts nothing would, so *named* ids, which may be known, are looked up if there are any.
        """
        base, expected = start(call, header, revision)
        known: list[Row] = []
        if base is header and (first or again or (named and len(base.parts) > 1)):
            ids = [getattr(item, "draft", item).message_id for item in items]
            known = yield from reading.known_in(call.session_id, base, ids)
        found = SessionState(base.data, list(known))
        answer = change(items, found, expected)
        if found.session is base.session and base is header:
            return None, (answer, False)
        after = base.counted(found, len(known)) if base is header else base.now(session=found.session)
        if items or base is not header:
            after = self.committer.prolong(base, after, call.now)
        return Commit(call.session_id, header, after, added=found.rows[len(known) :]), (answer, True)


def require(call: InSession, header: Header | None) -> Header:
    """Return *header*; raise `SessionNotFound` if it has no session that the scope of *call* sees."""
    if header is None or not rules.visible(header.session, call.scope, call.now):
        raise missing(call.session_id)
    return header


def check_free(session_id: str, header: Header | None, now: datetime) -> None:
    """Raise `SessionExists` unless the id is free; an expired session does not count."""
    if header is not None and header.session is not None and not rules.expired(header.session, now):
        raise taken(session_id)


def start(call: InSession, header: Header | None, revision: int | None) -> tuple[Header, int | None]:
    """Return the header to change, a new one where there is none, and the revision still to be expected of it."""
    if header is not None and rules.visible(header.session, call.scope, call.now):
        return header, revision
    check_free(call.session_id, header, call.now)
    if revision:
        raise stale(call.session_id, revision, 0)
    new = NewSession(call.session_id, call.scope, None, {}, None)
    return begin(rules.fresh(new, call.now), header, call.now), None
