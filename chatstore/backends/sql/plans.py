"""`SQLCore`: which function of a Connection each operation runs, in what kind of transaction, and when again.

This module knows retries; it refuses to know how a connection is lent and whether anything is awaited. Each operation
is a generator that yields steps and pauses: `SQLRepository` and `AsyncSQLRepository` carry them out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from chatstore.backends.sql import core, search
from chatstore.backends.sql.places import schema_state, upgrade_empty
from chatstore.errors import (
    ChatstoreError,
    OutcomeUnknown,
    SchemaMissing,
    StorageError,
    StorageUnavailable,
)
from chatstore.messages import Capabilities, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from chatstore.backends.sql.dialects.base import Kind
    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Appended
    from chatstore.contract import AddMessages, C, Purge, Search
    from chatstore.messages import SearchHit

#: Seconds after which a busy or unreachable database is an error, whatever the number of attempts.
DEADLINE = 20.0
#: Attempts to reach a server that refuses connections: an application should hear of it soon.
UNREACHABLE_ATTEMPTS = 4
#: Attempts to make a row that somebody else makes at the same moment.
DUPLICATE_ATTEMPTS = 8
_SHORTEST, _LONGEST = 0.005, 1.0


R = TypeVar("R")


class Step(NamedTuple, Generic[R]):
    """A function of a Connection to run: as a *unit*, in a transaction of its own, else as one statement."""

    function: Callable[..., R]
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


#: An operation that waits: it yields steps and pauses, and returns its answer.
Plan: TypeAlias = Generator[Step[Any] | Pause, Any, R]


def single(function: Callable[[Connection, Statements, C], R]) -> Callable[[SQLCore, C], Plan[R]]:
    """Make the operation that runs *function* as one statement."""
    return _operation(function, unit=False)


def unit(function: Callable[[Connection, Statements, C], R]) -> Callable[[SQLCore, C], Plan[R]]:
    """Make the operation that runs *function* in a transaction of its own."""
    return _operation(function, unit=True)


def _operation(
    function: Callable[[Connection, Statements, C], R], *, unit: bool
) -> Callable[[SQLCore, C], Plan[R]]:
    def operation(self: SQLCore, call: C, /) -> Plan[R]:
        return self.attempts(Step(function, (self.q, call), unit), repeatable=call.repeatable)

    return operation


class SQLCore:
    """The operations of the contract on a SQL database.

    *inside* is true in a caller's transaction: nothing is retried there, and every change locks the session first.
    """

    def __init__(self, q: Statements, *, inside: bool = False) -> None:
        """Work on the tables of *q*."""
        self.q = q
        self.inside = inside
        self.capabilities = Capabilities(notes=q.dialect.notes)

    create_session = unit(core.create_session)
    get_session = single(core.get_session)
    update_session = unit(core.update_session)
    delete_session = unit(core.delete_session)
    list_sessions = single(core.list_sessions)
    fork_session = unit(core.fork_session)
    load_records = unit(core.load_records)
    replace_messages = unit(core.replace_messages)
    get_messages = single(core.get_messages)
    get_records = single(core.get_records)
    get_message = single(core.get_message)
    update_message = unit(core.update_message)
    delete_message = unit(core.delete_message)
    pop_message = unit(core.pop_message)
    count_messages = single(core.count_messages)
    truncate = unit(core.truncate)
    usage = single(core.usage)
    durability = single(core.durability)

    def add_messages(self, call: AddMessages) -> Plan[Appended]:
        """Append without a look-up first; only what that refuses is looked at under the session's lock."""
        args = (self.q, call)
        if call.expected_revision is None and not self.inside:
            unit = not self.q.appends_at_once
            try:
                done = yield from self.attempts(
                    Step(core.append_once, args, unit), repeatable=call.repeatable
                )
            except Failed:
                done = None
            if done is not None:
                return done
        return (
            yield from self.attempts(Step(core.append_checked, args, unit=True), repeatable=call.repeatable)
        )

    def search(self, call: Search) -> Plan[list[SearchHit]]:
        """Search by the index, where it sees what this transaction sees."""
        full_text = self.q.dialect.full_text
        scan = self.inside and full_text is not None and not full_text.sees_own_writes
        function = search.scan if scan else search.search
        return self.attempts(Step(function, (self.q, call), unit=False), repeatable=call.repeatable)

    def purge(self, call: Purge) -> Plan[PurgeReport]:
        """Delete in transactions of a few hundred sessions, so that no lock is held for long."""
        args = (self.q, call)
        if call.rule.dry_run:
            return (yield from self.attempts(Step(core.purge_counts, args, unit=False), repeatable=True))
        sessions = messages = 0
        while True:
            some, lost = yield from self.attempts(
                Step(core.purge_some, args, unit=True), repeatable=call.repeatable
            )
            sessions, messages = sessions + some, messages + lost
            if not some:
                return PurgeReport(sessions=sessions, messages=messages, dry_run=False)

    def ready(self, schema: str | None) -> Plan[None]:
        """Look whether the tables of *schema* are there and current; migrate an empty SQLite file."""
        if (yield from self.attempts(Step(schema_state, (schema,), unit=False), repeatable=True)) == "empty":
            yield from self.attempts(Step(upgrade_empty, (schema,), unit=True), repeatable=True)

    def attempts(self, step: Step[R], *, repeatable: bool) -> Plan[R]:
        """Yield *step* until it succeeds; raise `Failed` only for a unique violation of `append_once`."""
        started, longest, attempt = time.monotonic(), _SHORTEST, 0
        while True:
            try:
                answer: R = yield step
                return answer
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
