"""The list of sessions on a terminal: it fits, what tells sessions apart stays, and nothing is cut elsewhere."""

from __future__ import annotations

import random
import re
import sys
import uuid
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len

from chatstore.cli import output, session_list
from chatstore.cli.samples import samples
from chatstore.connect import connect
from chatstore.messages import ChatSession
from tests import hostile
from tests.cli.conftest import execute
from tests.cli.terminal import at_terminal

if TYPE_CHECKING:
    from tests.cli.conftest import Run

TITLES = (
    "しまなみ海道の準備と天気予報について教えてください",
    "Change my flight to Seattle",
    None,
    "👩‍💻 Kündigung",
)
MAIL = "ada.lovelace@analytical-engines.example"


@pytest.fixture
def crowded(sqlite_url: str) -> str:
    """Give the URL of a file with UUIDs for ids, mail addresses for users, tenants, and titles in several scripts."""
    with connect(sqlite_url) as repository:
        for title in TITLES:
            repository.create_session(
                str(uuid.uuid4()), title=title, user_id=MAIL, tenant_id="wheelhouse-logistics"
            )
    return sqlite_url


def listed(url: str, columns: int, *more: str) -> list[str]:
    """Return the lines of the list, without what is noted beside it."""
    code, lines = at_terminal(["-m", "chatstore", "sessions", "--url", url, *more], columns)
    assert 0 == code
    return lines[: 2 + len(TITLES)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_the_list_is_never_wider_than_the_terminal(columns: int, crowded: str) -> None:
    """Whatever there is to show, no line goes on in the next one; each session's line has something of its id."""
    with connect(crowded) as repository:
        ids = [session.session_id for session in repository.list_sessions().items]

    lines = listed(crowded, columns)

    assert columns >= max(map(cell_len, lines))
    assert ("title" if columns > 20 else "session") == lines[0].split()[0]
    shown = [re.findall(r"([0-9a-f]{4})[-0-9a-f]*…[-0-9a-f]{4}", line) for line in lines[2:]]
    assert [[one[:4]] for one in ids] == shown


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_full_shortens_nothing_on_a_terminal(crowded: str) -> None:
    """With --full ids, titles, owners and times are whole, to be copied from the screen."""
    shown = "\n".join(listed(crowded, 80, "--full"))

    assert "…" not in shown
    assert 4 == len(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", shown))
    assert 4 == shown.count(MAIL) == len(re.findall(r"\d\d:\d\d:\d\d", shown))
    assert str(TITLES[0]) in shown


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_short_ids_and_titles_are_whole_at_80_columns(filled: str) -> None:
    """What fits is not cut, and nothing is said about --full."""
    code, lines = at_terminal(["-m", "chatstore", "sessions", "--url", filled], 80)

    assert 0 == code
    assert {sample.session_id for sample in samples()} <= {*" ".join(lines).split()}
    assert 2 + len(samples()) == len(lines)
    assert "…" not in "".join(line for line in lines if "ada-chain" not in line)


def test_a_pipe_gets_everything(crowded: str, cli: Run) -> None:
    """Where nobody watches, whole ids and times are printed."""
    shown = cli("sessions", "--url", crowded).out

    assert "…" not in shown
    assert 4 == len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)) == shown.count(MAIL)


def test_the_owner_who_was_asked_for_is_no_column(filled: str, cli: Run) -> None:
    """A column in which every cell is the same, because it was asked for, says nothing."""
    assert "user" in cli("sessions", "--url", filled).out.splitlines()[0].split()
    assert "user" not in cli("sessions", "--url", filled, "--user", "ada").out.splitlines()[0].split()


def test_today_is_told_by_the_hour_and_other_days_by_the_date(
    filled: str, monkeypatch: pytest.MonkeyPatch, cli: Run
) -> None:
    """Times on a terminal are as short as they can be told apart, in UTC as the column says."""
    monkeypatch.setattr(session_list, "terminal_width", lambda: 80)
    with connect(filled) as repository:
        repository.update_session("ada-chain", title="Oil")
    now = datetime.now(UTC)
    execute(
        filled,
        f"UPDATE chatstore_sessions SET updated_at = '{now:%Y-%m-%d} 00:07:00.000000' WHERE title = 'Oil'",
    )
    execute(
        filled, "UPDATE chatstore_sessions SET updated_at = '2026-03-02 09:18:20.000000' WHERE title != 'Oil'"
    )

    shown = cli("sessions", "--url", filled).out

    assert "updated (UTC)" in shown
    assert 1 == shown.count("  today 00:07\n")
    assert 4 == shown.count("  2026-03-02\n")


def _session(number: int, texts: list[str], chance: random.Random) -> ChatSession:
    moment = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(hours=number)
    known: dict[str, Any] = dict.fromkeys(field.name for field in fields(ChatSession))
    known |= {"session_id": chance.choice(texts), "message_count": 10 ** chance.randrange(9)}
    known |= {name: chance.choice([None, *texts]) for name in ("title", "user_id", "tenant_id")}
    return ChatSession(**known | {"updated_at": moment, "archived_at": chance.choice([None, moment])})


@pytest.mark.parametrize("seed", range(40))
def test_any_sessions_fit_into_any_terminal(
    seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hostile titles, ids and owners of all lengths: no line is wider than the terminal, from 12 columns on."""
    chance = random.Random(seed)
    texts = [text[:300] for text in hostile.TEXTS.values() if text] + [MAIL, str(uuid.uuid4()), "s"]
    found = [_session(number, texts, chance) for number in range(8)]
    width = chance.randrange(12, 200)
    monkeypatch.setattr(session_list, "terminal_width", lambda: width)

    session_list.show(found, full=False)

    lines = capsys.readouterr().out.splitlines()
    assert 10 == len(lines)
    assert width >= max(map(cell_len, lines))


@pytest.mark.parametrize("text", ["abcdefghij", "しまなみ海道", "a👩‍💻b👩‍💻c", "e\u0301" * 9])
@pytest.mark.parametrize("middle", [True, False])
def test_a_text_is_cut_by_what_it_takes_on_the_screen(text: str, middle: bool) -> None:
    """Every width is kept, and what is left begins, or begins and ends, as the text does."""
    for width in range(1, cell_len(text)):
        short = output.fit(text, width, middle=middle)
        head, _, tail = short.partition("…")
        assert cell_len(short) <= width
        assert text.startswith(head)
        assert text.endswith(tail)
        assert middle or not tail
    assert text == output.fit(text, cell_len(text), middle=middle)
