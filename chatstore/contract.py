"""What a backend is to a repository: a `Core` of operations, the calls they take, and how an answer is waited for.

This module knows operations and their checked arguments; it refuses to know where anything is kept.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, TypeVar, overload

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
#: A call of one operation.
C = TypeVar("C", bound="Call")
#: What an operation of a core returns: the answer, or a generator that yields what must be waited for first.
Answer: TypeAlias = T | Generator[Any, Any, T]


@dataclass(slots=True)
class Call:
    """One call of an operation: its checked arguments, named once, from the repository down to a backend.

    *scope* says whose sessions are visible; *now* is the library's clock, aware, in UTC: the time of whatever is
    created or changed. Of the operation, whatever the backend: *reads*: it changes nothing. *repeatable*: sent once
    more with the same arguments it changes nothing more, so it is tried again where a connection broke and nobody
    knows whether it was done; what is not repeatable raises `OutcomeUnknown` then. *deniable*: a backend may leave it
    out, and says so in `Capabilities.denied`.
    """

    reads: ClassVar[bool] = False
    repeatable: ClassVar[bool] = False
    deniable: ClassVar[bool] = False

    scope: Scope
    now: datetime


@dataclass(slots=True)
class InSession(Call):
    """A call in one session, that of *session_id*."""

    session_id: str


@dataclass(slots=True)
class CreateSession(Call):
    """Create *new*, which has its owner in it: the scope's where there is one."""

    deniable = True
    new: NewSession


@dataclass(slots=True)
class GetSession(InSession):
    """Read the session's own data."""

    reads = repeatable = True


@dataclass(slots=True)
class UpdateSession(InSession):
    """Put *changes* (title, metadata, archived, expires_at, user_id, tenant_id) in place."""

    deniable = True
    changes: Mapping[str, Any]
    expected_revision: int | None


@dataclass(slots=True)
class DeleteSession(InSession):
    """Delete a session."""

    deniable = True


@dataclass(slots=True)
class ListSessions(Call):
    """List up to *limit* sessions that *wanted* keeps, from behind *start*, the last one of the page before."""

    reads = repeatable = deniable = True
    wanted: SessionFilter
    limit: int
    start: Keyset | None


@dataclass(slots=True)
class ForkSession(InSession):
    """Copy a session up to position *through* (inclusive; None: all)."""

    deniable = True
    new_session_id: str
    through: int | None


@dataclass(slots=True)
class LoadRecords(InSession):
    """Store *rows*, whose positions grow, as they are."""

    repeatable = deniable = True
    rows: Sequence[Row]


@dataclass(slots=True)
class AddMessages(InSession):
    """Append *drafts*: at least one, their ids distinct. *expected_revision* 0: there must be no session yet."""

    repeatable = True
    drafts: Sequence[Draft]
    expected_revision: int | None


@dataclass(slots=True)
class ReplaceMessages(InSession):
    """Put *drafts* in the place of all messages."""

    drafts: Sequence[Draft]
    expected_revision: int | None


@dataclass(slots=True)
class GetMessages(InSession):
    """Read the messages inside *window*."""

    reads = repeatable = True
    window: Window


@dataclass(slots=True)
class GetRecords(GetMessages):
    """Read the same as records."""


@dataclass(slots=True)
class GetMessage(InSession):
    """Read the message at a position (an int *key*), or with an id (a str)."""

    reads = repeatable = True
    key: int | str


@dataclass(slots=True)
class UpdateMessage(InSession):
    """Give the message of *key* the body of *draft*."""

    key: int | str
    draft: Draft
    expected_revision: int | None


@dataclass(slots=True)
class DeleteMessage(InSession):
    """Delete the message of *key*."""

    key: int | str


@dataclass(slots=True)
class PopMessage(InSession):
    """Delete the newest message."""


@dataclass(slots=True)
class CountMessages(InSession):
    """Count messages."""

    reads = repeatable = True


@dataclass(slots=True)
class Truncate(InSession):
    """Delete the messages behind position *after*."""

    repeatable = True
    after: int


@dataclass(slots=True)
class Search(Call):
    """Find messages."""

    reads = repeatable = deniable = True
    wanted: SearchFilter


@dataclass(slots=True)
class Usage(Call):
    """Sum messages and tokens up."""

    reads = repeatable = deniable = True
    wanted: UsageFilter


@dataclass(slots=True)
class Purge(Call):
    """Delete, or only count, the sessions that meet every condition of *rule*."""

    repeatable = deniable = True
    rule: PurgeRule


@dataclass(slots=True)
class AskDurability(Call):
    """Ask what an acknowledged write survives."""

    reads = repeatable = True


#: Every operation of a `Core`, by its name there, which is that of the repository's method.
OPERATIONS: Final[Mapping[str, type[Call]]] = {
    "create_session": CreateSession,
    "get_session": GetSession,
    "update_session": UpdateSession,
    "delete_session": DeleteSession,
    "list_sessions": ListSessions,
    "fork_session": ForkSession,
    "load_records": LoadRecords,
    "add_messages": AddMessages,
    "replace_messages": ReplaceMessages,
    "get_messages": GetMessages,
    "get_records": GetRecords,
    "get_message": GetMessage,
    "update_message": UpdateMessage,
    "delete_message": DeleteMessage,
    "pop_message": PopMessage,
    "count_messages": CountMessages,
    "truncate": Truncate,
    "search": Search,
    "usage": Usage,
    "purge": Purge,
    "durability": AskDurability,
}


