"""Looking at something that may hang: each look has its time, and is left behind when that is over.

This module knows threads and time; it refuses to know what is looked at.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for all looks together: a command that promises five must start and end, too.
SECONDS: Final = 3.5


class Looks:
    """Looks that are taken one after the other, and the names of those that did not end in time."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Take *seconds* at most for all of them."""
        self._until = time.monotonic() + seconds
        self.unseen: list[str] = []

    def take(
        self, name: str, look: Callable[[dict[str, Any]], None], facts: dict[str, Any], most: float
    ) -> bool:
        """Have *look* find facts, for *most* seconds, and tell whether it ended; raise what it raises.

        A look that hangs goes on in a thread that nobody waits for, and what it finds then is dropped.
        """
        seconds = min(most, self._until - time.monotonic())
        found: dict[str, Any] = {}
        raised: list[BaseException] = []

        def run() -> None:
            try:
                look(found)
            except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
                raised.append(error)

        thread = threading.Thread(target=run, name=f"chatstore looks at {name}", daemon=True)
        if seconds > 0:
            thread.start()
            thread.join(seconds)
        if seconds <= 0 or thread.is_alive():
            self.unseen.append(name)
            return False
        facts.update(found)  # of a look that raises, too
        if raised:
            raise raised[0]
        return True
