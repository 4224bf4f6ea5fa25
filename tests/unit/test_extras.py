"""What is said about missing packages can be typed, names those packages, and never names chatstore itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chatstore import extras
from chatstore.connect import connect
from chatstore.errors import MissingDependency

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Extras that bring others, and those for people who work on chatstore itself.
OTHERS = {"all", "test", "test-drivers", "test-services", "test-viewer", "dev"}
#: They are chosen one by one, since some cannot stand beside each other.
FRAMEWORKS = {
    "agent-framework",
    "ag2",
    "chatkit",
    "claude-agent",
    "django",
    "fastapi",
    "flask",
    "google-adk",
    "langchain",
    "llama-index",
    "openai-agents",
    "pydantic-ai",
    "serve",
    "strands",
}
ADVICE = re.compile(
    r"""chatstore\[[a-z]|install(?:\s+['"]?[\w.,<>=~\[\]-]+['"]?)*?\s+['"]?chatstore(?![\w.-])""",
    re.IGNORECASE,
)


def test_the_requirements_are_those_of_the_project() -> None:
    """What is printed is what the extras install, under the name of this distribution."""
    project = PROJECT["optional-dependencies"]

    assert PROJECT["name"] == extras.DISTRIBUTION
    assert {
        name: tuple(packages) for name, packages in project.items() if name not in OTHERS
    } == extras.EXTRAS
    every = sorted(set(extras.EXTRAS) - FRAMEWORKS)
    assert [f"{extras.DISTRIBUTION}[{','.join(every)}]"] == project["all"]


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_command_is_one_for_this_interpreter(extra: str) -> None:
    """A shell gives pip each requirement whole, and chatstore is none of them."""
    said = str(extras.not_installed("this", extra))

    assert said.startswith("this is not installed: ")
    words = shlex.split(said.removeprefix("this is not installed: "))
    assert [sys.executable, "-m", "pip", "install", *extras.EXTRAS[extra]] == words
    assert not [word for word in words[4:] if "chatstore" in word]


def test_an_environment_without_pip_is_one_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """There `python -m pip` would fail; uv is told which environment is meant."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)

    assert f"uv pip install --python {shlex.quote(sys.executable)} 'redis>=6.4'" == extras.pip_install(
        "redis>=6.4"
    )


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("postgresql+psycopg2://h/d", "psycopg2", "psycopg2-binary"),
        ("mysql+mysqldb://h/d", "MySQLdb", "mysqlclient"),
        ("mysql+mysqlconnector://h/d", "mysql", "mysql-connector-python"),
        ("mariadb+mariadbconnector://h/d", "mariadb", "mariadb"),
    ],
)
def test_a_driver_is_named_by_its_package(
    url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command has the package that brings the driver, which is not called like its module."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingDependency) as caught:
        connect(url)
    assert str(caught.value).endswith(f": {extras.pip_install(package)}")


def test_an_unknown_driver_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose package brings the module cannot be known, so no command is made up."""
    monkeypatch.setitem(sys.modules, "psycopg2cffi", None)

    with pytest.raises(MissingDependency) as caught:
        connect("postgresql+psycopg2cffi://h/d")
    assert "pip install" not in str(caught.value)
    assert "psycopg2cffi" in str(caught.value)


def advice(text: str) -> list[str]:
    """Return what in *text* tells people to install the package index's `chatstore`, which is another project."""
    return [line.strip() for line in text.splitlines() if ADVICE.search(line)]


def texts() -> list[Path]:
    """Return every file that a person may read advice in; this one holds the planted faults."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    for folder, kind in (("docs", "*.md"), ("chatstore", "*.py"), ("tests", "*.py"), ("alembic", "*.py")):
        found += (ROOT / folder).rglob(kind)
    return [path for path in found if path != Path(__file__)]


def test_nothing_advises_to_install_the_stranger() -> None:
    """Neither documentation nor messages nor tests name `chatstore` as something to install."""
    assert {} == {
        str(path.relative_to(ROOT)): found
        for path in texts()
        if (found := advice(path.read_text(encoding="utf-8")))
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You need `flask` and `chatstore[cli]`.", True),
        ('f"chatstore[{extra}]"', False),  # checked by what it prints
        ("pip install chatstore", True),
        ("pip install -U chatstore && chatstore demo", True),
        ("run python -m pip install flask 'chatstore>=2'", True),
        ("uv pip install chatstore==2.0.2", True),
        ("pip install 'chatstore-sql[cli]'", False),
        ("pip install '.[cli]' && .venv/bin/chatstore demo", False),
        ("pip install ./chatstore.whl", False),
    ],
)
def test_planted_advice_is_found(text: str, *, found: bool) -> None:
    """Every way to name the stranger is seen; the ways to name this project are not."""
    assert ([text] if found else []) == advice(text)


def test_doctor_tells_of_a_stranger_in_the_same_folder(tmp_path: Path) -> None:
    """Another distribution that brings a package `chatstore` is named, with what to do; without one nothing is said."""
    info = tmp_path / "other" / "chatstore-2.0.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: chatstore\nVersion: 2.0.2\n", encoding="utf-8"
    )
    (info / "RECORD").write_text("chatstore/__init__.py,,\nchatstore/client.py,,\n", encoding="utf-8")
    doctor = [sys.executable, "-m", "chatstore", "doctor", "--url", "memory:"]
    said = []
    for path in (str(ROOT), f"{ROOT}:{info.parent}"):
        environment = {"PYTHONPATH": path, "NO_COLOR": "1"}
        run = subprocess.run(
            doctor, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        said.append(run.stdout)

    without, with_ = said
    assert "2.0.2" not in without
    (line,) = [line for line in with_.splitlines() if "2.0.2" in line]
    assert line.startswith("advice")
    assert f"{sys.executable} -m pip uninstall chatstore" in line
    assert f"install {extras.DISTRIBUTION} again" in line
