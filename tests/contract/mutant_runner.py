"""Run the contract over the planted mutants: ``python -m tests.contract.mutant_runner``.

Prints, as JSON on the last line, which tests failed for each of them, with what they said. Knows pytest only, so that
nothing is imported before pytest has looked at it.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


class Failures:
    """A pytest plugin that notes which tests failed, by mutant."""

    def __init__(self) -> None:
        """Begin with none."""
        self.seen: defaultdict[str, dict[str, str]] = defaultdict(dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Generator[None, Any, Any]:
        """Note a test that ran, and how it failed."""
        report = yield
        if report.when == "call" and not report.skipped:
            failed = self.seen[item.callspec.params["mutant"]]
            if report.failed:
                failed[item.originalname] = report.longrepr.reprcrash.message.partition("\n")[0]
        return report


if __name__ == "__main__":
    os.environ.update(CHATSTORE_MACHINE_SEED="1", CHATSTORE_MACHINE_EXAMPLES="150")
    plugin = Failures()
    suite = Path(__file__).with_name("mutants.py")
    pytest.main(
        [str(suite), "-n0", "-q", "--tb=short", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[plugin]
    )
    print(json.dumps(plugin.seen))
