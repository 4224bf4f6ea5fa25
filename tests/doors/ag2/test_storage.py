"""The door of AG2: the same histories as the framework's own storage in memory, and agents that go on in them."""

from __future__ import annotations

import asyncio
import random
import sys
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from ag2 import Agent
from ag2.compact import CompactionSummary
from ag2.events import (
    BaseEvent,
    BinaryInput,
    BuiltinToolCallEvent,
    BuiltinToolResultEvent,
    DataInput,
    HumanInputRequest,
    HumanMessage,
    ModelMessage,
    ModelMessageChunk,
    ModelRequest,
    ModelResponse,
    TaskStarted,
    TextInput,
    ToolCallEvent,
    ToolCallsEvent,
    ToolErrorEvent,
    ToolResult,
    ToolResultEvent,
    ToolResultsEvent,
    UnknownEvent,
    Usage,
    UsageEvent,
)
from ag2.events._serialization import serialize_value
from ag2.history import History, MemoryStorage, close_unanswered_tool_calls
from ag2.stream import MemoryStream
from ag2.testing import TestConfig

import chatstore
from chatstore import AIMessage, SystemMessage, ToolMessage
from chatstore import HumanMessage as Asked
from chatstore.errors import InvalidMessage
from chatstore.integrations.ag2 import ChatstoreStorage

STREAM = UUID(int=7)


class Noted(BaseEvent):
    """An event of an application's."""

    what: Any


def result(id_: str, text: str) -> ToolResultEvent:
    """Return what a tool returned."""
    return ToolResultEvent(parent_id=id_, name="climate", result=ToolResult(text, metadata={"n": [1]}))


def every() -> list[BaseEvent]:
    """Return an event of every kind."""
    call = ToolCallEvent("climate", id="a", arguments='{"city": "Rome"}', vendor_metadata={"v": None})
    broken = ToolCallEvent("climate", id="b", arguments="{")
    error = Exception("no")  # in the framework's own form every other is one of these
    return [
        ModelRequest(
            [
                TextInput("Hello \x00 🙂"),
                DataInput({"x": 1}),
                BinaryInput(b"\x00\xff", media_type="image/png"),
            ]
        ),
        ModelResponse(
            ModelMessage("Well.", metadata={"m": 1}),
            tool_calls=ToolCallsEvent([call, broken]),
            usage=Usage(3, 4, 7, thinking_tokens=1),
            model="a-model",
            finish_reason="tool_calls",
        ),
        UsageEvent(Usage(3, 4, 7), model="a-model"),
        ToolCallsEvent([call]),
        call,
        result("a", "mild"),
        ToolErrorEvent(parent_id="b", name="climate", error=error, result=ToolResult("no")),
        ToolResultsEvent([result("a", "mild")]),
        BuiltinToolCallEvent("search", id="c"),
        BuiltinToolResultEvent(parent_id="c", name="search", result=ToolResult("found")),
        HumanInputRequest("Sure?"),
        HumanMessage("Yes."),
        CompactionSummary(summary="It was about Rome.", event_count=3),
        TaskStarted(task_id="t", agent_name="a", objective="o"),
        ModelMessageChunk("We"),
        Noted(what={"id": UUID(int=1), "bytes": b"\x00", "list": [None, 1.5]}),
        ModelResponse(),
    ]


def at(stream_id: Any) -> Any:
    """Return the context of a stream."""
    return SimpleNamespace(stream=SimpleNamespace(id=stream_id))


def climate(city: str) -> str:
    """Tell the climate of a city."""
    return f"{city} is mild"


def calls(*cities: str) -> list[ToolCallEvent]:
    """Return calls of the tool."""
    return [ToolCallEvent("climate", id=f"call {city}", arguments=f'{{"city":"{city}"}}') for city in cities]


def forms(events: Any) -> list[Any]:
    """Return *events* in the framework's own form, with what it leaves out when it compares them."""
    return [serialize_value(event) for event in events]


