"""Every line of the documentation that installs something, in an environment that is empty.

What the page then imports, calls and connects to must be there. The lines are for a checkout; here the wheel of one
stands for it, which is built once. Slow, since the rest comes from the package index.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packaging.conftest import ROOT, run
from tests.snippets import blocks, install_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.packaging.conftest import Built

pytestmark = pytest.mark.timeout(300)
PAGES = [*sorted((ROOT / "docs").glob("tutorial*.md")), *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
#: What a command on a page is looked up for, in a block or in a sentence, and the module that a URL wants.
COMMANDS = re.compile(r"^(?:\w+=\S+ )*(chatstore|alembic|flask|gunicorn|pytest)\b", re.MULTILINE)
SAID = re.compile(r"`(chatstore) [a-z]")
MODULES = {
    "postgresql": "psycopg",
    "postgresql+psycopg": "psycopg",
    "postgresql+asyncpg": "asyncpg",
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "redis": "redis",
    "dynamodb": "boto3",
    "cosmosdb": "azure.cosmos",
}
#: Says which of the statements in its arguments cannot be imported.
TRY = """
import sys
for statement in sys.argv[1:]:
    try:
        exec(statement, {})
    except ImportError:
        print(statement)
    except Exception as error:  # Django's models without settings: the package is there
        if type(error).__name__ != "ImproperlyConfigured":
            raise
"""
URL = re.compile(r"\b([a-z0-9+]+)://")


def by_line() -> dict[str, list[Path]]:
    """Return the pages of each line, so that one environment serves all that say the same."""
    found = defaultdict(list)
    for page in PAGES:
        found[install_line(page)].append(page)
    return found


def imports(page: Path) -> Iterator[str]:
    """Give the import statements of a page, but for those of modules that the page itself writes."""
    sources = [block.text for block in blocks(page) if block.language == "python"]
    written = {source.partition("\n")[0].removeprefix("# ").split("/")[0] for source in sources}
    own = {name.removesuffix(".py") for name in written if " " not in name}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                name = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
                if name.partition(".")[0] not in own:
                    yield ast.unparse(node)


def wants(page: Path) -> tuple[set[str], set[str]]:
    """Return the statements that must run and the commands that must be there after the page's first line."""
    code = "\n".join(block.text for block in blocks(page) if block.language in {"python", "sh"})
    drivers = {f"import {MODULES[scheme]}" for scheme in URL.findall(code) if scheme in MODULES}
    said = SAID.findall(page.read_text(encoding="utf-8"))
    commands = {*COMMANDS.findall(code), *said}
    # the command is there without its extra, and only says what it lacks
    typed = {"import click", "import rich"} if "chatstore" in commands else set()
    return {*imports(page), *drivers, *typed, "import chatstore"}, commands


def environment(folder: Path) -> dict[str, str]:
    """Make an empty virtual environment in *folder*; return the variables of somebody who activated it.

    Its `pip` is uv's, which installs what takes minutes otherwise in seconds.
    """
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    pip = folder / "bin" / "pip"
    pip.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m uv pip "$@" --quiet --python {folder}/bin/python\n',
        encoding="utf-8",
    )
    pip.chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CHATSTORE_", "PYTHON"))
    }
    return {**kept, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(folder)}


def shell(line: str, folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run *line* in bash in *folder*; return its exit code and all it said."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def from_wheel(line: str, wheel: Path) -> str:
    """Return *line* with the wheel in the place of the checkout."""
    return re.sub(r"(?<=\s)(\"?)\.(?=[\[\s\"]|$)", lambda dot: f"{dot[1]}{wheel}", line, count=1)


def missing(page: Path, empty: Path, variables: dict[str, str]) -> list[str]:
    """Return what *page* uses and the activated environment lacks."""
    statements, commands = wants(page)
    found = [name for name in sorted(commands) if not Path(variables["VIRTUAL_ENV"], "bin", name).exists()]
    code, said = shell(
        f"python -W ignore -c {shlex.quote(TRY)} {shlex.join(sorted(statements))}", empty, variables
    )
    assert 0 == code, said
    return [*found, *said.splitlines()]


@pytest.mark.parametrize("line", by_line())
def test_a_line_installs_what_its_pages_use(line: str, built: Built, tmp_path: Path) -> None:
    """After the line, what the page uses can be imported and called, in a folder that has nothing to do with it."""
    variables, empty = environment(tmp_path / "venv"), tmp_path / "empty"
    empty.mkdir()

    code, said = shell(from_wheel(line, built.wheel), empty, variables)

    assert str(built.wheel) in from_wheel(line, built.wheel)
    assert 0 == code, said
    assert {} == {page.name: lacks for page in by_line()[line] if (lacks := missing(page, empty, variables))}


def test_the_name_of_the_distribution_installs_this_project(built: Built, tmp_path: Path) -> None:
    """Where an index has the wheel, `pip install 'chatstore-sql[cli]'` brings it; a page that wants more is found."""
    variables = environment(tmp_path / "venv") | {"UV_FIND_LINKS": str(built.wheel.parent)}

    code, said = shell("pip install 'chatstore-sql[cli]'", tmp_path, variables)

    assert 0 == code, said
    assert (0, "chatstore") == tuple(
        shell("chatstore --version | cut -d' ' -f1 | tr -d '\\n'", tmp_path, variables)
    )
    assert [] == missing(ROOT / "docs" / "how-to" / "host-alembic.md", tmp_path, variables)
    assert ["import psycopg"] == missing(ROOT / "docs" / "tutorial.md", tmp_path, variables)
    assert "gunicorn" in missing(ROOT / "docs" / "how-to" / "flask.md", tmp_path, variables)
