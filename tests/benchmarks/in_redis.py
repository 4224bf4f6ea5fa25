"""What an append and the newest messages cost in Redis: against one raw Lua call, and in long sessions."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from tests import servers
from tests.benchmarks import raw_redis, stores, turns
from tests.benchmarks.appending import WARM, appends
from tests.benchmarks.harness import compared, each, race

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Size

SHORT, LAST = 100, 20


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    with opened() as (client, repository, prefix):
        yield _append(size, client, repository, prefix)
        for session_id, length in (("long", size.long), ("short", SHORT)):
            stores.fill(repository, session_id, length)
        yield _last(size, repository)


@contextlib.contextmanager
def opened() -> Iterator[tuple[Any, Repository, str]]:
    """Give a plain client, a repository on the same server, and the prefix of both, emptied at the end."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    url, prefix = f"{servers.server('redis')}/9", f"bench:{secrets.token_hex(4)}:"
    with redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
        client.script_load(raw_redis.APPEND)
        with stores.connected(f"{url}?key_prefix={prefix}") as repository:
            yield client, repository, prefix
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.unlink(key)


def _append(size: Size, client: Any, repository: Repository, prefix: str) -> Figure:
    plain = turns.turns()
    outcome = race(
        each(appends(repository)),
        each(lambda: raw_redis.append(client, prefix, "raw", next(plain).plain)),
        bursts=size.bursts,
        calls=size.calls,
        warm=WARM,
    )
    if repository.get_messages("ours") != raw_redis.read(client, prefix, "raw"):
        msg = "the two sides stored different messages"
        raise AssertionError(msg)
    return compared(
        "append a turn, Redis", "one raw Lua call with the same writes (`raw_redis.append`)", outcome, 1.3
    )


def _last(size: Size, repository: Repository) -> Figure:
    outcome = race(
        each(lambda: repository.get_messages("long", last=LAST)),
        each(lambda: repository.get_messages("short", last=LAST)),
        bursts=size.bursts,
        calls=size.calls,
        warm=WARM,
    )
    return compared(f"last {LAST} of {size.long:,}, Redis", f"last {LAST} of {SHORT}", outcome, 1.2)
