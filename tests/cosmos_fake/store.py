"""The data of the fake: databases, containers, documents, and what the service promises about them.

Knows ids, partition keys, etags, preconditions, time to live, limits, transactional batches and snapshots. Knows
nothing of HTTP; what is refused raises `Refused` with the status the service would send. Where a rule comes from is
said in `tests/cosmosdb/test_fake.py`, which checks each of them through the SDK.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from azure.cosmos import PartitionKey

MAX_ITEM: Final = 2 * 1024 * 1024
MAX_BATCH: Final = 2 * 1024 * 1024
MAX_OPERATIONS: Final = 100
MAX_ID: Final = 1023
MAX_KEY: Final = 2048
#: The physical partitions of every container: id, from, to; hashes of the second version begin with 00 to 3F.
RANGES: Final = (("0", "", "15"), ("1", "15", "2A"), ("2", "2A", "FF"))
HASH: Final = PartitionKey("/key")


class Refused(Exception):
    """An answer that is no success: *status*, *substatus* and a message."""

    def __init__(
        self, status: int, message: str, substatus: int = 0, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.substatus, self.headers = status, message, substatus, headers or {}


def compact(value: Any) -> bytes:
    """Return JSON as it counts against the limits."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=4096)
def range_of(key: str) -> str:
    """Return the physical partition of a partition key, which is JSON; by the hash that the SDK knows too."""
    value = json.loads(key)[0]
    place = HASH._get_epk_range_for_partition_key(value).min if value != {} else ""
    return next(name for name, _, high in RANGES if place < high)


def _rid(*numbers: int) -> str:
    """Return a resource id: of a database, of a container in it, of a document in that."""
    raw = b"".join(number.to_bytes(4 if place < 2 else 8, "big") for place, number in enumerate(numbers))
    return base64.b64encode(raw).decode().replace("/", "-")


@dataclass
class Container:
    """Documents by partition key, then by id, each with its versions, oldest first."""

    properties: dict[str, Any]
    number: tuple[int, int]
    versions: dict[str, dict[str, list[tuple[int, dict[str, Any] | None]]]] = field(default_factory=dict)
    sequence: dict[str, int] = field(default_factory=lambda: {name: 0 for name, _, _ in RANGES})
    rids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def path(self) -> tuple[str, ...]:
        """The property that is the partition key."""
        return tuple(self.properties["partitionKey"]["paths"][0].strip("/").split("/"))

    def key_of(self, body: dict[str, Any]) -> str:
        """Return the partition key in *body*, as the header would have it."""
        value: Any = body
        for name in self.path:
            value = value.get(name, {}) if isinstance(value, dict) else {}
        return json.dumps([value])


