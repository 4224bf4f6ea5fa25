"""demo: the main job in one command, on a new file and on servers; and what it says can be typed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from chatstore.backends.sql.migrations import HEAD
from chatstore.cli.samples import records, samples, store
from chatstore.connect import connect
from tests.cli.terminal import at_terminal

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def test_the_demo_shows_the_main_job(process: Run, cli: Run, folder: Path) -> None:
    """Migrate, store, read in another process, search, ask with SQL; and what it proposes to type works."""
    ran = process("demo", "--keep", "demo.db")

    assert (0, "") == (ran.code, ran.err)
    assert f"revision   none -> {HEAD}" in ran.out
    assert "stored     29 messages in 5 sessions of ada and kenji" in ran.out
    first, second = re.findall(r"process \(?(\d+)", ran.out)
    assert first != second
    assert "Booked: Tuesday at 10:00, number W-1041." in ran.out
    assert "しまなみ海道の準備" in ran.out
    assert 3 == ran.out.count("   SELECT ")
    assert '{"mean_ms": 3.4, "from": "西"}' in ran.out
    assert re.search(r"kenji +wheel-1 +404 +132", ran.out)
    assert "postgresql://user:password@localhost/database" in ran.out

    lines = [line.strip() for line in ran.out[ran.out.index("What to type next") :].splitlines()]
    proposed = [
        shlex.split(line) for line in lines if line.startswith("chatstore ") and "postgres" not in line
    ]
    url = f"sqlite:///{folder}/demo.db"
    assert f"export CHATSTORE_URL={url}" in lines
    assert [0] * 4 == [cli(*command[1:], CHATSTORE_URL=url).code for command in proposed]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_demo_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """No line goes on in the next one, but for those that are to be typed."""
    code, lines = at_terminal(["-m", "chatstore", "demo", "--keep", str(tmp_path / "demo.db")], 80)

    shown = lines[: lines.index("6. What to type next")]
    assert 0 == code
    assert [] == [line for line in shown if cell_len(line) > 80 and "sqlite:///" not in line]


def test_the_demo_makes_a_folder_of_its_own(
    process: Run, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without --keep the file lies in a new temporary folder; the environment's storage is left alone."""
    place = tmp_path_factory.mktemp("tmp")

    ran = process("demo", TMPDIR=str(place), CHATSTORE_URL="sqlite:///mine.db")

    assert 0 == ran.code
    assert 1 == len(list(place.glob("chatstore-demo-*/demo.db")))
    assert [] == list(folder.iterdir())


def sessions_of(url: str, schema: str | None = None) -> list[str]:
    """Return the ids of all sessions."""
    with connect(url, schema=schema) as repository:
        return [session.session_id for session in repository.list_sessions(archived=None).items]


def test_the_demo_on_mariadb(cli: Run, mariadb_url: str) -> None:
    """The same on another database, with only the URL changed; at the end nobody's sessions stay there."""
    ran = cli("demo", "--url", mariadb_url, "--yes")

    assert (0, []) == (ran.code, ran.errors)
    assert "stored     29 messages" in ran.out
    assert re.search(r"kenji +wheel-1 +404 +132", ran.out)
    assert "The samples are deleted." in ran.out
    assert [] == sessions_of(mariadb_url)


def test_the_demo_in_a_schema_of_postgresql(cli: Run, postgres_url: str) -> None:
    """--schema goes through to the second process and into the SQL; a second time is as the first."""
    first, second = (cli("demo", "--url", postgres_url, "--schema", "chat", "--yes") for _ in range(2))

    assert (0, 0) == (first.code, second.code)
    assert ["stored     29 messages" in ran.out for ran in (first, second)] == [True, True]
    assert f"revision   {HEAD} (nothing to do)" in second.out
    assert "FROM chat.chatstore_transcript" in first.out
    assert re.search(r"kenji +wheel-1 +404 +132", first.out)
    assert [] == sessions_of(postgres_url, "chat")


