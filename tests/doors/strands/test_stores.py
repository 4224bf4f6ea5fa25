"""The door of Strands Agents: the same as the framework's own stores over random calls, and what agents do with it."""

from __future__ import annotations

import asyncio
import base64
import random
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import pytest
from strands import Agent, tool
from strands.agent import (
    NullConversationManager,
    SlidingWindowConversationManager,
    SummarizingConversationManager,
)
from strands.models import Model
from strands.multiagent import GraphBuilder
from strands.session import FileSessionManager, RepositorySessionManager, SnapshotSessionManager
from strands.storage import InMemoryStorage
from strands.types.exceptions import SessionException, StorageError
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

import chatstore
from chatstore import AIMessage, HumanMessage, SystemMessage, ToolMessage
from chatstore.errors import Invalid, InvalidMessage
from chatstore.ids import session_key
from chatstore.integrations.strands import ChatstoreSessionRepository, ChatstoreStorage
from tests.doors.strands.driver import at_once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

PICTURE = {"image": {"format": "png", "source": {"bytes": b"\x00\xff"}}}
EVERY: list[Any] = [
    {"role": "user", "content": [{"text": "Hello \x00 🙂"}, PICTURE], "tracking_id": "1"},
    {
        "role": "assistant",
        "content": [
            {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}},
            {"text": "Well."},
            {"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
            {"toolUse": {"toolUseId": "b", "name": "f", "input": "raw"}},
        ],
        "metadata": {
            "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
            "custom": {"y": [None]},
        },
    },
    {
        "role": "user",
        "content": [
            {
                "toolResult": {
                    "toolUseId": "a",
                    "status": "success",
                    "content": [{"json": {"y": [2]}}, PICTURE],
                }
            },
            {"toolResult": {"toolUseId": "b", "status": "error", "content": [{"text": "no"}]}},
            {"text": "And now?"},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"citationsContent": {"content": [{"text": "So"}, {"text": " it is."}], "citations": []}}
        ],
    },
    {
        "role": "user",
        "content": [{"guardContent": {"text": {"text": "Guarded"}}}, {"cachePoint": {"type": "default"}}],
    },
    {"role": "user", "content": []},
    {"role": "assistant", "content": []},
]
OWN = ("created_at", "updated_at")


class Script(Model):
    """A model that says what it was given, one after the other: text, or the calls of tools by their cities."""

    def __init__(self, *answers: str | list[str]) -> None:
        """Say *answers*."""
        self.answers = [*answers]
        self.heard: list[Any] = []

    def update_config(self, **model_config: Any) -> None:
        """There is nothing to configure."""

    def get_config(self) -> dict[str, Any]:
        """Return no configuration."""
        return {}

    async def structured_output(self, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        """Nobody asks for it."""
        raise NotImplementedError
        yield

    async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
        """Say the next answer."""
        self.heard.append([*messages])
        answer = self.answers.pop(0)
        yield {"messageStart": {"role": "assistant"}}
        if isinstance(answer, str):
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": answer}}}
            yield {"contentBlockStop": {}}
        else:
            for city in answer:
                use = {"name": "climate", "toolUseId": f"call {city}"}
                yield {"contentBlockStart": {"start": {"toolUse": use}}}
                yield {"contentBlockDelta": {"delta": {"toolUse": {"input": f'{{"city": "{city}"}}'}}}}
                yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if isinstance(answer, str) else "tool_use"}}
        usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


@tool
def climate(city: str) -> str:
    """Tell the climate of a city."""
    return f"{city} is mild"


def agent(store: chatstore.Repository, *answers: str | list[str], session: str = "s", **given: Any) -> Agent:
    """Return an agent that goes on in *session*, as a new process makes it."""
    manager = RepositorySessionManager(session, ChatstoreSessionRepository(store))
    about = {"model": Script(*answers), "tools": [climate], "callback_handler": None, **given}
    return Agent(session_manager=manager, **about)


def texts(messages: list[Any]) -> list[str]:
    """Return what is said in *messages*, and the names of calls."""
    blocks = [block for message in messages for block in message["content"]]
    found = []
    for block in blocks:
        result = block.get("toolResult", {}).get("content", [{}])[0].get("text")
        found.append(block.get("text") or result or block["toolUse"]["input"]["city"])
    return found


