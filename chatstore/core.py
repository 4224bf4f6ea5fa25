"""What a backend is to the facades: a `Core` of operations, and what both sides share.

This module knows the operations, their checked arguments, the errors every backend raises alike, and how messages
become rows and rows records; it refuses to know where rows are kept, and how callers wait.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar, TypeVarTuple, overload

from chatstore import arguments, codec
from chatstore.arguments import UNSET, NewSession, Scope
from chatstore.errors import (
    Conflict,
    CorruptRecord,
    Invalid,
    InvalidMessage,
    MessageConflict,
    MessageNotFound,
    PartialWrite,
    SessionExists,
    SessionNotFound,
)
from chatstore.messages import MessageRecord, Page, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from chatstore.arguments import Keyset, PurgeRule, SearchFilter, SessionFilter, UsageFilter, Window
    from chatstore.codec import Draft
    from chatstore.messages import (
        Capabilities,
        ChatSession,
        Durability,
        Message,
        PurgeReport,
        SearchHit,
        UsageRow,
    )

T = TypeVar("T")
#: The arguments of an operation, which a facade hands on as they are.
Args = TypeVarTuple("Args")
#: What an operation of a core returns: the answer, or a generator that yields what must be waited for first.
Answer: TypeAlias = T | Generator[Any, Any, T]

#: Records written in one transaction by `load_records`, and read at a time by `iter_records`.
CHUNK = 500


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


class Row(NamedTuple):
    """One stored message: its place in the session, and its stored form."""

    position: int
    draft: Draft


class Appended(NamedTuple):
    """What an append did: the session's revision, and one row for each draft, in order.

    A row holds the very draft that was passed where it was stored now, and the stored one where its id was known.
    """

    revision: int
    rows: Sequence[Row]


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

        Creates the session for the scope's owner where it is missing. A known id is passed over if its body is the
        same, else `another_body`. Raises `out_of_order` for a new row at or below `last_position`, `taken`.
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
        """Return counts and sums of tokens by the keys of *wanted*, in the order of these keys."""

    def purge(self, scope: Scope, rule: PurgeRule, now: datetime) -> Answer[PurgeReport]:
        """Delete the sessions that meet every condition of *rule*, or only count them.

        Works in pieces: an error in the middle leaves some deleted. Where a connection breaks, what was deleted just
        then may be missing from the counts.
        """

    def durability(self) -> Answer[Durability]:
        """Say what an acknowledged write survives."""


# ------------------------------------------------------------------------------------- errors every backend raises


def missing(session_id: str) -> SessionNotFound:
    """Make the error for a session that is not there, or not for this scope."""
    return SessionNotFound(f"there is no session {session_id!r}: create it, or append to it, first")


def taken(session_id: str) -> SessionExists:
    """Make the error for an id that is in use; it tells nothing about the owner."""
    return SessionExists(f"the session id {session_id!r} is taken: choose another one")


def no_message(session_id: str, key: int | str) -> MessageNotFound:
    """Make the error for a position or id the session does not have."""
    what = f"position {key}" if isinstance(key, int) else f"id {key!r}"
    return MessageNotFound(f"session {session_id!r} has no message with {what}: list them with get_records")


def stale(session_id: str, expected: int, actual: int) -> Conflict:
    """Make the error for a revision that is no longer the session's."""
    return Conflict(
        f"session {session_id!r} is at revision {actual}, not {expected}: read it again and decide anew"
        if actual
        else f"session {session_id!r} does not exist, yet revision {expected} was expected: create it first"
    )


def another_body(session_id: str, message_id: str) -> MessageConflict:
    """Make the error for a known message id with a new body."""
    return MessageConflict(
        f"session {session_id!r} holds a message with id {message_id!r} and another body: "
        "use update_message to change it, or a new id"
    )


def out_of_order(session_id: str, position: int, last: int) -> Conflict:
    """Make the error for a loaded record that would not come after all others."""
    return Conflict(
        f"position {position} of session {session_id!r} is not above {last}, the last one used: "
        "load records in order, or into another session"
    )


def partly(session_id: str, stored: int) -> PartialWrite:
    """Make the error for a batch of which only the first *stored* messages could be written."""
    return PartialWrite(
        f"the first {stored} messages for session {session_id!r} are stored, the others are not: repeat the same call "
        f"if its messages have ids, else pass those from number {stored + 1} on",
        stored=stored,
    )


# ------------------------------------------------------------------------------------- shared by both facades


class Batch(NamedTuple):
    """Checked messages: the distinct *drafts*, and for each message passed which of them it is."""

    messages: Sequence[Message]
    drafts: list[Draft]
    places: list[int] | None


