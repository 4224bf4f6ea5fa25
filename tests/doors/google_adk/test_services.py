"""The door of Google ADK: the same results as the framework's own service in memory, and what that does not do."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from google.adk.agents import LlmAgent
from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.genai import types

import chatstore
from chatstore import AIMessage, HumanMessage
from chatstore.integrations.google_adk import ChatstoreMemoryService, ChatstoreSessionService

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from google.adk.models.llm_request import LlmRequest

APPS, USERS, NAMES = ("app", "other/app"), ("ada", "bob"), ("a", "b")


def happened(chance: random.Random) -> Event:
    """Return an event of any kind."""
    delta = {
        key: chance.choice((1, 1.5, None, "x", [1, {"a": None}]))
        for key in ("app:a", "app:b", "user:a", "plain", "temp:x")
        if chance.random() < 0.3
    }
    call = types.Part(function_call=types.FunctionCall(name="f", args={"x": 1}, id="1"))
    result = types.Part(function_response=types.FunctionResponse(name="f", response={"y": [2]}, id="1"))
    image = types.Part(inline_data=types.Blob(data=b"\x00\xff", mime_type="image/png"))
    author, content = chance.choice(
        (
            ("user", types.Content(role="user", parts=[types.Part(text="Hello \x00 🙂"), image])),
            ("agent", types.Content(role="model", parts=[types.Part(text="Well."), call, call])),
            ("agent", types.Content(role="user", parts=[result, result])),
            ("agent", None),
        )
    )
    counts = types.GenerateContentResponseUsageMetadata(prompt_token_count=3, candidates_token_count=4)
    return Event(
        author=author,
        content=content,
        invocation_id="i",
        actions=EventActions(state_delta=delta),
        usage_metadata=counts if author == "agent" else None,
    )


class Twins:
    """The framework's service in memory and the door, which get the same calls."""

    def __init__(self, door: ChatstoreSessionService, seed: int) -> None:
        """Begin with both empty."""
        self.services: tuple[Any, ...] = (InMemorySessionService(), door)
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()

    async def both(self, name: str, *calls: Any) -> tuple[Any, ...]:
        """Make a call of each; both raise the same, or both answer."""
        found: list[Any] = []
        errors: list[Any] = []
        for call in calls:
            try:
                found.append(await call)
                errors.append(None)
            except (AlreadyExistsError, SessionNotFoundError) as error:
                found.append(None)
                errors.append(type(error))
        assert errors[0] == errors[1], (name, errors)
        self.done[name if errors[0] is None else f"{name} {errors[0].__name__}"] += 1
        return tuple(found)

    async def step(self) -> None:
        """Do one random operation, and compare."""
        chance = self.chance
        about = {"app_name": chance.choice(APPS), "user_id": chance.choice(USERS)}
        named = {**about, "session_id": chance.choice(NAMES)}
        kind = chance.choice(("create", "append", "append", "append", "get", "list", "user", "delete"))
        if kind == "create":
            state = {"app:c": 1, "user:c": [2], "k": {"a": 1}, "temp:t": 1} if chance.random() < 0.5 else None
            same(
                *await self.both(
                    "create", *(one.create_session(**named, state=deepcopy(state)) for one in self.services)
                )
            )
        elif kind == "append":
            pair = await self.both("load", *(one.get_session(**named) for one in self.services))
            if pair[0] is not None:
                event = happened(chance)
                calls = (
                    one.append_event(session, event.model_copy(deep=True))
                    for one, session in zip(self.services, pair, strict=True)
                )
                made = await self.both("append", *calls)
                assert made[0] == made[1]
                same(*pair)
        elif kind == "get":
            config = GetSessionConfig(num_recent_events=chance.choice((None, 0, 1, 3)))
            same(*await self.both("get", *(one.get_session(**named, config=config) for one in self.services)))
        elif kind == "list":
            user = chance.choice((None, about["user_id"]))
            lists = await self.both(
                "list",
                *(one.list_sessions(app_name=about["app_name"], user_id=user) for one in self.services),
            )
            ids = [sorted((one.user_id, one.id) for one in found.sessions) for found in lists]
            assert ids[0] == ids[1]
        elif kind == "user":
            states = await self.both("user", *(one.get_user_state(**about) for one in self.services))
            assert states[0] == states[1]
        elif chance.random() < 0.3:
            await self.both("delete", *(one.delete_session(**named) for one in self.services))


