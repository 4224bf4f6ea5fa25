"""A backend of somebody else's package: built from the page that says how, installed by pip, found by its URL.

Nothing of chatstore names it. The page's own code is what is packed, so that what people copy is what is tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.packaging.conftest import ROOT, Environment
from tests.snippets import blocks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.conftest import Built

pytestmark = pytest.mark.timeout(600)
PAGE = ROOT / "docs" / "how-to" / "new-backend.md"
#: The contract suite, over what `connect` and `connect_async` give for the package's URL.
SUITE = """
import pytest
from chatstore import connect, connect_async
from chatstore.testing import RepositoryContract

class TestShelf(RepositoryContract):
    @pytest.fixture
    def repository(self, tmp_path):
        with connect(f"shelved:{tmp_path}/shelf") as repository:
            yield repository

class TestAwaitedShelf(RepositoryContract):
    lacks = frozenset({"large"})

    @pytest.fixture
    def repository(self, tmp_path, runner):
        repository = connect_async(f"shelved:{tmp_path}/shelf")
        yield repository
        runner.run(repository.close())
"""


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Give an environment with chatstore and the page's package, each from its own wheel."""
    top = tmp_path_factory.mktemp("outsider")
    package = top / "package"
    package.mkdir()
    for block in blocks(PAGE):
        name = block.text.partition("\n")[0].removeprefix("# ")
        if name in {"shelved.py", "pyproject.toml"}:
            (package / name).write_text(block.text, encoding="utf-8")
    environment = Environment(top / "venv")
    environment.install(str(built.wheel), str(package))
    return environment


def run(environment: Environment, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run *command* of the environment in *folder*, and nothing of this checkout."""
    return subprocess.run(
        [str(environment.bin / command[0]), *command[1:]],
        cwd=folder,
        env={"PATH": str(environment.bin), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contract_holds_through_connect(installed: Environment, tmp_path: Path) -> None:
    """The package's URL passes the whole suite, with `connect` and with `connect_async`."""
    (tmp_path / "test_shelf.py").write_text(SUITE, encoding="utf-8")

    ran = run(installed, tmp_path, "python", "-m", "pytest", "-q", "-p", "no:django", "test_shelf.py")

    assert 0 == ran.returncode, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert int(ran.stdout.split(" passed")[0].split()[-1]) > 600


def test_the_command_line_works_on_it(installed: Environment, tmp_path: Path) -> None:
    """What the page types works: append, show, list, examine; and what there is nothing to migrate of is refused."""
    (typed,) = (block.text for block in blocks(PAGE) if "chatstore doctor" in block.text)
    for line in typed.splitlines():
        words = [word.strip('"') for word in line.split()]
        ran = run(installed, tmp_path, *words)
        assert 0 == ran.returncode, line + ran.stderr

    shown = run(installed, tmp_path, "chatstore", "show", "ada", "--url", "shelved:chats").stdout
    listed = run(installed, tmp_path, "chatstore", "sessions", "--json", "--url", "shelved:chats").stdout
    facts = json.loads(
        run(installed, tmp_path, "chatstore", "doctor", "--json", "--url", "shelved:chats").stdout
    )
    refused = run(installed, tmp_path, "chatstore", "upgrade", "--url", "shelved:chats")
    absent = run(installed, tmp_path, "chatstore", "sessions", "--url", "shelved:elsewhere")

    assert "Hello!" in shown
    assert "ada" in listed
    assert (True, "shelved", 1, 1) == (facts["ok"], facts["backend"], facts["sessions"], facts["messages"])
    assert (2, True) == (refused.returncode, "no tables" in refused.stderr)
    assert (1, True) == (absent.returncode, "nothing at shelved:elsewhere" in absent.stderr)
    assert "shelved:" in run(installed, tmp_path, "chatstore", "--help").stdout


def test_a_library_that_is_not_there_names_the_package(installed: Environment, tmp_path: Path) -> None:
    """Where the package is broken, every way in says whose it is and what to do, and other URLs work."""
    (tmp_path / "shelved.py").write_text("import no_such_library\n", encoding="utf-8")
    code = (
        "import chatstore\n"
        "chatstore.connect('memory:').close()\n"
        "try:\n    chatstore.connect('shelved:x')\n"
        "except chatstore.ChatstoreError as error:\n    print(error)\n"
    )

    said = run(installed, tmp_path, "python", "-c", code).stdout

    assert "chatstore-shelved 1.0" in said
    assert f"{installed.python} -m pip uninstall" in said
    assert sys.executable not in said
