"""The stores of sessions and of AG-UI's snapshots: as the framework's own in memory do, and under its endpoint."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from agent_framework import AgentSession, Message, SessionStore, register_state_type
from agent_framework_ag_ui import (
    AGUIThreadSnapshot,
    AGUIThreadSnapshotStore,
    InMemoryAGUIThreadSnapshotStore,
    add_agent_framework_fastapi_endpoint,
)
from fastapi import FastAPI, Header
from starlette.testclient import TestClient

import chatstore
from chatstore.errors import Invalid
from chatstore.integrations.agent_framework import (
    ChatstoreHistoryProvider,
    ChatstoreSessionStore,
    ChatstoreThreadSnapshotStore,
)
from tests.doors.agent_framework.fakes import Told, agent, ask, two_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IDS = ["s", "a/b", "a~1b", " ", "x" * 400, "\n", "ü"]


class Plan:
    """What an application keeps in a session's state."""

    def __init__(self, steps: list[str]) -> None:
        """Keep *steps*."""
        self.steps = steps

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"type": "test-plan", "steps": self.steps}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """Make it again."""
        return cls(data["steps"])


register_state_type(Plan, type_id="test-plan")


class Special(AgentSession):
    """A session that no store can make again."""


# ---- sessions


@pytest.mark.parametrize("seed", range(5))
def test_sessions_as_in_memory(seed: int) -> None:
    """Law: over random operations it returns what the framework's own store does."""
    chance = random.Random(seed)

    async def go() -> None:
        async with chatstore.connect_async("memory:") as store:
            ours, theirs = ChatstoreSessionStore(store), SessionStore()
            for number in range(200):
                id_, what = chance.choice(IDS), chance.choice(["get", "set", "delete"])
                if what == "set":
                    session = AgentSession(
                        session_id=f"{id_}.{number}", service_session_id=chance.choice([None, "x"])
                    )
                    session.state = {"n": number, "nested": {"a": [1, None, 2.5, "ü"]}}
                    await ours.set(id_, session)
                    await theirs.set(id_, session)
                    session.state["n"] = "changed since"
                elif what == "delete":
                    await ours.delete(id_)
                    await theirs.delete(id_)
                found, expected = await ours.get(id_), await theirs.get(id_)
                assert (found and found.to_dict()) == (expected and expected.to_dict())

    asyncio.run(go())


def test_a_session_goes_on_elsewhere(store: chatstore.Repository) -> None:
    """Law: another process gets the session with its state, and its run has the history."""
    client = Told(two_turns())

    async def go() -> None:
        async with ChatstoreSessionStore(store) as sessions, ChatstoreHistoryProvider(store) as provider:
            assert isinstance(sessions, SessionStore)
            session = AgentSession(session_id="s", service_session_id={"thread": "t", "n": 1})
            session.state["plan"] = Plan(["dig", "plant"])
            session.state["said"] = Message("user", ["hi"], message_id="m")
            await sessions.set("ada", session)
            session.service_session_id = None
            await ask(agent(client, provider), "How is Oslo?", session)
        async with ChatstoreSessionStore(store) as sessions, ChatstoreHistoryProvider(store) as provider:
            again = await sessions.get("ada")
            assert again is not None
            assert ("s", {"thread": "t", "n": 1}) == (again.session_id, again.service_session_id)
            assert ["dig", "plant"] == again.state["plan"].steps
            assert "hi" == again.state["said"].text
            again.service_session_id = None
            await ask(agent(client, provider), "And the others?", again)

    asyncio.run(go())
    assert [1, 3, 5, 7] == [len(asked) for asked in client.asked]


@pytest.mark.filterwarnings("ignore:AgentSession state value:RuntimeWarning")  # the framework's own
def test_sessions_that_cannot_be_kept(store: chatstore.Repository) -> None:
    """Law: bad ids, subclasses and values that are no JSON are refused, and what was there stays."""

    async def go() -> None:
        async with ChatstoreSessionStore(store) as sessions:
            good = AgentSession(session_id="good")
            await sessions.set("s", good)
            for id_ in ("", None, 1):
                with pytest.raises(ValueError, match="session_id must be"):
                    await sessions.get(id_)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="keep what it adds"):
                await sessions.set("s", Special())
            for value in (object(), float("nan"), b"x"):
                bad = AgentSession()
                bad.state["x"] = [value]
                with pytest.raises(Invalid, match="a state must be JSON"):
                    await sessions.set("s", bad)
            found = await sessions.get("s")
            assert found is not None
            assert "good" == found.session_id

    asyncio.run(go())


def test_sessions_of_each_owner(store: chatstore.Repository) -> None:
    """Law: the same id of two owners is two sessions."""

    async def go() -> None:
        for user in ("ada", "bob"):
            async with ChatstoreSessionStore(store.scope(user_id=user)) as sessions:
                assert await sessions.get("s") is None
                await sessions.set("s", AgentSession(session_id=user))
                found = await sessions.get("s")
                assert found is not None
                assert user == found.session_id

    asyncio.run(go())


# ---- snapshots


