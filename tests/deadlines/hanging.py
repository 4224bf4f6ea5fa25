"""Storages on which something hangs: a lock that somebody holds, a server that is stopped or does not answer.

Knows how each of them is made to hang, on real servers; refuses to know what calls do then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import make_url

import chatstore
from chatstore import HumanMessage
from tests import databases, dynamo, redis_servers, servers
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

#: Locks a file for writing until its standard input ends.
_LOCKER = (
    "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.flock(file, fcntl.LOCK_EX); "
    "print('locked', flush=True); sys.stdin.read()"
)


class Storage(NamedTuple):
    """The *url* of a storage with a session ``s``, and what makes it hang for a while."""

    url: str
    hang: Callable[[], AbstractContextManager[object]]


def _seeded(url: str) -> str:
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("seed")])
    return url


@contextlib.contextmanager
def sqlite_writer() -> Iterator[Storage]:
    """Give a SQLite file on which another connection holds the write lock."""

    @contextlib.contextmanager
    def hang() -> Iterator[None]:
        link = sqlite3.connect(make_url(url).database or "", isolation_level=None)
        with contextlib.closing(link):
            link.execute("BEGIN IMMEDIATE")
            yield
            link.execute("ROLLBACK")

    with servers.migrated_url("sqlite") as url:
        yield Storage(_seeded(url), hang)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[Storage]:
    """Give a folder of files of which another process has locked every one."""

    @contextlib.contextmanager
    def hang() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for path in (folder / ".locks").iterdir():
                command = [sys.executable, "-c", _LOCKER, str(path)]
                process = stack.enter_context(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                )
                assert process.stdout is not None
                assert b"locked\n" == process.stdout.readline()
                stack.callback(process.communicate)
            yield

    yield Storage(_seeded(f"file:{folder}"), hang)


@contextlib.contextmanager
def locked_tables(kind: str, driver: str) -> Iterator[Storage]:
    """Give a database in which somebody has locked the tables."""

    @contextlib.contextmanager
    def hang() -> Iterator[None]:
        with databases.connection(url) as cursor:
            if kind == "postgres":
                cursor.execute("BEGIN")
                cursor.execute("LOCK TABLE chatstore_sessions, chatstore_messages IN ACCESS EXCLUSIVE MODE")
            else:
                cursor.execute("LOCK TABLES chatstore_sessions WRITE, chatstore_messages WRITE")
            yield

    with servers.migrated_url(kind) as url:
        yield Storage(by(_seeded(url), driver), hang)


@contextlib.contextmanager
def silent_database(kind: str, driver: str) -> Iterator[Storage]:
    """Give a database behind a network that swallows everything from now on, on open connections too."""
    with servers.migrated_url(kind) as url:
        at = make_url(_seeded(url))
        with FaultProxy(str(at.host), int(at.port or 0)) as proxy:
            through = at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            yield Storage(by(through, driver), lambda: _swallowing(proxy))


@contextlib.contextmanager
def stopped_redis() -> Iterator[Storage]:
    """Give a Redis server of the test's own that is stopped by a signal."""

    @contextlib.contextmanager
    def hang() -> Iterator[None]:
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    with redis_servers.started(*redis_servers.QUIET) as url:
        pid = _process_of(url)
        yield Storage(_seeded(url), hang)


@contextlib.contextmanager
def silent_dynamodb() -> Iterator[Storage]:
    """Give a table behind a network that swallows everything from now on."""
    with servers.fresh_table() as url:
        _seeded(url)
        endpoint = urlsplit(chatstore.connect(url)._client.address.endpoint)  # type: ignore[attr-defined]
        with FaultProxy(str(endpoint.hostname), int(endpoint.port or 0)) as proxy:
            through = f"{url.partition('?')[0]}?endpoint_url=http://127.0.0.1:{proxy.port}"
            dynamo.lend_credentials(through)
            yield Storage(through, lambda: _swallowing(proxy))


@contextlib.contextmanager
def _swallowing(proxy: FaultProxy) -> Iterator[None]:
    proxy.arm(Mode.BLACKHOLE)
    try:
        yield
    finally:
        proxy.disarm()


def by(url: str, driver: str) -> str:
    """Return *url* for *driver*; "" leaves it."""
    at = make_url(url)
    family = at.get_backend_name()
    return at.set(drivername=f"{family}+{driver}").render_as_string(hide_password=False) if driver else url


def _process_of(url: str) -> int:
    import redis

    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])
