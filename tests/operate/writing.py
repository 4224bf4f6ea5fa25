"""Applications that append without a pause, in processes of their own, and what each was told is stored.

Knows appends and acknowledgements; refuses to know what happens to the database meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.embedded import wait_until
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Prints a line for each message that is stored, until its stdin ends.
PROGRAM = """
import sys, threading
import chatstore
from chatstore import HumanMessage
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
with chatstore.connect(sys.argv[1]) as repository:
    number = 0
    while not ended.is_set():
        number += 1
        [record] = repository.scope(user_id="ada").add_messages(sys.argv[2], [HumanMessage(f"needle {number} 🙂")])
        print(record.message.content, flush=True)
"""


class Writers:
    """Processes that write one session each; when they have ended, `stored` has what they were told is stored."""

    def __init__(self, url: str, folder: Path, sessions: int = 3) -> None:
        """Begin to write to the storage at *url*; `wait` until each has stored something."""
        self.stored: dict[str, list[str]] = {}
        self.errors: list[str] = []
        self._said = {f"writer-{number}": folder / str(number) for number in range(sessions)}
        self._running = {name: _start(url, name, said) for name, said in self._said.items()}

    def wait(self) -> None:
        """Return when each has stored something, or has failed."""
        for name, one in self._running.items():
            said = self._said[name]
            wait_until(lambda said=said, one=one: said.stat().st_size or one.poll() is not None, 60, name)  # type: ignore[misc]

    def end(self) -> None:
        """Let each finish its last append, and collect what all have said."""
        for name, one in self._running.items():
            _, error = one.communicate(timeout=60)
            self.stored[name] = self._said[name].read_text(encoding="utf-8").splitlines()
            if one.returncode:
                self.errors.append(error)

    def kill(self) -> None:
        """End all of them, however the test ended."""
        for one in self._running.values():
            one.kill()
            one.communicate()


def _start(url: str, name: str, said: Path) -> subprocess.Popen[str]:
    with said.open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url, name],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )


@contextlib.contextmanager
def writing(url: str) -> Iterator[Writers]:
    """Lend applications that write until the block ends, each of which has stored something when it begins."""
    with tempfile.TemporaryDirectory(prefix="chatstore-test-") as folder:
        writers = Writers(url, Path(folder))
        try:
            writers.wait()
            yield writers
            writers.end()
        finally:
            writers.kill()
