"""The record of this backend: what `connect` and the command line ask it; see `chatstore.backend.Backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backend import Backend
from chatstore.contract import STATES

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.provisioning import Provisioner
    from chatstore.repository import Repository


def _open(target: Any, schema: str | None) -> Repository:  # noqa: ARG001 - Cosmos DB has none
    from chatstore.backends.cosmosdb.repository import repository_for

    return repository_for(target)


def _open_async(target: Any, schema: str | None) -> AsyncRepository:  # noqa: ARG001
    from chatstore.backends.cosmosdb.repository import async_repository_for

    return async_repository_for(target)


def _provisioner(url: str, schema: str | None) -> Provisioner:  # noqa: ARG001
    from chatstore.backends.cosmosdb.provisioning import provisioner_for

    return provisioner_for(url)


BACKEND = Backend(
    open=_open,
    open_async=_open_async,
    clients=("azure.cosmos",),
    provisioner=_provisioner,
    denied=STATES | {"search"},
)
