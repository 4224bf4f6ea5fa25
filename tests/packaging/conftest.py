"""Build what is shipped, once, and install it into environments that cost a second instead of a minute."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("chatstore", "alembic", "tests", "docs", "alembic.ini", "pyproject.toml")
SCRIPT = """#!{python}
import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""


class Built(NamedTuple):
    """The files that a release consists of, and the checkout they were built from."""

    checkout: Path
    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def run(command: list[str], folder: Path) -> str:
    """Run *command* in *folder*; return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source: Path, target: Path, kind: str) -> Path:
    """Build the *kind* (sdist or wheel) of *source* into *target*."""
    run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(target), str(source)],
        target,
    )
    (made,) = (path for path in target.iterdir() if path.suffix in {".whl", ".gz"})
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build sdist, wheel, and the wheel of the sdist, from a copy of the checkout."""
    checkout = tmp_path_factory.mktemp("copy") / "checkout"
    checkout.mkdir()
    for path in [
        *(ROOT / name for name in SHIPPED),
        *ROOT.glob("*.md"),
        ROOT / "LICENSE",
        ROOT / ".gitignore",
    ]:
        if path.is_dir():
            shutil.copytree(path, checkout / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, checkout)
    sdist = build(checkout, tmp_path_factory.mktemp("sdist"), "sdist")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    wheel = build(checkout, tmp_path_factory.mktemp("wheel"), "wheel")
    return Built(checkout, sdist, wheel, build(source, tmp_path_factory.mktemp("wheel-of-sdist"), "wheel"))


class Environment:
    """A virtual environment that sees the libraries of this one, but not its chatstore."""

    def __init__(self, folder: Path) -> None:
        """Make it below *folder*."""
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        self.site = Path(
            run([str(self.python), "-c", "import site; print(site.getsitepackages()[0])"], folder).strip()
        )
        borrowed = sysconfig.get_paths()[
            "purelib"
        ]  # its own .pth files, and so its editable chatstore, do not count
        (self.site / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
        (script,) = entry_points(group="console_scripts", name="alembic")
        text = SCRIPT.format(python=self.python, module=script.module, function=script.attr)
        (self.bin / "alembic").write_text(text, encoding="utf-8")
        (self.bin / "alembic").chmod(0o755)

    def install(self, *what: str) -> None:
        """Install *what* with pip, from the disk alone."""
        offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
        run([str(self.python), "-m", "pip", "install", *offline, *what], self.bin)
