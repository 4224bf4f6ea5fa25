"""Fixtures of every suite: a database of its own for each test, and a clean environment.

Knows the names of the fixtures; which server answers behind them is decided in `servers`.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("chatstore", deadline=None, print_blob=True)
settings.load_profile("chatstore")


def pytest_report_header() -> list[str]:
    """Say which servers this run uses, and where each comes from."""
    return [servers.describe(kind) for kind in (*servers.KINDS, servers.POOLER)]


def pytest_collection_finish() -> None:
    """Keep the garbage collector out of 28,000 collected tests: looking through them took it a second each time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the blocks of the documentation that were not run, each with its reason."""
    reports = terminalreporter.stats.get("passed", [])
    found = [str(value) for one in reports for name, value in one.user_properties if name == "not run"]
    if found:
        terminalreporter.section(f"{len(found)} blocks of the documentation were not run")
        terminalreporter.write_line("\n".join(found))


def pytest_unconfigure() -> None:
    """Take away every database and server that this run made."""
    servers.close()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in ("CHATSTORE_URL", "CHATSTORE_SCHEMA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sqlite_url() -> Iterator[str]:
    """Give the URL of an SQLite file that does not exist yet, in a folder of its own."""
    with servers.fresh_database("sqlite") as url:
        yield url


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """Give the URL of a new, empty PostgreSQL database."""
    with servers.fresh_database("postgres") as url:
        yield url


@pytest.fixture
def mariadb_url() -> Iterator[str]:
    """Give the URL of a new, empty MariaDB (or MySQL) database."""
    with servers.fresh_database("mariadb") as url:
        yield url


@pytest.fixture
def redis_url() -> str:
    """Give the URL of a Redis server; a test uses keys under a prefix of its own and never flushes."""
    return servers.obtain("redis")


@pytest.fixture
def dynamodb_url() -> Iterator[str]:
    """Give the URL of a new, empty DynamoDB table."""
    with servers.fresh_table() as url:
        yield url


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that another user can come to."""
    folder = Path(tempfile.mkdtemp(prefix="chatstore-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)
