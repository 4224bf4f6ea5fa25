"""What the SDK's errors mean: a lost race, something worth another attempt, or an error for the caller.

This module knows status codes and the transport's errors; it refuses to know what was asked. It never quotes an
error's text, in which an account's name, a path or more could stand; the SDK's own error is the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.backends.common.documents.steps import Lost
from chatstore.driving import Failed
from chatstore.errors import SchemaMissing, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from chatstore.errors import ChatstoreError

#: The longest pause, in seconds, that the service may ask for before the operation's own patience is looked at.
LONGEST_WAIT: Final = 5.0
_BUSY, _FAILED = 429, 500
#: Answers that end a race for a document: it is there, gone, or another version.
_RACES: Final = frozenset({404, 409, 412})
#: Not done: 410 a partition moves, 423 and 449 somebody else writes, 429 too many requests.
_PASSING: Final = frozenset({410, 423, 429, 449})
_NOT_YET_HERE: Final = 1002


class Meaning(NamedTuple):
    """What to raise, and how many seconds the service wants to be left alone first."""

    error: Exception
    wait: float = 0.0


def meaning(error: Exception, *, batch: bool, sent: int) -> Meaning:
    """Return what *error* means for a request that left *sent* times; a *batch* writes, everything else reads."""
    status = getattr(error, "status_code", None)
    name = type(error).__name__
    if not isinstance(status, int) or name == "CosmosClientTimeoutError":
        return _of_transport(error, name, batch=batch)
    if name == "CosmosBatchOperationError" and status in _RACES:
        # If the SDK has tried again by itself, the race may have been lost against its own first attempt.
        if sent > 1:
            return Meaning(Failed("busy", _unavailable("answered with errors"), error, ambiguous=True))
        # The first operation is the header's; only behind it can a message be in the way.
        return Meaning(Lost(taken=getattr(error, "error_index", 1) != 0))
    if status in _PASSING or (status == _NOT_FOUND and getattr(error, "sub_status", None) == _NOT_YET_HERE):
        return Meaning(
            Failed("busy", _busy() if status == _BUSY else _unavailable("is moving data"), error),
            _wait(error),
        )
    if status >= _FAILED or status == _TIMEOUT:
        return Meaning(Failed("busy", _unavailable("answered with errors"), error, ambiguous=batch))
    return Meaning(_refused(status))


_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMEOUT = 401, 403, 404, 408


def _of_transport(error: Exception, name: str, *, batch: bool) -> Meaning:
    """Return what an error without an answer means."""
    if name == "ClientAuthenticationError":
        return Meaning(
            StorageError("no credential could be had for Cosmos DB: log in, or put the key into the URL")
        )
    # The asynchronous transport calls every broken connection a failed request; only a failure to connect is one.
    cause = error.__cause__ or getattr(error, "inner_exception", None)
    unsent = name in {"ServiceRequestError", "ServiceRequestTimeoutError"} and (
        not type(cause).__module__.startswith("aiohttp") or type(cause).__name__.startswith("ClientConnector")
    )
    kind = "lost" if unsent else "busy"
    return Meaning(Failed(kind, _unavailable("does not answer"), error, ambiguous=batch and not unsent))


def _unavailable(what: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"Cosmos DB {what}: check the account's address and state, then repeat the call"
    )


def _busy() -> StorageUnavailable:
    return StorageUnavailable(
        "Cosmos DB refuses requests, because the container's request units are used up: raise its throughput, or "
        "repeat the call later"
    )


def _wait(error: Any) -> float:
    """Return the seconds that the service asks for."""
    try:
        asked = int((getattr(error, "headers", None) or {}).get("x-ms-retry-after-ms", 0)) / 1000
    except ValueError:
        return 0.0
    return min(max(asked, 0.0), LONGEST_WAIT)


def _refused(status: int) -> ChatstoreError:
    if status == _UNAUTHORIZED:
        return StorageError("Cosmos DB refuses the key or token: check it, and the clock of this machine")
    if status == _FORBIDDEN:
        return StorageError(
            "Cosmos DB forbids this: check the account's firewall and the role assignment (a data role can neither "
            "create nor delete databases and containers)"
        )
    if status == _NOT_FOUND:
        return no_container()
    return StorageError(f"Cosmos DB answered with status {status}: its own error is the cause of this one")


def no_container() -> SchemaMissing:
    """Make the error for a container that is not there."""
    return SchemaMissing("there is no such database or container: run chatstore upgrade on this URL")
