"""`Chatstore`: the chats of a FastAPI application, opened and closed with it, seen by whoever is asking.

Knows FastAPI's dependencies and Starlette's lifespan and errors. Refuses to know how messages are stored.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends

from chatstore.connect import connect_async
from chatstore.contrib.fastapi.responses import Refused, answer_error, answer_refused, event_stream
from chatstore.contrib.fastapi.streaming import Feed, produce
from chatstore.contrib.problems import not_logged_in
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable

    from fastapi import APIRouter
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse

    from chatstore.aio import AsyncRepository
    from chatstore.aio_answers import AsyncStreamingAnswer
    from chatstore.contrib.fastapi.router import Model

#: The body that a route takes, in bytes, unless the application says otherwise.
MAX_BODY: Final = 1_000_000


class Chatstore:
    """The chats of an application."""

    def __init__(
        self,
        target: Any = None,
        *,
        owner: Callable[..., Any] | None = None,
        schema: str | None = None,
    ) -> None:
        """Take a URL or an AsyncEngine, as `connect_async` does; without one, ``CHATSTORE_URL``. Connects to nothing.

        *owner* is a dependency of FastAPI's that says who is asking: it returns a user's id, or None if nobody is
        logged in. Ids that are no text are made text; a dict is passed on to `AsyncRepository.scope`, as with
        ``{"tenant_id": "acme", "user_id": "ada"}``. Raises `Invalid` for a URL that is none.
        """
        self.repository: AsyncRepository = connect_async(target, schema=schema)
        self._answers = set[asyncio.Task[None]]()
        self.has_owner = owner is not None

        async def mine(found: Any = Depends(owner or _nobody)) -> AsyncRepository:  # noqa: B008 - a closure's
            if found is None or found == "":
                raise Refused(not_logged_in())
            return self.repository.scope(**found if isinstance(found, dict) else {"user_id": str(found)})

        #: The dependency that gives the chats of whoever is asking: no others exist in it, and what it creates is
        #: theirs. ``Annotated[AsyncRepository, Depends(chats.mine)]``; 401 if nobody is logged in.
        self.mine = mine

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Close the repository when the application ends, and mark answers that are still being made as incomplete.

        ``FastAPI(lifespan=chats.lifespan)``; in a lifespan of one's own, ``async with chats.lifespan(app)``.
        """
        try:
            yield
        finally:
            for task in self._answers:
                task.cancel()
            await asyncio.gather(*self._answers, return_exceptions=True)
            await self.repository.close()

    def init_app(self, app: Starlette) -> None:
        """Answer requests that meet an error of chatstore's with problem details (RFC 9457), in all of *app*."""
        app.add_exception_handler(ChatstoreError, answer_error)
        app.add_exception_handler(Refused, answer_refused)

    def stream(
        self, answer: AsyncStreamingAnswer, pieces: AsyncIterable[str] | Iterable[str]
    ) -> StreamingResponse:
        """Answer the request with *pieces* of text as they come, as server-sent events; store them in *answer*.

        *answer* is what `AsyncRepository.begin_answer` returned, and was awaited. A task of its own makes the answer:
        it goes on if the browser leaves, which reads the rest later (`follow_answer`). Where *pieces* raises, which is
        logged, and where the application ends, what came until then is stored and marked incomplete. *pieces* may run
        longer than the request: it must not use what ends with that, a database session of a dependency's, say. To
        say more of the answer (its usage, the model), *pieces* calls ``answer.finish`` as its last act.
        """
        feed = Feed()
        task = asyncio.create_task(produce(answer, pieces, feed), name="chatstore-stream")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        return event_stream(feed.read())

    def router(self, *, answer: Model | None = None, max_body: int = MAX_BODY) -> APIRouter:
        """Return routes for a chat application: list, begin, read, append, rename, archive, delete, search, fork.

        With *answer*, which takes the messages of a chat and gives the text of its next one in pieces (awaited or
        not), there are routes that ask, regenerate, and go on with an answer from where a browser left. *max_body* is
        the bytes that a request may have. Raises `RuntimeError` without an *owner*: the chats would be everybody's.
        """
        if not self.has_owner:
            raise RuntimeError(
                "nothing says who is asking, so that everybody would see everything: pass owner=, a dependency that "
                "returns the id of the user, to Chatstore"
            )
        from chatstore.contrib.fastapi.router import make_router

        return make_router(self, answer, max_body)


async def _nobody() -> None:
    raise RuntimeError("nothing says who is asking: pass owner=, a dependency that returns a user's id")
