"""How the campaigns and the matrix use the door of ChatKit."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from chatkit.types import ThreadItem
from pydantic import TypeAdapter

from chatstore.integrations.chatkit import ChatstoreStore
from chatstore.integrations.chatkit_items import said

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository

_ITEM: TypeAdapter[Any] = TypeAdapter(ThreadItem)


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every item says *label*: the call has its output in it."""
    text = {"type": "output_text", "text": f"{label} answer"}
    return [
        _item(
            f"msg_q{label}",
            "user_message",
            content=[{"type": "input_text", "text": f"{label} question"}],
            inference_options={},
        ),
        *at_once(label),
        _item(f"msg_a{label}", "assistant_message", content=[text]),
    ]


def at_once(label: str) -> list[Any]:
    """Return one item that says *label*: the framework stores items one by one; this one is two messages."""
    call = {"call_id": label, "name": "climate", "arguments": {"city": label}}
    return [
        _item(f"tc_{label}", "client_tool_call", status="completed", output=f"{label} output", **call),
    ]


def _item(id_: str, kind: str, **fields: Any) -> Any:
    about = {"id": id_, "thread_id": "garden/ada/tomatoes", "created_at": "2026-11-29T10:00:00Z"}
    return _ITEM.dump_python(_ITEM.validate_python({**about, "type": kind, **fields}), mode="json")


@cache
def door(store: AsyncRepository) -> ChatstoreStore:
    """Return the door over *store*: an application has one."""
    return ChatstoreStore(store)


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door each."""
    for item in items:
        await door(store).add_thread_item(session_id, _ITEM.validate_python(item), None)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return the newest *last* items, or all, page by page, as JSON."""
    found: list[Any] = []
    after, order = None, "asc" if last is None else "desc"
    while True:
        page = await door(store).load_thread_items(session_id, after, last or 100, order, None)
        found += [_ITEM.dump_python(item, mode="json") for item in page.data]
        after = page.after
        if last is not None or not page.has_more:
            return found if last is None else found[::-1]


async def listed(store: AsyncRepository) -> list[str]:
    """Return the ids of the threads that the door lists."""
    return [thread.id for thread in (await door(store).load_threads(20, None, "desc", None)).data]


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [message for item in items for message in said(_ITEM.validate_python(item))]
