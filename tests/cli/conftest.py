"""What the tests of the command line share: a way to run it here, a way to run it as a process, a filled file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from chatstore.cli import main
from chatstore.cli.samples import store
from chatstore.connect import connect

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """How a run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that are errors."""
        return [line for line in self.err.splitlines() if line.startswith("chatstore: ")]


def execute(url: str, statement: str) -> None:
    """Run one statement behind chatstore's back."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


class Run(Protocol):
    """Run the command line with these arguments."""

    def __call__(self, *args: str, **options: Any) -> Ran:
        """Return how it ended; *input* is stdin, anything else goes into the environment."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(folder: Path) -> Run:
    """Give a function that runs the command line in this process."""

    def run(*args: str, **options: Any) -> Ran:
        typed = options.pop("input", None)
        done = CliRunner().invoke(main, args, input=typed, env=options, catch_exceptions=False)
        return Ran(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def process(folder: Path) -> Run:
    """Give a function that runs the command line as a process of its own."""

    def run(*args: str, **options: Any) -> Ran:
        typed = options.pop("input", "")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **options}
        done = subprocess.run(
            [sys.executable, "-m", "chatstore", *args],
            cwd=folder,
            env=environment,
            input=typed,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def filled(sqlite_url: str) -> str:
    """Give the URL of a SQLite file that holds the sample conversations."""
    with connect(sqlite_url) as repository:
        store(repository)
    return sqlite_url
