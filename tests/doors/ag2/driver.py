"""How the campaigns and the matrix use the door of AG2."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ag2.events import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextInput,
    ToolCallEvent,
    ToolCallsEvent,
    ToolResult,
    ToolResultEvent,
    Usage,
)
from ag2.events._serialization import deserialize_value, serialize_value

from chatstore.integrations.ag2 import ChatstoreStorage
from chatstore.integrations.ag2_events import said

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository


def turn(label: str) -> list[Any]:
    """Return a turn with a call of a tool, whose every event says *label*."""
    result = ToolResultEvent(parent_id=label, name="climate", result=ToolResult(f"{label} output"))
    return [
        _json(ModelRequest([TextInput(f"{label} question")])),
        _json(ModelResponse(tool_calls=_calls(label), usage=Usage(3, 4, 7), model="a-model")),
        _json(result),
        _json(ModelResponse(ModelMessage(f"{label} answer"))),
    ]


def at_once(label: str) -> list[Any]:
    """Return one event that says *label*: the framework stores events one by one."""
    return [_json(ModelResponse(ModelMessage(f"{label} answer"), tool_calls=_calls(label)))]


def _calls(label: str) -> ToolCallsEvent:
    return ToolCallsEvent([ToolCallEvent("climate", id=label, arguments=f'{{"city":"{label}"}}')])


def _json(event: Any) -> Any:
    """Return *event* as JSON, as of one moment: it is compared with what is made later."""
    return _at_one(serialize_value(event))


def _at_one(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: 1.0 if key == "created_at" else _at_one(one) for key, one in value.items()}
    return [_at_one(one) for one in value] if isinstance(value, list) else value


@cache
def door(store: AsyncRepository) -> ChatstoreStorage:
    """Return the door over *store*: an application has one."""
    return ChatstoreStorage(store)


async def append(store: AsyncRepository, session_id: str, items: list[Any]) -> None:
    """Store *items* by one call of the door each."""
    context: Any = SimpleNamespace(stream=SimpleNamespace(id=session_id))
    for item in items:
        await door(store).save_event(deserialize_value(item), context)


async def read(store: AsyncRepository, session_id: str, last: int | None = None) -> list[Any]:
    """Return all events, as JSON: the framework reads nothing else than whole histories, whatever *last* says."""
    events = [_json(event) for event in await door(store).get_history(session_id)]
    return events[-last:] if last else events


def messages(items: list[Any]) -> list[Any]:
    """Return what the door stores for *items*."""
    return [said(deserialize_value(item)) for item in items]
