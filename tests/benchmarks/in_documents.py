"""What the newest messages of a long session ask of DynamoDB and of Cosmos DB: requests, and bytes that come back.

No clock here: the servers of the tests, an emulator and a fake, look through a whole session for any part of it, which
the services do not. What is asked of them, and what it brings, is the same on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from chatstore.backends.dynamodb import client
from tests.benchmarks import stores, turns
from tests.benchmarks.harness import figure
from tests.reliability.places import place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Size

SHORT, LAST = 100, 20
NAMES = {"dynamodb": "DynamoDB", "cosmosdb": "Cosmos DB"}


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind, name in NAMES.items():
        with pytest.MonkeyPatch.context() as patch, place(kind) as url, stores.connected(url) as repository:
            patch.setattr(client, "READ_SECONDS", 120)  # DynamoDB's emulator needs it for 100,000 messages
            for session_id, length in (("long", size.long), ("short", SHORT)):
                stores.fill(repository, session_id, length - LAST)
                repository.add_messages(session_id, turns.many(LAST).messages)
            long, short = (_received(repository, session_id) for session_id in ("long", "short"))
        work = f"last {LAST} of {size.long:,}, {name}"
        yield _ratio(f"{work}: requests", len(long), len(short), 1.0)
        yield _ratio(f"{work}: bytes received", sum(long), sum(short), 1.2)


def _received(repository: Repository, session_id: str) -> list[int]:
    """Read the newest messages, and return the size of each answer that this took."""
    sizes: list[int] = []
    send = HTTPConnectionPool.urlopen

    def noted(*args: Any, **options: Any) -> Any:
        answer = send(*args, **options)
        sizes.append(int(answer.headers["Content-Length"]))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "urlopen", noted)
        messages = repository.get_messages(session_id, last=LAST)
    if messages != turns.many(LAST).messages or not sizes:
        msg = f"{session_id}: other messages came back, or no request was seen"
        raise AssertionError(msg)
    return sizes


def _ratio(work: str, long: int, short: int, limit: float) -> Figure:
    return figure(work, f"last {LAST} of {SHORT}", [long / short] * 2, "x", limit)
