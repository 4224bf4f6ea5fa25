"""upgrade, downgrade, current, check, alembic-ini, index: what they do, say and ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatstore.backends.sql.migrations import HEAD, current
from chatstore.connect import connect
from tests import servers
from tests.cli.conftest import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Give an empty database of *kind*."""
    if kind != "sqlite":
        servers.obtain(kind)
    with servers.fresh_database(kind) as url:
        yield url


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_up_down_and_where(kind: str, cli: Run) -> None:
    """Every database goes up and down, and says before, after and where it is."""
    with database(kind) as url:
        up = json.loads(cli("upgrade", "--url", url, "--json").out)
        again = cli("upgrade", "--url", url)
        down = json.loads(cli("downgrade", "base", "--yes", "--url", url, "--json").out)

        assert (None, HEAD) == (up["before"], up["after"])
        assert f"revision   {HEAD} (nothing to do)\n" in again.out
        assert (HEAD, None) == (down["before"], down["after"])
        assert current(url) is None


def test_a_schema_of_its_own(postgres_url: str, cli: Run) -> None:
    """--schema and CHATSTORE_SCHEMA choose where the tables are, for migrations and for everything else."""
    cli("upgrade", "--url", postgres_url, "--schema", "chat")
    cli("append", "s", "Hi", "--url", postgres_url, "--schema", "chat")

    assert "Hi" in cli("show", "s", "--url", postgres_url, CHATSTORE_SCHEMA="chat").out
    assert 1 == cli("show", "s", "--url", postgres_url).code
    assert "(schema chat)" in cli("current", "--url", postgres_url, "--schema", "chat").out
    assert 1 == json.loads(cli("doctor", "--url", postgres_url, "--schema", "chat", "--json").out)["messages"]
    assert 0 == cli("index", "drop", "--url", postgres_url, "--schema", "chat").code
    assert "read every message" in cli("search", "hi", "--url", postgres_url, "--schema", "chat").err
    assert 0 == cli("downgrade", "base", "--yes", "--url", postgres_url, "--schema", "chat").code


@pytest.mark.parametrize("url", ["postgresql://app:s3cret@db/app", "mysql://db/app", "sqlite:///new.db"])
def test_the_script_connects_to_nothing(url: str, cli: Run, folder: Path) -> None:
    """`upgrade --sql` prints SQL for a database that need not be there."""
    ran = cli("upgrade", "--sql", "--url", url)

    assert 0 == ran.code
    assert "CREATE TABLE chatstore_messages" in ran.out
    assert [] == list(folder.iterdir())
    assert "CREATE TABLE" not in cli("upgrade", f"{HEAD}:head", "--sql", "--url", url).out


# ------------------------------------------------------------------------------------------------ asking


def test_a_downgrade_shows_what_is_there_and_asks(filled: str, cli: Run) -> None:
    """Without a terminal and without --yes it counts, exits with 2 and does nothing."""
    ran = cli("downgrade", "base", "--url", filled, input="y\n")

    assert 2 == ran.code
    assert f"revision   {HEAD} -> base" in ran.err
    assert "5 sessions, 29 messages" in ran.err
    assert "add --yes" in ran.errors[0]
    assert HEAD == current(filled)


def test_a_downgrade_to_a_revision_that_is_none_does_nothing(filled: str, cli: Run) -> None:
    """A name that is no revision is an error before anything happens."""
    ran = cli("downgrade", "nonsense", "--yes", "--url", filled)

    assert (1, HEAD) == (ran.code, current(filled))
    assert "nonsense" in ran.errors[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("answer", "code", "left"), [("", 2, HEAD), ("y", 0, None)])
def test_whoever_sits_at_a_terminal_is_asked(answer: str, code: int, left: str | None, filled: str) -> None:
    """Who says y goes on, Enter does nothing."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "chatstore", "downgrade", "base", "--url", filled],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        os.write(ours, f"{answer}\n".encode())
        _, err = run.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)

    assert "[y/N]" in err
    assert (code, left) == (run.returncode, current(filled))


# ------------------------------------------------------------------------------------------------ current, check


def test_current_says_what_to_do(filled: str, cli: Run) -> None:
    """At head, behind it, and without tables."""
    assert f"revision   {HEAD} (head)" in cli("current", "--url", filled).out
    cli("downgrade", "chatstore_0002", "--yes", "--url", filled)
    behind = cli("current", "--url", filled)
    assert (0, True) == (behind.code, "run chatstore upgrade" in behind.out)
    cli("downgrade", "base", "--yes", "--url", filled)
    assert {"revision": None, "head": HEAD, "at_head": False}.items() <= json.loads(
        cli("current", "--url", filled, "--json").out
    ).items()


def test_a_database_that_is_behind_is_refused_with_the_command(filled: str, cli: Run) -> None:
    """Reading a database of an older revision names what to run."""
    cli("downgrade", "chatstore_0001", "--yes", "--url", filled)

    for command in ("sessions", "show ada-chain", "search oil", "export --all", "check"):
        ran = cli(*command.split(), "--url", filled)
        assert 1 == ran.code
        assert "run chatstore upgrade" in ran.errors[0]


def test_check_is_content_with_what_upgrade_made(filled: str, cli: Run) -> None:
    """Exit code 0, and no differences."""
    ran = cli("check", "--url", filled, "--json")

    assert (0, [], True) == (ran.code, json.loads(ran.out)["differences"], json.loads(ran.out)["ok"])


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE chatstore_sessions ADD COLUMN colour TEXT", "colour"),
        ("DROP INDEX ix_chatstore_sessions_user_id_updated_at_session_id", "ix_chatstore_sessions_user_id"),
    ],
)
def test_check_names_what_differs(statement: str, named: str, filled: str, cli: Run) -> None:
    """A column too many and an index too few are named, and the exit code is 1."""
    execute(filled, statement)

    ran = cli("check", "--url", filled)

    assert 1 == ran.code
    assert named in ran.out
    assert 1 == len(ran.errors)


# ------------------------------------------------------------------------------------------------ alembic-ini


def test_alembic_finds_the_migrations_by_the_ini(process: Run, folder: Path) -> None:
    """Alembic's own command, in an unrelated folder, upgrades with the ini that was printed."""
    (folder / "alembic.ini").write_text(process("alembic-ini").out)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHATSTORE_URL": "sqlite:///x.db"}

    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=folder,
        env=environment,
        check=True,
        timeout=60,
    )

    assert HEAD == current(f"sqlite:///{folder}/x.db")


