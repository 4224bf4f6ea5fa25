"""`ConversationsAPI`: the routes, who is asking, and errors in OpenAI's shape.

This module knows requests and responses; it refuses to know how items are stored. Beside OpenAI's eight routes there
are two that OpenAI has not: a list of conversations, and a search in them.
"""

from __future__ import annotations

import inspect
import json
import logging
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from chatstore.aio import AsyncRepository
from chatstore.connect import connect_async
from chatstore.contrib.conversations import browsing
from chatstore.contrib.conversations.items import make_id, make_messages, show_items, split_id
from chatstore.contrib.problems import problem
from chatstore.errors import ChatstoreError, Conflict, Invalid, MessageNotFound, SessionNotFound
from chatstore.extras import not_installed
from chatstore.integrations.claude_lines import PARTS
from chatstore.repository import Repository

try:
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse
    from starlette.routing import Mount
except ImportError as error:
    raise not_installed("the server of conversations", "serve") from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from starlette.types import Receive, Scope, Send

    from chatstore.messages import ChatSession, MessageRecord

    Owner = Mapping[str, str] | str | None
    WhoAsks = Callable[[Request], Owner | Awaitable[Owner]]

_log: Final = logging.getLogger("chatstore")
#: The bytes that a request may have, unless the application says otherwise: pictures are sent inside of items.
MAX_BODY: Final = 32_000_000
#: OpenAI's limits of a conversation's metadata.
_PAIRS, _KEY, _VALUE = 16, 64, 512
_ROOT: Final = "conversations"
_MISSING: Final = {
    MessageNotFound: "This conversation has no such item.",
    SessionNotFound: "There is no such conversation.",
}


class ConversationsAPI:
    """An ASGI application: serve it, or mount it, as with ``app.mount("/v1", ConversationsAPI(url, owner=who))``."""

    def __init__(
        self,
        target: Any = None,
        *,
        owner: WhoAsks | None,
        schema: str | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        """Take a URL or an AsyncEngine, as `connect_async` does, or a repository; without one, ``CHATSTORE_URL``.

        *owner* is called with each request (Starlette's) and says who is asking: a user's id, or what
        `Repository.scope` takes, as in ``{"tenant_id": "acme", "user_id": "ada"}``; or None for nobody, who gets 401.
        It may be awaited. `Tokens` is one. With ``owner=None`` everybody sees everything: only for a server that
        nobody else reaches. *max_body* is the bytes that a request may have. Connects to nothing yet.
        """
        #: Whether the repository was made here, and is closed when the application ends.
        self._own = not isinstance(target, Repository | AsyncRepository)
        self.repository: Any = connect_async(target, schema=schema) if self._own else target
        self._owner, self._max_body = owner, max_body
        self._app = Starlette(routes=[Mount("/", app=self._handle)], lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Close what was opened when the application ends; one that is mounted needs this in the lifespan around it."""
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the repository that was made from a URL or an engine, or give back what was borrowed of another."""
        if self._own:
            await self.repository.close()
        elif isinstance(self.repository, Repository):
            await self.repository._release_twin(self)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> JSONResponse:
        try:
            body = await _route(request.method, _path(request.scope))(await self._asked(request))
        except _Refused as refused:
            return refused.response
        except ChatstoreError as error:
            return _failed(error)
        except Exception:  # noqa: BLE001 - logged; the client is answered as it expects
            _log.exception("a request for conversations failed")
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "This could not be done: see the server's log.")
        return JSONResponse(body)

    async def _asked(self, request: Request) -> _Asked:
        store, owner = self.repository, None
        if isinstance(store, Repository):
            store = store._lend_twin(self)
        if self._owner is not None:
            found: Any = self._owner(request)
            owner = await found if inspect.isawaitable(found) else found
            if not owner:
                raise _Refused(
                    HTTPStatus.UNAUTHORIZED,
                    "This API key is unknown, or missing: send one as 'Authorization: Bearer …'.",
                    code="invalid_api_key",
                )
            store = store.scope(**({"user_id": str(owner)} if isinstance(owner, str | int) else owner))
        return _Asked(store, owner, request, await self._read(request))

    async def _read(self, request: Request) -> dict[str, Any]:
        """Return the JSON object in the body; an empty one where there is none."""
        if request.method != "POST":
            return {}
        # A page of another site can have a browser send a body, but not this header without asking first.
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise _Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with 'Content-Type: application/json'."
            )
        pieces, size = [], 0
        try:
            async for piece in request.stream():
                size += len(piece)
                if size > self._max_body:
                    raise _Refused(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"The request has more than {self._max_body} bytes: send fewer items at once.",
                    )
                pieces.append(piece)
            found = json.loads(b"".join(pieces) or b"{}")
        except ClientDisconnect as gone:
            raise _Refused(HTTPStatus.BAD_REQUEST, "The client left: nothing was stored.") from gone
        except (ValueError, RecursionError) as broken:
            raise _Refused(HTTPStatus.BAD_REQUEST, "The body is not JSON: send an object.") from broken
        if not isinstance(found, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "The body is not a JSON object: send one.")
        return found


