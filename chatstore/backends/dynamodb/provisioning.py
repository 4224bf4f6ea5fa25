"""The table and its indexes: made, compared, taken away.

This module knows what the table must be like; it refuses to know what lies in it. What is there already is kept, so an
upgrade may be repeated, and several processes may do it at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from chatstore.backends.common.documents.attempts import repeated
from chatstore.backends.dynamodb import items
from chatstore.backends.dynamodb.client import BotoClients, TableClient
from chatstore.backends.dynamodb.driver_errors import code_of
from chatstore.backends.dynamodb.repository import repository_for
from chatstore.backends.dynamodb.store import INDEXES
from chatstore.backends.dynamodb.url import parse_url
from chatstore.driving import drive
from chatstore.errors import SchemaMissing, SchemaOutdated, StorageError, StorageUnavailable
from chatstore.provisioning import Moved, OneRevision

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from chatstore.driving import Pause
    from chatstore.repository import Repository

HEAD: Final = "dynamodb_0001"
#: Seconds to wait for the service to make or delete a table or an index, and between two looks.
DEADLINE, PAUSE = 600.0, 0.5
KEYS: Final = {"PK": "HASH", "SK": "RANGE"}


class TableProvisioner(OneRevision):
    """The table of one address; see `chatstore.provisioning.Provisioner`."""

    head = HEAD

    def __init__(self, client: TableClient) -> None:
        """Work by *client*, which `close` closes."""
        self._client, self._table = client, client.address.table

    def close(self) -> None:
        self._client.close()

    def current(self) -> str | None:
        """Return `HEAD` if the table can be worked on, None if there is none or it is not complete."""
        found = self._described()
        if found is None:
            return None
        self._must_be_ours(found)
        return HEAD if not _missing_indexes(found) else None

    def make(self) -> Moved:
        """Create the table, or what it lacks, and wait until the service has done it."""
        before = self.current()
        found = self._described() or self._created()
        for name in _missing_indexes(found):
            self._wait(_is_active, "is not active")
            self._call("update_table", ignoring="ResourceInUseException", **_new_index(name))
        self._wait(lambda about: _is_active(about) and not _missing_indexes(about), "is not active")
        if self._ttl() is None:
            wanted = {"Enabled": True, "AttributeName": items.TTL}
            # another process may have been faster by a moment
            self._call("update_time_to_live", ignoring="ValidationException", TimeToLiveSpecification=wanted)
        return Moved(before, HEAD)

    def remove(self) -> Moved:
        """Delete the table with everything in it, and wait until it is gone."""
        found = self._described()
        if found is None:
            return Moved(None, None)
        self._must_be_ours(found)
        self._call("delete_table", ignoring="ResourceInUseException")
        self._wait(lambda about: about is None, "is not gone")
        return Moved(HEAD, None)

    def differences(self) -> list[str]:
        """Say in a line each what is not as this release expects it."""
        found = self._described()
        if found is None:
            return [f"table {self._table} is missing"]
        self._must_be_ours(found)
        told = [f"index {name} is missing" for name in _missing_indexes(found)]
        if not told and not _is_active(found):
            told.append("the table or an index is not active yet")
        attribute = self._ttl()
        if attribute != items.TTL:
            is_now = f"is on {attribute}" if attribute else "is off"
            told.append(
                f"time to live {is_now}, not on {items.TTL}: expired sessions go by chatstore purge only"
            )
        return told

    def repository(self) -> Repository:
        """Lend a repository on the table."""
        return repository_for(self._client.address.url)

    # ---- requests

    def _described(self) -> dict[str, Any] | None:
        try:
            about: dict[str, Any] = self._call("describe_table")["Table"]
        except SchemaMissing:
            return None
        return about

    def _created(self) -> dict[str, Any]:
        names = [*KEYS, *(key for _, key in INDEXES.values()), items.TOUCHED]
        self._call(
            "create_table",
            ignoring="ResourceInUseException",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in KEYS.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            GlobalSecondaryIndexes=[_index(name) for name, _ in INDEXES.values()],
        )
        return self._wait(_is_active, "is not active") or {}

    def _ttl(self) -> str | None:
        """Return the attribute of the table's time to live, None where it is off."""
        about = self._call("describe_time_to_live")["TimeToLiveDescription"]
        on = about.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
        return str(about.get("AttributeName", items.TTL)) if on else None

    def _wait(self, done: Callable[[Any], bool], not_done: str) -> dict[str, Any] | None:
        until = time.monotonic() + DEADLINE
        while not done(found := self._described()):
            if time.monotonic() > until:
                msg = f"after {DEADLINE:g} s table {self._table!r} {not_done}: look at it in the AWS console"
                raise StorageUnavailable(msg)
            time.sleep(PAUSE)
        return found

    def _call(self, name: str, *, ignoring: str = "", **parameters: Any) -> dict[str, Any]:
        def attempt() -> Generator[Any, Any, dict[str, Any]]:
            return self._client.call(name, TableName=self._table, **parameters)
            yield  # a generator, as `repeated` wants it

        def wait(step: Pause) -> None:
            time.sleep(step.seconds)

        try:
            return drive(repeated(attempt), wait)
        except StorageError as error:
            if ignoring and code_of(error) == ignoring:
                return {}
            raise

    def _must_be_ours(self, found: dict[str, Any]) -> None:
        keys = {one["AttributeName"]: one["KeyType"] for one in found["KeySchema"]}
        if keys != KEYS:
            msg = (
                f"table {self._table!r} has other keys than chatstore's, so it is not ours: name another one"
            )
            raise SchemaOutdated(msg)


def provisioner_for(url: str) -> TableProvisioner:
    """Return the provisioner of a ``dynamodb:`` URL. Raises `Invalid`."""
    return TableProvisioner(TableClient(BotoClients(parse_url(url))))


def _index(name: str) -> dict[str, Any]:
    keys = {key: index for index, key in INDEXES.values()}
    owner = next(key for key, index in keys.items() if index == name)
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": owner, "KeyType": "HASH"},
            {"AttributeName": items.TOUCHED, "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


def _new_index(name: str) -> dict[str, Any]:
    index = _index(name)
    return {
        "AttributeDefinitions": [
            {"AttributeName": one["AttributeName"], "AttributeType": "S"} for one in index["KeySchema"]
        ],
        "GlobalSecondaryIndexUpdates": [{"Create": index}],
    }


def _missing_indexes(about: dict[str, Any] | None) -> list[str]:
    there = {one["IndexName"] for one in (about or {}).get("GlobalSecondaryIndexes", ())}
    return [name for name, _ in INDEXES.values() if name not in there]


def _is_active(about: dict[str, Any] | None) -> bool:
    if about is None:
        return False
    parts = [
        about["TableStatus"],
        *(one.get("IndexStatus") for one in about.get("GlobalSecondaryIndexes", ())),
    ]
    return all(status in {"ACTIVE", None} for status in parts)
