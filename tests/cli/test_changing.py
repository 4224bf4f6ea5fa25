"""append, delete and purge: what they store, what they ask, and that a refusal does nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from chatstore.connect import connect
from chatstore.messages import AIMessage, HumanMessage, SystemMessage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run


# ------------------------------------------------------------------------------------------------ append


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("user", HumanMessage("Hi")),
        ("human", HumanMessage("Hi")),
        ("assistant", AIMessage("Hi")),
        ("ai", AIMessage("Hi")),
        ("system", SystemMessage("Hi")),
    ],
)
def test_every_role_is_its_message(role: str, message: object, cli: Run, sqlite_url: str) -> None:
    """The roles of the views and the types of the JSON are both understood."""
    assert 0 == cli("append", "s", "Hi", "--role", role, "--url", sqlite_url).code

    with connect(sqlite_url) as repository:
        assert [message] == repository.get_messages("s")


def test_the_default_holds_for_appending(cli: Run, folder: Path) -> None:
    """Without a URL the file in the current folder is made, used, and named."""
    first, second = cli("append", "s", "one"), cli("append", "s", "two", "--json")

    assert "using sqlite:///chatstore.db" in first.err
    assert "message 1 of session s, in sqlite:///chatstore.db\n" == first.out
    told = json.loads(second.out)
    assert {"session_id", "position", "message_id", "created_at", "revision"} == told.keys()
    assert ("s", 2) == (told["session_id"], told["position"])


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("text\n", "text"),
        ("a\nb\n\n", "a\nb\n"),
        ("a\r\n", "a"),
        ("", ""),
        ("é👍\x1b", "é👍\x1b"),
        (" x ", " x "),
    ],
)
def test_stdin_is_the_text(given: str, stored: str, cli: Run, sqlite_url: str) -> None:
    """All of stdin is the message but one line break at its end."""
    assert 0 == cli("append", "s", "-", "--url", sqlite_url, input=given.encode()).code

    with connect(sqlite_url) as repository:
        assert [stored] == [message.content for message in repository.get_messages("s")]


def test_stdin_that_is_no_text_is_refused(cli: Run, sqlite_url: str) -> None:
    """Bytes that are not UTF-8 are an error, and nothing is stored."""
    ran = cli("append", "s", "-", "--url", sqlite_url, input=b"\xff\xfe")

    assert 1 == ran.code
    assert "UTF-8" in ran.errors[0]
    assert (
        "no sessions" in cli("sessions", "--url", sqlite_url).out or cli("sessions", "--url", sqlite_url).code
    )


def test_an_id_is_stored_once(cli: Run, sqlite_url: str) -> None:
    """The same id again answers with the first position; with another text it is refused."""
    told = [
        json.loads(cli("append", "s", "Hi", "--id", "m1", "--json", "--url", sqlite_url).out)
        for _ in range(2)
    ]

    assert told[0] == told[1]
    assert 1 == cli("append", "s", "Ho", "--id", "m1", "--url", sqlite_url).code


def test_a_session_belongs_to_who_began_it(cli: Run, sqlite_url: str) -> None:
    """--user and --tenant own a new session; somebody else's is refused and told nothing about."""
    cli("append", "s", "Hi", "--user", "ada", "--tenant", "t", "--url", sqlite_url)

    ran = cli("append", "s", "Hi", "--user", "kenji", "--url", sqlite_url)

    [session] = json.loads(cli("sessions", "--json", "--url", sqlite_url).out)["sessions"]
    assert ("ada", "t", 1) == (session["user_id"], session["tenant_id"], session["message_count"])
    assert 1 == ran.code
    assert "ada" not in ran.err


def test_memory_says_that_it_ends(cli: Run) -> None:
    """What is stored nowhere is not reported as kept without a word."""
    assert "ends with this command" in cli("append", "s", "Hi", "--url", "memory:").err


# ------------------------------------------------------------------------------------------------ delete


def test_delete_counts_and_refuses_where_nobody_can_be_asked(filled: str, cli: Run) -> None:
    """Without a terminal and without --yes nothing is deleted, also if stdin says yes."""
    ran = cli("delete", "ada-brakes", "--url", filled, input="y\n")

    assert (2, "") == (ran.code, ran.out)
    assert f"target     {filled}" in ran.err
    assert "Squeaking brakes" in ran.err
    assert "11 messages" in ran.err
    assert "add --yes" in ran.errors[0]
    assert "ada-brakes" in cli("sessions", "--url", filled).out


