"""Where the figures are measured: fresh databases at head, and sessions of a given length in them.

Knows servers, URLs and how a long session is made; refuses to know what is timed.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING

import chatstore
from chatstore.backends.sql.engine_factory import new_engine
from chatstore.backends.sql.lending import DIRECT, WRITES
from chatstore.backends.sql.migrations import upgrade
from tests import servers
from tests.benchmarks import turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from chatstore.repository import Repository

SQL = ("sqlite", "postgres", "mariadb")
NAMES = {
    "sqlite": "SQLite",
    "postgres": "PostgreSQL",
    "mariadb": "MariaDB",
    "file": "file",
    "memory": "memory",
}
#: Messages in one call while a session is made.
CHUNK = 5_000
SETTLE = {
    "postgresql": "VACUUM ANALYZE",
    "mariadb": "ANALYZE TABLE chatstore_messages, chatstore_sessions",
}


@contextlib.contextmanager
def migrated(kind: str) -> Iterator[str]:
    """Give the URL of a new database at head (or of a folder, for *file*) that is gone afterwards."""
    if kind == "file":
        with tempfile.TemporaryDirectory(prefix="chatstore-bench-") as folder:
            yield f"file:{folder}"
        return
    with servers.fresh_database(kind) as url:
        upgrade(url)
        yield url


@contextlib.contextmanager
def connected(url: str) -> Iterator[Repository]:
    """Give a repository on *url*, closed afterwards."""
    with contextlib.closing(chatstore.connect(url)) as repository:
        yield repository


def writing(url: str) -> Engine:
    """Return an engine as a repository has it for units: without that, each line would be a transaction."""
    return new_engine(url).execution_options(**{DIRECT: True, WRITES: True})


def fill(repository: Repository, session_id: str, size: int) -> None:
    """Make the session *size* messages long."""
    messages = turns.many(size, pool=min(4_096, max(8, size // 2))).messages
    for start in range(0, size, CHUNK):
        repository.add_messages(session_id, messages[start : start + CHUNK])
    if repository.count_messages(session_id) != size:
        msg = f"{session_id} should have {size} messages"
        raise AssertionError(msg)


def settle(url: str) -> None:
    """Let the server learn what is in the tables now, as its own housekeeping does within a minute."""
    engine = new_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as link:
        if statement := SETTLE.get(engine.dialect.name):
            link.exec_driver_sql(statement)
    engine.dispose()
