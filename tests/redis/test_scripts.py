"""One script a change: what goes over the wire, what a script refuses, and a server that has forgotten it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import redis

import chatstore
from chatstore import AIMessage, HumanMessage, MessageRecord
from chatstore.backends.redis import scripts
from chatstore.backends.redis.repository import RedisRepository
from chatstore.errors import Conflict, MessageConflict, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.repository import Repository
    from tests.redis.conftest import Ground

CALLS: dict[str, Callable[[Repository], object]] = {
    "append": lambda store: store.add_messages("s", [HumanMessage("q"), AIMessage("a")]),
    "append with an owner": lambda store: store.scope(user_id="u").add_messages("t", [HumanMessage("q")]),
    "append what is known": lambda store: store.add_messages("s", [HumanMessage("one", id="1")]),
    "append at a revision": lambda store: store.add_messages(
        "s", [HumanMessage("two", id="1b")], expected_revision=store.get_session("s").revision
    ),
    "create": lambda store: store.create_session("new", user_id="u"),
    "update": lambda store: store.update_session("s", title="t", user_id="v"),
    "replace": lambda store: store.replace_messages("s", [HumanMessage("r")]),
    "delete": lambda store: store.delete_message("s", 1),
    "pop": lambda store: store.pop_message("s"),
    "truncate": lambda store: store.truncate("s", after=1),
    "clear": lambda store: store.clear("s"),
    "delete session": lambda store: store.delete_session("s"),
    "load": lambda store: store.load_records(
        "s", [MessageRecord(HumanMessage("l"), 9, "l", datetime.now(UTC), "s")]
    ),
    "message": lambda store: store.get_message("s", "1"),
    "session": lambda store: store.get_session("s"),
    "count": lambda store: store.count_messages("s"),
}
#: What takes more than one: messages are read between two looks at the revision, in one round trip; an edit reads
#: first, a fork reads and writes, a list reads the index and then, at once, all sessions.
MORE: dict[str, tuple[int, Callable[[Repository], object]]] = {
    "last": (3, lambda store: store.get_messages("s", last=2)),
    "records": (3, lambda store: store.get_records("s", after=1)),
    "edit": (2, lambda store: store.update_message("s", 1, HumanMessage("other"))),
    "fork": (4, lambda store: store.fork_session("s", "f")),
    "list": (3, lambda store: store.list_sessions()),
}


EVERY = [value for value in vars(scripts).values() if isinstance(value, scripts.Script)]


@pytest.fixture
def told(own_server: str) -> Iterator[tuple[Repository, Callable[[Callable[[], object]], list[str]]]]:
    """Give a repository, and what tells which commands a call of it sends."""
    with redis.Redis.from_url(own_server) as client, chatstore.connect(own_server) as store:
        store.add_messages("s", [HumanMessage("one", id="1"), HumanMessage("two")])
        store.scope(user_id="u").add_messages("t", [HumanMessage("x")])

        def sent(call: Callable[[], object]) -> list[str]:
            with client.monitor() as monitor:
                client.echo("begin")
                call()
                client.echo("end")
                commands: list[str] = []
                for command in monitor.listen():
                    if command["command"] == "ECHO end":
                        return commands[commands.index("ECHO") + 1 :]
                    if command["client_type"] != "lua":
                        commands.append(command["command"].split()[0].upper())
            raise AssertionError("the monitor ended")

        for script in EVERY:
            client.script_load(script.source)  # telling it costs a round trip, once
        yield store, sent


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_one_command(told: Any, name: str) -> None:
    """Law: an append, and every other change and read of one session, is one command in one round trip."""
    store, sent = told
    wanted = 2 if name == "append at a revision" else 1  # one of them asks for the revision
    assert wanted == len(sent(lambda: CALLS[name](store)))


@pytest.mark.parametrize("name", MORE)
def test_what_takes_more_takes_no_more_than_it_must(told: Any, name: str) -> None:
    """Law: an edit and a fork are a read and a change; a read, and a list, is no more commands than documented."""
    store, sent = told
    expected, call = MORE[name]
    assert expected == len(sent(lambda: call(store)))


def test_a_server_that_forgot_its_scripts_is_told_again(own_server: str) -> None:
    """Law: SCRIPT FLUSH, or a restart, costs one more round trip and nothing else."""
    with redis.Redis.from_url(own_server) as client, chatstore.connect(own_server) as store:
        for number in range(3):
            client.script_flush()
            store.add_messages("s", [HumanMessage(str(number))])
            client.script_flush()
            assert number + 1 == len(store.get_messages("s"))


def test_digests_are_those_of_the_server(own_server: str) -> None:
    """Law: the digest that is sent is the one under which Redis keeps the script."""
    with redis.Redis.from_url(own_server) as client:
        assert [one.digest for one in EVERY] == [client.script_load(one.source) for one in EVERY]
    assert 13 == len(EVERY)


def test_every_file_of_lua_is_a_script() -> None:
    """Law: beside the scripts there is what they begin with, and no file that nothing runs."""
    folder = files("chatstore.backends.redis").joinpath("lua")
    assert sorted(["head.lua", *(f"{one.name}.lua" for one in EVERY)]) == sorted(
        file.name for file in folder.iterdir()
    )


def test_the_same_message_in_other_bytes_is_the_same(ground: Ground) -> None:
    """Law: a known id is compared as JSON, not as bytes, and the first record comes back; a new body is refused."""
    first = HumanMessage("x", id="1", additional_kwargs={"a": 1, "b": [1, 2]})
    again = HumanMessage("x", id="1", additional_kwargs={"b": [1, 2], "a": 1})
    other = HumanMessage("x", id="1", additional_kwargs={"b": [2, 1], "a": 1})
    (stored,) = ground.store.add_messages("s", [first])
    revision = ground.store.get_session("s").revision
    assert [stored] == ground.store.add_messages("s", [again], expected_revision=0)
    assert revision == ground.store.get_session("s").revision
    records = ground.store.add_messages("s", [HumanMessage("new"), again, HumanMessage("newer")])
    assert [2, 1, 3] == [record.position for record in records]
    with pytest.raises(MessageConflict):
        ground.store.add_messages("s", [HumanMessage("newest"), other])
    assert 3 == ground.store.count_messages("s")


def test_bodies_that_were_accepted_stay_so(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: where other bytes of one message are met after those of another were accepted, both are: it ends."""

    def message(name: str, *keys: str) -> HumanMessage:
        return HumanMessage(name, id=name, additional_kwargs=dict.fromkeys(keys, 1))

    store = RedisRepository(ground.client, key_prefix=ground.prefix)
    store.add_messages("s", [message("1", "a", "b"), message("2", "b", "a")])
    real, runs = store._lend, []

    def meddling(wanted: Any) -> Any:
        runs.append(wanted)
        if len(runs) == 2:
            ground.store.delete_message("s", "2")
            ground.store.add_messages("s", [message("2", "a", "b")])
        assert len(runs) < 4
        return real(wanted)

    monkeypatch.setattr(store, "_lend", meddling)
    records = store.add_messages("s", [message("1", "b", "a"), message("2", "b", "a"), message("3")])
    assert [("1", 1), ("2", 3), ("3", 4)] == [(record.message_id, record.position) for record in records]
    assert 3 == len(runs)


