"""Messages and agents of Strands Agents: what they say, and under which ids they are kept.

This module knows the framework's messages, which are in the form of Bedrock's API, and as which messages another
framework reads them; it knows nothing of stores. Each result of a tool is a message of its own, so that others find it
by its call; every other message is one.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from strands.types.session import SessionAgent, SessionMessage, decode_bytes_values

from chatstore.ids import session_key
from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, SystemMessage, ToolMessage
from chatstore.strictjson import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.messages import ChatSession, Message
    from chatstore.records import MessageRecord

#: Under which name messages and metadata keep what the framework stored, and what the column `source` says.
SOURCE: Final = "strands"
#: What the framework calls an agent that was given no id.
DEFAULT: Final = "default"
_FIELDS: Final = tuple(field.name for field in fields(SessionMessage))
_COUNTS: Final = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "total_tokens": "totalTokens",
}


def id_of(number: int) -> str:
    """Return the id of the message that the framework calls *number*."""
    return f"{SOURCE}:{number}"


def said(stored: SessionMessage) -> list[Message]:
    """Return messages that say what *stored* says, as it is after a redaction; the last has it, and its id."""
    kept, id_ = plain(stored.to_dict()), id_of(stored.message_id)
    message = kept["message"] if kept["redact_message"] is None else kept["redact_message"]
    blocks = message["content"]
    text = "\n".join(filter(None, map(_text, blocks)))
    made: list[Any] = [_result(block["toolResult"]) for block in blocks if "toolResult" in block]
    if message["role"] == "assistant":
        calls = [_call(block["toolUse"]) for block in blocks if "toolUse" in block]
        made.append(AIMessage(text, tool_calls=calls, usage_metadata=_usage(message), **_part()))
    elif len(made) < len(blocks) or not made:
        made.append(HumanMessage(text, **_part()))
    for number, part in enumerate(made[:-1], 1):
        part.id = f"{id_}#{number}"
        part.native[SOURCE].update(part_of=stored.message_id)
    made[-1].id = id_
    made[-1].native[SOURCE].update(kept)
    return made


def _part() -> dict[str, Any]:
    return {"native": {SOURCE: {}}}


def plain(kept: dict[str, Any]) -> dict[str, Any]:
    """Return *kept* as the framework's own files have it: a tuple is a list. What is no JSON is refused later."""
    try:
        made: dict[str, Any] = json.loads(json.dumps(kept))
    except (TypeError, ValueError):
        return kept
    return made


def _text(block: dict[str, Any]) -> str:
    """Return what a person reads of a block of content."""
    if "citationsContent" in block:
        return "".join(part.get("text", "") for part in block["citationsContent"].get("content", ()))
    text = block.get("text") or block.get("guardContent", {}).get("text", {}).get("text", "")
    return text if isinstance(text, str) else ""


def _call(use: dict[str, Any]) -> dict[str, Any]:
    args = use.get("input")
    about = {"name": use.get("name") or "", "id": use.get("toolUseId"), "type": "tool_call"}
    return {**about, "args": args if isinstance(args, dict) else {}}


def _result(result: dict[str, Any]) -> ToolMessage:
    parts = [dumps(part["json"]) if "json" in part else part.get("text") for part in result["content"]]
    status = "error" if result.get("status") == "error" else "success"
    text = "\n".join(part for part in parts if part)
    return ToolMessage(text, tool_call_id=result.get("toolUseId") or "", status=status, **_part())


def _usage(message: Any) -> dict[str, int] | None:
    """Return the tokens of an answer, as the framework counts them."""
    usage = (message.get("metadata") or {}).get("usage")
    return {ours: usage.get(theirs, 0) for ours, theirs in _COUNTS.items()} if usage else None


def fitted(messages: list[Any], most: int) -> list[Any]:
    """Return *messages* without ids, at most *most*: what the first ones say is in the first that is left."""
    for message in messages:
        message.id = None
    spare = max(len(messages) - most, 0)
    if spare:
        messages[spare].content = "\n".join(filter(None, (one.text for one in messages[: spare + 1])))
    return messages[spare:]


