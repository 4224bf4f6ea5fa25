"""The contract suite catches what it is there for: repositories that each break one rule."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_planted_mutant_is_caught_and_the_sound_one_is_not() -> None:
    """For each of the mutants at least one test of the contract fails; for the sound repository none does."""
    command = [sys.executable, "-m", "tests.contract.mutant_runner"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout.splitlines()[-1])

    assert "Sound" in told["mutants"]
    assert len(told["mutants"]) > 20
    assert [name for name in told["mutants"] if name != "Sound"] == sorted(told["caught"])
    assert [] == [said for said in told["caught"].values() if "TypeError" in said or "AttributeError" in said]
