"""Pages of items, and what a search found, as the API sends them.

This module knows that a page of items is not one of messages: a message may be no item, or several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.contrib.conversations.items import show_items
from chatstore.errors import SessionNotFound

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import MessageRecord, SearchHit


async def page_of(
    store: AsyncRepository,
    conversation_id: str,
    start: tuple[MessageRecord, int] | None,
    size: int,
    *,
    down: bool,
) -> list[dict[str, Any]]:
    """Return up to *size* items behind *start*, a message and the number of an item in it: the newest first if *down*.

    Raises `SessionNotFound`.
    """
    items = [] if start is None else _rest(*start, down=down)
    place = None if start is None else start[0].position
    while len(items) < size:
        if down:
            records = await store.get_records(conversation_id, last=size, before=place)
        else:
            records = await store.get_records(conversation_id, after=place, limit=size)
        if not records.revision:
            raise SessionNotFound(conversation_id)
        ordered = reversed(records) if down else records
        items += [item for record in ordered for item in _turned(show_items(record), down=down)]
        if len(records) < size:
            break
        place = records[0 if down else -1].position
    return items[:size]


def _rest(record: MessageRecord, number: int, *, down: bool) -> list[dict[str, Any]]:
    """Return the items of *record* that come behind the item *number*."""
    items = show_items(record)
    return _turned(items[:number], down=True) if down else items[number + 1 :]


def _turned(items: list[dict[str, Any]], *, down: bool) -> list[dict[str, Any]]:
    return items[::-1] if down else items


def show_hit(hit: SearchHit) -> dict[str, Any]:
    """Return what a search found, as the API sends it."""
    return {
        "object": "conversation.search_result",
        "conversation_id": hit.session_id,
        "title": hit.title,
        "item_id": hit.message_id,
        "created_at": int(hit.created_at.timestamp()),
        "snippet": hit.snippet,
        "highlights": [list(place) for place in hit.highlights],
    }
