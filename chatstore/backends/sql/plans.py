"""`SQLCore`: which function of a Connection each operation runs, in what kind of transaction, and when it is retried.

This module refuses to know how a connection is lent and whether anything is awaited. Each operation
is a generator that yields steps and pauses: `SQLRepository` and `AsyncSQLRepository` carry them out.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from chatstore.backends.common.retrying import Failed, Pause, attempts
from chatstore.backends.sql import core, search
from chatstore.backends.sql.schema_check import schema_state, upgrade_empty
from chatstore.messages import Capabilities, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Appended
    from chatstore.contract import AddMessages, C, Purge, Search
    from chatstore.messages import SearchHit

R = TypeVar("R")


class Step(NamedTuple, Generic[R]):
    """A function of a Connection to run: as a *unit*, in a transaction of its own, else as one statement."""

    function: Callable[..., R]
    args: tuple[Any, ...]
    unit: bool


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
        return attempts(Step(function, (self.q, call), unit), repeatable=call.repeatable)

    return operation


class SQLCore:
    """The operations of the contract on a SQL database.

    *inside* is true in a caller's transaction, where every change locks the session first. What lends that transaction
    raises final errors, so that nothing is retried there.
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
        done: Appended | None = None
        if call.expected_revision is None and not self.inside:
            unit = not self.q.appends_at_once
            try:
                done = yield from attempts(
                    Step(core.append_once, args, unit), repeatable=call.repeatable, raised="duplicate"
                )
            except Failed:
                done = None
            if done is not None:
                return done
        checked: Appended = yield from attempts(
            Step(core.append_checked, args, unit=True), repeatable=call.repeatable
        )
        return checked

    def search(self, call: Search) -> Plan[list[SearchHit]]:
        """Search by the index, where it sees what this transaction sees."""
        full_text = self.q.dialect.full_text
        scan = self.inside and full_text is not None and not full_text.sees_own_writes
        function = search.scan if scan else search.search
        return attempts(Step(function, (self.q, call), unit=False), repeatable=call.repeatable)

    def purge(self, call: Purge) -> Plan[PurgeReport]:
        """Delete in transactions of a few hundred sessions, so that no lock is held for long."""
        args = (self.q, call)
        if call.rule.dry_run:
            report: PurgeReport = yield from attempts(
                Step(core.purge_counts, args, unit=False), repeatable=True
            )
            return report
        sessions = messages = 0
        while True:
            some, lost = yield from attempts(
                Step(core.purge_some, args, unit=True), repeatable=call.repeatable
            )
            sessions, messages = sessions + some, messages + lost
            if not some:
                return PurgeReport(sessions=sessions, messages=messages, dry_run=False)

    def ready(self, schema: str | None) -> Plan[None]:
        """Look whether the tables of *schema* are there and current; migrate an empty SQLite file."""
        if (yield from attempts(Step(schema_state, (schema,), unit=False), repeatable=True)) == "empty":
            yield from attempts(Step(upgrade_empty, (schema,), unit=True), repeatable=True)
