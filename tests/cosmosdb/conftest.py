"""An account, a container in it, and clients of the unmodified SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey

from tests.cosmos_fake import Fake

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    """Give a container with the partition key ``/session_id``, in which nothing expires by itself."""
    database = client.create_database("chat")
    return database.create_container("chat", PartitionKey("/session_id"), default_ttl=-1)
