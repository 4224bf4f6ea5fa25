"""Which server a test gets, and a database of its own on it.

In this order: a URL in the environment, a server running locally, an embedded one, a container, else a skip
that says so. A URL in the environment that does not answer is an error, and
`CHATSTORE_TEST_REQUIRE=postgres,mariadb,redis,dynamodb,pgbouncer` turns the skips into failures, so that nobody goes
green by skipping. How servers start is in `embedded`, what is said to them in `databases`. All of it works outside
pytest too, in campaigns and in their child processes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from sqlalchemy import make_url

from tests import databases, dynamo, embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KINDS = ("postgres", "mariadb", "redis", "dynamodb")
ENVIRONMENT = {
    "postgres": "CHATSTORE_TEST_POSTGRES_URL",
    "mariadb": "CHATSTORE_TEST_MYSQL_URL",
    "redis": "CHATSTORE_TEST_REDIS_URL",
    "dynamodb": "CHATSTORE_TEST_DYNAMODB_URL",
}
#: What stands before a server, and is started for each test that wants it.
POOLER = "pgbouncer"
LOCAL = {
    "postgres": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306",
    "redis": "redis://127.0.0.1:6379",
    "dynamodb": "dynamodb://eu-central-1/?endpoint_url=http://127.0.0.1:8000",
}
ALIASES = {"postgresql": "postgres", "mysql": "mariadb"}
REQUIRE = "CHATSTORE_TEST_REQUIRE"


class DeadServer(RuntimeError):
    """The environment names a server that does not answer."""


class NoServer(LookupError):
    """There is no server of this kind, and none can be started; says what was tried."""


class Found(NamedTuple):
    """Where a server comes from (*how*: env, local, embedded, container); *start* is a context of its URL."""

    how: str
    detail: str
    start: Callable[[], contextlib.AbstractContextManager[str]]


def required(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the kinds that must not be skipped; ValueError for a name that is no kind."""
    words = [word.strip().lower() for word in environ.get(REQUIRE, "").split(",") if word.strip()]
    kinds = frozenset(ALIASES.get(word, word) for word in words)
    if unknown := kinds - {*KINDS, POOLER}:
        known = ", ".join((*KINDS, POOLER))
        raise ValueError(f"{REQUIRE} names {', '.join(sorted(unknown))}; it may name {known}")
    return kinds


def find(kind: str, environ: Mapping[str, str] = os.environ, local: str | None = None) -> Found:
    """Look for a server of *kind* without starting one; DeadServer or NoServer if there is none."""
    name = ENVIRONMENT[kind]
    if url := environ.get(name):
        if fault := databases.why_not(url):
            raise DeadServer(
                f"{name} is set, but nothing answers there ({fault}). Start that server or unset it."
            )
        url = databases.normalised(url)
        return Found("env", f"{name}={_shown(url)}", lambda: contextlib.nullcontext(url))
    here = local or LOCAL[kind]
    fault = databases.why_not(here)
    if fault is None:
        here = databases.normalised(here)
        return Found("local", _shown(here), lambda: contextlib.nullcontext(here))
    if path := embedded.binaries(kind):
        return Found("embedded", path, lambda: embedded.start(kind, databases.why_not))
    if embedded.docker_answers():
        return Found(
            "container", embedded.IMAGES[kind][0], lambda: embedded.container(kind, databases.why_not)
        )
    raise NoServer(
        f"no {kind}: {name} is not set, {_shown(here)} does not answer, no binaries, no Docker. "
        f"Set {name}, start a server, or install one."
    )


@functools.cache
def server(kind: str) -> str:
    """Return the URL of the server of *kind* that this process uses, started first if need be."""
    url = _at_exit.enter_context(find(kind).start())
    os.environ[ENVIRONMENT[kind]] = url  # child processes use the same one
    if kind == "dynamodb":
        dynamo.lend_credentials(url)
    return url


def obtain(kind: str) -> str:
    """As `server`, in a test: skip where there is none, fail where that kind is required."""
    try:
        return server(kind)
    except NoServer as none:
        if kind in required():
            pytest.fail(f"{REQUIRE} wants it: {none}")
        pytest.skip(str(none))


