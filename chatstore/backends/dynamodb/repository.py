"""`DynamoDBRepository`: the contract over one table.

This module lends the core its table; it refuses to know requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backends.common.documents.committing import check_ttl
from chatstore.backends.common.documents.core import DocumentsCore
from chatstore.backends.dynamodb.client import BotoClients, TableClient, clients_for
from chatstore.backends.dynamodb.store import DynamoDBStore
from chatstore.backends.dynamodb.url import checked, parse_url
from chatstore.contract import InSession
from chatstore.driving import drive
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.aio import AsyncRepository
    from chatstore.contract import Answer, C, T


class DynamoDBRepository(Repository):
    """Sessions in a DynamoDB table that ``chatstore upgrade`` has made; safe for threads and forks."""

    def __init__(
        self,
        table_name: str,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        boto3_session: Any = None,
        client: Any = None,
        ttl: int | None = None,
    ) -> None:
        """Work on table *table_name*, without any I/O.

        Credentials come from the usual places of AWS, or from *boto3_session*. A boto3 *client* for DynamoDB that is
        passed is used as it is, with its own region, retries and timeouts, and never closed. *ttl* is in seconds: a
        session expires so long after something was added to it. Raises `Invalid`.
        """
        address = checked(table_name, region_name, endpoint_url)
        lasting = check_ttl(ttl)
        own = BotoClients(address, session=boto3_session, given=client)
        lease = own if boto3_session is not None or client is not None else clients_for(address)
        self._client = TableClient(lease)
        self._store = DynamoDBStore(self._client)
        self._core: DocumentsCore = DocumentsCore(self._store, lasting)

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if call.reads or not isinstance(call, InSession):
            return drive(operation(call), self._store.carry_out)
        with self._client.queue.at(call.session_id):
            return drive(operation(call), self._store.carry_out)

    def _asynchronous(self) -> AsyncRepository:
        from chatstore.threads import ThreadedRepository

        return ThreadedRepository(self)

    def close(self) -> None:
        """Close the connections, unless another repository on the same URL uses them, or a client was passed in.

        A repository can be used afterwards all the same: it then opens anew, until it is closed again.
        """
        self._client.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.address.url!r})"


def repository_for(url: str) -> DynamoDBRepository:
    """Return the repository behind a ``dynamodb:`` URL. Raises `Invalid`."""
    table, region, endpoint = parse_url(url)
    return DynamoDBRepository(table, region_name=region, endpoint_url=endpoint)
