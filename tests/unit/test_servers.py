"""The chain that finds a server for the tests: who comes first, what is an error, what a skip."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pymysql
import pytest
from sqlalchemy import create_engine, func, insert, select, update
from sqlalchemy.pool import NullPool

from chatstore.backends.sql.models import messages, sessions
from tests import databases, embedded, servers

DEAD = {
    "postgres": "postgresql://nobody:hush@127.0.0.1:{}/none",
    "mariadb": "mysql://nobody:hush@127.0.0.1:{}/none",
    "redis": "redis://nobody:hush@127.0.0.1:{}",
    "dynamodb": "dynamodb://nobody:hush@eu-central-1/?endpoint_url=http://127.0.0.1:{}",
}
ROOT = Path(__file__).parents[2]
SQL = ("postgres", "mariadb")


def dead(kind: str) -> str:
    """Return a URL of *kind* where nobody listens."""
    return DEAD[kind].format(embedded.free_port())


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take binaries and Docker away."""
    monkeypatch.setattr(embedded, "binaries", lambda _kind: None)
    monkeypatch.setattr(embedded, "docker_answers", lambda: False)


@pytest.mark.parametrize("kind", servers.KINDS)
def test_a_dead_url_in_the_environment_is_an_error(kind: str) -> None:
    """A URL that somebody gave and that does not answer is never passed over, and no password is shown."""
    with pytest.raises(servers.DeadServer) as caught:
        servers.find(kind, {servers.ENVIRONMENT[kind]: dead(kind)})

    assert servers.ENVIRONMENT[kind] in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("kind", servers.KINDS)
def test_the_environment_comes_before_a_local_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment names is used, whatever else would answer."""
    monkeypatch.setattr(databases, "why_not", lambda _url: None)
    monkeypatch.setattr(databases, "normalised", lambda url: url)

    found = servers.find(kind, {servers.ENVIRONMENT[kind]: dead(kind)})

    assert found.how == "env"
    assert "hush" not in found.detail


@pytest.mark.parametrize("kind", servers.KINDS)
def test_a_local_server_comes_before_an_embedded_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that already runs is used; none is started beside it."""
    monkeypatch.setattr(databases, "why_not", lambda _url: None)
    monkeypatch.setattr(databases, "normalised", lambda url: url)

    found = servers.find(kind, {})

    with found.start() as url:
        assert ("local", servers.LOCAL[kind]) == (found.how, url)


