"""The operations of the contract over a shelf of conversations that a backend lends one at a time.

This module knows when a session is found, made, taken, expired or dropped; it refuses to know where the shelf stands.
`chatstore.backends.common.rules` has the rules inside one session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from chatstore.arguments import NewSession, Scope
from chatstore.backends.common import rules, searching
from chatstore.backends.common.rules import SessionState
from chatstore.codec import Appended, messages_of, record_of, records_of
from chatstore.contract import STATES, InSession, WithoutStates
from chatstore.failures import found_nowhere, missing, stale, taken
from chatstore.messages import Capabilities, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from chatstore.contract import (
        AddMessages,
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
        ListSessions,
        LoadRecords,
        NewStates,
        PopMessage,
        Purge,
        ReplaceMessages,
        Search,
        Truncate,
        UpdateMessage,
        UpdateSession,
        Usage,
    )
    from chatstore.messages import (
        ChatSession,
        Durability,
        Message,
        MessageRecord,
        Records,
        SearchHit,
        UsageRow,
    )


class WholeSessionCore(WithoutStates, ABC):
    """Every operation, on five hooks: lock a session, find it, save it, drop it, walk over all of them.

    What the hooks hand out may be changed before `save`, from which on it counts. The lock is held by the operations
    themselves, in plain ``with`` statements: no interrupt comes between such a lock and its release.
    """

    capabilities = Capabilities(denied=STATES, notes=("search scans every message",))

    # ---- hooks

    @abstractmethod
    def locked(self, session_id: str, *, write: bool) -> AbstractContextManager[object]:
        """Hold the session against other writers (and, for a writer, readers)."""

    @abstractmethod
    def find(self, session_id: str) -> SessionState | None:
        """Return the conversation, expired or not."""

    @abstractmethod
    def save(self, conversation: SessionState, *, rows: bool) -> None:
        """Keep a changed conversation; *rows* tells whether more than the session's own data changed."""

    @abstractmethod
    def drop(self, session_id: str) -> None:
        """Forget the session and all its rows."""

    @abstractmethod
    def session_data(self) -> Iterable[ChatSession]:
        """Return the own data of all sessions, expired or not, in any order."""

    def keep_states(self, scope: Scope, new: NewStates, now: datetime) -> None:
        """Set states with an append, which has succeeded; whoever denies states is given none."""
        del scope, new, now

    @abstractmethod
    def durability(self, call: AskDurability) -> Durability:
        """Say what is kept when the process, or the machine, stops."""

    # ---- sessions

    def create_session(self, call: CreateSession) -> ChatSession:
        """As `Repository.create_session`."""
        with self.locked(call.new.session_id, write=True):
            made = self._made(call.new, call.now)
            self.save(made, rows=True)
            return rules.handed_out(made.session)

    def get_session(self, call: InSession) -> ChatSession | None:
        """As `Repository.get_session`; None for a missing one."""
        with self.locked(call.session_id, write=False):
            found = self._seen(call)
            return rules.handed_out(found.session) if found else None

    def update_session(self, call: UpdateSession) -> ChatSession:
        """As `Repository.update_session`."""
        with self.locked(call.session_id, write=True):
            found = self._require(call)
            found.expect(call.expected_revision)
            changed = rules.changed(found.session, call)
            if changed is not found.session:
                found.session = changed
                self.save(found, rows=False)
            return rules.handed_out(changed)

    def delete_session(self, call: DeleteSession) -> bool:
        """As `Repository.delete_session`."""
        with self.locked(call.session_id, write=True):
            found = self._seen(call)
            if found is None:
                return False
            found.expect(call.expected_revision)
            self.drop(call.session_id)
            return True

    def list_sessions(self, call: ListSessions) -> list[ChatSession]:
        """As `Repository.list_sessions`: at most *limit* sessions behind *start*."""
        found = [
            session
            for session in self.session_data()
            if rules.wanted(session, call.scope, call.wanted, call.now)
        ]
        found = rules.sort_sessions(found, call.order, call.start, call.limit)
        return [rules.handed_out(session) for session in found]

    def fork_session(self, call: ForkSession) -> ChatSession:
        """As `Repository.fork_session`."""
        with self.locked(call.session_id, write=False):
            copy = self._require(call).fork(call.new_session_id, call.through, call.scope, call.now)
        with self.locked(call.new_session_id, write=True):
            self._vacate(call.new_session_id, call.now)
            self.save(copy, rows=True)
            return rules.handed_out(copy.session)

    def load_records(self, call: LoadRecords) -> int:
        """As `Repository.load_records`, for one chunk."""
        with self.locked(call.session_id, write=True):
            found, _ = self._find_or_make(call)
            new = found.load(call.rows, call.now)
            self.save(found, rows=True)
            return new

    # ---- messages

    def add_messages(self, call: AddMessages) -> Appended:
        """As `Repository.add_messages`."""
        with self.locked(call.session_id, write=True):
            found, revision = self._find_or_make(call, call.expected_revision)
            new = {} if call.states and found.repeats(call.drafts, revision) else call.states
            done = found.append(call.drafts, revision, call.now, changes=call.changes)
            self.save(found, rows=True)
            if new:
                self.keep_states(call.scope, new, call.now)
            return done

    def begin_answer(self, call: BeginAnswer) -> Appended:
        """As `Repository.begin_answer`."""
        with self.locked(call.session_id, write=True):
            found, revision = self._find_or_make(call, call.expected_revision)
            done = found.append(call.drafts, revision, call.now, after=call.after)
            self.save(found, rows=True)
            return done

    def replace_messages(self, call: ReplaceMessages) -> Appended:
        """As `Repository.replace_messages`."""
        with self.locked(call.session_id, write=True):
            found, revision = self._find_or_make(call, call.expected_revision)
            done = found.replace(call.drafts, revision, call.now)
            self.save(found, rows=True)
            return done

    def get_messages(self, call: GetMessages) -> list[Message]:
        """As `Repository.get_messages`."""
        with self.locked(call.session_id, write=False):
            found = self._seen(call)
            rows = found.window(call.window) if found else ()
        return messages_of(call.session_id, rows)

    def get_records(self, call: GetRecords) -> Records:
        """As `Repository.get_records`."""
        with self.locked(call.session_id, write=False):
            found = self._seen(call)
            rows, revision = (found.window(call.window), found.session.revision) if found else ((), 0)
        return records_of(call.session_id, rows, revision)

    def get_message(self, call: GetMessage) -> MessageRecord:
        """As `Repository.get_message`."""
        with self.locked(call.session_id, write=False):
            row = self._require(call).row(call.key)
        return record_of(call.session_id, row)

    def find_message(self, call: FindMessage) -> MessageRecord:
        """As `Repository.find_message`: a scan, in the order of creation."""
        for session in rules.sort_sessions(self.session_data(), "created_at", None, limit=None):
            with self.locked(session.session_id, write=False):
                found = self._seen(InSession(call.scope, call.now, session.session_id))
                row = found.ids().get(call.message_id) if found else None
            if row is not None:
                return record_of(session.session_id, row)
        raise found_nowhere(call.message_id)

    def update_message(self, call: UpdateMessage) -> MessageRecord:
        """As `Repository.update_message`."""
        with self.locked(call.session_id, write=True):
            found = self._require(call)
            before = found.session
            record = found.edit(call)
            if found.session is not before:
                self.save(found, rows=True)
            return record

    def delete_message(self, call: DeleteMessage) -> None:
        """As `Repository.delete_message`."""
        with self.locked(call.session_id, write=True):
            found = self._require(call)
            found.remove(found.row(call.key), call.now)
            self.save(found, rows=True)

    def pop_message(self, call: PopMessage) -> MessageRecord | None:
        """As `Repository.pop_message`."""
        with self.locked(call.session_id, write=True):
            found = self._seen(call)
            if found is None or not found.rows:
                return None
            record = record_of(call.session_id, found.rows[-1])
            found.remove(found.rows[-1], call.now)
            self.save(found, rows=True)
            return record

    def count_messages(self, call: CountMessages) -> int:
        """As `Repository.count_messages`."""
        found = self.get_session(call)
        return found.message_count if found else 0

    def truncate(self, call: Truncate) -> None:
        """As `Repository.truncate`."""
        with self.locked(call.session_id, write=True):
            found = self._seen(call)
            if found is not None and found.truncate(call.after, call.now):
                self.save(found, rows=True)

    # ---- across sessions

    def search(self, call: Search) -> list[SearchHit]:
        """As `Repository.search`: a scan."""
        return searching.hits(searching.matches(self._owned(call), call.wanted), call.wanted)

    def usage(self, call: Usage) -> list[UsageRow]:
        """As `Repository.usage`."""
        return rules.usage(self._owned(call), call.wanted)

    def purge(self, call: Purge) -> PurgeReport:
        """As `Repository.purge`."""
        sessions = messages = 0
        for session in list(self.session_data()):
            with self.locked(session.session_id, write=True):
                found = self.find(session.session_id)
                if found is None or not rules.purged(found.session, call.scope, call.rule, call.now):
                    continue
                sessions, messages = sessions + 1, messages + found.session.message_count
                if not call.rule.dry_run:
                    self.drop(session.session_id)
        return PurgeReport(sessions=sessions, messages=messages, dry_run=call.rule.dry_run)

    def close_answers(self, call: CloseAnswers) -> int:
        """As `Repository.close_answers`: a scan."""
        closed = 0
        for session in list(self.session_data()):
            if not rules.visible(session, call.scope, call.now):
                continue
            with self.locked(session.session_id, write=not call.dry_run):
                found = self._seen(InSession(call.scope, call.now, session.session_id))
                rows = found.rows if found else ()
                left = [row for row in rows if rules.unattended(row.draft, call.untouched_since)]
                closed += len(left)
                if found is not None and left and not call.dry_run:
                    for row in left:
                        found.edit(rules.closing(call, session.session_id, row.draft))
                    self.save(found, rows=True)
        return closed

    # ---- finding and making

    def _seen(self, call: InSession) -> SessionState | None:
        found = self.find(call.session_id)
        return found if found is not None and rules.visible(found.session, call.scope, call.now) else None

    def _free(self, session_id: str, now: datetime) -> bool:
        """Raise `SessionExists` unless the id is free; tell whether an expired session must go first."""
        found = self.find(session_id)
        if found is not None and not rules.expired(found.session, now):
            raise taken(session_id)
        return found is not None

    def _vacate(self, session_id: str, now: datetime) -> None:
        """Make the id free: an expired session goes, any other one raises `SessionExists`."""
        if self._free(session_id, now):
            self.drop(session_id)

    def _made(self, new: NewSession, now: datetime) -> SessionState:
        self._vacate(new.session_id, now)
        return SessionState(rules.fresh(new, now))

    def _find_or_make(self, call: InSession, expected: int | None = None) -> tuple[SessionState, int | None]:
        """Return the session, made where it is missing, and the revision that is still to be expected of it."""
        found = self._seen(call)
        if found is not None:
            return found, expected
        self._free(call.session_id, call.now)
        if expected:
            raise stale(call.session_id, expected, 0)
        return self._made(NewSession(call.session_id, call.scope, None, {}, None), call.now), None

    def _require(self, call: InSession) -> SessionState:
        """Return the session; raise `SessionNotFound` where there is none."""
        found = self._seen(call)
        if found is None:
            raise missing(call.session_id)
        return found

    def _owned(self, call: Search | Usage) -> Iterator[SessionState]:
        owner = Scope(call.wanted.tenant_id, call.wanted.user_id)
        for session in list(self.session_data()):
            if rules.visible(session, call.scope, call.now) and owner.sees(
                session.tenant_id, session.user_id
            ):
                with self.locked(session.session_id, write=False):
                    found = self._seen(InSession(call.scope, call.now, session.session_id))
                if found is not None:
                    yield found
