"""Where a container is: URLs, connection strings, parameters, and the account's key, which nothing shows.

This module knows how people write such things; it refuses to know clients.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from chatstore import deadlines
from chatstore.errors import Invalid

if TYPE_CHECKING:
    from urllib.parse import SplitResult

SCHEMES: Final = {"cosmosdb": "https", "cosmosdb+http": "http"}
KEY_ENVIRONMENT: Final = "AZURE_COSMOS_KEY"


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a container is, and the account's *key* (None: from the environment, or a credential)."""

    endpoint: str
    database: str
    container: str
    key: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.endpoint!r}, {self.database!r}, {self.container!r})"


def parse_url(url: str) -> Address:
    """Return what ``cosmosdb://:KEY@ACCOUNT.documents.azure.com/DATABASE/CONTAINER`` names; raise `Invalid`."""
    try:
        parts = urlsplit(deadlines.split(url)[0])
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    path = [unquote(part) for part in parts.path.split("/")[1:]]
    if parts.scheme not in SCHEMES or not host or len(path) != 2 or not all(path) or parts.query:  # noqa: PLR2004 - database, container
        msg = (
            "a Cosmos DB URL is cosmosdb://ACCOUNT.documents.azure.com/DATABASE/CONTAINER: write it so, a key as "
            f"cosmosdb://:KEY@…, in per cent ('/' is %2F), or in {KEY_ENVIRONMENT}"
        )
        raise Invalid(msg)
    endpoint = f"{SCHEMES[parts.scheme]}://{host}" + (f":{port}" if port else "")
    return Address(endpoint, path[0], path[1], _key_in(parts))


def _key_in(parts: SplitResult) -> str | None:
    """Return the key of a URL; one that is no base64 was cut somewhere, and is refused before the SDK shows it."""
    if parts.username:
        msg = "a Cosmos DB URL has no user, only a key: write cosmosdb://:KEY@ACCOUNT…, with the colon"
        raise Invalid(msg)
    return checked_key(unquote(parts.password)) if parts.password else None


def checked_key(key: str) -> str:
    """Return *key* if it can be an account's, else raise `Invalid`."""
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        msg = "the key of the Cosmos DB account is not base64: copy the whole key, in a URL in per cent ('/' is %2F)"
        raise Invalid(msg) from None
    return key


def address_of(
    endpoint: str, database: str, container: str, key: str | None, connection_string: str | None
) -> Address:
    """Return the address of a container by the parameters that histories take; raise `Invalid`."""
    if connection_string is not None:
        parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
        endpoint, key = parts.get("AccountEndpoint", ""), parts.get("AccountKey")
        if not endpoint or not key:
            msg = "a connection string of Cosmos DB is AccountEndpoint=https://…;AccountKey=…;: copy the whole of it"
            raise Invalid(msg)
    if urlsplit(endpoint).scheme not in {"https", "http"} or not database or not container:
        msg = "Cosmos DB needs an endpoint (https://ACCOUNT.documents.azure.com), a database and a container: name them"
        raise Invalid(msg)
    return Address(endpoint.rstrip("/"), database, container, checked_key(key) if key else None)
