"""The client of the service.

This is the only module that imports boto3; it is imported at the first call. It refuses to know what is asked, and
what boto3's errors mean (`driver_errors`).
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from chatstore.backends.common.leases import Registry
from chatstore.backends.dynamodb.driver_errors import meaning, unreachable
from chatstore.backends.dynamodb.queue import Queue
from chatstore.extras import not_installed
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from chatstore.backends.dynamodb.url import Address

#: Seconds until a connection that is not made, or an answer that does not come, is a failure.
CONNECT_SECONDS, READ_SECONDS = 3, 10
CONNECTIONS = 50


class Client:
    """A boto3 client, made at the first call, new in a forked child; or one of the caller's, which stays as it is."""

    def __init__(self, address: Address, *, session: Any = None, given: Any = None) -> None:
        """Talk to the service of *address*, by a boto3 *session* of the caller's, or a client that was *given*."""
        self.address, self.users, self.queue = address, 0, Queue()
        self._session, self._given, self._made = session, given, None
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        # A client of the parent's would share its sockets.
        self._lock, self._made = Lock(), None

    def call(self, name: str, *, committing: bool = False, **parameters: Any) -> dict[str, Any]:
        """Return the answer of one request, sent once.

        Raises `Lost`, `Failed` (ambiguous where it is *committing* and may have happened) or an error for the caller.
        """
        boto = self._boto()
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
        """Close the client that was made here."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _boto(self) -> Any:
        if self._given is not None:
            return self._given
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._new()
        return self._made

    def _new(self) -> Any:
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
            return session.client(
                "dynamodb",
                region_name=self.address.region,
                endpoint_url=self.address.endpoint,
                config=config,
            )
        except (_driver().exceptions.BotoCoreError, ValueError) as error:
            found = meaning(error, _driver(), self.address, committing=False)
            if found is error:
                raise
            raise found from error


def _driver() -> Any:
    """Return botocore with the modules that have its errors."""
    import botocore.exceptions
    import botocore.parsers

    return botocore


# ------------------------------------------------------------------------------------------------ shared clients

_registry: Registry[Client] = Registry()


def borrowed(address: Address) -> Client:
    """Return the client that all repositories of this process on one table share; `returned` ends it."""
    return _registry.lent(address.url, lambda: Client(address))


def returned(client: Client) -> None:
    """Close *client* if nobody else has borrowed it."""
    if _registry.given_back(client):
        client.close()
