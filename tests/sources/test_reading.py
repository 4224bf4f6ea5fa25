"""Every source, in the same way: what old packages wrote arrives whole, in order, once, and the source stays."""

from __future__ import annotations

from typing import Any

import pytest

from chatstore.backends.memory.repository import MemoryRepository
from chatstore.errors import Invalid, MissingDependency, StorageError
from chatstore.incoming.loading import Tally
from chatstore.messages import AIMessage, HumanMessage
from chatstore.sources import KINDS, read
from tests.sources.importing import moved
from tests.sources.shapes import MESSAGES, RAW, human_element

CLIENTS = {
    "redis-list": "redis",
    "redis-json": "redis",
    "dynamodb-item": "boto3",
    "cosmos-document": "azure.cosmos",
}
PACKAGES = {"redis": "redis", "boto3": "boto3", "azure.cosmos": "azure-cosmos"}


def test_every_shape_of_every_release_arrives(plant: Any) -> None:
    """The messages are equal, in their order, at the positions from 1 on; no id appears where there was none."""
    plant.add(plant.session("one"), RAW)
    repository = MemoryRepository()

    tally, left = moved(plant, repository)

    assert (Tally(sessions=1, new=len(RAW)), []) == (tally, left)
    assert MESSAGES == repository.get_messages(plant.session("one"))
    positions = [record.position for record in repository.get_records(plant.session("one"))]
    assert list(range(1, len(RAW) + 1)) == positions


def test_twice_is_once_and_the_source_stays(plant: Any) -> None:
    """The second import stores nothing, and everything in the source is as it was, to the byte."""
    plant.add(plant.session("one"), RAW)
    before, repository = plant.contents(), MemoryRepository()
    moved(plant, repository)
    records = repository.get_records(plant.session("one"))

    tally, _ = moved(plant, repository)

    assert Tally(sessions=1, known=len(RAW)) == tally
    assert records == repository.get_records(plant.session("one"))
    assert before == plant.contents()


def test_a_source_that_grew_is_caught_up_with(plant: Any) -> None:
    """Ids and positions of what was there stay; only what was added is new."""
    session, repository = plant.session("one"), MemoryRepository()
    plant.add(session, [human_element("a"), human_element("a")])
    moved(plant, repository)
    first = repository.get_records(session)
    plant.add(session, [human_element("a"), human_element("b")])

    tally, _ = moved(plant, repository)

    assert Tally(sessions=1, new=2, known=2) == tally
    assert first == repository.get_records(session)[:2]
    assert ["a", "a", "a", "b"] == [message.content for message in repository.get_messages(session)]


def test_many_pages_stay_in_order(plant: Any) -> None:
    """Elements over several pages and transactions come in their order, none lost or doubled."""
    session, repository = plant.session("one"), MemoryRepository()
    plant.add(session, [human_element(f"number {number}") for number in range(1, 1204)])

    tally, _ = moved(plant, repository)

    assert Tally(sessions=1, new=1203) == tally
    found = [message.content for message in repository.get_messages(session)]
    assert [f"number {number}" for number in range(1, 1204)] == found


def test_one_damaged_element_hides_no_other(plant: Any) -> None:
    """It is named by its place and counted; the others keep their places."""
    session, repository = plant.session("one"), MemoryRepository()
    bad = '{"type": "human", "data": ' if plant.exact else '{"type": "human", "data": 7}'
    if plant.kind == "json-file":
        bad = '{"type": nonsense}'
    plant.add(
        session, [human_element("a"), bad, '{"type": "tool", "data": {"content": "x"}}', human_element("b")]
    )

    tally, left = moved(plant, repository)

    assert Tally(sessions=1, new=2, damaged=2) == tally
    assert ["damaged", "damaged"] == [what for what, _, _ in left]
    assert all("2" in place or "row" in place for _, place, _ in left[:1])
    assert "tool_call_id" in left[1][2]
    assert [(1, "a"), (4, "b")] == [
        (record.position, record.message.content) for record in repository.get_records(session)
    ]


def test_one_session_of_many(store: Any) -> None:
    """Only the session that is named is read; one that is not there is an error that says where to look."""
    for name in ("one", "One", "two"):
        store.add(store.session(name), [human_element(name)])
    repository = MemoryRepository()

    tally, _ = moved(store, repository, store.session("one"))

    assert Tally(sessions=1, new=1) == tally
    assert [store.session("one")] == [one.session_id for one in repository.list_sessions().items]
    with pytest.raises(StorageError, match="holds nothing"):
        moved(store, repository, store.session("three"))


