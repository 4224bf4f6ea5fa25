"""Where snippets run: a Python interpreter that remembers, a shell that remembers its exports, a database.

Each answers with what was printed, or with a fault in words. Knows nothing of pages and fences.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import create_engine, pool
from sqlalchemy.exc import DBAPIError

SECONDS = 100
WORKER = Path(__file__).with_name("snippet_worker.py")
LAUNCHER = """#!{python}
import sys
sys.path.insert(0, {root!r})
from chatstore.cli import main
sys.exit(main())
"""


class Outcome(NamedTuple):
    """What a snippet printed, and what went wrong, if anything."""

    output: str
    fault: str = ""


class Interpreter:
    """A Python process in *folder* in which one snippet sees what those before it defined."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """Remember where; nothing runs before the first snippet."""
        self._folder, self._environment = folder, environment
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        if self._process:
            self._process.communicate()

    def run(self, source: str, page: Path, line: int) -> Outcome:
        """Run *source*, from below *line* of *page*; one that begins with `# name.py` becomes that file."""
        module = self._saved(source)
        job = {"source": source, "page": str(page), "line": line, "module": module}
        process = self._started()
        assert process.stdin
        assert process.stdout
        watch = threading.Timer(SECONDS, process.kill)
        watch.start()
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        watch.cancel()
        if not answer:
            return Outcome("", f"the interpreter ended, or took more than {SECONDS} s")
        return Outcome(**json.loads(answer))

    def _saved(self, source: str) -> str | None:
        first = source.partition("\n")[0].removeprefix("# ")
        if not first.endswith(".py") or " " in first:
            return None
        path = self._folder / first
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return first.removesuffix(".py").replace("/", ".")

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process


class Shell:
    """Bash in *folder*, with the commands of the checkout *root* on PATH; exported variables last."""

    def __init__(self, folder: Path, root: Path) -> None:
        """Put a `chatstore` that runs this checkout before everything else on PATH."""
        self._folder, self._state = folder, folder / ".exports"
        (folder / ".bin").mkdir()
        launcher = folder / ".bin" / "chatstore"
        launcher.write_text(LAUNCHER.format(python=sys.executable, root=str(root)), encoding="utf-8")
        launcher.chmod(0o755)
        path = [str(folder / ".bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSTORE_")}
        self.environment = {**kept, "PATH": os.pathsep.join(path), "PYTHONPATH": str(root), "NO_COLOR": "1"}

    def run(self, script: str) -> Outcome:
        """Run *script* until its first failing command."""
        state = shlex.quote(str(self._state))
        whole = f"set -euo pipefail\n[ ! -f {state} ] || . {state}\n{script}\nexport -p > {state}\n"
        try:
            run = subprocess.run(
                ["bash", "-c", whole],
                cwd=self._folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome("", f"it did not end within {SECONDS} s")
        fault = f"it ended with {run.returncode}\n{run.stdout}{run.stderr}" if run.returncode else ""
        return Outcome(run.stdout, fault)


def query(url: str, text: str) -> Outcome:
    """Run the statements of *text* in one transaction, roll it back; return the last rows as a table."""
    engine = create_engine(url, poolclass=pool.NullPool, execution_options={"no_parameters": True})
    lines: list[list[str]] = []
    try:
        with engine.connect() as connection:
            for statement in filter(None, (piece.strip() for piece in text.split(";\n"))):
                result = connection.exec_driver_sql(statement)
                lines = []
                if result.returns_rows:
                    lines = [list(result.keys()), *([shown(value) for value in row] for row in result)]
            connection.rollback()
    except DBAPIError as error:
        return Outcome("", str(error.orig))
    return Outcome(table(lines))


def shown(value: Any) -> str:
    """Return one value as a reader writes it; numbers look alike whatever type a driver gives them."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float | Decimal):
        return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"
    return " ".join(str(value).split())


def table(lines: list[list[str]]) -> str:
    """Lay *lines*, the first of which is the head, out as a table for people."""
    if not lines:
        return ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [" | ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([rows[0], "-+-".join("-" * width for width in widths), *rows[1:]])
