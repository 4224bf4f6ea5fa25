"""A terminal for tests: how wide it is, and what a person presses."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def at_terminal(command: list[str], columns: int, **options: Any) -> tuple[int, list[str]]:
    """Run the program on a terminal that is so wide; return how it ended, and the lines without colours."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as run:
        os.close(theirs)
        seen = b""
        try:
            while part := read(ours):
                seen += part
                if (typed := options.pop("at", None)) is not None:
                    if typed[0] in seen:
                        _press(run, typed[1])
                    else:
                        options["at"] = typed
        except BaseException:
            run.kill()  # the test's time limit: what still runs would be waited for without one
            raise
    os.close(ours)
    return run.returncode, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode()).replace("\r", "").splitlines()


def read(descriptor: int) -> bytes:
    """Return what comes next, or nothing at the end."""
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side was closed
        return b""


def _press(run: subprocess.Popen[bytes], signal_number: int) -> None:
    """Send the signal until the process ends, as a person presses again.

    One that comes after the question is written and before Python waits for the answer is only seen at the next.
    """
    while run.poll() is None:
        run.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(5)
