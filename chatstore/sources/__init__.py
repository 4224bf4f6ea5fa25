"""Moving in: conversations as other programs left them in a database, read where they are.

This module knows which sources there are and which options each takes. A source's module knows one foreign layout and
imports its client when it is called; `chatstore.incoming` knows how what it finds gets into a repository. None
of them knows a backend of chatstore's, and none ever writes to a source.

A source is a module with ``OPTIONS`` (the options it takes, with their defaults) and two functions: ``mask(source)``
names a source without its password, and ``read(source, session, options)`` yields an `Incoming` for each
session, in bounded memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from chatstore.errors import Invalid
from chatstore.incoming.registry import find_module

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from chatstore.incoming.session import Incoming

#: The name of each source, and the module that knows it.
KINDS: Final = {
    "redis-list": "chatstore.sources.redis_list",
    "redis-json": "chatstore.sources.redis_json",
    "dynamodb-item": "chatstore.sources.dynamodb_item",
    "cosmos-document": "chatstore.sources.cosmos_document",
    "message-store": "chatstore.sources.message_store",
    "json-file": "chatstore.formats.json_file",
}


class Source(Protocol):
    """What a source's module offers."""

    OPTIONS: Mapping[str, str]

    def mask(self, source: str) -> str:
        """Return the name of *source*, without password and key."""

    def read(
        self, source: str, session: str | None, options: Mapping[str, str]
    ) -> Generator[Incoming, None, None]:
        """Yield the sessions of *source*, or only *session*."""


def find(kind: str) -> Source:
    """Return the source called *kind*. Raises `Invalid` with the names there are."""
    return cast("Source", find_module("source", KINDS, kind))


def read(
    kind: str, source: str, *, session: str | None = None, options: Mapping[str, str] | None = None
) -> Generator[Incoming, None, None]:
    """Yield the sessions of *source*, a place of this *kind*, each to be used up before the next.

    *session* is the only one to read; a file's one session is called so. Raises `Invalid` for an option that the
    source does not take, and while reading `StorageUnavailable`, `StorageError` or `MissingDependency`.
    """
    found = find(kind)
    given = dict(options or {})
    if unknown := sorted(given.keys() - found.OPTIONS.keys()):
        takes = ", ".join(found.OPTIONS) or "no options"
        msg = f"{kind} does not take {unknown[0]}, it takes {takes}: leave it out"
        raise Invalid(msg)
    return found.read(source, session, {**found.OPTIONS, **given})
