"""What is asked of a server, what can go wrong with it, and when it is asked again.

This module knows kinds of failures; it refuses to know redis-py, sockets and whether anything is awaited.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chatstore.errors import ChatstoreError, OutcomeUnknown, StorageError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from chatstore.backends.redis.scripts import Script

#: Seconds after which a busy or unreachable server is an error, whatever the number of attempts.
DEADLINE = 20.0
#: Attempts to reach a server that refuses connections: an application should hear of it soon.
UNREACHABLE_ATTEMPTS = 4
_SHORTEST, _LONGEST = 0.005, 1.0

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


class Run(NamedTuple):
    """A script to run. *once*: what it does must not be done twice."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Any]
    once: bool = False


class Many(NamedTuple):
    """Commands to send at once, each of its own, to wherever its key is; answered by a list."""

    commands: Sequence[tuple[Any, ...]]


class Settings(NamedTuple):
    """The question how each server keeps its data; answered by a list of dictionaries."""


class Pause(NamedTuple):
    """Seconds to wait before the next step."""

    seconds: float


@dataclass
class Failed(Exception):
    """What whoever lends clients raises for a driver's error.

    *ambiguous*: it may have been carried out all the same.
    """

    kind: Kind
    cause: BaseException | None
    ambiguous: bool


def attempts(step: Run | Many | Settings) -> Generator[Any, Any, Any]:
    """Yield *step* until it succeeds, or is not worth another attempt."""
    started, longest, attempt = time.monotonic(), _SHORTEST, 0
    once = isinstance(step, Run) and step.once
    while True:
        try:
            return (yield step)
        except Failed as failed:
            attempt += 1
            late = time.monotonic() - started > DEADLINE
            if late or not worthwhile(failed, attempt, once=once):
                raise final(failed, once=once) from failed.cause
            lost = failed.kind == "lost"
        longest = min(2 * longest, _LONGEST)
        # A broken connection is replaced at once: the pool may be full of others of that age.
        yield Pause(0 if lost and attempt == 1 else random.uniform(longest / 2, longest))  # noqa: S311 - jitter


def worthwhile(failed: Failed, attempt: int, *, once: bool) -> bool:
    """Tell whether a failed step is tried again."""
    if failed.kind == "busy":
        return True
    return failed.kind == "lost" and attempt < UNREACHABLE_ATTEMPTS and not (failed.ambiguous and once)


_ADVICE: dict[Kind, tuple[type[ChatstoreError], str]] = {
    "busy": (
        StorageUnavailable,
        "Redis stayed busy (loading, failing over, or running a long script) until the deadline: repeat the call later",
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


def final(failed: Failed, *, once: bool) -> ChatstoreError:
    """Return the error a caller sees for *failed*."""
    return unknown() if once and failed.ambiguous else _ADVICE[failed.kind][0](_ADVICE[failed.kind][1])


def unknown() -> OutcomeUnknown:
    """Make the error for a change that may have been carried out."""
    return OutcomeUnknown(
        "the connection to Redis broke during a change that cannot be repeated, and it may be stored: "
        "read before repeating it"
    )
