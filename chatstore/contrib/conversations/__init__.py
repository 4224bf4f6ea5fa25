"""The Conversations API of OpenAI over any repository, as an ASGI application that mounts anywhere.

``ConversationsAPI`` answers what OpenAI's clients send to ``/v1/conversations``: give these another ``base_url``, and
the conversations are in your own database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.contrib.conversations.tokens import Tokens

if TYPE_CHECKING:
    from chatstore.contrib.conversations.application import ConversationsAPI

__all__ = ["ConversationsAPI", "Tokens"]


def __getattr__(name: str) -> Any:
    """Load the application, and what its extra brings, when it is asked for: `chatstore token` needs neither."""
    if name != "ConversationsAPI":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from chatstore.contrib.conversations.application import ConversationsAPI

    return ConversationsAPI
