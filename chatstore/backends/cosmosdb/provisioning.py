"""The container and its database: made, compared, taken away.

This module knows what the container must be like; it refuses to know what lies in it. What is there already is kept, so
an upgrade may be repeated, and several processes may do it at once.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from chatstore.backends.common.leases import User
from chatstore.backends.cosmosdb import items
from chatstore.backends.cosmosdb.driver_errors import meaning
from chatstore.backends.cosmosdb.places import Containers, sdk, sdk_error
from chatstore.backends.cosmosdb.url import parse_url
from chatstore.driving import Failed
from chatstore.errors import SchemaOutdated
from chatstore.provisioning import Moved, OneRevision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from chatstore.repository import Repository

HEAD: Final = "cosmosdb_0001"


class ContainerProvisioner(OneRevision):
    """The container of one address; see `chatstore.provisioning.Provisioner`."""

    head = HEAD

    def __init__(self, lease: Containers) -> None:
        """Work on what *lease* reaches, which `close` closes."""
        self._lease, self._user = lease, User()

    def close(self) -> None:
        self._lease.close(self._user)

    def current(self) -> str | None:
        """Return `HEAD` if the container is there, None if not. Raises `SchemaOutdated` if it is none of ours."""
        found = self._described()
        if found is None:
            return None
        must_be_ours(found)
        return HEAD

    def make(self) -> Moved:
        """Create the database and the container where they are missing.

        That takes an account key: the data roles of Microsoft Entra ID cannot create anything.
        """
        before = self.current()
        if before is None:
            with _translated() as cosmos:
                client, address = self._lease.lend(self._user), self._lease.known_address
                # The SDK looks first and creates then: another process may be faster by a moment.
                with suppress(cosmos.exceptions.CosmosResourceExistsError):
                    client.create_database_if_not_exists(address.database)
                with suppress(cosmos.exceptions.CosmosResourceExistsError):
                    client.get_database_client(address.database).create_container_if_not_exists(
                        address.container,
                        cosmos.PartitionKey(items.PARTITION_KEY),
                        default_ttl=-1,
                        indexing_policy=items.INDEXING,
                    )
        return Moved(before, HEAD)

    def remove(self) -> Moved:
        """Delete the container with everything in it; its database stays."""
        before = self.current()
        if before is not None:
            with _translated() as cosmos:
                client, address = self._lease.lend(self._user), self._lease.known_address
                try:
                    client.get_database_client(address.database).delete_container(address.container)
                except cosmos.exceptions.CosmosResourceNotFoundError:
                    return Moved(before, None)  # another process was faster by a moment
        return Moved(before, None)

    def differences(self) -> list[str]:
        """Say in a line each what is not as this release expects it."""
        found = self._described()
        if found is None:
            return ["the container is missing"]
        must_be_ours(found)
        told = []
        if found.get("defaultTtl") is None:
            told.append(
                "time to live is off, not on without a default: expired sessions go by chatstore purge only"
            )
        indexed = {one["path"] for one in found.get("indexingPolicy", {}).get("includedPaths", [])}
        wanted = () if "/*" in indexed else items.INDEXING["includedPaths"]
        return told + [f"no index of {one['path']}" for one in wanted if one["path"] not in indexed]

    def repository(self) -> AbstractContextManager[Repository]:
        """Lend a repository over the same client."""
        from chatstore.backends.cosmosdb.repository import CosmosRepository

        return CosmosRepository(lease=self._lease)

    def _described(self) -> dict[str, Any] | None:
        with _translated() as cosmos:
            try:
                about: dict[str, Any] = self._lease.container(self._user).read()
            except cosmos.exceptions.CosmosResourceNotFoundError:
                return None
            return about


def provisioner_for(url: str) -> ContainerProvisioner:
    """Return the provisioner of a ``cosmosdb:`` URL. Raises `Invalid`."""
    return ContainerProvisioner(Containers(parse_url(url)))


def provisioner_of(repository: Any) -> ContainerProvisioner:
    """Return the provisioner of a repository, by its own client; nobody has to close them."""
    return ContainerProvisioner(repository._lease)


def must_be_ours(properties: dict[str, Any]) -> None:
    """Raise `SchemaOutdated` where a container is partitioned by something else than chatstore's."""
    paths = properties["partitionKey"]["paths"]
    if paths != [items.PARTITION_KEY]:
        raise SchemaOutdated(
            f"the container is partitioned by {', '.join(paths)}, chatstore's are by {items.PARTITION_KEY}, so it is "
            "not ours: name another one"
        )


@contextmanager
def _translated() -> Iterator[Any]:
    """Lend the SDK, and turn its errors into chatstore's."""
    cosmos = sdk()
    try:
        yield cosmos
    except sdk_error() as error:
        found = meaning(error, batch=False, sent=1).error
        raise (found.error if isinstance(found, Failed) else found) from error
