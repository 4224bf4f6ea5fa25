"""An account, a container in it, clients of the unmodified SDK, and repositories on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey

import chatstore
from chatstore import deadlines
from chatstore.backends.cosmosdb import items
from tests.cosmos import base_of
from tests.cosmos_fake import Fake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore import Repository


@pytest.fixture
def fake() -> Iterator[Fake]:
    """Give an account without a database."""
    with Fake().running() as running:
        yield running


@pytest.fixture
def client(fake: Fake) -> Iterator[CosmosClient]:
    """Give a client of the account."""
    with CosmosClient(fake.url, fake.key) as opened:
        yield opened


@pytest.fixture
def container(client: CosmosClient) -> ContainerProxy:
    """Give a container as chatstore wants it."""
    database = client.create_database("chat")
    key = PartitionKey(items.PARTITION_KEY)
    return database.create_container("chat", key, default_ttl=-1, indexing_policy=items.INDEXING)


@pytest.fixture
def url(fake: Fake, container: ContainerProxy) -> str:
    """Give the URL of the container."""
    return f"{base_of(fake)}/chat/chat"


@pytest.fixture
def store(url: str) -> Iterator[Repository]:
    """Give a repository on the container."""
    with chatstore.connect(url) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let operations give up after a second and a half."""
    monkeypatch.setattr(deadlines, "DEFAULT", 1.5)
