"""Drivers that only block, or only await, and the one that does both.

This module knows drivers' names; it refuses to connect. It is for histories, which serve both kinds of callers with
one object; `connect` and `connect_async` take a driver that is named at its word.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from chatstore.backends.sql.engine_factory import dialect_of
from chatstore.backends.sql.url import parse_url

#: The drivers of PostgreSQL with one side, for which psycopg may stand.
_ONE_SIDED: Final = {
    "postgresql+asyncpg",
    "postgresql+psycopg2",
    "postgresql+pg8000",
    "postgresql+psycopg2cffi",
}
_TWO_SIDED: Final = "postgresql+psycopg"


def both_sides(url: str) -> str:
    """Return *url* with the driver that has both sides, where it is installed and no option is for the other one."""
    driver = url.partition(":")[0]
    if driver not in _ONE_SIDED or "?" in url or find_spec("psycopg") is None:
        return url
    return url.replace(driver, _TWO_SIDED, 1)


def only_awaits(url: str) -> bool:
    """Tell whether *url* names a driver without a blocking side."""
    if "+" not in url.partition(":")[0]:
        return False
    return bool(dialect_of(parse_url(url)).is_async)