def same(one: Any, other: Any) -> None:
    """Compare two sessions; their times are their own."""
    assert (one is None) == (other is None)
    if one is not None:
        assert (one.id, one.app_name, one.user_id, one.state) == (
            other.id, other.app_name, other.user_id, other.state,
        )  # fmt: skip
        assert one.events == other.events


async def differ(url: str, steps: int, seed: int) -> Counter[str]:
    """Make *steps* random operations on both; return how often each was done, and refused."""
    async with chatstore.connect_async(url) as repository:
        twins = Twins(ChatstoreSessionService(repository), seed)
        for _ in range(steps):
            await twins.step()
        return twins.done


def test_the_same_results_as_in_memory(place: str) -> None:
    """Law: what is created, appended, read, listed and deleted is as in the framework's own service."""
    seed = random.randrange(2**32)
    done = asyncio.run(differ(place, 400, seed))

    assert {"create", "create AlreadyExistsError", "append", "get", "list", "user", "delete"} <= set(done), (
        seed
    )


@pytest.mark.whole
@pytest.mark.timeout(1_500)
def test_the_same_results_over_ten_thousand_operations(durable: str) -> None:
    """Law: the same, ten thousand times."""
    seed = random.randrange(2**32)
    assert asyncio.run(differ(durable, 10_000, seed)), seed


class Echo(BaseLlm):
    """A model that calls a tool, and then answers."""

    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,  # noqa: ARG002 - the framework's
    ) -> AsyncGenerator[LlmResponse, None]:
        """Yield one answer."""
        newest = llm_request.contents[-1].parts[-1]
        part = types.Part(text="It is mild.")
        if newest.function_response is None:
            part = types.Part(function_call=types.FunctionCall(name="climate", args={"city": "Rome"}))
        yield LlmResponse(content=types.Content(role="model", parts=[part]), model_version="echo")


def climate(city: str) -> dict[str, str]:
    """Tell the climate of a city."""
    return {"climate": f"mild in {city}"}


def test_an_agent_runs_on_it(place: str) -> None:
    """Law: a runner stores its turns; others read roles, calls and results; memory finds them."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            service, memory = ChatstoreSessionService(repository), ChatstoreMemoryService(repository)
            agent = LlmAgent(name="gardener", model=Echo(model="echo"), tools=[climate], output_key="answer")
            runner = Runner(app_name="app", agent=agent, session_service=service, memory_service=memory)
            await service.create_session(app_name="app", user_id="ada", session_id="s")
            for text in ("What of Rome?", "And again?"):
                said = types.Content(role="user", parts=[types.Part(text=text)])
                async for _ in runner.run_async(user_id="ada", session_id="s", new_message=said):
                    pass

            session = await service.get_session(app_name="app", user_id="ada", session_id="s")
            assert session is not None
            assert "It is mild." == session.state["answer"]
            (found,) = (await repository.list_sessions(tenant_id="app", user_id="ada")).items
            read: list[Any] = await repository.get_messages(found.session_id)
            assert ["human", "ai", "tool", "ai"] * 2 == [message.type for message in read]
            assert read[1].tool_calls[0]["id"] == read[2].tool_call_id
            hits = await memory.search_memory(app_name="app", user_id="ada", query="who asked of Rome")
            assert "What of Rome?" == hits.memories[0].content.parts[0].text or hits.memories
            other = await memory.search_memory(app_name="app", user_id="bob", query="Rome")
            assert [] == other.memories

    asyncio.run(run())


def test_a_stale_writer_is_refused(place: str) -> None:
    """Law: of two that loaded the same session one appends, the other is told and changes nothing, states included."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            service = ChatstoreSessionService(repository)
            names: dict[str, Any] = {"app_name": "app", "user_id": "ada", "session_id": "s"}
            await service.create_session(**names)
            one, other = await service.get_session(**names), await service.get_session(**names)
            assert one is not None
            assert other is not None
            first = Event(author="user", actions=EventActions(state_delta={"app:n": 1, "n": 1}))
            await service.append_event(one, first)
            with pytest.raises(StaleSessionError):
                await service.append_event(
                    other,
                    Event(author="user", actions=EventActions(state_delta={"app:n": 2, "user:n": 2, "n": 2})),
                )
            await service.append_event(one, first.model_copy(deep=True))  # again: nothing happens
            await service.append_event(one, Event(author="user", partial=True))
            found = await service.get_session(**names)
            assert found is not None
            assert ({"app:n": 1, "n": 1}, [first.id]) == (found.state, [event.id for event in found.events])

            bare = found.model_copy(deep=True)
            bare._storage_update_marker = None
            await service.append_event(bare, Event(author="user"))  # it has all that is stored
            stale = found.model_copy(deep=True)
            stale._storage_update_marker = None
            with pytest.raises(StaleSessionError):
                await service.append_event(stale, Event(author="user"))

    asyncio.run(run())


