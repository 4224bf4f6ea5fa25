"""`ProblemMiddleware`: errors of chatstore's as HTTP says them, for views that do not catch them.

This module knows Django's requests; which status an error has is `chatstore.contrib.problems`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestDataTooBig
from django.http import JsonResponse
from django.utils.deprecation import MiddlewareMixin

from chatstore.contrib.django.repositories import NotLoggedIn
from chatstore.contrib.problems import Problem, not_logged_in, problem
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_log = logging.getLogger("chatstore")


class ProblemMiddleware(MiddlewareMixin):
    """Answer a view that raised an error of chatstore's with problem details (RFC 9457).

    404 for a chat that is not there, or not the user's; 409 for a conflict, 400 for bad arguments, 401 where nobody is
    logged in, 413 for what is too large, 503 where the database is down or not migrated. Works in both kinds of
    applications, WSGI and ASGI. What ``ATOMIC_REQUESTS`` began is rolled back by then.
    """

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the answer, or None for an error of somebody else's."""
        del request
        found = _problem(error)
        return None if found is None else response(found)


def _problem(error: Exception) -> Problem | None:
    if isinstance(error, ChatstoreError):
        return reported(error)
    if isinstance(error, NotLoggedIn):
        return not_logged_in()
    if isinstance(error, RequestDataTooBig):
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        said = "The request is larger than this application takes: send less."
        return Problem(status, "about:blank", status.phrase, said)
    return None


def reported(error: ChatstoreError) -> Problem:
    """Return what a client hears of *error*; what the operator must know goes into the log."""
    found = problem(error)
    if found.is_ours:
        _log.error("%s: %s", type(error).__name__, error)
    return found


def response(found: Problem) -> HttpResponse:
    """Return the response that says *found*."""
    answer: Any = JsonResponse(found.body, status=found.status)
    for name, value in found.headers.items():
        answer[name] = value
    return answer
