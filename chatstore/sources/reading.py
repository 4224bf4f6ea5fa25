"""What readers of storages share: asking in pages, errors while waiting, a session that is not there.

This module knows iterators; it refuses to know clients and layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from chatstore.errors import StorageError
from chatstore.incoming.session import parse_element

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from chatstore.incoming.session import Element, Incoming

T = TypeVar("T")

#: Elements asked for at a time. Messages with pictures in them have megabytes.
PAGE: Final = 100


def hide_password(url: str, otherwise: str) -> str:
    """Return *url* without user, password and parameters; *otherwise* for what is not a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return otherwise
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fetch(
    values: Iterator[T], source: str, translate: Callable[[str], AbstractContextManager[None]]
) -> Iterator[T]:
    """Yield *values*; what goes wrong while one is fetched is translated by *translate*, other errors are not."""
    nothing: Any = object()
    while True:
        with translate(source):
            value = next(values, nothing)
        if value is nothing:
            return
        yield value


def require(sessions: Iterable[Incoming], session: str | None, place: str, advice: str) -> Iterator[Incoming]:
    """Yield *sessions*. Raises `StorageError` if *session* was asked for and nothing comes."""
    found = False
    for one in sessions:
        found = True
        yield one
    if session is not None and not found:
        msg = f"{place} holds nothing for session {session!r}: {advice}"
        raise StorageError(msg)


def number_elements(raws: Iterable[Any], place: str) -> Iterator[Element]:
    """Yield the elements of a list of messages, *raws*, oldest first."""
    for ordinal, raw in enumerate(raws, 1):
        yield parse_element(ordinal, f"{place} {ordinal}", raw)
