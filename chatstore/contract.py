"""What a backend is to a repository: a `Core` of operations, the calls they take, and how an answer is waited for.

This module knows operations and their checked arguments; it refuses to know where anything is kept.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

from chatstore.errors import NotSupported
from chatstore.records import NEWEST_FIRST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from chatstore.arguments import (
        NewSession,
        PurgeRule,
        Scope,
        SearchFilter,
        UsageFilter,
        Window,
    )
    from chatstore.codec import Appended, Draft, Form, Row
    from chatstore.messages import Message
    from chatstore.paging import Keyset, SessionFilter
    from chatstore.records import (
        Capabilities,
        ChatSession,
        Durability,
        MessageRecord,
        PurgeReport,
        Records,
        SearchHit,
        SessionOrder,
        State,
        UsageRow,
    )

T = TypeVar("T")
U = TypeVar("U")
#: A call of one operation.
C = TypeVar("C", bound="Call")
#: Values of states, as JSON text, by namespace and key.
NewStates: TypeAlias = Mapping[tuple[str, str], str]
#: What an operation of a core returns: the answer, or a generator that yields what must be waited for first.
Answer: TypeAlias = T | Generator[Any, Any, T]


# Calls are neither compared nor printed, and each method that is not made saves a fresh interpreter 0.2 ms a class.
@dataclass(slots=True, eq=False, repr=False)
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


@dataclass(slots=True, eq=False, repr=False)
class InSession(Call):
    """A call in one session, that of *session_id*."""

    session_id: str


@dataclass(slots=True, eq=False, repr=False)
class CreateSession(Call):
    """Create *new*, which has its owner in it: the scope's where there is one."""

    deniable = True
    new: NewSession


@dataclass(slots=True, eq=False, repr=False)
class GetSession(InSession):
    """Read the session's own data."""

    reads = repeatable = True


@dataclass(slots=True, eq=False, repr=False)
class UpdateSession(InSession):
    """Put *changes* (title, metadata, archived, expires_at, user_id, tenant_id) in place.

    With *only_unset*, those of them that have no value yet; without *touch*, ``updated_at`` stays.
    """

    deniable = True
    changes: Mapping[str, Any]
    expected_revision: int | None
    only_unset: bool = False
    touch: bool = True


@dataclass(slots=True, eq=False, repr=False)
class DeleteSession(InSession):
    """Delete a session, with *expected_revision* only if it is at that one."""

    deniable = True
    expected_revision: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class ListSessions(Call):
    """List up to *limit* sessions that *wanted* keeps, in *order*, from behind *start*, the last of the page before."""

    reads = repeatable = deniable = True
    wanted: SessionFilter
    limit: int
    start: Keyset | None
    order: SessionOrder = NEWEST_FIRST


@dataclass(slots=True, eq=False, repr=False)
class ForkSession(InSession):
    """Copy a session up to position *through* (inclusive; None: all)."""

    deniable = True
    new_session_id: str
    through: int | None


@dataclass(slots=True, eq=False, repr=False)
class LoadRecords(InSession):
    """Store *rows*, whose positions grow, as they are."""

    repeatable = deniable = True
    rows: Sequence[Row]


@dataclass(slots=True, eq=False, repr=False)
class AddMessages(InSession):
    """Append *drafts*: at least one, their ids distinct. *expected_revision* 0: there must be no session yet.

    With them *changes* (title, metadata) of the session are put in place, and *states*, as by `SetStates`.
    """

    repeatable = True
    drafts: Sequence[Draft]
    expected_revision: int | None
    changes: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    states: NewStates = field(default_factory=dict, kw_only=True)


@dataclass(slots=True, eq=False, repr=False)
class ChangeSession(AddMessages):
    """The same without *drafts*: only what comes with them is put in place, in a session made where it is missing."""

    repeatable = False


@dataclass(slots=True, eq=False, repr=False)
class BeginAnswer(AddMessages):
    """Append *drafts*, of which the last is the placeholder of an answer, behind position *after* (None: the end)."""

    deniable = True
    after: int | None


@dataclass(slots=True, eq=False, repr=False)
class ReplaceMessages(InSession):
    """Put *drafts* in the place of all messages."""

    drafts: Sequence[Draft]
    expected_revision: int | None


