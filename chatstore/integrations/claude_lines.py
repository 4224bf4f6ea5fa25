"""The lines of a transcript of the Claude Agent SDK, and the messages that say the same.

This module knows which lines are messages, and that an answer of several blocks is several lines; what a message says
is known in `chatstore.integrations.anthropic_messages`. Every line is kept as it came, as its message's native form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chatstore.ids import id_fault
from chatstore.integrations import anthropic_messages
from chatstore.messages import OpaqueMessage

if TYPE_CHECKING:
    from chatstore.messages import Message
    from chatstore.records import MessageRecord

#: Under which name a message keeps the line that it was made of, and what its column `source` says.
SOURCE: Final = "claude-agent"
#: The keys of a session's metadata that have the parts of its key, as strings, which lists are filtered by.
PROJECT: Final = "claude_project"
SESSION: Final = "claude_session"
SUBPATH: Final = "claude_subpath"
PARTS: Final = frozenset({PROJECT, SESSION, SUBPATH})
_MAX_TYPE: Final = 32


def load(entry: Any, counted: str | None) -> Message:
    """Return the message that says what a line says; tokens only where they are not those of *counted* again.

    An answer of several blocks is several lines, each with the tokens of all of it.
    """
    uuid, said = entry.get("uuid"), entry.get("message")
    fields: dict[str, Any] = {"native": {SOURCE: entry}}
    if uuid is not None and not id_fault(uuid):
        fields["id"] = uuid
    if entry.get("type") in ("user", "assistant") and isinstance(said, dict):
        whose = spender(entry)
        return anthropic_messages.load(said, counts=whose is None or whose != counted, **fields)
    named = f"claude:{entry.get('type')}"
    if id_fault(named) or len(named) > _MAX_TYPE:
        named = "claude:entry"
    text = next((entry[name] for name in ("content", "summary") if isinstance(entry.get(name), str)), "")
    return OpaqueMessage(type=named, data={"content": text, **fields})


def dump(record: MessageRecord, before: str | None, session_id: str) -> dict[str, Any] | None:
    """Return the line that says what another framework's message says; None for one of a type of its own."""
    said = anthropic_messages.dump(record.message)
    return said and {
        "type": said["role"],
        "uuid": record.message_id,
        "parentUuid": before,
        "sessionId": session_id,
        "timestamp": record.created_at.isoformat().replace("+00:00", "Z"),
        "message": said,
    }


def spender(entry: Any) -> str | None:
    """Return the id of the answer whose tokens a line has."""
    said = entry.get("message") if entry.get("type") == "assistant" else None
    spent = said.get("id") if isinstance(said, dict) and isinstance(said.get("usage"), dict) else None
    return spent if isinstance(spent, str) else None
