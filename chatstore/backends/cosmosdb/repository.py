"""`CosmosRepository` and `AsyncCosmosRepository`: who carries the requests out, blocking or awaiting.

This module knows the calls of the SDK, the same for both, and what is remembered of their answers; it refuses to know
what is asked (`requests`) and when it is asked again (`chatstore.backends.common.documents`).
"""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatstore.aio import AsyncRepository
from chatstore.backends.common.documents.attempts import repeated
from chatstore.backends.common.documents.committing import check_ttl
from chatstore.backends.common.documents.core import DocumentsCore
from chatstore.backends.common.leases import User
from chatstore.backends.cosmosdb import items
from chatstore.backends.cosmosdb.backend import BACKEND
from chatstore.backends.cosmosdb.driver_errors import meaning
from chatstore.backends.cosmosdb.places import OPTIONS, Containers, containers_for, sdk, sdk_error
from chatstore.backends.cosmosdb.provisioning import must_be_ours
from chatstore.backends.cosmosdb.requests import Batch, Get, Inspect, planned
from chatstore.backends.cosmosdb.url import address_of, parse_url
from chatstore.deadlines import GRACE, awaited, left
from chatstore.driving import Pause, adrive, drive
from chatstore.errors import Invalid, SchemaError
from chatstore.messages import Capabilities, Durability
from chatstore.repository import Repository
from chatstore.threads import ThreadedRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from chatstore.backends.common.documents.header import Header
    from chatstore.backends.common.documents.steps import Limits
    from chatstore.codec import Row
    from chatstore.contract import Answer, C, T

#: Documents of one page; the service sends fewer where they are large.
PAGE = 1000
#: Seconds that a connection is waited for at least.
SHORTEST = 0.05


def repository_for(target: Any) -> CosmosRepository:
    """Return the repository of a URL or of a blocking ``ContainerProxy``."""
    if isinstance(target, str):
        sdk()
        return CosmosRepository(lease=containers_for(parse_url(target)))
    if type(target).__name__ != "ContainerProxy" or _awaits(target):
        msg = f"cannot connect to a {type(target).__name__} of {type(target).__module__}: pass its ContainerProxy"
        raise Invalid(msg)
    return CosmosRepository(target)


def async_repository_for(target: Any) -> AsyncRepository:
    """Return the repository of a URL, an asynchronous ``ContainerProxy``, or (in threads) a blocking one."""
    if isinstance(target, str):
        sdk()
        return AsyncCosmosRepository(lease=containers_for(parse_url(target)))
    if type(target).__name__ == "ContainerProxy" and _awaits(target):
        return AsyncCosmosRepository(target)
    return ThreadedRepository(repository_for(target), owns=True)


def repository_of(
    endpoint: str,
    database: str,
    container: str,
    credential: Any,
    connection_string: str | None,
    ttl: int | None = None,
) -> CosmosRepository:
    """Return the repository by the parameters that histories take; a credential's clients are shared with nobody."""
    sdk()
    key = credential if isinstance(credential, str) else None
    address, lasting = address_of(endpoint, database, container, key, connection_string), check_ttl(ttl)
    if credential is None or key is not None or connection_string is not None:
        return CosmosRepository(lease=containers_for(address), ttl=lasting)
    return CosmosRepository(lease=Containers(address, credential=credential), ttl=lasting)


def _awaits(target: Any) -> bool:
    return ".aio" in type(target).__module__


class CosmosStore:
    """What `DocumentsCore` asks about Cosmos DB; none of it waits."""

    limits: Limits = items.LIMITS
    capabilities = Capabilities(
        denied=BACKEND.denied,
        atomic_batch=items.LIMITS.messages,
        notes=(
            "lists of sessions are queries over all partitions: they cost request units in each physical partition",
            "usage and purge read every session they may concern",
            "what other processes write is seen as the account's consistency level says",
            "an account with several write regions is not safe: two regions may both accept a change of a session",
        ),
    )

    def size(self, session_id: str, row: Row) -> int:
        return items.size_of(items.message_item(session_id, items.LONGEST, row, items.FAR, items.LONG_AGO))

    def header_size(self, session_id: str, header: Header) -> int:
        return items.size_of(items.header_item(session_id, header, items.LONG_AGO))

    def durability(self) -> Durability:
        return Durability(
            "machine",
            "Cosmos DB acknowledges a write when a majority of a region's replicas has it on disk; what a regional "
            "outage takes depends on the account",
        )


class _Asking:
    """One request: what it passes to the SDK, and what is remembered of the answers."""

    def __init__(self, lease: Containers, wanted: Any) -> None:
        self.lease, self.wanted = lease, wanted
        self.session_id: str | None = getattr(wanted, "session_id", None)
        self.sent = 0

    def call(self, container: Any) -> Any:
        """Call the SDK: an answer, something to await, or pages of documents to iterate over."""
        wanted, options = self.wanted, self._options()
        if isinstance(wanted, Inspect):
            return container.read(raw_request_hook=self._send, **_limits())
        if isinstance(wanted, Get):
            return container.read_item(wanted.name, wanted.session_id, **options)
        if isinstance(wanted, Batch):
            # Else a client with settings of its own may send twice, and not count it.
            options["retry_connect"] = 0
            return container.execute_item_batch(list(wanted.operations), wanted.session_id, **options)
        parameters = [{"name": name, "value": value} for name, value in wanted.parameters.items()]
        options["max_item_count"] = min(wanted.limit or PAGE, PAGE)
        if wanted.session_id is not None:
            options["partition_key"] = wanted.session_id
        elif not _awaits(container):  # the asynchronous SDK has no such option: it always may
            options["enable_cross_partition_query"] = True
        return container.query_items(wanted.text, parameters=parameters, **options)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "raw_request_hook": self._send,
            "response_hook": self._heard,
            **_limits(),
        }
        token = self.lease.seen.token(self.session_id) if self.session_id is not None else None
        return options | ({"session_token": token} if token is not None else {})

    def _send(self, _request: Any) -> None:
        self.sent += 1

    def _heard(self, headers: Mapping[str, Any], *_answer: Any) -> None:
        """Remember how far the service was when it answered, so that this process never reads older."""
        if self.session_id is not None:
            self.lease.seen.note(self.session_id, headers.get("x-ms-session-token"))

    def failed(self, error: Exception) -> tuple[Exception | None, float]:
        """Return what to raise (None: the document is not there), and how many seconds to wait first."""
        self._heard(getattr(error, "headers", None) or {})
        status, substatus = getattr(error, "status_code", None), getattr(error, "sub_status", None)
        if isinstance(self.wanted, Get) and status == 404 and not substatus:  # noqa: PLR2004 - not found
            return None, 0.0
        found, wait = meaning(error, batch=isinstance(self.wanted, Batch), sent=self.sent)
        if isinstance(found, SchemaError):
            self.lease.checked = False
        return found, wait


