"""From a source to a session: ids, sizes, repeats, interruptions at every point."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import chatstore
from chatstore.arguments import Scope
from chatstore.backends.memory.repository import MemoryRepository
from chatstore.errors import StorageUnavailable
from chatstore.incoming import loading
from chatstore.incoming.loading import Loader, Tally
from chatstore.incoming.session import Element, Incoming, parse_element
from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    from chatstore.contract import Answer, C, T

SEED = 20261125


def found(elements: Iterable[Element], session: str = "one", **more: Any) -> Incoming:
    """Return a session of a source."""
    return Incoming(session, "origin", session, elements, **more)


def texts(*contents: str) -> list[Element]:
    """Return elements of messages without ids."""
    return [Element(number, f"#{number}", HumanMessage(text)) for number, text in enumerate(contents, 1)]


def load(repository: Any, *sessions: Incoming, **options: Any) -> tuple[Tally, list[tuple[str, str, str]]]:
    """Load *sessions*; return the counts and what was left out."""
    left: list[tuple[str, str, str]] = []
    loader = Loader(repository, "test", say=lambda *told: left.append(told), **options)
    for session in sessions:
        loader.follow(session)
    return loader.tally, left


def test_the_same_id_twice_in_a_source() -> None:
    """With the same body it is one message; with another body the second is named, and the rest goes on."""
    elements = [
        Element(1, "#1", HumanMessage("a", id="x")),
        Element(2, "#2", HumanMessage("a", id="x")),
        Element(3, "#3", HumanMessage("b", id="x")),
        Element(4, "#4", HumanMessage("c")),
    ]
    repository = MemoryRepository()

    tally, left = load(repository, found(elements))

    assert Tally(sessions=1, new=2, known=1, damaged=1) == tally
    assert [("damaged", "#3")] == [(what, place) for what, place, _ in left]
    assert [(1, "a"), (4, "c")] == [
        (one.position, one.message.content) for one in repository.get_records("one")
    ]


def test_what_cannot_be_stored_is_named_and_the_rest_is_stored() -> None:
    """A number that JSON lacks, an id that none can be: each by its place."""
    elements = texts("a", "b", "c", "d")
    elements[1] = Element(2, "#2", AIMessage("b", response_metadata={"p": float("nan")}))
    elements[2] = Element(3, "#3", HumanMessage("c", id=" outer "))
    repository = MemoryRepository()

    tally, left = load(repository, found(elements))

    assert Tally(sessions=1, new=2, damaged=2) == tally
    assert ["#2", "#3"] == [place for _, place, _ in left]
    assert "response_metadata" in left[0][2]


def test_an_edited_or_deleted_message_is_not_undone() -> None:
    """What somebody changed in the target stays so; the session is refused, and said."""
    edited, deleted = MemoryRepository(), MemoryRepository()
    for repository in (edited, deleted):
        load(repository, found(texts("a", "b", "c")))
    edited.update_message("one", 2, HumanMessage("better"))
    deleted.delete_message("one", 2)

    assert Tally(refused=1, known=1) == load(edited, found(texts("a", "b", "c")))[0]
    assert Tally(refused=1) == load(deleted, found(texts("a", "b", "c", "d")))[0]
    assert ["a", "better", "c"] == [message.content for message in edited.get_messages("one")]
    assert ["a", "c"] == [message.content for message in deleted.get_messages("one")]


def test_a_source_that_was_trimmed_is_refused() -> None:
    """Where the oldest messages are gone, the ordinals are others': nothing is mixed."""
    repository = MemoryRepository()
    load(repository, found(texts("a", "b", "c")))

    tally, left = load(repository, found(texts("b", "c", "d")))

    assert Tally(refused=1) == tally
    assert "trimmed" in left[0][2]
    assert ["a", "b", "c"] == [message.content for message in repository.get_messages("one")]


def test_sessions_that_cannot_be_are_named_and_others_go_on() -> None:
    """Ids and owners that no session can have; what is left out on purpose; empty sessions are made."""
    repository = MemoryRepository()

    tally, left = load(
        repository,
        found(texts("a"), "x" * 256),
        found(texts("a"), "owner", user_id="\x07"),
        found([], "gone", skipped="it expired"),
        found([], "bad", fault="it is no session"),
        found([], "empty"),
        found([Element(1, "#1", fault="broken")], "nothing left"),
        found(texts("a")),
    )

    assert Tally(sessions=2, new=1, skipped=1, damaged=4) == tally
    assert ["damaged", "damaged", "skipped", "damaged", "damaged"] == [what for what, _, _ in left]
    assert {"empty", "one"} == {session.session_id for session in repository.list_sessions().items}


