"""A client for a foreign Redis server, and what can go wrong with it.

This module knows how to reach a server or a cluster, and how to walk over its keys; it refuses to know what is in them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import Invalid, StorageUnavailable
from chatstore.extras import not_installed
from chatstore.sources.reading import fetch, hide_password

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds for a connection, and for an answer.
_PATIENCE: Final = {"socket_connect_timeout": 10, "socket_timeout": 60}
_SCAN: Final = 1000


def mask(source: str) -> str:
    """Return the URL without user, password and parameters."""
    return hide_password(source, "redis:")


def import_client() -> Any:
    """Return the client library. Raises `MissingDependency`."""
    try:
        import redis
    except ImportError as error:
        raise not_installed("redis-py", "redis") from error
    return redis


@contextmanager
def open_client(source: str) -> Iterator[Any]:
    """Lend a client of the server, or of the cluster that the server belongs to."""
    redis = import_client()
    try:
        client = redis.Redis.from_url(source, **_PATIENCE)
    except (ValueError, TypeError):
        msg = "this is not a Redis URL: write one like redis://user:password@host:6379/0"
        raise Invalid(msg) from None
    try:
        with translate_errors(source):
            client.ping()
        if _is_clustered(client):
            client.close()
            with translate_errors(source):
                client = redis.RedisCluster.from_url(source, **_PATIENCE)
        yield client
    finally:
        if hasattr(
            client, "disconnect_connection_pools"
        ):  # closing a cluster's client leaves its sockets open
            client.disconnect_connection_pools()
        client.close()


def _is_clustered(client: Any) -> bool:
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except import_client().exceptions.ResponseError:  # INFO is not everybody's right
        return False


@contextmanager
def translate_errors(source: str) -> Iterator[None]:
    """Turn the client's errors into chatstore's, without the server's text: it may name a user or a value."""
    exceptions = import_client().exceptions
    try:
        yield
    except exceptions.AuthenticationError as error:
        raise StorageUnavailable(f"{mask(source)} refuses this user: check user and password") from error
    except exceptions.NoPermissionError as error:
        advice = "allow it the commands that only read (ACL SETUSER … +@read +scan +ping)"
        raise StorageUnavailable(f"{mask(source)} does not let this user read: {advice}") from error
    except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
        kind = type(error).__name__
        msg = f"{mask(source)} does not answer ({kind}): check host, port and server, then repeat this"
        raise StorageUnavailable(msg) from error


def scan_keys(client: Any, source: str, prefix: str, type_: str) -> Iterator[bytes]:
    """Yield the keys of this type that begin with *prefix*, each once; their names are held in memory."""
    seen = set[bytes]()
    pattern = "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in prefix) + "*"
    scan = client.scan_iter(match=pattern.encode(), count=_SCAN, _type=type_)
    for key in fetch(scan, source, translate_errors):
        if key not in seen:
            seen.add(key)
            yield key