class _Asked:
    """A request: what the owner may see, the ids in its path, its query and its body."""

    def __init__(self, store: AsyncRepository, owner: object, request: Request, body: dict[str, Any]) -> None:
        self.store, self.body, self.owner = store, body, owner
        self.query, self.headers = request.query_params, request.headers
        self.conversation_id, self.item_id = [*_path(request.scope)[1::2], "", ""][:2]


# ------------------------------------------------------------------------------------------------ routes


def _path(scope: Scope) -> list[str]:
    """Return the parts of the path below where the application is mounted; an id may have a slash in it, encoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    above = [part for part in scope.get("root_path", "").split("/") if part]
    parts = raw.decode("ascii", "replace").partition("?")[0].strip("/").split("/")
    return [unquote(part) for part in parts[len(above) :]]


def _route(method: str, parts: list[str]) -> Callable[[_Asked], Awaitable[dict[str, Any]]]:
    """Return what answers *method* on the path of *parts*; raise 404 or 405."""
    match parts:
        case [root] if root == _ROOT:
            known = {"GET": _list, "POST": _create}
        case ["search"]:
            known = {"GET": _search}
        case [root, _] if root == _ROOT:
            known = {"GET": _get, "POST": _update, "DELETE": _delete}
        case [root, _, "items"] if root == _ROOT:
            known = {"GET": _list_items, "POST": _add_items}
        case [root, _, "items", _] if root == _ROOT:
            known = {"GET": _get_item, "DELETE": _delete_item}
        case _:
            raise _Refused(
                HTTPStatus.NOT_FOUND,
                "There is nothing at this path: it begins with /conversations, or is /search.",
            )
    if method not in known:
        raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"This path takes {' and '.join(known)}, not {method}.")
    return known[method]


async def _create(asked: _Asked) -> dict[str, Any]:
    key = asked.headers.get("idempotency-key")
    id_ = make_id("conv", None if key is None else f"{asked.owner!r}\n{key}")
    metadata = _metadata(asked.body.get("metadata"))
    messages = make_messages(asked.body.get("items") or [], id_, key)
    await asked.store.add_messages(id_, messages, metadata=metadata)
    return _conversation(await asked.store.get_session(id_))


async def _get(asked: _Asked) -> dict[str, Any]:
    return _conversation(await asked.store.get_session(asked.conversation_id))


async def _update(asked: _Asked) -> dict[str, Any]:
    metadata = _metadata(asked.body.get("metadata"))
    while True:
        session = await asked.store.get_session(asked.conversation_id)
        own = _own(session.metadata)
        kept = {key: value for key, value in session.metadata.items() if key not in own}
        _leave_alone(kept.keys() & metadata.keys())
        with suppress(Conflict):  # somebody wrote in between
            return _conversation(
                await asked.store.update_session(
                    asked.conversation_id, metadata=kept | metadata, expected_revision=session.revision
                )
            )


async def _delete(asked: _Asked) -> dict[str, Any]:
    if not await asked.store.delete_session(asked.conversation_id):
        raise SessionNotFound(asked.conversation_id)
    return {"id": asked.conversation_id, "object": "conversation.deleted", "deleted": True}


async def _list_items(asked: _Asked) -> dict[str, Any]:
    limit = _limit(asked.query.get("limit"))
    order = asked.query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise _Refused(HTTPStatus.BAD_REQUEST, "order is asc or desc.", param="order")
    after = asked.query.get("after")
    start = await _found(asked, after) if after else None
    items = await browsing.page_of(asked.store, asked.conversation_id, start, limit + 1, down=order == "desc")
    return _as_list(items[:limit], more=len(items) > limit)


async def _add_items(asked: _Asked) -> dict[str, Any]:
    await asked.store.get_session(asked.conversation_id)  # a conversation is made by its own route alone
    messages = make_messages(
        asked.body.get("items"), asked.conversation_id, asked.headers.get("idempotency-key")
    )
    records = await asked.store.add_messages(asked.conversation_id, messages)
    return _as_list([item for record in records for item in show_items(record)], more=False)


async def _get_item(asked: _Asked) -> dict[str, Any]:
    record, number = await _found(asked, asked.item_id)
    return show_items(record)[number]


async def _delete_item(asked: _Asked) -> dict[str, Any]:
    record, _ = await _found(asked, asked.item_id)
    if len(show_items(record)) > 1:
        raise _Refused(
            HTTPStatus.BAD_REQUEST,
            "This item is a part of one message of another framework: delete it there.",
            param="item_id",
        )
    await asked.store.delete_message(asked.conversation_id, record.message_id)
    return _conversation(await asked.store.get_session(asked.conversation_id))


async def _list(asked: _Asked) -> dict[str, Any]:
    page = await asked.store.list_sessions(
        order="-created_at", limit=_limit(asked.query.get("limit")), cursor=asked.query.get("cursor")
    )
    shown = _as_list([_conversation(session) for session in page.items], more=page.next_cursor is not None)
    return shown | {"next_cursor": page.next_cursor}


async def _search(asked: _Asked) -> dict[str, Any]:
    query = asked.query.get("query", "")
    hits = await asked.store.search(query, limit=_limit(asked.query.get("limit")))
    return {"object": "list", "data": [browsing.show_hit(hit) for hit in hits], "has_more": False}


async def _found(asked: _Asked, id_: str) -> tuple[MessageRecord, int]:
    """Return the message of an item, and the item's number in it. Raises `MessageNotFound`."""
    try:
        record, number = await asked.store.get_message(asked.conversation_id, id_), 0
    except (MessageNotFound, Invalid):
        message_id, number = split_id(id_)
        if not number:
            raise
        record = await asked.store.get_message(asked.conversation_id, message_id)
    if number >= len(show_items(record)):
        raise MessageNotFound(asked.conversation_id, id_)
    return record, number


