"""Redis servers and clusters of a test's own, on loopback, beside the one that `servers` finds.

Knows how they are started and stopped; knows nothing of what is kept in them.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import databases, embedded, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLUSTER_ENVIRONMENT = "CHATSTORE_TEST_REDIS_CLUSTER_URL"
MASTERS = 3
#: A cluster's nodes talk to each other on their port plus 10,000.
HIGHEST_PORT = 65_535 - 10_000
QUIET = ("--save", "", "--appendonly", "no")


def needed() -> str:
    """Return the path of redis-server; skip where there is none, fail where Redis is required."""
    found = shutil.which("redis-server")
    if found is None:
        wanted = "redis" in servers.required()
        (pytest.fail if wanted else pytest.skip)("redis-server is not on PATH: install Redis")
    return str(found)


@contextlib.contextmanager
def started(*options: str, port: int | None = None, folder: Path | None = None) -> Iterator[str]:
    """Run a server with these *options*; the context gives its URL."""
    with contextlib.ExitStack() as stack:
        base = folder or stack.enter_context(embedded._folder("redis"))
        port = port or _port()
        command = [needed(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(base), *options]
        url = f"redis://127.0.0.1:{port}"
        yield stack.enter_context(embedded._running(command, base, url, _why_not, cwd=base))


def _why_not(url: str) -> str | None:
    """As `databases.why_not`; a server that wants a password is up too."""
    fault = databases.why_not(url)
    return None if fault and "NOAUTH" in fault else fault


def _port() -> int:
    """Return a free port whose cluster port is one too."""
    for _ in range(1000):
        if (port := embedded.free_port()) <= HIGHEST_PORT:
            return port
    raise RuntimeError("no free port below 55,536")


@contextlib.contextmanager
def cluster() -> Iterator[list[str]]:
    """Run a cluster of three masters without replicas; the context gives the nodes' URLs."""
    options = (*QUIET, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(started(*options)) for _ in range(MASTERS)]
        nodes = [url.removeprefix("redis://") for url in urls]
        command = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "0", "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"the cluster was not made: {done.stdout}\n{done.stderr}")
        embedded.wait_until(lambda: all(map(_ready, nodes)), 30, "a cluster")
        yield urls


def _ready(node: str) -> bool:
    host, port = node.split(":")
    command = ["redis-cli", "-h", host, "-p", port, "cluster", "info"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    return "cluster_state:ok" in told and f"cluster_known_nodes:{MASTERS}" in told


@functools.cache
def cluster_url() -> str:
    """Return the URL of the cluster that this process uses, started at the first call and stopped at exit."""
    given = os.environ.get(CLUSTER_ENVIRONMENT)
    url = given or _at_exit.enter_context(cluster())[0]
    os.environ[CLUSTER_ENVIRONMENT] = url  # child processes use the same one
    return f"{url}?cluster=true"


_at_exit = contextlib.ExitStack()
_owner = os.getpid()


def close() -> None:
    """Stop what was started."""
    if os.getpid() == _owner:
        _at_exit.close()


atexit.register(close)
