"""One session from one repository to another, and whether it is the same in both.

This module knows what a session consists of, and composes what the contract offers; it refuses to know which storages
these are. What the contract cannot set is not copied: when a session was changed and archived, its revision, positions
that were used after its last message. A copied session was created when its first message was written.
"""

from __future__ import annotations

import hashlib
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.cli.tolerant_reading import read_whole_records
from chatstore.errors import Conflict, CorruptRecord, MessageNotFound, SessionNotFound
from chatstore.strictjson import canonical
from chatstore.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.messages import ChatSession, MessageRecord
    from chatstore.repository import Repository

_OWN: Final = ("tenant_id", "user_id", "title", "metadata", "expires_at")


class Compared(NamedTuple):
    """A session in both storages: how many *messages* the source has, the *digest* of them, and what differs.

    *linked* tells whether the target knows of which session it is a fork; that is no difference.
    """

    messages: int
    digest: str
    difference: str = ""
    linked: bool = True


class Pair(NamedTuple):
    """The two repositories; nothing is ever written to *source*."""

    source: Repository
    target: Repository

    def copy(self, session: ChatSession, damaged: list[str], step: Callable[[int], None]) -> int:
        """Bring the target's session up to the source's *session*; return how many messages were new.

        Where damaged records of the source are, goes into *damaged*. Raises `Conflict` where the target holds
        something else under this id; then nothing of that is changed.
        """
        new = self._prepare(session)
        records = read_whole_records(self.source, session.session_id, damaged)
        new += self.target.load_records(session.session_id, _count_each(records, step))
        there = self.target.get_session(session.session_id)
        changes: dict[str, Any] = {
            name: getattr(session, name) for name in _OWN if getattr(session, name) != getattr(there, name)
        }
        if (session.archived_at is None) != (there.archived_at is None):
            changes["archived"] = session.archived_at is not None
        if changes:
            self.target.update_session(session.session_id, **changes)
        return new

    def compare(self, session: ChatSession) -> Compared:
        """Read both again and compare messages, positions, ids, times and the session's own data."""
        count, digest, difference = 0, hashlib.sha256(), ""
        try:
            there = self.target.get_session(session.session_id)
        except SessionNotFound:
            return Compared(session.message_count, "", "it is missing in the target")
        lost: list[str] = []
        mine = read_whole_records(self.source, session.session_id, [])
        theirs = read_whole_records(self.target, session.session_id, lost)
        for one, other in zip_longest(mine, theirs):
            line = None if one is None else _serialize(one)
            if line is not None:
                count += 1
                digest.update(hashlib.sha256(line).digest())
            if not difference and (other is None or line != _serialize(other)):
                at = min(record.position for record in (one, other) if record is not None)
                difference = f"from position {at} on the messages differ"
        if lost:
            difference = f"the target has damaged records ({', '.join(lost[:3])})"
        difference = difference or ", ".join(_name_differences(session, there))
        linked = (session.forked_from, session.forked_at) == (there.forked_from, there.forked_at)
        return Compared(count, digest.hexdigest(), difference, linked)

    # ---- the session itself

    def _prepare(self, session: ChatSession) -> int:
        """Make the target's session, and return how many messages it got with that.

        One that is there must hold nothing that the source has not.
        """
        try:
            self.target.get_session(session.session_id)
        except SessionNotFound:
            if (forked := self._fork(session)) is not None:
                return forked.message_count
            own = {name: getattr(session, name) for name in _OWN}
            return self.target.create_session(session.session_id, **own).message_count
        newest = self.target.get_records(session.session_id, last=1)
        for record in newest:
            try:
                twin = self.source.get_message(session.session_id, record.position)
            except (MessageNotFound, CorruptRecord):
                twin = None
            if twin is None or twin.message_id != record.message_id:
                msg = (
                    f"the target's session {session.session_id!r} holds messages that the source's lacks: "
                    "delete it there and repeat this, or leave it out"
                )
                raise Conflict(msg)
        return 0

    def _fork(self, session: ChatSession) -> ChatSession | None:
        """Fork the target's session as the source's was forked, if that gives the very same records."""
        parent, through = session.forked_from, session.forked_at
        if parent is None or through is None or "fork_session" in self.target.capabilities.denied:
            return None
        try:
            if self.target.get_session(parent).last_position < through:
                return None
        except SessionNotFound:
            return None
        mine = _take_through(read_whole_records(self.source, session.session_id, []), through)
        theirs = _take_through(read_whole_records(self.target, parent, []), through)
        for one, other in zip_longest(mine, theirs):
            if one is None or other is None or _serialize(one) != _serialize(other):
                return None
        return self.target.fork_session(parent, session.session_id, through=through)


def order_parents_first(repository: Repository, ids: list[str]) -> tuple[list[str], int]:
    """Return *ids* so that a session comes after the one it was forked from, and how many messages they have."""
    wanted, ordered, messages = set(ids), list[str](), 0
    for session_id in ids:
        chain, at = list[str](), session_id
        while at in wanted:
            wanted.discard(at)
            try:
                session = repository.get_session(at)
            except SessionNotFound:  # deleted since it was listed
                break
            chain.append(at)
            messages += session.message_count
            at = session.forked_from or ""
        ordered += reversed(chain)
    return ordered, messages


def _count_each(records: Iterator[MessageRecord], step: Callable[[int], None]) -> Iterator[MessageRecord]:
    for record in records:
        yield record
        step(1)


def _take_through(records: Iterator[MessageRecord], position: int) -> Iterator[MessageRecord]:
    for record in records:
        if record.position > position:
            return
        yield record


def _serialize(record: MessageRecord) -> bytes:
    """Return all that a record says, the same for equal ones."""
    message = record.message
    values = [record.position, record.message_id, message.id, record.created_at.isoformat(), to_wire(message)]
    return canonical(values).encode("utf-8", "surrogatepass")


def _name_differences(session: ChatSession, there: ChatSession) -> Iterator[str]:
    """Name what of a session's own data differs."""
    for name in _OWN:
        if getattr(session, name) != getattr(there, name):
            yield f"its {name} differs"
    if (session.archived_at is None) != (there.archived_at is None):
        yield "it is archived in one of them only"