# ------------------------------------------------------------------------------------------------ index


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_the_index_goes_and_comes_back(kind: str, cli: Run) -> None:
    """Search finds the same with and without it, and says when it scans; both commands may be repeated."""
    with servers.migrated_url(kind) as url:
        cli("append", "s", "needle in a haystack", "--url", url)
        found = []
        for command in ("drop", "drop", "create", "create"):
            state = json.loads(cli("index", command, "--url", url, "--json").out)
            ran = cli("search", "NEEDLE", "--url", url, "--json")
            hits = [hit["position"] for hit in json.loads(ran.out)["hits"]]
            found.append((state["index_before"], state["index_after"], hits, "read every message" in ran.err))

    assert [
        (True, False, [1], True),
        (False, False, [1], True),
        (False, True, [1], False),
        (True, True, [1], False),
    ] == found


def test_an_index_needs_tables(cli: Run, sqlite_url: str) -> None:
    """On a database without tables the command names what to run, and creates nothing."""
    for command in ("create", "drop"):
        ran = cli("index", command, "--url", sqlite_url)
        assert (1, 1) == (ran.code, len(ran.errors))


def test_old_sessions_are_there_after_down_and_up(filled: str, cli: Run) -> None:
    """Only `base` loses conversations."""
    cli("downgrade", "chatstore_0001", "--yes", "--url", filled)
    cli("upgrade", "--url", filled)

    with connect(filled) as repository:
        assert 5 == len(repository.list_sessions().items)


# ------------------------------------------------------------------------------------------------ whose revision


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_tables_of_unknown_revision_are_taken_only_as_they_should_be(kind: str, cli: Run) -> None:
    """Without a version table, upgrade goes on where the tables are right, and refuses where they are not."""
    with database(kind) as url:
        cli("upgrade", "--url", url)
        cli("append", "s", "kept", "--url", url)
        execute(url, "DROP TABLE chatstore_alembic_version")
        before = [cli(command, "--url", url) for command in ("sessions", "check", "doctor")]
        right = cli("upgrade", "--url", url)
        execute(url, "DROP TABLE chatstore_alembic_version")
        execute(url, "ALTER TABLE chatstore_sessions RENAME COLUMN title TO heading")
        wrong = cli("upgrade", "--url", url)

        assert [1, 1, 1] == [ran.code for ran in before]
        assert ["run chatstore upgrade" in ran.out + ran.err for ran in before] == [True] * 3
        assert not any("no chatstore tables" in ran.out + ran.err for ran in before)
        assert (0, True) == (right.code, f"none -> {HEAD}" in right.out)
        assert (1, "") == (wrong.code, wrong.out)
        assert "no chatstore_alembic_version" in wrong.errors[0]
        assert current(url) is None
        assert "heading" in cli("check", "--url", url).out


def test_a_revision_in_the_hosts_version_table(filled: str, cli: Run) -> None:
    """Where a host took our revisions into its own history, all commands find them there and leave them to it."""
    execute(filled, "ALTER TABLE chatstore_alembic_version RENAME TO alembic_version")
    execute(filled, "INSERT INTO alembic_version VALUES ('host1')")

    assert "(head)" in cli("current", "--url", filled).out
    assert [0, 0] == [cli(command, "--url", filled).code for command in ("check", "sessions")]
    assert json.loads(cli("doctor", "--url", filled, "--json").out)["ok"]
    assert "nothing to do" in cli("upgrade", "--url", filled).out
    execute(filled, "UPDATE alembic_version SET version_num = 'chatstore_0002' WHERE version_num <> 'host1'")
    for command in ("upgrade", "downgrade chatstore_0001 --yes", "sessions"):
        ran = cli(*command.split(), "--url", filled)
        assert (1, True) == (ran.code, "alembic upgrade heads" in ran.errors[0]), command
    assert "chatstore_0002" == current(filled)


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("upgrade --sql --json", "--json"),
        (f"upgrade {HEAD}:chatstore_0001 --sql", "name the older revision first"),
        ("downgrade bogus --yes", "bogus"),
        ("downgrade chatstore_0001:base --yes", "chatstore_0001:base"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_said(
    arguments: str, said: str, filled: str, cli: Run
) -> None:
    """No empty script, no plan to a revision that is none: one line, and nothing on stdout."""
    ran = cli(*arguments.split(), "--url", filled)

    assert (True, "") == (ran.code in (1, 2), ran.out)
    assert ran.err.splitlines() == ran.errors
    assert said in ran.errors[0]
    assert HEAD == current(filled)
