"""copy: between any two storages everything arrives, both are compared, and whatever is not the same is said."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.backends.memory.repository import MemoryRepository
from chatstore.cli.session_copy import Pair, order_parents_first
from chatstore.cli.tolerant_reading import list_all_sessions
from chatstore.connect import connect
from chatstore.errors import StorageUnavailable
from chatstore.messages import HumanMessage
from tests import servers
from tests.sources.filling import LATE, fill, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chatstore.contract import Answer, C, T
    from tests.cli.conftest import Run


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Any]:
    """Give a function that gives the URL of a new, empty storage of a kind."""
    with ExitStack() as stack:
        numbers = iter(range(100))

        def place(kind: str) -> str:
            if kind == "file":
                return f"file:{tmp_path}/place{next(numbers)}"
            return str(stack.enter_context(servers.migrated_url(kind)))

        yield place


def test_a_grown_source_is_caught_up_with(places: Any, cli: Run) -> None:
    """New messages, sessions, titles and owners follow; what was there is not written again."""
    old, new = places("sqlite"), places("file")
    with connect(old) as repository:
        fill(repository)
        cli("copy", old, new)
        repository.add_messages("ids", [HumanMessage("new")])
        repository.update_session("ids", title="Named", user_id="kenji", metadata={"a": 1}, archived=True)
        repository.update_session("ends", expires_at=None)
        repository.add_messages("another", [HumanMessage("new too")])

        ran = cli("copy", old, new, "--json")

        assert (0, 2) == (ran.code, json.loads(ran.out)["new_messages"])
        with connect(new) as copied:
            assert told(repository) == told(copied)


def test_named_states_are_copied_with_everything_of_an_owner(places: Any, cli: Run) -> None:
    """All, or a user's; never with chosen sessions. What changed in the source since follows."""
    old, new = places("sqlite"), places("sqlite")
    with connect(old) as source, connect(new) as target:
        fill(source)
        source.set_states("app", {"a": 1})
        source.scope(user_id="kenji", tenant_id="t").set_states("app", {"a": {"b": [None, "東京"]}})

        assert 0 == json.loads(cli("copy", old, new, "--session", "ids", "--json").out)["states"]
        assert 1 == json.loads(cli("copy", old, new, "--user", "kenji", "--json").out)["states"]
        assert ["kenji"] == [state.user_id for state in target.iter_states()]
        source.set_states("app", {"a": 2, "b": 3})
        ran = cli("copy", old, new)
        assert (0, True) == (ran.code, "3 copied" in ran.out)
        kept = [
            [one._replace(revision=0, updated_at=LATE) for one in where.iter_states()]
            for where in (source, target)
        ]
        assert kept[0] == kept[1]


def test_named_states_that_the_target_cannot_keep_are_said(places: Any, cli: Run) -> None:
    """The sessions are copied all the same; the exit code and the words tell that something is not there."""
    old, new = places("sqlite"), places("file")
    with connect(old) as source:
        fill(source)
        source.scope(user_id="ada").set_states("app", {"theme": "dark"})
        ran = cli("copy", old, new)

        assert 1 == ran.code
        assert "'theme' of 'app', owner ada" in ran.err
        assert "keep the source" in ran.err
        with connect(new) as copied:
            assert told(source) == told(copied)


def test_only_what_is_chosen(places: Any, cli: Run) -> None:
    """--session, --user and --tenant choose; a session that is not there is an error before anything is written."""
    old, new = places("sqlite"), places("sqlite")
    with connect(old) as repository:
        fill(repository)

    assert 0 == cli("copy", old, new, "--session", "ids", "--session", "ends").code
    assert 0 == cli("copy", old, new, "--user", "kenji").code
    missing = cli("copy", old, new, "--session", "long", "--session", "nowhere")
    others = cli("copy", old, new, "--session", "ids", "--user", "kenji")

    assert (1, 1) == (missing.code, others.code)
    assert "nowhere" in missing.errors[0]
    with connect(new) as repository:
        found = set(list_all_sessions(repository, user_id=None, tenant_id=None))
    assert {"ids", "ends"} | {name for name in found if name.startswith("kenji")} == found
    assert len(found) > 2


def test_another_session_under_the_same_id_is_refused(places: Any, cli: Run) -> None:
    """It is left as it is, named, and the others are copied; the exit code tells."""
    old, new = places("sqlite"), places("sqlite")
    with connect(old) as repository, connect(new) as there:
        repository.add_messages("one", [HumanMessage("a"), HumanMessage("b")])
        repository.add_messages("two", [HumanMessage("c")])
        there.add_messages("one", [HumanMessage("mine")])
        before = told(there)["one"]

        ran = cli("copy", old, new)

        assert (1, 1) == (ran.code, len(ran.errors))
        assert "refused    one: the target's session 'one' holds messages" in ran.err
        assert "1 refused" in ran.errors[0]
        assert before == told(there)["one"]
        assert [HumanMessage("c")] == there.get_messages("two")


