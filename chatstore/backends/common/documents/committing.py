"""How a change is committed: on condition of the header, again after a lost race, followed by sweeping leftovers.

This module handles races, unclear outcomes, sizes and leftovers; the caller plans what is changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from chatstore import deadlines
from chatstore.arguments import microseconds
from chatstore.backends.common.documents.attempts import PatienceInRaces, repeated
from chatstore.backends.common.documents.header import END, NOTHING, Header, Leftover
from chatstore.backends.common.documents.steps import Commit, Look, Lost, Stage, Sweep
from chatstore.codec import Row
from chatstore.driving import Failed, outcome_unknown
from chatstore.errors import ChatstoreError, Invalid, MessageTooLarge, StorageError
from chatstore.failures import partly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from chatstore.backends.common.documents.steps import Store
    from chatstore.codec import Draft

T = TypeVar("T")
#: The commit to make (None: nothing changes), and the answer once it is made.
Plan: TypeAlias = tuple[Commit | None, Any]
#: What plans a change of the session with this header.
Attempt: TypeAlias = Callable[[Header | None], Plan | Generator[Any, Any, Plan]]

_log = logging.getLogger("chatstore")
#: Attempts to note down that leftovers are swept, while others write; if all fail, the next sweep finds nothing.
TIDY_ATTEMPTS = 5
#: Seconds: a hundred years.
MAX_TTL = 100 * 366 * 86_400
#: Rows of one `Stage`: each has patience of its own.
STAGED_ROWS = 100


class Committer:
    """Commits planned changes of a session to a store."""

    def __init__(self, store: Store, ttl: int | None = None) -> None:
        """Commit to *store*; a session expires *ttl* seconds after the last message was added (None: never)."""
        self.store, self.ttl = store, check_ttl(ttl)

    def write(
        self,
        session_id: str,
        attempt: Attempt,
        now: datetime,
        *,
        repeatable: bool = False,
        again: Attempt | None = None,
    ) -> Generator[Any, Any, Any]:
        """Plan and commit until it succeeds; return the answer of the plan that was committed.

        *again* plans instead of *attempt* where ids may be known that it does not look up. An outcome that is not
        known is found out by the header's token; only if another writer has been there in the meantime, what is not
        *repeatable* raises `OutcomeUnknown`.
        """
        patience, tried = PatienceInRaces(), dict[str | None, Any]()
        unclear, doubt, before = False, False, None
        fresh: Header | None = None
        while True:
            try:
                header: Header | None = fresh or (yield Look(session_id))
                fresh = None
                token = header.token if header else None
                if header and token in tried:
                    return tried[token]
                if unclear and not repeatable and token != before:
                    raise outcome_unknown()
                plan = (again if again and doubt else attempt)(header)
                commit, answer = (yield from plan) if isinstance(plan, Generator) else plan
                if commit is None:
                    return answer
                self._check_header(session_id, commit.after)
                before = commit.before.token if commit.before else None
                if commit.after:
                    tried[commit.after.token] = answer
                stored: Header | None = yield commit
            except Lost as lost:
                fresh, doubt = lost.header, doubt or lost.taken
                pause = patience.after_any(lost, unknown=unclear)
            except Failed as failed:
                unclear, doubt = unclear or failed.ambiguous, doubt or failed.ambiguous
                pause = patience.after_any(failed, unknown=unclear)
            else:
                yield from self._sweep(session_id, commit, stored, now)
                return answer
            yield pause

    def make_reachable(
        self, session_id: str, before: Header | None, after: Header, rows: Sequence[Row]
    ) -> Generator[Any, Any, Commit]:
        """Return the commit that makes *rows*, any number, reachable as the open part of *after*.

        What is too much for one commit is staged: announced in the header first, so that it is swept if this process
        stops, then written where nothing reaches it.
        """
        if self._fits(session_id, rows):
            return Commit(session_id, before, after, added=rows)
        generation, old = after.open.generation, before or NOTHING
        since = microseconds(rows[0].draft.created_at if after.session is None else after.session.updated_at)
        staged = Leftover(generation, 0, since, staged=True)
        try:
            announced = yield Commit(session_id, before, old.now(leftovers=(*old.leftovers, staged)))
        except Failed as failed:
            failed.ambiguous = False  # done or not, nothing of it is visible
            raise
        for first in range(0, len(rows), STAGED_ROWS):
            part = rows[first : first + STAGED_ROWS]
            deadlines.renew()
            yield from repeated(partial(_yield_step, Stage(session_id, generation, part, after.sweep_at)))
        return Commit(session_id, announced, after)

    def prolong(self, old: Header, new: Header, now: datetime) -> Header:
        """Return *new*, made of *old* by adding messages, with a later expiry; a fixed expiry stays.

        The service does not sweep items whose expiry moves, because they would have to be rewritten each time.
        """
        if self.ttl is None or old.sweep_at is not None:
            return new
        session = replace(new.data, expires_at=now + timedelta(seconds=self.ttl))
        return replace(new, session=session, sweep_at=None)

    def write_piece(
        self, session_id: str, write: Callable[..., Generator[Any, Any, Plan]], stored: int, now: datetime
    ) -> Generator[Any, Any, Any]:
        """Write one piece of a batch of which *stored* messages are stored; after the first, a failure is partial."""
        first, again = partial(write, again=False), partial(write, again=True)
        try:
            return (yield from self.write(session_id, first, now, repeatable=True, again=again))
        except ChatstoreError as error:
            if not stored:
                raise
            raise partly(session_id, stored) from error

    # ---- sizes

    def cut(self, session_id: str, items: Sequence[T], draft_of: Callable[[T], Draft]) -> list[Sequence[T]]:
        """Cut *items* into pieces that fit into one commit each. Raises `MessageTooLarge` if an item fits into none."""
        pieces: list[list[T]] = [[]]
        limits, size = self.store.limits, 0
        for item, bytes_ in zip(items, self.check_sizes(session_id, map(draft_of, items)), strict=True):
            size += bytes_
            if pieces[-1] and (len(pieces[-1]) == limits.messages or size > limits.size):
                pieces.append([])
                size = bytes_
            pieces[-1].append(item)
        return list(pieces)

    def check_sizes(self, session_id: str, drafts: Iterable[Draft]) -> list[int]:
        """Return the sizes of *drafts* in bytes. Raises `MessageTooLarge` before anything is sent."""
        limit, sizes = self.store.limits.message, []
        for number, draft in enumerate(drafts, 1):
            sizes.append(size := self.store.size(session_id, Row(END, draft)))
            if size > limit:
                msg = (
                    f"message {number} takes {size} bytes, and this service holds at most {limit} in one item: "
                    "shorten it, or keep large parts elsewhere and store a link"
                )
                raise MessageTooLarge(msg, limit=limit, size=size)
        return sizes

    def _fits(self, session_id: str, rows: Sequence[Row]) -> bool:
        limits = self.store.limits
        return len(rows) <= limits.messages and (
            sum(self.store.size(session_id, row) for row in rows) <= limits.size
        )

    def _check_header(self, session_id: str, header: Header | None) -> None:
        size = self.store.header_size(session_id, header) if header else 0
        if size > self.store.limits.header:
            msg = (
                f"the data of session {session_id!r} takes {size} bytes, and this service holds at most "
                f"{self.store.limits.header}: shorten its title or metadata"
            )
            raise Invalid(msg)

    # ---- what is left over

    def _sweep(
        self, session_id: str, commit: Commit, stored: Header | None, now: datetime
    ) -> Generator[Any, Any, None]:
        """Sweep what *commit* left over, and old leftovers of others."""
        if stored is not None and stored.leftovers:
            old = commit.before.leftovers if commit.before else ()
            made = [left for left in stored.leftovers if not left.staged and left not in old]
            yield from self.tidy(session_id, stored, made, now)

    def tidy(
        self, session_id: str, header: Header, made: Iterable[Leftover], now: datetime
    ) -> Generator[Any, Any, None]:
        """Sweep *made* and everything forgotten, and note it in the header, whatever others write meanwhile.

        A failure here is not the caller's: what is left is unreachable, and swept by a later write or purge.
        """
        targets = {*made, *header.forgotten(now)}
        if not targets and (header.session is not None or header.leftovers):
            return
        try:
            if any(left.staged for left in targets):
                # Whoever wrote this must not be able to make it reachable while it is being deleted.
                targets = {left._replace(staged=False) for left in targets}
                header = yield Commit(session_id, header, header.disowned(targets))
            for left in sorted(targets):
                step = Sweep(session_id, left.generation, left.above)
                yield from repeated(partial(_yield_step, step))
            yield from self._note(session_id, header, targets)
        except (Lost, Failed, StorageError) as error:
            _log.warning(
                "what a change left over in a session is not swept yet (%s): the next write to it, or purge, does it",
                type(error).__name__,
            )

    def _note(
        self, session_id: str, header: Header | None, swept: set[Leftover]
    ) -> Generator[Any, Any, None]:
        """Take *swept* out of the header, and the header away if it has nothing else."""
        for _ in range(TIDY_ATTEMPTS):
            if header is None or (header.session is not None and swept.isdisjoint(header.leftovers)):
                return
            after = header.without(swept)
            gone = after.session is None and not after.leftovers
            try:
                yield Commit(session_id, header, None if gone else after)
            except Lost:
                header = yield Look(session_id)
            else:
                return


def check_ttl(ttl: int | None) -> int | None:
    """Return *ttl* if it is a number of seconds, or None, else raise `Invalid`."""
    if ttl is not None and (type(ttl) is not int or not 1 <= ttl <= MAX_TTL):
        msg = (
            f"ttl is not a number of seconds from 1 to {MAX_TTL}: pass an int, or None for sessions that stay"
        )
        raise Invalid(msg)
    return ttl


def _yield_step(step: Any) -> Generator[Any, Any, Any]:
    return (yield step)
