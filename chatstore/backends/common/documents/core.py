"""`DocumentsCore`: the operations of the contract over a store that commits several documents on condition.

This module knows in which order documents are read and written, and what is written again after a lost race; it
refuses to know the service. What an operation does to a session is in `chatstore.backends.common.rules`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from chatstore.arguments import EVERYTHING, Scope, Window
from chatstore.backends.common import rules
from chatstore.backends.common.documents import reading
from chatstore.backends.common.documents.appending import Appender, check_free, require, start
from chatstore.backends.common.documents.attempts import repeated
from chatstore.backends.common.documents.committing import Committer
from chatstore.backends.common.documents.header import begin, sweep_time
from chatstore.backends.common.documents.listing import Lister, Pages, drop
from chatstore.backends.common.documents.steps import Commit, Count
from chatstore.backends.common.rules import SessionState
from chatstore.codec import Appended, messages_of, record_of, records_of
from chatstore.contract import InSession, WithoutStates
from chatstore.failures import found_nowhere, missing
from chatstore.messages import Records

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    from chatstore.backends.common.documents.committing import Plan
    from chatstore.backends.common.documents.header import Header
    from chatstore.backends.common.documents.steps import Store
    from chatstore.codec import Row
    from chatstore.contract import (
        AskDurability,
        BeginAnswer,
        CloseAnswers,
        CountMessages,
        CreateSession,
        DeleteMessage,
        DeleteSession,
        FindMessage,
        ForkSession,
        GetMessage,
        GetMessages,
        GetRecords,
        PopMessage,
        ReplaceMessages,
        Truncate,
        UpdateMessage,
        UpdateSession,
    )
    from chatstore.messages import ChatSession, Durability, Message, MessageRecord


class DocumentsCore(WithoutStates):
    """Every operation, on the steps of a store."""

    def __init__(self, store: Store, ttl: int | None = None) -> None:
        """Work on *store*; *ttl* as for `Committer`."""
        self.store = store
        self.capabilities = store.capabilities
        self.committer = committer = Committer(store, ttl)

        appender = Appender(committer)
        self.add_messages, self.load_records = appender.add_messages, appender.load_records

        lister = Lister(committer)
        self.list_sessions, self.search = lister.list_sessions, lister.search
        self.usage, self.purge = lister.usage, lister.purge

    # ---- sessions

    def create_session(self, call: CreateSession) -> Generator[Any, Any, ChatSession]:
        def attempt(header: Header | None) -> Plan:
            check_free(call.new.session_id, header, call.now)
            session = rules.fresh(call.new, call.now)
            commit = Commit(call.new.session_id, header, begin(session, header, call.now))
            return commit, rules.handed_out(session)

        return self.committer.write(call.new.session_id, attempt, call.now)

    def get_session(self, call: InSession) -> Generator[Any, Any, ChatSession | None]:
        header = yield from repeated(partial(reading.seen, call))
        return rules.handed_out(header.data) if header else None

    def update_session(self, call: UpdateSession) -> Generator[Any, Any, ChatSession]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            found = require(call, header)
            SessionState(found.data).expect(call.expected_revision)
            changed = rules.changed(found.data, call)
            if changed is found.session:
                return None, rules.handed_out(changed)
            commit = yield from self._plan_update(call.session_id, found, changed, call.now)
            return commit, rules.handed_out(changed)

        return self.committer.write(call.session_id, attempt, call.now)

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

    def delete_session(self, call: DeleteSession) -> Generator[Any, Any, bool]:
        def attempt(header: Header | None) -> Plan:
            if header is None or not rules.visible(header.session, call.scope, call.now):
                return None, False
            SessionState(header.data).expect(call.expected_revision)
            return drop(call.session_id, header, call.now), True

        return self.committer.write(call.session_id, attempt, call.now)

    def fork_session(self, call: ForkSession) -> Generator[Any, Any, ChatSession]:
        window = Window() if call.through is None else Window(before=call.through + 1)
        source = yield from repeated(partial(reading.snapshot, call, window))
        if source is None:
            raise missing(call.session_id)
        copy = source.fork(call.new_session_id, call.through, call.scope, call.now)

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            check_free(call.new_session_id, header, call.now)
            empty = begin(copy.session, header, call.now)
            commit = yield from self.committer.make_reachable(call.new_session_id, header, empty, copy.rows)
            return commit, rules.handed_out(copy.session)

        done: ChatSession = yield from self.committer.write(call.new_session_id, attempt, call.now)
        return done

    # ---- messages

    def begin_answer(self, call: BeginAnswer) -> Generator[Any, Any, Appended]:
        if call.after is None:
            return (yield from self.add_messages(call))
        self.committer.check_sizes(call.session_id, call.drafts)

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            base, revision = start(call, header, call.expected_revision)
            new = base is not header
            rows = [] if new else (yield from reading.rows_in(call.session_id, base, EVERYTHING))
            found = SessionState(base.data, list(rows))
            done = found.append(call.drafts, revision, call.now, after=call.after)
            if found.session is base.session:
                return None, done
            after = base.now(session=found.session) if new else base.emptied(found.session, 0, call.now)
            after = self.committer.prolong(base, after, call.now)
            commit = yield from self.committer.make_reachable(call.session_id, header, after, found.rows)
            return commit, done

        done: Appended = yield from self.committer.write(
            call.session_id, attempt, call.now, repeatable=call.repeatable
        )
        return done

    def close_answers(self, call: CloseAnswers) -> Generator[Any, Any, int]:
        """Read session by session, so that only one session's messages are in memory at a time."""
        closed = 0
        pages = Pages(call.scope, Scope(), None)
        while (page := (yield from pages.next())) is not None:
            for session_id, header in page.headers:
                if header.session is None:
                    continue
                read = partial(reading.snapshot, InSession(call.scope, call.now, session_id), EVERYTHING)
                found = yield from repeated(read)
                for row in found.rows if found else ():
                    if rules.unattended(row.draft, call.untouched_since):
                        closed += 1
                        if not call.dry_run:
                            yield from self.update_message(rules.closing(call, session_id, row.draft))
        return closed

    def replace_messages(self, call: ReplaceMessages) -> Generator[Any, Any, Appended]:
        self.committer.check_sizes(call.session_id, call.drafts)

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            base, revision = start(call, header, call.expected_revision)
            found = SessionState(base.data)
            last = found.session.last_position
            done = found.replace(call.drafts, revision, call.now)
            new = base is not header
            after = base.now(session=found.session) if new else base.emptied(found.session, last, call.now)
            after = self.committer.prolong(base, after, call.now)
            commit = yield from self.committer.make_reachable(call.session_id, header, after, found.rows)
            return commit, done

        return self.committer.write(call.session_id, attempt, call.now)

    def get_messages(self, call: GetMessages) -> Generator[Any, Any, list[Message]]:
        found = yield from repeated(partial(reading.snapshot, call, call.window))
        return messages_of(call.session_id, found.rows) if found else []

    def get_records(self, call: GetRecords) -> Generator[Any, Any, Records]:
        found = yield from repeated(partial(reading.snapshot, call, call.window))
        return records_of(call.session_id, found.rows, found.session.revision) if found else Records()

    def get_message(self, call: GetMessage) -> Generator[Any, Any, MessageRecord]:
        def attempt() -> Generator[Any, Any, Row]:
            header = yield from reading.seen(call)
            if header is None:
                raise missing(call.session_id)
            _, row = yield from reading.row_at(call.session_id, header, call.key)
            return row

        row = yield from repeated(attempt)
        return record_of(call.session_id, row)

    def find_message(self, call: FindMessage) -> Generator[Any, Any, MessageRecord]:
        """Ask every session for the id, one after another."""
        found: list[tuple[datetime, str, Row]] = []
        pages = Pages(call.scope, Scope(), None)
        while (page := (yield from pages.next())) is not None:
            for session_id, header in page.headers:
                if header.session is None or not rules.visible(header.session, call.scope, call.now):
                    continue
                begun = header.session.created_at
                if not found or (begun, session_id) < found[0][:2]:
                    known = partial(reading.known_in, session_id, header, [call.message_id])
                    found = [(begun, session_id, row) for row in (yield from repeated(known))] or found
        if not found:
            raise found_nowhere(call.message_id)
        return record_of(found[0][1], found[0][2])

    def update_message(self, call: UpdateMessage) -> Generator[Any, Any, MessageRecord]:
        self.committer.check_sizes(call.session_id, [call.draft])

        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            before = require(call, header)
            generation, row = yield from reading.row_at(call.session_id, before, call.key)
            found = SessionState(before.data, [row])
            record = found.edit(call)
            if found.session is before.session:
                return None, record
            edited = [(generation, found.rows[0])]
            return Commit(call.session_id, before, before.counted(found, 1), put=edited), record

        return self.committer.write(call.session_id, attempt, call.now, repeatable=call.repeatable)

    def delete_message(self, call: DeleteMessage) -> Generator[Any, Any, None]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            before = require(call, header)
            generation, row = yield from reading.row_at(call.session_id, before, call.key)
            return _plan_removal(call.session_id, before, generation, row, call.now), None

        return self.committer.write(call.session_id, attempt, call.now)

    def pop_message(self, call: PopMessage) -> Generator[Any, Any, MessageRecord | None]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            if header is None or not rules.visible(header.session, call.scope, call.now):
                return None, None
            rows = yield from reading.rows_in(call.session_id, header, Window(last=1))
            if not rows:
                return None, None
            generation = header.generation_of(rows[0].position)
            commit = _plan_removal(call.session_id, header, generation, rows[0], call.now)
            return commit, record_of(call.session_id, rows[0])

        return self.committer.write(call.session_id, attempt, call.now)

    def count_messages(self, call: CountMessages) -> Generator[Any, Any, int]:
        header = yield from repeated(partial(reading.seen, call))
        return header.data.message_count if header else 0

    def truncate(self, call: Truncate) -> Generator[Any, Any, None]:
        def attempt(header: Header | None) -> Generator[Any, Any, Plan]:
            if header is None or not rules.visible(header.session, call.scope, call.now):
                return None, None
            commit = yield from self._plan_truncate(call.session_id, header, call.after, call.now)
            return commit, None

        return self.committer.write(call.session_id, attempt, call.now, repeatable=call.repeatable)

    def _plan_truncate(
        self, session_id: str, header: Header, after: int, now: datetime
    ) -> Generator[Any, Any, Commit | None]:
        """Return the commit that drops what comes after *after*: a few rows by themselves, many by dropping parts."""
        session = header.data
        found = SessionState(session)
        if not session.message_count or after >= session.last_position:
            return None
        if after <= header.parts[0].after:
            found.replace([], None, now)
            return Commit(session_id, header, header.emptied(found.session, session.last_position, now))
        few = self.store.limits.messages
        rows = yield from reading.rows_in(session_id, header, Window(after=after, last=few + 1))
        found = SessionState(session, list(rows))
        if not found.truncate(after, now):
            return None
        if len(rows) <= few:
            gone = [(header.generation_of(row.position), row) for row in rows]
            return Commit(session_id, header, header.counted(found, len(rows)), removed=gone)
        kept = 0
        for part in header.ranges(Window(before=after + 1)):
            kept += yield Count(session_id, part.generation, part.after, part.last)
        return Commit(session_id, header, header.cut(replace(found.session, message_count=kept), after, now))

    def durability(self, _call: AskDurability) -> Durability:
        return self.store.durability()


# ------------------------------------------------------------------------------------------------ finding and making


def _plan_removal(session_id: str, header: Header, generation: str, row: Row, now: datetime) -> Commit:
    """Return the commit that removes *row*."""
    found = SessionState(header.data, [row])
    found.remove(row, now)
    return Commit(session_id, header, header.counted(found, 1), removed=[(generation, row)])