def test_what_was_changed_in_the_target_is_found(places: Any, cli: Run) -> None:
    """A message that was edited or deleted there, or more of them: named, with the position where it begins."""
    old, new = places("sqlite"), places("sqlite")
    with connect(old) as repository, connect(new) as there:
        for name in ("edited", "deleted", "longer", "shorter", "same"):
            repository.add_messages(name, [HumanMessage(f"{number}", id=f"m{number}") for number in range(5)])
        cli("copy", old, new)
        there.update_message("edited", 3, HumanMessage("better"))
        there.delete_message("deleted", 5)
        there.add_messages("longer", [HumanMessage("more")])
        repository.delete_message("shorter", 2)

        ran = cli("copy", old, new, "--json")

        states = {one["session_id"]: (one["state"], one["why"]) for one in json.loads(ran.out)["compared"]}
        assert 1 == ran.code
        assert ("same", "") == states["same"]
        assert ("differs", "from position 2 on the messages differ") == states["shorter"]
        assert "refused" == states["edited"][0]
        assert "refused" == states["deleted"][0]
        assert "refused" == states["longer"][0]
        assert "better" == there.get_message("edited", 3).message.content


def test_the_comparison_sees_every_difference() -> None:
    """Each thing that a copy keeps, changed by itself in the target, is reported; nothing else is."""
    source = MemoryRepository()
    fill(source)
    changes: dict[str, Any] = {
        "an edited message": lambda r: r.update_message("ids", 2, HumanMessage("other")),
        "a message less at the end": lambda r: r.pop_message("ids"),
        "a message less in the middle": lambda r: r.delete_message("ids", 2),
        "a message more": lambda r: r.add_messages("ids", [HumanMessage("more")]),
        "another title": lambda r: r.update_session("ids", title="x"),
        "another owner": lambda r: r.update_session("ids", user_id="x"),
        "another tenant": lambda r: r.update_session("ids", tenant_id="x"),
        "other metadata": lambda r: r.update_session("ids", metadata={"x": 1}),
        "archived": lambda r: r.update_session("ids", archived=True),
        "an end": lambda r: r.update_session("ids", expires_at=LATE),
        "gone": lambda r: r.delete_session("ids"),
    }
    for what, change in changes.items():
        target = MemoryRepository()
        pair = Pair(source, target)
        session = source.get_session("ids")
        pair.copy(session, [], lambda _steps: None)
        assert "" == pair.compare(session).difference
        change(target)
        assert pair.compare(session).difference, what


def test_a_record_at_another_place_or_time_is_a_difference() -> None:
    """The digest holds positions, ids and times, not only bodies."""
    source = MemoryRepository()
    source.add_messages("one", [HumanMessage("a"), HumanMessage("b")])
    session, records = source.get_session("one"), source.get_records("one")
    changed = [
        [records[0], records[1]._replace(position=3)],
        [records[0], records[1]._replace(message_id="other")],
        [records[0], records[1]._replace(created_at=LATE)],
        [records[0]._replace(message=records[1].message), records[1]._replace(message=records[0].message)],
    ]
    digests = set()
    for each in [records, *changed]:
        target = MemoryRepository()
        target.load_records("one", each)
        digests.add(Pair(target, source).compare(target.get_session("one")).digest)
        assert (each is not records) == bool(Pair(source, target).compare(session).difference)
    assert 5 == len(digests)