def batch(session_id: str, messages: Iterable[Message], now: datetime) -> Batch:
    """Encode *messages*; the same id twice must have the same body and is stored once.

    Raises `InvalidMessage` or `MessageConflict` before anything is written.
    """
    arguments.session_id(session_id)
    if (
        isinstance(messages, str | bytes)
        or not hasattr(messages, "__iter__")
        or hasattr(messages, "model_fields_set")
    ):
        msg = "messages must be a list of messages: wrap a single one in a list, and text in HumanMessage"
        raise InvalidMessage(msg)
    given = list(messages)
    drafts = [codec.encode(message, now=now) for message in given]
    named = sum(not draft.id_generated for draft in drafts)
    if named < 2 or len({draft.message_id for draft in drafts}) == len(drafts):  # noqa: PLR2004 - two can be equal
        return Batch(given, drafts, None)
    distinct: dict[str, int] = {}
    kept: list[Draft] = []
    places = []
    for draft in drafts:
        place = distinct.setdefault(draft.message_id, len(kept))
        if place == len(kept):
            kept.append(draft)
        elif not same_body(draft, kept[place]):
            raise another_body(session_id, draft.message_id)
        places.append(place)
    return Batch(given, kept, places)


def answered(session_id: str, made: Batch, done: Appended) -> Records:
    """Return one record for each message passed; those stored now carry the caller's own objects."""
    rows = done.rows if made.places is None else [done.rows[place] for place in made.places]
    drafts = made.drafts if made.places is None else [made.drafts[place] for place in made.places]
    records = Records(
        MessageRecord(
            message if stored is draft else decoded(session_id, Row(position, stored)),
            position,
            stored.message_id,
            stored.created_at,
            session_id,
        )
        for message, draft, (position, stored) in zip(made.messages, drafts, rows, strict=True)
    )
    records.revision = done.revision
    return records


def counted(session_id: str, made: Batch, error: PartialWrite) -> PartialWrite:
    """Return *error* about the messages passed: a core counts each id once, a caller may pass it twice."""
    if made.places is None:
        return error
    unstored = (number for number, place in enumerate(made.places) if place >= error.stored)
    return partly(session_id, next(unstored, len(made.places)))


def decoded(session_id: str, row: Row) -> Message:
    """Return the message of *row*; a damaged one raises `CorruptRecord` that names it."""
    position, draft = row
    try:
        return codec.decode(
            draft.type, draft.content, draft.payload, None if draft.id_generated else draft.message_id
        )
    except CorruptRecord as error:
        raise corrupt(session_id, [position]) from error


def corrupt(
    session_id: str,
    positions: Sequence[int],
    records: Sequence[MessageRecord] = (),
    *,
    others: str = "are in this error's .records",
) -> CorruptRecord:
    """Make the error that names damaged records, and carries the *others* or says where they are."""
    named = ", ".join(map(str, positions[:10])) + (", …" if len(positions) > 10 else "")  # noqa: PLR2004 - enough to see
    return CorruptRecord(
        f"session {session_id!r} has damaged records at position {named}: the others {others}; "
        "mend these with update_message or delete_message",
        positions=positions,
        records=records,
    )


class Walk:
    """Where `iter_records` stands in a session, and what it could not read on its way."""

    def __init__(self, session_id: str, after: int | None) -> None:
        """Begin behind position *after*."""
        self.session_id = session_id
        self.position = 0 if after is None else arguments.natural(after, "after")
        self.more = True
        self._damaged: list[int] = []

    def step(self, part: Sequence[MessageRecord], lost: Sequence[int] = ()) -> Sequence[MessageRecord]:
        """Go behind *part* and the damaged positions *lost* beside it; return *part*."""
        self._damaged += lost
        self.more = len(part) + len(lost) >= CHUNK
        self.position = max([self.position, *lost[-1:], *(record.position for record in part[-1:])])
        return part

    def passed(self, error: CorruptRecord) -> Sequence[MessageRecord]:
        """Go on behind what *error* names, and return what it carries; an error about something else is raised."""
        if not error.positions:
            raise error
        return self.step(error.records, error.positions)

    def end(self) -> None:
        """Raise `CorruptRecord` if there was anything damaged."""
        if self._damaged:
            raise corrupt(self.session_id, self._damaged, others="were yielded")


def record_of(session_id: str, row: Row) -> MessageRecord:
    """Return the record of *row*."""
    return MessageRecord(
        decoded(session_id, row), row.position, row.draft.message_id, row.draft.created_at, session_id
    )


