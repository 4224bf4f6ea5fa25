"""`chatstore web`: it serves, refuses to be open to others without a token, and ends with Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx

from chatstore.connect import connect
from chatstore.messages import HumanMessage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused
COMMAND = [sys.executable, "-m", "chatstore", "web", "--port", "0"]


def refused(*words: str) -> str:
    """Run `chatstore web` with *words*, which it refuses; return why."""
    run = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, timeout=60)
    assert 2 == run.returncode, run
    return run.stderr


def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """It prints where it is, answers there and under its own names only, and ends well at Ctrl-C."""
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    with connect(url) as repository:
        repository.add_messages("trip", [HumanMessage("Where to?")])
        repository.create_session("hers", user_id="ada")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*COMMAND, "--url", url, "--token-new"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout
            said = "".join(process.stdout.readline() for _ in range(3))
            place, token = re.findall(r"(http://127.0.0.1:\d+/)|token +(\S+)", said)
            address = place[0]
            with httpx.Client() as browser:
                assert 401 == browser.get(address).status_code
                assert 403 == browser.get(address, headers={"Host": "evil.example"}).status_code
                page = browser.get(address, params={"token": token[1]}, follow_redirects=True)
                assert "trip" in page.text
        finally:
            process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert 0 == process.returncode, told


def test_a_server_without_tables_is_refused_at_once(postgres_url: str) -> None:
    """It says what to do, instead of serving pages that say so one by one."""
    run = subprocess.run(
        [*COMMAND, "--url", postgres_url], capture_output=True, text=True, check=False, timeout=60
    )
    assert (1, "") == (run.returncode, run.stdout)
    assert "run chatstore upgrade" in run.stderr


def test_others_come_in_with_a_token_only(tmp_path: Path) -> None:
    """Without one, or with one that can be guessed, nothing is served."""
    url = ["--url", f"file:{tmp_path}"]

    assert "others could read everything: add --token-new" in refused("--host", EVERYWHERE, *url)
    assert "16 characters or more" in refused("--host", EVERYWHERE, "--token", "short", *url)


def test_a_storage_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Nothing is made, and no page would be empty for a wrong path."""
    run = subprocess.run(
        [*COMMAND, "--url", f"sqlite:///{tmp_path}/no.db"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (1, True) == (run.returncode, "there is nothing at" in run.stderr)
    assert [] == list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another --port" in refused("--port", port, "--url", f"file:{tmp_path}")


def test_without_its_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    from click.testing import CliRunner

    from chatstore.cli.web import web
    from chatstore.errors import MissingDependency

    monkeypatch.setitem(sys.modules, "werkzeug.serving", None)
    result = CliRunner().invoke(web, ["--url", f"file:{tmp_path}"])

    assert isinstance(result.exception, MissingDependency)
    assert "nh3" in str(result.exception)
