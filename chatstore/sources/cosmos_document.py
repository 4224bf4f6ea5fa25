"""The Cosmos DB container of LangChain's packages: one document for each session, with a list of its messages.

This module knows the layout: a document ``{"id": session id, "user_id": …, "messages": [{"type", "data"}, …]}`` under
the partition key ``/user_id``. The container's own time to live is not read. Only one query is sent.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from chatstore.errors import Invalid, MissingDependency, StorageError, StorageUnavailable
from chatstore.extras import not_installed, pip_install
from chatstore.incoming.session import Incoming
from chatstore.sources.reading import fetch, hide_password, number_elements, require

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping


OPTIONS: Final[dict[str, str]] = {}
#: Where the account's key is looked for; without one, Entra ID is asked.
KEY_ENVIRONMENT: Final = "AZURE_COSMOS_KEY"
#: Documents asked for at a time; one has up to 2 MB.
_PAGE: Final = 10
_SCHEMES: Final = {"cosmosdb": "https", "https": "https", "http": "http"}


class _Container(NamedTuple):
    endpoint: str
    key: str | None
    database: str
    container: str


def mask(source: str) -> str:
    """Return the source without its key."""
    return hide_password(source, "cosmosdb:")


def read(source: str, session: str | None, options: Mapping[str, str]) -> Generator[Incoming, None, None]:
    """Yield the sessions of the container, in no order; *session* alone, of every user, where it is named."""
    del options
    place = _parse_url(source)
    with _open_client(place) as client:
        container = client.get_database_client(place.database).get_container_client(place.container)
        asked: dict[str, Any] = {"query": "SELECT * FROM c"}
        if session is not None:
            asked["query"] += " WHERE c.id = @session"
            asked["parameters"] = [{"name": "@session", "value": session}]
        with _translate_errors(source):
            documents = iter(
                container.query_items(**asked, enable_cross_partition_query=True, max_item_count=_PAGE)
            )
        origin = f"{place.database}/{place.container}"
        found = (_read_session(document, origin) for document in fetch(documents, source, _translate_errors))
        yield from require(found, session, mask(source), "check the id")


def _parse_url(source: str) -> _Container:
    try:
        parts = urlsplit(source)
        scheme = _SCHEMES[parts.scheme]
        _, database, container = parts.path.split("/")
        port = "" if parts.port is None else f":{parts.port}"
    except (KeyError, ValueError):
        database = container = ""
    if not database or not container or not parts.hostname:
        msg = "write the container as cosmosdb://ACCOUNT.documents.azure.com/DATABASE/CONTAINER"
        raise Invalid(msg)
    key = unquote(parts.password) if parts.password else os.environ.get(KEY_ENVIRONMENT)
    return _Container(f"{scheme}://{parts.hostname}{port}/", key, unquote(database), unquote(container))


@contextmanager
def _open_client(place: _Container) -> Iterator[Any]:
    try:
        from azure.cosmos import CosmosClient
    except ImportError as error:
        raise not_installed("azure-cosmos, the client of Cosmos DB,", "cosmosdb") from error
    with _translate_errors(place.endpoint):
        client = CosmosClient(
            place.endpoint, place.key or _find_credential(), connection_timeout=10, read_timeout=60
        )
    with client:
        yield client


def _find_credential() -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        msg = (
            f"there is no key: set {KEY_ENVIRONMENT}, or sign in without one: {pip_install('azure-identity')}"
        )
        raise MissingDependency(msg) from error
    return DefaultAzureCredential()


@contextmanager
def _translate_errors(source: str) -> Iterator[None]:
    """Turn the client's errors into ours; what a server says is not repeated, it may hold a token."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        status = error.status_code
        if status == 404:  # noqa: PLR2004 - HTTP's number for what is not there
            raise StorageError(f"{mask(source)} does not exist: check database and container") from error
        msg = f"{mask(source)} refuses (HTTP {status}): check the key, or the right to read items, and repeat this"
        raise StorageUnavailable(msg) from error
    except (AzureError, ValueError) as error:  # a key that is not base64 is a ValueError
        msg = f"{mask(source)} does not answer ({type(error).__name__}): check account, network and key"
        raise StorageUnavailable(msg) from error


def _read_session(document: dict[str, Any], origin: str) -> Incoming:
    session, user_id = document.get("id"), document.get("user_id")
    place = f"document {session}"
    if not isinstance(session, str) or not isinstance(user_id, str | None):
        return Incoming(
            "",
            origin,
            place,
            fault="its id or user_id is not text, so it is not a session: check the container",
        )
    messages = document.get("messages")
    if not isinstance(messages, list):
        return Incoming(
            session,
            origin,
            place,
            fault="it has no list of messages, so it is not a session: check the container",
        )
    place += f" of {user_id}"
    elements = number_elements(messages, f"{place} message")
    return Incoming(session, origin, place, elements, user_id=user_id or None)
