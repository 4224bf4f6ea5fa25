"""How long a campaign runs, with which seed, and what it says it did.

This module knows time and counts; it refuses to know what is tested.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Campaigns that share the seconds of a short run.
CAMPAIGNS = 75
SEED = int(os.environ.get("CHATSTORE_RELIABILITY_SEED", "20261122"))


class Campaign:
    """One row of the "nothing lost" table."""

    def __init__(self, name: str, faults: int) -> None:
        """Aim at *faults* faults; a short run stops earlier, but injects at least one."""
        self.name, self.planned, self.done = name, faults, 0
        self.random = random.Random(f"{SEED} {name}")
        limit = os.environ.get("CHATSTORE_RELIABILITY_SECONDS")
        self._until = None if limit is None else time.monotonic() + float(limit) / CAMPAIGNS
        self._started = time.monotonic()

    @property
    def short(self) -> bool:
        """Whether this is a short run."""
        return self._until is not None

    def rounds(self) -> Iterator[int]:
        """Yield round numbers until the planned faults are injected, or the time is up."""
        number = 0
        while self.done < self.planned and (
            number == 0 or self._until is None or time.monotonic() < self._until
        ):
            yield number
            number += 1

    def size(self, full: int, short: int) -> int:
        """Return how much work a single round does."""
        return short if self.short else full

    def report(self, **counts: int) -> None:
        """Say what was done, and write it down where a full run is recorded."""
        line = {"campaign": self.name, "seed": SEED, "faults": self.done, **counts}
        line["seconds"] = round(time.monotonic() - self._started, 1)
        print(json.dumps(line))
        target = os.environ.get("CHATSTORE_RELIABILITY_REPORT")
        if target and not self.short:
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
