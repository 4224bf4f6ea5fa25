"""What the tests of the Redis backend stand on: keys of their own on a server, a server of their own, a cluster."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis

import chatstore
from tests import redis_servers, servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.repository import Repository

HERE = __file__.rpartition("/")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here as wanting Redis, and keep it in one process, which starts the cluster once."""
    for item in items:
        if str(item.path).startswith(HERE):
            item.add_marker(pytest.mark.redis)
            item.add_marker(pytest.mark.xdist_group("redis"))


class Ground(NamedTuple):
    """A repository under a prefix of its own, its URL, and a client that looks at what is stored."""

    store: Repository
    url: str
    prefix: str
    client: Any

    def names(self) -> list[str]:
        """Return the names of all keys under the prefix."""
        return sorted(key.decode() for key in self.client.scan_iter(match=f"{self.prefix}*", count=1000))


def _opened(url: str, client: Any) -> Iterator[Ground]:
    prefix = f"test:{secrets.token_hex(4)}:"
    mine = f"{url}{'&' if '?' in url else '?'}key_prefix={prefix}"
    with client, chatstore.connect(mine) as store:
        ground = Ground(store, mine, prefix, client)
        yield ground
        for key in ground.names():
            client.delete(key)


@pytest.fixture
def ground(redis_url: str) -> Iterator[Ground]:
    """Give a repository on the server that all tests share."""
    url = f"{redis_url}/9"
    yield from _opened(url, redis.Redis.from_url(url))


@pytest.fixture
def cluster() -> Iterator[Ground]:
    """Give a repository on a cluster."""
    url = redis_servers.cluster_url()
    yield from _opened(url, redis.RedisCluster.from_url(url.partition("?")[0]))


@pytest.fixture
def own_server() -> Iterator[str]:
    """Give the URL of a server on which a test may do anything."""
    with redis_servers.started(*redis_servers.QUIET) as url:
        yield url


@pytest.fixture
def shared_url(redis_url: str) -> str:
    """Give the URL of the server that all tests share, with database and without options."""
    assert servers.server("redis") == redis_url
    return f"{redis_url}/9"
