"""Answers that stream, awaited: `chatstore.answers` over an event loop, where a task takes the place of the thread.

This module knows tasks and their cancellation; what a growing answer is, and how it ends, is in `chatstore.answers`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

from chatstore import codec
from chatstore.answers import CANCELLED, DROPPED, Growing, Streaming, made_call, note_failure, reason_of
from chatstore.errors import ChatstoreError
from chatstore.records import COMPLETE, INCOMPLETE

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterable, Mapping

    from chatstore.aio import AsyncRepository
    from chatstore.contract import T
    from chatstore.messages import AIMessage, Message, MessageRecord
    from chatstore.records import AnswerState

_log: Final = logging.getLogger("chatstore")


class AsyncStreamingAnswer(Streaming):
    """The same with ``await``: ``async with repository.begin_answer(…) as answer``, or ``await`` it.

    `finish` and `stop` are awaited, `append` and `add_tool_call` are not. A task that is cancelled in the block leaves
    the answer incomplete, reason ``cancelled``; the last write is done to its end before the cancellation goes on.
    """

    def __init__(
        self,
        repository: AsyncRepository,
        session_id: str,
        messages: Iterable[Message],
        *,
        message_id: str | None,
        after: int | None,
        expected_revision: int | None,
    ) -> None:
        """Check everything; nothing is stored before it is awaited."""
        self._repository = repository
        self._call, self._batch = made_call(
            repository, session_id, messages, message_id, after, expected_revision
        )
        self._begun = False

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        if not self._begun:
            self._begun = True
            try:
                await to_the_end(self._begin())
            except asyncio.CancelledError:
                if hasattr(self, "_growing"):
                    await to_the_end(self._end(INCOMPLETE, CANCELLED))
                raise
        return self

    async def _begin(self) -> None:
        repository = self._repository
        done = await repository._call(repository._core.begin_answer, self._call)
        growing = self._growing = Growing(self._call, self._batch, done)
        self._event = asyncio.Event()
        weakref.finalize(self, growing.drop).atexit = False
        self._task = asyncio.create_task(
            _keep_writing_awaiting(repository, growing, self._event), name="chatstore-answer"
        )

    def _wake(self) -> None:
        self._event.set()

    async def finish(
        self,
        message: AIMessage | None = None,
        *,
        usage: Mapping[str, Any] | None = None,
        finish_reason: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> MessageRecord:
        """End the answer, complete, and return its record: as `StreamingAnswer.finish`."""
        growing = self._growing
        if growing.record is not None:
            return growing.record
        growing.finishing(message, usage, finish_reason, model, metadata)
        return await to_the_end(self._end(COMPLETE, None))

    async def stop(self, reason: str = "stopped") -> MessageRecord:
        """End the answer, incomplete, for a *reason* of at most 255 characters; return its record."""
        if self._growing.record is not None:
            return self._growing.record
        return await to_the_end(self._end(INCOMPLETE, codec.checked_id(reason)))

    async def _end(self, state: AnswerState, reason: str | None) -> MessageRecord:
        growing = self._growing
        growing.end()
        self._event.set()
        await asyncio.wait([self._task])  # however it ended: a loop that stops cancels every task
        repository = self._repository
        record = await repository._call(repository._core.update_message, growing.last_write(state, reason))
        return growing.ended(record)

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._growing.record is not None or self._growing.copied:
            return
        if error is None:
            await self.finish()
            return
        try:
            await self.stop(reason_of(error))
        except ChatstoreError as failed:
            note_failure(error, self._growing, failed)


async def _keep_writing_awaiting(repository: AsyncRepository, growing: Growing, event: asyncio.Event) -> None:
    """Write what comes until the answer ends: what the task does."""
    while not growing.ending:
        try:
            async with asyncio.timeout(growing.pause()):
                await event.wait()
        except TimeoutError:
            pass
        event.clear()
        if growing.ending or not growing.due():
            continue
        began = time.monotonic()
        try:
            call, mark = growing.take()
            await repository._call(repository._core.update_message, call)
        except ChatstoreError as error:
            growing.failed(error)
            if growing.fault is not None:
                break
        else:
            growing.wrote(mark, began)
    if growing.dropped and growing.fault is None:
        try:
            await repository._call(repository._core.update_message, growing.last_write(INCOMPLETE, DROPPED))
        except ChatstoreError as error:
            _log.warning(
                "a streamed answer was dropped, and its end is not stored (%s)", type(error).__name__
            )


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await *work* to its end; a caller that is cancelled meanwhile is cancelled after it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # the caller asked not to hear of it
        raise cancelled
    return task.result()
