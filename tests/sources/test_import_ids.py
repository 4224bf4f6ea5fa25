"""Ids that imports give to messages without one: fixed for ever, or repeating an old import would store all twice."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from chatstore.backends.memory.repository import MemoryRepository
from chatstore.cli import main
from chatstore.connect import connect
from tests.sources.importing import moved
from tests.sources.shapes import human_element

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sources.planting import Plant

HELLO = '{"type": "human", "data": {"content": "Hello!"}}'
NAMESPACE = uuid.UUID("0c3c7f0a-6f0e-5b53-9a47-50a5b5b8e2d1")
#: Arguments of `import` after which there is one session, and the ids of its messages as the first release made them.
FILES: dict[str, tuple[str, list[str], str, list[str]]] = {
    "an array": (
        f"[{HELLO}, {HELLO}]",
        ["old.json"],
        "old",
        ["ef30b399-b44e-5712-a118-ab0ba01f7e15", "d75d4a96-f67f-5978-83b2-11e8a0cd68cf"],
    ),
    "an array, as a named session": (
        f"[{HELLO}]",
        ["old.json", "--session", "ada-1"],
        "ada-1",
        ["1718f774-a7ad-531c-b7d7-d214f975a2f7"],
    ),
    "the second of two conversations": (
        '[[], [{"role": "user", "content": "Hello!"}, {"role": "user", "content": "Hello!"}]]',
        ["old.json"],
        "old/2",
        ["9c052d67-d93d-5bbe-bcb7-cb54ebdc8a6e", "21ce00a5-1443-5abe-87fc-b66a26cadffd"],
    ),
    "a conversation with an id": (
        '{"thread_id": "Grüße", "messages": [{"role": "user", "content": "Hello!"}]}',
        ["old.json", "--prefix", "p"],
        "Grüße",
        ["bd9bd077-f077-5604-a12e-1beb038770b4"],
    ),
    "an array, element by element": (
        f"[{HELLO}, broken, {HELLO}]",
        ["old.json", "--from", "json-file"],
        "old",
        ["4f297396-9371-54a3-a523-4b08b14e07be", "99b5aa10-359b-5638-bed7-026bcc86b34f"],
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def import_ids(words: list[str], session: str) -> list[str]:
    """Import into a new SQLite file; return the ids of the messages of *session*."""
    CliRunner().invoke(main, ["import", *words, "--url", "sqlite:///new.db"], catch_exceptions=False)
    with connect("sqlite:///new.db") as repository:
        return [record.message_id for record in repository.get_records(session)]


@pytest.mark.parametrize("name", FILES)
def test_messages_of_files_keep_the_ids_of_the_first_release(name: str, folder: Path) -> None:
    """The ids of an import are these texts, whatever the release that makes them."""
    text, words, session, expected = FILES[name]
    (folder / "old.json").write_text(text, encoding="utf-8")

    assert expected == import_ids(words, session)


def test_messages_of_a_table_keep_the_ids_of_the_first_release(folder: Path) -> None:
    """A row's id is made from the table, the session and the row's key, not from where the database is."""
    with closing(sqlite3.connect(folder / "old.db")) as link, link:
        link.execute("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
        link.executemany("INSERT INTO message_store VALUES (?, 'one', ?)", [(7, HELLO), (9, HELLO)])

    found = import_ids(["--from", "message-store", "sqlite:///old.db"], "one")

    assert ["1da5b280-2f8b-5b88-93f5-59fa49021c45", "594da8c1-4ee1-58b3-889a-c6f056e32054"] == found


def test_messages_of_every_source_keep_their_ids(plant: Plant) -> None:
    """A message's id is the UUID of source, part, session and place, in this order and in this JSON."""
    session, repository = plant.session("one"), MemoryRepository()
    plant.add(session, [human_element("a"), human_element("b")])
    moved(plant, repository)

    parts: dict[str, Any] = {
        "redis-list": lambda: (plant.options["key_prefix"], (1, 2)),
        "message-store": lambda: (plant.options.get("table", "message_store"), ("1", "2")),
        "dynamodb-item": lambda: (plant.source.partition("?")[0].rpartition("/")[2], (1, 2)),
        "cosmos-document": lambda: ("/".join(plant.source.split("/")[-2:]), (1, 2)),
        "json-file": lambda: ("one.json", (1, 2)),
    }
    part, places = parts[plant.kind]()
    expected = [
        str(uuid.uuid5(NAMESPACE, json.dumps([plant.kind, part, session, place]))) for place in places
    ]
    assert expected == [record.message_id for record in repository.get_records(session)]
