"""From an incoming session to a session of a repository: the same file or source twice stores everything once.

This module knows sessions, positions and ids; it refuses to know formats and layouts. A message without an id gets one
made from the file or source, the session and its place in it, so that an import that was interrupted is completed by
repeating it. What a session of the target holds already is never changed.

A source is followed: an element keeps its ordinal as position, so a source that has grown is caught up with, and
nothing is mixed with other messages. A file is appended: its messages come after what is stored, or where it says.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from chatstore.arguments import Scope, check_owner_id, utcnow
from chatstore.errors import (
    Conflict,
    CorruptRecord,
    Invalid,
    InvalidMessage,
    MessageConflict,
    SessionExists,
)
from chatstore.incoming.aside import Aside, place_after
from chatstore.messages import MessageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from chatstore.incoming.session import Element, Incoming
    from chatstore.messages import ChatSession
    from chatstore.repository import Repository

#: The namespaces of ids that are made for messages of files and of sources. Never change these, nor what is hashed:
#: repeating an older import would store everything a second time.
_FILES: Final = uuid.UUID("6b0f6f0e-6a0c-5d8e-9a5b-2f1c8f4f0d63")
_SOURCES: Final = uuid.UUID("0c3c7f0a-6f0e-5b53-9a47-50a5b5b8e2d1")
#: What is written in one transaction: so many messages, or about so many bytes.
MESSAGES: Final = 500
BYTES: Final = 8 << 20
#: An expiry date that a source moved by less is the same: some tell only how long it is until then.
_SAME: Final = timedelta(seconds=5)


@dataclass(slots=True)
class Tally:
    """What became of a file or a source.

    *sessions* are those that are now in the target with all that could be read; *skipped* ones were left out on
    purpose (expired), *refused* ones because the target holds something else. *new*, *known* and *damaged* count
    messages; a session of which nothing can be read counts once as damaged.
    """

    sessions: int = 0
    new: int = 0
    known: int = 0
    skipped: int = 0
    refused: int = 0
    damaged: int = 0
    expiring: int = 0


@dataclass
class Loader:
    """Loads the sessions of one file, or of one source of this *kind*, and keeps count.

    *tenant_id* and *user_id* come before an owner that the session has, and *owners*, by the session's id in the
    target, before both. Without *expires* no session gets the expiry date that it has where it comes from. With
    *before* a source's messages come before others that its session holds here. *say* is called with (*what*, *place*,
    *why*) for everything that is left out, where *what* is skipped, refused or damaged; *step* with how many messages
    are done.
    """

    repository: Repository
    kind: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    owners: Mapping[str, Scope] = field(default_factory=dict)
    expires: bool = True
    before: bool = False
    say: Callable[[str, str, str], None] = lambda _what, _place, _why: None
    step: Callable[[int], None] = lambda _messages: None
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Raise `Invalid` for an owner that can be none, before anything is read."""
        check_owner_id(self.tenant_id, "tenant_id"), check_owner_id(self.user_id, "user_id")

    def append(self, session: Incoming, session_id: str, *, join: bool = False) -> None:
        """Store a file's session as *session_id*, after what is stored of it already.

        A session that is missing is created with its owner, title and metadata. One that holds other messages raises
        `Conflict`, unless *join* is true: then the messages are appended. One of another owner than the loader's raises
        `Conflict` too. Raises `MessageConflict` for a known id with another body, `InvalidMessage`.
        """
        now = utcnow()
        records = [self._make_record(session, session_id, one, now) for one in session.elements]
        _refuse_duplicates(session, records)
        stored: dict[str, int] = {}
        last = 0
        created = self._create(session, session_id)
        if not created:
            last = self._check_owner(session_id, self._told(session_id)).last_position
            stored = {
                record.message_id: record.position for record in self.repository.iter_records(session_id)
            }
        known = sum(record.message_id in stored for record in records)
        if known < len(records) and len(stored) > known and not join:
            msg = (
                f"session {session_id!r} holds other messages than this file's: name another session "
                "(--session, --prefix), or name this one with --session to append to it"
            )
            raise Conflict(msg)
        wanted = [one.position for one in session.elements]
        new = self.repository.load_records(session_id, place_after(last, records, wanted, stored))
        self._count(len(records), new)
        expires_at = session.expires_at if self.expires else None
        if created and (session.archived_at or expires_at):
            archived = session.archived_at is not None
            self.repository.update_session(session_id, archived=archived, expires_at=expires_at)
        self.tally.sessions += 1

    def follow(self, session: Incoming) -> None:
        """Store a source's session in chunks, each in a transaction. Raises `StorageError` where the target fails."""
        if not self.expires:
            session = session._replace(expires_at=None)
        if session.skipped:
            self.tally.skipped += 1
            self.say("skipped", session.place, session.skipped)
            return
        if session.fault:
            self._report_damage(session.place, session.fault)
            return
        try:
            self._follow(session, str(session.session_id))
        except (Conflict, CorruptRecord) as error:
            self.tally.refused += 1
            self.say("refused", session.place, str(error))
        except Invalid as error:  # its id, or its owner's
            self._report_damage(session.place, str(error))

    def _follow(self, session: Incoming, session_id: str) -> None:
        newest: MessageRecord | None = None
        ready = read = False
        aside = Aside(self.repository, session_id) if self.before else None
        session = aside.resume(session) if aside else session
        for part in _split(session.elements):
            read = True
            good = [one for one in part if one.message is not None]
            for one in part:
                if one.message is None:
                    self._report_damage(one.place, one.fault)
            if good and not ready:
                newest, ready = self._prepare(session, session_id), True
                if aside and self._is_other(session, session_id, good[0], newest):
                    session, newest = aside.take(session), None
                    self._create(session, session_id, expires_at=session.expires_at)
            if newest is not None:
                self._check_continuity(session, session_id, part, newest)
            if good:
                self._store(session, session_id, good)
        if not read:
            self._prepare(session, session_id)
        if aside:
            aside.give_back()
        self.tally.sessions += ready or not read
        self.tally.expiring += session.expires_at is not None

    # ---- the session

    def _create(self, session: Incoming, session_id: str, *, expires_at: datetime | None = None) -> bool:
        """Create the session; return whether there was none."""
        tenant_id, user_id = self._choose_owner(session, session_id)
        try:
            self.repository.create_session(
                session_id,
                tenant_id=tenant_id,
                user_id=user_id,
                title=session.title,
                metadata=session.metadata,
                expires_at=expires_at,
            )
        except SessionExists:
            return False
        return True

    def _prepare(self, session: Incoming, session_id: str) -> MessageRecord | None:
        """Create the session, or check the one there is; return its newest record."""
        if self._create(session, session_id, expires_at=session.expires_at):
            return None
        there = self._check_owner(session_id, self._choose_owner(session, session_id))
        # The source may have moved its expiry date on; one that somebody cleared here stays cleared.
        if session.expires_at and there.expires_at and session.expires_at - there.expires_at > _SAME:
            self.repository.update_session(session_id, expires_at=session.expires_at)
        return next(iter(self.repository.get_records(session_id, last=1)), None)

    def _told(self, session_id: str) -> Scope:
        """Return the owner that the loader was told."""
        named = self.owners.get(session_id, Scope())
        return Scope(
            self.tenant_id if named.tenant_id is None else named.tenant_id,
            self.user_id if named.user_id is None else named.user_id,
        )

    def _choose_owner(self, session: Incoming, session_id: str) -> Scope:
        """Return the owner of a new session: what the loader was told comes before what the session says."""
        told = self._told(session_id)
        return Scope(
            session.tenant_id if told.tenant_id is None else told.tenant_id,
            session.user_id if told.user_id is None else told.user_id,
        )

    def _check_owner(self, session_id: str, owner: Scope) -> ChatSession:
        """Return the session that is there; raise `Conflict` if it is not *owner*'s."""
        there = self.repository.get_session(session_id)
        if not owner.sees(there.tenant_id, there.user_id):
            msg = f"session {session_id!r} is there already and has another owner: import it as another one"
            raise Conflict(msg)
        return there

    def _check_continuity(
        self, session: Incoming, session_id: str, part: list[Element], newest: MessageRecord
    ) -> None:
        """Raise `Conflict` where the target's newest record is not the one that the source has there."""
        for one in part:
            if one.ordinal == newest.position and (
                one.message is None or self._choose_id(session, session_id, one) != newest.message_id
            ):
                raise Conflict(_explain_others(session_id))

    def _is_other(
        self, session: Incoming, session_id: str, first: Element, newest: MessageRecord | None
    ) -> bool:
        """Tell whether the target holds messages of its own where the source has its *first* one."""
        if newest is None:
            return False
        there = self.repository.get_records(session_id, after=first.ordinal - 1, limit=1)
        return not there or there[0].message_id != self._choose_id(session, session_id, first)

    # ---- messages

    def _store(self, session: Incoming, session_id: str, part: list[Element]) -> None:
        """Store the messages of *part*; where some are refused, say which, and store the others."""
        now = utcnow()
        records = [self._make_record(session, session_id, one, now) for one in part]
        try:
            self._count(len(records), self.repository.load_records(session_id, records))
        except (Invalid, MessageConflict):
            # Nothing of this part was written; one by one they tell which it is.
            for one, record in zip(part, records, strict=True):
                self._store_one(session_id, one.place, record)

    def _store_one(self, session_id: str, place: str, record: MessageRecord) -> None:
        try:
            self._count(1, self.repository.load_records(session_id, [record]))
        except MessageConflict as error:
            if record.message.id is None:
                raise Conflict(_explain_others(session_id)) from error
            self._report_damage(place, f"its id {record.message_id!r} is that of another message")
        except Invalid as error:
            self._report_damage(place, str(error))

    def _choose_id(self, session: Incoming, session_id: str, one: Element) -> str:
        if one.message is not None and one.message.id is not None:
            return one.message.id
        if one.message_id is not None:
            return one.message_id
        place = [session.origin, session_id, one.key or one.ordinal]
        if self.kind is None:
            return str(uuid.uuid5(_FILES, json.dumps(place)))
        return str(uuid.uuid5(_SOURCES, json.dumps([self.kind, *place])))

    def _make_record(self, session: Incoming, session_id: str, one: Element, now: datetime) -> MessageRecord:
        assert one.message is not None  # noqa: S101 - for the type checker: only such elements come here
        message_id = self._choose_id(session, session_id, one)
        return MessageRecord(one.message, one.ordinal, message_id, one.created_at or now, session_id)

    def _count(self, messages: int, new: int) -> None:
        self.tally.new += new
        self.tally.known += messages - new
        self.step(messages)

    def _report_damage(self, place: str, why: str) -> None:
        self.tally.damaged += 1
        self.say("damaged", place, why)


def _refuse_duplicates(session: Incoming, records: list[MessageRecord]) -> None:
    ids = [record.message_id for record in records]
    if len(set(ids)) < len(ids):
        twice = next(message_id for message_id in ids if ids.count(message_id) > 1)
        msg = f"{session.place}two messages have the id {twice!r}: remove one of them, or its id"
        raise InvalidMessage(msg)


def _explain_others(session_id: str) -> str:
    return (
        f"session {session_id!r} holds other messages than the source has there (it was continued or changed here, or "
        "the source was trimmed since): leave it as it is, put the source's before them (--before), or delete the "
        "session and repeat this"
    )


def _split(elements: Iterable[Element]) -> Iterator[list[Element]]:
    """Cut *elements* into lists that fit in one transaction and in memory."""
    part: list[Element] = []
    size = 0
    for one in elements:
        part.append(one)
        size += one.size
        if len(part) == MESSAGES or size >= BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
