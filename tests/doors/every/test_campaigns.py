"""Every door under many processes and under kills: nothing is lost, doubled or torn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doors.frameworks import FRAMEWORKS, is_here

ROOT = Path(__file__).parents[3]
DOORS = [name for name in FRAMEWORKS if is_here(name)]
#: The door that faults are planted in: one that stores a turn of several items by one call.
PLANTED = "openai_agents"


def campaign(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a campaign; return how it ended, and what the judge found."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.doors.campaigns", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1_000,
        check=False,
    )
    assert run.stdout, run.stderr[-3_000:]
    return run.returncode, json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("door", DOORS)
def test_eight_processes_on_one_conversation(door: str, durable: str) -> None:
    """Law: each of the turns that eight processes store is there once, and in one piece."""
    code, found = campaign("crowd", door, durable, "--processes", "8", "--turns", "5")

    assert (0, 40, 40) == (code, found["acknowledged"], found["whole"]), found


@pytest.mark.parametrize("door", DOORS)
def test_killed_while_it_writes(door: str, durable: str) -> None:
    """Law: after kills the conversation reads, what was acknowledged is there, and nothing of half a turn."""
    code, found = campaign("kills", door, durable, "--count", "8")

    assert 0 == code, found
    assert found["acknowledged"] >= 8


@pytest.mark.whole
@pytest.mark.timeout(1_000)
@pytest.mark.parametrize("door", DOORS)
def test_killed_two_hundred_times(door: str, durable: str) -> None:
    """Law: the same, two hundred times."""
    code, found = campaign("kills", door, durable, "--count", "200")

    assert 0 == code, found


@pytest.mark.parametrize("fault", ["torn", "lost", "doubled"])
def test_planted_faults_are_found(fault: str, durable: str) -> None:
    """Law: a door that does one of these is found out."""
    code, found = campaign("crowd", PLANTED, durable, "--turns", "10", "--plant", fault)

    assert 1 == code
    assert found[fault]
