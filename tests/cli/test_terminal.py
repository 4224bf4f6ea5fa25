"""Stored text is never trusted: nothing of it that a terminal obeys reaches one, and markup stays text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatstore.cli import output
from chatstore.connect import connect
from chatstore.messages import AIMessage, ChatMessage, HumanMessage, OpaqueMessage, ToolMessage
from tests import hostile
from tests.cli.terminal import at_terminal, read

if TYPE_CHECKING:
    from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
EVIL = (
    "\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07 \x1b]8;;http://x\x1b\\link \x9b31m \x9d0;t\x9c \u202egnp.exe\u2066 "
    "[red]markup[/red] [link=http://x]y[/link] :smile: \r\x08\x7f \u2028\u061c\ufeff \U000e0041 \\x1b end\n\tnext"
)
COMMANDS = [
    "sessions",
    "show [bold]s",
    "show [bold]s --full",
    "show [bold]s --json",
    "search markup",
    "search markup --json",
    "export [bold]s",
    "export [bold]s --format openai",
    "export --all",
    "delete [bold]s --yes",
]


def harmful(text: str) -> list[str]:
    """Return the characters of *text* that a terminal obeys, or that turn the direction of what follows."""
    bidi = {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
    return [
        char
        for char in text
        if (unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"} and char not in "\n\u200d")
        or unicodedata.bidirectional(char) in bidi
    ]


@pytest.fixture
def evil(sqlite_url: str) -> str:
    """Give the URL of a store in which every text is hostile."""
    call = {"name": f"f{EVIL}", "args": {EVIL: EVIL}, "id": EVIL, "type": "tool_call"}
    with connect(sqlite_url) as repository:
        repository.create_session(
            "[bold]s", title=EVIL, user_id="u\u202e1", tenant_id="[red]t", metadata={EVIL: EVIL}
        )
        repository.add_messages(
            "[bold]s",
            [
                HumanMessage(f"{EVIL}\x00\ud800", name=EVIL),
                AIMessage([{"type": EVIL}, {"type": "text", "text": EVIL}, EVIL], tool_calls=[call]),
                AIMessage("", invalid_tool_calls=[{**call, "args": EVIL, "type": "invalid_tool_call"}]),
                ToolMessage(EVIL, tool_call_id=EVIL, name=EVIL, status="error"),
                ChatMessage(EVIL, role=EVIL),
                OpaqueMessage(type="we[red]ird\u202e", data={"content": EVIL}),
            ],
        )
    return sqlite_url


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_a_terminal_obeys_is_printed(command: str, evil: str, cli: Run) -> None:
    """Tables, transcripts, snippets, titles, ids, names, JSON: all of it is harmless."""
    ran = cli(*command.split(), "--url", evil)

    assert 0 == ran.code
    assert [] == harmful(ran.out + ran.err)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("command", ["sessions", "show [bold]s --full", "search markup", "export --all"])
def test_on_a_terminal_only_our_own_colours_are_obeyed(command: str, evil: str) -> None:
    """With a real terminal on the other side, the only escapes are those of colours."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "chatstore", *command.split(), "--url", evil],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "60"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as run:
        os.close(theirs)
        seen = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)

    assert 0 == run.returncode
    colourless = re.sub(r"\x1b\[[0-9;]*m", "", seen.decode("utf-8")).replace("\r\n", "\n")
    assert [] == harmful(colourless)
    styles = set(re.findall(r"\x1b\[([0-9;]*)m", seen.decode("utf-8")))
    assert styles <= {"0", "1", "2", "31", "33", "32", "1;31", "1;32", "1;33", "1;35", "1;36", "1;7"}


def test_markup_stays_text(evil: str, cli: Run) -> None:
    """What looks like rich's markup, links or emoji codes is shown as it is."""
    shown = cli("show", "[bold]s", "--url", evil).out

    assert "[red]markup[/red] [link=http://x]y[/link] :smile:" in shown
    assert "[bold]s" in cli("sessions", "--url", evil).out
    assert "[red]t" in cli("sessions", "--url", evil).out


