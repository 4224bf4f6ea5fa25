"""`MemoryRepository`, awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.aio import AsyncRepository
from chatstore.backends.memory.repository import MemoryCore

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.contract import Answer, C, T


class AsyncMemoryRepository(AsyncRepository):
    """The same with ``await``; nothing in it waits."""

    def __init__(self, core: MemoryCore | None = None) -> None:
        """Work on *core*, or begin empty."""
        self._core: MemoryCore = core or MemoryCore()

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        return operation(call)  # type: ignore[return-value]  # nothing in memory is worth waiting for
