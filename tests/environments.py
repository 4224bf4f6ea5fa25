"""Environments of their own for packages that cannot stand beside each other, kept between runs.

This module makes a virtual environment that holds given requirements, and knows where it is kept: below
`CHATSTORE_TEST_CACHE`, or the user's cache folder, outside of the checkout. It refuses to know which framework wants
what. chatstore itself is not installed in them: it is imported from the checkout, so that all checkouts share them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = "CHATSTORE_TEST_CACHE"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: What the tests themselves need, which is a part of the `test` extra.
TOOLS: Final = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "aiosqlite")


def core() -> list[str]:
    """Return what chatstore needs on every database."""
    databases = PROJECT["optional-dependencies"]["all"][0].partition("[")[2].rstrip("]").split(",")
    return [*PROJECT["dependencies"], *(one for name in databases for one in extra_requirements(name))]


def extra_requirements(name: str) -> list[str]:
    """Return the requirements of the extra *name*."""
    found: list[str] = PROJECT["optional-dependencies"][name]
    return found


def lowest(requirement: str) -> str:
    """Return *requirement* at the lower bound of its range. Raises `ValueError` for one that states none."""
    found = re.fullmatch(r"(?P<name>[\w.\[\],-]+)>=(?P<version>[\w.]+)(?:,.*)?", requirement)
    if found is None:
        msg = f"{requirement} has no lower bound: state the oldest version that is tested, as name>=version"
        raise ValueError(msg)
    return f"{found['name']}=={found['version']}"


def python(name: str, requirements: list[str]) -> Path:
    """Return the interpreter of an environment that holds *requirements*; make it if there is none yet.

    It is made anew every week, so that the newest versions are the newest, and when the requirements change.
    """
    folder = cache() / f"{name}-{_key(requirements)}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            _fill(making, requirements)
            making.rename(folder)
        except OSError:  # another run was faster
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
        _sweep(folder, name)
    return _interpreter(folder)


def run(interpreter: Path, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run *arguments* by an environment's interpreter in the checkout, which it imports chatstore from."""
    return subprocess.run(
        [interpreter, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def cache() -> Path:
    """Return the folder in which environments, and what else is installed for tests, are kept between runs."""
    if place := os.environ.get(CACHE):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chatstore-tests"


def _key(requirements: list[str]) -> str:
    week = datetime.now(UTC).strftime("%G-%V")
    text = "\n".join([sys.version, week, *sorted(requirements)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _fill(folder: Path, requirements: list[str]) -> None:
    uv = [sys.executable, "-m", "uv"]
    base = str(getattr(sys, "_base_executable", sys.executable))
    make = [*uv, "venv", "--quiet", "--clear", "--relocatable", "--python", base, str(folder)]
    subprocess.run(make, check=True)
    install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(_interpreter(folder))]
    subprocess.run([*install, *requirements], check=True, timeout=600)


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _sweep(folder: Path, name: str) -> None:
    """Remove the environments that *folder* takes the place of: nobody asks for them any more."""
    old = datetime.now(UTC).timestamp() - 14 * 86_400
    for other in folder.parent.glob(f"{name}-*"):
        if other != folder and other.stat().st_mtime < old:
            shutil.rmtree(other, ignore_errors=True)