def test_what_is_hidden_is_shown_as_an_escape(evil: str, cli: Run) -> None:
    """Nothing disappears: each such character is there, spelt out."""
    shown = cli("show", "[bold]s", "--url", evil).out

    spelt = [
        r"\x1b[31m",
        r"\x1b]52;c;",
        r"\x07",
        r"\x9b",
        r"\u202e",
        r"\x0d",
        r"\x7f",
        r"\u2028",
        r"\x00",
        r"\ud800",
    ]
    assert [] == [one for one in spelt if one not in shown]


def test_json_gives_the_text_back(evil: str, cli: Run) -> None:
    """For programs nothing is lost: the parsed JSON holds every character."""
    told = json.loads(cli("show", "[bold]s", "--json", "--url", evil).out)

    assert EVIL == told["session"]["title"]
    assert f"{EVIL}\x00\ud800" == told["messages"][0]["data"]["content"]


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_any_text_can_be_shown(text: str) -> None:
    """Every hostile text becomes harmless, and text without control characters stays as it is."""
    shown = output.shown(text)

    assert [] == harmful(shown)
    assert shown == output.shown(shown)
    assert "\n" not in output.line(text)


def test_a_terminal_that_speaks_ascii_gets_escapes(process: Run, sqlite_url: str) -> None:
    """Where stdout cannot spell a character, it is escaped; JSON stays UTF-8; nothing fails."""
    with connect(sqlite_url) as repository:
        repository.add_messages("s", [HumanMessage("é👍")])
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}

    assert "\\xe9\\U0001f44d" in process("show", "s", "--url", sqlite_url, **environment).out
    assert "é👍" in process("show", "s", "--json", "--url", sqlite_url, **environment).out


WORK = """
import sys
from chatstore.cli import output
output.PATIENCE = 0.01
with output.progress("working", 2) as step:
    step(1)
    sys.stdin.readline()
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_long_work_shows_a_bar_on_a_terminal() -> None:
    """Once patience has run out there is a bar on stderr, and it is gone when the work is done."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", WORK],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as run:
        os.close(theirs)
        seen = b""
        while b"1/2" not in seen:
            seen += os.read(ours, 65536)  # the test's own time limit is the deadline
        out, _ = run.communicate(b"\n", timeout=60)
    os.close(ours)

    assert b"working" in seen
    assert b"done\n" == out


def test_long_work_is_silent_where_nobody_watches() -> None:
    """In a pipe there is no bar."""
    command = [sys.executable, "-c", WORK]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, input=b"\n", capture_output=True, timeout=60, check=True)

    assert (b"done\n", b"") == (run.stdout, run.stderr)


UNCOUNTED = WORK.replace('"working", 2', '"working"').replace("step(1)", "step(int(sys.argv[1]))")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("steps", "shown"), [("0", None), ("1200", "1,200")])
def test_a_bar_of_unknown_length_shows_no_total(steps: str, shown: str | None) -> None:
    """What has no total shows what was counted, if anything was, and never a question mark."""
    work = UNCOUNTED.replace("sys.stdin.readline()", "import time; time.sleep(0.3)")
    _, lines = at_terminal(["-c", work, steps], 80)
    text = "\n".join(lines)

    assert "working" in text
    assert "?" not in text
    assert "/" not in text
    assert shown is None or shown in text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_an_interrupted_question_did_nothing_and_says_so(filled: str) -> None:
    """Ctrl-C at the question ends on a line of its own, with code 130, and everything is there."""
    command = ["-m", "chatstore", "delete", "ada-chain", "--url", filled]
    code, lines = at_terminal(command, 100, at=(b"[y/N]", signal.SIGINT))

    assert 130 == code
    assert "chatstore: interrupted before anything was done: run the same again" in lines
    with connect(filled) as repository:
        assert 3 == repository.count_messages("ada-chain")
