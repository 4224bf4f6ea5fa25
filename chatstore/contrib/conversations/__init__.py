"""The Conversations API of OpenAI over any repository, as an ASGI application that mounts anywhere.

``ConversationsAPI`` answers what OpenAI's clients send to ``/v1/conversations``: give these another ``base_url``, and
the conversations are in your own database.
"""

from __future__ import annotations

from chatstore.contrib.conversations.application import ConversationsAPI
from chatstore.contrib.conversations.tokens import Tokens

__all__ = ["ConversationsAPI", "Tokens"]