def door_with(store: chatstore.Repository, *agents: str) -> ChatstoreSessionRepository:
    """Return a door with a session `s` that has *agents*."""
    door = ChatstoreSessionRepository(store)
    door.create_session(Session("s", SessionType.AGENT))
    for agent_id in agents:
        door.create_agent("s", SessionAgent(agent_id, {}, {}))
    return door


# ------------------------------------------------------------------------------------------------------------- agents


def test_an_agent_goes_on(store: chatstore.Repository) -> None:
    """Law: an agent that is made anew has what was said, called and kept before, and goes on behind it."""
    first = agent(store, ["Rome", "Oslo"], "Both are mild.")
    first.state.set("seen", ["Rome"])
    first("How is it?")
    second = agent(store, ["Bonn"], "Mild, too.")
    assert first.messages == second.messages
    assert ["Rome"] == second.state.get("seen")
    second("And in Bonn?")

    third = agent(store, "You are welcome.")
    assert second.messages == third.messages
    third("Thanks!")
    assert [
        "How is it?", "Rome", "Oslo", "Rome is mild", "Oslo is mild", "Both are mild.",
        "And in Bonn?", "Bonn", "Bonn is mild", "Mild, too.", "Thanks!",
    ] == texts(third.model.heard[0])  # fmt: skip
    stored = store.get_messages("s")
    assert ["human", "ai", "tool", "tool", "ai", "human", "ai", "tool", "ai", "human", "ai"] == [
        message.type for message in stored
    ]
    assert ["call Rome", "call Oslo"] == [one.tool_call_id for one in stored if isinstance(one, ToolMessage)][
        :2
    ]
    counts = [one.usage_metadata for one in stored if isinstance(one, AIMessage)]
    assert [{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}] * 5 == counts


def test_agents_of_one_session(store: chatstore.Repository) -> None:
    """Law: each agent has messages and a state of its own."""
    one, other = agent(store, "First."), agent(store, "Other.", agent_id="other")
    one("Hello")
    other.state.set("n", 1)
    other("Good day")

    assert ["Hello", "First."] == texts(agent(store).messages)
    again = agent(store, agent_id="other")
    assert (["Good day", "Other."], {"n": 1}) == (texts(again.messages), again.state.get())
    assert {"s", session_key("s", "other")} == {one.session_id for one in store.list_sessions().items}


def test_what_was_removed_from_a_window_stays_stored(store: chatstore.Repository) -> None:
    """Law: an agent that is made anew has the window that the old one had; all is stored."""
    window = SlidingWindowConversationManager(window_size=4)
    first = agent(store, *"abcde", conversation_manager=window)
    for number in range(5):
        first(f"question {number}")
    again = agent(store, conversation_manager=SlidingWindowConversationManager(window_size=4))

    assert first.messages == again.messages
    assert 10 == store.count_messages("s")


def test_a_graph_goes_on(store: chatstore.Repository) -> None:
    """Law: the state of a graph is stored, and given to the one that is made anew."""

    def graph() -> Any:
        builder = GraphBuilder()
        builder.add_node(Agent(model=Script("Done."), callback_handler=None, agent_id="a"), "node")
        builder.set_graph_id("graph")
        builder.set_max_node_executions(9)
        builder.set_session_manager(RepositorySessionManager("s", ChatstoreSessionRepository(store)))
        return builder.build()

    made = graph()
    made("Go")
    door = ChatstoreSessionRepository(store)
    kept = door.read_multi_agent("s", "graph")
    assert kept is not None
    assert ("completed", ["node"]) == (kept["status"], kept["completed_nodes"])
    assert kept == made.serialize_state() | {"execution_time": kept["execution_time"]}
    again = graph()
    assert None is door.read_multi_agent("s", "other")
    assert None is door.read_multi_agent("missing", "graph")
    with pytest.raises(SessionException, match="create it first"):
        door.create_multi_agent("missing", again)
    again.id = "unknown"
    with pytest.raises(SessionException, match="create it first"):
        door.update_multi_agent("s", again)


