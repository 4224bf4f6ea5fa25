"""Whatever goes wrong with any driver is one of chatstore's errors, of the right class, and names the true cause."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from chatstore import errors
from tests.drivers import case, places
from tests.drivers.cells import CELLS, NONE
from tests.drivers.drivers import DRIVERS
from tests.drivers.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.drivers import Driver
    from tests.drivers.faults import Fault

# Drivers leave sockets of connections that failed to the garbage collector.
pytestmark = [
    pytest.mark.drivers,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_every_cell_is_run_or_has_a_reason() -> None:
    """No driver is left out of a fault in silence, and every driver is there to be tried."""
    sides = sum(len(driver.sides) for driver in DRIVERS)
    assert sides * len(FAULTS) == len(CELLS) + len(NONE)
    assert [] == [cell for cell, why in NONE.items() if not why]
    assert [] == [driver.name for driver in DRIVERS if not driver.installed]
    print(f"{len(DRIVERS)} drivers, {len(FAULTS)} faults: {len(CELLS)} cells, {len(NONE)} that cannot be")


@pytest.fixture(scope="session")
def at() -> Iterator[places.Places]:
    """Give the servers."""
    with contextlib.ExitStack() as stack:
        yield places.Places(stack)


@pytest.mark.parametrize(
    ("driver", "side", "fault"),
    [pytest.param(*cell, id=f"{cell[0].name}-{cell[1]}-{cell[2].name}") for cell in CELLS],
)
def test_every_fault_with_every_driver(
    driver: Driver, side: str, fault: Fault, at: places.Places, tmp_path: Path
) -> None:
    """A fault becomes the class that is listed, says what is listed, and shows no password."""
    raised, becomes = None, fault.becomes[driver.family]
    with case.made(driver, side, at, tmp_path) as one:
        call = fault.make(one)
        try:
            call()
        except errors.ChatstoreError as error:
            raised = error
        if becomes is None and raised is not None:
            raise raised
    assert becomes is (None if raised is None else type(raised)), str(raised)
    if raised is not None:
        assert re.search(fault.says[driver.family], str(raised)), str(raised)
        assert [] == [secret for secret in (places.PASSWORD, "sesame-2718") if secret in str(raised)]
