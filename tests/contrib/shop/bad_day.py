"""Ask the views for something on a bad day, as a user who logged in before; print what each answers."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import django
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402

from chatstore.contrib.django import ProblemMiddleware  # noqa: E402
from shop import urls  # noqa: E402


def asked(view: Any, user: Any, *path: str) -> list[Any]:
    """Return the status and the sentence of an answer."""
    request = RequestFactory().post("/", "hello", content_type="text/plain")
    request.user = user

    async def auser() -> Any:
        return user

    request.auser = auser

    def get_response(request: Any) -> Any:
        answer = view(request, *path)
        return asyncio.run(answer) if inspect.iscoroutine(answer) else answer

    middleware = ProblemMiddleware(get_response)
    try:
        answer = middleware(request)
    except Exception as error:  # noqa: BLE001 - as Django's handler does
        answer = middleware.process_exception(request, error)
        if answer is None:
            return [type(error).__name__, str(error)]
    body = b"".join(answer) if answer.streaming else answer.content
    if body.startswith(b"{"):
        return [answer.status_code, json.loads(body).get("detail", "")]
    return [answer.status_code, body.decode()]


def main() -> None:
    """Print the answers."""
    user = get_user_model()(pk=1, username="ada")
    unknown = SimpleLazyObject(lambda: get_user_model().objects.get(pk=1))
    answers = {
        "read": asked(urls.read, user, "trip"),
        "list": asked(urls.listed, user),
        "ask": asked(urls.ask, user, "trip"),
        "awaited": asked(urls.asay, user, "trip"),
        "stream awaited": asked(urls.aask, user, "trip"),
        "lazy": asked(urls.listed, unknown),
    }
    print(json.dumps(answers))


main()
