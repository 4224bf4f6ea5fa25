"""A second opinion: parts of the contract on moto, which was written by others than the server of the other tests.

It knows no idempotency tokens and refuses or accepts some sizes differently; what depends on those is tested there.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import connect
from chatstore.backends.dynamodb.provisioning import HEAD, provisioner_for
from chatstore.provisioning import Moved
from chatstore.testing.appending import AppendingContract
from chatstore.testing.editing import EditingContract
from chatstore.testing.expiry import ExpiryContract
from chatstore.testing.listing import ListingContract
from chatstore.testing.loading import ForkContract
from chatstore.testing.machine import MachineContract
from chatstore.testing.revisions import RevisionContract
from tests import dynamo

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("default:::moto")]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start moto on loopback; give the endpoint."""
    moto = pytest.importorskip(
        "moto.server", reason="pip install 'chatstore-sql[test-services]' for a second opinion"
    )
    started = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture(scope="module")
def url(server: str) -> Iterator[str]:
    """Give the URL of a table that is made and taken away."""
    url = f"dynamodb://eu-central-1/chat-{secrets.token_hex(4)}?endpoint_url={server}"
    dynamo.lend_credentials(url)
    tables = provisioner_for(url)
    assert Moved(None, HEAD) == tables.upgrade()
    assert (HEAD, []) == (tables.current(), tables.differences())
    yield url
    assert Moved(HEAD, None) == tables.downgrade()
    tables.close()


class TestOnMoto(
    AppendingContract,
    RevisionContract,
    EditingContract,
    ForkContract,
    ExpiryContract,
    ListingContract,
    MachineContract,
):
    """What the requests mean to somebody else's reading of the documentation."""

    lacks = frozenset({"large"})

    @pytest.fixture
    def repository(self, url: str) -> Iterator[Any]:
        """Give a repository over the table, which is emptied afterwards."""
        with connect(url) as repository:
            yield repository
        lent = dynamo.client(url)
        dynamo.empty(lent, dynamo.table_of(url))
        lent.close()
