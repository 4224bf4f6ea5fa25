"""The command that installs an extra can be typed, and means this installation."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatstore import extras

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_a_checkout_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From anywhere it is the path, in the checkout a dot; the interpreter is the one that runs."""
    monkeypatch.chdir(tmp_path)
    away = shlex.split(extras.pip_install("postgres"))
    monkeypatch.chdir(ROOT)
    at_home = shlex.split(extras.pip_install("postgres"))

    assert [sys.executable, "-m", "pip", "install", "-e", f"{ROOT}[postgres]"] == away
    assert [*away[:-1], ".[postgres]"] == at_home


def test_an_installed_package_is_named_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a project beside it, pip finds what is installed, whatever an index has."""
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "site-packages" / "chatstore" / "extras.py"))

    assert [sys.executable, "-m", "pip", "install", "chatstore[mysql]"] == shlex.split(
        extras.pip_install("mysql")
    )
