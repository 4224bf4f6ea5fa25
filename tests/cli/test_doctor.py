"""doctor: what it finds out on every storage, its advice, and that it never fails on what is wrong."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from sqlalchemy import create_engine, text

from chatstore import __version__
from chatstore.backends.sql.migrations import HEAD
from chatstore.cli.doctor import SURVIVES
from chatstore.cli.samples import store
from chatstore.connect import connect
from chatstore.records import DurabilityLevel
from tests import redis_servers, servers
from tests.cli.conftest import execute
from tests.cli.terminal import at_terminal
from tests.others import someone_else

if TYPE_CHECKING:
    from tests.cli.conftest import Run

KEYS = {
    "url",
    "backend",
    "server",
    "driver",
    "revision",
    "head",
    "search_index",
    "unindexed_sessions",
    "unindexed_messages",
    "durability",
    "sessions",
    "messages",
    "expired_sessions",
    "abandoned_answers",
    "cannot",
    "notes",
    "unseen",
    "versions",
    "error",
    "advice",
    "ok",
}


def facts(cli: Run, url: str) -> dict[str, Any]:
    """Return what doctor found out."""
    found: dict[str, Any] = json.loads(cli("doctor", "--url", url, "--json").out)
    assert KEYS == found.keys()
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_a_sound_database(kind: str, cli: Run) -> None:
    """Server, driver, schema, index, durability and counts are told, and nothing is wrong."""
    with servers.migrated_url(kind) as url:
        with connect(url) as repository:
            store(repository)

        found = facts(cli, url)

    assert (HEAD, HEAD, True) == (found["revision"], found["head"], found["search_index"])
    assert (5, 29, 0) == (found["sessions"], found["messages"], found["expired_sessions"])
    assert found["server"].split()[0] in {"sqlite", "postgresql", "mariadb", "mysql"}
    assert found["durability"]["level"] in {"machine", "process"}
    assert (None, True) == (found["error"], found["ok"])
    assert __version__ == found["versions"]["chatstore"]


def test_a_folder_of_files(cli: Run) -> None:
    """`file:` has no schema; the rest is told."""
    cli("append", "s", "Hi", "--url", "file:chats")

    found = facts(cli, "file:chats")

    assert (1, 1, None, None, True) == tuple(
        found[name] for name in ("sessions", "messages", "revision", "search_index", "ok")
    )


def test_it_reads_like_a_report(filled: str, cli: Run) -> None:
    """A line for each fact, advice at the end."""
    cli("index", "drop", "--url", filled)
    lines = cli("doctor", "--url", filled).out.splitlines()

    told = dict(line.split(maxsplit=1) for line in lines)
    assert f"{HEAD} (head)" == told["schema"]
    assert ("5", "29") == (told["sessions"], told["messages"])
    assert "chatstore index create" in told["advice"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb", "file", "redis"])
def test_a_sound_storage_is_one_screen(kind: str, tmp_path: Path) -> None:
    """At 80 columns and 24 lines everything is seen at once, and no word is broken."""
    with ExitStack() as opened:
        if kind == "file":
            url = f"file:{tmp_path}/chats"
        elif kind == "redis":
            url = opened.enter_context(redis_servers.started())
        else:
            url = opened.enter_context(servers.migrated_url(kind))
        with connect(url) as repository:
            store(repository)

        code, seen = at_terminal(["-m", "chatstore", "doctor", "--url", url], 80)

    lines = [line for line in seen if not line.startswith("looking")]  # the bar, which goes away
    assert 0 == code
    assert 23 >= len(lines) > 5
    assert [] == [line for line in lines if len(line) > 80 and " " in line[12:]]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///missing.db", "there is nothing at"),
        ("sqlite:///empty.db", "run chatstore upgrade"),
        ("sqlite:///other.db", "no"),
        ("file:missing", "there is nothing at"),
        ("postgresql://127.0.0.1:1/x", "cannot be reached"),
        ("nonsense", "not a database URL"),
        ("nonsense://x/y", "dialect"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_made(url: str, said: str, cli: Run, folder: Path) -> None:
    """The report ends with the fault and what to do, and the exit code is 1."""
    Path("empty.db").touch()
    Path("other.db").write_bytes(b"no database")

    ran = cli("doctor", "--url", url)

    assert 1 == ran.code
    assert said in ran.out + ran.err
    assert ["empty.db", "other.db"] == sorted(path.name for path in folder.iterdir())
    assert (b"", b"no database") == (Path("empty.db").read_bytes(), Path("other.db").read_bytes())


def test_a_database_without_tables(cli: Run, postgres_url: str) -> None:
    """What the server is, is told all the same."""
    found = facts(cli, postgres_url)

    assert not found["ok"]
    assert found["server"].startswith("postgresql ")
    assert "run chatstore upgrade" in found["error"]
    assert [found["error"]] == found["advice"]


def test_advice(filled: str, cli: Run) -> None:
    """A default storage, a slack durability, expired sessions and an open file are worth a line each."""
    from datetime import UTC, datetime

    with connect(filled) as repository:
        repository.update_session("ada-chain", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    path = Path(filled.removeprefix("sqlite:///"))
    path.chmod(0o644)

    advice = "\n".join(facts(cli, f"{filled}?synchronous=normal")["advice"])

    assert "chatstore purge" in advice
    assert "synchronous" in advice
    assert "chmod" in advice
    assert "nothing is kept" in "\n".join(facts(cli, "memory:")["advice"])
    cli("append", "s", "Hi")
    assert "set CHATSTORE_URL" in cli("doctor").out


def test_tables_that_somebody_changed_are_not_well(filled: str, cli: Run) -> None:
    """A column too few is found without a command that asks for it, and named."""
    execute(filled, "ALTER TABLE chatstore_sessions DROP COLUMN archived_at")

    found = facts(cli, filled)

    assert not found["ok"]
    assert "add column: chatstore_sessions archived_at" in found["error"]
    assert "chatstore check" in found["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
@pytest.mark.parametrize("url", ["file:{}/chats", "sqlite:///{}/chat.db"])
def test_a_place_that_cannot_be_written_is_not_well(url: str, cli: Run, open_folder: Path) -> None:
    """Whoever may only read is told so, with the place."""
    url = url.format(open_folder)
    cli("append", "s", "Hi", "--url", url)
    for path in open_folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)

    with someone_else():
        found = facts(cli, url)

    assert not found["ok"]
    assert f"cannot write to {open_folder}" in found["error"]


@pytest.mark.parametrize(
    ("content", "said"), [(b"no database at all", "is no SQLite database"), (None, "is damaged")]
)
@pytest.mark.parametrize("command", ["doctor", "sessions", "upgrade", "append s t"])
def test_what_is_no_sqlite_database_is_called_so(
    content: bytes | None, said: str, command: str, filled: str, cli: Run
) -> None:
    """A text file is no database, and one that was overwritten is damaged; neither refuses a user."""
    path = Path(filled.removeprefix("sqlite:///"))
    execute(filled, "PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(content or whole[:100] + b"\xff" * (len(whole) - 100))

    ran = cli(*command.split(), "--url", filled)

    assert 1 == ran.code
    assert said in ran.out + ran.err
    assert "user" not in ran.out + ran.err


def test_every_level_of_durability_has_words() -> None:
    """There is a sentence for each word that a repository may say, and for no other."""
    assert set(get_args(DurabilityLevel)) == set(SURVIVES)


def test_durability_of_files_is_told_in_words(cli: Run, tmp_path: Path) -> None:
    """Files survive what a database that waits for the disk does, by the same word."""
    url = f"file:{tmp_path}/chats"
    with connect(url) as repository:
        repository.create_session("s")

    assert "machine" == facts(cli, url)["durability"]["level"]
    assert "survives a crash of the machine (each " in cli("doctor", "--url", url).out


def test_durability_is_told_in_words(filled: str, cli: Run) -> None:
    """What a commit survives is said, and the level by its name."""
    said = cli("doctor", "--url", f"{filled}?synchronous=normal").out

    assert (
        "survives the process, not a crash of the machine (SQLite, journal_mode=wal, synchronous=NORMAL)"
        in said
    )


def test_a_newer_database_is_told(cli: Run, sqlite_url: str) -> None:
    """It works, and is nothing to be content with."""
    cli("upgrade", "--url", sqlite_url)
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE chatstore_alembic_version SET version_num = 'chatstore_9999'"))
    engine.dispose()
    found = facts(cli, sqlite_url)
    assert (True, ["the database is newer than this installation of chatstore: upgrade that soon"]) == (
        found["ok"],
        [one for one in found["advice"] if "newer" in one],
    )
