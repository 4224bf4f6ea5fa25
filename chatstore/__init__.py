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
    from chatstore.aio_answers import AsyncStreamingAnswer as AsyncStreamingAnswer
    from chatstore.answers import StreamingAnswer as StreamingAnswer
    from chatstore.backends.dynamodb import DynamoDBRepository as DynamoDBRepository
    from chatstore.backends.redis.repository import AsyncRedisRepository as AsyncRedisRepository
    from chatstore.backends.redis.repository import RedisRepository as RedisRepository
    from chatstore.errors import ChatstoreError as ChatstoreError
    from chatstore.errors import Conflict as Conflict
    from chatstore.errors import CorruptRecord as CorruptRecord
    from chatstore.errors import Invalid as Invalid
    from chatstore.errors import InvalidCursor as InvalidCursor
    from chatstore.errors import InvalidMessage as InvalidMessage
    from chatstore.errors import InvalidSessionId as InvalidSessionId
    from chatstore.errors import MessageConflict as MessageConflict
    from chatstore.errors import MessageNotFound as MessageNotFound
    from chatstore.errors import MessageTooLarge as MessageTooLarge
    from chatstore.errors import MissingDependency as MissingDependency
    from chatstore.errors import NotFound as NotFound
    from chatstore.errors import NotSupported as NotSupported
    from chatstore.errors import OutcomeUnknown as OutcomeUnknown
    from chatstore.errors import PartialWrite as PartialWrite
    from chatstore.errors import SchemaError as SchemaError
    from chatstore.errors import SchemaMissing as SchemaMissing
    from chatstore.errors import SchemaOutdated as SchemaOutdated
    from chatstore.errors import SchemaTooNew as SchemaTooNew
    from chatstore.errors import SessionExists as SessionExists
    from chatstore.errors import SessionNotFound as SessionNotFound
    from chatstore.errors import StorageError as StorageError
    from chatstore.errors import StorageUnavailable as StorageUnavailable
    from chatstore.histories import CosmosDBChatMessageHistory as CosmosDBChatMessageHistory
    from chatstore.histories import DynamoDBChatMessageHistory as DynamoDBChatMessageHistory
    from chatstore.histories import FileChatMessageHistory as FileChatMessageHistory
    from chatstore.histories import PostgresChatMessageHistory as PostgresChatMessageHistory
    from chatstore.histories import RedisChatMessageHistory as RedisChatMessageHistory
    from chatstore.histories import SQLChatMessageHistory as SQLChatMessageHistory
    from chatstore.history import BaseChatMessageHistory as BaseChatMessageHistory
    from chatstore.history import ChatMessageHistory as ChatMessageHistory
    from chatstore.ids import session_key as session_key
    from chatstore.messages import AIMessage as AIMessage
    from chatstore.messages import BaseMessage as BaseMessage
    from chatstore.messages import ChatMessage as ChatMessage
    from chatstore.messages import ChatSession as ChatSession
    from chatstore.messages import FunctionMessage as FunctionMessage
    from chatstore.messages import HumanMessage as HumanMessage
    from chatstore.messages import MessageRecord as MessageRecord
    from chatstore.messages import OpaqueMessage as OpaqueMessage
    from chatstore.messages import State as State
    from chatstore.messages import SystemMessage as SystemMessage
    from chatstore.messages import ToolMessage as ToolMessage
    from chatstore.repository import Repository as Repository

__version__ = "0.1.0"

# Where each name above is defined: `python -m tests.reference` writes it from the imports.
_HOMES = {
    "AsyncRepository": "aio",
    "AsyncStreamingAnswer": "aio_answers",
    "StreamingAnswer": "answers",
    "DynamoDBRepository": "backends.dynamodb",
    "AsyncRedisRepository": "backends.redis.repository",
    "RedisRepository": "backends.redis.repository",
    "ChatstoreError": "errors",
    "Conflict": "errors",
    "CorruptRecord": "errors",
    "Invalid": "errors",
    "InvalidCursor": "errors",
    "InvalidMessage": "errors",
    "InvalidSessionId": "errors",
    "MessageConflict": "errors",
    "MessageNotFound": "errors",
    "MessageTooLarge": "errors",
    "MissingDependency": "errors",
    "NotFound": "errors",
    "NotSupported": "errors",
    "OutcomeUnknown": "errors",
    "PartialWrite": "errors",
    "SchemaError": "errors",
    "SchemaMissing": "errors",
    "SchemaOutdated": "errors",
    "SchemaTooNew": "errors",
    "SessionExists": "errors",
    "SessionNotFound": "errors",
    "StorageError": "errors",
    "StorageUnavailable": "errors",
    "CosmosDBChatMessageHistory": "histories",
    "DynamoDBChatMessageHistory": "histories",
    "FileChatMessageHistory": "histories",
    "PostgresChatMessageHistory": "histories",
    "RedisChatMessageHistory": "histories",
    "SQLChatMessageHistory": "histories",
    "BaseChatMessageHistory": "history",
    "ChatMessageHistory": "history",
    "session_key": "ids",
    "AIMessage": "messages",
    "BaseMessage": "messages",
    "ChatMessage": "messages",
    "ChatSession": "messages",
    "FunctionMessage": "messages",
    "HumanMessage": "messages",
    "MessageRecord": "messages",
    "OpaqueMessage": "messages",
    "State": "messages",
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
