"""The LangChain adapter at both ends of what it supports, each in an environment of its own.

What is installed in them is decided here and nowhere else. The tests proper are in `tests/integrations/langchain`;
in an environment that has LangChain they run by path as any others: `pytest tests/integrations/langchain`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SUITE = "tests/integrations/langchain"
ENDS = {
    "0.3": ["langchain-core==0.3.*", "langchain==0.3.*", "langgraph<1", "langgraph-checkpoint-sqlite"],
    "current": [
        "langchain",
        "langchain-classic",
        "langgraph",
        "langgraph-checkpoint-sqlite",
        "langchain-openai",
        "langchain-anthropic",
        "deepagents",
    ],
}
#: What the suite itself needs, which is a part of the `test` extra: an environment is to be made in a minute.
TOOLS = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "aiosqlite"]
SUMMARY = re.compile(r"^(?:\d+ \w+, )*(?P<passed>\d+) passed(?P<rest>[^\n]*) in ", re.MULTILINE)


@pytest.mark.timeout(1_000)  # some 100 s on a machine with nothing else to do
@pytest.mark.parametrize("end", ENDS)
def test_the_adapter_works_there(
    end: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Law: all of the suite passes there, and nothing of it is skipped."""
    for kind in ("postgres", "mariadb", "redis", "dynamodb"):
        servers.obtain(kind)  # the runs below find it in their environment
    python = environment(tmp_path / "venv", [*TOOLS, *ENDS[end]])
    run = subprocess.run(
        [python, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", SUITE],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    summary = SUMMARY.search(run.stdout)
    assert 0 == run.returncode, run.stdout[-10_000:] + run.stderr[-2_000:]
    assert summary, run.stdout[-2_000:]
    assert int(summary["passed"]) > 200
    assert "skipped" not in summary["rest"]
    record_property("langchain", f"LangChain {end}: {summary['passed']} passed")


def environment(folder: Path, packages: list[str]) -> Path:
    """Make an environment with this checkout and *packages* in it; return its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    checkout = f"{ROOT}[langchain,all]"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--editable", checkout, *packages],
        check=True,
        timeout=400,
    )
    return python
