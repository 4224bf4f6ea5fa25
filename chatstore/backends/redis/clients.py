"""Clients of redis-py: whose they are, and how long they live.

The one module that imports redis-py, at the first use. It refuses to know sessions and messages.
"""

from __future__ import annotations

import asyncio
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from chatstore.backends.common.leases import Registry
from chatstore.errors import Invalid
from chatstore.extras import not_installed
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from types import ModuleType

    from chatstore.backends.redis.url import Target

#: Seconds to wait for a server to accept a connection, and for it to answer.
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
#: In a forked child, what belongs to the parent: to collect it would touch the parent's sockets.
_left_alone: list[Any] = []


def driver() -> ModuleType:
    """Return redis-py. Raises `MissingDependency`."""
    try:
        import redis
        import redis.asyncio
    except ImportError as error:
        raise not_installed("redis-py", "redis") from error
    return redis


class Place:
    """Where the keys are: a client made here for a URL, one for each loop, or one that was passed in."""

    def __init__(self, client: Any = None, target: Target | None = None) -> None:
        """Hold a *client* of the caller's, or make one for *target* at the first use."""
        self.given = client is not None
        self.target = target
        self.users = 0
        self.checked = False
        self._client = client
        self._awaiting: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Any, set[int]]] = (
            WeakKeyDictionary()
        )
        self.apart = target.cluster if target else is_cluster(client)
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        """Begin anew in a forked child: the parent's sockets stay the parent's."""
        self._lock = Lock()
        if not self.given and (self._client is not None or self._awaiting):
            _left_alone.append((self._client, list(self._awaiting.values())))
            self._client = None
            self._awaiting.clear()

    def client(self) -> Any:
        """Return the blocking client; one for a cluster looks for its nodes when it is made."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._made(driver())
        return self._client

    def direct(self, client: Any) -> bool:
        """Tell whether *client* was made here, blocks and has one server, so that its pool can be used directly."""
        return client is self._client and not self.given and not self.apart

    def distrust(self, client: Any) -> None:
        """Use no connection of the blocking *client* again that an interrupt may have come upon.

        An answer may still be to come on one that is idle by now, where the next command would take it for its own;
        and one that was lost on the way counts as in use for ever. Who awaits is cancelled where redis-py looks to it.
        """
        if client is None or is_awaiting(client):
            return
        if client is self._client and not self.given:
            self._client = None
        nodes = [node.redis_connection for node in client.get_nodes()] if self.apart else [client]
        for node in nodes:
            if node is not None:
                node.connection_pool.disconnect(inuse_connections=False)

    def awaiting(self, user: object) -> Any:
        """Return the client of the running loop, kept until its last *user* closes."""
        if self.given:
            return self._client
        loop = asyncio.get_running_loop()
        kept = self._awaiting.get(loop)
        if kept is None:
            kept = self._awaiting[loop] = (self._made(driver().asyncio), set())
        kept[1].add(id(user))
        return kept[0]

    def _made(self, module: Any) -> Any:
        """Make a client that repeats nothing by itself: `attempts` knows what may be repeated."""
        assert self.target is not None  # noqa: S101 - a place has a client or a target
        retry = module.retry.Retry(driver().backoff.NoBackoff(), 0)
        made = (module.RedisCluster if self.target.cluster else module.Redis).from_url
        try:
            return made(
                self.target.url,
                retry=retry,
                protocol=2,
                socket_timeout=ANSWER_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
            )
        except (ValueError, TypeError):
            msg = "redis-py refuses an option of the URL: check the values in its query"
            raise Invalid(msg) from None

    def close(self) -> None:
        """Count one user less; close what was made here with the last."""
        last = _registry.given_back(self)
        if last and not self.given and self._client is not None:
            client, self._client = self._client, None
            client.close()

    async def release(self, user: object) -> None:
        """Give the running loop's client back, which goes with its last user."""
        loop = asyncio.get_running_loop()
        kept = self._awaiting.get(loop)
        if kept is not None:
            kept[1].discard(id(user))
            if not kept[1]:
                del self._awaiting[loop]
                await kept[0].aclose()


_registry: Registry[Place] = Registry()


def shared(target: Target) -> Place:
    """Return the place of *target* in this process, counted once more."""
    driver()
    return _registry.lent((target.url, target.cluster), lambda: Place(target=target))


def is_cluster(client: Any) -> bool:
    """Tell whether *client* is one for a Redis Cluster."""
    redis = driver()
    return isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster)


def is_awaiting(client: Any) -> bool:
    """Tell whether *client* is an asynchronous one; raise `Invalid` for what is no client."""
    redis = driver()
    queueing = redis.client.Pipeline | redis.cluster.ClusterPipeline | redis.asyncio.client.Pipeline
    if isinstance(client, redis.asyncio.Redis | redis.asyncio.RedisCluster) and not isinstance(
        client, queueing
    ):
        return True
    if not isinstance(client, redis.Redis | redis.RedisCluster) or isinstance(client, queueing):
        msg = f"cannot connect to a {type(client).__name__}: pass a URL or a client (Redis or RedisCluster)"
        raise Invalid(msg)
    return False
