"""URLs of SQL databases: read, completed, and shown without secrets.

Knows SQLAlchemy's URLs and what people must not see; what a database needs in one, its dialect adds.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from chatstore import deadlines
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.dialects.base import no_url

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

#: Options of a URL that are nobody's business.
_SECRET = re.compile("pass|pwd|secret|token|odbc_connect", re.IGNORECASE)


def parse_url(url: str | URL, *, asynchronous: bool = False) -> URL:
    """Return *url* with the driver chatstore uses where none is named.

    ``postgres://`` and ``postgresql://`` mean psycopg 3, ``mysql://`` and ``mariadb://`` PyMySQL (aiomysql when
    *asynchronous*), and the latter two stand for each other. Any other driver that is named stays, but for aiosqlite:
    files are read and written in threads of our own. Raises `Invalid` for text that is no URL; never shows it.
    """
    parsed = _made(deadlines.split(url)[0])
    if parsed is None:
        raise no_url()
    return dialect_for(parsed.get_backend_name()).complete(parsed, asynchronous=asynchronous)


def shown(url: URL) -> str:
    """Return *url* for people: no password, neither before the host nor among the options."""
    hidden = {name: "***" for name in url.query if _SECRET.search(name)}
    said: str = url.update_query_dict(hidden).render_as_string(hide_password=True)
    return said.replace("%2A%2A%2A", "***")


def _made(url: str | URL) -> URL | None:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None  # not even as a context: the latter shows what stands where a port should be


def is_memory(url: URL) -> bool:
    """Tell whether *url* is a database that ends with its connection (SQLite)."""
    return dialect_for(url.get_backend_name()).is_memory(url)


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite URL; None for a memory database and every other database."""
    return dialect_for(url.get_backend_name()).path(url)


def create_private_file(path: Path) -> None:
    """Create *path* readable for its owner only, if it is missing; WAL and shm files inherit that."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
