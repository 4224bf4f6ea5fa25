"""What the newest messages of a long session ask of DynamoDB and of Cosmos DB: requests, and bytes that come back.

No clock here: the servers of the tests, an emulator and a fake, look through a whole session for any part of it, which
the services do not. What is asked of them, and what it brings, is the same on both.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from chatstore.backends.dynamodb import client
from tests import cosmos, servers
from tests.benchmarks import stores, turns
from tests.benchmarks.harness import figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Size

SHORT, LAST = 100, 20
NAMES = {"dynamodb": "DynamoDB", "cosmosdb": "Cosmos DB"}


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind, name in NAMES.items():
        with _place(kind) as url, stores.connected(url) as repository:
            for session_id, length in (("long", size.long), ("short", SHORT)):
                stores.fill(repository, session_id, length - LAST)
                repository.add_messages(session_id, turns.many(LAST).messages)
            long, short = (_received(repository, session_id) for session_id in ("long", "short"))
        work = f"last {LAST} of {size.long:,}, {name}"
        yield _ratio(f"{work}: requests", len(long), len(short), 1.0)
        yield _ratio(f"{work}: bytes received", sum(long), sum(short), 1.2)


@contextlib.contextmanager
def _place(kind: str) -> Iterator[str]:
    if kind == "dynamodb":
        with pytest.MonkeyPatch.context() as patch, servers.fresh_table() as url:
            patch.setattr(client, "READ_SECONDS", 120)  # the emulator's, for a session of 100,000
            yield url
    else:
        with cosmos.account() as account, account.container() as url:
            yield url


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
