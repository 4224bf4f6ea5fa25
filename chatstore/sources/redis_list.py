"""The Redis lists of LangChain's community package: one list for each session, pushed at its head.

This module knows the layout: a LIST at ``<prefix><session id>``, an element ``{"type", "data"}`` as JSON, newest first,
and a time to live on the key. Only SCAN, LRANGE and PTTL are sent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from chatstore.arguments import utcnow
from chatstore.incoming.session import Incoming, parse_element
from chatstore.sources.reading import PAGE, require
from chatstore.sources.redis_client import mask, open_client, scan_keys, translate_errors

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from datetime import datetime

    from chatstore.incoming.session import Element

__all__ = ["OPTIONS", "mask", "read"]

OPTIONS: Final = {"key_prefix": "message_store:"}
_GONE, _FOREVER = -2, -1


def read(source: str, session: str | None, options: Mapping[str, str]) -> Generator[Incoming, None, None]:
    """Yield the sessions below the prefix, in no order; *session* alone where it is named.

    Pushes that come meanwhile do no harm: elements are counted from the oldest.
    """
    prefix = options["key_prefix"]
    with open_client(source) as client:
        if session is not None:
            found = _read_session(client, source, (prefix + session).encode(), prefix)
            advice = f"look for keys that begin with {prefix!r}, or name another --key-prefix"
            yield from require([] if found.skipped else [found], session, mask(source), advice)
            return
        for key in scan_keys(client, source, prefix, "list"):
            yield _read_session(client, source, key, prefix)


def _read_session(client: Any, source: str, key: bytes, prefix: str) -> Incoming:
    try:
        name = key.decode()
    except UnicodeDecodeError:
        place = key.decode(errors="backslashreplace")
        return Incoming("", prefix, place, fault="its key is not UTF-8: rename it, or import it as --session")
    with translate_errors(source):
        if client.type(key) not in (b"list", b"none"):
            return Incoming(
                "", prefix, name, fault="it is not a list: name another --key-prefix or --session"
            )
        left = client.pttl(key)
    if left == _GONE:
        return Incoming("", prefix, name, skipped="it expired since it was listed")
    expires_at: datetime | None = None if left == _FOREVER else utcnow() + timedelta(milliseconds=left)
    elements = _read_elements(client, source, key, name)
    return Incoming(name.removeprefix(prefix), prefix, name, elements, expires_at=expires_at)


def _read_elements(client: Any, source: str, key: bytes, name: str) -> Iterator[Element]:
    """Read from the tail, where the oldest is; a push at the head moves nothing there."""
    done = 0
    while True:
        with translate_errors(source):
            part = client.lrange(key, -(done + PAGE), -(done + 1))
        for ordinal, raw in enumerate(reversed(part), done + 1):
            yield parse_element(ordinal, f"{name} element {ordinal}", raw)
        done += len(part)
        if len(part) < PAGE:
            return
