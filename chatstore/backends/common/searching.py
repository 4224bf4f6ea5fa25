"""What backends share of a search: which of the messages that were found are hits, and in what order.

Knows messages that were found and a filter; refuses to know where they came from, and what a text says, which is for
`chatstore.words`.
"""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from chatstore.messages import SearchHit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from chatstore.arguments import SearchFilter
    from chatstore.backends.common.rules import SessionState
    from chatstore.codec import Draft

#: Messages that are ranked: the newest of those that match. A word that everything says ranks nothing.
RANKED = 1000


class Found(NamedTuple):
    """A message that matches, and its session's owner and title; *rank* is how often it says what is wanted."""

    created_at: datetime
    session_id: str
    position: int
    rank: float
    message_id: str
    type: str
    content: str
    title: str | None
    tenant_id: str | None
    user_id: str | None


#: What the newest match has most of, and the best.
AGE, _WORTH = itemgetter(0, 1, 2), itemgetter(3, 0, 1, 2)


def matches(conversations: Iterable[SessionState], wanted: SearchFilter) -> Iterator[Found]:
    """Yield the messages that *wanted* finds in these conversations, in no order."""
    rank_of = wanted.query.ranking()
    for state in conversations:
        session = state.session
        if wanted.session_id not in (None, session.session_id):
            continue
        for position, draft in state.rows:
            rank = rank_of(draft.content) if _in_filter(draft, wanted) else None
            if rank is not None:
                yield Found(
                    draft.created_at,
                    session.session_id,
                    position,
                    rank,
                    draft.message_id,
                    draft.type,
                    draft.content,
                    session.title,
                    session.tenant_id,
                    session.user_id,
                )


def _in_filter(draft: Draft, wanted: SearchFilter) -> bool:
    return (
        (wanted.types is None or draft.type in wanted.types)
        and (wanted.since is None or draft.created_at >= wanted.since)
        and (wanted.until is None or draft.created_at < wanted.until)
    )


def needed(wanted: SearchFilter) -> int:
    """Return how many of the newest matches decide what the answer is."""
    return wanted.limit if wanted.order == "newest" else max(RANKED, wanted.limit)


def newest(found: Iterable[Found], wanted: SearchFilter) -> list[Found]:
    """Return the matches that decide what the answer is, the newest first."""
    return heapq.nlargest(needed(wanted), found, key=AGE)


def hits(found: Iterable[Found], wanted: SearchFilter) -> list[SearchHit]:
    """Return the answer that these matches make."""
    chosen = newest(found, wanted)
    if wanted.order == "best":
        chosen = heapq.nlargest(wanted.limit, chosen, key=_WORTH)
    return [_hit(one, wanted) for one in chosen]


def _hit(found: Found, wanted: SearchFilter) -> SearchHit:
    snippet, places = wanted.query.snippet(found.content)
    return SearchHit(
        session_id=found.session_id,
        position=found.position,
        message_id=found.message_id,
        type=found.type,
        content=found.content,
        snippet=snippet,
        rank=found.rank,
        created_at=found.created_at,
        title=found.title,
        tenant_id=found.tenant_id,
        user_id=found.user_id,
        highlights=places,
    )
