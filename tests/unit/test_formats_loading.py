"""Loading a file's conversations: twice is once, interrupted is completed, and nothing else is touched."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.connect import connect
from chatstore.errors import Conflict, InvalidMessage, MessageConflict
from chatstore.formats import find, reading, writing
from chatstore.incoming.loading import Loader
from chatstore.messages import AIMessage, HumanMessage
from tests.stored import texts

if TYPE_CHECKING:
    from chatstore.incoming.session import Incoming
    from chatstore.repository import Repository


def conversation(*texts: str, **about: Any) -> Incoming:
    """Return a conversation in which the user says *texts*."""
    spoken = [{"role": "user", "content": text} for text in texts]
    return next(reading.read(io.BytesIO(json.dumps({**about, "messages": spoken}).encode())))


def load(
    repository: Repository,
    session: Incoming,
    session_id: str,
    *,
    source: str,
    join: bool = False,
    user_id: str | None = None,
) -> tuple[int, int]:
    """Load *session* from a file called *source*; return how many messages were new, and how many known."""
    loader = Loader(repository, user_id=user_id)
    loader.append(session._replace(origin=source), session_id, join=join)
    return loader.tally.new, loader.tally.known


@pytest.fixture
def repository() -> Repository:
    """Give an empty repository."""
    return connect("memory:")


def test_the_same_file_twice_is_stored_once(repository: Repository) -> None:
    """Messages without ids are known again by their file, session and place; they stay without an id."""
    first = load(repository, conversation("a", "a"), "s", source="x.json")
    second = load(repository, conversation("a", "a"), "s", source="x.json")

    assert [(2, 0), (0, 2)] == [first, second]
    assert [HumanMessage("a")] * 2 == repository.get_messages("s")
    assert [None, None] == [message.id for message in repository.get_messages("s")]


def test_an_interrupted_import_is_completed(repository: Repository) -> None:
    """What is missing comes behind what was stored, without a gap."""
    load(repository, conversation("a", "b"), "s", source="x.json")

    assert (2, 2) == load(repository, conversation("a", "b", "c", "d"), "s", source="x.json")
    assert ["a", "b", "c", "d"] == texts(repository)
    assert [1, 2, 3, 4] == [record.position for record in repository.iter_records("s")]


def test_a_session_that_went_on_is_left_alone(repository: Repository) -> None:
    """Repeating an import after the application appended changes nothing and fails nothing."""
    load(repository, conversation("a"), "s", source="x.json")
    repository.add_messages("s", [AIMessage("b")])

    assert (0, 1) == load(repository, conversation("a"), "s", source="x.json")
    assert ["a", "b"] == texts(repository)


def test_a_session_with_other_messages_is_refused(repository: Repository) -> None:
    """Two conversations are never mixed because their names are equal."""
    load(repository, conversation("a"), "s", source="x.json")

    with pytest.raises(Conflict, match="--session"):
        load(repository, conversation("b"), "s", source="y.json")

    assert ["a"] == texts(repository)


def test_a_session_that_was_named_is_appended_to(repository: Repository) -> None:
    """With *join* the file's messages come behind what is there, once."""
    load(repository, conversation("a"), "s", source="x.json")
    for _ in range(2):
        load(repository, conversation("a", "b"), "s", source="y.json", join=True)

    assert ["a", "a", "b"] == texts(repository)


def test_a_message_that_changed_in_the_file_is_refused(repository: Repository) -> None:
    """The id stands for one body; the stored one is not overwritten."""
    load(repository, conversation("a"), "s", source="x.json")

    with pytest.raises(MessageConflict):
        load(repository, conversation("b"), "s", source="x.json")

    assert ["a"] == texts(repository)


def test_two_messages_of_one_id_are_refused_before_anything_is_written(repository: Repository) -> None:
    """A file that names two messages alike is an error that says which."""
    spoken = [{"type": "human", "content": text, "id": "m1"} for text in "ab"]
    twice = next(reading.read(io.BytesIO(json.dumps(spoken).encode())))

    with pytest.raises(InvalidMessage, match="'m1'"):
        load(repository, twice, "s", source="x.json")

    assert [] == repository.list_sessions().items


def test_owner_title_metadata_and_times_are_restored(repository: Repository) -> None:
    """The session's own data come from the file; an owner that is passed wins."""
    about = {
        "user_id": "ada",
        "tenant_id": "t",
        "title": "T",
        "a": 1,
        "archived_at": "2026-01-01T00:00:00+00:00",
    }

    load(repository, conversation("a", **about), "s", source="x.json", user_id="kenji")

    session = repository.get_session("s")
    assert ("kenji", "t", "T", {"a": 1}) == (
        session.user_id,
        session.tenant_id,
        session.title,
        session.metadata,
    )
    assert session.archived_at is not None


def test_a_store_can_be_copied(repository: Repository) -> None:
    """Positions with their gaps, ids and times are the same in the copy, also when it is copied again."""
    repository.add_messages("s", [HumanMessage("a"), HumanMessage("b", id="m1"), HumanMessage("c")])
    repository.delete_message("s", 2)
    stream, copy = io.BytesIO(), connect("memory:")
    writing.write_line(stream, find("langchain"), repository.get_session("s"), repository.iter_records("s"))
    [found] = reading.read(io.BytesIO(stream.getvalue()))

    assert [(2, 0), (0, 2)] == [load(copy, found, "s", source=name) for name in ("x", "y")]
    assert list(repository.iter_records("s")) == list(copy.iter_records("s"))


def test_times_are_the_clock_where_the_file_says_none(repository: Repository) -> None:
    """A record's time is aware and now."""
    before = datetime.now(UTC)
    load(repository, conversation("a"), "s", source="x.json")

    assert before <= next(repository.iter_records("s")).created_at <= datetime.now(UTC)
