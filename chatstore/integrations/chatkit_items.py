"""Items of ChatKit's threads: messages, calls of tools with their outputs, widgets, workflows, and the like.

This module knows what an item says, and as which messages another framework reads it; it knows nothing of stores. A
call of a tool that has its output is two messages; every other item is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chatkit.types import AssistantMessageItem, ClientToolCallItem, ThreadItem, UserMessageItem
from pydantic import TypeAdapter

from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, ToolMessage
from chatstore.strictjson import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatstore.messages import Message
    from chatstore.records import MessageRecord

#: Under which name a message keeps the item that it was made of, and what its column `source` says.
SOURCE: Final = "chatkit"
_ITEM: Final[TypeAdapter[ThreadItem]] = TypeAdapter(ThreadItem)


def said(item: ThreadItem) -> list[Message]:
    """Return messages that say what *item* says, the first with its id and the item itself."""
    kept = {SOURCE: {"item": _ITEM.dump_python(item, mode="json")}}
    if isinstance(item, UserMessageItem):
        return [HumanMessage("\n".join(part.text for part in item.content), id=item.id, native=kept)]
    if isinstance(item, AssistantMessageItem):
        return [AIMessage("\n".join(part.text for part in item.content), id=item.id, native=kept)]
    if isinstance(item, ClientToolCallItem):
        call = {"name": item.name, "args": item.arguments, "id": item.call_id, "type": "tool_call"}
        made: list[Message] = [AIMessage("", tool_calls=[call], id=item.id, native=kept)]
        if item.status == "completed":
            output = item.output if isinstance(item.output, str) else dumps(item.output)
            about: dict[str, Any] = {"tool_call_id": item.call_id, "name": item.name}
            part = {SOURCE: {"part_of": item.id}}
            made.append(ToolMessage(output, id=f"{item.id}#output", native=part, **about))
        return made
    text = getattr(item, "copy_text", None) or ""
    data = {"content": text, "id": item.id, "native": kept}
    return [OpaqueMessage(type=f"chatkit:{item.type}", data=data)]


def item_of(record: MessageRecord, before: Sequence[Message]) -> ThreadItem | None:
    """Return the item that *record* holds, or one that says what another framework's message says.

    A tool's output comes with its call, which is looked for in *before*. None for what is part of an item, for calls
    by themselves, and for what only another framework knows.
    """
    message = record.message
    kept = message.native.get(SOURCE)
    if isinstance(kept, dict):
        return _ITEM.validate_python(kept["item"]) if "item" in kept else None
    about = {"id": record.message_id, "thread_id": record.session_id, "created_at": record.created_at}
    if isinstance(message, HumanMessage):
        content: list[Any] = [{"type": "input_text", "text": message.text}]
        given = {"type": "user_message", "content": content, "inference_options": {}}
    elif isinstance(message, AIMessage) and message.text:
        given = {"type": "assistant_message", "content": [{"type": "output_text", "text": message.text}]}
    elif isinstance(message, ToolMessage):
        calls = [call for one in before if isinstance(one, AIMessage) for call in one.tool_calls]
        call: Any = next((one for one in reversed(calls) if one["id"] == message.tool_call_id), {})
        called = {"call_id": message.tool_call_id, "name": call.get("name") or message.name or "tool"}
        done = {"status": "completed", "arguments": call.get("args") or {}, "output": message.text}
        given = {"type": "client_tool_call", **called, **done}
    else:
        return None
    return _ITEM.validate_python({**about, **given})
