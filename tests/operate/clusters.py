"""Servers with the accounts of docs/how-to/operate.md, made by the statements that stand there.

Knows the page's blocks and who runs them; refuses to know what the accounts may do, which is what the tests ask.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import make_url

from chatstore.migrations import upgrade
from tests import databases, embedded, servers
from tests.snippets import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "operate.md"
KINDS = ("postgres", "mariadb")
VIEWS = ("chatstore_transcript", "chatstore_tool_calls", "chatstore_usage_daily")


def written(language: str, word: str) -> str:
    """Return the one block of the page in *language* that has *word* in it."""
    [found] = [block.text for block in blocks(PAGE) if block.language == language and word in block.text]
    return found


#: The page's statements: those that make the accounts, and those that give them rights on what the upgrade made.
ACCOUNTS = {"postgres": "CREATE ROLE chat_owner", "mariadb": "CREATE USER chat_owner"}
RIGHTS = {"postgres": "ON chatstore_sessions", "mariadb": "ON app.chatstore_sessions"}


class Cluster(NamedTuple):
    """A server of our own; *admin* is the URL of its administrator in the database ``app``."""

    kind: str
    admin: str

    def url(self, user: str, database: str = "app") -> str:
        """Return the URL of an account."""
        at = make_url(self.admin).set(username=user, password="secret", database=database)
        return at.render_as_string(hide_password=False)

    def run(self, text: str, user: str | None = None) -> list[tuple[Any, ...]]:
        """Run the statements of *text*, as the administrator unless *user* is named; return the last one's rows."""
        rows: list[tuple[Any, ...]] = []
        with databases.connection(self.url(user) if user else self.admin) as cursor:
            for statement in filter(None, (piece.strip() for piece in text.split(";\n"))):
                cursor.execute(statement)
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows

    def give_rights(self) -> None:
        """Run what the page says is run after an upgrade."""
        self.run(written("sql", RIGHTS[self.kind]))

    def shell(self, script: str, folder: Path, *, user: str | None = None) -> str:
        """Run *script* in *folder*, its tools told by their environment where the server is; return what it prints."""
        at = make_url(self.url(user) if user else self.admin)
        settings = f"host={at.host}\nport={at.port}\nuser={at.username}\npassword={at.password or ''}\n"
        (folder / ".my.cnf").write_text(f"[client]\n{settings}protocol=tcp\n", encoding="utf-8")
        own = str(embedded.postgres_binaries()) if self.kind == "postgres" else ""
        told = {
            "PATH": os.pathsep.join(filter(None, (own, os.environ["PATH"]))),
            "HOME": str(folder),
            "PGHOST": str(at.host),
            "PGPORT": str(at.port),
            "PGUSER": str(at.username),
        }
        return bash(script, folder, told)


def bash(script: str, folder: Path, told: dict[str, str] | None = None) -> str:
    """Run *script* in *folder* until its first failing command; return what it prints, stderr too."""
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env={**os.environ, **(told or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def need(kind: str) -> None:
    """Skip the test where no server of *kind* can be started, fail where that kind is required."""
    if embedded.binaries(kind) is None:
        wanted = kind in servers.required()
        (pytest.fail if wanted else pytest.skip)(f"no {kind} of one's own can be started here: install it")


def need_tool(name: str) -> None:
    """Skip the test where a tool of the page is not installed."""
    if shutil.which(name) is None and not ((own := embedded.postgres_binaries()) and (own / name).exists()):
        pytest.skip(f"{name} is not installed")


@contextlib.contextmanager
def started(kind: str) -> Iterator[Cluster]:
    """Start a server with the page's accounts, and no tables yet."""
    need(kind)
    with embedded.start(kind, databases.why_not) as url:
        cluster = Cluster(kind, databases.create(url, "app"))
        cluster.run(written("sql", ACCOUNTS[kind]))
        yield cluster


@contextlib.contextmanager
def ready(kind: str) -> Iterator[Cluster]:
    """Start one whose owner has made the tables, and whose accounts have their rights."""
    with started(kind) as cluster:
        upgrade(cluster.url("chat_owner"))
        cluster.give_rights()
        yield cluster
