"""`connect(url)` and `connect_async(url)`: from a URL or an engine to a repository.

This module knows what stands for a storage that is not named; which backend a URL means is `chatstore.schemes`. It
refuses to do any I/O.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from chatstore import deadlines
from chatstore.errors import Invalid
from chatstore.schemes import backend_of

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.backend import Backend
    from chatstore.repository import Repository

ENVIRONMENT = "CHATSTORE_URL"
SCHEMA_ENVIRONMENT = "CHATSTORE_SCHEMA"


def connect(target: Any = None, *, schema: str | None = None, deadline: float | None = None) -> Repository:
    """Return the repository behind *target*, a URL or a SQLAlchemy Engine, without any I/O.

    URLs: ``memory:``, ``file:DIRECTORY``, ``sqlite:///file.db``, ``postgresql://…``, ``mysql://…``, ``mariadb://…``
    and those of any other SQLAlchemy dialect, ``redis://…``, ``rediss://…``, ``dynamodb://REGION/TABLE``,
    ``cosmosdb://HOST/DATABASE/CONTAINER``, and what other packages bring. None reads ``CHATSTORE_URL``. *schema* (or
    ``CHATSTORE_SCHEMA``) is the database schema of the tables. Repositories on one URL share one engine; the last
    `close` disposes of it. An engine that is passed in, a client of redis-py, or a ``ContainerProxy`` of Cosmos DB is
    used as it is and never closed.
    *deadline* (or ``?deadline=`` in the URL) is how many seconds a call may take, everything that it waits for
    included, before it raises `StorageUnavailable`, or `OutcomeUnknown` where what it wrote may be stored; 30 unless
    said otherwise.
    Raises `Invalid` or `MissingDependency`.
    """
    target, seconds = _timed(_given(target), deadline)
    opened = backend_of(target).open(target, _schema(schema))
    opened._deadline = seconds
    return opened


def connect_async(
    target: Any = None, *, schema: str | None = None, deadline: float | None = None
) -> AsyncRepository:
    """Return the asynchronous repository behind *target*, a URL, an engine or a client; as `connect`."""
    target, seconds = _timed(_given(target), deadline)
    opened = _opened_async(backend_of(target), target, _schema(schema))
    opened._deadline = seconds
    return opened


def _opened_async(backend: Backend, target: Any, schema: str | None) -> AsyncRepository:
    if backend.open_async is not None:
        return backend.open_async(target, schema)
    from chatstore.threads import ThreadedRepository

    return ThreadedRepository(backend.open(target, schema), owns=True)


def _timed(target: Any, deadline: float | None) -> tuple[Any, float | None]:
    """Return *target* without the deadline in its URL, and the deadline: *deadline* goes before that of the URL."""
    target, told = deadlines.split(target)
    given = deadlines.checked(deadline)
    return target, told if given is None else given


def _given(target: Any) -> Any:
    target = os.environ.get(ENVIRONMENT) if target is None else target
    if target is None or target == "":
        msg = f"no storage is named: pass a URL such as sqlite:///chat.db, or set {ENVIRONMENT}"
        raise Invalid(msg)
    return target


def _schema(schema: str | None) -> str | None:
    return schema or os.environ.get(SCHEMA_ENVIRONMENT) or None
