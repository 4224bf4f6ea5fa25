"""`SQLCore`: which function of a Connection each operation runs, in what kind of transaction, and when it is retried.

This module refuses to know how a connection is lent and whether anything is awaited. Each operation
is a generator that yields steps and pauses: `SQLRepository` and `AsyncSQLRepository` carry them out.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from chatstore import deadlines
from chatstore.backends.common import searching
from chatstore.backends.sql import appending, core, reading, search, states
from chatstore.backends.sql.schema_check import schema_state, upgrade_empty
from chatstore.driving import Failed, Pause, attempts
from chatstore.errors import NotSupported, StorageUnavailable
from chatstore.messages import Capabilities, PurgeReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from chatstore.backends.common.searching import Found
    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Appended
    from chatstore.contract import AddMessages, BeginAnswer, C, CloseAnswers, Purge, Search
    from chatstore.messages import SearchHit

R = TypeVar("R")
#: Why a search may leave the index as it is, and read more instead: others are at it, or it may not be written to.
UNREFRESHED = {
    "busy", "duplicate", "exhausted", "lost", "limit", "timeout", "readonly", "refused", "rights", "full",
}  # fmt: skip


class Step(NamedTuple, Generic[R]):
    """A function of a Connection to run: as a *unit*, in a transaction of its own, else as one statement."""

    function: Callable[..., R]
    args: tuple[Any, ...]
    unit: bool

    @property
    def writes(self) -> bool:
        """Whether it may change something; a step without a call looks at the schema."""
        return not getattr(self.args[-1], "reads", True)


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
        return attempts(
            Step(function, (self.q, call), unit), repeatable=call.repeatable, writes=not call.reads
        )

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
        denied = frozenset({"begin_answer"}) if inside else frozenset[str]()
        self.capabilities = Capabilities(denied=denied, notes=q.dialect.notes)

    create_session = unit(core.create_session)
    get_session = single(reading.get_session)
    update_session = unit(core.update_session)
    delete_session = unit(core.delete_session)
    list_sessions = single(reading.list_sessions)
    fork_session = unit(core.fork_session)
    load_records = unit(core.load_records)
    replace_messages = unit(core.replace_messages)
    get_messages = single(reading.get_messages)
    get_records = single(reading.get_records)
    get_message = single(reading.get_message)
    find_message = single(reading.find_message)
    update_message = unit(core.update_message)
    delete_message = unit(core.delete_message)
    pop_message = unit(core.pop_message)
    count_messages = single(reading.count_messages)
    truncate = unit(core.truncate)
    usage = single(core.usage)
    get_states = single(states.get_states)
    iter_states = single(states.iter_states)
    set_states = unit(states.set_states)
    delete_states = unit(states.delete_states)
    durability = single(core.durability)

    def add_messages(self, call: AddMessages) -> Plan[Appended]:
        """Append without a look-up first; only what that refuses is looked at under the session's lock."""
        # What is changed without an expected revision may be a repeated call, which changes nothing.
        plain = call.expected_revision is None and not call.changes
        if call.drafts and (plain or call.expected_revision) and not self.inside:
            unit = not self.q.appends_at_once or len(call.drafts) >= appending.COPIED or bool(call.states)
            step = Step(appending.append_once, (self.q, call), unit)
            done: Appended | None = None
            with suppress(Failed):
                done = yield from attempts(step, repeatable=call.repeatable, raised="duplicate", writes=True)
            if done is not None:
                return done
        checked: Appended = yield from attempts(
            Step(core.append_checked, (self.q, call), unit=True), repeatable=call.repeatable, writes=True
        )
        return checked

    def begin_answer(self, call: BeginAnswer) -> Plan[Appended]:
        """Append under the session's lock. Nothing streams inside somebody's transaction, which ends when they like."""
        if self.inside:
            msg = "an answer cannot stream inside a caller's transaction: begin it on the repository itself"
            raise NotSupported(msg)
        return attempts(Step(core.append_checked, (self.q, call), unit=True), repeatable=call.repeatable)

    def close_answers(self, call: CloseAnswers) -> Plan[int]:
        """Close one answer after the other, each in a transaction of its own."""
        args = (self.q, call)
        found = yield from attempts(Step(core.unattended, args, unit=False), repeatable=True)
        if call.dry_run:
            return len(found)
        closed = 0
        for session_id, message_id in found:
            step = Step(core.close_answer, (*args, session_id, message_id), unit=True)
            closed += yield from attempts(step, repeatable=call.repeatable)
        return closed

    def search(self, call: Search) -> Plan[list[SearchHit]]:
        """Ask the index, once it holds what there is; what it cannot be made to hold is read first."""
        found: list[Found] = []
        if not self.q.has_index or self.inside:
            self.q.has_index = yield from self._asking(search.has_index)
        if not self.q.has_index:
            found = yield from self._asking(search.scan, call)
            return searching.hits(found, call.wanted)
        try:
            more: list[Found] | None = yield from self._asking(search.if_indexed, call, raised="no_table")
            if more is None:
                ask = search.best
                if not (yield from self._caught_up(call)):
                    ask = search.indexed
                    found = yield from self._asking(search.unindexed, call, raised="no_table")
                more = yield from self._asking(ask, call, raised="no_table")
        except Failed as failed:  # somebody dropped it
            if self.inside:
                raise failed.error from failed.cause
            self.q.has_index = False
            found = yield from self._asking(search.scan, call)
        else:
            # Of a message that was found twice, one reading is as good as the other.
            found = list({one[:3]: one for one in (*found, *more)}.values()) if found else more
        return searching.hits(found, call.wanted)

    def _asking(self, function: Callable[..., R], *args: Any, raised: str = "") -> Plan[R]:
        step = Step(function, (self.q, *args), unit=False)
        answer: R = yield from attempts(step, repeatable=True, raised=raised)
        return answer

    def _caught_up(self, call: Search) -> Plan[bool]:
        """Index what is new in the sessions that *call* is about; False where some of it is not.

        Of much, some is left to be read, and for the next searches to index, so that no search waits for all of it.
        In a caller's transaction nothing is written: it would hold the sessions until the caller ends it.
        """
        while True:
            session_ids, missing = yield from self._asking(search.behind, call, raised="no_table")
            if not session_ids or self.inside:
                return not session_ids
            step = Step(search.refresh, (self.q, session_ids), unit=True)
            # What locks the whole database is not waited for; else only rows are locked, and those held are left out.
            brief = deadlines.within(search.WAIT) if self.q.dialect.embedded else nullcontext()
            try:
                with brief:
                    further: int = yield step
            except StorageUnavailable:  # other threads had the file
                return False
            except Failed as failed:
                if failed.kind == "no_table":
                    raise
                if failed.kind not in UNREFRESHED:
                    raise failed.error from failed.cause
                return False
            if not further or search.INDEXED < missing <= search.INDEXED + search.READ:
                return False

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
                Step(core.purge_some, args, unit=True), repeatable=call.repeatable, writes=True
            )
            deadlines.renew()
            sessions, messages = sessions + some, messages + lost
            if not some:
                return PurgeReport(sessions=sessions, messages=messages, dry_run=False)

    def ready(self, schema: str | None) -> Plan[None]:
        """Look whether the tables of *schema* are there and current; migrate an empty SQLite file."""
        if (yield from attempts(Step(schema_state, (schema,), unit=False), repeatable=True)) == "empty":
            yield from attempts(Step(upgrade_empty, (schema,), unit=True), repeatable=True)
