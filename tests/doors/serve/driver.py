"""How the campaigns and the matrix use the Conversations API: by requests that reach the application without a port."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from chatstore import SessionExists
from chatstore.contrib.conversations import ConversationsAPI
from chatstore.contrib.conversations.items import make_messages

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every item says *label*, in full, as the API returns items."""
    about = {"status": "completed"}
    call = {"call_id": label, "name": "climate", "arguments": f'{{"city":"{label}"}}', **about}
    said = {"type": "output_text", "text": f"{label} answer", "annotations": [], "logprobs": []}
    return [
        {
            "id": f"msg_q{label}",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": f"{label} question"}],
            **about,
        },
        {"id": f"fc_{label}", "type": "function_call", **call},
        {
            "id": f"fco_{label}",
            "type": "function_call_output",
            "call_id": label,
            "output": f"{label} output",
            **about,
        },
        {"id": f"msg_a{label}", "type": "message", "role": "assistant", "content": [said], **about},
    ]


@cache
def client(store: AsyncRepository) -> httpx.AsyncClient:
    """Return a client of the application over *store*."""
    transport = httpx.ASGITransport(ConversationsAPI(store, owner=None))
    return httpx.AsyncClient(transport=transport, base_url="http://conversations", timeout=60)


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one request, in a conversation that is made if it is missing."""
    path = f"/conversations/{quote(session_id, safe='')}/items"
    answer = await client(store).post(path, json={"items": items})
    if answer.status_code == httpx.codes.NOT_FOUND:
        with contextlib.suppress(SessionExists):
            await store.create_session(session_id)
        answer = await client(store).post(path, json={"items": items})
    answer.raise_for_status()


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* items, or all, page by page."""
    path, found = f"/conversations/{quote(session_id, safe='')}/items", []
    wanted = {"order": "asc", "limit": "100"} if last is None else {"order": "desc", "limit": str(last)}
    while True:
        answer = await client(store).get(path, params=wanted)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        page = answer.raise_for_status().json()
        if last is not None:
            newest: list[Any] = page["data"]
            return newest[::-1]
        found += page["data"]
        if not page["has_more"]:
            return found
        wanted["after"] = page["last_id"]


async def listed(store: AsyncRepository) -> list[str]:
    """Return the ids of the conversations that the API lists."""
    answer = await client(store).get("/conversations")
    return [one["id"] for one in answer.raise_for_status().json()["data"]]


async def searched(store: AsyncRepository, word: str) -> list[str]:
    """Return the pieces of text in which the API finds *word*."""
    answer = await client(store).get("/search", params={"query": word})
    return [one["snippet"] for one in answer.raise_for_status().json()["data"]]


def messages(items: list[Any]) -> list[Any]:
    """Return what the application stores for *items*."""
    return make_messages(items, "conversation")