class Core(Protocol):
    """The operations of a backend: what somebody who writes one implements. Each takes its call, a value.

    Arguments are checked already (`chatstore.arguments`), messages encoded into drafts. A session that is not in the
    call's scope, and an expired one, are to be treated as missing. Errors that every backend raises alike are made by
    `missing`, `taken`, `no_message`, `stale`, `another_body` and `out_of_order`. An operation answers at once, or is a
    generator that yields what must be waited for and returns its answer (`drive`, `adrive`). What it raises,
    it raises before anything is written, unless a method says otherwise.
    """

    capabilities: Capabilities

    def create_session(self, call: CreateSession, /) -> Answer[ChatSession]:
        """Create the new session, empty, and return it. Raises `taken`.

        An expired session does not take its id: its contents are removed in the same transaction.
        """

    def get_session(self, call: GetSession, /) -> Answer[ChatSession | None]:
        """Return the session's own data, None for a missing one."""

    def update_session(self, call: UpdateSession, /) -> Answer[ChatSession]:
        """Put *changes* (title, metadata, archived, expires_at, user_id, tenant_id) in place; return the session.

        Bumps the revision if anything differs. Raises `missing`, and `stale` where a revision was expected.
        """

    def delete_session(self, call: DeleteSession, /) -> Answer[bool]:
        """Delete the session and its messages; tell whether there was one."""

    def list_sessions(self, call: ListSessions, /) -> Answer[list[ChatSession]]:
        """Return up to *limit* sessions that *wanted* keeps, newest first by (updated_at, session_id).

        *start* is the last session of the page before: only what comes after it in this order is returned.
        """

    def fork_session(self, call: ForkSession, /) -> Answer[ChatSession]:
        """Copy a session and its messages up to position *through* (inclusive; None: all); return the copy.

        Positions, ids, times, title and metadata stay; the copy's owner is the scope's, else the source's. Raises
        `missing` for the source, `taken` for the target.
        """

    def load_records(self, call: LoadRecords, /) -> Answer[int]:
        """Store *rows*, whose positions grow, as they are; return how many were new.

        Creates the session for the scope's owner where it is missing; one without a message of its own gets the first
        row's time as `created_at`, where that is earlier. A known id is passed over if its body is the same, else
        `another_body`. Raises `out_of_order` for a new row at or below `last_position`, `taken`.
        """

    def add_messages(self, call: AddMessages, /) -> Answer[Appended]:
        """Store *drafts* (at least one; ids distinct) behind the last position ever used, all or none.

        Creates the session for the scope's owner where it is missing. A draft whose id is stored is not stored again:
        its stored row is in the answer; with another body, `another_body`. If every draft is stored already, the
        answer comes back whatever the revision; else `stale` where *expected_revision* (0: no session) differs. Raises
        `taken` where the id belongs to somebody else. A backend that caps a transaction writes in order, in chunks, and
        raises `partly` if a later one fails.
        """

    def replace_messages(self, call: ReplaceMessages, /) -> Answer[Appended]:
        """Put *drafts* in the place of all messages, at new positions; as `add_messages`, but looks no id up."""

    def get_messages(self, call: GetMessages, /) -> Answer[list[Message]]:
        """Return the messages inside *window*, oldest first; none for a missing session.

        Damaged ones are named together in one `CorruptRecord`, which carries the others (`messages_of`).
        """

    def get_records(self, call: GetRecords, /) -> Answer[Records]:
        """Return the same as records, with the session's revision at that moment (0: no session)."""

    def get_message(self, call: GetMessage, /) -> Answer[MessageRecord]:
        """Return the record at a position (int) or with a message id (str). Raises `missing`, `no_message`."""

    def update_message(self, call: UpdateMessage, /) -> Answer[MessageRecord]:
        """Give a stored message the body of *draft*; position, id, time and source stay. Returns the record.

        Bumps the revision if the body differs. Raises `missing`, `no_message`, `stale`, and `InvalidMessage` for a
        draft with an id of its own that is another one.
        """

    def delete_message(self, call: DeleteMessage, /) -> Answer[None]:
        """Delete a message, whose id is forgotten and whose position is never used again. Raises as `get_message`."""

    def pop_message(self, call: PopMessage, /) -> Answer[MessageRecord | None]:
        """Delete the newest message and return its record; None where there is none."""

    def count_messages(self, call: CountMessages, /) -> Answer[int]:
        """Return how many messages the session has; 0 for a missing one."""

    def truncate(self, call: Truncate, /) -> Answer[None]:
        """Delete the messages behind position *after*; nothing happens where there are none, or no session."""

    def search(self, call: Search, /) -> Answer[list[SearchHit]]:
        """Return hits in the order that *wanted* asks for, at most its limit."""

    def usage(self, call: Usage, /) -> Answer[list[UsageRow]]:
        """Return counts and sums of tokens by the keys of *wanted*, in the order of these keys.

        What a fork copied, up to its ``forked_at``, is no usage.
        """

    def purge(self, call: Purge, /) -> Answer[PurgeReport]:
        """Delete the sessions that meet every condition of *rule*, or only count them.

        Works in pieces: an error in the middle leaves some deleted. Where a connection breaks, what was deleted just
        then may be missing from the counts.
        """

    def durability(self, call: AskDurability, /) -> Answer[Durability]:
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
