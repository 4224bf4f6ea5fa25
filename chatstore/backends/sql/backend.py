"""The record of this backend: what `connect` and the command line ask it; see `chatstore.backend.Backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backend import Backend

if TYPE_CHECKING:
    from pathlib import Path

    from chatstore.aio import AsyncRepository
    from chatstore.provisioning import Provisioner
    from chatstore.repository import Repository


def _open(target: Any, schema: str | None) -> Repository:
    from chatstore.backends.sql.repository import repository_for

    return repository_for(target, schema=schema)


def _open_async(target: Any, schema: str | None) -> AsyncRepository:
    from chatstore.backends.sql.repository import async_repository_for

    return async_repository_for(target, schema=schema)


def _show(url: str) -> str:
    from sqlalchemy import make_url

    from chatstore.backends.sql.url import parse_url, shown

    parse_url(url)  # first, for our error where it is no URL
    return shown(make_url(url))


def _path(url: str) -> Path | None:
    from chatstore.backends.sql.url import parse_url, sqlite_path

    return sqlite_path(parse_url(url))


def _in_process(url: str) -> bool:
    from chatstore.backends.sql.url import is_memory, parse_url

    return is_memory(parse_url(url))


def _provisioner(url: str, schema: str | None) -> Provisioner:
    from chatstore.backends.sql.provisioning import DatabaseProvisioner
    from chatstore.backends.sql.url import parse_url

    return DatabaseProvisioner(parse_url(url), schema)


BACKEND = Backend(
    open=_open,
    open_async=_open_async,
    clients=("sqlalchemy",),
    show=_show,
    path=_path,
    in_process=_in_process,
    provisioner=_provisioner,
    is_sql=True,
)
