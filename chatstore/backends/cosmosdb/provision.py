"""The container that chatstore needs: creating it, looking at it, taking it away.

This module knows databases and containers; it refuses to know what is in them. It is not called by the repository,
which only looks whether the container is there: making one costs money.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatstore.backends.cosmosdb import items
from chatstore.backends.cosmosdb.faults import meaning
from chatstore.backends.cosmosdb.places import Place, parse_url
from chatstore.backends.documents.steps import Failed
from chatstore.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What documents look like. It changes when an older release could not read what a newer one writes.
LAYOUT = "cosmosdb_1"


def upgrade(url: str) -> bool:
    """Create the database and the container of *url* where they are missing; tell whether the container was.

    An account key is needed: with Microsoft Entra ID, data roles cannot create anything. Raises `SchemaError` if
    there is a container with another partition key.
    """
    with _client(url) as (client, place):
        from azure.cosmos import PartitionKey

        found = _properties(place)
        if found is None:
            database = client.create_database_if_not_exists(place.address.database)
            database.create_container_if_not_exists(
                place.address.container,
                PartitionKey(items.PARTITION_KEY),
                default_ttl=-1,
                indexing_policy=items.INDEXING,
            )
            return True
        checked_key_path(found)
        return False


def downgrade(url: str) -> bool:
    """Delete the container of *url* with every conversation in it; tell whether there was one.

    The database stays. Raises `SchemaError` if the container is none of chatstore's.
    """
    with _client(url) as (client, place):
        found = _properties(place)
        if found is not None:
            checked_key_path(found)
            client.get_database_client(place.address.database).delete_container(place.address.container)
        return found is not None


def current(url: str) -> str | None:
    """Return the layout of the container of *url*, None where there is none."""
    with _client(url) as (_, place):
        return None if _properties(place) is None else LAYOUT


def check(url: str) -> list[str]:
    """Return what differs from what this release expects of the container of *url*, each in a line."""
    with _client(url) as (_, place):
        found = _properties(place)
    if found is None:
        return ["the container is missing"]
    differences = []
    if (paths := found["partitionKey"]["paths"]) != [items.PARTITION_KEY]:
        differences.append(f"partition key {', '.join(paths)}, not {items.PARTITION_KEY}")
    if found.get("defaultTtl") is None:
        differences.append(
            "no time to live: expired sessions are deleted by purge only (set the default to -1)"
        )
    indexed = {one["path"] for one in found.get("indexingPolicy", {}).get("includedPaths", [])}
    if "/*" not in indexed:
        missing = sorted(one["path"] for one in items.INDEXING["includedPaths"] if one["path"] not in indexed)
        differences += [f"no index of {path}" for path in missing]
    return differences


def checked_key_path(properties: dict[str, Any]) -> None:
    """Raise `SchemaError` where a container is partitioned by something else."""
    paths = properties["partitionKey"]["paths"]
    if paths != [items.PARTITION_KEY]:
        raise SchemaError(
            f"the container is partitioned by {', '.join(paths)}, and chatstore's are by {items.PARTITION_KEY}: name "
            "another container, which chatstore upgrade creates"
        )


def _properties(place: Place) -> dict[str, Any] | None:
    from azure.cosmos.exceptions import CosmosResourceNotFoundError

    try:
        found: dict[str, Any] = place.container().read()
    except CosmosResourceNotFoundError:
        return None
    return found


@contextmanager
def _client(url: str) -> Iterator[tuple[Any, Any]]:
    """Lend a client and the place of *url*; the SDK's errors become chatstore's."""
    place = Place(parse_url(url))
    from azure.core.exceptions import AzureError

    try:
        yield place.client(), place
    except AzureError as error:
        found = meaning(error, batch=False, sent=1).error
        raise (found.error if isinstance(found, Failed) else found) from error
    finally:
        place.close()