def test_what_a_service_remembers_is_not_taken_for_what_there_is(place: str) -> None:
    """Law: an event for a session that others changed is stale, for one that they deleted it is not found."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            one, other = ChatstoreSessionService(repository), ChatstoreSessionService(repository)
            names: dict[str, Any] = {"app_name": "app", "user_id": "ada", "session_id": "s"}
            held = await one.create_session(**names)
            await one.append_event(held, Event(author="user"))
            theirs = await other.get_session(**names)
            assert theirs is not None
            await other.append_event(theirs, Event(author="user"))
            with pytest.raises(StaleSessionError):
                await one.append_event(held, Event(author="user"))
            await one.append_event(theirs, Event(author="user"))
            await one.append_event(theirs, Event(author="user"))
            await other.delete_session(**names)
            with pytest.raises(SessionNotFoundError):
                await one.append_event(theirs, Event(author="user"))
            assert await one.get_session(**names) is None

    asyncio.run(run())


def test_what_others_store_is_read(place: str) -> None:
    """Law: what another framework appended to a session is an event that says the same."""

    async def run() -> None:
        async with chatstore.connect_async(place) as repository:
            service = ChatstoreSessionService(repository)
            names: dict[str, Any] = {"app_name": "app", "user_id": "ada", "session_id": "s"}
            await service.create_session(**names)
            key = chatstore.session_key("app", "ada", "s")
            await repository.add_messages(key, [HumanMessage("Hi"), AIMessage("Well.")])
            found = await service.get_session(**names)
            assert found is not None
            assert [("user", "Hi"), ("app", "Well.")] == [
                (event.author, event.content.parts[0].text) for event in found.events
            ]
            await service.append_event(found, Event(author="user"))

    asyncio.run(run())


@pytest.mark.parametrize("name", ["s1", "a/b~c", "x" * 300])
def test_a_session_of_another_framework_is_continued(name: str, store: chatstore.Repository) -> None:
    """Law: what was stored under the key of the three is a session there; listed, if the key says their names."""
    key = chatstore.session_key("garden", "ada", name)
    names: dict[str, Any] = {"app_name": "garden", "user_id": "ada", "session_id": name}
    owned = store.scope(tenant_id="garden", user_id="ada")
    owned.add_messages(key, [HumanMessage("Hello")], metadata={"mine": 1})
    owned.add_messages("elsewhere", [HumanMessage("Hello")])

    async def go() -> None:
        async with ChatstoreSessionService(store) as service:
            listed = await service.list_sessions(app_name="garden")
            assert [name][: len(name) < 255] == [one.id for one in listed.sessions]
            session = await service.get_session(**names)
            assert session is not None
            event = Event(author="gardener", actions=EventActions(state_delta={"n": 1}))
            await service.append_event(session, event)
            again = await service.get_session(**names)
            assert again is not None
            assert ({"n": 1}, 2) == (again.state, len(again.events))
            listed = await service.list_sessions(app_name="garden", user_id="ada")
            assert [name] == [one.id for one in listed.sessions]

    asyncio.run(go())
    assert 1 == store.get_session(key).metadata["mine"]
