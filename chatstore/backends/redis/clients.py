"""Clients of redis-py: how they are made, closed and distrusted.

The one module that imports redis-py, at the first use. It refuses to know sessions and messages.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from chatstore.backends.common.leases import Lease, shared
from chatstore.deadlines import GRACE, left
from chatstore.errors import Invalid
from chatstore.extras import not_installed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from types import ModuleType

    from chatstore.backends.redis.url import Target

#: Seconds to wait for a server to accept a connection, and for it to answer, where the deadline does not come first.
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
#: Seconds that a connection is waited for at least: none would mean not to wait at all.
SHORTEST = 0.05


def driver() -> ModuleType:
    """Return redis-py. Raises `MissingDependency`."""
    try:
        import redis
        import redis.asyncio
    except ImportError as error:
        raise not_installed("redis-py", "redis") from error
    return redis


class Clients(Lease[Any, Any]):
    """The clients for a URL, or one that was passed in."""

    def __init__(self, client: Any = None, target: Target | None = None) -> None:
        """Lend a *client* of the caller's, or make one for *target* at the first use."""
        self.target = target
        self.checked = False
        #: The awaiting clients on whose idle connections an answer may still be to come.
        self._distrusted: WeakSet[Any] = WeakSet()
        self.apart = target.cluster if target else is_cluster(client)
        super().__init__(client)

    # ---- what `Lease` asks

    def make(self) -> Any:
        """Make a client that blocks; one for a cluster looks for its nodes at once."""
        return self._make(driver())

    def make_awaiting(self) -> Any:
        """Make a client for the running loop."""
        return self._make(driver().asyncio)

    def dispose(self, thing: Any) -> None:
        """Close the client's idle connections; others go with the calls that they are lent to."""
        for pool in self._pools(thing):
            pool.disconnect(inuse_connections=False)

    async def dispose_awaiting(self, thing: Any) -> None:
        """Close the client's idle connections; those in use close when they come back."""
        if self.apart:
            await thing.aclose()
            return
        pool = thing.connection_pool
        for lent in pool._in_use_connections:
            if hasattr(lent, "mark_for_reconnect"):  # else it closes when it is collected
                lent.mark_for_reconnect()
        await _hang_up(pool.disconnect(inuse_connections=False))

    def _pools(self, client: Any) -> list[Any]:
        """Return the pools of a blocking client."""
        nodes = [node.redis_connection for node in client.get_nodes()] if self.apart else [client]
        return [node.connection_pool for node in nodes if node is not None]

    def unlearn(self) -> None:
        """Forget that the server was looked at."""
        self.checked = False

    def _make(self, module: Any) -> Any:
        """Make a client that repeats nothing by itself: `attempts` knows what may be repeated."""
        assert self.target is not None  # noqa: S101 - there is a client or a target
        retry = module.retry.Retry(driver().backoff.NoBackoff(), 0)
        made = (module.RedisCluster if self.target.cluster else module.Redis).from_url
        try:
            return made(
                self.target.url,
                retry=retry,
                protocol=2,
                socket_timeout=ANSWER_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
                **(
                    {}
                    if module.__name__.endswith("asyncio")
                    else {"connection_class": _timed(self.target.url)}
                ),
            )
        except (ValueError, TypeError):
            msg = "redis-py refuses an option of the URL: check the values in its query"
            raise Invalid(msg) from None

    # ---- how a client is used

    def direct(self, client: Any) -> bool:
        """Tell whether *client* was made here, blocks and has one server, so that its pool can be used directly."""
        return client is self.thing and not self.given and not self.apart

    def distrust(self, client: Any) -> None:
        """Use no connection of *client* again that an interrupt may have come upon.

        An answer may still be to come on one that is idle by now, where the next command would take it for its own;
        and one that was lost on the way counts as in use for ever. An awaiting client is seen to by `trusted`, when it
        is used next.
        """
        if client is None:
            return
        if is_awaiting(client):
            self._distrusted.add(client)
            return
        self.renounce(client)
        for pool in self._pools(client):
            pool.disconnect(inuse_connections=False)

    def trusted(self, client: Any) -> Generator[Any, Any, None]:
        """Close what `distrust` found of an awaiting *client*, before anything else is sent."""
        if client in self._distrusted:
            yield from (
                [_hang_up(node.disconnect()) for node in client.get_nodes()]
                if self.apart
                else [_hang_up(client.connection_pool.disconnect(inuse_connections=False))]
            )
            self._distrusted.discard(client)


async def _hang_up(work: Awaitable[Any]) -> None:
    """Await *work*, which closes connections, and hear nothing of what these met before, which redis-py hands on.

    That may be the cancellation of another call.
    """
    try:
        await work
    except (driver().RedisError, OSError):
        return
    except CancelledError:
        call = current_task()
        if call is not None and call.cancelling():
            raise


@cache
def _timed(url: str) -> Any:
    """Return the class of blocking connections for *url* that wait no longer than the running call may."""
    connection = driver().connection
    kind: Any = connection.SSLConnection if url.startswith("rediss:") else connection.Connection

    class Timed(kind):  # type: ignore[misc]
        def _connect(self) -> Any:
            told: Any = super().socket_connect_timeout
            self.socket_connect_timeout = max(left(CONNECT_SECONDS if told is None else told), SHORTEST)
            try:
                return super()._connect()
            finally:
                self.socket_connect_timeout = told

        def read_response(self, *args: Any, **options: Any) -> Any:
            told = self.socket_timeout
            seconds = left(ANSWER_SECONDS if told is None else told) + GRACE
            if told is None or seconds < told:
                options.setdefault("timeout", seconds)
            return super().read_response(*args, **options)

    return Timed


def clients_for(target: Target) -> Clients:
    """Return the clients for *target* in this process."""
    driver()
    return shared(Clients, target.url, target.cluster, make=lambda: Clients(target=target))


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
