"""How to install what an extra brings, for errors and hints that say so.

This module knows this installation; it refuses to know what an extra is for.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from chatstore.errors import MissingDependency


def pip_install(extra: str) -> str:
    """Return the command that adds *extra* to this installation, by the interpreter that runs.

    A checkout is named by its folder, since a package index may hold another project of the same name; what is
    installed already, pip finds by its name.
    """
    root = Path(__file__).parents[1]
    checkout = (root / "pyproject.toml").is_file()
    folder = "." if root == Path.cwd() else str(root)
    what = ["-e", f"{folder}[{extra}]"] if checkout else [f"chatstore[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *what])


def not_installed(what: str, extra: str) -> MissingDependency:
    """Make the error for *what*, which *extra* brings."""
    return MissingDependency(f"{what} is not installed: {pip_install(extra)}")
