"""Another user of this machine, for tests of what files refuse.

Knows who that is where root runs the tests; whoever else runs them is refused as they are.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@contextmanager
def someone_else() -> Iterator[None]:
    """Lay root's powers down: files are then refused as they are to anybody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
