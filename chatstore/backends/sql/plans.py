"""`SQLCore`: which function of a Connection each operation runs, in what kind of transaction, and when again.

This module knows retries; it refuses to know how a connection is lent and whether anything is awaited. Each operation
is a generator that yields steps and pauses: `SQLRepository` and `AsyncSQLRepository` carry them out.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from chatstore.backends.sql import core, search
from chatstore.backends.sql.dialects import durability_of
from chatstore.errors import (
    ChatstoreError,
    OutcomeUnknown,
    SchemaMissing,
    StorageError,
    StorageUnavailable,
)
from chatstore.messages import Capabilities, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from datetime import datetime

    from chatstore.arguments import (
        Keyset,
        NewSession,
        PurgeRule,
        Scope,
        SearchFilter,
        SessionFilter,
        UsageFilter,
        Window,
    )
    from chatstore.backends.sql.dialects import Kind
    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Draft
    from chatstore.core import Appended, Row
    from chatstore.messages import (
        ChatSession,
        Durability,
        Message,
        MessageRecord,
        Records,
        SearchHit,
        UsageRow,
    )

#: Seconds after which a busy or unreachable database is an error, whatever the number of attempts.
DEADLINE = 20.0
#: Attempts to reach a server that refuses connections: an application should hear of it soon.
UNREACHABLE_ATTEMPTS = 4
#: Attempts to make a row that somebody else makes at the same moment.
DUPLICATE_ATTEMPTS = 8
_SHORTEST, _LONGEST = 0.005, 1.0


class Step(NamedTuple):
    """A function of a Connection to run: as a *unit*, in a transaction of its own, else as one statement."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    unit: bool


class Pause(NamedTuple):
    """Seconds to wait before the next step."""

    seconds: float


@dataclass
class Failed(Exception):
    """What whoever lends connections raises for a driver's error.

    *ambiguous*: the step may have been committed all the same.
    """

    kind: Kind
    cause: BaseException | None
    ambiguous: bool


