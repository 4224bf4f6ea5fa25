"""What `import chatstore` gives and what it costs: names, lazily, and no heavy library before its first use.

How long an import takes is a figure of tests/benchmarks; here it is counted which modules it loads.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import chatstore
from tests.reference import names

ROOT = Path(__file__).parents[2]
HEAVY = (
    "alembic",
    "aiomysql",
    "asyncio",
    "click",
    "psycopg",
    "pydantic",
    "pymysql",
    "rich",
    "sqlalchemy",
)
MEMORY = """
repository = chatstore.connect("memory:")
repository.add_messages("s", [chatstore.HumanMessage("hi")])
"""
SQLITE = """
with chatstore.connect("sqlite:///chat.db") as repository:
    repository.add_messages("s", [chatstore.HumanMessage("hi")])
"""


def loaded(program: str, folder: Path) -> list[str]:
    """Return the heavy libraries that *program* loads in a fresh interpreter, in an empty folder."""
    report = f"import json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    script = f"{path}\nimport chatstore\n{program}\n{report}"
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    names: list[str] = json.loads(run.stdout)
    return names


def test_import_chatstore_loads_nothing_heavy(tmp_path: Path) -> None:
    """`import chatstore` alone needs the standard library only."""
    assert loaded("", tmp_path) == []


def test_values_load_pydantic_and_nothing_else(tmp_path: Path) -> None:
    """A message costs pydantic; no database library comes with it."""
    assert {"pydantic"} == set(loaded("chatstore.HumanMessage('hi')", tmp_path)) - {"asyncio"}


def test_memory_loads_no_database_library(tmp_path: Path) -> None:
    """Connecting to memory and appending never loads SQLAlchemy or Alembic."""
    assert {"pydantic"} == set(loaded(MEMORY, tmp_path)) - {"asyncio"}


def test_a_current_sqlite_file_loads_no_alembic(tmp_path: Path) -> None:
    """On a database that is at head, connecting and appending never loads Alembic; making one does."""
    assert "alembic" in loaded(SQLITE, tmp_path)

    assert {"pydantic", "sqlalchemy"} == set(loaded(SQLITE, tmp_path)) - {"asyncio"}


def test_every_public_name_can_be_had() -> None:
    """Each name of `__all__` is there, is listed by `dir`, and is what its own module defines."""
    for name in chatstore.__all__:
        value = getattr(chatstore, name)
        assert name in dir(chatstore)
        assert value is getattr(chatstore, name)
    assert sorted(set(chatstore.__all__)) == sorted(chatstore.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """Laziness does not change what a wrong name is."""
    with pytest.raises(AttributeError, match="ChatMesageHistory"):
        chatstore.ChatMesageHistory  # noqa: B018


def test_a_new_public_name_is_one_line() -> None:
    """The table of the lazy names follows from the imports that type checkers read; a planted one is in it."""
    source = (ROOT / "chatstore" / "__init__.py").read_text(encoding="utf-8")
    line = "    from chatstore.aio import AsyncRepository as AsyncRepository\n"

    more = names.with_table(source.replace(line, line + "    from chatstore.ids import new_id as new_id\n"))

    assert source == names.with_table(source)
    assert '    "new_id": "ids",\n' in more


def test_type_checkers_see_every_public_name() -> None:
    """The names that load lazily are imported below TYPE_CHECKING too, so that editors and mypy know them."""
    tree = ast.parse((ROOT / "chatstore" / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {alias.asname or alias.name for node in imports for alias in node.names}

    assert {name for name in chatstore.__all__ if not name.startswith("__")} <= names


def test_the_version_is_the_one_that_is_packaged() -> None:
    """`chatstore.__version__` is what pyproject.toml says."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()

    assert f'version = "{chatstore.__version__}"' in lines
