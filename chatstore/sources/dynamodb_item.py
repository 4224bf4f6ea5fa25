"""The DynamoDB table of LangChain's community package: one item for each session, with a list of its messages.

This module knows the layout: an item with the session's id as its key (``SessionId``), a list ``History`` of
``{"type", "data"}`` maps and, where a time to live was set, ``expireAt`` in seconds. Numbers come from DynamoDB as
decimals and become int or float again. Only Scan and Query are sent, with consistent reads.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from chatstore.arguments import utcnow
from chatstore.errors import Invalid, StorageError, StorageUnavailable
from chatstore.extras import not_installed
from chatstore.incoming.session import Incoming
from chatstore.sources.reading import fetch, number_elements, require

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping


OPTIONS: Final = {"session_key": "SessionId", "messages_key": "History", "expiry_key": "expireAt"}


def mask(source: str) -> str:
    """Return the source as it is: access keys are never in it."""
    return source.partition("?")[0]


def read(source: str, session: str | None, options: Mapping[str, str]) -> Generator[Incoming, None, None]:
    """Yield the sessions of the table, in no order; *session* alone where it is named."""
    region, table, endpoint = _parse_url(source)
    client, deserialize = _open_client(region, endpoint)
    question: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
    operation = "scan"
    if session is not None:
        operation = "query"
        question["KeyConditionExpression"] = "#key = :session"
        question["ExpressionAttributeNames"] = {"#key": options["session_key"]}
        question["ExpressionAttributeValues"] = {":session": {"S": session}}
    try:
        pages = iter(client.get_paginator(operation).paginate(**question))
        items = chain.from_iterable(page["Items"] for page in fetch(pages, source, _translate_errors))
        plain = ({name: deserialize(value) for name, value in item.items()} for item in items)
        found = (_read_session(item, table, options) for item in plain)
        yield from require(found, session, mask(source), "check the id and --session-key")
    finally:
        client.close()


def _parse_url(source: str) -> tuple[str | None, str, str | None]:
    """Return region (None: as AWS is configured), table and endpoint of ``dynamodb://REGION/TABLE?endpoint_url=…``."""
    parts = urlsplit(source)
    table = unquote(parts.path.removeprefix("/"))
    if parts.scheme != "dynamodb" or not table or "/" in table or "@" in parts.netloc:
        msg = "write the table as dynamodb://REGION/TABLE; credentials come from AWS's own configuration"
        raise Invalid(msg)
    asked = parse_qs(parts.query)
    return parts.netloc or None, table, next(iter(asked.get("endpoint_url", [])), None)


def _open_client(region: str | None, endpoint: str | None) -> tuple[Any, Any]:
    try:
        import boto3
        from boto3.dynamodb.types import TypeDeserializer
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise not_installed("boto3, the client of DynamoDB,", "dynamodb") from error
    patience = Config(
        connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 8}
    )
    try:
        client = boto3.client("dynamodb", region_name=region, endpoint_url=endpoint, config=patience)
    except (BotoCoreError, ValueError) as error:
        kind = type(error).__name__
        msg = f"AWS's client cannot be set up ({kind}): check region, endpoint_url and AWS's configuration"
        raise Invalid(msg) from error
    return client, TypeDeserializer().deserialize


@contextmanager
def _translate_errors(source: str) -> Iterator[None]:
    """Turn the client's errors into ours."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        if code == "ResourceNotFoundException":
            raise StorageError(f"{mask(source)} does not exist: check table, region and account") from error
        msg = f"{mask(source)} refuses ({code}): it wants dynamodb:Scan and dynamodb:Query on the table"
        raise StorageUnavailable(msg) from error
    except BotoCoreError as error:
        kind = type(error).__name__
        msg = f"{mask(source)} does not answer ({kind}): check region, network and credentials, then repeat this"
        raise StorageUnavailable(msg) from error


def _read_session(item: dict[str, Any], table: str, options: Mapping[str, str]) -> Incoming:
    session = _to_json_numbers(item.get(options["session_key"]))
    if not isinstance(session, str | int):
        named = ", ".join(sorted(item))
        fault = f"it has no {options['session_key']!r} but {named}: name the right one with --session-key"
        return Incoming("", table, "an item", fault=fault)
    place = f"item {session}"
    history = item.get(options["messages_key"])
    if not isinstance(history, list):
        fault = f"it has no list {options['messages_key']!r}: name the right attribute with --messages-key"
        return Incoming(str(session), table, place, fault=fault)
    until = _parse_time(item.get(options["expiry_key"]))
    if until is not None and until <= utcnow():
        return Incoming(str(session), table, place, skipped=f"it expired at {until:%Y-%m-%d %H:%M:%S} UTC")
    return Incoming(
        str(session),
        table,
        place,
        number_elements(_to_json_numbers(history), f"{place} message"),
        expires_at=until,
    )


def _parse_time(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(value), UTC) if isinstance(value, Decimal) else None
    except (ValueError, OverflowError, OSError):
        return None


def _to_json_numbers(value: Any) -> Any:
    """Return *value* with numbers as JSON has them: an int where there is no fraction."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _to_json_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_to_json_numbers(one) for one in value]
    return value
