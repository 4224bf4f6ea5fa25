"""What is shipped: the right files under the right names, and migrations that run wherever they were put."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from chatstore.backends.sql.models import HEAD
from tests.packaging.conftest import ROOT, Environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.conftest import Built

pytestmark = pytest.mark.timeout(300)
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
REVISIONS = sorted(path.name for path in (ROOT / "alembic" / "versions").glob("*.py"))
COMMANDS = "chatstore alembic-ini > alembic.ini && CHATSTORE_URL=sqlite:///x.db alembic upgrade head"


def wheel_names(wheel: Path) -> list[str]:
    """List the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def faults(names: list[str]) -> list[str]:
    """Name what is wrong with the files of a wheel."""
    info = f"chatstore_sql-{VERSION}.dist-info"
    wanted = {"chatstore/py.typed", "chatstore/_alembic/env.py", "chatstore/_alembic/script.py.mako"}
    wanted |= {f"chatstore/_alembic/versions/{revision}" for revision in REVISIONS}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "chatstore").rglob("*.py")}
    for kind in ("lua", "html", "css", "js", "svg"):
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "chatstore").rglob(f"*.{kind}")}
    wanted |= {f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"}
    found = [f"missing: {name}" for name in sorted(wanted - set(names))]
    found += [f"stray: {name}" for name in names if name.split("/")[0] not in {"chatstore", info}]
    found += [
        f"a package: {name}"
        for name in names
        if name.startswith("chatstore/_alembic/") and "__init__" in name
    ]
    return found + [f"compiled: {name}" for name in names if name.endswith((".pyc", ".db"))]


def test_the_wheel_holds_chatstore_and_its_migrations_and_nothing_else(built: Built) -> None:
    """One top-level name, the migrations mapped below it, types marked, licence included."""
    assert faults(wheel_names(built.wheel)) == []


@pytest.mark.parametrize(
    ("more", "fewer", "fault"),
    [
        ("alembic/env.py", "", "stray: alembic/env.py"),
        ("tests/__init__.py", "", "stray: tests/__init__.py"),
        ("", "chatstore/_alembic/env.py", "missing: chatstore/_alembic/env.py"),
        ("", "chatstore/backends/redis/lua/head.lua", "missing: chatstore/backends/redis/lua/head.lua"),
        ("", "chatstore/py.typed", "missing: chatstore/py.typed"),
        ("chatstore/_alembic/__init__.py", "", "a package: chatstore/_alembic/__init__.py"),
    ],
)
def test_a_planted_fault_of_a_wheel_is_found(built: Built, more: str, fewer: str, fault: str) -> None:
    """Each wrong list of files is named for its one fault."""
    names = [name for name in [*wheel_names(built.wheel), more] if name not in {"", fewer}]

    assert [fault] == faults(names)


def test_the_wheel_of_the_sdist_is_the_same_wheel(built: Built) -> None:
    """Whoever builds from the source distribution gets the very same files."""
    with zipfile.ZipFile(built.wheel) as one, zipfile.ZipFile(built.wheel_of_sdist) as two:
        assert {name: one.read(name) for name in one.namelist()} == {
            name: two.read(name) for name in two.namelist()
        }


def test_the_sdist_can_be_developed_from(built: Built) -> None:
    """It has the migrations at the top level with their ini, the tests and the documentation."""
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {
        "alembic.ini",
        "alembic/env.py",
        "chatstore/py.typed",
        "chatstore/backends/redis/lua/head.lua",
        "tests/conftest.py",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "pyproject.toml",
    } <= names


@pytest.fixture(scope="session", params=["editable", "wheel", "wheel of the sdist"])
def installed(
    request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Install what was built in one of the ways people do."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    ways = {
        "editable": ["--editable", str(built.checkout)],
        "wheel": [str(built.wheel)],
        "wheel of the sdist": [str(built.wheel_of_sdist)],
    }
    environment.install(*ways[request.param])
    return environment


def shell(environment: Environment, command: str, folder: Path) -> str:
    """Run *command* in bash as somebody who activated *environment*."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CHATSTORE_", "PYTHON"))
    }
    kept["PATH"] = f"{environment.bin}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version(database: Path) -> list[str]:
    """Return the revisions that *database* is at."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT version_num FROM chatstore_alembic_version").fetchall()
    connection.close()
    return [str(row[0]) for row in rows]


def test_the_documented_commands_bring_a_database_to_head(installed: Environment, tmp_path: Path) -> None:
    """Exactly the commands of the documentation, in a folder that has nothing to do with the project."""
    shell(installed, COMMANDS, tmp_path)

    assert ["x.db", "alembic.ini"] == sorted((path.name for path in tmp_path.iterdir()), reverse=True)
    assert version(tmp_path / "x.db") == [HEAD]


def test_the_other_commands_of_alembic_work_too(installed: Environment, tmp_path: Path) -> None:
    """`current`, `check`, `--sql` and `downgrade` find the same migrations; the library is not shadowed."""
    shell(installed, COMMANDS, tmp_path)

    rest = "export CHATSTORE_URL=sqlite:///x.db; alembic check; alembic current; alembic upgrade head --sql; "
    printed = shell(installed, f"{rest} alembic downgrade base", tmp_path)
    assert f"{HEAD} (head)" in printed
    assert "CREATE TABLE chatstore_sessions" in printed
    assert version(tmp_path / "x.db") == []


def test_chatstore_is_the_installed_one(installed: Environment, built: Built, tmp_path: Path) -> None:
    """The environment uses what was installed; an editable install leaves no copy of the migrations."""
    where = shell(installed, 'python -c "import chatstore; print(chatstore.__file__)"', tmp_path)
    editable = where.startswith(str(built.checkout))

    assert editable or where.startswith(str(installed.site))
    assert editable != (installed.site / "chatstore" / "_alembic" / "env.py").exists()
    assert f"chatstore {VERSION}" == shell(installed, "chatstore --version", tmp_path).strip()


def test_the_scripts_of_redis_are_found_where_they_were_put(installed: Environment, tmp_path: Path) -> None:
    """Each way of installing brings the very text of every script, in a folder of its own."""
    code = "from chatstore.backends.redis import scripts; print(scripts.APPEND.source, end='')"
    folder = ROOT / "chatstore" / "backends" / "redis" / "lua"

    wanted = "".join((folder / name).read_text(encoding="utf-8") for name in ("head.lua", "append.lua"))
    assert wanted == shell(installed, f'python -c "{code}"', tmp_path)


def test_alembic_works_in_the_checkout(installed: Environment, built: Built, tmp_path: Path) -> None:
    """With the checkout as the current folder, its alembic/ shadows nothing and its ini needs no setting."""
    database = tmp_path / "x.db"

    shell(installed, f"CHATSTORE_URL=sqlite:///{database} alembic upgrade head", built.checkout)

    assert len(version(database)) == 1
