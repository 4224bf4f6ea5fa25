"""The documents of LangChain's own Redis package: one RedisJSON document for each message.

This module knows the layout: a document at ``<prefix><session id>:<ULID>`` with ``type``, ``data``, ``message_id``,
``session_id`` and ``timestamp``, seconds since 1970. That package kept no ids, names, tool calls or usage, so they are
not there to be read. The server needs its JSON module. Only SCAN and JSON.GET are sent; the names of all keys are held
in memory, since they come in no order.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from chatstore import codec
from chatstore.errors import InvalidMessage, NotSupported
from chatstore.incoming.session import Element, Incoming, parse_element
from chatstore.sources.reading import PAGE, require
from chatstore.sources.redis_client import (
    import_client,
    mask,
    open_client,
    scan_keys,
    translate_errors,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

__all__ = ["OPTIONS", "mask", "read"]

OPTIONS: Final = {"key_prefix": "chat:"}
_TYPE: Final = "ReJSON-RL"


def read(source: str, session: str | None, options: Mapping[str, str]) -> Generator[Incoming, None, None]:
    """Yield the sessions below the prefix, in the order of their ids; *session* alone where it is named."""
    prefix = options["key_prefix"]
    with open_client(source) as client:
        _require_json_module(client, source)
        sessions = defaultdict[bytes, list[bytes]](list)
        for key in scan_keys(client, source, prefix if session is None else f"{prefix}{session}:", _TYPE):
            sessions[key.rpartition(b":")[0]].append(key)
        if session is not None:
            wanted = (prefix + session).encode()
            sessions = defaultdict(list, {key: found for key, found in sessions.items() if key == wanted})
        found = (
            _read_session(client, source, begin, sessions.pop(begin), prefix) for begin in sorted(sessions)
        )
        advice = f"look for keys that begin with {prefix!r}, or name another --key-prefix"
        yield from require(found, session, mask(source), advice)


def _require_json_module(client: Any, source: str) -> None:
    try:
        with translate_errors(source):
            client.execute_command("JSON.GET", "chatstore:no such key")
    except Exception as error:
        if isinstance(error.__cause__, import_client().exceptions.ResponseError) and "unknown command" in str(
            error.__cause__
        ):
            msg = (
                f"{mask(source)} has no JSON module, so nothing of these documents can be read there: name the "
                "server that has it (Redis 8, or Redis Stack), or restore a backup to such a one and read from it"
            )
            raise NotSupported(msg) from error.__cause__
        raise


def _read_session(client: Any, source: str, begin: bytes, documents: list[bytes], prefix: str) -> Incoming:
    try:
        name = begin.decode()
    except UnicodeDecodeError:
        place = begin.decode(errors="backslashreplace")
        return Incoming("", prefix, place, fault="its key is not UTF-8: rename it")
    return Incoming(name.removeprefix(prefix), prefix, name, _read_elements(client, source, documents))


def _read_elements(client: Any, source: str, documents: list[bytes]) -> Iterator[Element]:
    """Read the times of all documents, then the documents in the order of their times."""
    times = list[float]()
    for part in _split(documents):
        times += map(_parse_seconds, _get(client, source, part, "$.timestamp"))
    ordered = [key for _, key in sorted(zip(times, documents, strict=True))]
    ordinal = 0
    for part in _split(ordered):
        for key, raw in zip(part, _get(client, source, part, "."), strict=True):
            if raw is None:  # it expired meanwhile
                continue
            ordinal += 1
            yield _read_element(ordinal, key.decode(errors="backslashreplace"), raw)


def _read_element(ordinal: int, place: str, raw: Any) -> Element:
    if not isinstance(raw, bytes):
        return Element(ordinal, place, fault="it cannot be read as JSON: look at it with JSON.GET")
    try:
        document = codec.loads(raw)
    except InvalidMessage as error:
        return Element(ordinal, place, fault=str(error))
    if not isinstance(document, dict):
        return Element(ordinal, place, fault="it is not an object with type and data, so it is not a message")
    wire = {"type": document.get("type"), "data": document.get("data")}
    ulid = document.get("message_id")
    message_id = ulid if codec.id_fault(ulid) is None else None
    moment = _parse_time(document.get("timestamp"))
    known = {"key": place, "message_id": message_id, "created_at": moment, "size": len(raw)}
    return parse_element(ordinal, place, wire, **known)


def _get(client: Any, source: str, documents: Sequence[bytes], path: str) -> list[Any]:
    """Return the value at *path* of each document: bytes, None where it is gone, an error where it is not JSON."""
    with translate_errors(source):
        pipeline = (
            client.pipeline(transaction=False) if hasattr(client, "connection_pool") else client.pipeline()
        )
        for key in documents:
            pipeline.execute_command("JSON.GET", key, path)
        found: list[Any] = pipeline.execute(raise_on_error=False)
    return found


def _split(documents: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(documents), PAGE):
        yield documents[start : start + PAGE]


def _parse_seconds(raw: Any) -> float:
    """Return the first number of a JSON list; 0 for anything else, so that it comes first."""
    try:
        found = json.loads(raw)
    except (TypeError, ValueError):
        return 0.0
    first = found[0] if isinstance(found, list) and found else found
    return float(first) if isinstance(first, int | float) else 0.0


def _parse_time(seconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
