"""What the doors of frameworks that await have in common: an asynchronous repository, whichever kind was passed.

This module knows how a synchronous repository lends its asynchronous twin and gets it back, and how much a door
remembers; it knows no framework.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from chatstore.errors import SessionNotFound
from chatstore.repository import Repository, check_repository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from chatstore.aio import AsyncRepository
    from chatstore.codec import Form
    from chatstore.messages import ChatSession, Message, Records

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
#: How many sessions an object remembers.
RECENT: Final = 256


class Recent(OrderedDict[K, V]):
    """What an object remembers of the sessions that it used last, by their ids: where one is new, the oldest goes."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > RECENT:
            self.popitem(last=False)


class Sessions(Recent[str, "ChatSession"]):
    """The sessions that an object read or wrote last, as they were then: what it does next begins with that.

    A session at the same revision is the same, but for its times and counts; at another, it has to be read again.
    """

    async def read(self, store: AsyncRepository, session_id: str) -> ChatSession | None:
        """Return a session as it is now."""
        self.pop(session_id, None)
        try:
            session = self[session_id] = await store.get_session(session_id)
        except SessionNotFound:
            return None
        return session

    async def with_records(
        self,
        store: AsyncRepository,
        session_id: str,
        begin: Callable[[ChatSession | None], int] | None,
        limit: int | None,
        form: Form | None,
        make: Callable[[Records, ChatSession | None], T],
    ) -> tuple[ChatSession | None, T]:
        """Return a session, and what *make* makes of its records behind *begin* of it, at most *limit*.

        Both are as they were at one moment. What *form* makes of messages stands in their place.
        """
        session = self.get(session_id) or await self.read(store, session_id)
        while True:
            after = begin(session) if begin else None
            both = partial(_made_of, make, session)
            revision, made = await store._records_as(both, form, session_id, after=after, limit=limit)
            if revision != (session.revision if session else 0):  # somebody has written since
                session = await self.read(store, session_id)
            now = session.revision if session else 0, begin(session) if begin else None
            if (revision, after) == now:
                return session, made

    def advance(self, session: ChatSession, revision: int, **changes: Any) -> None:
        """Remember *session* with *changes* at *revision*, if nobody else has written since it was so."""
        if revision == session.revision + 1:
            self[session.session_id] = replace(session, revision=revision, **changes)


def _made_of(
    make: Callable[[Records, ChatSession | None], T], session: ChatSession | None, records: Records
) -> tuple[int, T]:
    return records.revision, make(records, session)


class Awaiting:
    """An object of a framework that awaits, over a repository of either kind.

    A synchronous repository is used through its asynchronous twin, one for each running loop; `aclose`, or the end of
    an ``async with``, gives that back. The repository itself stays open: who made it closes it.
    """

    def __init__(self, repository: Repository | AsyncRepository) -> None:
        """Work on *repository*; nothing is read or written yet. Raises `Invalid` for anything else, such as a URL."""
        self.repository = check_repository(repository)
        self._recent = Sessions()

    @property
    def _store(self) -> AsyncRepository:
        if isinstance(self.repository, Repository):
            return self.repository._lend_twin(self)
        return self.repository

    async def _read_session(self, session_id: str) -> ChatSession | None:
        """Return a session as it is now."""
        return await self._recent.read(self._store, session_id)

    async def _append(
        self,
        session: ChatSession,
        messages: Sequence[Message],
        metadata: dict[str, Any],
        states: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Records:
        """Append to *session*, if it is still at its revision, with its *metadata* and *states* from now on.

        Raises `Conflict` if it is not; that *session* was not read just now is found out here.
        """
        self._recent.pop(session.session_id, None)
        done = await self._store.add_messages(
            session.session_id, messages, expected_revision=session.revision, metadata=metadata, states=states
        )
        last = done[-1].position if done else session.last_position
        self._recent.advance(session, done.revision, metadata=metadata, last_position=last)
        return done

    async def aclose(self) -> None:
        """Release what was opened on the running loop; the repository stays open."""
        if isinstance(self.repository, Repository):
            await self.repository._release_twin(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
