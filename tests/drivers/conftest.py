"""The figure of this suite: cells run, cells that were wrong, cells that cannot be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.drivers.cells import CELLS, NONE
from tests.drivers.drivers import DRIVERS
from tests.drivers.faults import FAULTS

if TYPE_CHECKING:
    import pytest

#: Where to write it down.
REPORT = "CHATSTORE_DRIVERS_REPORT"
_CELL = "test_every_fault_with_every_driver["


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figure; write it to the file that is named, if every cell was run."""
    counted = {
        how: len({one.nodeid for one in terminalreporter.stats.get(how, []) if _CELL in one.nodeid})
        for how in ("passed", "failed", "error")
    }
    wrong = counted["failed"] + counted["error"]
    figure = {
        "drivers": len(DRIVERS),
        "faults": len(FAULTS),
        "cells": counted["passed"] + counted["failed"],
        "wrong": wrong,
        "cannot_be": len(NONE),
    }
    terminalreporter.write_line(json.dumps(figure))
    target = os.environ.get(REPORT)
    if target and figure["cells"] == len(CELLS):
        Path(target).write_text(json.dumps(figure) + "\n", encoding="utf-8")