@dataclass(slots=True, eq=False, repr=False)
class GetMessages(InSession):
    """Read the messages inside *window*.

    What *form* makes of a stored one, from its type, its content and the rest of it, stands in the message's place;
    where that is None, the message does. It saves time: a backend may leave it out, and whoever passes one takes
    messages, too.
    """

    reads = repeatable = True
    window: Window
    form: Form | None = None


@dataclass(slots=True, eq=False, repr=False)
class GetRecords(GetMessages):
    """Read the same as records."""


@dataclass(slots=True, eq=False, repr=False)
class GetMessage(InSession):
    """Read the message at a position (an int *key*), or with an id (a str)."""

    reads = repeatable = True
    key: int | str


@dataclass(slots=True, eq=False, repr=False)
class FindMessage(Call):
    """Read the message with an id, in whatever session."""

    reads = repeatable = True
    message_id: str


@dataclass(slots=True, eq=False, repr=False)
class UpdateMessage(InSession):
    """Give the message of *key* the body of *draft*."""

    key: int | str
    draft: Draft
    expected_revision: int | None


@dataclass(slots=True, eq=False, repr=False)
class WriteAnswer(UpdateMessage):
    """Put *draft*, with its state, in the place of an answer that is still streaming.

    With *untouched_since* the answer is closed as abandoned, and only if nobody has written to it since then.
    """

    repeatable = True
    untouched_since: datetime | None = None


@dataclass(slots=True, eq=False, repr=False)
class DeleteMessage(InSession):
    """Delete the message of *key*."""

    key: int | str


@dataclass(slots=True, eq=False, repr=False)
class PopMessage(InSession):
    """Delete the newest message."""


@dataclass(slots=True, eq=False, repr=False)
class CountMessages(InSession):
    """Count messages."""

    reads = repeatable = True


@dataclass(slots=True, eq=False, repr=False)
class Truncate(InSession):
    """Delete the messages behind position *after*."""

    repeatable = True
    after: int


@dataclass(slots=True, eq=False, repr=False)
class Search(Call):
    """Find messages."""

    reads = repeatable = deniable = True
    wanted: SearchFilter


@dataclass(slots=True, eq=False, repr=False)
class Usage(Call):
    """Sum messages and tokens up."""

    reads = repeatable = deniable = True
    wanted: UsageFilter


@dataclass(slots=True, eq=False, repr=False)
class Purge(Call):
    """Delete, or only count, the sessions that meet every condition of *rule*."""

    repeatable = deniable = True
    rule: PurgeRule


@dataclass(slots=True, eq=False, repr=False)
class CloseAnswers(Call):
    """Close, or only count, the answers that are streaming and were not written to since *untouched_since*."""

    repeatable = deniable = True
    untouched_since: datetime
    dry_run: bool


@dataclass(slots=True, eq=False, repr=False)
class GetStates(Call):
    """Read the states of *namespace* that *keys* name (none: all)."""

    reads = repeatable = deniable = True
    namespace: str
    keys: Sequence[str]


@dataclass(slots=True, eq=False, repr=False)
class ListStates(Call):
    """Read at most *limit* states that *scope* sees, behind the place *after* (None: from the first)."""

    reads = repeatable = deniable = True
    after: str | None
    limit: int


@dataclass(slots=True, eq=False, repr=False)
class SetStates(Call):
    """Set *states*, JSON text by namespace and key; with *expected_revision* only one (0: there must be none yet)."""

    deniable = True
    states: NewStates
    expected_revision: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class DeleteStates(GetStates):
    """Delete them, with *expected_revision* only one."""

    reads = False
    expected_revision: int | None = None


@dataclass(slots=True, eq=False, repr=False)
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
    "begin_answer": BeginAnswer,
    "replace_messages": ReplaceMessages,
    "get_messages": GetMessages,
    "get_records": GetRecords,
    "get_message": GetMessage,
    "find_message": FindMessage,
    "update_message": UpdateMessage,
    "delete_message": DeleteMessage,
    "pop_message": PopMessage,
    "count_messages": CountMessages,
    "truncate": Truncate,
    "search": Search,
    "usage": Usage,
    "purge": Purge,
    "close_answers": CloseAnswers,
    "get_states": GetStates,
    "iter_states": ListStates,
    "set_states": SetStates,
    "delete_states": DeleteStates,
    "durability": AskDurability,
}