def _limits() -> dict[str, float]:
    """Return how long the SDK waits for a connection and for an answer: no longer than the running call may."""
    if left(OPTIONS["read_timeout"]) == OPTIONS["read_timeout"]:
        return {}
    return {
        "connection_timeout": max(left(OPTIONS["connection_timeout"]), SHORTEST),
        "read_timeout": left(OPTIONS["read_timeout"]) + GRACE,
    }


def _inspected() -> Generator[Any, Any, bool]:
    """Look whether the container is one of ours; raise `SchemaOutdated` if not."""
    must_be_ours((yield Inspect()))
    return True


# ------------------------------------------------------------------------------------------------ synchronous


class CosmosRepository(Repository):
    """Conversations in a Cosmos DB container; see `Repository` for what everything does."""

    def __init__(
        self, container: Any = None, *, lease: Containers | None = None, ttl: int | None = None
    ) -> None:
        """Work on *container*, a ``ContainerProxy`` of the SDK, whose client is neither configured nor closed here.

        *ttl* is in seconds: a session expires so long after something was added to it. Raises `Invalid`.
        """
        self._lease = lease if lease is not None else Containers(container=container)
        self._core: DocumentsCore = DocumentsCore(CosmosStore(), ttl)
        self._user = User()
        self._lease.enter(self._user)

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if not self._lease.checked:
            looking: Answer[bool] = repeated(_inspected)
            self._lease.checked = drive(looking, self._ask)
        return drive(operation(call), self._carry)

    def _carry(self, step: Any) -> Any:
        return drive(planned(step), self._ask)

    def _ask(self, wanted: Any) -> Any:
        if isinstance(wanted, Pause):
            return time.sleep(wanted.seconds)
        asking = _Asking(self._lease, wanted)
        try:
            answer = asking.call(self._lease.container(self._user))
            return list(islice(answer, wanted.limit)) if isinstance(wanted, items.Query) else answer
        # The SDK copies headers of one thread's answer while another thread notes its retries in them.
        except (sdk_error(), RuntimeError) as error:
            found, wait = asking.failed(error)
            if found is None:
                return None
            if wait:
                time.sleep(wait)
            raise found from error

    def _asynchronous(self) -> AsyncRepository:
        if self._lease.given:
            return ThreadedRepository(self)
        twin = AsyncCosmosRepository(lease=self._lease)
        return twin._copied(_core=self._core, _scope=self._scope)

    def close(self) -> None:
        """Give the client back; the last repository on a URL closes it, one that was passed in stays open.

        A repository made from a URL can be used afterwards all the same: it then opens anew, until it is closed again.
        """
        self._lease.close(self._user)


# ------------------------------------------------------------------------------------------------ asynchronous


class AsyncCosmosRepository(AsyncRepository):
    """The same with ``await``, on an asynchronous ``ContainerProxy`` or, for a URL, a client for each running loop."""

    def __init__(
        self, container: Any = None, *, lease: Containers | None = None, ttl: int | None = None
    ) -> None:
        """Work on *container*, of the SDK's ``aio``, as `CosmosRepository` does on a blocking one."""
        self._lease = lease if lease is not None else Containers(container=container)
        self._core: DocumentsCore = DocumentsCore(CosmosStore(), ttl)
        self._user = User()

    async def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if not self._lease.checked:
            looking: Answer[bool] = repeated(_inspected)
            self._lease.checked = await adrive(looking, self._ask)
        return await adrive(operation(call), self._carry)

    async def _carry(self, step: Any) -> Any:
        return await adrive(planned(step), self._ask)

    async def _ask(self, wanted: Any) -> Any:
        if isinstance(wanted, Pause):
            return await asyncio.sleep(wanted.seconds)
        asking = _Asking(self._lease, wanted)
        try:
            return await awaited(
                self._answer(asking), "Cosmos DB did not answer", unknown=isinstance(wanted, Batch)
            )
        except sdk_error() as error:
            found, wait = asking.failed(error)
            if found is None:
                return None
            if wait:
                await asyncio.sleep(wait)
            raise found from error

    async def _answer(self, asking: _Asking) -> Any:
        answer = asking.call(await self._lease.async_container(self._user))
        if not isinstance(asking.wanted, items.Query):
            return await answer
        return await _collected(answer, asking.wanted.limit)

    async def close(self) -> None:
        """Give the running loop's client back; as `CosmosRepository.close`."""
        await self._lease.aclose(self._user)


async def _collected(answer: Any, limit: int | None) -> list[Any]:
    found: list[Any] = []
    if limit == 0:
        return found
    async for item in answer:
        found.append(item)
        if len(found) == limit:
            break
    return found
