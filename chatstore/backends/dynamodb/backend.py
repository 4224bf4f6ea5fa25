"""The record of this backend: what `connect` and the command line ask it; see `chatstore.backend.Backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backend import Backend
from chatstore.contract import STATES

if TYPE_CHECKING:
    from chatstore.provisioning import Provisioner
    from chatstore.repository import Repository


def _open(target: Any, schema: str | None) -> Repository:  # noqa: ARG001 - DynamoDB has none
    from chatstore.backends.dynamodb.repository import repository_for

    return repository_for(target)


def _provisioner(url: str, schema: str | None) -> Provisioner:  # noqa: ARG001
    from chatstore.backends.dynamodb.provisioning import provisioner_for

    return provisioner_for(url)


BACKEND = Backend(open=_open, provisioner=_provisioner, denied=STATES | {"search"})