# ------------------------------------------------------------------------------------------------ what is said


def _conversation(session: ChatSession) -> dict[str, Any]:
    """Return *session* as the API has it: with strings as metadata, what is kept for other frameworks left out."""
    titled = {} if session.title is None else {"title": session.title}
    return {
        "id": session.session_id,
        "object": "conversation",
        "created_at": int(session.created_at.timestamp()),
        "metadata": _own(session.metadata),
        **titled,
    }


def _as_list(data: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    ids = [one["id"] for one in data] or [""]
    return {"object": "list", "data": data, "first_id": ids[0], "last_id": ids[-1], "has_more": more}


def _limit(given: str | None) -> int:
    limit = int(given) if given and given.isdecimal() and len(given) < 9 else (20 if given is None else 0)  # noqa: PLR2004
    if not 1 <= limit <= 100:  # noqa: PLR2004 - as OpenAI has it
        raise _Refused(HTTPStatus.BAD_REQUEST, "limit is a number from 1 to 100.", param="limit")
    return limit


def _metadata(given: Any) -> dict[str, str]:
    """Return checked metadata: an object of strings, in OpenAI's limits."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise _Refused(HTTPStatus.BAD_REQUEST, "metadata is an object of strings.", param="metadata")
    if len(given) > _PAIRS or any(len(key) > _KEY or len(value) > _VALUE for key, value in given.items()):
        said = f"metadata has at most {_PAIRS} pairs, with keys of {_KEY} characters and values of {_VALUE}."
        raise _Refused(HTTPStatus.BAD_REQUEST, said, param="metadata")
    _leave_alone(given.keys() & PARTS)
    return given


def _own(metadata: dict[str, Any]) -> dict[str, str]:
    """Return what clients of this API see of a session's metadata: what other frameworks keep there is left out."""
    return {key: value for key, value in metadata.items() if isinstance(value, str) and key not in PARTS}


def _leave_alone(taken: Iterable[str]) -> None:
    for key in sorted(taken):
        said = f"metadata has {key!r}, which is kept here for another framework: take another key."
        raise _Refused(HTTPStatus.BAD_REQUEST, said, param="metadata")


class _Refused(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: HTTPStatus, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.response = _error(status, message, param=param, code=code)


def _failed(error: ChatstoreError) -> JSONResponse:
    """Answer a request that met an error of chatstore's; what an operator should hear of is logged."""
    found = problem(error)
    if found.is_ours:
        _log.error("a request for conversations failed: %s", error, exc_info=error)
    said = next((said for kind, said in _MISSING.items() if isinstance(error, kind)), found.detail)
    response = _error(HTTPStatus(found.status), said)
    if found.retry_after is not None:
        response.headers["Retry-After"] = str(found.retry_after)
    return response


def _error(
    status: HTTPStatus, message: str, *, param: str | None = None, code: str | None = None
) -> JSONResponse:
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    if status == HTTPStatus.NOT_FOUND:
        code = code or "not_found"
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)