@dataclass
class Store:
    """All of an account; *ahead* is added to its clock, *lag* is how many writes its reads may be behind."""

    databases: dict[str, dict[str, Any]] = field(default_factory=dict)
    containers: dict[tuple[str, str], Container] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ahead: float = 0.0
    lag: int = 0
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def now(self) -> int:
        """Return the account's clock, in seconds."""
        return int(time.time() + self.ahead)

    # ---- databases and containers

    def system(self, rid: str) -> dict[str, Any]:
        """Return the properties that the service adds to everything."""
        return {"_rid": rid, "_etag": f'"{uuid.uuid4()}"', "_ts": self.now()}

    def create_database(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a database; 409 where there is one."""
        name = _checked_id(body)
        if name in self.databases:
            raise Refused(409, "Resource with specified id or name already exists.")
        rid = _rid(next(self.numbers))
        self.databases[name] = {"id": name, **self.system(rid), "_self": f"dbs/{rid}/", "_colls": "colls/"}
        return self.databases[name]

    def database(self, name: str) -> dict[str, Any]:
        """Return a database; 404 where there is none."""
        if name not in self.databases:
            raise Refused(404, "Resource Not Found.")
        return self.databases[name]

    def delete_database(self, name: str) -> object:
        """Delete a database and all in it; the answer has no body."""
        self.database(name)
        del self.databases[name]
        for key in [key for key in self.containers if key[0] == name]:
            del self.containers[key]
        return None

    def create_container(self, database: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create a container; 400 without a partition key, 409 where there is one."""
        parent, name = self.database(database), _checked_id(body)
        if (database, name) in self.containers:
            raise Refused(409, "Resource with specified id or name already exists.")
        _checked_container(body)
        numbers = (
            int.from_bytes(base64.b64decode(parent["_rid"].replace("-", "/")), "big"),
            next(self.numbers),
        )
        rid = _rid(*numbers)
        made = {**body, **self.system(rid), "_self": f"{parent['_self']}colls/{rid}/", "_docs": "docs/"}
        made.setdefault("indexingPolicy", {"includedPaths": [{"path": "/*"}], "excludedPaths": []})
        self.containers[database, name] = Container(made, numbers)
        return made

    def container(self, database: str, name: str) -> Container:
        """Return a container; 404 where there is none."""
        self.database(database)
        found = self.containers.get((database, name))
        if found is None:
            raise Refused(404, "Resource Not Found.", 1003)
        return found

    def replace_container(self, database: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Replace a container's settings; its partition key cannot change."""
        found = self.container(database, name)
        _checked_container(body)
        if body["partitionKey"]["paths"] != found.properties["partitionKey"]["paths"]:
            raise Refused(400, "Document collection partition key cannot be changed.")
        fixed = {key: value for key, value in found.properties.items() if key.startswith("_")}
        found.properties = {**body, **fixed, **self.system(fixed["_rid"])}
        return found.properties

    def delete_container(self, database: str, name: str) -> object:
        """Delete a container with its documents; the answer has no body."""
        self.container(database, name)
        del self.containers[database, name]
        return None

    # ---- documents

    def alive(self, container: Container, document: dict[str, Any] | None) -> bool:
        """Tell whether a document is there: not deleted, and its time to live is not over."""
        default = container.properties.get("defaultTtl")
        if document is None or default is None:
            return document is not None
        lives = document.get("ttl", default)
        return bool(lives == -1 or self.now() < document["_ts"] + lives)

    def snapshot(self, container: Container, place: str, seen: int | None) -> int:
        """Return which writes a read in the physical partition *place* sees, of a client that saw *seen*."""
        current = container.sequence[place]
        if seen is not None and seen > current:
            raise Refused(404, "The read session is not available for the input session token.", 1002)
        return max(seen or 0, current - self.lag)

    def find(self, container: Container, key: str, name: str, at: int | None = None) -> dict[str, Any] | None:
        """Return a document as it is, or as it was *at* a snapshot; None where there is none."""
        for number, document in reversed(container.versions.get(key, {}).get(name, ())):
            if at is None or number <= at:
                return document if self.alive(container, document) else None
        return None

    def documents(self, container: Container, place: str, key: str | None, at: int) -> list[dict[str, Any]]:
        """Return the documents of a partition key, or of a physical partition, as they were *at* a snapshot."""
        keys = [key] if key is not None else [one for one in container.versions if range_of(one) == place]
        names = [(one, name) for one in keys for name in container.versions.get(one, ())]
        found = (self.find(container, *name, at) for name in names)
        return [document for document in found if document is not None]

    def write(self, container: Container, key: str, operation: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Carry out one operation of a batch, or one that stands alone; return its status and the document."""
        kind, body = operation["operationType"], operation.get("resourceBody")
        name = _checked_id(body) if kind in {"Create", "Upsert"} else operation["id"]
        found = self.find(container, key, name)
        if body is not None:
            self._check_body(container, key, name, body)
        if kind == "Create" and found is not None:
            raise Refused(409, "Resource with specified id or name already exists.")
        if kind not in {"Create", "Upsert"} and found is None:
            raise Refused(404, "Resource Not Found.")
        _check_condition(operation, found)
        if kind == "Read":
            assert found is not None
            return 200, found
        if kind == "Delete":
            self._keep(container, key, name, None)
            return 204, {}
        assert body is not None
        rid = found["_rid"] if found else _rid(*container.number, next(container.rids))
        made = {**body, **self.system(rid), "_self": f"{container.properties['_self']}docs/{rid}/"}
        self._keep(container, key, name, made)
        return (200 if found else 201), made

    def batch(
        self, container: Container, key: str, operations: list[dict[str, Any]], size: int
    ) -> list[dict[str, Any]]:
        """Carry out all *operations* or none; 424 stands for those that another one's failure undid."""
        if size > MAX_BATCH:
            raise Refused(413, "Request size is too large")
        if not 1 <= len(operations) <= MAX_OPERATIONS:
            raise Refused(400, "Batch request has more operations than what is supported.")
        partition, sequence = container.versions.setdefault(key, {}), dict(container.sequence)
        kept: dict[str, list[Any] | None] = {}
        answers = []
        for place, operation in enumerate(operations):
            name = str((operation.get("resourceBody") or operation).get("id"))
            kept.setdefault(name, list(partition[name]) if name in partition else None)
            try:
                status, body = self.write(container, key, operation)
            except Refused as refused:
                container.sequence = sequence
                for changed, versions in kept.items():
                    partition.pop(changed, None)
                    if versions is not None:
                        partition[changed] = versions
                failed: list[dict[str, Any]] = [{"statusCode": 424, "requestCharge": 0.0} for _ in operations]
                failed[place] = {"statusCode": refused.status, "subStatusCode": refused.substatus}
                return failed
            answers.append({"statusCode": status, "requestCharge": 1.0, "eTag": body.get("_etag")})
            if body:
                answers[-1]["resourceBody"] = body
        return answers

    def _check_body(self, container: Container, key: str, name: str, body: dict[str, Any]) -> None:
        if container.key_of(body) != key:
            raise Refused(
                400, "PartitionKey extracted from document doesn't match the one in the header", 1001
            )
        if body.get("id") != name:
            raise Refused(400, "The id of a document cannot change.")
        if len(str(json.loads(key)[0]).encode()) > MAX_KEY:
            raise Refused(400, "Partition key size is too large")
        if len(compact(body)) > MAX_ITEM:
            raise Refused(413, "Request size is too large")
        lives = body.get("ttl", -1)
        if not isinstance(lives, int) or isinstance(lives, bool) or lives == 0 or not -1 <= lives < 2**31:
            raise Refused(400, "The ttl of a document is -1 or a positive 32-bit integer.")

    def _keep(self, container: Container, key: str, name: str, document: dict[str, Any] | None) -> None:
        place = range_of(key)
        container.sequence[place] += 1
        versions = container.versions.setdefault(key, {}).setdefault(name, [])
        versions.append((container.sequence[place], document))
        if not self.lag:
            del versions[:-1]
            if document is None:
                del container.versions[key][name]


def _checked_id(body: dict[str, Any] | None) -> str:
    name = (body or {}).get("id")
    if not isinstance(name, str) or not name:
        raise Refused(400, "The input content is invalid because the required property 'id' is missing.")
    if any(character in name for character in "/\\#?") or len(name.encode("utf-8", "replace")) > MAX_ID:
        raise Refused(400, "The id holds one of / \\ # ? or is longer than 1023 bytes.")
    return name


def _checked_container(body: dict[str, Any]) -> None:
    if not body.get("partitionKey", {}).get("paths"):
        raise Refused(400, "The partition key definition is missing.")
    lives = body.get("defaultTtl")
    if lives is not None and (not isinstance(lives, int) or lives == 0 or not -1 <= lives < 2**31):
        raise Refused(400, "The defaultTtl of a container is -1 or a positive 32-bit integer.")


def _check_condition(operation: dict[str, Any], found: dict[str, Any] | None) -> None:
    """Refuse a write whose precondition does not hold; a create has none to look at."""
    if operation["operationType"] == "Create":
        return
    etag = found["_etag"] if found else None
    wanted, unwanted = operation.get("ifMatch"), operation.get("ifNoneMatch")
    if wanted is not None and (etag is None or wanted not in {"*", etag}):
        raise Refused(412, "One of the specified pre-condition is not met.")
    if unwanted is not None and etag is not None and unwanted in {"*", etag}:
        raise Refused(412, "One of the specified pre-condition is not met.")
