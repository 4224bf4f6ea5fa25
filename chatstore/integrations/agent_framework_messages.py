"""Messages of Microsoft Agent Framework: a role, and contents of many kinds.

This module knows what a message says, and as which messages another framework reads it; it knows nothing of stores. A
message with the results of several tools, or with calls and their results, is several messages.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent_framework import Content, Message
from agent_framework._sessions import filter_new_messages, get_message_identity

from chatstore.errors import InvalidMessage
from chatstore.ids import id_fault
from chatstore.messages import AIMessage, ChatMessage, HumanMessage, OpaqueMessage, SystemMessage, ToolMessage
from chatstore.strictjson import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_framework import AgentResponse

    from chatstore.records import MessageRecord

#: Under which name messages and states keep what the framework stored, and what the column `source` says.
SOURCE: Final = "agent-framework"
_CLASSES: Final[dict[str, Any]] = {"user": HumanMessage, "assistant": AIMessage, "system": SystemMessage}
_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system"}


class Outline(NamedTuple):
    """What the framework knows a message by again, in short: equal for those that it takes for the same."""

    digest: str
    role: str
    message_id: str | None

    @classmethod
    def of(cls, message: Message) -> Outline:
        """Return the outline of *message*."""
        identity = repr(get_message_identity(message)).encode("utf-8", "surrogatepass")
        return cls(sha256(identity).hexdigest(), message.role, message.message_id)


def count_new(known: list[Outline], given: list[Outline]) -> int:
    """Return how many of *given*, from its end, the framework takes for new behind *known*."""
    if not {one.digest for one in known}.intersection(one.digest for one in given):
        return len(given)
    stored, told = (
        [Message(one.role, [one.digest], message_id=one.message_id) for one in each]
        for each in (known, given)
    )
    return len(filter_new_messages(stored, told))


def tells_again(given: list[Message], response: AgentResponse | None) -> bool:
    """Tell whether *given* begin with a conversation that the caller keeps, and tells once more with each run.

    That is so where an answer that is not of *response* comes behind a question.
    """
    ours = {id(one) for one in response.messages} if response else set()
    roles = [one.role for one in given if id(one) not in ours]
    return bool(ours) and "assistant" in roles[roles.index("user") if "user" in roles else len(roles) :]


def converted(
    given: list[Message],
    tools: Mapping[str, str],
    response: AgentResponse | None,
    *,
    named: bool,
    again: bool = False,
) -> list[Any]:
    """Return messages that say what *given* say, with their own ids if *named*; an id counts once.

    *tools* are the names of those that were called, by the ids of the calls; *response* is what had some of *given*.
    Of a conversation that is told *again*, answers and results have none: web clients get them under other ids.
    """
    ours = {id(one) for one in response.messages} if response else set()
    made: list[Any] = []
    answers: list[AIMessage] = []
    ids: set[str | None] = set()
    for message in given:
        own = named and not (again and message.role != "user" and id(message) not in ours)
        parts = _said(message, tools, named=own and message.message_id not in ids)
        ids.add(message.message_id if own else None)
        made += parts
        answers += [one for one in parts if isinstance(one, AIMessage) and id(message) in ours]
    if response and answers:
        _count(response, answers)
    return made


def _count(response: AgentResponse, answers: list[AIMessage]) -> None:
    """Note the model with each of the *answers* of a run, and what the run used, and why it ended, with the last."""
    raw = response.raw_representation
    told = raw if isinstance(raw, list) else [raw]
    model = next((found for one in reversed(told) if (found := getattr(one, "model", None))), None)
    for answer in answers if model else ():
        answer.response_metadata["model_name"] = model
    if response.finish_reason:
        answers[-1].response_metadata["finish_reason"] = response.finish_reason
    if used := response.usage_details:
        read, written = (used.get(f"{kind}_token_count") or 0 for kind in ("input", "output"))
        total = used.get("total_token_count") or read + written
        counts = {"input_tokens": read, "output_tokens": written, "total_tokens": total}
        answers[-1].usage_metadata = counts


def _said(message: Message, tools: Mapping[str, str], *, named: bool) -> list[Any]:
    """Return messages that say what *message* says: its text and calls, and each result of a tool; the last has it.

    They have its id if they are *named*.
    """
    native = message.to_dict()
    parts: list[dict[str, Any]] = native["contents"]
    text = "\n".join(part.get("text") or "" for part in parts if part["type"] == "text")
    results = [part for part in parts if part["type"] == "function_result"]
    made: list[Any] = []
    if message.role == "assistant":
        calls = [_call(part) for part in parts if part["type"] == "function_call"]
        if text or calls or not results:
            made.append(AIMessage(text, tool_calls=calls, native={SOURCE: {}}))
    elif message.role == "tool" and not results:
        made.append(OpaqueMessage(type=f"{SOURCE}:tool", data={"content": text, "native": {SOURCE: {}}}))
    elif message.role != "tool" and (text or not results):
        kind = _CLASSES.get(message.role, ChatMessage)
        role = {} if message.role in _CLASSES else {"role": message.role}
        made.append(kind(text, native={SOURCE: {}}, **role))
    for part in results:
        result, call_id = part.get("result"), part.get("call_id") or ""
        made.append(
            ToolMessage(
                result if isinstance(result, str) else dumps(result),
                tool_call_id=call_id,
                name=tools.get(call_id),
                status="error" if "exception" in part else "success",
                native={SOURCE: {}},
            )
        )
    id_ = message.message_id if named and id_fault(message.message_id) is None else None
    for number, one in enumerate(made[:-1], 1):
        one.native[SOURCE].update(part=number)
        one.id = f"{id_}#{number}" if id_ and id_fault(f"{id_}#{number}") is None else None
    made[-1].native[SOURCE].update(message=native)
    if isinstance(made[-1], OpaqueMessage):
        made[-1].data.update({"id": id_} if id_ else {})
    else:
        made[-1].id = id_
    return made


def tools_of(messages: list[Message]) -> dict[str, str]:
    """Return the names of the tools that *messages* call, by the ids of the calls."""
    parts = [part for message in messages for part in message.contents if part.type == "function_call"]
    return {part.call_id: part.name for part in parts if part.call_id and part.name}


def _call(part: dict[str, Any]) -> dict[str, Any]:
    """Return the call of a tool in *part*; arguments that are no JSON object are there as ``raw``, as they came."""
    given = part.get("arguments") or {}
    try:
        found = loads(given) if isinstance(given, str) else given
    except InvalidMessage:
        found = given
    args = found if isinstance(found, dict) else {"raw": given}
    return {"name": part.get("name") or "", "args": args, "id": part.get("call_id"), "type": "tool_call"}


def load(record: MessageRecord) -> Message | None:
    """Return the message that *record* holds, or one that says the same.

    None for a part of one, and for what only another framework knows.
    """
    message = record.message
    kept = message.native.get(SOURCE)
    if isinstance(kept, dict):
        return Message.from_dict(kept["message"]) if "message" in kept else None
    if isinstance(message, OpaqueMessage):
        return None
    if isinstance(message, ToolMessage):
        result = Content.from_function_result(message.tool_call_id, result=message.text)
        return Message("tool", [result], message_id=record.message_id)
    contents = [Content.from_text(message.text)] if message.text else []
    if isinstance(message, AIMessage):
        contents += [
            Content.from_function_call(call["id"] or "", call["name"], arguments=dumps(call["args"]))
            for call in message.tool_calls
        ]
    role = message.role if isinstance(message, ChatMessage) else _ROLES.get(message.type, "user")
    return Message(role, contents, author_name=message.name, message_id=record.message_id)
