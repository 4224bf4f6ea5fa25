"""`DocumentsCore`: the operations of the contract over a store that commits several documents on condition.

This module knows in which order documents are read and written, and what is written again after a lost race; it
refuses to know the service. What an operation does to a session is in `chatstore.backends.conversation`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chatstore.arguments import EVERYTHING, NewSession, Scope, Window
from chatstore.backends import conversation as rules
from chatstore.backends.conversation import Conversation
from chatstore.backends.documents import reading
from chatstore.backends.documents.appending import Appender, check_free, require, start
from chatstore.backends.documents.attempts import repeated
from chatstore.backends.documents.committing import Committer
from chatstore.backends.documents.header import begin, sweep_time
from chatstore.backends.documents.listing import Lister, drop
from chatstore.backends.documents.steps import Commit, Count
from chatstore.codec import Appended, messages_of, record_of, records_of
from chatstore.failures import missing
from chatstore.messages import Records

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime

    from chatstore.backends.documents.committing import Plan
    from chatstore.backends.documents.header import Header
    from chatstore.backends.documents.steps import Store
    from chatstore.codec import Draft, Row
    from chatstore.messages import ChatSession, Durability, Message, MessageRecord


class DocumentsCore:
    """Every operation, on the steps of a store."""

    def __init__(self, store: Store, ttl: int | None = None) -> None:
        """Work on *store*; *ttl* as for `Committer`."""
        self.store = store
        self.capabilities = store.capabilities
        self.committer = committer = Committer(store, ttl)

        appender = Appender(committer)
        self.append, self.load = appender.append, appender.load

        lister = Lister(committer)
        self.sessions, self.search = lister.sessions, lister.search
        self.usage, self.purge = lister.usage, lister.purge

    # ---- sessions

    def create(self, new: NewSession, now: datetime) -> Generator[Any, Any, ChatSession]:
        def attempt(header: Header | None) -> Plan:
            check_free(new.session_id, header, now)
            session = rules.fresh(new, now)
            commit = Commit(new.session_id, header, begin(session, header, now))
            return commit, rules.handed_out(session)

        return self.committer.write(new.session_id, attempt, now)

    def get(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, ChatSession | None]:
        header = yield from repeated(partial(reading.seen, scope, session_id, now))
        return rules.handed_out(header.data) if header else None

    def update(
        self,
        scope: Scope,
        session_id: str,
        changes: Mapping[str, Any],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, ChatSession]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            found = require(scope, session_id, header, now)
            Conversation(found.data).expect(expected_revision)
            changed = rules.changed(found.data, changes, now)
            if changed is found.session:
                return None, rules.handed_out(changed)
            commit = yield from self._plan_update(session_id, found, changed, now)
            return commit, rules.handed_out(changed)

        return self.committer.write(session_id, attempt, now)

    def _plan_update(
        self, session_id: str, header: Header, changed: ChatSession, now: datetime
    ) -> Generator[Any, Any, Commit]:
        """Return the commit of changed session data; items that a service would sweep too early are written anew."""
        wanted = sweep_time(changed.expires_at)
        if not changed.message_count:
            return Commit(session_id, header, header.now(session=changed, sweep_at=wanted))
        if header.sweep_at is None or (wanted is not None and wanted <= header.sweep_at):
            return Commit(session_id, header, header.now(session=changed))
        rows = yield from reading.rows_in(session_id, header, EVERYTHING)
        after = replace(header.emptied(changed, 0, now), sweep_at=None)
        commit = yield from self.committer.make_reachable(session_id, header, after, rows)
        return commit

    def delete(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, bool]:
        def attempt(header: Header | None) -> Plan:
            if header is None or not rules.visible(header.session, scope, now):
                return None, False
            return drop(session_id, header, now), True

        return self.committer.write(session_id, attempt, now)

    def fork(
        self, scope: Scope, session_id: str, new_session_id: str, through: int | None, now: datetime
    ) -> Generator[Any, Any, ChatSession]:
        window = Window() if through is None else Window(before=through + 1)
        source = yield from repeated(partial(reading.snapshot, scope, session_id, window, now))
        if source is None:
            raise missing(session_id)
        copy = source.fork(new_session_id, through, scope, now)

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            check_free(new_session_id, header, now)
            empty = begin(copy.session, header, now)
            commit = yield from self.committer.make_reachable(new_session_id, header, empty, copy.rows)
            return commit, rules.handed_out(copy.session)

        done: ChatSession = yield from self.committer.write(new_session_id, attempt, now)
        return done

    # ---- messages

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        self.committer.check_sizes(session_id, drafts)

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            base, revision = start(scope, session_id, header, expected_revision, now)
            found = Conversation(base.data)
            last = found.session.last_position
            done = found.replace(drafts, revision, now)
            new = base is not header
            after = base.now(session=found.session) if new else base.emptied(found.session, last, now)
            after = self.committer.prolong(base, after, now)
            commit = yield from self.committer.make_reachable(session_id, header, after, found.rows)
            return commit, done

        return self.committer.write(session_id, attempt, now)

    def messages(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, list[Message]]:
        found = yield from repeated(partial(reading.snapshot, scope, session_id, window, now))
        return messages_of(session_id, found.rows) if found else []

    def records(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, Records]:
        found = yield from repeated(partial(reading.snapshot, scope, session_id, window, now))
        return records_of(session_id, found.rows, found.session.revision) if found else Records()

    def message(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, MessageRecord]:
        def attempt() -> Generator[Any, Any, Row]:
            header = yield from reading.seen(scope, session_id, now)
            if header is None:
                raise missing(session_id)
            _, row = yield from reading.row_at(session_id, header, key)
            return row

        row = yield from repeated(attempt)
        return record_of(session_id, row)

    def edit(
        self,
        scope: Scope,
        session_id: str,
        key: int | str,
        draft: Draft,
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, MessageRecord]:
        self.committer.check_sizes(session_id, [draft])

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            before = require(scope, session_id, header, now)
            generation, row = yield from reading.row_at(session_id, before, key)
            found = Conversation(before.data, [row])
            record = found.edit(key, draft, expected_revision, now)
            if found.session is before.session:
                return None, record
            edited = [(generation, found.rows[0])]
            return Commit(session_id, before, before.counted(found, 1), put=edited), record

        return self.committer.write(session_id, attempt, now)

    def remove(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, None]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            before = require(scope, session_id, header, now)
            generation, row = yield from reading.row_at(session_id, before, key)
            return _plan_removal(session_id, before, generation, row, now), None

        return self.committer.write(session_id, attempt, now)

    def pop(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, MessageRecord | None]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            if header is None or not rules.visible(header.session, scope, now):
                return None, None
            rows = yield from reading.rows_in(session_id, header, Window(last=1))
            if not rows:
                return None, None
            generation = header.generation_of(rows[0].position)
            commit = _plan_removal(session_id, header, generation, rows[0], now)
            return commit, record_of(session_id, rows[0])

        return self.committer.write(session_id, attempt, now)

    def count(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, int]:
        header = yield from repeated(partial(reading.seen, scope, session_id, now))
        return header.data.message_count if header else 0

    def truncate(self, scope: Scope, session_id: str, after: int, now: datetime) -> Generator[Any, Any, None]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            if header is None or not rules.visible(header.session, scope, now):
                return None, None
            commit = yield from self._plan_truncate(session_id, header, after, now)
            return commit, None

        return self.committer.write(session_id, attempt, now, repeatable=True)

    def _plan_truncate(
        self, session_id: str, header: Header, after: int, now: datetime
    ) -> Generator[Any, Any, Commit | None]:
        """Return the commit that drops what comes after *after*: a few rows by themselves, many by dropping parts."""
        session = header.data
        found = Conversation(session)
        if not session.message_count or after >= session.last_position:
            return None
        if after <= header.parts[0].after:
            found.replace([], None, now)
            return Commit(session_id, header, header.emptied(found.session, session.last_position, now))
        few = self.store.limits.messages
        rows = yield from reading.rows_in(session_id, header, Window(after=after, last=few + 1))
        found = Conversation(session, list(rows))
        if not found.truncate(after, now):
            return None
        if len(rows) <= few:
            gone = [(header.generation_of(row.position), row) for row in rows]
            return Commit(session_id, header, header.counted(found, len(rows)), removed=gone)
        kept = 0
        for part in header.ranges(Window(before=after + 1)):
            kept += yield Count(session_id, part.generation, part.after, part.last)
        return Commit(session_id, header, header.cut(replace(found.session, message_count=kept), after, now))

    def durability(self) -> Durability:
        return self.store.durability()


# ------------------------------------------------------------------------------------------------ finding and making


def _plan_removal(session_id: str, header: Header, generation: str, row: Row, now: datetime) -> Commit:
    """Return the commit that removes *row*."""
    found = Conversation(header.data, [row])
    found.remove(row, now)
    return Commit(session_id, header, header.counted(found, 1), removed=[(generation, row)])
