"""The client of the service, and what its errors mean.

This is the only module that imports boto3; it is imported at the first call. It refuses to know what is asked.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn

from chatstore.backends.documents.steps import Failed, Lost
from chatstore.backends.dynamodb.queue import Queue
from chatstore.backends.registry import Registry
from chatstore.errors import (
    ChatstoreError,
    Invalid,
    SchemaMissing,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
)
from chatstore.extras import not_installed
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from chatstore.backends.dynamodb.address import Address

#: Seconds until a connection that is not made, or an answer that does not come, is a failure.
CONNECT_SECONDS, READ_SECONDS = 3, 10
CONNECTIONS = 50

_BUSY = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ProvisionedThroughputExceeded",
        "ThrottlingException",
        "ThrottlingError",
        "Throttling",
        "RequestLimitExceeded",
        "LimitExceededException",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    }
)
_LOST = frozenset({"ConditionalCheckFailedException", "ConditionalCheckFailed"})
_CONFLICT = frozenset({"TransactionConflictException", "TransactionConflict"})
_REFUSED = frozenset(
    {
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "ExpiredTokenException",
        "ExpiredToken",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
    }
)
_SERVER_FAULT = 500


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

        Raises `Lost`, `Failed` (unclear where it is *committing* and may have happened) or an error for the caller.
        """
        boto = self._boto()
        try:
            answer: dict[str, Any] = getattr(boto, name)(**parameters)
        except Exception as error:  # noqa: BLE001 - sorted by class and code; what is nobody's is raised as it is
            self._sorted(error, committing=committing)
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders")
        if headers and "x-amzn-requestid" not in headers:
            # boto3 makes an empty answer of any page, and an empty answer would mean that there is nothing.
            raise self._unreachable(None, unclear=committing)
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
            from botocore.exceptions import BotoCoreError
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
        except (BotoCoreError, ValueError) as error:
            self._sorted(error, committing=False)

    # ---- what went wrong

    def _sorted(self, error: Exception, *, committing: bool) -> NoReturn:
        """Raise what *error* means."""
        from botocore import exceptions as boto
        from botocore.parsers import ResponseParserError

        if isinstance(error, boto.ClientError):
            raise self._answered(error, committing=committing) from error
        if isinstance(error, boto.NoRegionError | boto.InvalidRegionError):
            raise Invalid(
                "no valid AWS region is named: write dynamodb://REGION/TABLE, or set AWS_REGION"
            ) from error
        if isinstance(
            error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError
        ):
            raise StorageError(
                "there are no complete AWS credentials: set them as for the AWS command line, or give the host a role"
            ) from error
        if isinstance(error, boto.ConnectionError | boto.SSLError | boto.ProxyConnectionError):
            never_sent = isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError)
            raise self._unreachable(error, unclear=committing and not never_sent)
        if isinstance(error, boto.HTTPClientError | ResponseParserError):
            raise self._unreachable(error, unclear=committing)
        if isinstance(error, boto.BotoCoreError):
            raise StorageError(
                "boto3 refused the request: its own error is this error's __cause__; look there"
            ) from error
        raise error

    def _unreachable(self, error: Exception | None, *, unclear: bool) -> Failed:
        told = StorageUnavailable(
            "DynamoDB cannot be reached: check that the host can, the URL's region and its endpoint_url"
        )
        return Failed(told, error, unclear=unclear, soon=True)

    def _answered(self, error: Any, *, committing: bool) -> Exception:
        """Return what an answer of the service means."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        reasons = {str(one.get("Code")) for one in error.response.get("CancellationReasons") or ()}
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        codes = {code, *reasons}
        if codes & _LOST or codes & _CONFLICT:
            return Lost()
        if codes & _BUSY:
            told = StorageUnavailable(
                "DynamoDB throttled the table until the deadline: repeat the call later, or give it more capacity"
            )
            return Failed(told, error, unclear=committing and code == "TransactionInProgressException")
        if status >= _SERVER_FAULT:
            told = StorageUnavailable(
                "DynamoDB had a fault of its own until the deadline: repeat the call later"
            )
            return Failed(told, error, unclear=committing)
        return self._final(code, str(error.response.get("Error", {}).get("Message", "")))

    def _final(self, code: str, message: str) -> ChatstoreError:
        """Return the error for what will not be different the next time."""
        table, upgrade = self.address.table, self.address.upgrade
        if code == "ResourceNotFoundException":
            where = (
                f"region {self.address.region}" if self.address.region else "the region of the AWS settings"
            )
            return SchemaMissing(f"there is no table {table!r} in {where}: check both, or run {upgrade}")
        if code in _REFUSED:
            return StorageError(
                "DynamoDB refuses access: check the AWS credentials, their region, and the permissions in "
                "docs/how-to/dynamodb.md"
            )
        if code == "ValidationException" and ("index" in message or "does not match the schema" in message):
            return SchemaOutdated(
                f"table {table!r} has not the keys or indexes of this release: run {upgrade}, or name another table"
            )
        return StorageError(
            "DynamoDB refused the request: its own error is this error's __cause__; look there"
        )


def code_of(error: ChatstoreError) -> str:
    """Return the service's own code of what caused *error*, '' if there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


# ------------------------------------------------------------------------------------------------ shared clients

_registry: Registry[Client] = Registry()


def borrowed(address: Address) -> Client:
    """Return the client that all repositories of this process on one table share; `returned` ends it."""
    return _registry.lent(address.url, lambda: Client(address))


def returned(client: Client) -> None:
    """Close *client* if nobody else has borrowed it."""
    if _registry.given_back(client):
        client.close()
