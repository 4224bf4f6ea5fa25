"""The client of the service.

This is the only module that imports boto3; it is imported at the first call. It refuses to know what is asked, and
what boto3's errors mean (`driver_errors`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backends.common.leases import Lease, User, shared
from chatstore.backends.dynamodb.driver_errors import meaning, unreachable
from chatstore.backends.dynamodb.queue import Queue
from chatstore.deadlines import GRACE, left
from chatstore.extras import not_installed

if TYPE_CHECKING:
    from chatstore.backends.dynamodb.url import Address

#: Seconds until a connection that is not made, or an answer that does not come, is a failure, where the deadline does
#: not come first.
CONNECT_SECONDS, READ_SECONDS = 3, 10
#: Seconds that a connection is waited for at least.
SHORTEST = 0.05
CONNECTIONS = 50


class BotoClients(Lease[Any, Any]):
    """The boto3 client for the table of an *address*, or one of the caller's; with the writers that queue for it."""

    def __init__(self, address: Address, *, session: Any = None, given: Any = None) -> None:
        """Lend a client that was *given*, or make one, by a boto3 *session* of the caller's or by none."""
        self.address, self.queue = address, Queue()
        self._session = session
        super().__init__(given)

    def make(self) -> Any:
        """Make a client, without any I/O."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise not_installed("boto3, the client of DynamoDB,", "dynamodb") from error
        config = Config(
            retries={"total_max_attempts": 1},  # attempts, pauses and the deadline are chatstore's own
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
        )
        try:
            session = self._session or boto3.session.Session()
            made = session.client(
                "dynamodb",
                region_name=self.address.region,
                endpoint_url=self.address.endpoint,
                config=config,
            )
            _keep_deadlines(made)
            return made
        except (_driver().exceptions.BotoCoreError, ValueError) as error:
            found = meaning(error, _driver(), self.address, committing=False)
            if found is error:
                raise
            raise found from error

    def dispose(self, thing: Any) -> None:
        """Close the client's connections."""
        thing.close()


def _keep_deadlines(client: Any) -> None:
    """Have *client* wait no longer than the running call may; botocore has one limit for all of a client's calls."""
    from urllib3.util import Timeout

    class Timed(Timeout):
        @property
        def connect_timeout(self) -> float:
            return max(left(CONNECT_SECONDS), SHORTEST)

        @property
        def read_timeout(self) -> float:
            return left(READ_SECONDS) + GRACE

        def clone(self) -> Timeout:
            return Timed(connect=CONNECT_SECONDS, read=READ_SECONDS)

    session = client._endpoint.http_session
    session._timeout = timed = Timed(connect=CONNECT_SECONDS, read=READ_SECONDS)
    session._manager.connection_pool_kw["timeout"] = timed


class TableClient:
    """What asks the service about one table, over a client that a lease lends until `close`."""

    def __init__(self, lease: BotoClients) -> None:
        """Ask over the client of *lease*."""
        self.lease, self.address, self.queue = lease, lease.address, lease.queue
        self._user = User()
        lease.enter(self._user)

    def call(self, name: str, *, committing: bool = False, **parameters: Any) -> dict[str, Any]:
        """Return the answer of one request, sent once.

        Raises `Lost`, `Failed` (ambiguous where it is *committing* and may have happened) or an error for the caller.
        """
        boto = self.lease.lend(self._user)
        try:
            answer: dict[str, Any] = getattr(boto, name)(**parameters)
        except Exception as error:
            found = meaning(error, _driver(), self.address, committing=committing)
            if found is error:
                raise
            raise found from error
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders")
        if headers and "x-amzn-requestid" not in headers:
            # boto3 makes an empty answer of any page, and an empty answer would mean that there is nothing.
            raise unreachable(None, ambiguous=committing)
        return answer

    def close(self) -> None:
        """Give the client back, which goes with its last user; asking again opens anew."""
        self.lease.close(self._user)


def _driver() -> Any:
    """Return botocore with the modules that have its errors."""
    import botocore.exceptions
    import botocore.parsers

    return botocore


def clients_for(address: Address) -> BotoClients:
    """Return what all repositories of this process on one table share."""
    return shared(BotoClients, address.url, make=lambda: BotoClients(address))