@pytest.mark.parametrize("size", [4_001, 9_000])
def test_batches_beyond_the_stack_of_lua(ground: Ground, size: int) -> None:
    """Law: one call stores, finds again, replaces and truncates more messages than Lua can hold arguments."""
    batch = [HumanMessage(str(number), id=f"m{number}") for number in range(size)]
    assert list(range(1, size + 1)) == [record.position for record in ground.store.add_messages("s", batch)]
    assert list(range(1, size + 1)) == [record.position for record in ground.store.add_messages("s", batch)]
    with pytest.raises(MessageConflict):
        ground.store.add_messages("s", [HumanMessage("other", id=f"m{number}") for number in range(size)])
    fork = ground.store.fork_session("s", "f")
    assert size == fork.message_count
    ground.store.truncate("s", after=3)
    assert ["0", "1", "2"] == [message.content for message in ground.store.get_messages("s")]
    ground.store.replace_messages("f", batch)
    assert batch == ground.store.get_messages("f")


@pytest.mark.parametrize("tries", [3, 0])
def test_a_fork_across_slots_is_one_moment_of_its_source(
    cluster: Ground, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: while the source grows, each fork has its session's counters and messages as they were together.

    So it is by plain commands, and by the script that reads where these never meet the same revision twice.
    """
    monkeypatch.setattr("chatstore.backends.redis.server.TRIES", tries)
    stop = threading.Event()

    def grow() -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            cluster.store.add_messages("s", [HumanMessage(str(number))] * 2)

    cluster.store.add_messages("s", [HumanMessage("first")] * 2)
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        forks = [cluster.store.fork_session("s", f"fork {number}") for number in range(40)]
    finally:
        stop.set()
        thread.join()
    for number, fork in enumerate(forks):
        records = cluster.store.get_records(f"fork {number}")
        assert fork.message_count == fork.last_position == fork.forked_at == len(records)
        assert 0 == len(records) % 2
    assert len({fork.message_count for fork in forks}) > 1


def test_edits_of_one_message_by_many(ground: Ground) -> None:
    """Law: edits at the same moment all succeed, one after the other; with a revision, one of them does."""
    ground.store.add_messages("s", [HumanMessage("begin")])
    before = ground.store.get_session("s").revision
    won: list[int] = []

    def edit(number: int) -> None:
        ground.store.update_message("s", 1, HumanMessage(f"by {number}"))
        try:
            ground.store.update_message("s", 1, HumanMessage(f"alone {number}"), expected_revision=before + 8)
        except Conflict:
            return
        won.append(number)

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = ground.store.get_session("s").revision
    assert before + 8 + len(won) == after
    assert len(won) <= 1


def test_evicted_parts_of_a_session_are_not_mixed_with_a_new_one(ground: Ground) -> None:
    """Law: where a server evicted a session's own data but not its messages, a new session does not inherit them."""
    ground.store.add_messages("s", [HumanMessage("old", id="old")] + [HumanMessage("older")] * 3)
    ground.client.delete(f"{ground.prefix}{{s}}:session")
    assert [] == ground.store.get_messages("s")
    (record,) = ground.store.add_messages("s", [HumanMessage("new", id="old")])
    assert (1, ["new"]) == (record.position, [message.content for message in ground.store.get_messages("s")])


def test_a_foreign_key_is_not_touched(ground: Ground) -> None:
    """Law: a key of another program under the same name is an error that says so, and stays as it is."""
    ground.client.set(f"{ground.prefix}{{s}}:session", "theirs")
    with pytest.raises(StorageError, match="key_prefix"):
        ground.store.add_messages("s", [HumanMessage("x")])
    assert b"theirs" == ground.client.get(f"{ground.prefix}{{s}}:session")
    assert [f"{ground.prefix}{{s}}:session"] == ground.names()


def test_the_clock_that_was_set_back(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: `updated_at` and the place in the list stay where the clock steps back; positions go on."""
    ground.store.create_session("a", user_id="u")
    ground.store.create_session("b", user_id="u")
    past = datetime.now(UTC) - timedelta(days=1)
    monkeypatch.setattr("chatstore.repository.utcnow", lambda: past)
    before = ground.store.get_session("b")
    ground.store.add_messages("b", [HumanMessage("x")])
    ground.store.update_session("b", user_id="v")
    after = ground.store.get_session("b")
    assert (before.updated_at, before.revision + 2) == (after.updated_at, after.revision)
    assert ["b", "a"] == [session.session_id for session in ground.store.list_sessions().items]
    assert ["b"] == [session.session_id for session in ground.store.list_sessions(user_id="v").items]
    assert ["a"] == [session.session_id for session in ground.store.list_sessions(user_id="u").items]
