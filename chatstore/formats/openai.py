"""Messages of the chat completions API: ``{"role": …, "content": …}``.

This module knows the roles and keys of that API and what they are as chatstore messages; it refuses to know
the file around them. What is loaded and dumped again is equal, key for key. Most of it lies in the fields
where everybody looks; ``refusal``, ``audio`` and ``function_call`` in ``additional_kwargs``, as other
libraries keep them, and so do tool calls whose ``arguments`` are not JSON as this module would write it.
Whatever is still different (a null where the API says nothing, keys that only some server knows) is kept in
``additional_kwargs["__openai__"]``.

A message from elsewhere is dumped with what the API takes: usage, artifacts and other frameworks' keys are
left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chatstore import codec
from chatstore.errors import InvalidMessage
from chatstore.formats import foreign
from chatstore.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
)
from chatstore.strictjson import canonical

if TYPE_CHECKING:
    from chatstore.messages import Message

#: Where the role ``developer`` and what no field can hold are kept, in ``additional_kwargs``.
ROLE: Final = "__openai_role__"
REST: Final = "__openai__"
_ROLES: Final = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "function",
}
_CLASSES: Final[dict[str, type[BaseMessage]]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
    "developer": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
}
#: What the API's own assistant messages have beside content and tool calls.
_KWARGS: Final = ("refusal", "audio", "function_call")
#: What an assistant message can say instead of text: then the API writes content as null.
_INSTEAD: Final = (*_KWARGS, "tool_calls")

#: Where other programs' messages have their text.
_ELSEWHERE: Final = ("text", "message", "parts", "value", "body")


def fits(message: dict[str, Any]) -> bool:
    """Tell whether this object has a role."""
    return isinstance(message.get("role"), str)


def load(message: dict[str, Any]) -> Message:
    """Return the message. Raises `InvalidMessage` for what no message can be."""
    role = message.get("role")
    if not isinstance(role, str):
        msg = "role is missing or not text: write system, developer, user, assistant, tool or function"
        raise InvalidMessage(msg)
    if "content" not in message and (why := foreign.refusal(message) or _without_content(message)):
        raise InvalidMessage(why)
    kwargs: dict[str, Any] = {}
    data: dict[str, Any] = {"content": _load_content(message.get("content")), "additional_kwargs": kwargs}
    if isinstance(message.get("name"), str):
        data["name"] = message["name"]
    if not codec.id_fault(message.get("id")):
        data["id"] = message["id"]
    if role == "developer":
        kwargs[ROLE] = role
    if role == "assistant":
        kwargs.update((key, message[key]) for key in _KWARGS if message.get(key) is not None)
        data.update(_load_calls(message.get("tool_calls"), kwargs))
    elif role == "tool":
        data["tool_call_id"] = message["tool_call_id"] if isinstance(message.get("tool_call_id"), str) else ""
    elif role == "function":
        data.setdefault("name", "")
    elif role not in _CLASSES:
        data["role"] = role
    return _keep_rest(_CLASSES.get(role, ChatMessage)(**data), message)


def dump(message: Message) -> dict[str, Any]:
    """Return the message as the API takes it."""
    if isinstance(message, OpaqueMessage):
        return {"role": message.type, **message.data}
    dumped = _dump_fields(message)
    rest = message.additional_kwargs.get(REST)
    if isinstance(rest, dict):
        dumped.update(rest.get("with") or {})
        for key in rest.get("without") or ():
            dumped.pop(key, None)
    return dumped


def _without_content(message: dict[str, Any]) -> str | None:
    """Return why a message without content is refused: what it says would be under a key that nobody reads."""
    if not any(isinstance(message.get(key), str | list) for key in _ELSEWHERE):
        return None
    return "content is missing: write what the message says under content"


def _keep_rest(message: BaseMessage, original: dict[str, Any]) -> BaseMessage:
    """Note in *message* how its dump would differ from the *original*."""
    dumped = _dump_fields(message)
    differing = {
        key: value for key, value in original.items() if key not in dumped or not _is_same(dumped[key], value)
    }
    missing = [key for key in dumped if key not in original]
    if differing or missing:
        rest = {"with": differing, "without": missing}
        message.additional_kwargs[REST] = {name: value for name, value in rest.items() if value}
    return message


def _dump_fields(message: BaseMessage) -> dict[str, Any]:
    kwargs = message.additional_kwargs
    role = _ROLES.get(message.type) or getattr(message, "role", message.type)
    dumped: dict[str, Any] = {"role": kwargs.get(ROLE, role) if message.type == "system" else role}
    dumped["content"] = message.content
    dumped.update(
        {key: value for key, value in (("name", message.name), ("id", message.id)) if value is not None}
    )
    if isinstance(message, AIMessage):
        dumped.update((key, kwargs[key]) for key in _KWARGS if kwargs.get(key) is not None)
        if calls := _dump_calls(message):
            dumped["tool_calls"] = calls
        if dumped["content"] == "" and not dumped.keys().isdisjoint(_INSTEAD):
            dumped["content"] = None
    elif isinstance(message, ToolMessage):
        dumped["tool_call_id"] = message.tool_call_id
    return dumped


# ------------------------------------------------------------------------------------------------ tool calls


def _load_calls(raw: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the fields for *raw* tool calls, which go into *kwargs* where these would not give them back."""
    if not isinstance(raw, list) or not raw:
        return {}
    parsed = AIMessage("", additional_kwargs={"tool_calls": raw})
    if not _is_same(_dump_calls(AIMessage("", tool_calls=parsed.tool_calls)), raw):
        kwargs["tool_calls"] = raw
    return {"tool_calls": parsed.tool_calls, "invalid_tool_calls": parsed.invalid_tool_calls}


def _dump_calls(message: AIMessage) -> list[Any]:
    """Return the tool calls in the API's form: as they came, or built from the fields."""
    raw = message.additional_kwargs.get("tool_calls")
    if isinstance(raw, list):
        read = AIMessage("", additional_kwargs={"tool_calls": raw})
        if read.tool_calls == message.tool_calls and read.invalid_tool_calls == message.invalid_tool_calls:
            return raw
    return [_dump_call(call) for call in (*message.tool_calls, *message.invalid_tool_calls)]


def _dump_call(call: dict[str, Any]) -> dict[str, Any]:
    args = call.get("args")
    text = args if isinstance(args, str) else codec.dumps({} if args is None else args)
    return {
        "id": call.get("id"),
        "type": "function",
        "function": {"name": call.get("name"), "arguments": text},
    }


# ------------------------------------------------------------------------------------------------ values


def _load_content(value: Any) -> Any:
    """Return what a message can have as content; '' for anything else, which is then noted."""
    fine = isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(part, str | dict) for part in value)
    )
    return value if fine else ""


def _is_same(left: Any, right: Any) -> bool:
    return left == right and canonical(left) == canonical(right)
