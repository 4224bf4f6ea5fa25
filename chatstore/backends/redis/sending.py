"""How a step is sent over a client of redis-py.

The functions are generators that yield what a client returns, an answer or an awaitable, so that the same code serves
blocking and asynchronous clients.
"""

from __future__ import annotations

from asyncio import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from chatstore.backends.redis.clients import driver, is_awaiting
from chatstore.backends.redis.driver_errors import classify, make_failed
from chatstore.backends.redis.steps import Many, Run

if TYPE_CHECKING:
    from collections.abc import Generator

    from chatstore.backends.common.leases import User
    from chatstore.backends.redis.clients import Clients
    from chatstore.backends.redis.steps import Settings


#: What redis-py says, by either of two classes, where it did not get as far as sending anything.
_NEVER_CONNECTED = "connecting to"


def carry_out(
    lease: Clients, user: User, client: Any, step: Run | Many | Settings
) -> Generator[Any, Any, Any]:
    """Carry out *step* over *client* (None: the blocking one that *lease* lends *user*), and return the answer.

    Raises `Failed` for the driver's errors.
    """
    redis = driver()
    sent = False
    try:
        client = lease.lend(user) if client is None else client
        yield from lease.trusted(client)
        if isinstance(step, Run):
            if step.once:
                yield from _connect(lease, client)
            sent = True
            send = partial(_send, redis, client) if lease.direct(client) else client.execute_command
            rest = (len(step.keys), *step.keys, *step.args)
            try:
                return (yield send("EVALSHA", step.script.digest, *rest))
            except redis.exceptions.NoScriptError:
                # A server that does not know the script yet gets all of it.
                return (yield send("EVAL", step.script.source, *rest))
        if isinstance(step, Many):
            sent = True
            return (yield from _send_many(client, step))
        return (yield from _read_settings(redis, lease, client))
    except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as error:
        sent = sent and _NEVER_CONNECTED not in str(error)
        raise make_failed(classify(error), error, ambiguous=sent) from None
    except CancelledError:  # redis-py closes the connection
        raise
    except BaseException:
        lease.distrust(client)
        raise


def _connect(lease: Clients, client: Any) -> Generator[Any, Any, None]:
    """Connect first, so that a failure to connect is known to have sent nothing."""
    if lease.apart:
        if is_awaiting(client):
            yield client.initialize()
    elif getattr(client, "connection", None) is None:
        connection = yield client.connection_pool.get_connection()
        yield client.connection_pool.release(connection)


def _send(redis: Any, client: Any, *command: Any) -> Any:
    """Send *command* over a connection of the client's pool, as `execute_command` does, and return the answer.

    It leaves out redis-py's retries and metrics, which take a quarter of an append's time; `attempts` retries.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_command(*command)
        return connection.read_response()
    except redis.ResponseError:
        raise
    except BaseException:
        connection.disconnect()  # the next command must not read an answer that is still to come
        raise
    finally:
        pool.release(connection)


def _send_many(client: Any, step: Many) -> Generator[Any, Any, list[Any]]:
    if len(step.commands) == 1:
        return [(yield client.execute_command(*step.commands[0]))]
    pipeline = client.pipeline(transaction=False)
    for command in step.commands:
        pipeline.execute_command(*command)
    answers: list[Any] = yield pipeline.execute()
    return answers


def _read_settings(redis: Any, lease: Clients, client: Any) -> Generator[Any, Any, list[dict[str, Any]]]:
    """Read INFO of each server and, where the server allows it, its configuration."""
    if lease.apart and is_awaiting(client):
        yield client.initialize()
    nodes = [{"target_nodes": node} for node in client.get_primaries()] if lease.apart else [{}]
    found = []
    for where in nodes:
        about = dict((yield client.info(**where)))
        for name in ("appendfsync", "save"):
            try:
                answer = yield client.config_get(name, **where)
            except redis.exceptions.ResponseError:
                continue  # managed servers refuse CONFIG; INFO has to do
            about.update({_to_text(key): _to_text(value) for key, value in answer.items()})
        found.append(about)
    return found


def _to_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
