"""The routes of a chat application, for whoever is asking.

Knows paths, parameters and statuses; what is sent and given back is in ``schemas.py``. Each function is a route and
is documented for people who call it, since its docstring is what OpenAPI says. Annotations are values here, not text:
FastAPI reads them, and the dependency is a variable of the function around.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response, StreamingResponse

from chatstore.aio import AsyncRepository
from chatstore.aio_answers import AsyncStreamingAnswer
from chatstore.contrib import events
from chatstore.contrib.fastapi import schemas
from chatstore.contrib.fastapi.responses import Refused, event_stream
from chatstore.contrib.fastapi.schemas import Hits, Record, RecordPage, Session, SessionPage
from chatstore.contrib.fastapi.streaming import follow
from chatstore.contrib.problems import MEDIA_TYPE, problem
from chatstore.errors import Invalid, MessageTooLarge, SessionNotFound
from chatstore.ids import MAX_ID, new_id
from chatstore.messages import HumanMessage, Message

if TYPE_CHECKING:
    from chatstore.contrib.fastapi.extension import Chatstore

#: What makes an answer: it takes the messages of a chat and gives text in pieces.
Model: TypeAlias = Callable[[Sequence[Message]], AsyncIterable[str] | Iterable[str]]

_SaidId = Annotated[str, Path(min_length=1, max_length=MAX_ID)]
_Limit = Annotated[int, Query(ge=1, le=100)]
_Position = Annotated[int | None, Query(ge=1, lt=2**63)]
#: What every route may answer beside its own statuses.
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": status.phrase,
        "content": {MEDIA_TYPE: {"schema": schemas.Problem.model_json_schema()}},
    }
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def _bounded(most: int) -> type[APIRoute]:
    """Return a class of routes that refuse a body of more than *most* bytes, before it is in memory."""

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handle = super().get_route_handler()

            async def handle_bounded(request: Request) -> Response:
                return await handle(Request(request.scope, _counting(request, most), request._send))

            return handle_bounded

    return BoundedRoute


def _counting(request: Request, most: int) -> Callable[[], Any]:
    size = 0

    async def receive() -> Any:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > most:
            msg = f"the request has more than {most} bytes: send a shorter one"
            raise Refused(problem(MessageTooLarge(msg, limit=most, size=size)))
        return message

    return receive


def make_router(chats: "Chatstore", model: Model | None, max_body: int) -> APIRouter:
    """Return the routes over *chats*."""
    router = APIRouter(route_class=_bounded(max_body), responses=_PROBLEMS, tags=["chats"])
    _add_sessions(router, chats)
    _add_messages(router, chats)
    if model is not None:
        _add_answers(router, chats, model)
    return router


def _add_sessions(router: APIRouter, chats: "Chatstore") -> None:
    Mine: TypeAlias = Annotated[AsyncRepository, Depends(chats.mine)]

    @router.get("")
    async def list_sessions(
        mine: Mine, cursor: str | None = None, limit: _Limit = 50, *, archived: bool = False
    ) -> SessionPage:
        """List my chats, newest first."""
        return SessionPage.of(await mine.list_sessions(archived=archived, limit=limit, cursor=cursor))

    @router.post("", status_code=HTTPStatus.CREATED)
    async def create_session(mine: Mine, new: schemas.NewSession) -> Session:
        """Begin a chat."""
        made = await mine.create_session(new.id or new_id(), title=new.title, metadata=new.metadata)
        return Session.of(made)

    @router.get("/search")
    async def search(
        mine: Mine, q: str, session_id: Annotated[str | None, Query(min_length=1)] = None, limit: _Limit = 20
    ) -> Hits:
        """Search my chats, or one of them, for messages with all of these words; the best first."""
        hits = await mine.search(q, session_id=session_id, limit=limit)
        return Hits(items=[schemas.Hit.of(hit) for hit in hits])

    @router.get("/{session_id}")
    async def get_session(mine: Mine, session_id: _SaidId) -> Session:
        """Read what is known of a chat, without its messages."""
        return Session.of(await mine.get_session(session_id))

    @router.patch("/{session_id}")
    async def update_session(mine: Mine, session_id: _SaidId, changes: schemas.SessionChanges) -> Session:
        """Rename a chat, or archive it."""
        given = changes.model_dump(exclude_unset=True)
        return Session.of(await mine.update_session(session_id, **given))

    @router.delete("/{session_id}", status_code=HTTPStatus.NO_CONTENT)
    async def delete_session(mine: Mine, session_id: _SaidId) -> None:
        """Delete a chat with all its messages."""
        if not await mine.delete_session(session_id):
            raise _missing()

    @router.post("/{session_id}/fork", status_code=HTTPStatus.CREATED)
    async def fork_session(mine: Mine, session_id: _SaidId, point: schemas.ForkPoint) -> Session:
        """Copy a chat, or its beginning, into one of its own."""
        return Session.of(await mine.fork_session(session_id, new_id(), through=point.through))


def _add_messages(router: APIRouter, chats: "Chatstore") -> None:
    Mine: TypeAlias = Annotated[AsyncRepository, Depends(chats.mine)]

    @router.get("/{session_id}/messages")
    async def get_messages(
        mine: Mine, session_id: _SaidId, before: _Position = None, limit: _Limit = 50
    ) -> RecordPage:
        """Read the newest messages of a chat, or the newest before a position, oldest first."""
        await mine.get_session(session_id)
        return RecordPage.of(await mine.get_records(session_id, last=limit + 1, before=before), limit)

    @router.post("/{session_id}/messages", status_code=HTTPStatus.CREATED)
    async def add_message(mine: Mine, session_id: _SaidId, question: schemas.Question) -> Record:
        """Add what the user says, without asking for an answer."""
        await mine.get_session(session_id)
        (record,) = await mine.add_messages(session_id, [HumanMessage(question.text, id=question.id)])
        return Record.of(record)


def _add_answers(router: APIRouter, chats: "Chatstore", model: Model) -> None:
    Mine: TypeAlias = Annotated[AsyncRepository, Depends(chats.mine)]

    async def answered(mine: AsyncRepository, answer: AsyncStreamingAnswer) -> StreamingResponse:
        try:
            messages = await mine.get_messages(answer.session_id, before=answer.position, incomplete=False)
            return chats.stream(answer, model(messages))
        except BaseException as error:
            await answer.__aexit__(type(error), error, None)  # incomplete: nothing will come of it
            raise

    @router.post("/{session_id}/answers", response_class=StreamingResponse, responses=_STREAM)
    async def ask(mine: Mine, session_id: _SaidId, question: schemas.Question) -> StreamingResponse:
        """Ask, and read the answer while it is made, as server-sent events."""
        await mine.get_session(session_id)
        answer = await mine.begin_answer(session_id, [HumanMessage(question.text, id=question.id)])
        return await answered(mine, answer)

    @router.post("/{session_id}/regenerate", response_class=StreamingResponse, responses=_STREAM)
    async def regenerate(mine: Mine, session_id: _SaidId, which: schemas.Regeneration) -> StreamingResponse:
        """Answer a question once more; what came after it goes."""
        position = which.position or await _last_question(mine, session_id)
        if (await mine.get_message(session_id, position)).message.type != "human":
            msg = f"the message at position {position} is no question: pass the position of one, or none"
            raise Invalid(msg)
        return await answered(mine, await mine.begin_answer(session_id, after=position))

    @router.get("/{session_id}/answers/{message_id}", response_class=StreamingResponse, responses=_STREAM)
    async def follow_answer(
        mine: Mine,
        session_id: _SaidId,
        message_id: _SaidId,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        """Read an answer from where the browser left: behind the event with Last-Event-ID, else from its start."""
        await mine.get_message(session_id, message_id)
        offset = events.offset_of(last_event_id, message_id)
        return event_stream(follow(mine, session_id, message_id, offset))


async def _last_question(mine: AsyncRepository, session_id: str) -> int:
    """Return the position of the last question. Raises `Invalid` where there is none, `SessionNotFound`."""
    await mine.get_session(session_id)
    before = None
    while records := await mine.get_records(session_id, last=20, before=before):
        for record in reversed(records):
            if record.message.type == "human":
                return record.position
        before = records[0].position
    raise Invalid("nothing was asked in this chat yet: ask first")


def _missing() -> SessionNotFound:
    return SessionNotFound("there is no such session: list those that there are")