def numbered(records: Iterable[MessageRecord]) -> list[tuple[int, list[MessageRecord], list[Any]]]:
    """Return what *records* hold, by the framework's numbers: each with its records, and the content of others'.

    What another framework stored has the number behind all that stand before it. Answers of tools that follow each
    other are one message: the framework takes all that a turn called for at once. Instructions, and what only another
    framework knows, are left out.
    """
    found: list[tuple[int, list[MessageRecord], list[Any]]] = []
    reached, answering = -1, False
    for record in records:
        kept = record.message.native.get(SOURCE)
        content = [] if kept else _blocks(record.message)
        if not content and not (kept and "message_id" in kept):
            continue
        answers = not kept and isinstance(record.message, ToolMessage)
        if answers and answering:
            found[-1][1].append(record)
            found[-1][2].extend(content)
            continue
        number = kept["message_id"] if kept else reached + 1
        reached, answering = max(reached, number), answers
        found.append((number, [record], content))
    return sorted(found, key=lambda one: one[0])


def load(number: int, records: list[MessageRecord], content: list[Any]) -> SessionMessage:
    """Return the message that *records* hold, or one of *content* that says what another framework's say."""
    record = records[-1]
    if not content:
        kept = record.message.native[SOURCE]  # as `from_dict` does it, which looks at its class for each
        return SessionMessage(**decode_bytes_values({name: kept[name] for name in _FIELDS if name in kept}))
    role = "assistant" if isinstance(record.message, AIMessage) else "user"
    moment = record.created_at.isoformat()
    return SessionMessage({"role": role, "content": content}, number, created_at=moment, updated_at=moment)


def _blocks(message: Message) -> list[Any]:
    """Return the content that says what a message of another framework says; none for what only that one knows."""
    if isinstance(message, OpaqueMessage | SystemMessage):
        return []
    text: list[Any] = [{"text": message.text}] if message.text else []
    if isinstance(message, ToolMessage):
        content = text or [{"text": ""}]
        return [
            {"toolResult": {"toolUseId": message.tool_call_id, "status": message.status, "content": content}}
        ]
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    uses = [
        {"toolUse": {"toolUseId": call["id"], "name": call["name"], "input": call["args"]}} for call in calls
    ]
    return text + uses


# ---------------------------------------------------------------------------------------------------- sessions, agents


def key_of(session_id: str, agent_id: str) -> str:
    """Return the id of the session that has an agent's messages: its own for the agent that was given no id."""
    return session_id if agent_id == DEFAULT else session_key(session_id, agent_id)


def names_of(session_id: str, agent_id: str) -> dict[str, str]:
    """Return what is kept of an agent's names; nothing of one that is in the session of its id."""
    return {} if agent_id == DEFAULT else {"session_id": session_id}


def kept_of(found: ChatSession | None) -> dict[str, Any]:
    """Return what the framework keeps beside the messages of *found*."""
    kept = found.metadata.get(SOURCE) if found else None
    return kept if isinstance(kept, dict) else {}


def is_of(found: ChatSession | None, session_id: str, agent_id: str) -> bool:
    """Tell whether *found* is this agent's, or no agent's: the id of a session may look like an agent's key."""
    kept = kept_of(found)
    return not kept or kept.get("session_id") == names_of(session_id, agent_id).get("session_id")


def agent_of(found: ChatSession | None, session_id: str, agent_id: str) -> SessionAgent | None:
    """Return the agent that has the messages of *found*: without any state, where another framework stored them."""
    kept = kept_of(found)
    if found is None or not is_of(found, session_id, agent_id):
        return None
    if "agent" in kept:
        return SessionAgent.from_dict(kept["agent"])
    managed = {"__name__": _AnyName(), "removed_message_count": 0}
    times = {"created_at": found.created_at.isoformat(), "updated_at": found.updated_at.isoformat()}
    return SessionAgent(agent_id, {}, managed, **times) if found.message_count else None


class _AnyName(str):
    """The name of every conversation manager: the framework compares it with that of the agent's, not known here."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, str)
