"""Imports point down, and each rule of the table catches what breaks it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.layers import ALLOWED, ROOT, checkout, faults, read

if TYPE_CHECKING:
    from pathlib import Path


def test_imports_point_down() -> None:
    """No module of chatstore and no revision imports what the table forbids."""
    assert faults(checkout()) == []


@pytest.mark.parametrize(
    ("path", "line", "fault"),
    [
        ("codec.py", "from chatstore.contract import Core", "it points up"),
        ("codec.py", "import orjson", "standard library and pydantic only"),
        ("history.py", "from chatstore.connect import connect", "it points up"),
        ("history.py", "def f():\n    from .backends import file", "it points up"),
        ("history.py", "from chatstore import connect", "it points up"),
        ("history.py", "import importlib\nimportlib.import_module('chatstore.cli')", "it points up"),
        ("history.py", "from chatstore import __version__", "the module that defines it"),
        ("backends/file.py", "from chatstore.backends import memory", "do not know each other"),
        ("backends/file.py", "from .memory import MemoryRepository", "do not know each other"),
        ("backends/sessions.py", "from chatstore.backends.sql.core import append", "do not know each other"),
        (
            "backends/common/leases.py",
            "from chatstore.backends.redis import clients",
            "do not know each other",
        ),
        ("backends/memory/repository.py", "import sqlalchemy.orm", "only backends/sql imports sqlalchemy"),
        ("backends/sql/core.py", "from alembic import op", "only backends/sql/migrations and alembic/"),
        ("backends/sql/core.py", "import psycopg\n", "psycopg is imported by"),
        (
            "connect.py",
            "from chatstore.backends.memory.repository import MemoryRepository",
            "name backends at call time",
        ),
        ("connect.py", "import sqlalchemy", "only backends/sql imports sqlalchemy"),
        ("migrations.py", "from chatstore.backends.sql.core import SQLCore", "name backends at call time"),
        ("migrations.py", "import alembic", "only backends/sql/migrations and alembic/ import alembic"),
        ("history.py", "def f():\n    from chatstore.migrations import upgrade", "it points up"),
        (
            "formats/openai.py",
            "def f():\n    import chatstore.backends.sql.models",
            "layers 0, 1 and connect",
        ),
        ("formats/openai.py", "import chatstore.histories", "layers 0, 1 and connect"),
        ("formats/openai.py", "from chatstore.integrations import langchain", "layers 0, 1 and connect"),
        (
            "formats/openai.py",
            "try:\n    import sqlalchemy\nexcept ImportError:\n    pass",
            "only backends/sql",
        ),
        ("sources/redis_list.py", "from chatstore.backends.sql import dialects", "layers 0, 1 and connect"),
        ("sources/redis_list.py", "def f():\n    import sqlalchemy", "only backends/sql"),
        ("sources/redis_list.py", "import redis", "at call time"),
        ("sources/message_store.py", "from sqlalchemy import select", "at call time"),
        ("contrib/flask.py", "import pymysql", "only backends import drivers"),
        ("cli/main.py", "from alembic import command", "only backends/sql/migrations and alembic/"),
        ("cli/main.py", "import chatstore.testing", "the contract suite is for tests"),
        ("testing/contract.py", "from chatstore.connect import connect", "sees layers 0 and 1"),
        ("__init__.py", "from chatstore.messages import HumanMessage", "loads its names lazily"),
        ("utils.py", "", "has no layer"),
    ],
)
def test_every_rule_catches_a_planted_fault(path: str, line: str, fault: str) -> None:
    """Each line breaks one rule of the table, and the check names the module, the import and the rule."""
    planted = {
        "chatstore/connect.py": "",
        "chatstore/backends/memory/__init__.py": "",
        "chatstore/backends/memory/repository.py": "",
        "chatstore/backends/sql/dialects/__init__.py": "import psycopg",
        "chatstore/integrations/langchain.py": "",
        f"chatstore/{path}": line,
    }

    found = faults(planted)

    name = f"chatstore/{path}".removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert [True] == [fault in one and name in one for one in found], found


def test_every_exception_is_still_needed() -> None:
    """An exception that nothing uses any more is taken out of the list."""
    used = {(module.name, imported.target) for module in read(checkout()) for imported in module.imports}

    assert ALLOWED.keys() <= used


def test_a_revision_knows_the_sql_backend_only() -> None:
    """A revision imports Alembic, SQLAlchemy and backends/sql, and nothing that changes with the release."""
    fine = "import sqlalchemy as sa\nfrom alembic import op\nfrom chatstore.backends.sql import migrations"

    assert faults({"alembic/versions/0009_x.py": fine}) == []
    assert len(faults({"alembic/versions/0009_x.py": "from chatstore import codec"})) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("codec.py", "if TYPE_CHECKING:\n    from chatstore.cli import main"),
        ("__init__.py", "def __getattr__(name):\n    from chatstore.messages import HumanMessage"),
        ("connect.py", "def connect(url):\n    from chatstore.backends.sql.repository import SQLRepository"),
        ("backends/file.py", "from chatstore.backends.common.whole_sessions import State"),
        (
            "contrib/flask.py",
            "from sqlalchemy import Engine\nfrom chatstore.backends.sql.models import MessageRow",
        ),
        ("integrations/langchain.py", "import langchain_core\nfrom chatstore.connect import connect"),
        ("testing/contract.py", "import pytest\nfrom chatstore.repository import Repository"),
        ("backends/sql/migrations.py", "import alembic"),
        ("migrations.py", "from chatstore.backends.sql.migrations import upgrade"),
    ],
)
def test_what_the_table_permits_passes(path: str, line: str) -> None:
    """The permitted ways up and aside are not called faults."""
    assert faults({f"chatstore/{path}": line}) == []


@pytest.mark.parametrize("folder", ["alembic", "alembic/versions"])
def test_the_migrations_are_no_package(folder: str) -> None:
    """An `__init__.py` in alembic/ would shadow the library for everyone who runs from the checkout."""
    assert not (ROOT / folder / "__init__.py").exists()


BORROWED = re.compile(
    r"\s*(?:from tests(?:\.\w+)*\.test_\w+ import|from tests[.\w]* import test_|import tests\..*\btest_)"
)


def borrowed(folder: Path) -> list[str]:
    """Return the lines by which a module below *folder* imports something from a test."""
    return [
        f"{path.name}: {line.strip()}"
        for path in sorted(folder.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if BORROWED.match(line)
    ]


def test_no_test_borrows_from_another() -> None:
    """What two tests need stands beside them, in a module that is no test."""
    assert [] == borrowed(ROOT / "tests")


def test_a_borrowed_helper_is_found(tmp_path: Path) -> None:
    """In each spelling, inside a function too; a helper's own module may be imported."""
    wrong = ["from tests.sql.test_host import differences", "    from tests.sql import test_host"]
    lines = [*wrong, "from tests import servers", "from tests.sql.comparing import differences"]
    (tmp_path / "test_planted.py").write_text("\n".join(lines), encoding="utf-8")

    assert [f"test_planted.py: {line.strip()}" for line in wrong] == borrowed(tmp_path)
