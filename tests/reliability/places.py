"""Where the campaigns run: a fresh, migrated place of each kind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests import cosmos, servers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextmanager
def place(kind: str) -> Iterator[str]:
    """Give the URL of an empty place that is ready for appends."""
    if kind == "file":
        with tempfile.TemporaryDirectory(prefix="chatstore-campaign-") as folder:
            yield f"file:{folder}/chats"
    elif kind == "cosmosdb":
        with cosmos.account() as account, account.container() as url:
            yield url
    elif kind == "dynamodb":
        with servers.fresh_table() as url:
            yield url
    else:
        with servers.migrated_url(kind) as url:
            yield url


def worker(what: str, url: str, session: str, name: str, turns: int) -> subprocess.Popen[str]:
    """Start a process of `tests.reliability.worker`, and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.worker", what, url, session, name, str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(process.communicate(timeout=60)[1])
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let a process that is ready begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
