"""How other programs' files look: to refuse them by what they are, instead of storing messages without their text.

This module knows names and shapes; it refuses to read any of them.
"""

from __future__ import annotations

from typing import Any, Final

#: What a conversation object of an export has, and whose it is.
_EXPORTS: Final = (
    ({"mapping"}, "a conversation of ChatGPT's export"),
    ({"chat_messages"}, "a conversation of Claude's export"),
    ({"chat"}, "a conversation of Open WebUI's export"),
    ({"history", "models"}, "a conversation of Open WebUI's export"),
    ({"conversationId", "messages"}, "a conversation of LibreChat's export"),
    ({"contents"}, "a request to Gemini's API"),
)
_CONVERT: Final = 'convert it to a list of messages with "role" and "content"'


def refusal(value: Any) -> str | None:
    """Return what *value*, a message or a conversation, is and what to do about it; None where nobody can tell."""
    found = _name(value)
    return None if found is None else f"it is {found}, which chatstore does not read: {_CONVERT}"


def _name(value: Any) -> str | None:
    if isinstance(value, list):
        return _name(value[0]) if value else None
    if not isinstance(value, dict):
        return None
    parts = value.get("parts")
    if "role" in value and isinstance(parts, list):
        typed = any(isinstance(part, dict) and "type" in part for part in parts)
        return "a UIMessage of Vercel's AI SDK" if typed else "a message of Gemini's API"
    if "isCreatedByUser" in value:
        return "a message of LibreChat's export"
    return next((name for keys, name in _EXPORTS if keys <= value.keys()), None)