def test_sessions_that_differ_in_case_are_two(store: Any) -> None:
    """A is not a, whatever a database's collation says."""
    names = [store.session(name) for name in ("a", "A", "b")]
    for text in ("1", "2"):
        for name in names:
            store.add(name, [human_element(f"{name} {text}")])
    repository = MemoryRepository()

    tally, left = moved(store, repository)

    assert (Tally(sessions=3, new=6), []) == (tally, left)
    for name in names:
        assert [f"{name} 1", f"{name} 2"] == [message.content for message in repository.get_messages(name)]


def test_what_the_target_holds_is_never_mixed(plant: Any) -> None:
    """A session with other messages is refused and left as it is; one that only exists is filled."""
    session, repository = plant.session("one"), MemoryRepository()
    plant.add(session, [human_element("a"), human_element("b"), human_element("c")])
    mine = repository.scope(user_id=plant.owner) if plant.owner else repository
    mine.add_messages(session, [HumanMessage("mine"), AIMessage("mine too")])

    tally, left = moved(plant, repository)

    assert Tally(refused=1) == tally
    assert "delete the session" in left[0][2]
    assert ["mine", "mine too"] == [message.content for message in repository.get_messages(session)]
    repository.delete_session(session)
    mine.create_session(session, title="Ready")
    assert Tally(sessions=1, new=3) == moved(plant, repository)[0]
    assert "Ready" == repository.get_session(session).title


def test_a_session_that_went_on_in_the_target(plant: Any) -> None:
    """Messages that were added here after the import stay; what the source got since is refused, not shuffled in."""
    session, repository = plant.session("one"), MemoryRepository()
    plant.add(session, [human_element("a")])
    moved(plant, repository)
    repository.add_messages(session, [HumanMessage("later, here")])

    assert Tally(sessions=1, known=1) == moved(plant, repository)[0]
    plant.add(session, [human_element("later, there")])
    assert Tally(refused=1) == moved(plant, repository)[0]
    assert ["a", "later, here"] == [message.content for message in repository.get_messages(session)]


def test_owners_from_outside_come_first(plant: Any) -> None:
    """The owner that is passed is the sessions'; a session of another owner's is refused."""
    session, repository = plant.session("one"), MemoryRepository()
    plant.add(session, [human_element("a")])
    moved(plant, repository, tenant_id="t", user_id="kenji")

    tally, left = moved(plant, repository, tenant_id="t", user_id="eve")

    assert ("t", "kenji") == (
        repository.get_session(session).tenant_id,
        repository.get_session(session).user_id,
    )
    assert Tally(refused=1) == tally
    assert "another owner" in left[0][2]


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_missing_client_says_what_to_type(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip command is in the error; nothing else of chatstore needs the client."""
    import sys

    monkeypatch.setitem(sys.modules, CLIENTS[kind], None)
    source = {"dynamodb-item": "dynamodb://r/t", "cosmos-document": "http://h/d/c"}.get(kind, "redis://h")

    with pytest.raises(MissingDependency, match=rf"pip install .*\b{PACKAGES[CLIENTS[kind]]}\b"):
        next(read(kind, source))


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("redis-list", "redis://app:s3cret@127.0.0.1:1/0"),
        ("redis-json", "redis://app:s3cret@127.0.0.1:1/0"),
        ("dynamodb-item", "dynamodb://eu-west-1/t?endpoint_url=http://127.0.0.1:1"),
        ("message-store", "postgresql://app:s3cret@127.0.0.1:1/old"),
        ("message-store", "mysql://app:s3cret@127.0.0.1:1/old"),
    ],
)
def test_a_server_that_is_not_there_is_one_error_without_a_password(kind: str, source: str) -> None:
    """It names the place, says what to do, and nothing of the password; the driver's error is its cause."""
    with pytest.raises(StorageError) as caught:
        next(read(kind, source))

    assert "s3cret" not in str(caught.value)
    assert "check" in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("redis-list", "http://host"),
        ("redis-list", "redis://h:port"),
        ("dynamodb-item", "table"),
        ("dynamodb-item", "dynamodb://key:secret@eu-west-1/t"),
        ("cosmos-document", "cosmosdb://account/database"),
        ("cosmos-document", "AccountEndpoint=https://h/;AccountKey=c2VjcmV0;"),
        ("message-store", "old.db"),
        ("message-store", "nosuch://h/d"),
        ("json-file", "."),
    ],
)
def test_a_source_that_cannot_be_one_is_invalid(kind: str, source: str) -> None:
    """The right form is shown; what was typed is not, it may hold a secret."""
    with pytest.raises(Invalid) as caught:
        next(read(kind, source))

    assert "secret" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_of_another_source_is_refused(kind: str) -> None:
    """Nothing is opened for an option that would be ignored."""
    with pytest.raises(Invalid, match="nonsense"):
        read(kind, "whatever", options={"nonsense": "x"})


def test_an_unknown_source_is_told_with_the_known_ones() -> None:
    """The error names what there is."""
    with pytest.raises(Invalid, match="redis-list, redis-json"):
        read("mongo", "whatever")
