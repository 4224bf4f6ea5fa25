"""chatstore keeps the conversations of LLM applications in the application's own database.

The public names are loaded at their first use, so that ``import chatstore`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazily: whoever imported the module of that name first would otherwise find the module instead of the function.
from chatstore.connect import connect, connect_async

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository as AsyncRepository
    from chatstore.arguments import session_key as session_key
    from chatstore.backends.dynamodb import DynamoDBRepository as DynamoDBRepository
    from chatstore.backends.redis.repository import AsyncRedisRepository as AsyncRedisRepository
    from chatstore.backends.redis.repository import RedisRepository as RedisRepository
    from chatstore.errors import ChatstoreError as ChatstoreError
    from chatstore.histories import CosmosDBChatMessageHistory as CosmosDBChatMessageHistory
    from chatstore.histories import DynamoDBChatMessageHistory as DynamoDBChatMessageHistory
    from chatstore.histories import FileChatMessageHistory as FileChatMessageHistory
    from chatstore.histories import PostgresChatMessageHistory as PostgresChatMessageHistory
    from chatstore.histories import RedisChatMessageHistory as RedisChatMessageHistory
    from chatstore.histories import SQLChatMessageHistory as SQLChatMessageHistory
    from chatstore.history import BaseChatMessageHistory as BaseChatMessageHistory
    from chatstore.history import ChatMessageHistory as ChatMessageHistory
    from chatstore.messages import AIMessage as AIMessage
    from chatstore.messages import BaseMessage as BaseMessage
    from chatstore.messages import ChatMessage as ChatMessage
    from chatstore.messages import ChatSession as ChatSession
    from chatstore.messages import FunctionMessage as FunctionMessage
    from chatstore.messages import HumanMessage as HumanMessage
    from chatstore.messages import MessageRecord as MessageRecord
    from chatstore.messages import OpaqueMessage as OpaqueMessage
    from chatstore.messages import SystemMessage as SystemMessage
    from chatstore.messages import ToolMessage as ToolMessage
    from chatstore.repository import Repository as Repository

__version__ = "0.1.0"

# Where each name above is defined: `python -m tests.reference` writes it from the imports.
_HOMES = {
    "AsyncRepository": "aio",
    "session_key": "arguments",
    "DynamoDBRepository": "backends.dynamodb",
    "AsyncRedisRepository": "backends.redis.repository",
    "RedisRepository": "backends.redis.repository",
    "ChatstoreError": "errors",
    "CosmosDBChatMessageHistory": "histories",
    "DynamoDBChatMessageHistory": "histories",
    "FileChatMessageHistory": "histories",
    "PostgresChatMessageHistory": "histories",
    "RedisChatMessageHistory": "histories",
    "SQLChatMessageHistory": "histories",
    "BaseChatMessageHistory": "history",
    "ChatMessageHistory": "history",
    "AIMessage": "messages",
    "BaseMessage": "messages",
    "ChatMessage": "messages",
    "ChatSession": "messages",
    "FunctionMessage": "messages",
    "HumanMessage": "messages",
    "MessageRecord": "messages",
    "OpaqueMessage": "messages",
    "SystemMessage": "messages",
    "ToolMessage": "messages",
    "Repository": "repository",
}
__all__ = ["__version__", "connect", "connect_async", *_HOMES]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
