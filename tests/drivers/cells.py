"""Which driver is tried with which fault, on which side, and which of these cannot be."""

from __future__ import annotations

from tests.drivers.drivers import DRIVERS
from tests.drivers.faults import FAULTS

CELLS = [
    (driver, side, fault)
    for driver in DRIVERS
    for fault in FAULTS
    if not {driver.family, driver.name} & fault.without.keys()
    for side in driver.sides
]
#: Cells that cannot be, and why.
NONE = {
    (driver.name, side, fault.name): fault.without.get(driver.name) or fault.without[driver.family]
    for driver in DRIVERS
    for fault in FAULTS
    if {driver.family, driver.name} & fault.without.keys()
    for side in driver.sides
}
