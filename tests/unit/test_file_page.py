"""The page's one file: exactly its elements, and what is derived where nothing is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from chatstore.backends.file import SESSION, SingleFileRepository
from chatstore.errors import (
    Conflict,
    InvalidMessage,
    MessageConflict,
    MessageNotFound,
    NotSupported,
    SessionNotFound,
)
from chatstore.histories import FileChatMessageHistory
from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatstore.messages import Message

STORY = [
    {"type": "human", "data": {"content": "Hello!", "additional_kwargs": {}, "example": False}},
    {
        "type": "ai",
        "data": {
            "content": "Hello there! How can I assist you today?",
            "additional_kwargs": {},
            "example": False,
        },
    },
]


def test_the_file_of_the_page(tmp_path: Path) -> None:
    """The page's conversation gives the page's file, equal as JSON, an element a line, and nothing beside it."""
    path = tmp_path / "our_conversation.txt"
    history = FileChatMessageHistory(path)
    history.add_user_message("Hello!")
    history.add_ai_message("Hello there! How can I assist you today?")

    assert STORY == json.loads(path.read_text())
    assert ["[", "{", "{", "]"] == [line[0] for line in path.read_text().splitlines()]
    assert [path] == list(tmp_path.iterdir())
    assert history.messages == FileChatMessageHistory(str(path)).messages
    history.clear()

    assert [] == json.loads(path.read_text())
    assert [] == history.messages


def test_nothing_but_type_and_data_is_written(tmp_path: Path) -> None:
    """Ids of the client and unknown types are kept; generated ids, positions and times are not written."""
    path = tmp_path / "page.json"
    odd = {"content": "x", "id": 7, "more": {"a": [None, 1.5]}}
    given: list[Message] = [
        HumanMessage("a"),
        AIMessage("b", id="i"),
        OpaqueMessage(type="developer", data=odd),
    ]
    records = SingleFileRepository(path).add_messages(SESSION, given)

    assert [{"type", "data"}] * 3 == [set(element) for element in json.loads(path.read_text())]
    assert odd == json.loads(path.read_text())[2]["data"]
    assert given == [record.message for record in records] == SingleFileRepository(path).get_messages(SESSION)
    assert [(1, "#1"), (2, "i"), (3, "7")] == [
        (record.position, record.message_id) for record in SingleFileRepository(path).get_records(SESSION)
    ]


def test_records_are_found_under_the_ids_they_were_told(tmp_path: Path) -> None:
    """What add_messages and replace_messages return is what get_message finds, by position and by id."""
    repository = SingleFileRepository(tmp_path / "page.json")
    for add in (repository.add_messages, repository.add_messages, repository.replace_messages):
        for record in add(SESSION, [HumanMessage("a"), AIMessage("b")]):
            for key in (record.position, record.message_id):
                found = repository.get_message(SESSION, key)
                assert (record.message, record.position, record.message_id) == found[:3]
    for missing in ("#3", "#0", "#01", "#", "3", "i", 0, 3):
        with pytest.raises(MessageNotFound):
            repository.get_message(SESSION, missing)


def test_ids_are_the_key_of_a_repetition(tmp_path: Path) -> None:
    """A message with an id is stored once, also by another process; another body with it is refused."""
    path = tmp_path / "page.json"
    first = SingleFileRepository(path).add_messages(SESSION, [HumanMessage("a", id="i"), AIMessage("b")])
    again = SingleFileRepository(path).add_messages(SESSION, [HumanMessage("a", id="i")])

    assert [first[0][:3]] == [record[:3] for record in again]
    with pytest.raises(MessageConflict):
        SingleFileRepository(path).add_messages(SESSION, [HumanMessage("other", id="i"), HumanMessage("new")])
    assert 2 == SingleFileRepository(path).count_messages(SESSION)


def test_positions_are_places(tmp_path: Path) -> None:
    """After a deletion those behind move up; windows count in the places there are."""
    repository = SingleFileRepository(tmp_path / "page.json")
    repository.add_messages(SESSION, [HumanMessage(str(number)) for number in range(1, 8)])
    repository.delete_message(SESSION, 2)
    repository.update_message(SESSION, 2, AIMessage("three"))
    popped = repository.pop_message(SESSION)

    assert popped is not None
    assert "7" == popped.message.content
    assert ["1", "three", "4", "5", "6"] == [message.content for message in repository.get_messages(SESSION)]
    assert [3, 4] == [record.position for record in repository.get_records(SESSION, before=5, last=2)]
    assert [3, 4] == [record.position for record in repository.get_records(SESSION, after=2, limit=2)]
    assert [] == repository.get_messages(SESSION, after=5) == repository.get_messages(SESSION, before=1)
    repository.truncate(SESSION, after=1)
    (added,) = repository.add_messages(SESSION, [HumanMessage("next")])
    assert 2 == added.position


def test_a_revision_grows_with_every_change(tmp_path: Path) -> None:
    """Each change moves the revision on, and a stale one is refused; reading does not move it."""
    repository = SingleFileRepository(tmp_path / "page.json")
    revisions = [0]
    changes: list[Callable[[], object]] = [
        lambda: repository.add_messages(SESSION, [HumanMessage("a")], expected_revision=0),
        lambda: repository.add_messages(SESSION, [HumanMessage("b")], expected_revision=revisions[-1]),
        lambda: repository.update_message(SESSION, 1, HumanMessage("c"), expected_revision=revisions[-1]),
        lambda: repository.delete_message(SESSION, 1),
        lambda: repository.clear(SESSION),
        lambda: repository.replace_messages(SESSION, [HumanMessage("d")], expected_revision=revisions[-1]),
    ]
    for change in changes:
        change()
        revisions.append(repository.get_records(SESSION).revision)
        assert revisions[-1] == repository.get_session(SESSION).revision
        assert revisions[-2] < revisions[-1]
        with pytest.raises(Conflict):
            repository.add_messages(SESSION, [HumanMessage("x")], expected_revision=revisions[-2])


def test_what_one_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    """Operations on sessions name the backends that have them, and so does a scope or another session."""
    repository = SingleFileRepository(tmp_path / "page.json")
    mine = repository.scope(user_id="u")
    calls: dict[str, Callable[[], object]] = {
        "create_session": lambda: repository.create_session(SESSION),
        "update_session": lambda: repository.update_session(SESSION, title="t"),
        "delete_session": lambda: repository.delete_session(SESSION),
        "list_sessions": repository.list_sessions,
        "fork_session": lambda: repository.fork_session(SESSION, "other"),
        "load_records": lambda: repository.load_records(SESSION, repository.get_records(SESSION)),
        "usage": repository.usage,
        "purge": repository.purge,
        "begin_answer": lambda: repository.begin_answer(SESSION),
        "close_answers": repository.close_answers,
        "get_states": lambda: repository.get_states("app"),
        "iter_states": lambda: [*repository.iter_states()],
        "set_states": lambda: repository.set_states("app", {"key": 1}),
        "delete_states": lambda: repository.delete_states("app"),
    }
    repository.add_messages(SESSION, [HumanMessage("a")])

    assert set(calls) == repository.capabilities.denied
    calls |= {
        "another session": lambda: repository.get_messages("other"),
        "an append to it": lambda: repository.add_messages("other", [HumanMessage("x")]),
        "an owner": lambda: mine.add_messages(SESSION, [HumanMessage("x")]),
        "an owner's look": lambda: mine.get_messages(SESSION),
    }
    for call in calls.values():
        with pytest.raises(NotSupported, match="sqlite:"):
            call()
    assert [HumanMessage("a")] == repository.get_messages(SESSION)


def test_a_message_that_json_cannot_say_is_refused(tmp_path: Path) -> None:
    """Two surrogates that every reader would join: nothing is written."""
    repository = SingleFileRepository(tmp_path / "page.json")
    repository.add_messages(SESSION, [HumanMessage("lone \ud83d"), HumanMessage("nul \0")])

    with pytest.raises(InvalidMessage):
        repository.add_messages(SESSION, [HumanMessage("fine"), HumanMessage("pair \ud83d\ude00")])
    assert ["lone \ud83d", "nul \0"] == [message.content for message in repository.get_messages(SESSION)]


def test_a_missing_file_is_a_missing_session(tmp_path: Path) -> None:
    """It reads as empty, has no session, and is made by the first append."""
    repository = SingleFileRepository(tmp_path / "page.json")

    assert [] == repository.get_messages(SESSION)
    assert [] == repository.search("a")
    with pytest.raises(SessionNotFound):
        repository.get_session(SESSION)
    with pytest.raises(SessionNotFound):
        repository.update_message(SESSION, 1, HumanMessage("x"))
    repository.add_messages(SESSION, [HumanMessage("a b")])

    assert ["a b"] == [hit.snippet for hit in repository.search("a")]