@pytest.mark.parametrize(
    "manager", [SlidingWindowConversationManager, NullConversationManager, SummarizingConversationManager]
)
def test_another_frameworks_conversation_goes_on(store: chatstore.Repository, manager: Any) -> None:
    """Law: an agent goes on where another framework left off: all answers of one turn's calls are one message."""
    calls = [{"name": "climate", "args": {"city": id_}, "id": id_, "type": "tool_call"} for id_ in "ab"]
    answers = [ToolMessage(f"{id_} is mild", tool_call_id=id_) for id_ in "ab"]
    said = [SystemMessage("Be brief."), HumanMessage("How?"), AIMessage("", tool_calls=calls), *answers]
    store.add_messages("s", [*said, AIMessage("Mild.")])

    one = agent(store, "Yes.", conversation_manager=manager())
    assert ["How?", "a", "b", "a is mild", "b is mild", "Mild."] == texts(one.messages)
    one("Sure?")
    store.add_messages("s", [HumanMessage("Really?"), AIMessage("Really.")])
    again = agent(store, "Bye.", conversation_manager=manager())
    again("Fine.")

    door = ChatstoreSessionRepository(store)
    listed = door.list_messages("s", "default")
    assert [*range(10)] == [message.message_id for message in listed]
    assert [*listed] == [door.read_message("s", "default", number) for number in range(10)]
    assert ["Mild.", "Sure?", "Yes.", "Really?", "Really.", "Fine.", "Bye."] == texts(
        [message.to_message() for message in listed[3:]]
    )
    assert 12 == store.count_messages("s")
    assert "s" == door.read_session("s").session_id  # type: ignore[union-attr]


def test_of_two_at_once_one_goes_on(store: chatstore.Repository) -> None:
    """Law: who goes on where another went on already is refused, and nothing is lost or changed."""
    agent(store, "First.")("Hello")
    one, other = agent(store, "Yes.", "Bye."), agent(store, "No.")
    one("Well?")
    with pytest.raises(SessionException, match="make the session manager anew"):
        other("Really?")
    one("Thanks")

    assert ["Hello", "First.", "Well?", "Yes.", "Thanks", "Bye."] == texts(agent(store).messages)
    assert 6 == store.count_messages("s")


# -------------------------------------------------------------------------------------------------- sessions, messages


def test_messages_of_every_kind_come_back(store: chatstore.Repository) -> None:
    """Law: each message is deep-equal when it is read, by its number and in any part of the list."""
    door = door_with(store, "default")
    given = [SessionMessage.from_message(one, number) for number, one in enumerate(EVERY)]
    for message in given:
        door.create_message("s", "default", message)

    assert given == [door.read_message("s", "default", number) for number in range(len(EVERY))]
    for limit, offset in ((None, 0), (2, 0), (3, 2), (0, 1), (99, 5), (None, 99)):
        expected = given[offset:][:limit]
        assert expected == door.list_messages("s", "default", limit=limit, offset=offset)
    assert None is door.read_message("s", "default", 99)
    assert [] == door.list_messages("s", "missing")
    assert [
        ("human", "Hello \x00 🙂"), ("ai", "Well."), ("tool", '{"y":[2]}'), ("tool", "no"), ("human", "And now?"),
        ("ai", "So it is."), ("human", "Guarded"), ("human", ""), ("ai", ""),
    ] == [(message.type, message.text.replace(": ", ":")) for message in store.get_messages("s")]  # fmt: skip
    answer = store.get_messages("s")[1]
    assert isinstance(answer, AIMessage)
    assert [{"x": 1}, {}] == [call["args"] for call in answer.tool_calls]


def test_a_tuple_is_a_list_as_in_their_files(store: chatstore.Repository) -> None:
    """Law: what JSON has no word for is what their files make of it; what is no JSON is refused, with its place."""
    door = door_with(store, "default")
    for number, value in enumerate(((1, (2,)), {3: 4})):
        result = {"toolUseId": "a", "status": "success", "content": [{"json": {"value": value}}]}
        message: Any = {"role": "user", "content": [{"toolResult": result}]}
        door.create_message("s", "default", SessionMessage(message, number))
    found = [one.message["content"][0]["toolResult"]["content"] for one in door.list_messages("s", "default")]
    assert [[{"json": {"value": [1, [2]]}}], [{"json": {"value": {"3": 4}}}]] == found
    bad: Any = {"role": "user", "content": [{"text": "x", "at": {1}}]}
    with pytest.raises(InvalidMessage, match=r"at.*is of type set"):
        door.create_message("s", "default", SessionMessage(bad, 2))
    assert 2 == len(door.list_messages("s", "default"))


