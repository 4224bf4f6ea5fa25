"""The operations of the contract over a shelf of conversations that a backend lends one at a time.

This module knows when a session is found, made, taken, expired or dropped; it refuses to know where the shelf stands.
`chatstore.backends.conversation` has the rules inside one session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from chatstore.arguments import NewSession, Scope
from chatstore.backends import conversation as rules
from chatstore.backends.conversation import Conversation
from chatstore.codec import Appended, messages_of, record_of, records_of
from chatstore.failures import missing, stale, taken
from chatstore.messages import Capabilities, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from chatstore.arguments import Keyset, PurgeRule, SearchFilter, SessionFilter, UsageFilter, Window
    from chatstore.codec import Draft, Row
    from chatstore.messages import (
        ChatSession,
        Durability,
        Message,
        MessageRecord,
        Records,
        SearchHit,
        UsageRow,
    )


class SessionsCore(ABC):
    """Every operation, on five hooks: lock a session, find it, save it, drop it, walk over all of them.

    What the hooks hand out may be changed before `save`, from which on it counts. The lock is held by the operations
    themselves, in plain ``with`` statements: no interrupt comes between such a lock and its release.
    """

    capabilities = Capabilities(denied=frozenset(), atomic_batch=None, notes=("search scans every message",))

    # ---- hooks

    @abstractmethod
    def locked(self, session_id: str, *, write: bool) -> AbstractContextManager[object]:
        """Hold the session against other writers (and, for a writer, readers)."""

    @abstractmethod
    def find(self, session_id: str) -> Conversation | None:
        """Return the conversation, expired or not."""

    @abstractmethod
    def save(self, conversation: Conversation, *, rows: bool) -> None:
        """Keep a changed conversation; *rows* tells whether more than the session's own data changed."""

    @abstractmethod
    def drop(self, session_id: str) -> None:
        """Forget the session and all its rows."""

    @abstractmethod
    def session_data(self) -> Iterable[ChatSession]:
        """Return the own data of all sessions, expired or not, in any order."""

    @abstractmethod
    def durability(self) -> Durability:
        """Say what is kept when the process, or the machine, stops."""

    # ---- sessions

    def create(self, new: NewSession, now: datetime) -> ChatSession:
        """As `Repository.create_session`."""
        with self.locked(new.session_id, write=True):
            made = self._made(new, now)
            self.save(made, rows=True)
            return rules.handed_out(made.session)

    def get(self, scope: Scope, session_id: str, now: datetime) -> ChatSession | None:
        """As `Repository.get_session`; None for a missing one."""
        with self.locked(session_id, write=False):
            found = self._seen(scope, session_id, now)
            return rules.handed_out(found.session) if found else None

    def update(
        self,
        scope: Scope,
        session_id: str,
        changes: Mapping[str, Any],
        expected_revision: int | None,
        now: datetime,
    ) -> ChatSession:
        """As `Repository.update_session`."""
        with self.locked(session_id, write=True):
            found = self._require(scope, session_id, now)
            found.expect(expected_revision)
            changed = rules.changed(found.session, changes, now)
            if changed is not found.session:
                found.session = changed
                self.save(found, rows=False)
            return rules.handed_out(changed)

    def delete(self, scope: Scope, session_id: str, now: datetime) -> bool:
        """As `Repository.delete_session`."""
        with self.locked(session_id, write=True):
            if self._seen(scope, session_id, now) is None:
                return False
            self.drop(session_id)
            return True

    def sessions(
        self, scope: Scope, wanted: SessionFilter, limit: int, start: Keyset | None, now: datetime
    ) -> list[ChatSession]:
        """As `Repository.list_sessions`: at most *limit* sessions behind *start*."""
        found = [session for session in self.session_data() if rules.wanted(session, scope, wanted, now)]
        found.sort(key=lambda session: (session.updated_at, session.session_id), reverse=True)
        if start is not None:
            found = [session for session in found if (session.updated_at, session.session_id) < start]
        return [rules.handed_out(session) for session in found[:limit]]

    def fork(
        self, scope: Scope, session_id: str, new_session_id: str, through: int | None, now: datetime
    ) -> ChatSession:
        """As `Repository.fork_session`."""
        with self.locked(session_id, write=False):
            copy = self._require(scope, session_id, now).fork(new_session_id, through, scope, now)
        with self.locked(new_session_id, write=True):
            self._vacate(new_session_id, now)
            self.save(copy, rows=True)
            return rules.handed_out(copy.session)

    def load(self, scope: Scope, session_id: str, rows: Sequence[Row], now: datetime) -> int:
        """As `Repository.load_records`, for one chunk."""
        with self.locked(session_id, write=True):
            found, _ = self._find_or_make(scope, session_id, None, now)
            new = found.load(rows, now)
            self.save(found, rows=True)
            return new

    # ---- messages

    def append(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Appended:
        """As `Repository.add_messages`."""
        with self.locked(session_id, write=True):
            found, revision = self._find_or_make(scope, session_id, expected_revision, now)
            done = found.append(drafts, revision, now)
            self.save(found, rows=True)
            return done

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Appended:
        """As `Repository.replace_messages`."""
        with self.locked(session_id, write=True):
            found, revision = self._find_or_make(scope, session_id, expected_revision, now)
            done = found.replace(drafts, revision, now)
            self.save(found, rows=True)
            return done

    def messages(self, scope: Scope, session_id: str, window: Window, now: datetime) -> list[Message]:
        """As `Repository.get_messages`."""
        with self.locked(session_id, write=False):
            found = self._seen(scope, session_id, now)
            rows = found.window(window) if found else ()
        return messages_of(session_id, rows)

    def records(self, scope: Scope, session_id: str, window: Window, now: datetime) -> Records:
        """As `Repository.get_records`."""
        with self.locked(session_id, write=False):
            found = self._seen(scope, session_id, now)
            rows, revision = (found.window(window), found.session.revision) if found else ((), 0)
        return records_of(session_id, rows, revision)

    def message(self, scope: Scope, session_id: str, key: int | str, now: datetime) -> MessageRecord:
        """As `Repository.get_message`."""
        with self.locked(session_id, write=False):
            row = self._require(scope, session_id, now).row(key)
        return record_of(session_id, row)

    def edit(
        self,
        scope: Scope,
        session_id: str,
        key: int | str,
        draft: Draft,
        expected_revision: int | None,
        now: datetime,
    ) -> MessageRecord:
        """As `Repository.update_message`."""
        with self.locked(session_id, write=True):
            found = self._require(scope, session_id, now)
            before = found.session
            record = found.edit(key, draft, expected_revision, now)
            if found.session is not before:
                self.save(found, rows=True)
            return record

    def remove(self, scope: Scope, session_id: str, key: int | str, now: datetime) -> None:
        """As `Repository.delete_message`."""
        with self.locked(session_id, write=True):
            found = self._require(scope, session_id, now)
            found.remove(found.row(key), now)
            self.save(found, rows=True)

    def pop(self, scope: Scope, session_id: str, now: datetime) -> MessageRecord | None:
        """As `Repository.pop_message`."""
        with self.locked(session_id, write=True):
            found = self._seen(scope, session_id, now)
            if found is None or not found.rows:
                return None
            record = record_of(session_id, found.rows[-1])
            found.remove(found.rows[-1], now)
            self.save(found, rows=True)
            return record

    def count(self, scope: Scope, session_id: str, now: datetime) -> int:
        """As `Repository.count_messages`."""
        found = self.get(scope, session_id, now)
        return found.message_count if found else 0

    def truncate(self, scope: Scope, session_id: str, after: int, now: datetime) -> None:
        """As `Repository.truncate`."""
        with self.locked(session_id, write=True):
            found = self._seen(scope, session_id, now)
            if found is not None and found.truncate(after, now):
                self.save(found, rows=True)

    # ---- across sessions

    def search(self, scope: Scope, wanted: SearchFilter, now: datetime) -> list[SearchHit]:
        """As `Repository.search`: a scan."""
        return rules.hits(self._owned(scope, wanted, now), wanted)

    def usage(self, scope: Scope, wanted: UsageFilter, now: datetime) -> list[UsageRow]:
        """As `Repository.usage`."""
        return rules.usage(self._owned(scope, wanted, now), wanted)

    def purge(self, scope: Scope, rule: PurgeRule, now: datetime) -> PurgeReport:
        """As `Repository.purge`."""
        sessions = messages = 0
        for session in list(self.session_data()):
            with self.locked(session.session_id, write=True):
                found = self.find(session.session_id)
                if found is None or not rules.purged(found.session, scope, rule, now):
                    continue
                sessions, messages = sessions + 1, messages + found.session.message_count
                if not rule.dry_run:
                    self.drop(session.session_id)
        return PurgeReport(sessions=sessions, messages=messages, dry_run=rule.dry_run)

    # ---- finding and making

    def _seen(self, scope: Scope, session_id: str, now: datetime) -> Conversation | None:
        found = self.find(session_id)
        return found if found is not None and rules.visible(found.session, scope, now) else None

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

    def _made(self, new: NewSession, now: datetime) -> Conversation:
        self._vacate(new.session_id, now)
        return Conversation(rules.fresh(new, now))

    def _find_or_make(
        self, scope: Scope, session_id: str, expected_revision: int | None, now: datetime
    ) -> tuple[Conversation, int | None]:
        """Return the session, made where it is missing, and the revision that is still to be expected of it."""
        found = self._seen(scope, session_id, now)
        if found is not None:
            return found, expected_revision
        self._free(session_id, now)
        if expected_revision:
            raise stale(session_id, expected_revision, 0)
        return self._made(NewSession(session_id, scope, None, {}, None), now), None

    def _require(self, scope: Scope, session_id: str, now: datetime) -> Conversation:
        """Return the session; raise `SessionNotFound` where there is none."""
        found = self._seen(scope, session_id, now)
        if found is None:
            raise missing(session_id)
        return found

    def _owned(
        self, scope: Scope, wanted: SearchFilter | UsageFilter, now: datetime
    ) -> Iterator[Conversation]:
        owner = Scope(wanted.tenant_id, wanted.user_id)
        for session in list(self.session_data()):
            if rules.visible(session, scope, now) and owner.sees(session.tenant_id, session.user_id):
                with self.locked(session.session_id, write=False):
                    found = self._seen(scope, session.session_id, now)
                if found is not None:
                    yield found
