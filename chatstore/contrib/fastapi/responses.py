"""Responses: problem details for what went wrong, and streams of events.

Knows Starlette's responses and how an error becomes one; refuses to know routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import HTTPException
from starlette.responses import JSONResponse, StreamingResponse

from chatstore.contrib import events
from chatstore.contrib.fastapi.streaming import reported
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from chatstore.contrib.problems import Problem


class Refused(HTTPException):
    """A request that is answered with a problem: FastAPI lets this through wherever it is raised."""

    def __init__(self, problem: Problem) -> None:
        """Keep *problem*."""
        super().__init__(problem.status, problem.detail)
        self.problem = problem


async def answer_error(_request: Request, error: Exception) -> Response:
    """Answer a request that met an error of chatstore's."""
    if not isinstance(error, ChatstoreError):
        raise error
    return _response(reported(error))


async def answer_refused(_request: Request, error: Exception) -> Response:
    """Answer a request that was refused."""
    if not isinstance(error, Refused):
        raise error
    return _response(error.problem)


def _response(found: Problem) -> Response:
    return JSONResponse(found.body, found.status, dict(found.headers))


def event_stream(body: AsyncIterator[str]) -> StreamingResponse:
    """Return a response of server-sent events."""
    return StreamingResponse(body, media_type=events.MEDIA_TYPE, headers=dict(events.HEADERS))
