"""What the tests do to DynamoDB itself: ask whether it answers, look at items, empty a table.

Knows boto3 and the URL of a server, ``dynamodb://REGION/`` with an ``endpoint_url``. Knows nothing of what chatstore
keeps in a table but its two keys.
"""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def lend_credentials(url: str) -> None:
    """Set credentials for this process and its children where none are set; an emulator takes any."""
    if "endpoint_url" in url and "AWS_ACCESS_KEY_ID" not in os.environ:
        os.environ.update(ANY)


def client(url: str) -> Any:
    """Return a boto3 client for the server, or the table, at *url*; it tries once."""
    parts = urlsplit(url)
    endpoint = parse_qs(parts.query).get("endpoint_url", [None])[0]
    lend_credentials(url)
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
    return boto3.client("dynamodb", region_name=parts.hostname, endpoint_url=endpoint, config=config)


def why_not(url: str) -> str | None:
    """Ask the server at *url* for a sign of life; None if it gives one, else the fault in one line."""
    lent = client(url)
    try:
        lent.list_tables(Limit=1)
    except (BotoCoreError, ClientError, ResponseParserError, OSError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        lent.close()
    return None


def table_of(url: str) -> str:
    """Return the name of the table in *url*."""
    return urlsplit(url).path.strip("/")


def items(lent: Any, table: str) -> list[dict[str, Any]]:
    """Return every item of *table*, as stored, in the order of the keys."""
    found: list[dict[str, Any]] = []
    for page in lent.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        found += page["Items"]
    return sorted(found, key=lambda item: (item["PK"]["S"], item["SK"]["S"]))


def empty(lent: Any, table: str) -> None:
    """Delete every item of *table*."""
    keys = [{"PK": item["PK"], "SK": item["SK"]} for item in items(lent, table)]
    for first in range(0, len(keys), 25):
        batch = [{"DeleteRequest": {"Key": key}} for key in keys[first : first + 25]]
        assert {} == lent.batch_write_item(RequestItems={table: batch})["UnprocessedItems"]


def boto(repository: Any) -> Any:
    """Return the boto3 client of *repository*."""
    asking = repository._client
    return asking.lease.lend(asking._user)


class Hooks:
    """What a test lets happen to the requests of a repository, by events of botocore; `requests` holds them all."""

    def __init__(self, repository: Any) -> None:
        """Listen to the client of *repository*."""
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answers: dict[str, list[tuple[int, dict[str, Any]] | None]] = {}
        self._cuts: list[int] = []
        self._undone: list[Any] = []
        events = boto(repository).meta.events
        events.register("provide-client-params.dynamodb.*", self._noted)
        events.register("before-send.dynamodb.*", self._answered)
        events.register("after-call.dynamodb.*", self._completed)

    def answer(self, operation: str, *answers: dict[str, Any], status: int = 400) -> None:
        """Let the next requests of *operation* fail with these bodies instead of being sent."""
        self._answers.setdefault(operation, []).extend((status, one) for one in answers)

    def fail(self, operation: str, code: str, times: int, status: int = 400, skip: int = 0) -> None:
        """Let *skip* requests of *operation* pass, and the next *times* fail with *code*."""
        self._answers.setdefault(operation, []).extend([None] * skip)
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "as the test wants it"}
        self.answer(operation, *[body] * times, status=status)

    def cut(self, *counts: int) -> None:
        """Let the next batches do only so many of their parts, and say that the others are undone."""
        self._cuts.extend(counts)

    def calm(self) -> None:
        """Let everything pass from now on."""
        self._answers.clear()
        self._cuts.clear()

    def names(self) -> list[str]:
        """Return the operations that were asked for, in order."""
        return [name for name, _ in self.requests]

    def _noted(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        params = json.loads(json.dumps(params))
        self.requests.append((model.name, params))
        if self._cuts and model.name in BATCHES:
            return self._shortened(params, model.name, self._cuts.pop(0))
        return params

    def _shortened(self, params: dict[str, Any], name: str, count: int) -> dict[str, Any]:
        """Return a batch of the first *count* parts; the answer to it will say that the others are undone."""
        ((table, wanted),) = params["RequestItems"].items()
        some, rest = (_parts(wanted, slice(count)), _parts(wanted, slice(count, None)))
        if not count:
            self._answers.setdefault(name, []).insert(0, (200, {BATCHES[name]: {table: rest}}))
            return params
        self._undone.append({table: rest} if rest else {})
        return {**params, "RequestItems": {table: some}}

    def _answered(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        waiting = self._answers.get(event_name.rpartition(".")[2])
        if not waiting:
            return None
        answer = waiting.pop(0)
        if answer is None:
            return None
        status, body = answer
        return AWSResponse(request.url, status, HeadersDict({}), _Raw(json.dumps(body).encode()))

    def _completed(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if self._undone and model.name in BATCHES and not parsed.get(BATCHES[model.name]):
            parsed[BATCHES[model.name]] = self._undone.pop(0)


BATCHES = {"BatchWriteItem": "UnprocessedItems", "BatchGetItem": "UnprocessedKeys"}


def _parts(wanted: Any, chosen: slice) -> Any:
    """Return a slice of a batch's writes, or of its keys; nothing of nothing."""
    if isinstance(wanted, list):
        return wanted[chosen]
    keys = wanted["Keys"][chosen]
    return {**wanted, "Keys": keys} if keys else {}


class _Raw(io.BytesIO):
    """A body as the HTTP library hands it over."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()
