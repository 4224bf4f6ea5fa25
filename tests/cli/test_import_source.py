"""import --from: what is said, what the exit code tells, what is refused, and that every storage can be the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.connect import connect
from chatstore.messages import HumanMessage
from tests import servers
from tests.cli.conftest import execute
from tests.sources import planting
from tests.sources.shapes import MESSAGES, RAW, human_element

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Run


def options(plant: planting.Plant) -> list[str]:
    """Return the arguments that read *plant*."""
    named = [word for name, value in plant.options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return ["--from", plant.kind, plant.source, *named]


@pytest.fixture
def old() -> Iterator[Any]:
    """Give a table of the community package in SQLite, empty."""
    with planting.planted("message-store sqlite") as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "file"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty storage of each kind in turn."""
    if request.param == "file":
        yield f"file:{tmp_path}/chats"
    else:
        with servers.migrated_url(request.param) as url:
            yield url


def test_into_every_storage(old: Any, target: str, cli: Run) -> None:
    """What arrives is the same in each; the second time nothing is new."""
    old.add("one", RAW)
    old.add("two", [human_element(str(number)) for number in range(700)])

    first = json.loads(cli("import", *options(old), "--url", target, "--json").out)["sources"]
    again = json.loads(cli("import", *options(old), "--url", target, "--json").out)["sources"]

    counts = {
        "sessions": 2,
        "skipped_sessions": 0,
        "refused_sessions": 0,
        "damaged": 0,
        "expiring_sessions": 0,
    }
    total = len(RAW) + 700
    told = [
        {name: one[name] for name in (*counts, "new_messages", "known_messages")} for one in first + again
    ]
    assert [
        {**counts, "new_messages": total, "known_messages": 0},
        {**counts, "new_messages": 0, "known_messages": total},
    ] == told
    with connect(target) as repository:
        assert MESSAGES == repository.get_messages("one")
        assert [str(number) for number in range(700)] == [
            message.content for message in repository.get_messages("two")
        ]


def test_what_is_damaged_is_named_counted_and_told_by_the_exit_code(old: Any, cli: Run) -> None:
    """The others are stored; one line for each fault, one error line at the end."""
    old.add("one", [human_element("a"), "broken", human_element("b")])

    ran = cli("import", *options(old), "--url", "sqlite:///new.db")

    assert (1, 1) == (ran.code, len(ran.errors))
    assert "damaged    message_store row 2: this is not JSON" in ran.err
    assert "1 session, 2 messages new, 0 known, 1 damaged" in ran.out
    assert "1 thing could not be imported" in ran.errors[0]


def test_no_password_is_shown(cli: Run) -> None:
    """Neither on success nor in an error, neither of the source nor of the target."""
    source = "redis://app:s3cret-one@127.0.0.1:1/0"
    target = "postgresql://app:s3cret-two@127.0.0.1:1/chat"

    runs = [
        cli("import", "--from", "redis-list", source, "--url", "sqlite:///new.db"),
        cli("import", "--from", "redis-list", source, "--url", target),
        cli("import", "--from", "message-store", target, "--url", "sqlite:///new.db"),
    ]

    assert [1, 1, 1] == [ran.code for ran in runs]
    assert "s3cret" not in "".join(ran.out + ran.err for ran in runs)
    assert "source     redis://127.0.0.1:1/0" in runs[0].err


def test_a_url_can_stand_in_the_environment(old: Any, cli: Run) -> None:
    """env:NAME keeps a password out of the list of processes; a name that is not set is refused."""
    old.add("one", [human_element("a")])
    words = ["import", "--from", "message-store", "env:OLD_URL", "--url", "sqlite:///new.db"]

    assert 2 == cli(*words).code
    assert 0 == cli(*words, OLD_URL=old.source).code