def test_the_demo_works_on_no_server_unasked(cli: Run, postgres_url: str) -> None:
    """Where nobody can agree, no table is made."""
    ran = cli("demo", "--url", postgres_url)

    assert (2, "") == (ran.code, ran.out)
    assert "add --yes" in ran.errors[0]
    assert "no chatstore tables" in cli("sessions", "--url", postgres_url).errors[0]


@pytest.mark.parametrize("more", [(), ("--yes",)])
def test_the_demo_leaves_a_database_with_sessions_alone(
    more: tuple[str, ...], cli: Run, folder: Path
) -> None:
    """Somebody's conversations, archived ones too, are no place for samples, whatever is agreed to."""
    url = f"sqlite:///{folder}/mine.db"
    with connect(url) as repository:
        repository.create_session("mine")
        repository.update_session("mine", archived=True)

    ran = cli("demo", "--url", url, *more)

    assert (2, "") == (ran.code, ran.out)
    assert "holds 1 session, and the demo works in an empty database only" in ran.errors[0]
    assert ["mine"] == sessions_of(url)


def test_a_demo_that_fails_cleans_up_all_the_same(
    cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it stored is deleted when the second process cannot read it."""
    monkeypatch.setattr("chatstore.cli.demo.READER", "no_such_module")
    url = f"sqlite:///{folder}/new.db"

    ran = cli("demo", "--url", url)

    assert 1 == ran.code
    assert "stored     29 messages" in ran.out
    assert [] == sessions_of(url)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "memory:"],
        ["--url", "file:chats"],
        ["--url", "sqlite://"],
        ["--keep", "there.db"],
        ["--keep", "x.db", "--url", "sqlite:///x.db"],
    ],
)
def test_what_the_demo_refuses(arguments: list[str], cli: Run, folder: Path) -> None:
    """It wants a SQL database that another process can open, and a file that is not there yet."""
    Path("there.db").write_bytes(b"mine")

    ran = cli("demo", *arguments)

    assert (2, 1) == (ran.code, len(ran.errors))
    assert b"mine" == Path("there.db").read_bytes()
    assert ["there.db"] == [path.name for path in folder.iterdir()]


def test_a_fault_of_the_second_process_is_told(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If what was stored cannot be read back, the demo fails and says what to run."""
    monkeypatch.setattr("chatstore.cli.demo.READER", "no_such_module")

    ran = cli("demo", "--keep", "demo.db")

    assert 1 == ran.code
    assert "chatstore doctor" in ran.errors[-1]


def test_the_samples_are_what_the_docs_rely_on() -> None:
    """Two users, tool calls, several scripts; stored once however often, at fixed times."""
    repository = connect("memory:")

    assert [29, 0] == [store(repository), store(repository)]
    assert {"ada", "kenji"} == {sample.user_id for sample in samples()}
    assert ["2026-03-02", "2026-03-03", "2026-03-04"] == sorted({str(row.day) for row in repository.usage()})
    assert 5 == sum(len(getattr(one, "tool_calls", [])) for sample in samples() for one in sample.messages)


def test_the_demo_keeps_the_samples_times(cli: Run) -> None:
    """Sessions were changed when their last message was said, so that a list tells them apart."""
    cli("demo", "--keep", "demo.db")

    with connect("sqlite:///demo.db") as repository:
        touched = {one.session_id: one.updated_at for one in repository.list_sessions().items}
        assert repository.get_session("kenji-invoice").created_at == samples()[3].begun
    assert {sample.session_id: [*records(sample)][-1].created_at for sample in samples()} == touched


def test_the_demo_says_how_to_go_on_with_postgresql(cli: Run) -> None:
    """The command is this interpreter's, and names the driver."""
    ran = cli("demo", "--keep", "demo.db")

    assert re.search(rf"{re.escape(sys.executable)} -m pip install 'psycopg\[binary\]>=", ran.out)
