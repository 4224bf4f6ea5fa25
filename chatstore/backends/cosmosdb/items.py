"""Documents of the container: what headers and messages look like there, how large they are, and the queries for them.

This module knows the service's rules for documents: forbidden characters in ids, numbers that are doubles, time to
live counted from the last write, 2 MB. It refuses to do any I/O.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.arguments import microseconds
from chatstore.backends.common.documents.header import LATER, Header, to_epoch
from chatstore.backends.common.documents.serial import (
    WHOLE,
    parse_header,
    parse_row,
    serialize_header,
    serialize_row,
)
from chatstore.backends.common.documents.steps import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chatstore.codec import Row

PARTITION_KEY: Final = "/session_id"
#: The id of the document with the session's own data, once in each partition.
HEADER: Final = "session"
#: Operations of one transactional batch, and bytes of its request (Azure Cosmos DB service quotas).
MAX_OPERATIONS: Final = 100
MAX_BYTES: Final = 2 * 1024 * 1024
#: What is kept free of these bytes for the header, which is in every batch, and for the batch's own brackets.
MAX_HEADER: Final = 256 * 1024
LIMITS: Final = Limits(
    messages=MAX_OPERATIONS - 1,
    size=MAX_BYTES - MAX_HEADER - 1024,
    message=MAX_BYTES - MAX_HEADER - 1024,
    header=MAX_HEADER,
)
#: Documents of one page of a list of sessions.
PAGE: Final = 200
#: The service takes these seconds at most as a time to live.
MAX_TTL: Final = 2**31 - 1
#: Stand for any generation and any time when sizes are looked at.
LONGEST: Final = "0" * 36
FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: REST's documentation allows ids of 255 characters; what gets longer ends in a digest.
MAX_NAME: Final = 200

#: Only what queries filter and sort by is indexed: an index entry costs request units with every write.
INDEXING: Final[dict[str, Any]] = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [
        {"path": f"/{name}/?"}
        for name in ("session_id", "generation", "position", "listed", "user_id", "tenant_id")
    ],
    "excludedPaths": [{"path": "/*"}],
}


class Query(NamedTuple):
    """One query: of a session's partition, or of all of them (None), for at most *limit* documents (None: all)."""

    session_id: str | None
    text: str
    parameters: Mapping[str, Any]
    limit: int | None = None


_PLAIN = re.compile(r"[A-Za-z0-9._-]")


def message_name(generation: str, message_id: str) -> str:
    r"""Return the document id of a message; different messages have different ones.

    A document id cannot hold / \ # ?, and other tools have trouble with more: what is not plain is written in hex.
    """
    name = "".join(
        one if _PLAIN.match(one) else "".join(f"~{byte:02x}" for byte in one.encode()) for one in message_id
    )
    if len(name) > MAX_NAME:  # "~~" never comes out of the line above
        name = f"~~{hashlib.sha256(message_id.encode()).hexdigest()}"
    return f"m.{generation}.{name}"


def placed(position: int) -> str:
    """Return *position* as text that sorts as the number does: the service's own numbers are exact to 2**53 only."""
    return f"{position:019d}"


def listed(moment: datetime | None, session_id: str) -> str:
    """Return what lists of sessions are sorted by: time, then id, as ASCII text that sorts by code points."""
    micros = 0 if moment is None else max(0, microseconds(moment))
    return f"{micros:018d}" + "".join(one if one < "\x7f" else f"\x7f{ord(one):06x}" for one in session_id)


def header_item(session_id: str, header: Header, now: datetime) -> dict[str, Any]:
    """Return the document of *header*."""
    session = header.session
    values = _exact(serialize_header(header))
    return {
        **values,
        "id": HEADER,
        "session_id": session_id,
        "kind": "session" if session else "remains",
        "listed": listed(session.updated_at if session else None, session_id),
        **_lives(header.expiry, now),
    }


def header_from(item: Mapping[str, Any]) -> Header:
    """Return the header of a document."""
    known = item if item["kind"] == "session" else {**item, "session_id": None}
    return parse_header(known, item["_etag"])


