"""Clients of redis-py: whose they are, how long they live, and what their errors mean.

The one module that imports redis-py, at the first use. It refuses to know sessions and messages.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from chatstore.backends.redis.attempts import Failed, Many, Run
from chatstore.backends.registry import Registry
from chatstore.errors import Invalid
from chatstore.extras import not_installed
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import ModuleType

    from chatstore.backends.redis.attempts import Kind, Settings
    from chatstore.backends.redis.urls import Target

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


# ------------------------------------------------------------------------------------------------ places


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


# ------------------------------------------------------------------------------------------------ carrying out


def carried_out(place: Place, client: Any, step: Run | Many | Settings) -> Generator[Any, Any, Any]:
    """Do *step* over *client*: yield what a client returns, an answer or something to await.

    *client* None is the place's blocking one. Raises `Failed` for the driver's errors.
    """
    redis = driver()
    sent = False
    try:
        client = place.client() if client is None else client
        if isinstance(step, Run):
            if step.once:
                yield from _connected(place, client)
            sent = True
            send = partial(_sent, redis, client) if place.direct(client) else client.execute_command
            return (yield from _run(redis, send, step))
        if isinstance(step, Many):
            sent = True
            return (yield from _many(client, step))
        return (yield from _settings(redis, place, client))
    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as error:
        kind = kind_of(error)
        raise Failed(kind, error, ambiguous=sent and kind == "lost") from None
    except BaseException:
        place.distrust(client)
        raise


def _connected(place: Place, client: Any) -> Generator[Any, Any, None]:
    """Connect before something is sent that must not be sent twice: what fails until here, was not sent."""
    if place.apart:
        if is_awaiting(client):
            yield client.initialize()
    elif getattr(client, "connection", None) is None:
        connection = yield client.connection_pool.get_connection()
        yield client.connection_pool.release(connection)


def _run(redis: Any, send: Callable[..., Any], step: Run) -> Generator[Any, Any, Any]:
    """Run a script by its digest; a server that does not know it yet gets all of it."""
    rest = (len(step.keys), *step.keys, *step.args)
    try:
        return (yield send("EVALSHA", step.script.digest, *rest))
    except redis.exceptions.NoScriptError:
        return (yield send("EVAL", step.script.source, *rest))


def _sent(redis: Any, client: Any, *command: Any) -> Any:
    """Send *command* over a connection of the client's pool, as `execute_command` does, and return the answer.

    It leaves out what that has for repetitions and measurements, a quarter of an append's time: `attempts` repeats.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command(*command)
        return connection.read_response()
    except redis.ResponseError:
        raise
    except BaseException:
        connection.disconnect()  # an answer that is still to come must not be taken for that of the next command
        raise
    finally:
        pool.release(connection)


def _many(client: Any, step: Many) -> Generator[Any, Any, list[Any]]:
    if len(step.commands) == 1:
        return [(yield client.execute_command(*step.commands[0]))]
    pipeline = client.pipeline(transaction=False)
    for command in step.commands:
        pipeline.execute_command(*command)
    answers: list[Any] = yield pipeline.execute()
    return answers


def _settings(redis: Any, place: Place, client: Any) -> Generator[Any, Any, list[dict[str, Any]]]:
    """Read INFO of each server and, where the server allows it, its configuration."""
    if place.apart and is_awaiting(client):
        yield client.initialize()
    nodes = [{"target_nodes": node} for node in client.get_primaries()] if place.apart else [{}]
    found = []
    for where in nodes:
        about = dict((yield client.info(**where)))
        for name in ("appendfsync", "save"):
            try:
                answer = yield client.config_get(name, **where)
            except redis.exceptions.ResponseError:
                continue  # managed servers refuse CONFIG; what INFO said must do
            about.update({_word(key): _word(value) for key, value in answer.items()})
        found.append(about)
    return found


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# ------------------------------------------------------------------------------------------------ errors

_CODES: dict[str, Kind] = {
    "LOADING": "busy",
    "BUSY": "busy",
    "MASTERDOWN": "busy",
    "CLUSTERDOWN": "busy",
    "TRYAGAIN": "busy",
    "OOM": "full",
    "READONLY": "readonly",
    "MISCONF": "unsaved",
    "NOREPLICAS": "unsaved",
    "WRONGTYPE": "foreign",
    "NOPERM": "refused",
    "NOAUTH": "refused",
    "WRONGPASS": "refused",
    "CROSSSLOT": "cluster",
    "MOVED": "cluster",
    "ASK": "cluster",
}
_CODE = re.compile(rf"\b({'|'.join(_CODES)})\b")
_PHRASES: dict[str, Kind] = {
    "max number of clients": "busy",
    "cluster support disabled": "no_cluster",
    "Cluster mode is not enabled": "no_cluster",
    "can't run this command": "refused",
    "invalid username-password": "refused",
    "unauthenticated": "refused",  # what Redis says to a long command before a login
    "unknown command": "too_old",
    "syntax error": "too_old",
    "Unsupported option": "too_old",
}


def _classes(errors: Any) -> tuple[tuple[Kind, tuple[type[Exception], ...]], ...]:
    """Return redis-py's classes of errors by what they mean, the narrow ones first."""
    return (
        ("exhausted", (errors.MaxConnectionsError,)),
        ("refused", (errors.AuthenticationError, errors.NoPermissionError)),
        ("busy", (errors.BusyLoadingError, errors.ClusterDownError, errors.SlotNotCoveredError)),
        ("busy", (errors.TryAgainError,)),
        ("full", (errors.OutOfMemoryError,)),
        ("readonly", (errors.ReadOnlyError,)),
        ("cluster", (errors.AskError, errors.ClusterCrossSlotError)),
        ("lost", (errors.ConnectionError, errors.TimeoutError, OSError)),
    )


def kind_of(error: BaseException) -> Kind:
    """Return what an error of redis-py means."""
    errors = driver().exceptions
    said = str(error)[:300]
    for phrase, kind in _PHRASES.items():
        if phrase in said:
            return kind
    for kind, classes in _classes(errors):
        if isinstance(error, classes):
            return kind
    if isinstance(
        error, errors.RedisClusterException
    ):  # no node of the cluster could be asked for the others
        return kind_of(error.__cause__) if error.__cause__ is not None else "lost"
    found = _CODE.search(f"{getattr(error, 'status_code', '')} {said}")
    return _CODES[found[1]] if found else "other"
