"""`stream` and `follow`: an answer to the browser while it is stored, in views of both kinds.

This module knows Django's streaming responses under WSGI and ASGI; what an event says is `chatstore.contrib.events`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from contextlib import aclosing, closing, nullcontext
from typing import TYPE_CHECKING, Any

from django.http import StreamingHttpResponse

from chatstore.answers import StreamingAnswer
from chatstore.contrib import events
from chatstore.contrib.django.middleware import reported
from chatstore.contrib.problems import unexpected
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable

    from django.http import HttpRequest

    from chatstore.aio import AsyncRepository
    from chatstore.aio_answers import AsyncStreamingAnswer
    from chatstore.messages import MessageRecord
    from chatstore.repository import Repository

_log = logging.getLogger("chatstore")


def stream(
    answer: StreamingAnswer | AsyncStreamingAnswer,
    pieces: Iterable[str | None] | AsyncIterable[str | None],
) -> StreamingHttpResponse:
    """Answer the request with *pieces* of text as they come, as server-sent events; store them in *answer*.

    *answer* is what ``repository.begin_answer`` returned, awaited in an asynchronous view, where *pieces* may be an
    asynchronous generator. If the browser leaves, what came until then is stored, and the answer marked incomplete; the
    same where *pieces* raises, which is logged. No transaction is open meanwhile, also with ``ATOMIC_REQUESTS``. To say
    more of the answer (its usage, the model), *pieces* calls ``answer.finish`` as its last act.
    """
    if isinstance(answer, StreamingAnswer):
        return _response(_steps(answer, pieces))
    return _awaited_response(_asteps(answer, pieces))


def follow(request: HttpRequest, chats: Repository, session_id: str, key: int | str) -> StreamingHttpResponse:
    """Answer the request with an answer as it grows, whatever process makes it: for another tab, another device.

    *key* is its position or message id in the session. A browser that lost the connection says what it has
    (``Last-Event-ID``) and gets what comes behind that. The events are those of `stream`; an answer that has ended
    comes in one piece. Raises `SessionNotFound`, `MessageNotFound`, and `Invalid` for what a browser made up.
    """
    record = chats.get_message(session_id, key)
    return _response(
        _followed(chats, record, events.offset_of(request.headers.get("Last-Event-ID"), record.message_id))
    )


async def afollow(
    request: HttpRequest, chats: AsyncRepository, session_id: str, key: int | str
) -> StreamingHttpResponse:
    """Do what `follow` does, in an asynchronous view."""
    record = await chats.get_message(session_id, key)
    offset = events.offset_of(request.headers.get("Last-Event-ID"), record.message_id)
    return _awaited_response(_afollowed(chats, record, offset))


def _response(steps: Generator[str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(_Body(steps), content_type=events.MEDIA_TYPE, headers=events.HEADERS)


def _awaited_response(steps: AsyncGenerator[str]) -> StreamingHttpResponse:
    return _AwaitedResponse(_aguarded(steps), content_type=events.MEDIA_TYPE, headers=events.HEADERS)


class _Body:
    """The body of a streaming response: it ends its answer however it ends itself, also before it has begun."""

    def __init__(self, steps: Generator[str]) -> None:
        """Begin *steps* up to where its answer is sure to be ended."""
        self._steps = _guarded(steps)
        next(self._steps)

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> str:
        return next(self._steps)

    def close(self) -> None:
        """End the answer, incomplete if there was more to come: a server is done, or its client gone."""
        self._steps.close()


def _guarded(steps: Generator[str]) -> Generator[str]:
    """Yield from *steps*; what goes wrong is an event, and in the log."""
    try:
        yield from steps
    except ChatstoreError as error:
        yield events.problem_event(reported(error))
    except Exception:  # noqa: BLE001 - the answer has begun, so that nobody else can say it
        _log.exception("an answer broke off; what came of it is stored")
        yield events.problem_event(unexpected())


def _steps(answer: StreamingAnswer, pieces: Any) -> Generator[str]:
    """Yield nothing once, then the events of *answer* while *pieces* come."""
    with answer, closing(pieces) if hasattr(pieces, "close") else nullcontext():
        yield ""
        answer.attend()  # the transaction of the view has ended
        offset = 0
        for text in pieces:
            answer.append(text)
            if text:
                offset += len(text)
                yield events.text_event(text, answer.message_id, offset)
    yield events.done_event(answer.finish())


def _followed(chats: Repository, record: MessageRecord, offset: int) -> Generator[str]:
    """Yield nothing once, then the events of the answer *record* from *offset* on, as it is stored."""
    yield ""
    for part in chats.follow_answer(record.session_id, record.message_id, offset=offset):
        if part.text:
            yield events.text_event(part.text, record.message_id, part.offset)
    yield events.done_event(chats.get_message(record.session_id, record.message_id))


class _AwaitedResponse(StreamingHttpResponse):
    """A response whose generator is closed with it: Django leaves that to the garbage collector, after the request."""

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async with aclosing(self._iterator) as steps:
            async for part in steps:
                yield self.make_bytes(part)


async def _aguarded(steps: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """Yield from *steps*; what goes wrong is an event, and in the log."""
    async with aclosing(steps):
        try:
            async for event in steps:
                yield event
        except ChatstoreError as error:
            yield events.problem_event(reported(error))
        except Exception:  # noqa: BLE001 - as above
            _log.exception("an answer broke off; what came of it is stored")
            yield events.problem_event(unexpected())


async def _asteps(answer: AsyncStreamingAnswer, pieces: Any) -> AsyncGenerator[str]:
    """Yield the events of *answer* while *pieces* come."""
    async with answer, aclosing(_awaited(pieces)) as awaited:
        offset = 0
        async for text in awaited:
            answer.append(text)
            if text:
                offset += len(text)
                yield events.text_event(text, answer.message_id, offset)
    yield events.done_event(await answer.finish())


async def _afollowed(chats: AsyncRepository, record: MessageRecord, offset: int) -> AsyncGenerator[str]:
    """Yield the events of the answer *record* from *offset* on, as it is stored."""
    async for part in chats.follow_answer(record.session_id, record.message_id, offset=offset):
        if part.text:
            yield events.text_event(part.text, record.message_id, part.offset)
    yield events.done_event(await chats.get_message(record.session_id, record.message_id))


async def _awaited(pieces: Any) -> AsyncGenerator[str | None]:
    """Yield the pieces of either kind, and end what makes them."""
    if isinstance(pieces, AsyncIterable):
        async with aclosing(pieces) if hasattr(pieces, "aclose") else nullcontext():  # type: ignore[type-var]
            async for text in pieces:
                yield text
        return
    with closing(pieces) if hasattr(pieces, "close") else nullcontext():
        for text in pieces:
            yield text