@pytest.mark.parametrize("seed", range(5))
def test_snapshots_as_in_memory(seed: int) -> None:
    """Law: over random operations it returns what the framework's own store does."""
    chance = random.Random(seed)

    async def go() -> None:
        async with chatstore.connect_async("memory:") as store:
            stores: list[Any] = [ChatstoreThreadSnapshotStore(store), InMemoryAGUIThreadSnapshotStore()]
            assert isinstance(stores[0], AGUIThreadSnapshotStore)
            for number in range(300):
                scope, thread = (chance.choice(IDS[:4]) for _ in range(2))
                what = chance.choices(["save", "delete", "clear", "clear all"], [9, 3, 1, 0.3])[0]
                found: list[Any] = []
                for one in stores:
                    if what == "save":
                        snapshot = AGUIThreadSnapshot(
                            [{"id": str(number)}], {"n": number}, None, {"x": [None]}
                        )
                        found.append(await one.save(scope=scope, thread_id=thread, snapshot=snapshot))
                        snapshot.messages.append({"changed": "since"})
                    elif what == "delete":
                        found.append(await one.delete(scope=scope, thread_id=thread))
                    else:
                        found.append(await one.clear(scope=scope if what == "clear" else None))
                assert found[0] == found[1]
                for where in IDS[:4]:
                    got = [await one.get(scope=where, thread_id=thread) for one in stores]
                    assert got[0] == got[1]

    asyncio.run(go())


def test_more_scopes_than_are_remembered(store: chatstore.Repository) -> None:
    """Law: what each of many scopes has is deleted with all, by another process, too."""

    async def go() -> None:
        async with ChatstoreThreadSnapshotStore(store) as one, ChatstoreThreadSnapshotStore(store) as other:
            for number in range(300):
                snapshot = AGUIThreadSnapshot(state={"n": number})
                await one.save(scope=f"user {number}", thread_id="t", snapshot=snapshot)
            await other.clear()
            found = [await one.get(scope=f"user {number}", thread_id="t") for number in range(300)]
            assert [None] * 300 == found
            await one.save(scope="user 299", thread_id="t", snapshot=AGUIThreadSnapshot())
            await other.clear()
            assert await one.get(scope="user 299", thread_id="t") is None

    asyncio.run(go())


def test_names_that_are_none(store: chatstore.Repository) -> None:
    """Law: a scope, or a thread, that is empty or no text is refused: it would be everybody's."""

    async def go() -> None:
        async with ChatstoreThreadSnapshotStore(store) as snapshots:
            for scope, thread in (("", "t"), ("s", ""), (None, "t"), ("s", 1)):
                names: Any = {"scope": scope, "thread_id": thread}
                for work in (
                    snapshots.get(**names),
                    snapshots.delete(**names),
                    snapshots.save(**names, snapshot=AGUIThreadSnapshot()),
                ):
                    with pytest.raises(ValueError, match="must be a string that is not empty"):
                        await work
            with pytest.raises(ValueError, match="scope must be"):
                await snapshots.clear(scope="")

    asyncio.run(go())


def events(client: TestClient, user: str, messages: list[Any]) -> list[dict[str, Any]]:
    """Return the events that the endpoint streams to *user*, who sends *messages* of a thread."""
    run = {"thread_id": "t", "run_id": "r", "messages": messages, "state": {}, "tools": [], "context": []}
    answer = client.post("/", json=run, headers={"user": user})
    assert 200 == answer.status_code, answer.text
    lines = answer.text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def shown(client: TestClient, user: str) -> list[Any]:
    """Return role and content of each message that *user* gets who opens the thread anew."""
    found = [one for one in events(client, user, []) if one["type"] == "MESSAGES_SNAPSHOT"]
    return [(one["role"], one.get("content") or "") for event in found for one in event["messages"]]


def test_the_endpoint_goes_on_in_another_process(store: chatstore.Repository) -> None:
    """Law: a thread is replayed to who opens it anew, and to nobody else; its history has each message once."""
    said = [*two_turns(), ["You are welcome."]]

    async def scope(user: str = Header()) -> str:
        return user

    def serve() -> tuple[TestClient, Told]:
        history = ChatstoreHistoryProvider(store, load_messages=False)
        snapshots = ChatstoreThreadSnapshotStore(store)

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with history, snapshots:
                yield

        app, client = FastAPI(lifespan=lifespan), Told(said[2 * len(served) :])
        one = agent(client, history, name="gardener")
        add_agent_framework_fastapi_endpoint(
            app, one, snapshot_store=snapshots, authorization_scope_resolver=scope
        )
        served.append(app)
        return TestClient(app), client

    served: list[Any] = []
    first = {"id": "q1", "role": "user", "content": "How is Oslo?"}
    with serve()[0] as client:
        kinds = [event["type"] for event in events(client, "ada", [first])]
    assert "RUN_ERROR" not in kinds
    assert "TOOL_CALL_RESULT" in kinds

    served_by, told = serve()
    with served_by as client:
        before = shown(client, "ada")
        assert [("user", "How is Oslo?"), ("assistant", "Mild.")] == [before[0], before[-1]]
        assert [] == shown(client, "bob")
        again = [first, {"id": "q2", "role": "user", "content": "And the others?"}]
        events(client, "ada", again)
        assert [*before, ("user", "And the others?")] == shown(client, "ada")[: len(before) + 1]
    assert [5, 7] == [len(asked) for asked in told.asked]
    served_by, told = serve()
    with served_by as client:
        events(client, "ada", [*again, {"id": "q3", "role": "user", "content": "Thanks."}])
    (session,) = store.list_sessions().items
    texts = [message.text for message in store.get_messages(session.session_id)]
    assert ["How is Oslo?", "", "mild in Oslo", "Mild.", "And the others?", "", "mild in Rome"] == texts[:7]
    assert ["mild in Bonn", "Mild, too.", "Thanks.", "You are welcome."] == texts[7:]