def test_delete_deletes_one_session(filled: str, cli: Run) -> None:
    """The session goes with its messages, the others stay; a second time it is an error."""
    ran = cli("delete", "ada-brakes", "--yes", "--json", "--url", filled)

    assert {"session_id": "ada-brakes", "deleted": True, "messages": 11} == json.loads(ran.out)
    assert 4 == len(json.loads(cli("sessions", "--json", "--url", filled).out)["sessions"])
    assert 1 == cli("delete", "ada-brakes", "--yes", "--url", filled).code


# ------------------------------------------------------------------------------------------------ purge


@pytest.fixture
def aged(filled: str) -> str:
    """Give the samples with one session archived and one expired."""
    with connect(filled) as repository:
        repository.update_session("ada-brakes", archived=True)
        repository.update_session("ada-chain", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    return filled


@pytest.mark.parametrize(
    ("options", "sessions", "messages"),
    [
        ([], 1, 3),
        (["--expired"], 1, 3),
        (["--archived"], 1, 11),
        (["--archived", "--expired"], 0, 0),
        (["--updated-before", "2100-01-01"], 5, 29),
        (["--updated-before", "1d"], 0, 0),
        (["--updated-before", "2100-01-01", "--archived"], 1, 11),
    ],
)
def test_purge_deletes_what_it_counted(
    options: list[str], sessions: int, messages: int, aged: str, cli: Run
) -> None:
    """A dry run says what the real one does, and does nothing."""
    dry = json.loads(cli("purge", *options, "--dry-run", "--json", "--url", aged).out)
    wet = json.loads(cli("purge", *options, "--yes", "--json", "--url", aged).out)
    again = json.loads(cli("purge", *options, "--yes", "--json", "--url", aged).out)

    assert {"sessions": sessions, "messages": messages, "states": 0, "dry_run": True} == dry
    assert {"sessions": sessions, "messages": messages, "states": 0, "dry_run": False} == wet
    assert 0 == again["sessions"]


def test_purging_all_of_an_owner_deletes_their_states(aged: str, cli: Run) -> None:
    """Named states of a user go with their sessions, or alone where there are none; those of others stay."""
    with connect(aged) as repository:
        for owner in ({"user_id": "ada"}, {"user_id": "ada", "tenant_id": "t"}, {"user_id": "bob"}):
            repository.scope(**owner).set_states("memory", {"of": owner, "too": None})
        repository.set_states("memory", {"of": None})

        assert (
            4 == json.loads(cli("purge", "--user", "ada", "--dry-run", "--json", "--url", aged).out)["states"]
        )
        assert (
            0
            == json.loads(cli("purge", "--user", "ada", "--expired", "--yes", "--json", "--url", aged).out)[
                "states"
            ]
        )
        assert 7 == len([*repository.iter_states()])
        ran = cli("purge", "--user", "ada", "--yes", "--url", aged)
        assert "4 named states" in ran.out
        assert [None, "bob", "bob"] == sorted(
            (state.user_id for state in repository.iter_states()), key=lambda user: user or ""
        )
        assert "2 named states" in cli("purge", "--user", "bob", "--yes", "--url", aged).out


def test_purge_refuses_where_nobody_can_be_asked(aged: str, cli: Run) -> None:
    """It shows the counts, exits with 2 and does nothing; where nothing would go it asks nothing."""
    ran = cli("purge", "--archived", "--url", aged)

    assert (2, "") == (ran.code, ran.out)
    assert "1 session, 11 messages" in ran.err
    assert 1 == json.loads(cli("purge", "--archived", "--dry-run", "--json", "--url", aged).out)["sessions"]
    assert 0 == cli("purge", "--updated-before", "1d", "--url", aged).code


# ------------------------------------------------------------------------------------------------ close-answers


def test_answers_of_dead_processes_are_counted_and_closed(
    cli: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left streaming is counted by doctor and closed by close-answers, which says how many."""
    with connect(sqlite_url) as repository:
        answer = repository.begin_answer("s", [HumanMessage("Hi")])
        assert "to close   0 answers; nothing was changed (--dry-run)\n" == (
            cli("close-answers", "--dry-run", "--url", sqlite_url).out
        )
        monkeypatch.setattr("chatstore.repository.ABANDONED_AFTER", timedelta(seconds=-1))

        advice = json.loads(cli("doctor", "--json", "--url", sqlite_url).out)["advice"]
        assert "1 answer left streaming by processes that died: run chatstore close-answers" in advice
        assert "closed     1 answer\n" == cli("close-answers", "--url", sqlite_url).out
        assert {"answers": 0, "dry_run": False} == json.loads(
            cli("close-answers", "--json", "--url", sqlite_url).out
        )
        assert "abandoned" == repository.get_message("s", 2).finish_reason
        answer.finish()