def test_a_repeated_message_is_stored_once(store: chatstore.Repository) -> None:
    """Law: the same message again changes nothing; another of its number is refused, whole."""
    door = door_with(store, "default")
    message = SessionMessage.from_message(EVERY[2], 0)
    for _ in range(2):
        door.create_message("s", "default", message)
    with pytest.raises(SessionException, match="somebody else's"):
        door.create_message("s", "default", SessionMessage.from_message(EVERY[0], 0))
    with pytest.raises(SessionException, match="somebody else's"):
        door.create_message("s", "default", SessionMessage.from_message(at_once("x")[0], 0))

    assert [message] == door.list_messages("s", "default")
    assert 3 == store.count_messages("s")


@pytest.mark.parametrize("redacted", EVERY)
@pytest.mark.parametrize("number", range(len(EVERY)))
def test_a_message_is_redacted(number: int, redacted: Any) -> None:
    """Law: the message is the new one, in its place; nothing of what it said before is left but in it."""
    with chatstore.connect("memory:") as store:
        door = door_with(store, "default")
        for index, one in enumerate(EVERY):
            door.create_message("s", "default", SessionMessage.from_message(one, index))
        before = door.list_messages("s", "default")
        new = SessionMessage(EVERY[number], number, redact_message=redacted)
        door.update_message("s", "default", new)

        expected = [*before]
        new.created_at = before[number].created_at
        expected[number] = new
        assert expected == door.list_messages("s", "default")
        with chatstore.connect("memory:") as other:
            fresh = door_with(other, "default")
            for one in expected:
                fresh.create_message("s", "default", one)
            assert lines(other) == lines(store)
        for message in (EVERY[number], EVERY[0], redacted):  # parts that were merged can be redacted again
            door.update_message("s", "default", SessionMessage(message, number))
        assert redacted == door.list_messages("s", "default")[number].message


def lines(store: chatstore.Repository) -> list[str]:
    """Return every line that is said in the session."""
    return [line for one in store.get_messages("s") for line in one.text.split("\n") if line]


def test_another_frameworks_message_is_redacted(store: chatstore.Repository) -> None:
    """Law: the same of a message that another framework stored; of a missing one it is an error."""
    answers = [ToolMessage(f"{id_} is mild", tool_call_id=id_) for id_ in "ab"]
    store.add_messages("s", [HumanMessage("secret"), *answers])
    door = ChatstoreSessionRepository(store)
    for message in door.list_messages("s", "default"):
        message.redact_message = {"role": "user", "content": [{"text": f"gone {message.message_id}"}]}
        door.update_message("s", "default", message)
        assert message == door.read_message("s", "default", message.message_id)

    assert ["gone 0", "gone 1"] == [message.text for message in store.get_messages("s")]
    with pytest.raises(SessionException, match="create it first"):
        door.update_message("s", "default", SessionMessage.from_message(EVERY[0], 2))


def test_an_agent_redacts_what_a_guardrail_found(store: chatstore.Repository) -> None:
    """Law: what a guardrail refuses is stored, and found, nowhere but in the framework's own record."""

    class Guarded(Script):
        async def stream(self, messages: Any, *_: Any, **__: Any) -> AsyncGenerator[Any, None]:
            yield {"redactContent": {"redactUserContentMessage": "[redacted]"}}
            async for event in super().stream(messages):
                yield event

    agent(store, model=Guarded("No."))("My secret is 42.")

    assert ["[redacted]", "No."] == [message.text for message in store.get_messages("s")]
    assert ["[redacted]", "No."] == texts(agent(store).messages)