@contextlib.contextmanager
def pooled(url: str, size: int = 2) -> Iterator[str]:
    """Give the URL of the PostgreSQL database at *url* behind a pooler of its own, in transaction mode.

    Skips where pgbouncer is not installed, fails where it is required. See `embedded.pooler` for *size*.
    """
    if embedded.pgbouncer() is None:
        wanted = POOLER in required()
        said = f"{REQUIRE} wants it: " if wanted else ""
        (pytest.fail if wanted else pytest.skip)(f"{said}no pgbouncer on PATH or in /usr/sbin: install it")
    with embedded.pooler(url, databases.why_not, size) as at:
        yield at


@contextlib.contextmanager
def fresh_database(kind: str) -> Iterator[str]:
    """Give the URL of a new, empty database (postgres, mariadb, sqlite); it is dropped at the end."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="chatstore-test-") as folder:
            yield f"sqlite:///{folder}/chat.db"
        return
    at, name = obtain(kind), f"chatstore_test_{os.getpid()}_{secrets.token_hex(4)}"
    try:
        yield databases.create(at, name)
    finally:
        databases.drop(at, name)


@contextlib.contextmanager
def unmade_table() -> Iterator[str]:
    """Give the URL of a DynamoDB table that nobody has made; at the end it is deleted if somebody has."""
    from chatstore.backends.dynamodb.provisioning import provisioner_for

    at, name = make_url(obtain("dynamodb")), f"chatstore-test-{os.getpid()}-{secrets.token_hex(4)}"
    url = str(at.set(database=name))
    yield url
    tables = provisioner_for(url)
    tables.downgrade()
    tables.close()


@contextlib.contextmanager
def fresh_table() -> Iterator[str]:
    """Give the URL of a new, empty DynamoDB table as ``chatstore upgrade`` makes it; it is deleted at the end."""
    from chatstore.backends.dynamodb.provisioning import provisioner_for

    with unmade_table() as url:
        tables = provisioner_for(url)
        tables.upgrade()
        tables.close()
        yield url


@contextlib.contextmanager
def migrated_url(kind: str) -> Iterator[str]:
    """Give the URL of a database at head without a row in it, quickly from the second call on.

    PostgreSQL and MariaDB databases are emptied and handed out again within this process, so a test that
    changes the schema takes `fresh_database` (one that was changed all the same is thrown away).
    """
    if kind == "sqlite":
        with fresh_database(kind) as url:
            shutil.copyfile(_sqlite_template(), make_url(url).database or "")
            yield url
        return
    obtain(kind)
    with _lock:
        kept = _idle[kind].pop() if _idle[kind] else None
    url = kept or _migrated(kind)
    yield url
    if databases.empty(url) == _fingerprints[url]:
        with _lock:
            _idle[kind].append(url)


def describe(kind: str) -> str:
    """Say in one line which server the tests of *kind* would use; starts none."""
    if kind == POOLER:
        path, lacking = embedded.pgbouncer(), "required, but" if kind in required() else "skipped:"
        return f"{kind}: embedded ({path})" if path else f"{kind}: {lacking} not installed"
    try:
        found = find(kind)
    except DeadServer as dead:
        return f"{kind}: ERROR: {dead}"
    except NoServer as none:
        return f"{kind}: {'required, but ' if kind in required() else 'skipped: '}{none}"
    return f"{kind}: {found.how} ({found.detail})"


def main() -> int:
    """Say which servers there are; 1 if one that is required is missing or dead."""
    lines = [describe(kind) for kind in (*KINDS, POOLER)]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(": ERROR" in line or ": required" in line for line in lines))


def close() -> None:
    """Drop what was kept and stop what was started; done at the exit of the process in any case."""
    if os.getpid() == _owner:
        _at_exit.close()
        server.cache_clear()
        for urls in _idle.values():
            urls.clear()


def _migrated(kind: str) -> str:
    from chatstore.backends.sql.migrations import upgrade

    url = _at_exit.enter_context(fresh_database(kind))
    upgrade(url)
    _fingerprints[url] = databases.fingerprint(url)
    return url


@functools.cache
def _sqlite_template() -> Path:
    from chatstore.backends.sql.migrations import upgrade

    path = Path(_at_exit.enter_context(tempfile.TemporaryDirectory(prefix="chatstore-test-"))) / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


def _shown(url: str) -> str:
    return str(make_url(url).render_as_string(hide_password=True))


_owner = os.getpid()
_lock = threading.Lock()
_at_exit = contextlib.ExitStack()
_idle: dict[str, list[str]] = {kind: [] for kind in KINDS}
_fingerprints: dict[str, list[str]] = {}
atexit.register(close)

if __name__ == "__main__":
    sys.exit(main())
