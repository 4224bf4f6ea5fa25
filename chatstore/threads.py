"""`ThreadedRepository`: a repository that blocks (SQLite, files) offered to an event loop.

This module knows threads and cancellation. It has its own small executor, one thread for writes and a few for reads,
because the loop's default one is shared with everything else in the application and would be filled by it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from chatstore.aio import AsyncRepository
from chatstore.deadlines import is_over, passed
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.contract import Answer, C, T
    from chatstore.repository import Repository

READERS = 4


class _Workers:
    """Two executors, made at their first use."""

    def __init__(self) -> None:
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock, self._pools = Lock(), dict[bool, ThreadPoolExecutor]()

    def _submit(self, call: Callable[[], T], *, write: bool) -> Future[T]:
        with self._lock:  # until it is there: `close`, in another loop, ends what it finds
            if write not in self._pools:
                self._pools[write] = ThreadPoolExecutor(
                    1 if write else READERS, thread_name_prefix="chatstore"
                )
            return self._pools[write].submit(call)

    async def run(self, call: Callable[[], T], *, write: bool) -> T:
        """Run *call* in a thread; a cancelled caller waits for its outcome, then is cancelled."""
        work = self._submit(call, write=write)
        outcome = asyncio.wrap_future(work)
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            # Work that has not begun never will; what has begun cannot be stopped half way.
            work.cancel()
            # Not the work's own end: the loop hears of it a moment later.
            while not outcome.done():
                try:
                    await asyncio.wait([outcome])
                except asyncio.CancelledError:
                    continue
            if not outcome.cancelled():
                outcome.exception()  # the caller asked not to hear of it
            raise

    def close(self) -> None:
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown(wait=True)


class ThreadedRepository(AsyncRepository):
    """The asynchronous twin of a blocking repository."""

    def __init__(self, inner: Repository, *, owns: bool = False) -> None:
        """Lend *inner* to threads; closing this closes it too if it *owns* it."""
        self._inner = inner
        self._owns = owns
        self._core = inner._core
        self._scope = inner._scope
        self._workers = _Workers()

    @property
    def _named(self) -> str:
        return self._inner._named

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        work = partial(copy_context().run, partial(self._run_in_time, operation, call))
        return await self._workers.run(work, write=not call.reads)

    def _run_in_time(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        """Run *call* in this thread, unless its deadline passed while it queued for one."""
        if is_over():
            raise passed("earlier calls kept the threads of this repository busy")
        return self._inner._run(operation, call)

    def using(self, transaction: Any) -> Any:
        """As `Repository.using`: nothing of it runs in threads, the caller's transaction is awaited."""
        return self._inner._awaiting()._copied(_scope=self._scope).using(transaction)

    async def close(self) -> None:
        """Wait for what is running, and close the blocking repository if it was made for this one."""
        await asyncio.get_running_loop().run_in_executor(None, self._workers.close)
        if self._owns:
            self._inner.close()
