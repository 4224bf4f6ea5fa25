"""chatstore in a Django project: ``"chatstore.contrib.django"`` in ``INSTALLED_APPS``, then ``manage.py migrate``.

    from chatstore.contrib.django import repository

    chats = repository.for_user(request.user)

`repository` and `async_repository` work in the database that ``DATABASE_ROUTERS`` name for chatstore's models, which is
``"default"`` without any, on Django's own connection: inside ``transaction.atomic()`` messages and rows are committed
or rolled back together, and tests have the test database. Nothing is connected to before the first call.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatstore.contrib.django.middleware import ProblemMiddleware
    from chatstore.contrib.django.repositories import AsyncDjangoRepository, DjangoRepository, NotLoggedIn
    from chatstore.contrib.django.streaming import afollow, follow, stream

    async_repository: AsyncDjangoRepository
    repository: DjangoRepository

if find_spec("django") is None:
    from chatstore.extras import not_installed

    raise not_installed("Django", "django")

__all__ = [
    "AsyncDjangoRepository",
    "DjangoRepository",
    "NotLoggedIn",
    "ProblemMiddleware",
    "afollow",
    "async_repository",
    "connect",
    "connect_async",
    "follow",
    "repository",
    "stream",
]

#: Public names, and the modules that have them: those of models can be imported when Django has loaded its settings.
_PLACES = {
    "AsyncDjangoRepository": "repositories",
    "DjangoRepository": "repositories",
    "NotLoggedIn": "repositories",
    "afollow": "streaming",
    "follow": "streaming",
    "stream": "streaming",
    "ProblemMiddleware": "middleware",
}


def connect(alias: str | None = None) -> DjangoRepository:
    """Return the repository in ``DATABASES[alias]``; None asks ``DATABASE_ROUTERS`` at every call."""
    from chatstore.contrib.django.repositories import DjangoRepository

    return DjangoRepository(alias)


def connect_async(alias: str | None = None) -> AsyncDjangoRepository:
    """Return the asynchronous repository in ``DATABASES[alias]``; as `connect`."""
    from chatstore.contrib.django.repositories import AsyncDjangoRepository

    return AsyncDjangoRepository(alias)


def __getattr__(name: str) -> Any:
    if name in {"repository", "async_repository"}:
        value: Any = connect() if name == "repository" else connect_async()
    elif name in _PLACES:
        value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    else:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value
