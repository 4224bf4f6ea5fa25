"""`connect(url)` and `connect_async(url)`: from a URL or an engine to a repository.

This module knows which URL means which backend, and imports a backend when it is asked for; it refuses to do any I/O.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from chatstore.errors import Invalid

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository

ENVIRONMENT = "CHATSTORE_URL"
SCHEMA_ENVIRONMENT = "CHATSTORE_SCHEMA"
_REDIS = ("redis", "rediss")


def connect(target: Any = None, *, schema: str | None = None) -> Repository:
    """Return the repository behind *target*, a URL or a SQLAlchemy Engine, without any I/O.

    URLs: ``memory:``, ``file:DIRECTORY``, ``sqlite:///file.db``, ``postgresql://…``, ``mysql://…``, ``mariadb://…``
    and those of any other SQLAlchemy dialect, ``redis://…``, ``rediss://…``, ``dynamodb://REGION/TABLE``,
    ``cosmosdb://HOST/DATABASE/CONTAINER``. None reads ``CHATSTORE_URL``. *schema* (or ``CHATSTORE_SCHEMA``) is the
    database schema of the tables. Repositories on one URL share one engine; the last `close` disposes of it. An engine
    that is passed in, a client of redis-py, or a ``ContainerProxy`` of Cosmos DB is used as it is and never closed.
    Raises `Invalid` or `MissingDependency`.
    """
    target = _given(target)
    scheme, _, rest = target.partition(":") if isinstance(target, str) else ("", "", "")
    if scheme == "memory":
        from chatstore.backends.memory import MemoryRepository

        return MemoryRepository()
    if scheme == "file":
        from chatstore.backends.file import FileRepository

        return FileRepository(_directory(rest))
    if scheme in _REDIS or _is_redis_client(target):
        from chatstore.backends.redis import repository as redis

        return redis.repository_for(target)
    if scheme == "dynamodb":
        from chatstore.backends import dynamodb

        return dynamodb.repository_for(target)
    if _is_cosmos(target, scheme):
        from chatstore.backends.cosmosdb.repository import repository_for as cosmos_repository_for

        return cosmos_repository_for(target)
    from chatstore.backends.sql.repository import repository_for

    return repository_for(target, schema=_schema(schema))


def connect_async(target: Any = None, *, schema: str | None = None) -> AsyncRepository:
    """Return the asynchronous repository behind *target*, a URL, an engine or a client; as `connect`."""
    target = _given(target)
    scheme = target.partition(":")[0] if isinstance(target, str) else ""
    if scheme == "memory":
        from chatstore.backends.memory import AsyncMemoryRepository

        return AsyncMemoryRepository()
    if scheme in {"file", "dynamodb"}:
        from chatstore.threads import ThreadedRepository

        return ThreadedRepository(connect(target), owns=True)
    if scheme in _REDIS or _is_redis_client(target):
        from chatstore.backends.redis import repository as redis

        return redis.async_repository_for(target)
    if _is_cosmos(target, scheme):
        from chatstore.backends.cosmosdb.repository import async_repository_for as async_cosmos_repository_for

        return async_cosmos_repository_for(target)
    from chatstore.backends.sql.repository import async_repository_for

    return async_repository_for(target, schema=_schema(schema))


def _given(target: Any) -> Any:
    target = os.environ.get(ENVIRONMENT) if target is None else target
    if target is None or target == "":
        msg = f"no storage is named: pass a URL such as sqlite:///chat.db, or set {ENVIRONMENT}"
        raise Invalid(msg)
    return target


def _is_cosmos(target: Any, scheme: str) -> bool:
    """Tell whether *target* is a URL of Cosmos DB, or something of its SDK."""
    return scheme in {"cosmosdb", "cosmosdb+http"} or type(target).__module__.startswith("azure.cosmos")


def _schema(schema: str | None) -> str | None:
    return schema or os.environ.get(SCHEMA_ENVIRONMENT) or None


def _is_redis_client(target: Any) -> bool:
    """Tell whether *target* is a client of redis-py, without importing that."""
    return any(base.__module__.partition(".")[0] == "redis" for base in type(target).__mro__)


def _directory(rest: str) -> str:
    path = rest.removeprefix("//") if rest.startswith("///") else rest
    if not path or path.startswith("//"):
        msg = "a file: URL names a directory: write file:chats or file:/var/lib/app/chats"
        raise Invalid(msg)
    return path