@pytest.mark.parametrize("kind", servers.KINDS)
def test_containers_come_last(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker is asked only where neither a server nor binaries were found."""
    monkeypatch.setattr(embedded, "binaries", lambda _kind: None)
    monkeypatch.setattr(embedded, "docker_answers", lambda: True)

    assert servers.find(kind, {}, dead(kind)).how == "container"


@pytest.mark.parametrize("kind", servers.KINDS)
def test_without_any_server_the_reason_is_told(kind: str, nothing_installed: None) -> None:
    """Where there is nothing, the skip says what was tried and what to do."""
    with pytest.raises(servers.NoServer, match=f"Set {servers.ENVIRONMENT[kind]}"):
        servers.find(kind, {}, dead(kind))


@pytest.mark.parametrize("kind", servers.KINDS)
@pytest.mark.parametrize(
    ("wanted", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)]
)
def test_a_required_server_is_never_skipped(
    kind: str, wanted: bool, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CHATSTORE_TEST_REQUIRE` turns exactly the skips of the kinds it names into failures."""

    def nowhere(kind: str) -> str:
        raise servers.NoServer(f"no {kind}")

    monkeypatch.setattr(servers, "server", nowhere)
    others = [other for other in servers.KINDS if other != kind]
    monkeypatch.setenv(servers.REQUIRE, ",".join([*others, *([kind] if wanted else [])]))

    with pytest.raises(outcome, match=f"no {kind}"):
        servers.obtain(kind)


def test_the_names_of_required_servers_are_checked() -> None:
    """A misspelt name would require nothing, so it is refused; the common other names are taken."""
    assert frozenset({"postgres", "mariadb"}) == servers.required({servers.REQUIRE: " PostgreSQL, mysql,"})
    assert frozenset() == servers.required({})
    with pytest.raises(ValueError, match="postgers"):
        servers.required({servers.REQUIRE: "postgers"})


@pytest.mark.parametrize(
    ("required", "outcome"), [("redis", pytest.skip.Exception), ("redis,pgbouncer", pytest.fail.Exception)]
)
def test_a_required_pooler_is_never_skipped(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pooler is named like a server; the skip and the failure say what to install."""
    monkeypatch.setattr(embedded, "pgbouncer", lambda: None)
    monkeypatch.setenv(servers.REQUIRE, required)

    with pytest.raises(outcome, match="no pgbouncer on PATH"), servers.pooled("postgresql://none"):
        pass
    assert ("required" in servers.describe(servers.POOLER)) == ("pgbouncer" in required)


@pytest.mark.parametrize("kind", servers.KINDS)
def test_an_embedded_server_starts_answers_and_goes(kind: str) -> None:
    """A server of our own is there while its context lasts, and leaves neither process nor file."""
    if embedded.binaries(kind) is None:
        pytest.skip(f"no binaries for {kind} on this machine")

    with embedded.start(kind, databases.why_not) as url:
        assert databases.why_not(url) is None

    assert databases.why_not(url) is not None


def test_an_embedded_server_starts_from_a_folder_that_only_root_may_enter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run by root, PostgreSQL runs as somebody else, also where the binaries are not open to everybody."""
    if os.geteuid() != 0 or embedded.binaries("postgres") is None:
        pytest.skip("only root has this difficulty, and only with binaries of PostgreSQL")
    monkeypatch.setattr(embedded, "_reachable", lambda _folder: False)

    with embedded.start("postgres", databases.why_not) as url:
        assert databases.why_not(url) is None


@pytest.mark.parametrize("kind", SQL)
def test_every_database_is_fresh_and_dropped_whoever_is_still_connected(kind: str) -> None:
    """Each gets an empty database of its own; a connection left open inside a transaction cannot keep it."""
    with contextlib.ExitStack() as forgotten:
        with servers.fresh_database(kind) as url, servers.fresh_database(kind) as other:
            assert url != other
            assert databases.fingerprint(url) == []
            cursor = forgotten.enter_context(databases.connection(url))
            forgotten.enter_context(pytest.raises((psycopg.OperationalError, pymysql.err.OperationalError)))
            cursor.execute("CREATE TABLE t (x int)")
            cursor.execute("START TRANSACTION")
            cursor.execute("INSERT INTO t VALUES (1)")
            assert databases.open_connections(url) == 1

        assert databases.why_not(url) is not None
        cursor.execute("SELECT 1")


@pytest.mark.parametrize("kind", [*SQL, "sqlite"])
def test_a_migrated_database_is_at_head_and_empty_every_time(kind: str) -> None:
    """Rows of one test, and a transaction that it left open, never reach the next."""
    for _ in range(2):
        with contextlib.ExitStack() as forgotten, servers.migrated_url(kind) as url:
            engine = create_engine(url, poolclass=NullPool)
            connection = engine.connect()
            forgotten.callback(connection.close)
            forgotten.callback(connection.invalidate)
            tables = [select(func.count()).select_from(table) for table in (sessions, messages)]
            assert [0, 0] == [connection.scalar(count) for count in tables]
            now = datetime.now(UTC)
            row = {"session_id": "s", "created_at": now, "updated_at": now, "revision": 1}
            connection.execute(
                insert(sessions).values(row | {"message_count": 0, "last_position": 0, "metadata": {}})
            )
            connection.commit()
            connection.execute(update(sessions).values(title="left open"))
            if kind == "sqlite":
                connection.rollback()  # the file goes with its folder


@pytest.mark.parametrize("kind", SQL)
def test_a_migrated_database_whose_schema_was_changed_is_thrown_away(kind: str) -> None:
    """Who changes the schema of a shared database changes it for nobody else."""
    with servers.migrated_url(kind) as url, databases.connection(url) as cursor:
        cursor.execute("DROP VIEW chatstore_transcript")

    with servers.migrated_url(kind) as other:
        assert url != other


@pytest.mark.parametrize("kind", SQL)
def test_two_migrated_databases_at_once_are_two(kind: str) -> None:
    """Nobody shares a database with somebody else at the same time, and one is used again afterwards."""
    with servers.migrated_url(kind) as one, servers.migrated_url(kind) as two:
        assert one != two

    with servers.migrated_url(kind) as again:
        assert again in {one, two}


def test_a_dead_url_fails_a_whole_run_of_pytest(tmp_path: Path) -> None:
    """From the outside: a test that asks for the dead server is an error, no skip; the header says so."""
    suite = tmp_path / "test_one.py"
    suite.write_text("def test_it(postgres_url):\n    pass\n", encoding="utf-8")
    environment = {**os.environ, servers.ENVIRONMENT["postgres"]: dead("postgres")}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]

    run = subprocess.run(
        [*command, f"--rootdir={tmp_path}", str(suite)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1, run.stdout + run.stderr
    assert "postgres: ERROR" in run.stdout
    assert "1 error" in run.stdout
