"""edit, assign and purge of one owner: what they change, what they leave, and that they end what was begun."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import chatstore
from chatstore import HumanMessage, Repository
from chatstore.cli import editing
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chatstore.messages import ChatSession
    from tests.cli.conftest import Run

SOON = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgres", "redis", "file"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty storage of each kind."""
    match request.param:
        case "file":
            yield f"file:{tmp_path / 'chats'}"
        case "redis":
            yield f"{servers.obtain('redis')}/0?key_prefix=test-{secrets.token_hex(6)}:&ttl=600"
        case kind:
            with servers.migrated_url(kind) as url:
                yield url


@pytest.fixture
def store(at: str) -> Iterator[Repository]:
    """Give a repository with two sessions of Ada's, one of them archived, one of Kenji's, two of nobody's."""
    with chatstore.connect(at) as repository:
        for number, owner in enumerate(("ada", "ada", "kenji", None, None)):
            repository.create_session(f"s{number}", user_id=owner, tenant_id="shop" if owner else None)
            repository.add_messages(f"s{number}", [HumanMessage("Hello!")])
        repository.update_session("s1", archived=True)
        yield repository


def owners(repository: Repository) -> dict[str, tuple[str | None, str | None]]:
    """Return user and tenant of every session."""
    page = repository.list_sessions(archived=None)
    return {one.session_id: (one.user_id, one.tenant_id) for one in page.items}


# ------------------------------------------------------------------------------------------------ edit


def test_edit_changes_what_is_named(store: Repository, at: str, cli: Run) -> None:
    """Title, archive, owner and expiry, at once; the time of the last change stays, and so does all else."""
    before = store.update_session("s0", expires_at=SOON, metadata={"topic": "chains"})

    ran = cli(
        *("edit", "s0", "--title", "Squeaky chain", "--archive", "--user", "kenji", "--no-expiry"),
        *("--url", at),
    )

    after = store.get_session("s0")
    assert ("Squeaky chain", "kenji", "shop") == (after.title, after.user_id, after.tenant_id)
    assert after.archived_at is not None
    assert after.expires_at is None
    assert (before.updated_at, before.metadata) == (after.updated_at, after.metadata)
    assert (0, ["title", "archived", "user", "expires"]) == (
        ran.code,
        [line.split()[0] for line in ran.out.splitlines()],
    )
    assert "user       ada -> kenji\n" in ran.out


def test_edit_takes_back(store: Repository, at: str, cli: Run) -> None:
    """An archived session comes back, a title goes; a second time nothing changes, and it says so."""
    store.update_session("s1", title="Old")
    asked = ("edit", "s1", "--unarchive", "--title", "", "--url", at)

    cli(*asked)
    told = json.loads(cli(*asked, "--json").out)

    assert (None, None, "ada") == (told["archived_at"], told["title"], told["user_id"])
    assert "session s1 is so already\n" == cli(*asked).out
    assert told["revision"] == store.get_session("s1").revision


def test_edit_says_what_is_missing(cli: Run, sqlite_url: str, filled: str) -> None:
    """Without anything to change, and without the session, there is one line that says what to do."""
    assert filled == sqlite_url
    nothing, nobody = (cli("edit", *args, "--url", filled) for args in (["ada-chain"], ["x", "--archive"]))

    assert (2, 1) == (nothing.code, nobody.code)
    assert "say what to change: --title" in nothing.errors[0]
    assert "chatstore sessions lists those there are" in nobody.errors[0]


# ------------------------------------------------------------------------------------------------ assign


def test_a_user_is_renamed_in_all_their_sessions(store: Repository, at: str, cli: Run) -> None:
    """Archived sessions too; nobody else's, and not the tenant, which is not named; places in lists stay."""
    before = store.get_session("s0").updated_at
    asked = ("assign", "--user", "ada", "--to-user", "lovelace", "--json", "--url", at)

    dry = json.loads(cli(*asked, "--dry-run").out)
    assert ("ada", "shop") == owners(store)["s0"]
    wet = json.loads(cli(*asked, "--yes").out)
    again = json.loads(cli(*asked, "--yes").out)

    assert [(2, True), (2, False), (0, False)] == [
        (one["sessions"], one["dry_run"]) for one in (dry, wet, again)
    ]
    assert {
        "s0": ("lovelace", "shop"),
        "s1": ("lovelace", "shop"),
        "s2": ("kenji", "shop"),
        "s3": (None, None),
        "s4": (None, None),
    } == owners(store)
    assert before == store.get_session("s0").updated_at
    assert {"s0", "s1"} == {
        one.session_id for one in store.scope(user_id="lovelace").list_sessions(archived=None).items
    }


def test_sessions_of_nobody_get_an_owner(store: Repository, at: str, cli: Run) -> None:
    """--unowned leaves everybody's alone."""
    ran = cli("assign", "--unowned", "--to-user", "grace", "--to-tenant", "navy", "--yes", "--url", at)

    assert "assigned   2 sessions\n" == ran.out
    assert "to assign  2 sessions\n" in ran.err
    assert ("grace", "navy") == owners(store)["s3"] == owners(store)["s4"]
    assert ("kenji", "shop") == owners(store)["s2"]


def test_a_file_says_whose_each_becomes(store: Repository, at: str, cli: Run, folder: Path) -> None:
    """As after an import; a session that is not there is named, the others get their owner, and the exit code is 1."""
    (folder / "owners.csv").write_text(
        "session,user,tenant\ns3,grace,navy\ns2,grace,\ngone,ada,\n", encoding="utf-8"
    )

    ran = cli("assign", "--owners", "owners.csv", "--yes", "--url", at)
    unowned = cli("assign", "--owners", "owners.csv", "--unowned", "--yes", "--url", at)

    assert (1, "assigned   2 sessions\n") == (ran.code, ran.out)
    assert "to assign  2 sessions, 1 from another owner\n" in ran.err
    assert "missing    gone\n" in ran.err
    assert (("grace", "navy"), ("grace", "shop")) == (owners(store)["s3"], owners(store)["s2"])
    assert (1, "assigned   0 sessions\n") == (unowned.code, unowned.out)


