"""What a backend is to a repository: a `Core` of operations, what is known of each, and how its answer is waited for.

This module knows operations and their checked arguments; it refuses to know where anything is kept.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar, TypeVarTuple, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
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
    from chatstore.codec import Appended, Draft, Row
    from chatstore.messages import Message
    from chatstore.records import (
        Capabilities,
        ChatSession,
        Durability,
        MessageRecord,
        PurgeReport,
        Records,
        SearchHit,
        UsageRow,
    )

T = TypeVar("T")
#: The arguments of an operation, which a repository hands on as they are.
Args = TypeVarTuple("Args")
#: What an operation of a core returns: the answer, or a generator that yields what must be waited for first.
Answer: TypeAlias = T | Generator[Any, Any, T]


class Operation(NamedTuple):
    """What is known of an operation, whatever the backend.

    *method*: what it is called in a repository. *reads*: it changes nothing. *repeatable*: sent once more with the same
    arguments it changes nothing more, so it is tried again where a connection broke and nobody knows whether it was
    done; what is not repeatable raises `OutcomeUnknown` then. *in_session*: it works in the one session that its
    second argument names. *deniable*: a backend may leave it out, and says so in `Capabilities.denied`.
    """

    method: str
    reads: bool = False
    repeatable: bool = False
    in_session: bool = True
    deniable: bool = False


#: Every operation of a `Core`, by its name there.
OPERATIONS: Final[Mapping[str, Operation]] = {
    "create": Operation("create_session", in_session=False, deniable=True),
    "get": Operation("get_session", reads=True, repeatable=True),
    "update": Operation("update_session", deniable=True),
    "delete": Operation("delete_session", deniable=True),
    "sessions": Operation("list_sessions", reads=True, repeatable=True, in_session=False, deniable=True),
    "fork": Operation("fork_session", in_session=False, deniable=True),
    "load": Operation("load_records", repeatable=True, deniable=True),
    "append": Operation("add_messages", repeatable=True),
    "replace": Operation("replace_messages"),
    "messages": Operation("get_messages", reads=True, repeatable=True),
    "records": Operation("get_records", reads=True, repeatable=True),
    "message": Operation("get_message", reads=True, repeatable=True),
    "edit": Operation("update_message"),
    "remove": Operation("delete_message"),
    "pop": Operation("pop_message"),
    "count": Operation("count_messages", reads=True, repeatable=True),
    "truncate": Operation("truncate", repeatable=True),
    "search": Operation("search", reads=True, repeatable=True, in_session=False, deniable=True),
    "usage": Operation("usage", reads=True, repeatable=True, in_session=False, deniable=True),
    "purge": Operation("purge", repeatable=True, in_session=False, deniable=True),
    "durability": Operation("durability", reads=True, repeatable=True, in_session=False),
}


class Core(Protocol):
    """The operations of a backend: what somebody who writes one implements.

    Arguments are checked already (`chatstore.arguments`), messages encoded into drafts. ``scope`` says whose sessions
    are visible; another owner's session, and an expired one, are to be treated as missing. ``now`` is the library's
    clock, aware, in UTC: the time of whatever is created or changed. Errors that every backend raises alike are made
    by `missing`, `taken`, `no_message`, `stale`, `another_body` and `out_of_order`. An operation answers at once, or
    is a generator that yields what must be waited for and returns its answer (`drive`, `adrive`). What it raises,
    it raises before anything is written, unless a method says otherwise.
    """

    capabilities: Capabilities

    def create(self, new: NewSession, now: datetime) -> Answer[ChatSession]:
        """Create an empty session, whose owner is in *new*, and return it. Raises `taken`.

        An expired session does not take its id: its contents are removed in the same transaction.
        """

    def get(self, scope: Scope, session_id: str, now: datetime) -> Answer[ChatSession | None]:
        """Return the session's own data, None for a missing one."""

    def update(
        self,
        scope: Scope,
        session_id: str,
        changes: Mapping[str, Any],
        expected_revision: int | None,
        now: datetime,
    ) -> Answer[ChatSession]:
        """Put *changes* (title, metadata, archived, expires_at, user_id, tenant_id) in place; return the session.

        Bumps the revision if anything differs. Raises `missing`, and `stale` where a revision was expected.
        """

    def delete(self, scope: Scope, session_id: str, now: datetime) -> Answer[bool]:
        """Delete the session and its messages; tell whether there was one."""

    def sessions(
        self, scope: Scope, wanted: SessionFilter, limit: int, start: Keyset | None, now: datetime
    ) -> Answer[list[ChatSession]]:
        """Return up to *limit* sessions that *wanted* keeps, newest first by (updated_at, session_id).

        *start* is the last session of the page before: only what comes after it in this order is returned.
        """

    def fork(
        self, scope: Scope, session_id: str, new_session_id: str, through: int | None, now: datetime
    ) -> Answer[ChatSession]:
        """Copy a session and its messages up to position *through* (inclusive; None: all); return the copy.

        Positions, ids, times, title and metadata stay; the copy's owner is the scope's, else the source's. Raises
        `missing` for the source, `taken` for the target.
        """

    def load(self, scope: Scope, session_id: str, rows: Sequence[Row], now: datetime) -> Answer[int]:
        """Store *rows*, whose positions grow, as they are; return how many were new.

        Creates the session for the scope's owner where it is missing; one without a message of its own gets the first
        row's time as `created_at`, where that is earlier. A known id is passed over if its body is the same, else
        `another_body`. Raises `out_of_order` for a new row at or below `last_position`, `taken`.
        """

    def append(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Answer[Appended]:
        """Store *drafts* (at least one; ids distinct) behind the last position ever used, all or none.

        Creates the session for the scope's owner where it is missing. A draft whose id is stored is not stored again:
        its stored row is in the answer; with another body, `another_body`. If every draft is stored already, the
        answer comes back whatever the revision; else `stale` where *expected_revision* (0: no session) differs. Raises
        `taken` where the id belongs to somebody else. A backend that caps a transaction writes in order, in chunks, and
        raises `partly` if a later one fails.
        """

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Answer[Appended]:
        """Put *drafts* in the place of all messages, at new positions; else as `append`, but no id is looked up."""

    def messages(self, scope: Scope, session_id: str, window: Window, now: datetime) -> Answer[list[Message]]:
        """Return the messages inside *window*, oldest first; none for a missing session.

        Damaged ones are named together in one `CorruptRecord`, which carries the others (`messages_of`).
        """

    def records(self, scope: Scope, session_id: str, window: Window, now: datetime) -> Answer[Records]:
        """Return the same as records, with the session's revision at that moment (0: no session)."""

    def message(self, scope: Scope, session_id: str, key: int | str, now: datetime) -> Answer[MessageRecord]:
        """Return the record at a position (int) or with a message id (str). Raises `missing`, `no_message`."""

    def edit(
        self,
        scope: Scope,
        session_id: str,
        key: int | str,
        draft: Draft,
        expected_revision: int | None,
        now: datetime,
    ) -> Answer[MessageRecord]:
        """Give a stored message the body of *draft*; position, id, time and source stay. Returns the record.

        Bumps the revision if the body differs. Raises `missing`, `no_message`, `stale`, and `InvalidMessage` for a
        draft with an id of its own that is another one.
        """

    def remove(self, scope: Scope, session_id: str, key: int | str, now: datetime) -> Answer[None]:
        """Delete a message, whose id is forgotten and whose position is never used again. Raises as `message`."""

    def pop(self, scope: Scope, session_id: str, now: datetime) -> Answer[MessageRecord | None]:
        """Delete the newest message and return its record; None where there is none."""

    def count(self, scope: Scope, session_id: str, now: datetime) -> Answer[int]:
        """Return how many messages the session has; 0 for a missing one."""

    def truncate(self, scope: Scope, session_id: str, after: int, now: datetime) -> Answer[None]:
        """Delete the messages behind position *after*; nothing happens where there are none, or no session."""

    def search(self, scope: Scope, wanted: SearchFilter, now: datetime) -> Answer[list[SearchHit]]:
        """Return hits in the order that *wanted* asks for, at most its limit."""

    def usage(self, scope: Scope, wanted: UsageFilter, now: datetime) -> Answer[list[UsageRow]]:
        """Return counts and sums of tokens by the keys of *wanted*, in the order of these keys.

        What a fork copied, up to its ``forked_at``, is no usage.
        """

    def purge(self, scope: Scope, rule: PurgeRule, now: datetime) -> Answer[PurgeReport]:
        """Delete the sessions that meet every condition of *rule*, or only count them.

        Works in pieces: an error in the middle leaves some deleted. Where a connection breaks, what was deleted just
        then may be missing from the counts.
        """

    def durability(self) -> Answer[Durability]:
        """Say what an acknowledged write survives."""


# ------------------------------------------------------------------------------------- waiting for an answer


@overload
def drive(plan: Generator[Any, Any, T], carry_out: Callable[[Any], Any]) -> T: ...
@overload
def drive(plan: Answer[T], carry_out: Callable[[Any], Any]) -> T: ...
def drive(plan: Answer[T], carry_out: Callable[[Any], Any]) -> T:
    """Carry out what a generator yields, one thing after the other, and return its answer."""
    if not isinstance(plan, Generator):
        return plan
    try:
        wanted = next(plan)
        while True:
            try:
                got = carry_out(wanted)
            except Exception as error:  # noqa: BLE001 - the generator decides
                wanted = plan.throw(error)
            else:
                wanted = plan.send(got)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


@overload
async def adrive(plan: Generator[Any, Any, T], carry_out: Callable[[Any], Awaitable[Any]]) -> T: ...
@overload
async def adrive(plan: Answer[T], carry_out: Callable[[Any], Awaitable[Any]]) -> T: ...
async def adrive(plan: Answer[T], carry_out: Callable[[Any], Awaitable[Any]]) -> T:
    """As `drive`, awaiting each thing."""
    if not isinstance(plan, Generator):
        return plan
    try:
        wanted = next(plan)
        while True:
            try:
                got = await carry_out(wanted)
            except Exception as error:  # noqa: BLE001 - the generator decides
                wanted = plan.throw(error)
            else:
                wanted = plan.send(got)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
