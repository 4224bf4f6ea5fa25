"""What a fresh interpreter pays before the first message is stored, and what it does not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatstore.messages import HumanMessage
from tests.benchmarks import stores
from tests.benchmarks.harness import figure, race

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.harness import Figure, Side, Size

ROOT = Path(__file__).parents[2]
#: The least that anybody who has a pydantic class pays: `import pydantic` alone loads next to nothing of it.
ONE_MODEL = """
from pydantic import BaseModel, ConfigDict
class Message(BaseModel):
    model_config = ConfigDict(defer_build=True)
    content: str
Message.model_construct(content="Hello!")
"""
IMPORT = "import chatstore"
ADD = ".add_messages('s', [chatstore.HumanMessage('Hello!')])"
MEMORY = f"import chatstore; chatstore.connect('memory:'){ADD}"
HISTORY = "import chatstore; chatstore.ChatMessageHistory().add_user_message('Hello!')"
SQL = f"import chatstore; chatstore.connect(){ADD}"
LOADED = "; import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
#: Commands on a SQLite file with one conversation, and how many milliseconds of the processor's each may take.
COMMANDS = {
    "sessions": 400,
    "show chat": 400,
    "search hello": 400,
    "append chat Hello --id 1": 400,
    "export chat": 400,
    "current": 400,
    "check": 400,
    "doctor": 400,
}
#: What `import chatstore` must not load: all of it loads on first use.
SQL_LIBRARIES = {"sqlalchemy", "alembic"}
HEAVY = {*SQL_LIBRARIES, "pydantic", "pydantic_core", "psycopg", "pymysql", "redis", "sqlite3", "asyncio"}


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    yield _costs(size, "`import chatstore`", "a bare Python", IMPORT, "pass", 30)
    memory = '`connect("memory:")` and one append in a fresh interpreter'
    yield _costs(size, memory, "`import pydantic`", MEMORY, "import pydantic", 60)
    yield _costs(size, memory, "a pydantic class of one field, not validated", MEMORY, ONE_MODEL, None)
    history = "`ChatMessageHistory()` and one message in a fresh interpreter"
    yield _costs(size, history, "`import pydantic`", HISTORY, "import pydantic", None)
    yield _count("`import chatstore` loads of the heavy libraries", loaded(IMPORT) & HEAVY)
    yield _count('`connect("memory:")` and one append load of SQLAlchemy', loaded(MEMORY) & SQL_LIBRARIES)
    with stores.migrated("sqlite") as url:
        work = '`connect("sqlite:…")` on a current file and one append load of Alembic'
        yield _count(work, loaded(SQL, url) & {"alembic"})
        with stores.connected(url) as repository:
            repository.add_messages("chat", [HumanMessage("Hello!")])
        for command, limit in COMMANDS.items():
            yield _answers(size, command, url, limit)


def loaded(code: str, url: str = "") -> set[str]:
    """Return the top-level modules that a fresh interpreter has after *code*."""
    command = [sys.executable, "-c", code + LOADED]
    ran = subprocess.run(command, env=_environment(url), check=True, capture_output=True, text=True)
    return set(json.loads(ran.stdout))


def _costs(size: Size, work: str, against: str, code: str, bare: str, limit: float | None) -> Figure:
    outcome = race(_processes(code), _processes(bare), bursts=size.bursts, calls=3, warm=3)
    more = [1e3 * seconds for seconds in outcome.differences]
    return figure(work, against, more, "ms more", limit, outcome)


def _answers(size: Size, command: str, url: str, limit: float) -> Figure:
    ours = _processes(
        f"import sys; sys.argv[1:] = {command.split()!r}; from chatstore.cli import main; main()", url
    )
    outcome = race(ours, _processes("pass"), bursts=size.bursts // 2, calls=1, warm=2)
    taken = [1e3 * seconds for seconds in outcome.ours]
    return figure(
        f"`chatstore {command}` on a SQLite file",
        "the processor's time, from start to end",
        taken,
        "ms",
        limit,
        outcome,
    )


def _count(work: str, found: set[str]) -> Figure:
    number = float(len(found))
    return figure(work, ", ".join(sorted(found)) or "none", [number, number], "modules", 0)


def _processes(code: str, url: str = "") -> Side:
    """Return the side that runs *code* in a fresh interpreter, timed by the processor, from start to end."""

    def seconds() -> float:
        child = subprocess.Popen(
            [sys.executable, "-c", code], env=_environment(url), stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, code)
        return usage.ru_utime + usage.ru_stime

    return lambda calls: [seconds() for _ in range(calls)]


def _environment(url: str = "") -> dict[str, str]:
    """Return the environment of an interpreter that finds bytecode, as whoever installed a package does."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "CHATSTORE_URL": url, "PYTHONPATH": str(ROOT)}
