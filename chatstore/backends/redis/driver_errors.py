"""What an error of redis-py means, and what a caller hears of it.

redis-py has classes for some of a server's errors and only the text for others, and a cluster's error wraps that of a
node. So phrases are looked for first, then classes, then the code at the beginning of the text.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from chatstore.backends.redis.clients import driver
from chatstore.driving import Failed
from chatstore.errors import ChatstoreError, StorageError, StorageUnavailable

Kind = Literal[
    "busy",
    "lost",
    "exhausted",
    "readonly",
    "full",
    "unsaved",
    "refused",
    "too_old",
    "cluster",
    "no_cluster",
    "foreign",
    "other",
]
_ADVICE: dict[Kind, tuple[type[ChatstoreError], str]] = {
    "busy": (
        StorageUnavailable,
        "Redis stayed busy (loading, failing over, or running a long script) all the time: repeat the call later",
    ),
    "lost": (
        StorageUnavailable,
        "Redis cannot be reached: check that it runs, and the URL's host, port and scheme",
    ),
    "exhausted": (
        StorageUnavailable,
        "every connection stayed in use: raise max_connections of the client, or maxclients of the server",
    ),
    "readonly": (StorageError, "this Redis is a read-only replica: connect to the primary"),
    "full": (
        StorageError,
        "the memory of Redis is full: raise maxmemory, or purge and delete sessions, then repeat the call",
    ),
    "unsaved": (
        StorageError,
        "Redis refuses writes since it cannot save them (its disk, or too few replicas): see its log, then repeat",
    ),
    "refused": (
        StorageError,
        "Redis refuses access: check the user, the password and that user's permissions (ACL)",
    ),
    "too_old": (StorageError, "this server does not know a command that is needed: use Redis 6.2 or newer"),
    "cluster": (
        StorageError,
        "this server is part of a Redis Cluster: add cluster=true to the URL's query, or pass a RedisCluster client",
    ),
    "no_cluster": (
        StorageError,
        "this server is not part of a Redis Cluster: take cluster=true out of the URL's query",
    ),
    "foreign": (
        StorageError,
        "another program uses a key of this name in Redis: choose another key_prefix",
    ),
    "other": (
        StorageError,
        "Redis refused a command: its own error is this error's __cause__; look there",
    ),
}
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
    """Return redis-py's error classes by what they mean, the narrow ones first."""
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


def make_failed(kind: Kind, cause: BaseException | None = None, *, ambiguous: bool = False) -> Failed:
    """Return what to raise for a failure of *kind*; only a connection that broke leaves open what was done."""
    error, advice = _ADVICE[kind]
    return Failed(kind, error(advice), cause, ambiguous=ambiguous and kind == "lost")


def classify(error: BaseException) -> Kind:
    """Return what *error*, one of redis-py's or of a socket, means."""
    errors = driver().exceptions
    said = str(error)[:300]
    for phrase, kind in _PHRASES.items():
        if phrase in said:
            return kind
    for kind, classes in _classes(errors):
        if isinstance(error, classes):
            return kind
    # No node of the cluster could be asked for the others.
    if isinstance(error, errors.RedisClusterException):
        return classify(error.__cause__) if error.__cause__ is not None else "lost"
    found = _CODE.search(f"{getattr(error, 'status_code', '')} {said}")
    return _CODES[found[1]] if found else "other"