def test_an_agent_goes_on(store: chatstore.Repository) -> None:
    """Law: an agent in a stream that is made anew hears all that was said; others read it as messages."""

    async def turn(question: str, *answers: Any) -> list[BaseEvent]:
        async with ChatstoreStorage(store) as door:
            agent = Agent("gardener", config=TestConfig(*answers), tools=[climate])
            await agent.ask(question, stream=MemoryStream(door, id=STREAM))
            return [*await door.get_history(STREAM)]

    first = asyncio.run(turn("How is it?", calls("Rome", "Oslo"), "Both are mild."))
    second = asyncio.run(turn("And in Bonn?", calls("Bonn"), "Mild, too."))
    assert forms(first) == forms(second[: len(first)])
    said = [
        one for one in store.get_messages(str(STREAM)) if isinstance(one, Asked | AIMessage | ToolMessage)
    ]
    told = [(one.type, one.text) for one in said]
    told[2:4] = sorted(told[2:4])  # of tools that run at once, each may be first
    assert [
        ("human", "How is it?"), ("ai", ""), ("tool", "Oslo is mild"), ("tool", "Rome is mild"),
        ("ai", "Both are mild."), ("human", "And in Bonn?"), ("ai", ""), ("tool", "Bonn is mild"), ("ai", "Mild, too."),
    ] == told  # fmt: skip
    called = [call["id"] for one in said if isinstance(one, AIMessage) for call in one.tool_calls]
    returned = [one.tool_call_id for one in said if isinstance(one, ToolMessage)]
    assert ["call Rome", "call Oslo", "call Bonn"] == called
    assert sorted(called) == sorted(returned)


def test_another_frameworks_conversation_goes_on(store: chatstore.Repository) -> None:
    """Law: what another framework stored is heard by the model, all answers to one turn's calls as one event."""
    asked = [{"name": "climate", "args": {"city": id_}, "id": id_, "type": "tool_call"} for id_ in "ab"]
    answers = [ToolMessage("mild", tool_call_id="a"), ToolMessage("no", tool_call_id="b", status="error")]
    begun = [SystemMessage("Be brief."), Asked("How?"), AIMessage("Look:", tool_calls=asked), *answers]
    store.add_messages(str(STREAM), [*begun, AIMessage("Mild.")])

    async def go() -> list[BaseEvent]:
        async with ChatstoreStorage(store) as door:
            agent = Agent("gardener", config=TestConfig("Yes.", raise_tool_errors=False))
            await agent.ask("Sure?", stream=MemoryStream(door, id=STREAM))
            return [*await door.get_history(STREAM)]

    request, call, results, answer, again, last = asyncio.run(go())
    assert ModelRequest([TextInput("How?")]) == request
    assert isinstance(call, ModelResponse)
    assert ("Look:", [{"city": "a"}, {"city": "b"}]) == (
        call.content, [one.serialized_arguments for one in call.tool_calls.calls],
    )  # fmt: skip
    assert isinstance(results, ToolResultsEvent)
    assert [("a", ToolResultEvent), ("b", ToolErrorEvent)] == [
        (one.parent_id, type(one)) for one in results.results
    ]
    assert [("Mild.", "Yes.")] == [(one.content, end.content) for one, end in [(answer, last)]]
    assert ModelRequest([TextInput("Sure?")]) == again


def test_events_of_every_kind_come_back(store: chatstore.Repository) -> None:
    """Law: each event is equal when it is read, with its time; the columns say what it says."""
    events = every()

    async def go() -> tuple[Any, Any]:
        async with ChatstoreStorage(store) as door:
            for event in events:
                await door.save_event(event, at(STREAM))
            alone = await door.get_history(STREAM)
            await door.set_history(STREAM, iter(alone))
            return alone, await door.get_history(STREAM)

    for found in asyncio.run(go()):
        assert forms(events) == forms(found)
        assert events == found
    messages = store.get_messages(str(STREAM))
    request, answer, usage, *_ = messages
    assert 'Hello \x00 🙂\n{"x":1}' == request.text.replace(": ", ":")
    assert isinstance(answer, AIMessage)
    assert ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}, [{"city": "Rome"}, {}]) == (
        answer.usage_metadata, [call["args"] for call in answer.tool_calls],
    )  # fmt: skip
    assert {"model_name": "a-model", "finish_reason": "tool_calls"} == answer.response_metadata
    assert "ag2:UsageEvent" == usage.type
    assert [("a", "success"), ("b", "error")] == [
        (one.tool_call_id, one.status) for one in messages if isinstance(one, ToolMessage)
    ]
    counted = [row for row in store.usage(by=("model",)) if row.model == "a-model"]
    assert [(3, 4)] == [(row.input_tokens, row.output_tokens) for row in counted]


