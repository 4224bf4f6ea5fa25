"""`Place`: a container of ours or of the caller's, the clients that reach it, and what has been seen of it.

This module knows credentials, and how long clients live: one for each URL and process, counted, new in a
forked child; under asyncio one for each running loop. It refuses to know documents. No key stands in any error or repr.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

from chatstore.backends.common.leases import Registry
from chatstore.backends.cosmosdb.url import KEY_ENVIRONMENT, Address, checked_key
from chatstore.errors import MissingDependency
from chatstore.extras import not_installed, pip_install
from chatstore.forks import renewed_in_child

#: Settings of clients made here. Attempts are counted, and pauses made, in one place: `documents.attempts`.
OPTIONS: Final[dict[str, Any]] = {
    "retry_connect": 0,
    "retry_read": 0,
    "retry_status": 0,
    "retry_throttle_total": 1,
    "connection_timeout": 5,
    "read_timeout": 10,
    "user_agent_suffix": "chatstore",
}
#: Sessions of which it is remembered what this process has seen.
REMEMBERED: Final = 10_000


class Place:
    """A container: made reachable here for an *address*, or one that was passed in."""

    def __init__(
        self, address: Address | None = None, *, container: Any = None, credential: Any = None
    ) -> None:
        """Hold a *container* of the caller's, or make clients for *address* at the first use."""
        self.address, self.given, self.credential = address, container, credential
        self.users = 0
        self.checked = False
        self.seen = Seen()
        self._client: Any = None
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lent] = WeakKeyDictionary()
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        """Begin anew in a forked child: the parent's sockets stay the parent's."""
        self._lock = Lock()
        if self._client is not None or self._async_clients:
            _left_alone.append((self._client, list(self._async_clients.values())))
            self._client = None
            self._async_clients.clear()

    def container(self) -> Any:
        """Return the container for blocking calls."""
        return self.given if self.given is not None else _in_client(self.client(), self.known_address)

    def client(self) -> Any:
        """Return the client for blocking calls; making it asks the account once."""
        with self._lock:
            if self._client is None:
                self._client = _client(self.known_address, self.credential)
            return self._client

    async def async_container(self, user: object) -> Any:
        """Return the container for the running loop, whose client is kept until its last *user* closes."""
        if self.given is not None:
            return self.given
        loop = asyncio.get_running_loop()
        kept = self._async_clients.get(loop)
        if kept is None:
            client, credential = _async_client(self.known_address, self.credential)
            kept = self._async_clients[loop] = _Lent(client, credential)
        kept.users.add(id(user))
        await kept.entered()
        return _in_client(kept.client, self.known_address)

    @property
    def known_address(self) -> Address:
        """The address of a place that has no container of the caller's."""
        assert self.address is not None, "a place without a container has an address"  # noqa: S101 - for the type checker
        return self.address

    def close(self) -> None:
        """Count one user less; close the client made here with the last."""
        last = _registry.given_back(self)
        with self._lock:
            if last and self._client is not None:
                self._client.close()
                self._client = None

    async def release(self, user: object) -> None:
        """Give the running loop's client back, which goes with its last user."""
        loop = asyncio.get_running_loop()
        kept = self._async_clients.get(loop)
        if kept is not None:
            kept.users.discard(id(user))
            if not kept.users:
                del self._async_clients[loop]
                await kept.close()


class _Lent:
    """One loop's client, the credential made for it (None: nobody's to close), and who uses it."""

    def __init__(self, client: Any, credential: Any) -> None:
        self.client, self.credential = client, credential
        self.entering: asyncio.Future[Any] | None = None
        self.users: set[int] = set()

    async def entered(self) -> None:
        """Let the client ask the account for its consistency level: before that, it sends no session tokens."""
        if self.entering is None or (self.entering.done() and _fault(self.entering) is not None):
            self.entering = asyncio.ensure_future(self.client.__aenter__())
        await asyncio.shield(self.entering)  # whoever is cancelled leaves it to the others

    async def close(self) -> None:
        """Close what was made for the loop."""
        if self.entering is not None:
            await asyncio.wait([self.entering])
            _fault(self.entering)  # whoever needed the client has heard of it
        await self.client.close()
        if self.credential is not None:
            await self.credential.close()


