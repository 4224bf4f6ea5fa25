"""Run the contract over the planted mutants: ``python -m tests.contract.mutant_runner``.

Prints, as JSON on the last line, which test was the first to fail for each of them. Knows pytest only, so that
nothing is imported before pytest has looked at it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


class FirstFailures:
    """A pytest plugin that notes the first failing test of each mutant, and spares it the others."""

    def __init__(self) -> None:
        """Begin with none."""
        self.caught: dict[str, str] = {}  # by the name of the mutant: which test, and what it said
        self.mutants: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Run one mutant after the other."""
        items.sort(key=lambda item: str(item.callspec.params["repository"]))
        self.mutants = {item.callspec.params["repository"] for item in items}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> bool | None:
        """Leave out what is left for a mutant that was caught."""
        return True if item.callspec.params["repository"] in self.caught else None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Generator[None, Any, Any]:
        """Note a failure."""
        report = yield
        if report.failed:
            said = getattr(getattr(report.longrepr, "reprcrash", None), "message", "").partition("\n")[0]
            self.caught.setdefault(item.callspec.params["repository"], f"{item.originalname}: {said}")
        return report


if __name__ == "__main__":
    plugin = FirstFailures()
    suite = Path(__file__).with_name("mutants.py")
    pytest.main([str(suite), "-q", "--tb=no", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[plugin])
    print(json.dumps({"caught": plugin.caught, "mutants": sorted(plugin.mutants)}))
