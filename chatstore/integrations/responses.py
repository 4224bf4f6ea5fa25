"""Items of OpenAI's Responses and Conversations APIs: ``{"type": "function_call", …}``, ``{"role": "user", …}``.

This module knows what each item says, and as which message another framework reads it; it refuses to know where an
item came from. An item becomes one message: what a person said, an answer, a call of a tool, a tool's output; anything
else (reasoning, hosted tools, compactions, items of a later release) an `OpaqueMessage` of the type ``openai:…``, with
the text that it has. The item itself is to be kept as the message's native form, since no message says all of it.

A message from elsewhere becomes the items that say the same: an answer with two calls of tools becomes three. Left out
are messages of types that only their own framework knows, and empty ones.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from chatstore.codec import dumps, id_fault
from chatstore.errors import InvalidMessage
from chatstore.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.messages import Content, Message

#: What the types of items that are no message begin with.
PREFIX: Final = "openai:"
_CLASSES: Final[dict[str, type[BaseMessage]]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
    "developer": SystemMessage,
}
_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system"}
#: The roles that the API takes; what somebody said in another one was said to the assistant.
_KNOWN: Final = frozenset(_CLASSES)
_MAX_TYPE: Final = 32
#: The kinds of parts that are text, and where they have it.
_TEXTS: Final = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def load(item: Any, **fields: Any) -> Message:
    """Return the message that says what *item* says, with *fields* of its own beside."""
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if kind == "message" and isinstance(item.get("role"), str) and "content" in item:
        return _load_message(item, fields)
    if kind == "function_call" and isinstance(item.get("name"), str):
        return AIMessage("", **_load_call(item), **fields)
    if kind == "function_call_output" and isinstance(item.get("call_id"), str):
        return ToolMessage(_load_content(item.get("output")), tool_call_id=item["call_id"], **fields)
    named = kind if isinstance(kind, str) and kind != "message" else "item"
    if id_fault(named) or len(named) > _MAX_TYPE - len(PREFIX):
        named = "item"
    return OpaqueMessage(type=PREFIX + named, data={"content": _said(item), **fields})


def dump(message: Message) -> list[dict[str, Any]]:
    """Return the items that say what *message* says, in order; none for what the API has no item for."""
    if isinstance(message, OpaqueMessage):
        return []
    if isinstance(message, ToolMessage):
        output = _dump_content(message.content, "input_text")
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": output}]
    role = _ROLES.get(message.type) or getattr(message, "role", "user")
    items: list[dict[str, Any]] = []
    if message.content:
        role = role if role in _KNOWN else "user"
        kind = "output_text" if role == "assistant" else "input_text"
        items.append({"role": role, "content": _dump_content(message.content, kind)})
    if isinstance(message, AIMessage):
        items += [_dump_call(call) for call in (*message.tool_calls, *message.invalid_tool_calls)]
    return items


def items_of(message: Message, *names: str) -> list[dict[str, Any]]:
    """Return the item that *message* was made of, which it keeps under one of *names*, or else those that say the same.

    An item whose text is not that of the message any more, because somebody edited it, counts no longer.
    """
    for name in names:
        item = message.native.get(name)
        if item is not None and (
            isinstance(message, OpaqueMessage) or says(item, message.type) == message.content
        ):
            return [item]
    return dump(message)


# ------------------------------------------------------------------------------------------------ messages


def _load_message(item: dict[str, Any], fields: dict[str, Any]) -> Message:
    role = item["role"]
    content = _load_content(item["content"])
    if role not in _CLASSES:
        return ChatMessage(content, role=role, **fields)
    return _CLASSES[role](content, **fields)


def says(item: dict[str, Any], type_: str) -> Content:
    """Return the content that `load` gives *item*, which became a message of *type_*."""
    if type_ == "tool":
        return _load_content(item.get("output"))
    return "" if item.get("type") == "function_call" else _load_content(item.get("content"))


def _load_content(content: Any) -> Content:
    """Return content as every framework reads it: text where it is nothing else, or a list of blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else _text(content)
    if len(content) == 1 and (text := _text_in(content[0])) is not None:
        return text  # as most are
    blocks = [_load_part(part) for part in content if isinstance(part, str | dict)]
    if len(blocks) == 1 and isinstance(blocks[0], dict) and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _load_part(part: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(part, str):
        return part
    if (text := _text_in(part)) is not None:
        return {"type": "text", "text": text}
    if part.get("type") == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return part


def _text_in(part: Any) -> str | None:
    """Return what *part* says if it is text and nothing else."""
    kind = part.get("type") if isinstance(part, dict) else None
    said = part.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
    return said if isinstance(said, str) else None


def _dump_content(content: Content, kind: str) -> str | list[dict[str, Any]]:
    """Return *content* as text, or as parts of *kind* where it holds more; unknown blocks are left out."""
    if isinstance(content, str):
        return content
    parts = [part for block in content if (part := _dump_part(block, kind))]
    if all(part["type"] == kind for part in parts):
        return text_of(content)
    return parts


def _dump_part(block: str | dict[str, Any], kind: str) -> dict[str, Any] | None:
    if isinstance(block, str):
        return {"type": kind, "text": block}
    if block.get("type") == "text" and isinstance(block.get("text"), str):
        return {"type": kind, "text": block["text"]}
    if block.get("type") == "image_url" and kind == "input_text":
        url = block["image_url"].get("url") if isinstance(block.get("image_url"), dict) else None
        return {"type": "input_image", "image_url": url, "detail": "auto"} if isinstance(url, str) else None
    return block if str(block.get("type")).startswith("input_") else None


# ------------------------------------------------------------------------------------------------ tools, and the rest


def _load_call(item: dict[str, Any]) -> dict[str, Any]:
    """Return the fields for a call; where the arguments are no JSON object it is an invalid one, as it came."""
    call = {"name": item["name"], "id": item.get("call_id")}
    arguments = item.get("arguments")
    try:
        args = json.loads(arguments or "{}") if isinstance(arguments, str | None) else None
    except (ValueError, RecursionError):
        args = None
    if isinstance(args, dict) and _is_exact(args):
        return {"tool_calls": [{**call, "args": args, "type": "tool_call"}]}
    said = {**call, "args": _text(arguments), "error": None, "type": "invalid_tool_call"}
    return {"invalid_tool_calls": [said]}


def _is_exact(args: dict[str, Any]) -> bool:
    """Tell whether *args* can be stored: `json` reads NaN and Infinity, which JSON has not."""
    try:
        dumps(args)
    except InvalidMessage:
        return False
    return True


def _dump_call(call: dict[str, Any]) -> dict[str, Any]:
    args = call.get("args")
    return {
        "type": "function_call",
        "call_id": call.get("id") or "",
        "name": call.get("name") or "",
        "arguments": args if isinstance(args, str) else dumps({} if args is None else args),
    }


def _said(item: Any) -> str:
    """Return the text in an item that is no message: its summary, its content, its text."""
    if not isinstance(item, dict):
        return ""
    parts: Iterable[Any] = (item.get(key) for key in ("summary", "content", "text"))
    return "\n".join(text for part in parts if (text := _readable(part)))


def _readable(part: Any) -> str:
    if isinstance(part, str):
        return part
    texts = [one.get("text") for one in part if isinstance(one, dict)] if isinstance(part, list) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
