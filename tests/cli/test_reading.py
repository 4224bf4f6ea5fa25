"""sessions, show and search: what people see, and the keys that programs rely on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from chatstore.cli.samples import samples
from chatstore.connect import connect
from chatstore.messages import AIMessage, HumanMessage, ToolMessage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

SESSION = {
    "session_id",
    "tenant_id",
    "user_id",
    "title",
    "metadata",
    "message_count",
    "last_position",
    "revision",
    "forked_from",
    "forked_at",
    "created_at",
    "updated_at",
    "archived_at",
    "expires_at",
}
HIT = {
    "session_id", "position", "message_id", "type", "content", "snippet", "highlights", "rank", "created_at", "title",
    "tenant_id", "user_id",
}  # fmt: skip


def listed(ran: Any) -> list[str]:
    """Return the session ids in the JSON that was printed."""
    return [session["session_id"] for session in json.loads(ran.out)["sessions"]]


# ------------------------------------------------------------------------------------------------ sessions


def test_sessions_are_a_table(filled: str, cli: Run) -> None:
    """Titles, ids, owners, counts and times stand on a line for each session; nothing is cut in a pipe."""
    lines = cli("sessions", "--url", filled).out.splitlines()

    assert ["title", "session", "user", "tenant", "messages"] == lines[0].split()[:5]
    titles = [sample.title for sample in reversed(samples())]
    assert titles == [re.split("  +", line)[0] for line in lines[2:]]
    assert ["しまなみ海道の準備", "kenji-touring", "kenji", "wheelhouse", "6"] == lines[5].split()[:5]


def test_sessions_for_programs(filled: str, cli: Run) -> None:
    """The keys of the reference page, all of them."""
    told = json.loads(cli("sessions", "--url", filled, "--json").out)

    assert {"sessions", "next_cursor"} == told.keys()
    assert [SESSION] * 5 == [session.keys() for session in told["sessions"]]
    assert told["next_cursor"] is None
    assert UTC == datetime.fromisoformat(told["sessions"][0]["updated_at"]).tzinfo


def test_paging_shows_every_session_once(filled: str, cli: Run) -> None:
    """The cursor of each page leads to the next; the last page says none."""
    pages: list[list[str]] = []
    cursor: list[str] = []
    while not pages or cursor[1]:
        ran = cli("sessions", "--url", filled, "--limit", "2", "--json", *cursor)
        pages.append(listed(ran))
        cursor = ["--cursor", json.loads(ran.out)["next_cursor"]]

    assert [2, 2, 1] == [len(page) for page in pages]
    assert [sample.session_id for sample in reversed(samples())] == [one for page in pages for one in page]


def test_a_page_says_how_to_go_on(filled: str, cli: Run) -> None:
    """The hint on stderr holds a cursor that works."""
    said = cli("sessions", "--url", filled, "--limit", "3").err
    cursor = said.split("--cursor ")[1].split()[0]

    assert ["kenji-touring", "ada-brakes"] == listed(
        cli("sessions", "--url", filled, "--limit", "3", "--cursor", cursor, "--json")
    )
    wrong = cli("sessions", "--url", filled, "--user", "ada", "--cursor", cursor)
    assert (1, True) == (wrong.code, "other filters" in wrong.errors[0])


def test_filters(filled: str, cli: Run) -> None:
    """Owner, archive and time choose what is listed."""
    with connect(filled) as repository:
        repository.update_session("ada-brakes", archived=True)

    assert ["kenji-invoice", "kenji-touring"] == listed(
        cli("sessions", "--url", filled, "--user", "kenji", "--json")
    )
    assert [] == listed(cli("sessions", "--url", filled, "--tenant", "nobody", "--json"))
    assert ["ada-brakes"] == listed(cli("sessions", "--url", filled, "--archived", "--json"))
    assert 4 == len(listed(cli("sessions", "--url", filled, "--json")))
    assert 5 == len(listed(cli("sessions", "--url", filled, "--all", "--since", "1h", "--json")))
    assert [] == listed(cli("sessions", "--url", filled, "--since", "2100-01-01", "--json"))
    assert "no sessions\n" == cli("sessions", "--url", filled, "--tenant", "nobody").out


# ------------------------------------------------------------------------------------------------ show


def test_show_reads_like_a_conversation(filled: str, cli: Run) -> None:
    """Who, when and what, in order; a tool call and its result take a line each."""
    lines = cli("show", "ada-brakes", "--url", filled).out.splitlines()

    heads = [line.split("  ")[0] for line in lines if line.startswith("#")]
    assert ["#1 system", "#2 user", "#3 assistant"] == heads[:3]
    assert "    About 2 mm, I'd say 😬" in lines
    assert '    → find_part(kind="brake pads", wheel="front")' in lines
    assert '    ← {"sku": "BP-20", "price_eur": 12.5, "in_stock": 7}' in lines


def test_show_unfolds(filled: str, cli: Run) -> None:
    """--full shows whole arguments and results, ids, tokens and metadata; without it long ones are cut."""
    long = "x" * 500
    with connect(filled) as repository:
        call = {"name": "f", "args": {"text": long}, "id": "call_9", "type": "tool_call"}
        repository.add_messages("ada-chain", [AIMessage("", tool_calls=[call], id="m9")])
        repository.add_messages("ada-chain", [ToolMessage(f"{long}\nend", tool_call_id="call_9")])

    folded, full = (cli("show", "ada-chain", "--url", filled, *more).out for more in ([], ["--full"]))

    assert long not in folded
    assert "(504 characters, --full shows all)" in folded
    assert 2 == full.count(long)
    assert all(
        word in full for word in ("call_9", "id m9", "tokens 22 in, 27 out", '"bike": "gravel"', "    end")
    )


def test_a_failed_tool_is_marked_without_colour(filled: str, cli: Run) -> None:
    """Folded or whole, a tool that failed and a call that is no JSON say so in a word; others do not."""
    call = {"name": "book", "args": '{"day": ', "id": "call_2", "type": "invalid_tool_call"}
    with connect(filled) as repository:
        repository.add_messages(
            "ada-chain",
            [
                ToolMessage("no answer", tool_call_id="call_1", name="book", status="error"),
                ToolMessage("no answer", tool_call_id="call_2", name="find"),
                AIMessage("", invalid_tool_calls=[call]),
            ],
        )

    folded, full = (cli("show", "ada-chain", "--url", filled, *more).out for more in ([], ["--full"]))

    assert [1, 1] == [shown.count("(failed)") for shown in (folded, full)]
    assert [1, 1] == [shown.count(" tool book (failed)  2") for shown in (folded, full)]
    assert '→ book({"day": ) (invalid)' in folded
    assert "→ book call_2 (invalid)" in full


def test_full_says_which_model_spoke_and_why_it_stopped(filled: str, cli: Run) -> None:
    """The names of several providers are understood; without --full there is none of it."""
    abouts = [
        {"model_name": "large-1", "finish_reason": "length"},
        {"model": "small-2", "stop_reason": "end_turn"},
    ]
    with connect(filled) as repository:
        repository.add_messages("ada-chain", [AIMessage("Hm", response_metadata=about) for about in abouts])

    folded, full = (cli("show", "ada-chain", "--url", filled, *more).out for more in ([], ["--full"]))

    said = ["model large-1", "finish reason length", "model small-2", "finish reason end_turn"]
    assert [1] * 4 == [full.count(one) for one in said]
    assert [0] * 4 == [folded.count(one) for one in said]


def test_show_the_newest(filled: str, cli: Run) -> None:
    """--last counts from the end; 0 is none."""
    lines = cli("show", "ada-chain", "--last", "2", "--url", filled).out.splitlines()

    assert ["#2", "#3"] == [line.split()[0] for line in lines if line.startswith("#")]
    assert "#" not in cli("show", "ada-chain", "--last", "0", "--url", filled).out


def test_show_for_programs(filled: str, cli: Run) -> None:
    """The session and its messages, in the wire form with position, id and time."""
    told = json.loads(cli("show", "ada-chain", "--url", filled, "--json").out)

    assert {"session", "messages"} == told.keys()
    assert SESSION == told["session"].keys()
    assert {
        "type": "human",
        "data": {"content": "Got it 👍", "additional_kwargs": {}, "example": False},
        "position": 3,
        "message_id": "demo-3",
        "created_at": "2026-03-04T17:20:40+00:00",
    } == told["messages"][-1]


def test_a_long_session_is_shown_whole(cli: Run, sqlite_url: str) -> None:
    """More messages than are read at a time come all, in order."""
    with connect(sqlite_url) as repository:
        repository.add_messages("s", [HumanMessage(f"n{number}") for number in range(1201)])

    told = json.loads(cli("show", "s", "--url", sqlite_url, "--json").out)

    assert [f"n{number}" for number in range(1201)] == [
        message["data"]["content"] for message in told["messages"]
    ]


@pytest.mark.parametrize("command", [["show", "ada-brakes"], ["export", "ada-brakes"], ["export", "--all"]])
def test_a_damaged_record_hides_no_other(command: list[str], filled: str, cli: Run) -> None:
    """The others are shown, the damaged one is named, and the exit code is 1."""
    engine = create_engine(filled)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE chatstore_messages SET payload = '[1]' WHERE session_id = 'ada-brakes' AND position = 6"
            )
        )
    engine.dispose()

    ran = cli(*command, "--url", filled)

    assert 1 == ran.code
    assert "'ada-brakes' at 6" in ran.errors[0]
    assert "W-1041" in ran.out
    assert "BP-20" not in ran.out


# ------------------------------------------------------------------------------------------------ search


def test_search_shows_where_and_what(filled: str, cli: Run) -> None:
    """Session, position, who and when, and the words in their place."""
    ran = cli("search", "OIL", "chain", "--url", filled)

    assert (
        "ada-chain #1 user  2026-03-04 17:20:00  How often to oil a chain\n    How often should I oil the chain?\n"
        in ran.out
    )
    assert "" == ran.err
    assert "no message says all that\n" == cli("search", "unicorn", "--url", filled).out


def test_search_for_programs(filled: str, cli: Run) -> None:
    """The keys of the reference page, all of them."""
    told = json.loads(cli("search", "chain", "--url", filled, "--json").out)

    assert "chain" == told["query"]
    assert [HIT] * 3 == [hit.keys() for hit in told["hits"]]


def test_search_filters(filled: str, cli: Run) -> None:
    """Session, owner, type, time and number limit the hits."""

    def places(*options: str) -> set[tuple[str, int]]:
        hits = json.loads(cli("search", "chain", *options, "--url", filled, "--json").out)["hits"]
        return {(hit["session_id"], hit["position"]) for hit in hits}

    assert {("kenji-invoice", 3)} == places("--user", "kenji")
    assert {("ada-chain", 1), ("ada-chain", 2)} == places("--session", "ada-chain")
    assert {("ada-chain", 2)} == places("--type", "ai", "--type", "tool")
    assert {("kenji-invoice", 3)} == places("--until", "2026-03-04T12:00")
    assert {("ada-chain", 1), ("ada-chain", 2)} == places("--since", "2026-03-04T12:00Z")
    assert 1 == len(places("--limit", "1"))


@pytest.mark.parametrize(
    "words", ['"', "a OR b", "NEAR(", "*", "%", "'; DROP TABLE x; --", "--", "\x00", "\ud800"]
)
def test_no_query_is_syntax(words: str, filled: str, cli: Run) -> None:
    """Whatever is typed is words; nothing raises."""
    assert 0 == cli("search", "--url", filled, "--", words).code


# ------------------------------------------------------------------------------------------------ everywhere


@pytest.mark.parametrize("url", ["file:chats", "sqlite:///chats.db"])
def test_the_same_commands_on_another_storage(url: str, cli: Run, folder: Path) -> None:
    """Appending, listing, showing and searching differ in the URL only."""
    assert 0 == cli("append", "s", "needle", "--url", url).code

    assert ["s"] == listed(cli("sessions", "--url", url, "--json"))
    assert "needle" in cli("show", "s", "--url", url).out
    assert "needle" in cli("search", "Needle", "--url", url).out
    assert "needle" in cli("export", "s", "--url", url).out
    assert 0 == cli("delete", "s", "--yes", "--url", url).code
    assert [] == listed(cli("sessions", "--url", url, "--json"))
