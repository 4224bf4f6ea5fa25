"""Which table: its name, its region, and where the service answers.

This module knows how that is written as a URL; it refuses to know credentials, which never stand in one.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from chatstore import deadlines
from chatstore.errors import Invalid

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REGION = re.compile(r"[a-z]{2}[a-z0-9-]*")
_FORM = "write dynamodb://REGION/TABLE, or dynamodb:///TABLE for the region of your AWS settings"


class Address(NamedTuple):
    """A table; *region* None is that of the AWS settings, *endpoint* None is AWS's own."""

    table: str
    region: str | None = None
    endpoint: str | None = None

    @property
    def url(self) -> str:
        """The URL that means this."""
        query = f"?endpoint_url={quote(self.endpoint, safe=':/')}" if self.endpoint else ""
        return f"dynamodb://{self.region or ''}/{self.table}{query}"

    @property
    def upgrade(self) -> str:
        """The command that makes the table."""
        return f"chatstore upgrade --url '{self.url}'"


def checked(table: str, region: str | None, endpoint: str | None) -> Address:
    """Return the address of *table*. Raises `Invalid`."""
    if not isinstance(table, str) or not _TABLE.fullmatch(table):
        raise Invalid("a DynamoDB table's name has 3 to 255 letters, digits, '_', '-' or '.': check the name")
    if region is not None and not _REGION.fullmatch(region):
        raise Invalid(f"the region is not like eu-central-1: {_FORM}")
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise Invalid("endpoint_url is not like http://127.0.0.1:8000: write it so, without credentials")
    return Address(table, region, endpoint)


def parse_url(url: str) -> Address:
    """Return what a ``dynamodb:`` *url* names. Raises `Invalid`."""
    try:
        parts = urlsplit(deadlines.split(url)[0])
        region, table = parts.netloc, unquote(parts.path.removeprefix("/"))
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise Invalid(f"this is no DynamoDB URL: {_FORM}") from None
    if "@" in region:
        raise Invalid(f"a DynamoDB URL has no credentials, they come from your AWS settings: {_FORM}")
    if not table or "/" in table or parts.fragment:
        raise Invalid(f"a DynamoDB URL names one table: {_FORM}")
    endpoint = options.pop("endpoint_url", None)
    if options:
        raise Invalid("a DynamoDB URL has two options, endpoint_url and deadline: remove the others")
    return checked(table, region or None, endpoint)
