"""A second process that says what is stored, and whether somebody left a transaction open.

Run as ``python -m tests.reliability.judge URL``; each line on standard input names sessions, each answer is JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import chatstore
from tests.reliability.places import ROOT

#: How many newest records are told.
LAST = 12
_OPEN = {
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND left(state, 19) = 'idle in transaction'"
    ),
    "mysql": (
        "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
        "ON p.id = t.trx_mysql_thread_id WHERE p.db = database() AND p.id <> connection_id() AND p.command = 'Sleep'"
    ),
}


def told(repository: Any, sessions: list[str]) -> dict[str, Any]:
    """Return what *repository* has in *sessions*, and how many transactions are open."""
    found: dict[str, Any] = {"open": _open(repository)}
    for name in sessions:
        records = repository.get_records(name, last=LAST)
        found[name] = {
            "records": [[record.position, record.message_id, record.message.content] for record in records],
            "count": repository.count_messages(name),
        }
    return found


def _open(repository: Any) -> int:
    lease: Any = getattr(repository, "_lease", None)
    lent: Any = None if lease is None else lease.lend(repository._user)
    name = lent.engine.dialect.name if hasattr(lent, "engine") else ""
    asked = _OPEN.get("mysql" if name == "mariadb" else name)
    if asked is None:
        return 0
    with lent.engine.connect() as connection:
        return int(connection.exec_driver_sql(asked).scalar_one())


class Judge:
    """The process, asked for one answer after the other; for what lives in memory, the repository itself."""

    def __init__(self, url: str, within: Any = None) -> None:
        """Start a process, unless the storage is *within* this one."""
        self._within, self._process = within, None
        if within is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.judge", url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )

    def says(self, *sessions: str) -> dict[str, Any]:
        """Return what is in *sessions*; a transaction that is open must stay so for many questions."""
        for _ in range(200):
            found = self._asked(list(sessions))
            if not found["open"]:
                break
        return found

    def _asked(self, sessions: list[str]) -> dict[str, Any]:
        if self._process is None:
            return told(self._within, sessions)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(sessions) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()


def main(url: str) -> None:
    """Answer until standard input ends."""
    repository = chatstore.connect(url)
    for line in sys.stdin:
        print(json.dumps(told(repository, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