def test_an_event_whose_class_is_gone(store: chatstore.Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: it is kept as it was, also when the history is written anew, and is itself again with its class."""
    event = Noted(what=1)

    async def go() -> None:
        async with ChatstoreStorage(store) as door:
            await door.save_event(event, at(STREAM))
            with monkeypatch.context() as patch:
                patch.delattr(sys.modules[__name__], "Noted")
                (found,) = await door.get_history(STREAM)
                assert isinstance(found, UnknownEvent)
                assert found.type_name.endswith(".Noted")
                await door.set_history(STREAM, [found])
            assert [event] == await door.get_history(STREAM)

    asyncio.run(go())


def test_calls_that_a_stopped_turn_left_are_answered(store: chatstore.Repository) -> None:
    """Law: what the framework answers for a turn that was stopped is a message for each call, none of them twice."""
    begun = [
        ModelRequest([TextInput("How?")]),
        ModelResponse(tool_calls=ToolCallsEvent(calls("Rome", "Oslo"))),
    ]

    async def go() -> int:
        async with ChatstoreStorage(store) as door:
            for event in (*begun, result("call Rome", "Rome is mild")):
                await door.save_event(event, at(STREAM))
            history = History(STREAM, door)
            closed: int = await close_unanswered_tool_calls(history, result="stopped")
            assert 0 == await close_unanswered_tool_calls(history, result="stopped")
            assert [ModelRequest, ModelResponse, ToolResultEvent, ToolResultsEvent] == [
                type(event) for event in await door.get_history(STREAM)
            ]
            return closed

    assert 1 == asyncio.run(go())
    assert [("call Rome", "Rome is mild"), ("call Oslo", "stopped")] == [
        (one.tool_call_id, one.text)
        for one in store.get_messages(str(STREAM))
        if isinstance(one, ToolMessage)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_like_their_storage(store: chatstore.Repository, seed: int) -> None:
    """Law: over random calls the same comes out as of the framework's own storage in memory."""
    chance = random.Random(seed)

    async def go() -> None:
        async with ChatstoreStorage(store) as ours:
            storages: list[Any] = [ours, MemoryStorage()]
            for _ in range(80):
                stream, event = chance.choice((STREAM, "text")), chance.choice(every())
                chosen = chance.choices(every(), k=chance.randrange(4))
                name, *given = chance.choice(
                    [
                        *[("save_event", event, at(stream))] * 5,
                        ("set_history", stream, chosen),
                        ("drop_history", stream),
                    ]
                )
                for storage in storages:
                    await getattr(storage, str(name))(*given)
                found = [forms(await storage.get_history(stream)) for storage in storages]
                assert found[0] == found[1]

    asyncio.run(go())


def test_what_is_no_json_is_refused(store: chatstore.Repository) -> None:
    """Law: an event that the framework's own form cannot say is refused, with its place, and nothing is written."""

    async def go() -> None:
        async with ChatstoreStorage(store.scope(user_id="ada")) as door:
            with pytest.raises(InvalidMessage, match=r"what.*is of type set"):
                await door.save_event(Noted(what={1}), at(STREAM))
            with pytest.raises(InvalidMessage, match=r"what.*is of type set"):
                await door.set_history(STREAM, [Noted(what=1), Noted(what={1})])
            await door.save_event(Noted(what=1), at(STREAM))
        async with ChatstoreStorage(store.scope(user_id="bob")) as door:
            assert [] == await door.get_history(STREAM)
            await door.drop_history(STREAM)

    asyncio.run(go())
    assert 1 == store.count_messages(str(STREAM))


def test_a_stream_that_keeps_all(store: chatstore.Repository) -> None:
    """Law: with `persist_all` pieces of answers and the like are kept, too."""

    async def go() -> list[type]:
        async with ChatstoreStorage(store) as door:
            agent = Agent("gardener", config=TestConfig(ModelMessageChunk("Mi"), "Mild."))
            await agent.ask("How?", stream=MemoryStream(door, id=STREAM, persist_all=True))
            return [type(event) for event in await door.get_history(STREAM)]

    assert {ModelRequest, ModelMessageChunk, ModelMessage, ModelResponse} <= {*asyncio.run(go())}
