"""Real conversations, and 200 generated ones of their shape: all of it goes in, is found, and comes out equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.connect import connect
from tests import corpus, servers

if TYPE_CHECKING:
    from tests.cli.conftest import Run

#: Both on SQLite; on servers the real ones, or where they are missing the others.
RUNS = [("sqlite", True), ("sqlite", False), ("postgres", True), ("mariadb", True)]
IDS = ["sqlite-real", "sqlite-generated", "postgres", "mariadb"]


def chosen(kind: str, *, real: bool) -> list[dict[str, Any]]:
    """Return the real conversations if they lie beside the checkout, else generated ones."""
    found = corpus.real_conversations() if real else None
    if real and found is None and kind == "sqlite":
        pytest.skip("the real conversations do not lie beside this checkout")
    return found or corpus.conversations()


def paged(cli: Run, url: str) -> list[str]:
    """Return the ids of all sessions, read by following the cursors."""
    ids: list[str] = []
    cursor: list[str] = []
    while not cursor or cursor[1]:
        told = json.loads(cli("sessions", "--limit", "33", "--json", "--url", url, *cursor).out)
        ids += [session["session_id"] for session in told["sessions"]]
        cursor = ["--cursor", told["next_cursor"]]
    return ids


@pytest.mark.wide
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "real"), RUNS, ids=IDS)
def test_everything_goes_in_and_comes_out_equal(kind: str, real: bool, cli: Run) -> None:
    """Imported, imported again, listed, paged, searched and exported: equal, in order, on every database."""
    conversations = chosen(kind, real=real)
    messages = [one["traj"] for one in conversations]
    total = sum(map(len, messages))
    Path("all.json").write_text(json.dumps(conversations), encoding="utf-8")
    with servers.migrated_url(kind) as url:
        first, second = (
            json.loads(cli("import", "all.json", "--json", "--url", url).out)["files"][0] for _ in range(2)
        )
        exported = cli("export", "--all", "--format", "openai", "--url", url).out.splitlines()
        ids, found = paged(cli, url), search(cli, url, conversations)

    told = [json.loads(line) for line in exported]
    assert (total, 0, 0, total) == (
        *(first["new_messages"], first["known_messages"]),
        *(second["new_messages"], second["known_messages"]),
    )
    assert [f"all/{number}" for number in range(1, len(messages) + 1)] == [one["session_id"] for one in told]
    assert [one["session_id"] for one in reversed(told)] == ids
    assert messages == [one["messages"] for one in told]
    assert [one["user_id"] for one in conversations] == [one["user_id"] for one in told]
    assert [
        {key: value for key, value in one.items() if key not in {"user_id", "traj"}} for one in conversations
    ] == [one["metadata"] for one in told]
    assert found


def search(cli: Run, url: str, conversations: list[dict[str, Any]]) -> bool:
    """Tell whether a search for the id of each of three tool calls' results leads to the messages that hold it."""
    from chatstore.words import words_of

    for one in conversations[:3]:
        text = next(message["content"] for message in reversed(one["traj"]) if message["role"] == "user")
        query = " ".join(words_of(text)[:6])
        hits = json.loads(cli("search", "--limit", "1000", "--json", "--url", url, "--", query).out)["hits"]
        if text not in [hit["content"] for hit in hits]:
            return False
    return True


@pytest.mark.parametrize(("kind", "real"), RUNS, ids=IDS)
def test_the_rows_are_what_the_views_need(kind: str, real: bool, cli: Run) -> None:
    """Every tool call is a row of its view, with its name; types and columns are filled."""
    conversations = chosen(kind, real=real)
    from sqlalchemy import create_engine, text

    Path("all.json").write_text(json.dumps(conversations[:40]), encoding="utf-8")
    calls = corpus.tool_calls(conversations[:40])
    with servers.migrated_url(kind) as url:
        cli("import", "all.json", "--url", url)
        engine = create_engine(url)
        with engine.connect() as connection:
            names = connection.execute(text("SELECT name FROM chatstore_tool_calls")).scalars().all()
            roles = connection.execute(text("SELECT DISTINCT role FROM chatstore_transcript")).scalars().all()
        engine.dispose()

    assert sorted(call["function"]["name"] for call in calls) == sorted(names)
    assert {message["role"] for message in corpus.messages(conversations[:40])} == set(roles)


@pytest.mark.parametrize("real", [True, False])
def test_the_arguments_are_the_same_text(real: bool, cli: Run, sqlite_url: str) -> None:
    """Tool-call arguments are compared as text, not as JSON: not a blank is lost."""
    conversations = chosen("sqlite", real=real)
    Path("all.json").write_text(json.dumps(conversations[:20]), encoding="utf-8")
    cli("import", "all.json", "--url", sqlite_url)

    out = [
        json.loads(line)
        for line in cli("export", "--all", "--format", "openai", "--url", sqlite_url).out.splitlines()
    ]

    def arguments(found: list[dict[str, Any]], key: str) -> list[str]:
        calls = [call for one in found for message in one[key] for call in message.get("tool_calls") or []]
        return [call["function"]["arguments"] for call in calls]

    assert arguments(conversations[:20], "traj") == arguments(out, "messages")
    with connect(sqlite_url) as repository:
        assert 20 == len(repository.list_sessions().items)