def records_of(session_id: str, rows: Iterable[Row], revision: int) -> Records:
    """Return the records of *rows* at *revision*; damaged ones are named together in one `CorruptRecord`."""
    records, damaged = Records(), []
    records.revision = revision
    for row in rows:
        try:
            records.append(record_of(session_id, row))
        except CorruptRecord:
            damaged.append(row.position)
    if damaged:
        raise corrupt(session_id, damaged, records)
    return records


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


def messages_of(session_id: str, rows: Sequence[Row]) -> list[Message]:
    """Return the messages of *rows*; damaged ones are named together in one `CorruptRecord`."""
    try:
        return [decoded(session_id, row) for row in rows]
    except CorruptRecord:
        records_of(session_id, rows, 0)
        raise


def same_body(new: Draft, stored: Draft) -> bool:
    """Tell whether two drafts are the same message; a damaged one is like no other."""
    try:
        return codec.same(new, stored)
    except CorruptRecord:
        return False


def rows_of(session_id: str, records: Iterable[MessageRecord]) -> list[Row]:
    """Return the checked rows of *records*, for `load_records`: positions must grow from 1; an id counts once."""
    rows: dict[str, Row] = {}
    last = 0
    for record in records:
        row = _loaded(record)
        if row.position <= last:
            raise out_of_order(session_id, row.position, last)
        last = row.position
        first = rows.setdefault(row.draft.message_id, row)
        if first is not row and not same_body(row.draft, first.draft):
            raise another_body(session_id, row.draft.message_id)
    return list(rows.values())


def _loaded(record: MessageRecord) -> Row:
    if not isinstance(record, MessageRecord):
        msg = f"load_records takes records, not a value of type {type(record).__name__}: pass MessageRecord"
        raise Invalid(msg)
    position = arguments.natural(record.position, "position")
    if position > arguments.MAX_POSITION:
        msg = f"the position of a record is over {arguments.MAX_POSITION}: number the records from 1"
        raise Invalid(msg)
    created_at = arguments.moment(record.created_at, "created_at")
    if created_at is None:
        msg = "created_at of a record must be an aware datetime: use datetime.now(UTC)"
        raise Invalid(msg)
    draft = codec.encode(record.message, now=created_at)
    if draft.id_generated:
        draft = draft._replace(message_id=codec.checked_id(record.message_id))
    elif draft.message_id != record.message_id:
        msg = f"the record at position {position} and its message have different ids: make them equal"
        raise InvalidMessage(msg)
    return Row(position, draft)


def chunks(records: Iterable[MessageRecord]) -> Iterator[list[MessageRecord]]:
    """Cut *records* into lists of at most `CHUNK`."""
    part: list[MessageRecord] = []
    for record in records:
        part.append(record)
        if len(part) == CHUNK:
            yield part
            part = []
    if part:
        yield part


def changes_of(scope: Scope, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked changes of `update_session`: what is left out stays, None clears."""
    changes = {name: value for name, value in given.items() if value is not UNSET}
    for name in ("tenant_id", "user_id"):
        if name in changes:
            if scope:
                msg = "a scoped repository cannot change the owner: use the unscoped one"
                raise Invalid(msg)
            arguments.owner_id(changes[name], name)
    if "title" in changes:
        arguments.title(changes["title"])
    if "metadata" in changes:
        changes["metadata"] = arguments.metadata(changes["metadata"])
    if "expires_at" in changes:
        changes["expires_at"] = arguments.moment(changes["expires_at"], "expires_at")
    if "archived" in changes and not isinstance(changes["archived"], bool):
        msg = "archived is neither True nor False: pass one of them"
        raise Invalid(msg)
    return changes


def expected(revision: int | None) -> int | None:
    """Return the checked revision a caller expects (0: the session must not exist yet)."""
    return None if revision is None else arguments.natural(revision, "expected_revision")


def new_session(scope: Scope, session_id: str, given: Mapping[str, Any]) -> NewSession:
    """Return the checked session that `create_session` makes."""
    tenant_id = arguments.owner_id(given["tenant_id"], "tenant_id")
    user_id = arguments.owner_id(given["user_id"], "user_id")
    return NewSession(
        arguments.session_id(session_id),
        scope.owning(tenant_id, user_id),
        arguments.title(given["title"]),
        arguments.metadata(given["metadata"]),
        arguments.moment(given["expires_at"], "expires_at"),
    )


def page_of(found: Sequence[ChatSession], limit: int, digest: str) -> Page[ChatSession]:
    """Return a page from one session more than fits."""
    items = list(found[:limit])
    more = len(found) > limit and items
    return Page(
        items, arguments.cursor((items[-1].updated_at, items[-1].session_id), digest) if more else None
    )