def test_owner_and_session_are_chosen(old: Any, cli: Run) -> None:
    """--session reads one, --user and --tenant own it."""
    for name in ("one", "two"):
        old.add(name, [human_element(name)])

    cli(
        "import",
        *options(old),
        "--session",
        "two",
        "--user",
        "ada",
        "--tenant",
        "t",
        "--url",
        "sqlite:///n.db",
    )

    found = json.loads(cli("sessions", "--json", "--url", "sqlite:///n.db").out)["sessions"]
    assert [("two", "ada", "t")] == [(one["session_id"], one["user_id"], one["tenant_id"]) for one in found]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--from", "mongo", "x"], "redis-list"),
        (["--table", "t", "x.json"], "--from"),
        (["--from", "json-file", "x.json", "--prefix", "p"], "--prefix"),
        (["--from", "json-file", "x.json", "--format", "langchain"], "--format"),
        (["--from", "json-file", "x.json", "y.json", "--session", "s"], "one by one"),
        (["--from", "redis-list", "redis://h", "--table", "t"], "table"),
        (["--from", "dynamodb-item", "t"], "dynamodb://"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    words: list[str], told: str, cli: Run
) -> None:
    """One line says what to type; no file appears."""
    ran = cli("import", *words, "--url", "sqlite:///new.db")

    assert ran.code in (1, 2)
    assert 1 == len(ran.errors)
    assert told in ran.errors[0]
    assert not Path("new.db").exists()


def test_owners_of_a_file(old: Any, target: str, cli: Run, tmp_path: Path) -> None:
    """Each session gets the owner that a file names, in both forms; the others that of --user."""
    for name in ("one", "two", "three"):
        old.add(name, [human_element("a")])
    table = tmp_path / "owners.csv"
    table.write_text("session,user,tenant\none,ada,\ntwo,ken,acme\n", encoding="utf-8")
    cli("import", *options(old), "--url", target, "--owners", str(table), "--user", "nobody")

    with connect(target) as repository:
        owners = {one.session_id: (one.user_id, one.tenant_id) for one in repository.list_sessions().items}
    assert {"one": ("ada", None), "two": ("ken", "acme"), "three": ("nobody", None)} == owners
    table.write_text(json.dumps({"one": "ada", "two": {"user": "ken", "tenant": "acme"}}), encoding="utf-8")
    assert 0 == cli("import", *options(old), "--url", target, "--owners", str(table)).code


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "no columns session and user"),
        ("session,user\none,\n", "line 2"),
        ("session,user\none,ada\none,ken\n", "two owners"),
        ('{"one": 7}', "not text"),
        ('{"one": ', "not JSON"),
    ],
)
def test_a_file_of_owners_that_is_none(text: str, told: str, old: Any, cli: Run, tmp_path: Path) -> None:
    """What is wrong with it is said before anything is written."""
    old.add("one", [human_element("a")])
    table = tmp_path / "owners"
    table.write_text(text, encoding="utf-8")
    run = cli("import", *options(old), "--url", f"file:{tmp_path}/chats", "--owners", str(table))

    assert 0 != run.code
    assert told in run.err
    assert not (tmp_path / "chats").exists()


def test_before_what_was_said_since(old: Any, target: str, cli: Run) -> None:
    """A session that was continued here first is refused, and with --before gets its old messages at its beginning."""
    old.add("one", [human_element("a"), human_element("b")])
    with connect(target) as repository:
        repository.scope(user_id="ada").add_messages("one", [HumanMessage("new")])
    refused = cli("import", *options(old), "--url", target)
    assert 1 == refused.code
    assert "--before" in refused.err
    runs = [cli("import", *options(old), "--url", target, "--before").code for _ in range(2)]

    assert [0, 0] == runs
    with connect(target) as repository:
        assert ["a", "b", "new"] == [one.content for one in repository.get_messages("one")]
        assert "ada" == repository.get_session("one").user_id


def test_a_source_in_which_nothing_is_found_is_no_success(cli: Run, sqlite_url: str, folder: Path) -> None:
    """A wrong prefix, table or session finds nothing: the exit code says so, and what to check."""
    old = f"sqlite:///{folder}/old.db"
    execute(old, "CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")

    ran = cli("import", "--from", "message-store", old, "--url", sqlite_url)

    assert 1 == ran.code
    assert f"chatstore: no session was found in {old}: check its name" in ran.err


def test_before_belongs_to_sources(cli: Run, tmp_path: Path) -> None:
    """--before without --from is refused."""
    run = cli("import", str(tmp_path / "x.json"), "--url", "memory:", "--before")

    assert 0 != run.code
    assert "--from" in run.err