def message_item(
    session_id: str, generation: str, row: Row, sweep_at: datetime | None, now: datetime
) -> dict[str, Any]:
    """Return the document of *row*."""
    return {
        **serialize_row(row),
        "id": message_name(generation, row.draft.message_id),
        "session_id": session_id,
        "kind": "message",
        "generation": generation,
        "position": placed(row.position),
        **_lives(sweep_at, now),
    }


def row_from(item: Mapping[str, Any]) -> tuple[str, Row]:
    """Return the generation and the row of a message's document."""
    return item["generation"], parse_row(item)


def size_of(item: Mapping[str, Any]) -> int:
    """Return the bytes that writing *item* takes in a batch, as the SDK sends them: in ASCII, the rest escaped."""
    return len(json.dumps(item, separators=(",", ":"))) + len('{"operationType":"Create","resourceBody":},')


def _exact(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if name in WHOLE and value is not None else value for name, value in values.items()
    }


def _lives(sweep_at: datetime | None, now: datetime) -> dict[str, int]:
    """Return the time to live of what may go at *sweep_at*, in seconds from now; at least what clocks may differ."""
    until = to_epoch(sweep_at)
    if until is None:
        return {}
    return {"ttl": min(max(LATER, until - (to_epoch(now) or 0)), MAX_TTL)}


# ------------------------------------------------------------------------------------------------ queries

_IN_PART = "c.generation = @generation AND c.position > @after AND c.position <= @last"


def part_query(
    session_id: str, generation: str, after: int, last: int, *, newest: bool = False, limit: int | None = None
) -> Query:
    """Return the query for the messages of a part, in order."""
    text = f"SELECT * FROM c WHERE {_IN_PART} ORDER BY c.position {'DESC' if newest else 'ASC'}"  # noqa: S608 - constants
    return Query(session_id, text, _part(generation, after, last), limit)


def count_query(session_id: str, generation: str, after: int, last: int) -> Query:
    """Return the query that counts them; the service may answer in several numbers, to be added."""
    text = f"SELECT VALUE COUNT(1) FROM c WHERE {_IN_PART}"  # noqa: S608 - constants
    return Query(session_id, text, _part(generation, after, last))


def names_query(session_id: str, generation: str, above: int, limit: int) -> Query:
    """Return the query for the document ids of a part."""
    text = f"SELECT c.id FROM c WHERE {_IN_PART}"  # noqa: S608 - constants
    return Query(session_id, text, _part(generation, above, 10**19 - 1), limit)


def known_query(session_id: str, names: Iterable[str]) -> Query:
    """Return the query for documents by their ids."""
    parameters = {f"@id{number}": name for number, name in enumerate(names)}
    text = f"SELECT * FROM c WHERE c.id IN ({', '.join(parameters)})"  # noqa: S608 - names made here
    return Query(session_id, text, parameters)


def listing_query(
    tenant_id: str | None, user_id: str | None, until: datetime | None, below: str | None
) -> Query:
    """Return the query for one page of an owner's headers, newest first, behind the place *below*."""
    parameters: dict[str, Any] = {"@below": below if below is not None else _until(until)}
    conditions = ["c.listed < @below"]
    for name, value in (("tenant_id", tenant_id), ("user_id", user_id)):
        if value is not None:
            conditions.append(f"c.{name} = @{name}")
            parameters[f"@{name}"] = value
    text = f"SELECT * FROM c WHERE {' AND '.join(conditions)} ORDER BY c.listed DESC"  # noqa: S608 - names made here
    return Query(None, text, parameters, PAGE)


def _until(until: datetime | None) -> str:
    """Return a place above everything that was touched until then."""
    return "~" if until is None else f"{max(0, microseconds(until)) + 1:018d}"


def _part(generation: str, after: int, last: int) -> dict[str, Any]:
    return {"@generation": generation, "@after": placed(after), "@last": placed(last)}
