"""Messages that make room: those of a session that was continued here before its older ones were brought.

This module knows how they are kept safe meanwhile, in a session of their own, so that an interrupted import loses
nothing and is completed by repeating it. It refuses to know where the older ones come from.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from chatstore.errors import Conflict, SessionExists, SessionNotFound
from chatstore.ids import session_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chatstore.incoming.session import Incoming
    from chatstore.messages import ChatSession, MessageRecord
    from chatstore.repository import Repository


class Aside:
    """The messages of one session, put aside and given back behind what came in between."""

    def __init__(self, repository: Repository, session_id: str) -> None:
        """Work on session *session_id*; nothing is moved yet."""
        self._repository, self._session_id = repository, session_id
        self._kept = session_key(session_id, "put aside by an import")

    def take(self, session: Incoming) -> Incoming:
        """Copy the messages, then remove the session; return *session* with what has to be kept of the removed one.

        Raises `Conflict` if somebody wrote meanwhile; nothing is removed then.
        """
        there = self._repository.get_session(self._session_id)
        records = self._repository.get_records(self._session_id)
        with suppress(SessionExists):  # an import that was interrupted
            self._repository.create_session(
                self._kept,
                tenant_id=there.tenant_id,
                user_id=there.user_id,
                title=there.title,
                metadata=there.metadata,
                expires_at=there.expires_at,
            )
        self._repository.load_records(self._kept, (one._replace(session_id=self._kept) for one in records))
        try:
            self._repository.replace_messages(self._session_id, [], expected_revision=records.revision)
        except Conflict:
            self._repository.delete_session(self._kept)
            raise
        self._repository.delete_session(self._session_id)
        return _like(session, there)

    def resume(self, session: Incoming) -> Incoming:
        """Remove what an interrupted import emptied and could not remove; return *session* as `take` does."""
        try:
            there = self._repository.get_session(self._kept)
        except SessionNotFound:
            return session
        if self._repository.count_messages(self._session_id) == 0:
            self._repository.delete_session(self._session_id)
        return _like(session, there)

    def give_back(self) -> None:
        """Append what was put aside, by this import or by one that was interrupted, with its ids and times."""
        try:
            self._repository.get_session(self._kept)
        except SessionNotFound:
            return
        stored = {one.message_id: one.position for one in self._repository.iter_records(self._session_id)}
        records = [
            one._replace(session_id=self._session_id) for one in self._repository.iter_records(self._kept)
        ]
        last = max(stored.values(), default=0)
        placed = place_after(last, records, [None] * len(records), stored)
        self._repository.load_records(self._session_id, placed)
        self._repository.delete_session(self._kept)


def _like(session: Incoming, there: ChatSession) -> Incoming:
    """Return *session* with the owner, the title, the metadata and the expiry date that are *there*."""
    return session._replace(
        tenant_id=there.tenant_id,
        user_id=there.user_id,
        title=there.title or session.title,
        metadata=there.metadata or session.metadata,
        expires_at=there.expires_at,
    )


def place_after(
    last: int, records: Sequence[MessageRecord], wanted: Sequence[int | None], stored: dict[str, int]
) -> Iterator[MessageRecord]:
    """Yield *records* where they are *stored*, new ones after *last*, at the positions *wanted* if these are free."""
    for record, position in zip(records, wanted, strict=True):
        if record.message_id in stored:
            yield record._replace(position=stored[record.message_id])
        else:
            last = max(last + 1, position or 0)
            yield record._replace(position=last)