def test_large_messages_are_written_in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part ends at so many bytes, so that pictures do not fill the memory; steps add up to the messages."""
    monkeypatch.setattr(loading, "BYTES", 1000)
    steps: list[int] = []
    raw = '{"type": "human", "data": {"content": "' + "x" * 400 + '"}}'

    tally, _ = load(
        MemoryRepository(), found(parse_element(n, f"#{n}", raw) for n in range(1, 11)), step=steps.append
    )

    assert 10 == tally.new
    assert [3, 3, 3, 1] == steps


class Failing(MemoryRepository):
    """A storage that goes away after so many calls that write."""

    left = 0

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if operation.__name__ in ("create", "load"):
            if self.left == 0:
                raise StorageUnavailable("it went away: start it")
            self.left -= 1
        return super()._run(operation, call)


def test_interrupted_at_every_write_and_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the target goes away, repeating completes the import: the same ids and positions as in one go."""
    monkeypatch.setattr(loading, "MESSAGES", 3)
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    sessions = {f"s{n}": [str(chance.random()) for _ in range(chance.randrange(9))] for n in range(5)}

    def all_found() -> list[Incoming]:
        return [found(texts(*contents), name) for name, contents in sessions.items()]

    straight = MemoryRepository()
    load(straight, *all_found())
    expected = {name: _told(straight, name) for name in sessions}
    for writes in range(30):
        repository = Failing()
        repository.left = writes
        try:
            load(repository, *all_found())
            finished = True
        except StorageUnavailable:
            finished = False
        repository.left = -1
        load(repository, *all_found())
        assert expected == {name: _told(repository, name) for name in sessions}
    assert finished  # so every write of the import was the one that failed


def _told(repository: MemoryRepository, session: str) -> list[Any]:
    return [(one.position, one.message_id, one.message) for one in repository.get_records(session)]


def _both(repository: Any, session: str = "one") -> list[tuple[int, str]]:
    return [(one.position, str(one.message.content)) for one in repository.get_records(session)]


def test_old_messages_before_new_ones() -> None:
    """With *before*, what was said here already comes behind the source, with its ids, times and the session's data."""
    with chatstore.connect("memory:") as repository:
        repository.create_session("one", title="Garden", metadata={"a": 1})
        repository.add_messages("one", [HumanMessage("new", id="n"), HumanMessage("newer")])
        before = repository.get_records("one")
        told, _ = load(repository, found(texts("a", "b")), before=True)

        assert (1, 2, 0) == (told.sessions, told.new, told.refused)
        assert [(1, "a"), (2, "b"), (3, "new"), (4, "newer")] == _both(repository)
        assert [(one.message_id, one.created_at) for one in before] == [
            (one.message_id, one.created_at) for one in repository.get_records("one", after=2)
        ]
        session = repository.get_session("one")
        assert ("Garden", {"a": 1}) == (session.title, session.metadata)
        assert ["one"] == [one.session_id for one in repository.list_sessions().items]
        for again in (True, False):
            told, _ = load(repository, found(texts("a", "b")), before=again)
            assert (2, 0, 0) == (told.known, told.new, told.refused)
        assert 4 == repository.count_messages("one")


def test_old_messages_before_new_ones_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """However an import with *before* is interrupted, nothing is lost, and repeating it completes it."""
    names = ("create_session", "load_records", "replace_messages", "delete_session")
    stopped = 0
    for stop in range(1, 12):
        with chatstore.connect("memory:") as repository:
            repository.add_messages("one", [HumanMessage("new"), HumanMessage("newer")])
            left = [stop]

            def counted(name: str, left: list[int] = left) -> Any:
                real = getattr(type(repository), name)

                def call(self: Any, *args: Any, **options: Any) -> Any:
                    left[0] -= 1
                    if left[0] == 0:
                        raise KeyboardInterrupt
                    return real(self, *args, **options)

                return call

            with monkeypatch.context() as patched:
                for name in names:
                    patched.setattr(type(repository), name, counted(name))
                try:
                    load(repository, found(texts("a", "b")), before=True)
                except KeyboardInterrupt:
                    stopped += 1
            load(repository, found(texts("a", "b")), before=True)

            assert [(1, "a"), (2, "b"), (3, "new"), (4, "newer")] == _both(repository)
            assert ["one"] == [one.session_id for one in repository.list_sessions().items]
    assert stopped > 6


def test_a_session_that_is_written_to_while_it_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an application appends between the copy and the removal makes the import refuse the session, unchanged."""
    with chatstore.connect("memory:") as repository:
        repository.add_messages("one", [HumanMessage("new")])
        real = repository.replace_messages

        def late(*args: Any, **options: Any) -> Any:
            repository.add_messages("one", [HumanMessage("newest")])
            return real(*args, **options)

        monkeypatch.setattr(repository, "replace_messages", late)
        told, left = load(repository, found(texts("a")), before=True)

        assert (1, 0) == (told.refused, told.new)
        assert ["refused"] == [what for what, _, _ in left]
        assert [(1, "new"), (2, "newest")] == _both(repository)
        assert ["one"] == [one.session_id for one in repository.list_sessions().items]


def test_owners_and_expiry_as_told() -> None:
    """The owner that is named for a session comes before all others; an expiry date is left out where asked."""
    owners = {"one": Scope(None, "ada"), "two": Scope("acme", None)}
    later = datetime.now(UTC) + timedelta(days=1)
    with chatstore.connect("memory:") as repository:
        sessions = [
            found(texts("a"), name, expires_at=later, user_id="x") for name in ("one", "two", "three")
        ]
        load(repository, *sessions, owners=owners, user_id="ken", expires=False)
        stored = {one.session_id: one for one in repository.list_sessions().items}

        assert {"one": (None, "ada"), "two": ("acme", "ken"), "three": (None, "ken")} == {
            name: (one.tenant_id, one.user_id) for name, one in stored.items()
        }
        assert [None] * 3 == [one.expires_at for one in stored.values()]
