"""Which Cosmos DB account a test gets: the one in the environment, else a fake that lives as long as the test.

`CHATSTORE_TEST_COSMOS_URL` names an account, or an emulator, as ``cosmosdb://:KEY@HOST/any/thing``: each test makes a
database of its own there, and deletes it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from azure.cosmos import ContainerProxy, CosmosClient

from chatstore.backends.cosmosdb.provisioning import provisioner_for
from chatstore.backends.cosmosdb.url import parse_url
from tests.cosmos_fake import Fake

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = "CHATSTORE_TEST_COSMOS_URL"


@dataclass
class Account:
    """An account by its *base* URL, without a path; *fake* is None for a real one."""

    base: str
    client: CosmosClient
    fake: Fake | None

    @contextlib.contextmanager
    def container(self) -> Iterator[str]:
        """Give the URL of a new container in a database of its own, which goes at the end."""
        database = f"chatstore_test_{os.getpid()}_{secrets.token_hex(4)}"
        url = f"{self.base}/{database}/chats"
        with contextlib.closing(provisioner_for(url)) as tables:
            tables.upgrade()
        try:
            yield url
        finally:
            self.client.delete_database(database)

    def proxy(self, url: str) -> ContainerProxy:
        """Return the SDK's own view of the container of *url*."""
        address = parse_url(url)
        return self.client.get_database_client(address.database).get_container_client(address.container)

    def documents(self, url: str) -> list[dict[str, Any]]:
        """Return every document of the container of *url*, as it is stored."""
        found = self.proxy(url).query_items("SELECT * FROM c", enable_cross_partition_query=True)
        return sorted(found, key=lambda one: (one["session_id"], one["id"]))

    def empty(self, url: str) -> None:
        """Delete every document of the container of *url*."""
        if self.fake is not None:
            address = parse_url(url)
            with self.fake.store.lock:
                self.fake.store.containers[address.database, address.container].versions.clear()
            return
        for one in self.documents(url):
            self.proxy(url).delete_item(one["id"], one["session_id"])


@contextlib.contextmanager
def account() -> Iterator[Account]:
    """Give an account: a real one if the environment names it, else a fake."""
    if given := os.environ.get(ENVIRONMENT):
        base = given.removesuffix(urlsplit(given).path)
        address = parse_url(f"{base}/any/thing")
        with CosmosClient(address.endpoint, address.key or "") as client:
            yield Account(base, client, None)
        return
    with Fake().running() as fake, CosmosClient(fake.url, fake.key) as client:
        yield Account(base_of(fake), client, fake)


def connection_string(base: str) -> str:
    """Return endpoint and key of an account, in the form that the portal shows."""
    address = parse_url(f"{base}/any/thing")
    return f"AccountEndpoint={address.endpoint}/;AccountKey={address.key}"


@contextlib.contextmanager
def leaking_sdk() -> Iterator[None]:
    """Sweep up behind the SDK: its blocking client, if it cannot be made, leaves connections to the garbage."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def base_of(fake: Fake) -> str:
    """Return the URL of a fake account, without a path."""
    return f"cosmosdb+http://:{quote(fake.key, safe='')}@{fake.url.removeprefix('http://')}"
