"""The contract: a `Repository` of sessions, each with its messages in order.

The docstrings say what every operation promises, on every backend; arguments are checked here, too. A backend is a
`Core` (the operations, written once) and a `Repository` whose ``_run`` lends that core its resource.
`chatstore.aio.AsyncRepository` is the same with ``await``.

What holds everywhere: positions start at 1, grow, and are never reused. Results are fresh lists, oldest message
first. Times are aware and in UTC; they inform and never order. A missing or expired session reads as empty. In a
`scope`, another owner's session behaves exactly as a missing one.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast
from weakref import WeakKeyDictionary, WeakSet

from chatstore import arguments, codec, deadlines, overlaps, paging
from chatstore.answers import FLUSH_SECONDS, StreamingAnswer, part_of
from chatstore.arguments import (
    UNSET,
    Scope,
    check_revision,
    check_session_id,
    make_changes,
    make_session,
    utcnow,
)
from chatstore.codec import CHUNK, answered, batch, chunks, counted, listed, rows_of
from chatstore.contract import (
    AddMessages,
    AskDurability,
    ChangeSession,
    CloseAnswers,
    CountMessages,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    DeleteStates,
    FindMessage,
    ForkSession,
    GetMessage,
    GetMessages,
    GetRecords,
    GetSession,
    GetStates,
    ListSessions,
    ListStates,
    LoadRecords,
    PopMessage,
    Purge,
    ReplaceMessages,
    Search,
    SetStates,
    Truncate,
    UpdateMessage,
    UpdateSession,
    Usage,
)
from chatstore.deadlines import Deadline, running
from chatstore.driving import then
from chatstore.errors import Conflict, CorruptRecord, Invalid, NotSupported, PartialWrite
from chatstore.failures import contended, missing
from chatstore.ids import state_place
from chatstore.overlaps import CONTENDED
from chatstore.records import ABANDONED_AFTER, NEWEST_FIRST, STREAMING
from chatstore.schemes import schemes_where
from chatstore.walking import Walk, whole

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from chatstore.aio import AsyncRepository
    from chatstore.codec import Form
    from chatstore.contract import Answer, C, Core, T, U
    from chatstore.history import ChatMessageHistory
    from chatstore.messages import (
        AnswerPart,
        Capabilities,
        ChatSession,
        Durability,
        Message,
        MessageRecord,
        Page,
        PurgeReport,
        Records,
        SearchHit,
        UsageRow,
    )
    from chatstore.records import SessionOrder, State

    Twins: TypeAlias = WeakKeyDictionary[AbstractEventLoop, tuple["AsyncRepository", WeakSet[Any]]]


class Facade(ABC):
    """What the synchronous and the asynchronous repository share, because nothing in it waits."""

    _core: Core
    _scope: Scope = Scope()
    #: The caller's, inside of which this works.
    _transaction: Any = None
    #: Seconds that a call may take; None for `chatstore.deadlines.DEFAULT`.
    _deadline: float | None = None

    def scope(self, *, tenant_id: str | None = None, user_id: str | None = None) -> Self:
        """Return the same repository limited to one owner: it sees only their sessions, and creates sessions for them.

        A scope can be narrowed, never widened: a second scope that contradicts the first raises `Invalid`.
        """
        return self._copied(_scope=self._scope.narrowed(tenant_id, user_id))

    @property
    def tenant_id(self) -> str | None:
        """The tenant that `scope` limits this repository to; None where it sees every tenant's sessions."""
        return self._scope.tenant_id

    @property
    def user_id(self) -> str | None:
        """The user that `scope` limits this repository to; None where it sees every user's sessions."""
        return self._scope.user_id

    def using(self, transaction: Any) -> Self:  # noqa: ARG002 - the parameter is the contract
        """Return the same repository working inside the caller's transaction (SQL only).

        *transaction* is a SQLAlchemy Connection or ORM Session. Nothing is committed, rolled back or retried; each
        change runs in a savepoint. Raises `NotSupported` on other backends.
        """
        raise self._no_transactions()

    def _no_transactions(self) -> NotSupported:
        can = schemes_where(lambda backend: backend.is_sql)
        return NotSupported(f"{self._named} has no transactions to share: use a SQL database ({can})")

    def history(self, session_id: str, *, last: int | None = None) -> ChatMessageHistory:
        """Return the session as a chat message history; *last* limits what its ``messages`` reads."""
        from chatstore.history import ChatMessageHistory

        return ChatMessageHistory(cast("Any", self), session_id, last=last)

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can and cannot do."""
        return self._core.capabilities

    @property
    def _named(self) -> str:
        """How errors call it."""
        return type(self).__name__

    def _need(self, operation: str) -> None:
        """Raise `NotSupported` where the backend denies *operation*."""
        if operation in self.capabilities.denied:
            can = schemes_where(lambda backend: operation not in backend.denied)
            what = operation.replace("_", " ")
            raise NotSupported(f"{self._named} cannot {what}: use a backend that can ({can})")

    def _at(self, session_id: str) -> tuple[Scope, datetime, str]:
        """Return what a call in a session begins with: scope, time, and the id, checked. Raises `InvalidSessionId`."""
        return self._scope, utcnow(), check_session_id(session_id)

    def _copied(self, **changes: Any) -> Self:
        copied = copy.copy(self)
        vars(copied).update(changes)
        return copied


def check_repository(value: T) -> T:
    """Return *value*; raise `Invalid` where it is no repository, but a URL, for example."""
    if not isinstance(value, Facade):
        msg = (
            f"a repository belongs there, not a {type(value).__name__}: pass what chatstore.connect or "
            "chatstore.connect_async gives"
        )
        raise Invalid(msg)
    return value


class Repository(Facade):
    """Sessions with their messages; safe for threads and, if made from a URL, for forks.

    Every method may raise `StorageUnavailable` (the storage did not answer or stayed busy), `SchemaError`
    (the database needs `chatstore upgrade`) and, for bad arguments, `Invalid`; bad input changes nothing stored.
    """

    @abstractmethod
    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        """Carry out *call* by *operation*, a method of the core, which is lent what it works on."""

    def _call(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        """Carry out *call* within the deadline, which whatever waits on the way asks for."""
        before, seconds = running.get(), self._deadline or deadlines.DEFAULT
        try:
            running.set(Deadline(seconds, monotonic() + seconds, not call.reads))
            return self._run(operation, call)
        finally:
            running.set(before)

    # ---- sessions

    def create_session(
        self,
        session_id: str,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_at: datetime | None = None,
    ) -> ChatSession:
        """Create an empty session and return it.

        In a scope the session belongs to its owner. Ids have 1 to 255 characters; *metadata* is a JSON object of at
        most 30 levels. Raises `SessionExists` if the id is in use, by any owner (an expired session frees its id),
        `InvalidSessionId` or `Invalid` for bad values.
        """
        given = {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "title": title,
            "metadata": metadata,
            "expires_at": expires_at,
        }
        new = make_session(self._scope, session_id, given)
        return self._call(self._core.create_session, CreateSession(self._scope, utcnow(), new))

    def get_session(self, session_id: str) -> ChatSession:
        """Return the session's own data. Raises `SessionNotFound`."""
        found = self._call(self._core.get_session, GetSession(*self._at(session_id)))
        if found is None:
            raise missing(session_id)
        return found

    def update_session(
        self,
        session_id: str,
        *,
        title: str | None = UNSET,
        metadata: Mapping[str, Any] | None = UNSET,
        archived: bool = UNSET,
        expires_at: datetime | None = UNSET,
        user_id: str | None = UNSET,
        tenant_id: str | None = UNSET,
        expected_revision: int | None = None,
        only_unset: bool = False,
        touch: bool = True,
    ) -> ChatSession:
        """Change the session and return it: what is left out stays, None clears.

        *metadata* replaces the whole object. Only a repository without a scope can change the owner (when a visitor
        logs in). With *only_unset* what has a value already stays, whoever set it: a title that a model thinks up does
        not take the place of the user's. With *touch* False, `updated_at` stays, and with it the session's place in
        lists. Raises `SessionNotFound`, `Conflict` if the session is not at *expected_revision*, `Invalid`.
        """
        given = {
            "title": title,
            "metadata": metadata,
            "archived": archived,
            "expires_at": expires_at,
            "user_id": user_id,
            "tenant_id": tenant_id,
        }
        changes, revision = make_changes(self._scope, given), check_revision(expected_revision)
        call = UpdateSession(*self._at(session_id), changes, revision, bool(only_unset), bool(touch))
        return self._call(self._core.update_session, call)

    def delete_session(self, session_id: str, *, expected_revision: int | None = None) -> bool:
        """Delete the session with all its messages; return whether there was one.

        Raises `Conflict` if it is not at *expected_revision*.
        """
        revision = check_revision(expected_revision)
        return self._call(self._core.delete_session, DeleteSession(*self._at(session_id), revision))

    def list_sessions(
        self,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        archived: bool | None = False,
        metadata: Mapping[str, Any] | None = None,
        updated_since: datetime | None = None,
        forked_from: str | None = None,
        order: SessionOrder = NEWEST_FIRST,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ChatSession]:
        """Return a page of sessions, newest first by (updated_at, session_id), at most *limit* (1 to 1,000).

        *order* is ``-updated_at``, ``updated_at`` (the oldest change first), ``-created_at`` or ``created_at``; each
        goes on by the session id.

        *archived* False leaves archived sessions out, True lists only these, None both. *metadata* selects sessions
        whose top-level keys have these values. *updated_since* is inclusive. *forked_from* selects the forks of a
        session. The list is live: a session that changes while you page moves to the end of the newest. Raises
        `InvalidCursor` for a malformed cursor, or one of other filters or another order.
        """
        wanted = paging.make_session_filter(
            tenant_id=tenant_id,
            user_id=user_id,
            archived=archived,
            metadata=metadata,
            updated_since=updated_since,
            forked_from=forked_from,
        )
        order = paging.check_order(order)
        digest = wanted.digest(self._scope, order)
        start, size = paging.decode_cursor(cursor, digest), paging.check_list_limit(limit)
        call = ListSessions(self._scope, utcnow(), wanted, size + 1, start, order)
        return paging.make_page(self._call(self._core.list_sessions, call), size, digest, order)

    def fork_session(
        self, session_id: str, new_session_id: str, *, through: int | None = None
    ) -> ChatSession:
        """Copy the session, with its messages up to position *through* (inclusive; None: all), and return the copy.

        Positions, ids and times stay; title, metadata and owner are copied. Raises `SessionNotFound` for the
        source, `SessionExists` for the target.
        """
        if through is not None:
            through = arguments.check_natural(through, "through")
        call = ForkSession(*self._at(session_id), check_session_id(new_session_id), through)
        return self._call(self._core.fork_session, call)

    def load_records(self, session_id: str, records: Iterable[MessageRecord]) -> int:
        """Store records with their own positions, times and ids; return how many were new.

        For import and copy. Creates the session, owned by the scope, where it is missing. A session that had no
        message of its own gets the first record's time as `created_at`, unless that is later: it began elsewhere.
        Idempotent by message id; written in chunks, each in a transaction. Raises `Conflict` for a new record at or
        below another record's position, `MessageConflict` for a known id with another body, `InvalidMessage`,
        `SessionExists`.
        """
        session_id = check_session_id(session_id)
        new = 0
        for part in chunks(records):
            call = LoadRecords(*self._at(session_id), rows_of(session_id, part))
            new += self._call(self._core.load_records, call)
        return new

    # ---- messages

    def add_messages(
        self,
        session_id: str,
        messages: Iterable[Message],
        *,
        expected_revision: int | None = None,
        title: str | None = UNSET,
        metadata: Mapping[str, Any] | None = UNSET,
        states: Mapping[str, Mapping[str, Any]] | None = None,
        overlap: bool = False,
    ) -> Records:
        """Append *messages*, all or none and next to each other, and return their records in the order passed.

        Creates the session if it is missing. Any number of writers succeed. A message whose ``id`` is stored already
        is not stored again: its record is returned, so that the same call can be repeated. If its body differs, it
        raises `MessageConflict`. A message without an id is always appended. With *expected_revision* (0: the
        session must not exist yet) a session at another revision raises `Conflict`, unless every message is stored
        already. An empty list does nothing. Raises `InvalidMessage`, `MessageTooLarge`, and `SessionExists` if the
        id belongs to another owner; then nothing is written. Some services limit what is atomic
        (`capabilities.atomic_batch`): more messages are written in pieces of that size, in order, and `PartialWrite`
        says how many are stored if a piece fails.

        *title* and *metadata* change the session in the same write, as `update_session` does: with them an empty list
        creates it, too. Where every message is stored already, and the session is not at *expected_revision*, the call
        is taken for a repeated one, and they change nothing. *states* are set with them, as `set_states` does: values
        by their keys, by their namespaces.

        With *overlap*, *messages* are the end of the conversation as the caller knows it, and only what is new in it
        is stored and returned: what comes behind the last message that is stored already. What stands before those,
        such as a summary in the place of the first ones, is left out. Messages are the same if both have an id of their
        own and it is equal, else if they say the same: in text, parts and tool calls. What was said twice is stored
        twice; if nothing is stored already, all is new. It is for whoever hands a conversation over again: the first of
        new messages by themselves would count as stored if it says what was said last.
        """
        revision = None if expected_revision is None else check_revision(expected_revision)
        if overlap:
            return self._add_unknown(session_id, messages, revision, title, metadata, states)
        scope, now, session_id = self._at(session_id)
        given = title is not UNSET or metadata is not UNSET
        changes = make_changes(scope, {"title": title, "metadata": metadata}) if given else {}
        named = arguments.check_states(states) if states else {}
        if named or changes:
            self._need("set_states" if named else "update_session")
        made = batch(session_id, messages, now)
        if not made.drafts and not changes and not named:
            return self.get_records(session_id, last=0)
        kind = AddMessages if made.drafts else ChangeSession
        try:
            call = kind(scope, now, session_id, made.drafts, revision, changes=changes, states=named)
            done = self._call(self._core.add_messages, call)
        except PartialWrite as error:
            raise counted(session_id, made, error) from error.__cause__
        return answered(session_id, made, done)

    def _add_unknown(
        self,
        session_id: str,
        messages: Iterable[Message],
        revision: int | None,
        title: str | None,
        metadata: Mapping[str, Any] | None,
        states: Mapping[str, Mapping[str, Any]] | None,
    ) -> Records:
        """Append what is new in *messages*, on condition that nobody has written since that was found out."""
        given = listed(messages)
        for _ in range(CONTENDED):
            stored = self.get_records(session_id, last=overlaps.reach(given))
            expected = stored.revision if revision is None else revision
            new = overlaps.unknown(given, stored)
            try:
                return self.add_messages(
                    session_id,
                    new,
                    expected_revision=expected,
                    title=title,
                    metadata=metadata,
                    states=states,
                )
            except Conflict as error:
                if revision is not None or type(error) is not Conflict:
                    raise
        raise contended(session_id, inside=self._transaction is not None)

    def begin_answer(
        self,
        session_id: str,
        messages: Iterable[Message] = (),
        *,
        message_id: str | None = None,
        after: int | None = None,
        expected_revision: int | None = None,
    ) -> StreamingAnswer:
        """Append *messages*, and behind them the placeholder of an answer; return the answer, to which text is added.

        All of it is one write, as `add_messages` does it. What the answer's ``append`` gets is stored as it comes,
        after a quarter of a second or 8 kB, outside of the caller's way; its ``finish`` ends it. As a context
        manager it ends with its block, as `StreamingAnswer` says. Until then its record's ``state`` is
        ``streaming``; if its process dies, it reads as ``incomplete``, ``abandoned``, after a minute. *message_id* is
        the id that the answer's message gets. With *after*, the messages behind that position are deleted in the same
        write: pass the position of a question to answer it once more, or the one before it to ask something else.
        Raises as `add_messages`; `NotSupported` inside a caller's transaction (`using`), and for a single file.
        """
        return StreamingAnswer(
            self,
            session_id,
            messages,
            message_id=message_id,
            after=after,
            expected_revision=expected_revision,
        )

    def follow_answer(self, session_id: str, key: int | str, *, offset: int = 0) -> Iterator[AnswerPart]:
        """Yield the text of a message from character *offset* on, as it grows, until it ends.

        *key* is a position (int) or a message id (str). What is there already comes at once, the rest a quarter of a
        second after it was stored, by whatever process. Each part has the offset to go on from, so that a reader that
        was cut off passes it the next time. The last part has the state ``complete`` or ``incomplete``, and may be
        without text. Raises `SessionNotFound`, `MessageNotFound`.
        """
        start = arguments.check_natural(offset, "offset")
        while True:
            part = part_of(self.get_message(session_id, key), start)
            start = part.offset
            if part.text or part.state != STREAMING:
                yield part
            if part.state != STREAMING:
                return
            sleep(FLUSH_SECONDS)

    def get_messages(
        self,
        session_id: str,
        *,
        last: int | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        incomplete: bool = True,
    ) -> list[Message]:
        """Return messages, oldest first: those between the exclusive positions *after* and *before*.

        *last* takes the newest of these, *limit* the oldest; both together raise `Invalid`. To scroll up, pass
        ``before=p, last=20``. With *incomplete* False, answers among them that are still streaming, or were broken
        off, are left out: what a model should read. A missing session has no messages. Raises `CorruptRecord` for
        damaged records.
        """
        if not incomplete:
            records = self.get_records(session_id, last=last, after=after, before=before, limit=limit)
            return whole(records)
        chosen = arguments.make_window(last, after, before, limit)
        return self._call(self._core.get_messages, GetMessages(*self._at(session_id), chosen))

    def get_records(
        self,
        session_id: str,
        *,
        last: int | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Records:
        """Return the messages as records, with the session's ``revision`` at that moment (0: no session)."""
        chosen = arguments.make_window(last, after, before, limit)
        return self._call(self._core.get_records, GetRecords(*self._at(session_id), chosen))

    def _messages_as(
        self, make: Callable[[list[Any]], U], form: Form | None, session_id: str, *, last: int | None = None
    ) -> U:
        """Return what *make* makes of the messages, or the newest *last*; it must not ask the repository for anything.

        Messages are left out of which *form* makes something else (see `GetMessages`). Both work in the thread that
        reads, if there is one.
        """
        window = arguments.make_window(last, None, None, None)
        call = GetMessages(*self._at(session_id), window, form)
        return self._call(then(self._core.get_messages, make), call)

    def _records_as(
        self,
        make: Callable[[Records], U],
        form: Form | None,
        session_id: str,
        *,
        after: int | None,
        limit: int | None,
    ) -> U:
        """As `_messages_as`, of the records after position *after*, or the oldest *limit* of them."""
        window = arguments.make_window(None, after, None, limit)
        call = GetRecords(*self._at(session_id), window, form)
        return self._call(then(self._core.get_records, make), call)

    def iter_records(self, session_id: str, *, after: int | None = None) -> Iterator[MessageRecord]:
        """Yield the records after position *after*, oldest first, in bounded memory.

        It reads page by page, not one snapshot: messages appended meanwhile are included. Damaged records are left
        out, and named in one `CorruptRecord` at the end.
        """
        walk = Walk(session_id, after)
        while walk.more:
            try:
                part = walk.step(self.get_records(session_id, after=walk.position, limit=CHUNK))
            except CorruptRecord as error:
                part = walk.passed(error)
            yield from part
        walk.end()

    def get_message(self, session_id: str, key: int | str) -> MessageRecord:
        """Return one record: *key* is a position (int) or a message id (str).

        Raises `SessionNotFound`, `MessageNotFound`.
        """
        call = GetMessage(*self._at(session_id), arguments.check_message_key(key))
        return self._call(self._core.get_message, call)

    def find_message(self, message_id: str) -> MessageRecord:
        """Return the record with this id, in whatever session of the scope it is; the record says which.

        Of several that have it, as forks do, the session that was created first counts. Where a backend has no index
        of ids (all but SQL), it looks at one session after another. Raises `MessageNotFound`.
        """
        sought = arguments.check_name(message_id, "message id")
        return self._call(self._core.find_message, FindMessage(self._scope, utcnow(), sought))

    def update_message(
        self, session_id: str, key: int | str, message: Message, *, expected_revision: int | None = None
    ) -> MessageRecord:
        """Replace a stored message, which keeps its position, id and time; return the new record.

        *key* is a position (int) or a message id (str). Raises `SessionNotFound`, `MessageNotFound`, `Conflict` if the
        session is not at *expected_revision*, `InvalidMessage` if *message* has another id.
        """
        scope, now, session_id = self._at(session_id)
        key, revision = arguments.check_message_key(key), check_revision(expected_revision)
        call = UpdateMessage(scope, now, session_id, key, codec.encode(message, now=now), revision)
        return self._call(self._core.update_message, call)

    def delete_message(self, session_id: str, key: int | str) -> None:
        """Delete one message by position (int) or id (str); its position is not used again, its id may be.

        Raises `SessionNotFound`, `MessageNotFound`.
        """
        call = DeleteMessage(*self._at(session_id), arguments.check_message_key(key))
        self._call(self._core.delete_message, call)

    def pop_message(self, session_id: str) -> MessageRecord | None:
        """Delete the newest message and return its record; None without messages."""
        return self._call(self._core.pop_message, PopMessage(*self._at(session_id)))

    def count_messages(self, session_id: str) -> int:
        """Return the number of messages; 0 for a missing session."""
        return self._call(self._core.count_messages, CountMessages(*self._at(session_id)))

    def truncate(self, session_id: str, *, after: int) -> None:
        """Delete the messages after position *after*; later messages get new positions."""
        call = Truncate(*self._at(session_id), arguments.check_natural(after, "after"))
        self._call(self._core.truncate, call)

    def clear(self, session_id: str) -> None:
        """Delete all messages and keep the session."""
        self.truncate(session_id, after=0)

    def replace_messages(
        self, session_id: str, messages: Iterable[Message], *, expected_revision: int | None = None
    ) -> Records:
        """Replace all stored messages by *messages*, in one transaction; return the new records.

        Creates the session if it is missing. The new messages get new positions. Raises `Conflict` if the session
        is not at *expected_revision*, `SessionExists` if the id belongs to another owner, `InvalidMessage`.
        """
        revision = check_revision(expected_revision)
        scope, now, session_id = self._at(session_id)
        made = batch(session_id, messages, now)
        call = ReplaceMessages(scope, now, session_id, made.drafts, revision)
        return answered(session_id, made, self._call(self._core.replace_messages, call))

    # ---- across sessions

    def search(
        self,
        query: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        types: Iterable[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
        order: Literal["best", "newest"] = "best",
    ) -> list[SearchHit]:
        """Return messages that say all that *query* asks for, at most *limit* (up to 1,000).

        A query is words in any order, ``"exact phrases"``, ``-without`` and ``begin*``, in any mixture; every string
        is one, and one that asks for no word finds nothing. Words are runs of letters and digits. Case and accents do
        not count: ``cafe`` finds ``café``. Chinese, Japanese, Korean and Thai are found inside of longer text. There
        is no stemming.

        *order* "newest" gives the newest first. "best" gives first what says the words most often, the newest first
        among equals; of more than 1,000 matches, the newest 1,000 are compared. *since* is inclusive, *until*
        exclusive. Raises `NotSupported` on DynamoDB and Cosmos DB, which have no full text.
        """
        wanted = arguments.make_search_filter(
            query,
            session=session_id,
            tenant_id=tenant_id,
            user_id=user_id,
            types=types,
            since=since,
            until=until,
            limit=limit,
            order=order,
        )
        if not wanted.query.wanted or not wanted.limit:
            return []
        return self._call(self._core.search, Search(self._scope, utcnow(), wanted))

    def usage(
        self,
        *,
        by: Sequence[str] = ("day", "model"),
        user_id: str | None = None,
        tenant_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[UsageRow]:
        """Return messages and tokens summed by *by* (of day, model, user_id, tenant_id, session_id), in their order.

        Each message counts once, in the session it was stored in: what a fork copied (positions up to its
        ``forked_at``) is no usage. What was deleted, truncated or replaced counts no longer: keep the rows that this
        returns where you must know what was ever spent. Days are UTC days; *since* is inclusive, *until* exclusive.
        Keys that are not in *by* are None. Raises `Invalid` for a key that is not one of these.
        """
        wanted = arguments.make_usage_filter(
            by, tenant_id=tenant_id, user_id=user_id, since=since, until=until
        )
        return self._call(self._core.usage, Usage(self._scope, utcnow(), wanted))

    def purge(
        self,
        *,
        updated_before: datetime | None = None,
        archived_only: bool = False,
        expired_only: bool | None = None,
        dry_run: bool = False,
    ) -> PurgeReport:
        """Delete the sessions that meet all conditions, and return how many; without conditions, the expired ones.

        *updated_before* is exclusive. *dry_run* only counts. Sessions are deleted in batches: after an error some are
        gone, and those of a batch during which the connection broke may be missing from the report. Raises `Invalid`
        if *expired_only* is False and there is no other condition.
        """
        rule = arguments.make_purge_rule(
            updated_before, archived_only=archived_only, expired_only=expired_only, dry_run=dry_run
        )
        return self._call(self._core.purge, Purge(self._scope, utcnow(), rule))

    def close_answers(self, *, dry_run: bool = False) -> int:
        """Close the answers that were left streaming by processes that died; return how many there were.

        They are those that nobody has written to for a minute; they read as ``incomplete``, ``abandoned`` before, too,
        and are stored as that now. *dry_run* only counts.
        """
        now = utcnow()
        call = CloseAnswers(self._scope, now, now - ABANDONED_AFTER, bool(dry_run))
        return self._call(self._core.close_answers, call)

    # ---- states beside the conversations

    def get_states(self, namespace: str, *keys: str) -> dict[str, State]:
        """Return the named states of *namespace* by their keys, in the order of these: all, or those of *keys*.

        States are what an application or a framework keeps beside conversations: a user's settings, an agent's memory.
        They belong to exactly the scope that set them: the states of a tenant are not those of its users, and a
        repository without a scope sees only what was set without one. Raises `NotSupported` on backends that cannot
        write them with messages (`capabilities.denied`).
        """
        self._need("get_states")
        call = GetStates(self._scope, utcnow(), *arguments.check_names(namespace, keys))
        return {state.key: state for state in self._call(self._core.get_states, call)}

    def iter_states(self) -> Iterator[State]:
        """Yield every state that this scope sees, those of the owners in it too, in bounded memory.

        It reads page by page, not one snapshot. Raises `NotSupported` as `get_states`.
        """
        self._need("iter_states")
        after: str | None = None
        more = True
        while more:
            found = self._call(self._core.iter_states, ListStates(self._scope, utcnow(), after, CHUNK))
            yield from found
            more = len(found) == CHUNK
            if more:
                last = found[-1]
                after = state_place(last.tenant_id, last.user_id, last.namespace, last.key)

    def set_states(
        self, namespace: str, values: Mapping[str, Any], *, expected_revision: int | None = None
    ) -> dict[str, State]:
        """Set states of *namespace*, all or none, and return them by their keys; other keys stay.

        A value is any JSON of at most 30 levels, None too. `add_messages` sets states in the same write as messages.
        With *expected_revision* (0: the state must not exist yet) there may be one value only. Raises `Conflict` if its
        state is not at that revision, `Invalid`, `NotSupported` as `get_states`.
        """
        self._need("set_states")
        revision = arguments.check_state_revision(expected_revision, values)
        call = SetStates(self._scope, utcnow(), arguments.check_states({namespace: values}), revision)
        return {state.key: state for state in self._call(self._core.set_states, call)}

    def delete_states(self, namespace: str, *keys: str, expected_revision: int | None = None) -> int:
        """Delete the states of *namespace* that *keys* name, or without keys all of it; return how many there were.

        With *expected_revision* there must be one key. Raises `Conflict` if its state is there at another revision,
        `NotSupported` as `get_states`.
        """
        self._need("delete_states")
        revision = arguments.check_state_revision(expected_revision, keys)
        names = arguments.check_names(namespace, keys)
        call = DeleteStates(self._scope, utcnow(), *names, revision)
        return self._call(self._core.delete_states, call)

    # ---- the repository itself

    def durability(self) -> Durability:
        """Return what this storage keeps when the process ends or the machine crashes."""
        return self._call(self._core.durability, AskDurability(self._scope, utcnow()))

    def _writes_beside(self) -> bool:
        """Tell whether another thread may write to what this one has begun: not where it has a transaction open."""
        return True

    def _leave_thread(self) -> None:
        """Let go of what the calling thread, which ends, holds of the storage."""

    @abstractmethod
    def _asynchronous(self) -> AsyncRepository:
        """Return the asynchronous twin over the same storage, for the running loop."""

    def _copied(self, **changes: Any) -> Self:
        """Return a copy, which shares its asynchronous twins with this one, if it works on the same core."""
        twins = WeakKeyDictionary() if "_core" in changes else self._twins
        return super()._copied(_known_twins=twins, **changes)

    @property
    def _twins(self) -> Twins:
        """The asynchronous twins, one for each running loop, and who uses them."""
        twins: Twins = vars(self).setdefault("_known_twins", WeakKeyDictionary())
        return twins

    def _lend_twin(self, user: object) -> AsyncRepository:
        """Return the asynchronous twin for the running loop, kept until its last *user* releases it."""
        from asyncio import get_running_loop  # 20 ms that synchronous callers need not pay

        loop = get_running_loop()
        kept = self._twins.get(loop)
        if kept is None:
            kept = self._twins[loop] = self._asynchronous(), WeakSet()
            kept[0]._deadline = self._deadline
        twin, users = kept
        users.add(user)
        return twin if twin._scope == self._scope else twin._copied(_scope=self._scope)

    async def _release_twin(self, user: object) -> None:
        """Close the running loop's twin if *user* was the last one."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        kept = self._twins.get(loop)
        if kept is not None:
            twin, users = kept
            users.discard(user)
            if not users:
                del self._twins[loop]
                await twin.close()

    def _awaiting(self) -> AsyncRepository:
        """Return the asynchronous side that can work inside a caller's transaction. Raises `NotSupported`."""
        raise self._no_transactions()

    def close(self) -> None:
        """Close the connections of this repository; an engine or client that was passed in stays open.

        A repository made from a URL can be used again: it opens new connections, which another call closes.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
