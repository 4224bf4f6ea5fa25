"""The record of this backend: what `connect` and the command line ask it; see `chatstore.backend.Backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backend import Backend

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.repository import Repository


def _open(target: Any, schema: str | None) -> Repository:  # noqa: ARG001 - there is nothing to choose
    from chatstore.backends.memory.repository import MemoryRepository

    return MemoryRepository()


def _open_async(target: Any, schema: str | None) -> AsyncRepository:  # noqa: ARG001
    from chatstore.backends.memory.awaited import AsyncMemoryRepository

    return AsyncMemoryRepository()


BACKEND = Backend(open=_open, open_async=_open_async, in_process=lambda _url: True)