def test_sessions_and_agents(store: chatstore.Repository) -> None:
    """Law: what exists is not created again, what is missing is None, or an error where it is changed."""
    door = ChatstoreSessionRepository(store)
    session = Session("s", SessionType.AGENT)
    named, default = (SessionAgent(name, {"a": [1]}, {"__name__": "x"}) for name in ("named", "default"))
    assert (None, None, None) == (
        door.read_session("s"), door.read_agent("s", "default"), door.read_agent("s", "named"),
    )  # fmt: skip
    with pytest.raises(SessionException, match="create the session"):
        door.create_agent("s", default)
    door.create_session(session)
    with pytest.raises(SessionException, match="choose another id"):
        door.create_session(session)
    for one in (named, default):
        with pytest.raises(SessionException, match="create it first"):
            door.update_agent("s", one)
        door.create_agent("s", one)
        with pytest.raises(SessionException, match="choose another id"):
            door.create_agent("s", one)
        assert one == door.read_agent("s", one.agent_id)
        changed = SessionAgent(one.agent_id, {"b": b"\x00"}, {}, {"model_state": {}}, created_at="later")
        door.update_agent("s", changed)
        changed.created_at = one.created_at
        assert changed == door.read_agent("s", one.agent_id)
    assert session == door.read_session("s")


def test_an_application_makes_the_session_first(store: chatstore.Repository) -> None:
    """Law: a session that is made with its owner, title and metadata keeps them, and is gone on in."""
    store.create_session("s", user_id="ada", title="Garden", metadata={"a": 1})
    store.create_session(session_key("s", "other"), user_id="ada")
    agent(store, "Hi.")("Hello")
    agent(store, "Hi.", agent_id="other")("Hello")

    session = store.get_session("s")
    assert ("ada", "Garden", 1, 2) == (
        session.user_id, session.title, session.metadata["a"], session.message_count,
    )  # fmt: skip
    assert ["Hello", "Hi."] == texts(agent(store).messages) == texts(agent(store, agent_id="other").messages)


def test_a_scope_sees_only_its_own(store: chatstore.Repository) -> None:
    """Law: in a scope, another owner's session is missing, and its id in use."""
    ada, bob = (ChatstoreSessionRepository(store.scope(user_id=name)) for name in ("ada", "bob"))
    ada.create_session(Session("s", SessionType.AGENT))
    ada.create_agent("s", SessionAgent("default", {}, {}))
    message = SessionMessage.from_message(EVERY[0], 0)
    ada.create_message("s", "default", message)

    assert (None, None, []) == (
        bob.read_session("s"), bob.read_agent("s", "default"), bob.list_messages("s", "default"),
    )  # fmt: skip
    with pytest.raises(SessionException):
        bob.create_session(Session("s", SessionType.AGENT))
    with pytest.raises(SessionException):
        bob.create_message("s", "default", message)
    assert [message] == ada.list_messages("s", "default")


def test_ids_that_look_like_others(store: chatstore.Repository) -> None:
    """Law: the session `s/a` and the agent `a` of the session `s` are not taken for each other."""
    door = door_with(store, "a")
    assert None is door.read_session("s/a")
    with pytest.raises(SessionException, match="choose another id"):
        door.create_session(Session("s/a", SessionType.AGENT))
    assert None is door.read_agent("s/a", "default")
    door.create_session(Session("s/b", SessionType.AGENT))
    assert None is door.read_agent("s", "b")
    with pytest.raises(SessionException, match="choose another id"):
        door.create_agent("s", SessionAgent("b", {}, {}))


