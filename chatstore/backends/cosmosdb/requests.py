"""Which requests a step takes: generators that yield one request after the other, and get its answer sent back.

This module knows batches, pages of documents, and what happens between two requests; it refuses to know clients.
`repository` carries the requests out, blocking or awaiting.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from chatstore.arguments import utcnow
from chatstore.backends.common.documents.steps import (
    Commit,
    Count,
    Known,
    Listed,
    Listing,
    Look,
    Lost,
    Read,
    Stage,
    Sweep,
)
from chatstore.backends.cosmosdb import items
from chatstore.driving import Failed, Pause
from chatstore.errors import StorageError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chatstore.backends.common.documents.header import Header
    from chatstore.codec import Row

Steps: TypeAlias = Look | Read | Count | Known | Commit | Stage | Sweep | Listing | Pause
Plan: TypeAlias = Generator[Any, Any, Any]
Operation: TypeAlias = tuple[Any, ...]
#: Document ids of one query.
NAMES = 100
#: Attempts to sweep a batch of which somebody else sweeps a part.
SWEEPS = 10


class Inspect(NamedTuple):
    """Return the properties of the container."""


class Get(NamedTuple):
    """Return a document by its id, None where there is none."""

    session_id: str
    name: str


class Batch(NamedTuple):
    """Carry out *operations* of the SDK on one partition, all or none; return their answers."""

    session_id: str
    operations: Sequence[Operation]


def planned(step: Steps) -> Plan:
    """Return the requests of *step*, as a generator that returns what the step promises."""
    plan: Plan = _PLANS[type(step)](step)
    return plan


def _look(step: Look) -> Plan:
    item = yield Get(step.session_id, items.HEADER)
    return None if item is None else items.header_from(item)


def _read(step: Read) -> Plan:
    query = items.part_query(
        step.session_id, step.generation, step.after, step.last, newest=step.newest, limit=step.limit
    )
    return [items.row_from(item)[1] for item in (yield query)]


def _count(step: Count) -> Plan:
    return sum((yield items.count_query(step.session_id, step.generation, step.after, step.last)))


def _known(step: Known) -> Plan:
    names = [items.message_name(one, name) for one in step.generations for name in step.message_ids]
    found = []
    for part in _parts(names, NAMES):
        found += [items.row_from(item) for item in (yield items.known_query(step.session_id, part))]
    return found


def _commit(step: Commit) -> Plan:
    now, session_id, before, after = utcnow(), step.session_id, step.before, step.after
    condition = {"if_match_etag": before.etag} if before else {}
    if after is None:
        operations: list[Operation] = [("delete", (items.HEADER,), condition)]
    else:
        header = items.header_item(session_id, after, now)
        operations = [("replace", (items.HEADER, header), condition) if before else ("create", (header,))]
        made = (_message(session_id, after.open.generation, row, after, now) for row in step.added)
        operations += [("create", (item,)) for item in made]
        edited = (_message(session_id, generation, row, after, now) for generation, row in step.put)
        operations += [("replace", (item["id"], item)) for item in edited]
    operations += [
        ("delete", (items.message_name(generation, row.draft.message_id),))
        for generation, row in step.removed
    ]
    answers = yield Batch(session_id, operations)
    return None if after is None else replace(after, etag=_etag(answers[0]))


def _message(session_id: str, generation: str, row: Row, after: Header, now: datetime) -> dict[str, Any]:
    return items.message_item(session_id, generation, row, after.sweep_at, now)


def _etag(answer: dict[str, Any]) -> str:
    etag = (answer.get("resourceBody") or {}).get("_etag") or answer.get("eTag")
    if not etag:
        raise StorageError(
            "Cosmos DB answered a write without an etag: its answer is not one chatstore knows"
        )
    return str(etag)


def _stage(step: Stage) -> Plan:
    now = utcnow()
    made = (
        items.message_item(step.session_id, step.generation, row, step.sweep_at, now) for row in step.rows
    )
    for batch in _batches([("upsert", (item,)) for item in made]):
        yield Batch(step.session_id, batch)


def _sweep(step: Sweep) -> Plan:
    """Delete a hundred at a time; what somebody else has deleted meanwhile undoes a batch, and is looked for anew."""
    query = items.names_query(step.session_id, step.generation, step.above, items.MAX_OPERATIONS)
    tries = 0
    while found := (yield query):
        try:
            yield Batch(step.session_id, [("delete", (item["id"],)) for item in found])
        except Lost:
            tries += 1
            if tries == SWEEPS:
                busy = StorageUnavailable("others delete the same messages: repeat the call later")
                raise Failed("busy", busy, None) from None
            yield Pause(0.02 * tries)
        else:
            tries = 0


def _listing(step: Listing) -> Plan:
    found = yield items.listing_query(step.tenant_id, step.user_id, step.until, step.token)
    headers = [(item["session_id"], items.header_from(item)) for item in found]
    last = found[-1]["listed"] if len(found) == items.PAGE else None
    reached = headers[-1][1].session.updated_at if headers and headers[-1][1].session else None
    return Listed(headers, last, reached or datetime.min.replace(tzinfo=UTC))


def _pause(step: Pause) -> Plan:
    yield step


_PLANS: dict[type, Any] = {
    Look: _look,
    Read: _read,
    Count: _count,
    Known: _known,
    Commit: _commit,
    Stage: _stage,
    Sweep: _sweep,
    Listing: _listing,
    Pause: _pause,
}


def _parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(names), size):
        yield names[first : first + size]


def _batches(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """Cut *operations* into batches that the service takes."""
    part: list[Operation] = []
    size = 0
    for operation in operations:
        bytes_ = items.size_of(operation[1][-1])
        if part and (len(part) == items.MAX_OPERATIONS or size + bytes_ > items.LIMITS.size):
            yield part
            part, size = [], 0
        part.append(operation)
        size += bytes_
    if part:
        yield part
