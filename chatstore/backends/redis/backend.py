"""The record of this backend: what `connect` and the command line ask it; see `chatstore.backend.Backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backend import Backend
from chatstore.contract import STATES

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository


def _open(target: Any, schema: str | None) -> Repository:  # noqa: ARG001 - Redis has none
    from chatstore.backends.redis.repository import repository_for

    return repository_for(target)


def _open_async(target: Any, schema: str | None) -> AsyncRepository:  # noqa: ARG001
    from chatstore.backends.redis.repository import async_repository_for

    return async_repository_for(target)


BACKEND = Backend(open=_open, open_async=_open_async, clients=("redis",), denied=STATES)
