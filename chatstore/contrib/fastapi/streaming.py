"""An answer on its way to a browser: made by a task of its own, so that it goes on when the browser leaves.

Knows asyncio and how events are handed from the task to whoever reads; refuses to know routes and owners.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from chatstore.contrib import events
from chatstore.contrib.problems import problem, unexpected
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from chatstore.aio import AsyncRepository
    from chatstore.aio_answers import AsyncStreamingAnswer
    from chatstore.contrib.problems import Problem

_log: Final = logging.getLogger("chatstore")
#: Seconds of silence after which a line is sent that says nothing: proxies cut what is silent.
KEEP_ALIVE: Final = 15.0
_SILENCE: Final = ": still here\n\n"


class Feed:
    """Events from who makes an answer to who reads it; nothing is kept once the reader is gone."""

    def __init__(self) -> None:
        """Begin empty."""
        self._events = deque[str]()
        self._more = asyncio.Event()
        self._ended = self._left = False

    def put(self, event: str) -> None:
        """Hand *event* over."""
        if not self._left:
            self._events.append(event)
            self._more.set()

    def end(self) -> None:
        """Say that there will be no more."""
        self._ended = True
        self._more.set()

    async def read(self) -> AsyncIterator[str]:
        """Yield the events as they come."""
        try:
            while self._events or not self._ended:
                if self._events:
                    yield self._events.popleft()
                    continue
                self._more.clear()
                try:
                    async with asyncio.timeout(KEEP_ALIVE):
                        await self._more.wait()
                except TimeoutError:
                    yield _SILENCE
        finally:
            self._left = True
            self._events.clear()


async def produce(answer: AsyncStreamingAnswer, pieces: Any, feed: Feed) -> None:
    """Store *pieces* of text in *answer* as they come, and tell *feed*."""
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(answer)
            if hasattr(pieces, "aclose"):
                stack.push_async_callback(pieces.aclose)
            offset = 0
            async for text in _awaited(pieces):
                answer.append(text)
                offset += len(text)
                feed.put(events.text_event(text, answer.message_id, offset))
        feed.put(events.done_event(await answer.finish()))
    except ChatstoreError as error:
        feed.put(events.problem_event(reported(error)))
    except Exception:  # noqa: BLE001 - whatever the model raises
        _log.exception("an answer broke off; what came of it is stored")
        feed.put(events.problem_event(unexpected()))
    finally:
        feed.end()


def _awaited(pieces: AsyncIterable[str] | Iterable[str]) -> AsyncIterable[str]:
    """Return *pieces* to be awaited; those that are not run in threads, outside of the event loop."""
    if isinstance(pieces, AsyncIterable):
        return pieces
    from starlette.concurrency import iterate_in_threadpool

    return iterate_in_threadpool(pieces)


async def follow(
    repository: AsyncRepository, session_id: str, message_id: str, offset: int
) -> AsyncIterator[str]:
    """Yield the events of an answer from character *offset* on, whichever process makes it."""
    try:
        async for part in repository.follow_answer(session_id, message_id, offset=offset):
            if part.text:
                yield events.text_event(part.text, message_id, part.offset)
        yield events.done_event(await repository.get_message(session_id, message_id))
    except ChatstoreError as error:  # deleted while it streams
        yield events.problem_event(reported(error))


def reported(error: ChatstoreError) -> Problem:
    """Return what a client hears of *error*; what the operator must know goes into the log."""
    found = problem(error)
    if found.is_ours:
        _log.error("%s: %s", type(error).__name__, error)
    return found
