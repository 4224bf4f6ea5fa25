"""Where the campaigns run: a fresh, migrated place of each kind."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests import cosmos, servers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def place(kind: str) -> Iterator[str]:
    """Give the URL of an empty place that is ready for appends."""
    if kind == "file":
        with tempfile.TemporaryDirectory(prefix="chatstore-campaign-") as folder:
            yield f"file:{folder}/chats"
    elif kind.startswith("redis"):
        with _redis(kind) as url:
            yield url
    elif kind == "cosmosdb":
        with cosmos.account() as account, account.container() as url:
            yield url
    elif kind == "dynamodb":
        with servers.fresh_table() as url:
            yield url
    else:
        with servers.migrated_url(kind) as url:
            yield url


@contextmanager
def _redis(kind: str) -> Iterator[str]:
    """Give the URL of keys of their own on a server, or on a cluster (*redis-cluster*)."""
    import redis

    from tests import redis_servers

    prefix = f"campaign:{secrets.token_hex(4)}:"
    clustered = kind == "redis-cluster"
    url = redis_servers.cluster_url() if clustered else f"{servers.obtain('redis')}/9"
    yield f"{url}{'&' if '?' in url else '?'}key_prefix={prefix}"
    maker = redis.RedisCluster if clustered else redis.Redis
    with maker.from_url(url.partition("?")[0]) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.delete(key)


def worker(what: str, url: str, session: str, name: str, turns: int) -> subprocess.Popen[str]:
    """Start a process of `tests.reliability.worker`, and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.worker", what, url, session, name, str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(process.communicate(timeout=60)[1])
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let a process that is ready begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
