"""What the tests do to DynamoDB itself: ask whether it answers, look at items, empty a table.

Knows boto3 and the URL of a server, ``dynamodb://REGION/`` with an ``endpoint_url``. Knows nothing of what chatstore
keeps in a table but its two keys.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

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