def _fault(ended: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if ended.cancelled() else ended.exception()


class Seen:
    """What this process has seen of each session, as the service's own tokens, so that it never reads older.

    The SDK keeps such tokens too, but not those of transactional batches, which all writes here are.
    """

    def __init__(self) -> None:
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock, self._tokens = Lock(), OrderedDict[str, str]()

    def token(self, session_id: str) -> str | None:
        """Return what to pass when the session is read."""
        with self._lock:
            return self._tokens.get(session_id)

    def note(self, session_id: str, token: str | None) -> None:
        """Remember *token*, of any answer about the session, unless a later one is known: answers pass each other."""
        if token is None:
            return
        with self._lock:
            kept = self._tokens.pop(session_id, token)
            self._tokens[session_id] = kept if _progress(kept) > _progress(token) else token
            if len(self._tokens) > REMEMBERED:
                self._tokens.popitem(last=False)


def _progress(token: str) -> tuple[int, int]:
    """Return how far a token goes: version and number of the last write in RANGE:VERSION#NUMBER; else nothing."""
    found = re.match(r"\w+:(-?\d+)#(\d+)", token)
    return (int(found[1]), int(found[2])) if found else (0, 0)


# ------------------------------------------------------------------------------------------------ one for each URL

_registry: Registry[Place] = Registry()
#: In a forked child, the parent's clients: to collect them would touch the parent's sockets.
_left_alone: list[Any] = []


def shared(address: Address) -> Place:
    """Return the place of *address* in this process, counted once more."""
    return _registry.lent((address, os.environ.get(KEY_ENVIRONMENT)), lambda: Place(address))


# ------------------------------------------------------------------------------------------------ clients


def _client(address: Address, credential: Any) -> Any:
    cosmos = sdk()
    return cosmos.CosmosClient(
        address.endpoint, credential or _credential(address, "azure.identity"), **OPTIONS
    )


def _async_client(address: Address, credential: Any) -> tuple[Any, Any]:
    """Return a client for the running loop, and the credential that goes with it (None: nobody has to close one)."""
    sdk()
    from azure.cosmos.aio import CosmosClient

    given = credential or _credential(address, "azure.identity.aio")
    own = given if credential is None and not isinstance(given, str) else None
    return CosmosClient(address.endpoint, given, **OPTIONS), own


def _in_client(client: Any, address: Address) -> Any:
    return client.get_database_client(address.database).get_container_client(address.container)


def sdk() -> Any:
    """Import the SDK; raise `MissingDependency` where it is not installed."""
    try:
        import aiohttp  # noqa: F401 - the asynchronous clients need it
        from azure import cosmos
    except ImportError as error:
        raise not_installed("azure-cosmos, the client of Cosmos DB,", "cosmosdb") from error
    return cosmos


def sdk_error() -> type[Exception]:
    """Return the class of everything that the SDK raises about requests."""
    from azure.core.exceptions import AzureError

    return AzureError


def _credential(address: Address, module: str) -> Any:
    """Return the key of the URL or the environment, else Microsoft Entra ID's default credential."""
    if address.key is not None:
        return address.key
    if key := os.environ.get(KEY_ENVIRONMENT):
        return checked_key(key)
    from importlib import import_module

    try:
        return import_module(module).DefaultAzureCredential()
    except ImportError as error:
        msg = (
            f"there is no key for Cosmos DB: put it into the URL or into {KEY_ENVIRONMENT}, or log in with "
            f"Microsoft Entra ID after {pip_install('azure-identity')}"
        )
        raise MissingDependency(msg) from error
