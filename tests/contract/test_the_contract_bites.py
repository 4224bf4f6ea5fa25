"""The contract suite catches what it is there for: repositories that each break one rule."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.mutants import MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.wide  # forty seconds
def test_every_planted_mutant_is_caught_and_the_sound_one_is_not() -> None:
    """For each mutant the test that is to catch it fails, by what it asserts; for the sound repository none does."""
    command = [sys.executable, "-m", "tests.contract.mutant_runner"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    failed: dict[str, dict[str, str]] = json.loads(run.stdout.splitlines()[-1])

    expected = {name: getattr(kind, "caught_by", None) for name, kind in MUTANTS.items()}
    assert expected == {name: next(iter(failed.get(name, {})), None) for name in MUTANTS}, run.stdout
    said = [words for tests in failed.values() for words in tests.values()]
    assert [] == [words for words in said if "TypeError" in words or "AttributeError" in words]
