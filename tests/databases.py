"""What the tests do to a server itself: ask whether it answers, create, empty and drop databases.

Knows the administrative statements of PostgreSQL, the MySQL family and Redis, through their plain drivers.
Knows nothing of chatstore but the names of its two tables, which it empties.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql
from psycopg import sql
from sqlalchemy import make_url

from tests import dynamo

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_SECONDS = 2
MANY_BYTES = 1 << 20  # up to here deleting rows is quicker than PostgreSQL's TRUNCATE, which makes new files
TABLES = ("chatstore_messages", "chatstore_sessions", "chatstore_states")
NAMES = {
    "postgres": "SELECT relkind::text || relname FROM pg_class WHERE relname LIKE 'chatstore%' ORDER BY 1",
    "mariadb": (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() UNION ALL "
        "SELECT CONCAT(table_name, '.', index_name) FROM information_schema.statistics "
        "WHERE table_schema = DATABASE() ORDER BY 1"
    ),
}


def why_not(url: str) -> str | None:
    """Ask the server at *url* for a sign of life; None if it gives one, else the fault in one line."""
    if url.startswith("dynamodb"):
        return dynamo.why_not(url)
    try:
        if url.startswith("redis"):
            _ping(url)
        else:
            with connection(url):
                pass
    except (OSError, psycopg.Error, pymysql.Error) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


@contextlib.contextmanager
def connection(url: str) -> Iterator[Any]:
    """Open a plain driver connection to *url*, in autocommit; the context gives its cursor and closes it."""
    parts = make_url(url)
    if parts.get_backend_name() == "postgresql":
        plain = parts.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True, connect_timeout=CONNECT_SECONDS) as link:
            yield link.cursor()
        return
    thread = pymysql.connect(
        host=parts.host,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.database,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
    )
    with contextlib.closing(thread), thread.cursor() as cursor:
        yield cursor


def normalised(url: str) -> str:
    """Give *url* the driver that the tests use, and the name that the MySQL-family server itself goes by."""
    parts = make_url(url)
    if parts.get_backend_name() in {"postgresql", "postgres"}:
        return _text(parts.set(drivername="postgresql+psycopg"))
    if parts.get_backend_name() not in {"mysql", "mariadb"}:
        return url
    with connection(url) as cursor:
        cursor.execute("SELECT VERSION()")
        family = "mariadb" if "mariadb" in str(cursor.fetchone()[0]).lower() else "mysql"
    return _text(parts.set(drivername=f"{family}+pymysql"))


def create(server_url: str, name: str) -> str:
    """Create the database *name*; return its URL."""
    with connection(server_url) as cursor:
        if server_url.startswith("postgresql"):
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        else:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    return _text(make_url(server_url).set(database=name))


def drop(server_url: str, name: str) -> None:
    """Drop the database *name*, and with it every connection that somebody left open."""
    with connection(server_url) as cursor:
        if server_url.startswith("postgresql"):
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        else:
            _kill(cursor, name)
            cursor.execute("SET lock_wait_timeout = 20")
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def empty(url: str) -> list[str]:
    """Take every row out of chatstore's tables in the database *url*; return its fingerprint.

    Whoever still holds a transaction open there is cut off.
    """
    with connection(url) as cursor:
        if url.startswith("postgresql"):
            _empty_postgres(cursor)
        else:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            try:
                _delete(cursor)
            except pymysql.err.OperationalError:
                _kill(cursor, str(make_url(url).database))
                cursor.execute("SET innodb_lock_wait_timeout = 10")
                _delete(cursor)
        return _names(cursor, url)


def fingerprint(url: str) -> list[str]:
    """Name every table, view and index that chatstore has in the database *url*."""
    with connection(url) as cursor:
        return _names(cursor, url)


def open_connections(url: str) -> int:
    """Count the connections that are open to the database *url*, the one that counts left out."""
    with connection(url) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            if url.startswith("postgresql")
            else "SELECT COUNT(*) FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        return int(cursor.fetchone()[0])


def _names(cursor: Any, url: str) -> list[str]:
    cursor.execute(NAMES["postgres" if url.startswith("postgresql") else "mariadb"])
    return [str(name) for (name,) in cursor.fetchall()]


def _text(url: Any) -> str:
    return str(url.render_as_string(hide_password=False))


def _empty_postgres(cursor: Any) -> None:
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    )
    cursor.execute("SET lock_timeout = '10s'")
    cursor.execute("SELECT pg_relation_size(%s)", (TABLES[0],))
    if cursor.fetchone()[0] > MANY_BYTES:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")  # and the search index, if there is one
    else:
        _delete(cursor)


def _delete(cursor: Any) -> None:
    for table in TABLES:
        cursor.execute(f"DELETE FROM {table}")


def _kill(cursor: Any, name: str) -> None:
    cursor.execute(
        "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()", (name,)
    )
    for (thread,) in cursor.fetchall():
        with contextlib.suppress(pymysql.Error):  # it may have gone by itself
            cursor.execute("KILL %s", (thread,))


def _ping(url: str) -> None:
    parts = urlsplit(url)
    where = (parts.hostname or "127.0.0.1", parts.port or 6379)
    with socket.create_connection(where, CONNECT_SECONDS) as plain:
        secure = parts.scheme == "rediss"
        link = ssl.create_default_context().wrap_socket(plain, server_hostname=where[0]) if secure else plain
        with link.makefile("rb") as answers:
            if parts.password:
                user = unquote(parts.username or "default")
                link.sendall(f"AUTH {user} {unquote(parts.password)}\r\n".encode())
                answers.readline()
            link.sendall(b"PING\r\n")
            if (answer := answers.readline()) != b"+PONG\r\n":
                raise ConnectionError(f"PING was answered with {answer[:80]!r}")
