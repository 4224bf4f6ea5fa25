"""LangChain message JSON: ``{"type": …, "data": {…}}``, one object for each message.

This module knows the shapes that LangChain's releases left in files: ``{type, data}`` of any age, the
constructor form ``{"lc": 1, "kwargs": …}``, and the flat ``{"type", "content", …}``. It refuses to know
what stands around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore import codec
from chatstore.messages import CLASSES

if TYPE_CHECKING:
    from chatstore.messages import Message


def fits(message: dict[str, Any]) -> bool:
    """Tell whether this is a message in one of LangChain's shapes."""
    if message.get("lc") == 1 or isinstance(message.get("data"), dict):
        return True
    tag = message.get("type")
    return isinstance(tag, str) and tag in CLASSES and "content" in message


def load(message: dict[str, Any]) -> Message:
    """Return the message; one of an unknown type stays as it is. Raises `InvalidMessage`."""
    return codec.from_wire(message)


def dump(message: Message) -> dict[str, Any]:
    """Return the message with the keys that LangChain's documentation shows, and others where not the default."""
    return codec.to_wire(message)
