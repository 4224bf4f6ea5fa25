"""`.ci/run`: its steps have names, every folder of tests is one, a wrong name is refused before anything is done."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Call `.ci/run`."""
    return subprocess.run([ROOT / ".ci" / "run", *arguments], capture_output=True, text=True, check=False)


def test_every_folder_of_tests_is_a_step() -> None:
    """`--list` names the folders with tests, and the steps that are none."""
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/**/test_*.py")}
    others = {"lint", "types", "demo", "tests", "wide", "docs", "figures"}

    assert sorted(folders | others) == sorted(run("--list").stdout.split())


def test_a_step_that_does_not_exist_is_refused() -> None:
    """The answer says where the names are, and nothing has run."""
    ended = run("lint", "units")

    assert (2, "") == (ended.returncode, ended.stdout)
    assert "there is no step units: '.ci/run --list' names them all\n" == ended.stderr
