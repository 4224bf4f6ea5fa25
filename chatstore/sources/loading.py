"""From a source's session to a session of a repository: the same source twice stores everything once.

This module knows sessions, positions and ids; it refuses to know layouts. An element keeps its ordinal as position. A
message without an id gets one made from the source, the session and what the source calls it, so that an import that
was interrupted is completed by repeating it, and a source that has grown is caught up with. What a session of the
target holds already is never changed, and never mixed with other messages.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from chatstore.arguments import Scope, owner_id, utcnow
from chatstore.errors import Conflict, CorruptRecord, Invalid, MessageConflict, SessionExists
from chatstore.messages import MessageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from chatstore.messages import ChatSession
    from chatstore.repository import Repository
    from chatstore.sources.elements import Element, Found

_NAMESPACE: Final = uuid.UUID("0c3c7f0a-6f0e-5b53-9a47-50a5b5b8e2d1")
#: What is written in one transaction: so many messages, or about so many bytes.
MESSAGES: Final = 500
BYTES: Final = 8 << 20
#: An expiry date that a source moved by less is the same: some tell only how long it is until then.
_SAME: Final = timedelta(seconds=5)


@dataclass(slots=True)
class Tally:
    """What became of a source.

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
    """Loads what one source finds, and keeps count.

    *tenant_id* and *user_id* come before an owner that the source tells. *say* is told (*what*, *place*, *why*) of
    everything that was left out, where *what* is skipped, refused or damaged; *step* of how many messages were done.
    """

    repository: Repository
    kind: str
    tenant_id: str | None = None
    user_id: str | None = None
    say: Callable[[str, str, str], None] = lambda _what, _place, _why: None
    step: Callable[[int], None] = lambda _messages: None
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Raise `Invalid` for an owner that can be none, before anything is read."""
        owner_id(self.tenant_id, "tenant_id"), owner_id(self.user_id, "user_id")

    def load(self, found: Found) -> None:
        """Store one session, in chunks, each in a transaction. Raises `StorageError` where the target fails."""
        if found.skipped:
            self.tally.skipped += 1
            self.say("skipped", found.place, found.skipped)
            return
        if found.fault:
            self._damaged(found.place, found.fault)
            return
        try:
            self._load(found)
        except (Conflict, CorruptRecord) as error:
            self.tally.refused += 1
            self.say("refused", found.place, str(error))
        except Invalid as error:  # its id, or its owner's
            self._damaged(found.place, str(error))

    def _load(self, found: Found) -> None:
        last: MessageRecord | None = None
        ready = read = False
        for part in _parts(found.elements):
            read = True
            good = [one for one in part if one.message is not None]
            for one in part:
                if one.message is None:
                    self._damaged(one.place, one.fault)
            if good and not ready:
                last, ready = self._session(found), True
            if last is not None:
                self._must_continue(found, part, last)
            if good:
                self._store(found, good)
        if not read:
            self._session(found)
        self.tally.sessions += ready or not read
        self.tally.expiring += found.expires_at is not None

    # ---- the session

    def _session(self, found: Found) -> MessageRecord | None:
        """Create the session, or look at the one there is; return its newest record."""
        tenant_id, user_id = self.tenant_id, found.user_id if self.user_id is None else self.user_id
        try:
            self.repository.create_session(
                found.session_id, tenant_id=tenant_id, user_id=user_id, expires_at=found.expires_at
            )
        except SessionExists:
            session = self.repository.get_session(found.session_id)
        else:
            return None
        if not Scope(tenant_id, user_id).sees(session.tenant_id, session.user_id):
            msg = f"session {found.session_id!r} is there already and has another owner: import it elsewhere"
            raise Conflict(msg)
        self._prolong(found, session)
        return next(iter(self.repository.get_records(found.session_id, last=1)), None)

    def _prolong(self, found: Found, session: ChatSession) -> None:
        """Follow an expiry date that the source has moved on; one that somebody cleared stays cleared."""
        if found.expires_at and session.expires_at and found.expires_at - session.expires_at > _SAME:
            self.repository.update_session(found.session_id, expires_at=found.expires_at)

    def _must_continue(self, found: Found, part: list[Element], last: MessageRecord) -> None:
        """Raise `Conflict` where the target's newest record is not the one that the source has there."""
        for one in part:
            if one.ordinal == last.position and (
                one.message is None or self._id(found, one) != last.message_id
            ):
                raise Conflict(_others(found))

    # ---- messages

    def _store(self, found: Found, part: list[Element]) -> None:
        now = utcnow()
        records = [self._record(found, one, now) for one in part]
        try:
            self._count(records, self.repository.load_records(found.session_id, records))
        except (Invalid, MessageConflict):
            # Which of them it is, they tell one by one; nothing of this part was written.
            for one, record in zip(part, records, strict=True):
                self._store_one(found, one, record)

    def _store_one(self, found: Found, one: Element, record: MessageRecord) -> None:
        try:
            self._count([record], self.repository.load_records(found.session_id, [record]))
        except MessageConflict as error:
            if record.message.id is None:
                raise Conflict(_others(found)) from error
            self._damaged(one.place, f"its id {record.message_id!r} is that of another message")
        except Invalid as error:
            self._damaged(one.place, str(error))

    def _record(self, found: Found, one: Element, now: datetime) -> MessageRecord:
        assert one.message is not None  # noqa: S101 - for the type checker: only such elements come here
        return MessageRecord(
            one.message, one.ordinal, self._id(found, one), one.created_at or now, found.session_id
        )

    def _id(self, found: Found, one: Element) -> str:
        if one.message is not None and one.message.id is not None:
            return one.message.id
        if one.record_id is not None:
            return one.record_id
        told = [self.kind, found.origin, found.session_id, one.key or one.ordinal]
        return str(uuid.uuid5(_NAMESPACE, json.dumps(told)))

    def _count(self, records: list[MessageRecord], new: int) -> None:
        self.tally.new += new
        self.tally.known += len(records) - new
        self.step(len(records))

    def _damaged(self, place: str, why: str) -> None:
        self.tally.damaged += 1
        self.say("damaged", place, why)


def _others(found: Found) -> str:
    return (
        f"session {found.session_id!r} holds other messages than the source has there (it was changed here, or the "
        "source was trimmed since): leave it as it is, or delete the session and repeat this"
    )


def _parts(elements: Iterable[Element]) -> Iterator[list[Element]]:
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