#: What a backend denies that cannot write states and messages in one transaction.
STATES: Final = frozenset({"get_states", "iter_states", "set_states", "delete_states"})


class WithoutStates:
    """The operations on states where a backend denies them; a repository asks its `Capabilities` first."""

    def get_states(self, call: GetStates, /) -> Answer[list[State]]:
        """Raise `NotSupported`."""
        del call
        raise NotSupported(_NO_STATES)

    def iter_states(self, call: ListStates, /) -> Answer[list[State]]:
        """Raise `NotSupported`."""
        del call
        raise NotSupported(_NO_STATES)

    def set_states(self, call: SetStates, /) -> Answer[list[State]]:
        """Raise `NotSupported`."""
        del call
        raise NotSupported(_NO_STATES)

    def delete_states(self, call: DeleteStates, /) -> Answer[int]:
        """Raise `NotSupported`."""
        del call
        raise NotSupported(_NO_STATES)


_NO_STATES: Final = "this backend keeps no states: use one that can (memory:, sqlite:, postgresql:, …)"


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
        """Delete the session and its messages; tell whether there was one. Raises `stale`."""

    def list_sessions(self, call: ListSessions, /) -> Answer[list[ChatSession]]:
        """Return up to *limit* sessions that *wanted* keeps, in *order*, by this time and the session id.

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
        """Store *drafts* (ids distinct) behind the last position ever used, with *changes* and *states*, all or none.

        Creates the session for the scope's owner where it is missing. A draft whose id is stored is not stored again:
        its stored row is in the answer; with another body, `another_body`. If every draft is stored already, the
        answer comes back whatever the revision, and if that is not *expected_revision*, nothing is changed; else
        `stale` where *expected_revision* (0: no session) differs. Without drafts (`ChangeSession`) that is asked, too.
        Raises `taken` where the id belongs to somebody else. A backend that caps a transaction writes in order, in
        chunks, the changes with the last, and raises `partly` if a later one fails.
        """

    def begin_answer(self, call: BeginAnswer, /) -> Answer[Appended]:
        """As `add_messages`, all or none; where *after* is given, what is behind that position is deleted with it.

        Where every draft is stored already, nothing is deleted.
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

    def find_message(self, call: FindMessage, /) -> Answer[MessageRecord]:
        """Return the record with this id; of several sessions' the one first by (created_at, session_id).

        Raises `found_nowhere`.
        """

    def update_message(self, call: UpdateMessage, /) -> Answer[MessageRecord]:
        """Give a stored message the body of *draft*; position, id and time stay. Returns the record.

        What it becomes, `rules.edited` says, also of a call that is a `WriteAnswer`. Bumps the revision if anything
        differs. Raises `missing`, `no_message`, `stale`, and `InvalidMessage` for a
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

    def close_answers(self, call: CloseAnswers, /) -> Answer[int]:
        """Mark the answers that *call* names as incomplete, abandoned; return how many they are.

        Works in pieces: an error in the middle leaves some closed.
        """

    def get_states(self, call: GetStates, /) -> Answer[list[State]]:
        """Return the states of exactly this owner, which no other scope sees, in the order of their keys."""

    def iter_states(self, call: ListStates, /) -> Answer[list[State]]:
        """Return a page of the states of every owner in *scope*, in the order of `chatstore.ids.state_place`."""

    def set_states(self, call: SetStates, /) -> Answer[list[State]]:
        """Set states of this owner, all or none, and return them in the order passed.

        A new one's revision begins as a session's does; each change adds one, an equal value changes nothing. Raises
        `stale_state`.
        """

    def delete_states(self, call: DeleteStates, /) -> Answer[int]:
        """Delete states of this owner; return how many there were. Raises `stale_state`."""

    def durability(self, call: AskDurability, /) -> Answer[Durability]:
        """Say what an acknowledged write survives."""