def test_interrupted_it_is_completed_by_the_same_command(
    store: Repository, at: str, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was assigned before Ctrl-C stays; the command again does the rest, over any number of pages."""
    monkeypatch.setattr(editing, "PAGE", 2)
    for number in range(5, 12):
        store.create_session(f"s{number}", user_id="ada")
    real, calls = editing.Assignment.assign, iter(range(100))

    def interrupted(self: editing.Assignment, session: ChatSession) -> bool:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return real(self, session)

    asked = ("assign", "--user", "ada", "--to-user", "lovelace", "--yes", "--json", "--url", at)
    monkeypatch.setattr(editing.Assignment, "assign", interrupted)
    assert 130 == cli(*asked).code
    assert 4 == [user for user, _ in owners(store).values()].count("lovelace")
    monkeypatch.setattr(editing.Assignment, "assign", real)

    assert 5 == json.loads(cli(*asked).out)["sessions"]
    assert 9 == [user for user, _ in owners(store).values()].count("lovelace")


def test_a_session_that_is_used_meanwhile_is_not_lost(
    store: Repository, at: str, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that gets a message is assigned all the same, one that got another owner or was deleted is left alone."""
    for number in range(5, 8):
        store.create_session(f"s{number}", user_id="ada")
    real = editing.Assignment.assign
    change: dict[str, Callable[[], object]] = {
        "s5": lambda: store.add_messages("s5", [HumanMessage("Wait!")]),
        "s6": lambda: store.update_session("s6", user_id="kenji"),
        "s7": lambda: store.delete_session("s7"),
    }

    def meanwhile(self: editing.Assignment, session: ChatSession) -> bool:
        change.pop(session.session_id, int)()
        return real(self, session)

    monkeypatch.setattr(editing.Assignment, "assign", meanwhile)
    ran = cli("assign", "--user", "ada", "--to-user", "lovelace", "--yes", "--json", "--url", at)

    assert 3 == json.loads(ran.out)["sessions"]
    found = owners(store)
    assert ["lovelace", "lovelace", "lovelace", "kenji"] == [
        found[one][0] for one in ("s0", "s1", "s5", "s6")
    ]
    assert "s7" not in found


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--user", "ada"], "say whose the sessions become"),
        (["--to-user", "ada"], "say which sessions"),
        (["--owners", "owners.csv", "--to-user", "ada"], "say whose the sessions become"),
        (["--user", "ada", "--unowned", "--to-user", "bob"], "leave out --user or --unowned"),
        (["--user", "ada", "--to-user", ""], "--to-user is empty"),
        (["--owners", "empty.csv"], "names no session"),
        (["--owners", "wrong.csv"], "no columns session and user"),
        (["--user", "ada", "--to-user", "bob"], "add --yes"),
    ],
)
def test_what_is_half_said_is_refused(
    args: list[str], said: str, filled: str, cli: Run, folder: Path
) -> None:
    """One line says what is missing; exit code 2, and nobody's sessions have moved."""
    (folder / "owners.csv").write_text("session,user\nada-chain,kenji\n", encoding="utf-8")
    (folder / "empty.csv").write_text("session,user\n", encoding="utf-8")
    (folder / "wrong.csv").write_text("chat,owner\n", encoding="utf-8")
    with chatstore.connect(filled) as repository:
        before = owners(repository)
        ran = cli("assign", *args, "--url", filled)
        assert before == owners(repository)

    assert (2, "") == (ran.code, ran.out)
    assert said in ran.errors[0]


# ------------------------------------------------------------------------------------------------ one user's data


def test_everything_of_a_user_goes_and_nothing_else(store: Repository, at: str, cli: Run) -> None:
    """Archived and expired sessions too; a dry run counts them and deletes nothing."""
    store.create_session("s5", user_id="ada", expires_at=datetime.now(UTC) - timedelta(days=1))
    asked = ("purge", "--user", "ada", "--json", "--url", at)

    dry = json.loads(cli(*asked, "--dry-run").out)
    assert 5 == len(owners(store))
    wet = json.loads(cli(*asked, "--yes").out)

    assert (dry["messages"], True) == (wet["messages"], not wet["dry_run"])
    assert dry["sessions"] == wet["sessions"] >= 2
    assert {"s2", "s3", "s4"} == owners(store).keys()
    assert 0 == json.loads(cli(*asked, "--yes").out)["sessions"]


@pytest.mark.parametrize(
    ("args", "sessions"),
    [
        (["--archived"], 1),
        (["--updated-before", "1d"], 0),
        (["--tenant", "navy"], 0),
        (["--tenant", "shop"], 2),
    ],
)
def test_conditions_narrow_a_users_purge(
    args: list[str], sessions: int, store: Repository, at: str, cli: Run
) -> None:
    """Every condition that is named must be met."""
    ran = cli("purge", "--user", "ada", *args, "--yes", "--json", "--url", at)

    assert sessions == json.loads(ran.out)["sessions"]
    assert 5 - sessions == len(owners(store))


def test_only_what_expired_goes_where_that_is_said(at: str, cli: Run) -> None:
    """--expired is a condition like the others."""
    with chatstore.connect(at) as repository:
        repository.create_session("live", user_id="ada")
        ran = cli("purge", "--user", "ada", "--expired", "--yes", "--json", "--url", at)
        assert 0 == json.loads(ran.out)["sessions"]
        assert {"live"} == owners(repository).keys()