def test_a_session_that_changes_meanwhile_is_said(
    places: Any, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append, a new title and a deletion between copying and comparing are told as that, with exit code 1."""
    old, new = places("sqlite"), places("sqlite")
    with connect(old) as repository:
        for name in ("grows", "named", "goes", "stays"):
            repository.add_messages(name, [HumanMessage("a")])
        copy = Pair.copy

        def copy_and_change(self: Pair, session: Any, damaged: list[str], step: Any) -> int:
            new = copy(self, session, damaged, step)
            if session.session_id == "grows":
                repository.add_messages("grows", [HumanMessage("b")])
            elif session.session_id == "named":
                repository.update_session("named", title="x")
            elif session.session_id == "goes":
                repository.delete_session("goes")
            return new

        monkeypatch.setattr(Pair, "copy", copy_and_change)
        ran = cli("copy", old, new)
        monkeypatch.undo()

        assert 1 == ran.code
        assert ["goes", "grows", "named"] == sorted(
            line.split()[1].rstrip(":") for line in ran.err.splitlines() if line.startswith("changed")
        )
        assert "compared   1 session, 1 message: the same in both" in ran.out
        repeated = cli("copy", old, new)
        assert 0 == repeated.code, repeated.err


def test_damaged_records_of_the_source_are_named_and_the_others_copied(places: Any, cli: Run) -> None:
    """A row that cannot be read stays behind, is named with its position, and the exit code tells."""
    import sqlite3
    from contextlib import closing

    old, new = places("sqlite"), places("file")
    with connect(old) as repository:
        repository.add_messages("one", [HumanMessage(text) for text in "abc"])
    with closing(sqlite3.connect(old.removeprefix("sqlite:///"))) as link, link:
        link.execute("UPDATE chatstore_messages SET payload = '[]' WHERE position = 2")

    ran = cli("copy", old, new)

    assert (1, 1) == (ran.code, len(ran.errors))
    assert "damaged    one: 1 record of the source cannot be read ('one' at 2)" in ran.err
    with connect(new) as repository:
        assert [(1, "a"), (3, "c")] == [
            (record.position, record.message.content) for record in repository.get_records("one")
        ]


def test_forks_keep_where_they_came_from(places: Any, cli: Run) -> None:
    """A fork of a fork is copied behind both; one whose copied messages were changed is copied without the link."""
    old, new = places("sqlite"), places("file")
    with connect(old) as repository:
        repository.add_messages("root", [HumanMessage(text) for text in "abcd"])
        repository.fork_session("root", "a fork", through=3)
        repository.fork_session("a fork", "0 its fork")
        repository.fork_session("root", "edited fork", through=2)
        repository.update_message("edited fork", 1, HumanMessage("changed"))
        repository.add_messages("root", [HumanMessage("e")])

        ran = cli("copy", old, new)

        with connect(new) as copied:
            links = {
                name: copied.get_session(name).forked_from for name in ("a fork", "0 its fork", "edited fork")
            }
            assert {"a fork": "root", "0 its fork": "a fork", "edited fork": None} == links
            assert repository.get_messages("edited fork") == copied.get_messages("edited fork")
    assert 0 == ran.code
    assert ["edited fork"] == [
        line[11:].partition(":")[0] for line in ran.err.splitlines() if line.startswith("unlinked")
    ]


def test_forks_in_a_ring_come_once() -> None:
    """Ids that were deleted and forked anew may point at each other: each is copied, once."""
    repository = MemoryRepository()
    repository.add_messages("a", [HumanMessage("x")])
    repository.fork_session("a", "b")
    repository.delete_session("a")
    repository.fork_session("b", "a")

    assert ["a", "b"] == sorted(order_parents_first(repository, ["a", "b"])[0])


class Failing(MemoryRepository):
    """A storage that goes away after so many calls that write."""

    left = -1

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        if operation.__name__ in ("create_session", "load_records", "fork_session", "update_session"):
            if self.left == 0:
                raise StorageUnavailable("it went away: start it")
            self.left -= 1
        return super()._run(operation, call)


def test_interrupted_at_every_write_and_repeated() -> None:
    """Wherever the target goes away, repeating completes the copy, equal to one in one go."""
    source = MemoryRepository()
    fill(source)
    expected, stopped = told(source), 0
    for writes in range(60):
        target = Failing()
        target.left = writes
        for _ in range(2):
            try:
                for session_id in order_parents_first(source, list(expected))[0]:
                    Pair(source, target).copy(source.get_session(session_id), [], lambda _steps: None)
            except StorageUnavailable:
                stopped += 1
                target.left = -1
        assert expected == told(target)
    assert 10 < stopped < 60


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("memory:", "sqlite:///b.db"),
        ("sqlite:///a.db", "memory:"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("sqlite:///a.db", "sqlite:///./a.db"),
        ("env:NOTHING", "sqlite:///b.db"),
    ],
)
def test_what_cannot_be_meant_is_refused(source: str, target: str, cli: Run, folder: Path) -> None:
    """One line, exit code 2, and nothing is made."""
    ran = cli("copy", source, target)

    assert (2, 1) == (ran.code, len(ran.errors))
    assert [] == list(folder.iterdir())


def test_a_source_that_is_not_there_makes_nothing(cli: Run, folder: Path) -> None:
    """Neither the source nor the target appears."""
    ran = cli("copy", "sqlite:///missing.db", "file:new")

    assert (1, 1) == (ran.code, len(ran.errors))
    assert [] == list(folder.iterdir())


def test_no_password_is_shown_of_either(cli: Run, sqlite_url: str, filled: str) -> None:
    """Source and target are named without it, in errors too."""
    secret = "postgresql://app:s3cret@127.0.0.1:1/chat"

    runs = [
        cli("copy", secret, sqlite_url),
        cli("copy", filled, secret),
        cli("copy", "env:OLD", "file:x", OLD=secret),
    ]

    assert [1, 1, 1] == [ran.code for ran in runs]
    assert "s3cret" not in "".join(ran.out + ran.err for ran in runs)


def test_a_target_without_tables_is_told_how_to_get_them(cli: Run, filled: str, postgres_url: str) -> None:
    """A server's database is not migrated behind anybody's back."""
    ran = cli("copy", filled, postgres_url)

    assert (1, 1) == (ran.code, len(ran.errors))
    assert "chatstore upgrade" in ran.errors[0]