class SQLCore:
    """The operations of the contract on a SQL database.

    *inside* is true in a caller's transaction: nothing is retried there, and every change locks the session first.
    """

    def __init__(self, q: Statements, *, inside: bool = False) -> None:
        """Work on the tables of *q*."""
        self.q = q
        self.inside = inside
        self.capabilities = Capabilities(denied=frozenset(), atomic_batch=None, notes=q.traits.notes)

    # ---- sessions

    def create(self, scope: Scope, new: NewSession, now: datetime) -> Generator[Any, Any, ChatSession]:
        del scope  # the new session's owner is inside it already
        return self._unit(core.create, new, now)

    def get(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, ChatSession | None]:
        return self._read(core.get, scope, session_id, now)

    def update(
        self,
        scope: Scope,
        session_id: str,
        changes: Mapping[str, Any],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, ChatSession]:
        return self._unit(core.update, scope, session_id, changes, expected_revision, now)

    def delete(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, bool]:
        return self._unit(core.delete, scope, session_id, now)

    def sessions(
        self, scope: Scope, wanted: SessionFilter, limit: int, start: Keyset | None, now: datetime
    ) -> Generator[Any, Any, list[ChatSession]]:
        return self._read(core.list_sessions, scope, wanted, limit, start, now)

    def fork(
        self, scope: Scope, session_id: str, new_session_id: str, through: int | None, now: datetime
    ) -> Generator[Any, Any, ChatSession]:
        return self._unit(core.fork, scope, session_id, new_session_id, through, now)

    def load(
        self, scope: Scope, session_id: str, rows: Sequence[Row], now: datetime
    ) -> Generator[Any, Any, int]:
        return self._unit(core.load, scope, session_id, rows, now, repeatable=True)

    # ---- messages

    def append(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        """Append without a look-up first; only what that refuses is looked at under the session's lock."""
        if expected_revision is None and not self.inside:
            at_once = Step(
                core.append_once,
                (self.q, scope, session_id, drafts, now),
                self.q.traits.append != "one_statement",
            )
            try:
                done: Appended | None = yield from self._attempts(at_once, repeatable=True)
            except Failed:
                done = None
            if done is not None:
                return done
        checked = (scope, session_id, drafts, expected_revision, now)
        done = yield from self._unit(core.append_checked, *checked, repeatable=True)
        return cast("Appended", done)

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, Appended]:
        return self._unit(core.replace, scope, session_id, drafts, expected_revision, now)

    def messages(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, list[Message]]:
        return self._read(core.messages, scope, session_id, window, now)

    def records(
        self, scope: Scope, session_id: str, window: Window, now: datetime
    ) -> Generator[Any, Any, Records]:
        return self._read(core.records, scope, session_id, window, now)

    def message(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, MessageRecord]:
        return self._read(core.message, scope, session_id, key, now)

    def edit(
        self,
        scope: Scope,
        session_id: str,
        key: int | str,
        draft: Draft,
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, MessageRecord]:
        return self._unit(core.edit, scope, session_id, key, draft, expected_revision, now)

    def remove(
        self, scope: Scope, session_id: str, key: int | str, now: datetime
    ) -> Generator[Any, Any, None]:
        return self._unit(core.remove, scope, session_id, key, now)

    def pop(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, MessageRecord | None]:
        return self._unit(core.pop, scope, session_id, now)

    def count(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, int]:
        return self._read(core.count, scope, session_id, now)

    def truncate(self, scope: Scope, session_id: str, after: int, now: datetime) -> Generator[Any, Any, None]:
        return self._unit(core.truncate, scope, session_id, after, now, repeatable=True)

    # ---- across sessions

    def search(
        self, scope: Scope, wanted: SearchFilter, now: datetime
    ) -> Generator[Any, Any, list[SearchHit]]:
        # InnoDB shows FULLTEXT what is committed only, not what this transaction has written.
        scan = self.inside and self.q.traits.search == "fulltext"
        return self._read(search.scan if scan else search.search, scope, wanted, now)

    def usage(self, scope: Scope, wanted: UsageFilter, now: datetime) -> Generator[Any, Any, list[UsageRow]]:
        return self._read(core.usage, scope, wanted, now)

    def purge(self, scope: Scope, rule: PurgeRule, now: datetime) -> Generator[Any, Any, PurgeReport]:
        """Delete in transactions of a few hundred sessions, so that no lock is held for long."""
        if rule.dry_run:
            counted = yield from self._read(core.purge_counts, scope, rule, now)
            return cast("PurgeReport", counted)
        sessions = messages = 0
        while True:
            some, lost = yield from self._unit(core.purge_some, scope, rule, now)
            sessions, messages = sessions + some, messages + lost
            if not some:
                return PurgeReport(sessions=sessions, messages=messages, dry_run=False)

    def durability(self) -> Generator[Any, Any, Durability]:
        return self._read(lambda c, _: durability_of(c))

    def checked(
        self, function: Callable[[Any, str | None], Any], schema: str | None, *, unit: bool
    ) -> Generator[Any, Any, Any]:
        """Run *function* on a connection and the *schema*."""
        return self._attempts(Step(function, (schema,), unit), repeatable=True)

    # ---- how steps are tried

    def _read(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        return self._attempts(Step(function, (self.q, *args), unit=False), repeatable=True)

    def _unit(
        self, function: Callable[..., Any], *args: Any, repeatable: bool = False
    ) -> Generator[Any, Any, Any]:
        return self._attempts(Step(function, (self.q, *args), unit=True), repeatable=repeatable)

    def _attempts(self, step: Step, *, repeatable: bool) -> Generator[Any, Any, Any]:
        """Yield *step* until it succeeds; raise `Failed` only for a unique violation of `append_once`."""
        started, longest, attempt = time.monotonic(), _SHORTEST, 0
        while True:
            try:
                return (yield step)
            except Failed as failed:
                attempt += 1
                if failed.kind == "duplicate" and step.function is core.append_once:
                    raise
                late = time.monotonic() - started > DEADLINE
                if self.inside or late or not worthwhile(failed, attempt, repeatable=repeatable):
                    raise final(failed, inside=self.inside, repeatable=repeatable) from failed.cause
                lost = failed.kind == "lost"
            longest = min(2 * longest, _LONGEST)
            # A broken connection is replaced at once: the pool has just dropped all others of that age.
            yield Pause(0 if lost and attempt == 1 else random.uniform(longest / 2, longest))  # noqa: S311 - jitter


def worthwhile(failed: Failed, attempt: int, *, repeatable: bool) -> bool:
    """Tell whether a failed step is tried again."""
    if failed.kind == "busy":
        return True
    if failed.kind == "duplicate":  # somebody made the same session; what is there is found the next time
        return attempt < DUPLICATE_ATTEMPTS
    if failed.kind != "lost" or (failed.ambiguous and not repeatable):
        return False
    return attempt < UNREACHABLE_ATTEMPTS


_ADVICE: dict[str, tuple[type[ChatstoreError], str]] = {
    "busy": (StorageUnavailable, "the database stayed busy until the deadline: repeat the call later"),
    "exhausted": (
        StorageUnavailable,
        "every connection of the engine's pool stayed in use: close what holds them, or raise its pool_size",
    ),
    "duplicate": (StorageUnavailable, "another writer made the same row at the same moment: repeat the call"),
    "lost": (
        StorageUnavailable,
        "the database cannot be reached: check that it runs, and the URL's host, port and password",
    ),
    "readonly": (StorageError, "the database is read-only: make it writable, or connect to the primary"),
    "no_table": (
        SchemaMissing,
        "a chatstore table or column is missing: run chatstore upgrade on this database",
    ),
    "full": (StorageError, "the disk of the database is full: free some space, then repeat the call"),
    "too_large": (
        StorageError,
        "the database refuses a value of this size: shorten the message, or raise the server's limit",
    ),
    "refused": (
        StorageError,
        "the database refuses access: check the URL's user, password, path and database name",
    ),
    "no_database": (
        StorageError,
        "the file is no SQLite database: check the URL's path, or move that file away",
    ),
    "damaged": (
        StorageError,
        "the SQLite file is damaged: restore it from a backup, or save what can be read with sqlite3's .recover",
    ),
    "other": (
        StorageError,
        "the database refused a statement: its own error is this error's __cause__; look there",
    ),
}


def final(failed: Failed, *, inside: bool, repeatable: bool) -> ChatstoreError:
    """Return the error a caller sees for *failed*."""
    if failed.kind == "lost" and failed.ambiguous and not repeatable:
        return OutcomeUnknown(
            "the connection broke while the change was being committed, and it may be stored: read before repeating it"
        )
    kind, advice = _ADVICE[failed.kind]
    if kind is StorageUnavailable:
        again = inside and failed.kind in {"busy", "duplicate"}
        if again:
            advice = (
                "the caller's transaction lost against another one: roll it back and repeat the whole of it"
            )
        return StorageUnavailable(advice, retry_transaction=again)
    return kind(advice)
