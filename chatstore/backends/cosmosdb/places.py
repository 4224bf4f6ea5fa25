"""`Containers`: the clients that reach a container, ours or the caller's, and what has been seen of it.

This module knows credentials, and how clients are made and closed. How long they live is the lease's
(`chatstore.backends.common.leases`). It refuses to know documents. No key stands in any error or repr.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from chatstore.backends.common.leases import Lease, shared
from chatstore.backends.cosmosdb.url import KEY_ENVIRONMENT, Address, checked_key
from chatstore.errors import MissingDependency
from chatstore.extras import not_installed, pip_install
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from chatstore.backends.common.leases import User

#: Settings of clients made here. Attempts are counted, and pauses made, in one place: `chatstore.driving`.
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


class Containers(Lease[Any, "_LoopClient"]):
    """The clients that reach a container at an *address*, or a container that was passed in; what was seen of it."""

    def __init__(
        self, address: Address | None = None, *, container: Any = None, credential: Any = None
    ) -> None:
        """Lend a *container* of the caller's, or make clients for *address* at the first use."""
        self.address, self.credential = address, credential
        self.checked = False
        self.seen = Seen()
        super().__init__(container)

    # ---- what `Lease` asks

    def make(self) -> Any:
        """Make a client that blocks, which asks the account once."""
        return _client(self.known_address, self.credential)

    def make_awaiting(self) -> _LoopClient:
        """Make a client for the running loop."""
        return _LoopClient(*_async_client(self.known_address, self.credential))

    def dispose(self, thing: Any) -> None:
        """Close the client's connections."""
        thing.close()

    async def dispose_awaiting(self, thing: _LoopClient) -> None:
        """Close the client's connections, and the credential made for it."""
        await thing.close()

    def unlearn(self) -> None:
        """Forget the container that was looked at: until the next use another may stand in its place."""
        self.checked = False
        self.seen = Seen()

    # ---- the container

    def container(self, user: User) -> Any:
        """Return the container for blocking calls."""
        lent = self.lend(user)
        return lent if self.given else _in_client(lent, self.known_address)

    async def async_container(self, user: User) -> Any:
        """Return the container for the running loop."""
        lent: Any = self.lend_awaiting(user)
        if self.given:
            return lent
        await lent.entered()
        return _in_client(lent.client, self.known_address)

    @property
    def known_address(self) -> Address:
        """The address of what has no container of the caller's."""
        assert self.address is not None, "without a container there is an address"  # noqa: S101 - for the type checker
        return self.address


class _LoopClient:
    """One loop's client, and the credential made for it (None: nobody's to close)."""

    def __init__(self, client: Any, credential: Any) -> None:
        self.client, self.credential = client, credential
        self.entering: asyncio.Future[Any] | None = None

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


def containers_for(address: Address) -> Containers:
    """Return what reaches *address* in this process."""
    key = os.environ.get(KEY_ENVIRONMENT)
    return shared(Containers, address, key, make=lambda: Containers(address))


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
