"""Dialects are objects: nothing else of the SQL backend names one, and the way past SQLAlchemy can be taken out."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import URL

import chatstore
from chatstore.backends.sql import migrations
from chatstore.backends.sql.dialects import KNOWN, dialect_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SQL = Path(chatstore.__file__).parent / "backends" / "sql"
NAMES = {name for dialect in KNOWN for name in (dialect.name, *dialect.aliases)}
GONE = """
import sys
sys.modules["chatstore.backends.sql.fast_path"] = None
import chatstore
from chatstore.backends.sql import execution
assert execution.prepare is execution.ordinary
with chatstore.connect(sys.argv[1]) as store:
    store.add_messages("s", [chatstore.HumanMessage("one"), chatstore.AIMessage("two")])
    store.add_messages("s", [chatstore.HumanMessage("three", id="3")])
    store.add_messages("s", [chatstore.HumanMessage("three", id="3")])
    print([message.content for message in store.get_messages("s")])
    store.add_messages("many", [chatstore.HumanMessage(str(number)) for number in range(600)])
    assert store.count_messages("many") == 600
"""


def named(text: str) -> Iterator[tuple[int, str]]:
    """Give the lines of the source *text* where a dialect is named, other than in prose."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, str(node.value)


def test_only_a_dialects_own_module_names_it() -> None:
    """Statements, search, migrations and types ask the dialect; none of them decides by a name."""
    found = [
        (path.name, *place) for path in sorted(SQL.glob("*.py")) for place in named(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        'if dialect.name == "sqlite":\n    pass',
        'if dialect.name in {"mysql", "mariadb"}:\n    pass',
        'make = {"postgresql": 1}.get(dialect.name)',
        'def f(c):\n    """Text about sqlite."""\n    return c.dialect.name != "mssql"',
    ],
)
def test_a_planted_comparison_is_found(planted: str) -> None:
    """The check finds a comparison, a set and a table of names, and leaves prose alone."""
    assert {name for _, name in named(planted)} <= NAMES
    assert list(named(planted)) != []
    assert list(named('"""Text about sqlite and mssql."""')) == []


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_finds_its_dialect(name: str) -> None:
    """A dialect is found by each of its names, always as the same object."""
    found = dialect_for(name)
    assert name in (found.name, *found.aliases)
    assert found is dialect_for(name)


def test_an_unknown_name_is_a_plain_dialect() -> None:
    """What nobody has heard of works in the plain ways, and keeps its name."""
    unknown = dialect_for("firebird")
    assert unknown.name == "firebird"
    assert unknown == unknown.plain()


@pytest.mark.parametrize("dialect", KNOWN, ids=lambda dialect: dialect.name)
def test_plain_is_without_shortcuts(dialect: object) -> None:
    """`plain` takes every shortcut away, and nothing that a database needs."""
    plain = dialect_for(dialect.name).plain()  # type: ignore[attr-defined]
    assert (plain.upsert, plain.full_text, plain.narrow_metadata) == (None, None, None)
    assert (plain.locks_rows, plain.notes) == (False, ())
    assert (plain.connect_args, plain.id_type) == (dialect.connect_args, dialect.id_type)  # type: ignore[attr-defined]


def test_everything_works_without_the_fast_path(any_url: str) -> None:
    """Where its file is gone, statements go through SQLAlchemy, with the same result."""
    migrations.upgrade(any_url)
    ran = subprocess.run(
        [sys.executable, "-c", GONE, any_url], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "['one', 'two', 'three']\n", "")


@pytest.mark.parametrize(
    ("name", "expected"), [("cockroachdb", True), ("postgresql", True), ("unheard", False)]
)
def test_whoever_is_in_autocommit_is_told_how_to_begin(name: str, expected: bool) -> None:
    """Behind psycopg, a database that is known begins explicitly; one that is not does as SQLAlchemy has it."""
    dialect = dialect_for(name)
    url = URL.create(f"{name}+psycopg")
    assert dialect.begins_explicitly(url) == expected
    assert dialect.begin == "BEGIN"
    assert dialect.arguments(url)[1]["connect_timeout"] == 10
