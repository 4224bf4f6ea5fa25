"""The application of a how-to page as a server process: written down from the page, started, stopped, killed, asked.

Knows how a page's blocks become files, and how a server of processes is run on a socket file; refuses to know what the
application does. What the tests look at from inside stands in a wrapper module beside the application, never on the
page.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.snippets import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Three processes forked from one that has imported the application, eight threads each. A slow machine must not find
#: its kept connections closed between two questions.
GUNICORN = (
    "gunicorn",
    "--preload",
    "--workers",
    "3",
    "--threads",
    "8",
    "--timeout",
    "60",
    "--keep-alive",
    "60",
)
SOCKET = "http.sock"
SECONDS = 60.0


def written(page: Path, folder: Path) -> list[str]:
    """Write the blocks of *page* that begin with `# name.py` below *folder*; return all their lines."""
    lines: list[str] = []
    for block in blocks(page):
        name = block.text.partition("\n")[0].removeprefix("# ")
        if block.language == "python" and name.endswith(".py") and " " not in name:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            lines += block.text.splitlines()
    return lines


class Server:
    """A server in *folder*, on a socket file there; a context that stops it, and may be entered again."""

    def __init__(
        self,
        folder: Path,
        target: str,
        environment: Mapping[str, str],
        serve: Sequence[str] = (*GUNICORN, "--bind", f"unix:{SOCKET}"),
    ) -> None:
        """Remember what to run, a module of Python's with options; nothing is started before the context."""
        self.folder, self.target, self.serve = folder, target, serve
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSTORE_")}
        # gunicorn keeps a control socket below HOME, and relative names are short enough for any socket
        self.environment = {**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder), **environment}

    def command(self, *words: str) -> str:
        """Run `python` with *words* in the folder; return what it printed."""
        run = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def __enter__(self) -> Self:
        # One that was killed left it there, and its children may listen a moment longer.
        (self.folder / SOCKET).unlink(missing_ok=True)
        self._log = (self.folder / "log").open("a+b")
        (self.folder / SOCKET).unlink(
            missing_ok=True
        )  # of one that was killed, which not every server overlooks
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self.serve, self.target],
            cwd=self.folder,
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # so that all of its processes can be killed, and no others
        )
        deadline = time.monotonic() + SECONDS
        while not self._listens():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"the server does not answer\n{self.log()}"
            time.sleep(0.05)  # between two looks
        return self

    def __exit__(self, *problem: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        finally:
            self.kill()
            self._log.close()

    def kill(self) -> None:
        """Kill all processes of the server, at once and without a word; the socket file stays, as then it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)

    def log(self) -> str:
        """Return what the server has written so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def client(self) -> httpx.Client:
        """Return a browser: it keeps cookies."""
        transport = httpx.HTTPTransport(
            uds=str(self.folder / SOCKET), limits=httpx.Limits(max_connections=200)
        )
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=SECONDS)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            return link.connect_ex(str(self.folder / SOCKET)) == 0

    def inside(self, processes: int = 3) -> dict[int, dict[str, Any]]:
        """Ask until as many *processes* have answered; return what each says of itself, by its id."""
        found: dict[int, dict[str, Any]] = {}
        deadline = time.monotonic() + SECONDS
        while len(found) < processes:
            assert time.monotonic() < deadline, f"only {len(found)} processes answer\n{self.log()}"
            with self.client() as client:  # a new connection, which any process may accept
                answer = client.get("/inside").json()
            found[answer["pid"]] = answer
        return found
