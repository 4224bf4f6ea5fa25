"""LangChain over any repository: histories for its chains and runnables, a middleware for its agents.

This package knows the interfaces of langchain-core 0.3 and 1.x; it refuses to know any backend. Agents and
checkpoints, which need more packages, are imported at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatstore.integrations.langchain.convert import from_langchain as from_langchain
from chatstore.integrations.langchain.convert import to_langchain as to_langchain
from chatstore.integrations.langchain.history import ChatMessageHistory as ChatMessageHistory
from chatstore.integrations.langchain.turns import sendable as sendable

if TYPE_CHECKING:
    from chatstore.integrations.langchain.agents import HistoryMiddleware as HistoryMiddleware
    from chatstore.integrations.langchain.checkpoints import aimport_checkpoints as aimport_checkpoints
    from chatstore.integrations.langchain.checkpoints import import_checkpoints as import_checkpoints
    from chatstore.integrations.langchain.moving import (
        CosmosDBChatMessageHistory as CosmosDBChatMessageHistory,
    )
    from chatstore.integrations.langchain.moving import (
        DynamoDBChatMessageHistory as DynamoDBChatMessageHistory,
    )
    from chatstore.integrations.langchain.moving import FileChatMessageHistory as FileChatMessageHistory
    from chatstore.integrations.langchain.moving import (
        PostgresChatMessageHistory as PostgresChatMessageHistory,
    )
    from chatstore.integrations.langchain.moving import RedisChatMessageHistory as RedisChatMessageHistory
    from chatstore.integrations.langchain.moving import SQLChatMessageHistory as SQLChatMessageHistory

_HOMES = {
    "HistoryMiddleware": "agents",
    "import_checkpoints": "checkpoints",
    "aimport_checkpoints": "checkpoints",
    "CosmosDBChatMessageHistory": "moving",
    "DynamoDBChatMessageHistory": "moving",
    "FileChatMessageHistory": "moving",
    "PostgresChatMessageHistory": "moving",
    "RedisChatMessageHistory": "moving",
    "SQLChatMessageHistory": "moving",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
