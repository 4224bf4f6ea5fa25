"""What an error of boto3 means: a lost race, something worth another attempt, or an error for the caller.

This module knows classes and codes; it refuses to know what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backends.common.documents.steps import Lost
from chatstore.driving import Failed
from chatstore.errors import (
    ChatstoreError,
    Invalid,
    SchemaMissing,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from chatstore.backends.dynamodb.url import Address

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


def meaning(error: Exception, driver: Any, address: Address, *, committing: bool) -> Exception:
    """Return what to raise for *error*, by the classes of *driver* (botocore); what is nobody's is returned as it is.

    What a request has done that was *committing* is unclear where it may have arrived.
    """
    boto = driver.exceptions
    if isinstance(error, boto.ClientError):
        return _answered(error, address, committing=committing)
    if isinstance(error, boto.NoRegionError | boto.InvalidRegionError):
        return Invalid("no valid AWS region is named: write dynamodb://REGION/TABLE, or set AWS_REGION")
    if isinstance(
        error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError
    ):
        return StorageError(
            "there are no complete AWS credentials: set them as for the AWS command line, or give the host a role"
        )
    broken = (boto.ConnectionError, boto.SSLError, boto.ProxyConnectionError, boto.HTTPClientError)
    if isinstance(error, (*broken, driver.parsers.ResponseParserError)):
        never_sent = isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError)
        return unreachable(error, ambiguous=committing and not never_sent)
    if isinstance(error, boto.BotoCoreError):
        return StorageError("boto3 refused the request: its own error is this error's __cause__; look there")
    return error


def unreachable(error: Exception | None, *, ambiguous: bool) -> Failed:
    """Make the error for a service that does not answer."""
    told = StorageUnavailable(
        "DynamoDB cannot be reached: check that the host can, the URL's region and its endpoint_url"
    )
    return Failed("lost", told, error, ambiguous=ambiguous)


def _answered(error: Any, address: Address, *, committing: bool) -> Exception:
    """Return what an answer of the service means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    reasons = {str(one.get("Code")) for one in error.response.get("CancellationReasons") or ()}
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    codes = {code, *reasons}
    if codes & _LOST or codes & _CONFLICT:
        return Lost()
    if codes & _BUSY:
        told = StorageUnavailable(
            "DynamoDB throttled the table all the time: repeat the call later, or give it more capacity"
        )
        return Failed("busy", told, error, ambiguous=committing and code == "TransactionInProgressException")
    if status >= _SERVER_FAULT:
        told = StorageUnavailable("DynamoDB had a fault of its own all the time: repeat the call later")
        return Failed("busy", told, error, ambiguous=committing)
    return _final(address, code, str(error.response.get("Error", {}).get("Message", "")))


def _final(address: Address, code: str, message: str) -> ChatstoreError:
    """Return the error for what will not be different the next time."""
    table, upgrade = address.table, address.upgrade
    if code == "ResourceNotFoundException":
        where = f"region {address.region}" if address.region else "the region of the AWS settings"
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
    return StorageError("DynamoDB refused the request: its own error is this error's __cause__; look there")


def code_of(error: ChatstoreError) -> str:
    """Return the service's own code of what caused *error*, '' if there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
