"""Several processes that upgrade one database at the same moment.

Knows processes and how to start them together; used by the schema's own tests and by longer campaigns.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from chatstore.backends.sql.migrations import upgrade
print("ready", flush=True)
sys.stdin.readline()
print(*upgrade(sys.argv[1]), flush=True)
"""


def race(url: str, processes: int = 8, deadline: float = 100) -> list[str]:
    """Let *processes* upgrade the database at *url* at once; return what each says: where it was, and is.

    They start together, once every one of them has loaded its modules. Raises AssertionError with the error
    of a process that fails, and subprocess.TimeoutExpired after *deadline* seconds.
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(processes)
    ]
    try:
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n", one.communicate(timeout=deadline)[1]
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        answers = [one.communicate(timeout=deadline) for one in running]
    finally:
        for one in running:
            one.kill()
            one.communicate()
    failed = [error for one, (_, error) in zip(running, answers, strict=True) if one.returncode]
    assert failed == []
    return [answer.strip() for answer, _ in answers]
