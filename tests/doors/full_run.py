"""Every door at full count, on SQLite and PostgreSQL: two hundred kills, eight processes at once, and what it costs.

    python -m tests.doors.full_run [DOOR ...] [--only kills|crowd|costs] > FILE

In an environment of `tests/doors/test_ends.py`. Prints a line of JSON for each; `full_run.jsonl` beside this has those
of the last whole run, which `tests.benchmarks.page` shows. Fails if a campaign finds anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any, Final

from tests import servers
from tests.doors.frameworks import FRAMEWORKS
from tests.snippets import ROOT

#: By the name of what is done, the module that does it, and its words before and behind door and URL.
RUNS: Final = {
    "kills": ("campaigns", ["kills"], ["--count", "200"]),
    "crowd": ("campaigns", ["crowd"], ["--processes", "8", "--turns", "25"]),
    "costs": ("figures", [], ["--turns", "60", "--rounds", "3"]),
}


def run(what: str, door: str, database: str) -> tuple[int, dict[str, Any]]:
    """Do *what* through *door* on a new database; return how it ended, and what it found."""
    module, before, behind = RUNS[what]
    with servers.migrated_url(database) as url:
        command = [sys.executable, "-m", f"tests.doors.{module}", *before, door, url, *behind]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=3_000, check=False
        )
    return done.returncode, {"what": what, "on": database, **json.loads(done.stdout.splitlines()[-1])}


def main(arguments: list[str]) -> int:
    """Do all of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.doors.full_run")
    parser.add_argument("doors", nargs="*", default=[*FRAMEWORKS])
    parser.add_argument("--only", choices=RUNS)
    given = parser.parse_args(arguments)
    worst = 0
    for door in given.doors:
        for database in ("sqlite", "postgres"):
            for what in [given.only] if given.only else RUNS:
                code, found = run(what, door, database)
                print(json.dumps(found), flush=True)
                worst = max(worst, code)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
