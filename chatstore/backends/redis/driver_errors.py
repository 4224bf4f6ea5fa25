"""What an error of redis-py means.

redis-py has classes for some of a server's errors and only the text for others, and a cluster's error wraps that of a
node. So phrases are looked for first, then classes, then the code at the beginning of the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from chatstore.backends.redis.clients import driver

if TYPE_CHECKING:
    from chatstore.backends.redis.attempts import Kind

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