@pytest.mark.parametrize("seed", range(4))
def test_like_their_files(store: chatstore.Repository, tmp_path: Path, seed: int) -> None:
    """Law: over random calls the same comes out as of the framework's own repository in files.

    That one creates again what is there, and cannot list what nobody created: both are left out.
    """
    chance = random.Random(seed)
    theirs = FileSessionManager("s", storage_dir=str(tmp_path))
    doors: list[Any] = [ChatstoreSessionRepository(store), theirs]
    doors[0].create_session(theirs.session)
    numbers: dict[str, set[int]] = {}
    for _ in range(150):
        name, number = chance.choice(("default", "a", "b")), chance.randrange(12)
        about = {
            "agent_id": name,
            "state": {"n": number},
            "conversation_manager_state": {},
            "created_at": "1",
        }
        message = {"message": chance.choice(EVERY), "message_id": number, "created_at": f"{number}"}
        calls: list[Any] = [
            methodcaller("read_agent", "s", name),
            methodcaller("update_agent", "s", SessionAgent(**about, updated_at="2")),
            methodcaller("read_message", "s", name, number),
            methodcaller("update_message", "s", name, SessionMessage(**message, updated_at="2")),
        ]
        if name not in numbers:
            numbers[name] = set()
            calls = [methodcaller("create_agent", "s", SessionAgent(**about, updated_at="1"))]
        elif number not in numbers[name]:
            numbers[name].add(number)
            calls = [methodcaller("create_message", "s", name, SessionMessage(**message, updated_at="1"))]
        else:
            limit, offset = chance.choice((None, 0, 1, 5)), chance.randrange(8)
            calls.append(methodcaller("list_messages", "s", name, limit=limit, offset=offset))
        call = chance.choice(calls)
        first, second = (outcome(call, door) for door in doors)
        assert second == first


def outcome(call: Any, door: Any) -> Any:
    """Return what *call* gives, or that it is refused."""
    try:
        return call(door)
    except SessionException:
        return "refused"


# ----------------------------------------------------------------------------------------------------------- snapshots


@pytest.mark.parametrize("seed", range(4))
def test_like_their_storage(store: chatstore.Repository, seed: int) -> None:
    """Law: over random calls the same comes out as of the framework's own storage in memory."""
    chance = random.Random(seed)

    async def go() -> None:
        storages: list[Any] = [ChatstoreStorage(store), InMemoryStorage()]
        for _ in range(80):
            key = "/".join(chance.choices(("a", "b", "a%_", "ä"), k=chance.randrange(1, 4)))
            data = chance.choice(
                (b"", b"{}", b"\x00", b"\xff\xfe", "ä climate 🙂".encode(), b'{"base64": "eA=="}', b"\\u0000")
            )
            name, *given = chance.choice(
                (
                    ("write", key, data),
                    ("write", key, data),
                    ("read", key),
                    ("delete", key),
                    ("list", key[:-1]),
                    ("list", ""),
                )
            )
            ours, theirs = [await getattr(one, name)(*given) for one in storages]
            assert theirs == ours
        found = [sorted(hit.key for hit in await one.search("climate")) for one in storages]
        assert found[0] == found[1]

    asyncio.run(go())


def test_snapshots_of_an_agent(store: chatstore.Repository) -> None:
    """Law: an agent goes on from its last snapshot, or from one before; all are deleted with their session."""

    def made(*answers: str) -> tuple[Any, Agent]:
        manager = SnapshotSessionManager("s", storage=ChatstoreStorage(store))
        return manager, Agent(model=Script(*answers), session_manager=manager, callback_handler=None)

    manager, first = made("First.", "Second.")
    first("Hello")
    first.state.set("picture", base64.b64encode(b"\x00").decode())
    snapshot = asyncio.run(manager.save_snapshot(first, is_latest=False))
    first("And?")
    manager, second = made()
    assert first.messages == second.messages
    assert first.state.get() == second.state.get()
    assert [snapshot] == asyncio.run(manager.list_snapshot_ids(second))
    assert asyncio.run(manager.restore_snapshot(second, snapshot_id=snapshot))
    assert ["Hello", "First."] == texts(second.messages)

    asyncio.run(manager.delete_session())
    assert [] == made()[1].messages
    assert [] == asyncio.run(ChatstoreStorage(store).list(""))


def test_what_storage_refuses(store: chatstore.Repository) -> None:
    """Law: what fails is the framework's error, with what to do; a repository that awaits is refused at once."""
    with pytest.raises(StorageError, match="pass 1 to 255 characters"):
        asyncio.run(ChatstoreStorage(store).write("k" * 300, b""))
    for door in (ChatstoreStorage, ChatstoreSessionRepository):
        with pytest.raises(Invalid, match="not of connect_async"):
            door(chatstore.connect_async("memory:"))  # type: ignore[arg-type]
