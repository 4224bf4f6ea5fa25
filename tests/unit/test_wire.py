"""The wire form: the page's three keys, and every shape that framework ever wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatstore.codec import dumps, from_wire, loads, to_wire
from chatstore.errors import InvalidMessage
from chatstore.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    Message,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
)
from chatstore.wire import SHAPES

SECRET = "the parrot sold the submarine"
PAGE = (
    '[{"type": "human", "data": {"content": "Hello!", "additional_kwargs": {}, "example": false}}, '
    '{"type": "ai", "data": {"content": "Hello there! How can I assist you today?", '
    '"additional_kwargs": {}, "example": false}}]'
)
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
READ = {"name": "find", "args": {"q": 1}, "id": "c1", "type": "tool_call"}

# ---- writing


def test_the_page_is_written_as_the_page_has_it() -> None:
    """Two plain messages are the page's JSON to the byte, and its JSON reads as these messages."""
    messages = [HumanMessage("Hello!"), AIMessage("Hello there! How can I assist you today?")]
    assert PAGE == json.dumps([to_wire(message) for message in messages])
    assert messages == [from_wire(one) for one in loads(PAGE)]


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"content": "x", "additional_kwargs": {}}, SystemMessage("x")),
        (
            {"content": "x", "additional_kwargs": {}, "tool_call_id": "c1"},
            ToolMessage("x", tool_call_id="c1"),
        ),
        ({"content": "x", "additional_kwargs": {}, "name": "f"}, FunctionMessage("x", name="f")),
        ({"content": "x", "additional_kwargs": {}, "role": "critic"}, ChatMessage("x", role="critic")),
        (
            {
                "content": [],
                "additional_kwargs": {"a": 1},
                "example": True,
                "name": "Ann",
                "mood": "glad",
                "id": "7",
            },
            HumanMessage([], additional_kwargs={"a": 1}, example=True, name="Ann", id="7", mood="glad"),
        ),
        (
            {
                "content": "",
                "additional_kwargs": {},
                "example": False,
                "tool_calls": [READ],
                "usage_metadata": {"input_tokens": 1},
            },
            AIMessage("", tool_calls=[READ], usage_metadata={"input_tokens": 1}),
        ),
        (
            {
                "content": "",
                "additional_kwargs": {},
                "tool_call_id": "c1",
                "artifact": [1],
                "status": "error",
            },
            ToolMessage("", tool_call_id="c1", artifact=[1], status="error"),
        ),
        ({"a": 1}, OpaqueMessage(type="developer", data={"a": 1})),
    ],
    ids=lambda value: value.type if isinstance(value, Message) else "",
)
def test_only_what_differs_is_written(expected: dict[str, Any], message: Message) -> None:
    """Beside the page's keys a message writes what its class requires and what is not its default."""
    assert {"type": message.type, "data": expected} == to_wire(message)
    assert message == from_wire(loads(dumps(to_wire(message))))


@pytest.mark.parametrize(
    "given", [{}, {"tool_calls": []}, {"invalid_tool_calls": []}, {"tool_calls": [READ, READ]}]
)
def test_tool_calls_may_disagree_with_additional_kwargs(given: dict[str, Any]) -> None:
    """What was made to disagree stays so: an empty list is written where it would be read otherwise."""
    message = AIMessage("", additional_kwargs={"tool_calls": [CALL]}, **given)
    assert message == from_wire(loads(dumps(to_wire(message))))
    message.tool_calls, message.invalid_tool_calls = [], []
    assert message == from_wire(loads(dumps(to_wire(message))))


def test_a_derived_class_is_written_as_its_base() -> None:
    """An application's own class comes back as the known class, its fields as unknown ones."""

    class Rated(AIMessage):
        stars: int = 5

    assert AIMessage("x", stars=4) == from_wire(to_wire(Rated(content="x", stars=4)))


@pytest.mark.parametrize(
    "value", ["x", None, {"type": "human"}, HumanMessage, BaseMessage("x", type="strange")]
)
def test_what_is_no_message_is_refused(value: Any) -> None:
    """Only chatstore's classes and what is derived from them have a wire form."""
    with pytest.raises(InvalidMessage, match="not a message: pass"):
        to_wire(value)


def test_every_class_has_a_shape() -> None:
    """The shapes agree with the fields pydantic knows."""
    for cls, shape in SHAPES.items():
        assert (cls.model_fields["type"].default, set(cls.model_fields)) == (shape.tag, set(shape.fields))


# ---- every era

HUMAN: dict[str, dict[str, Any]] = {
    "0.0.123": {"content": "hi", "additional_kwargs": {}},
    "0.0.200": {"content": "hi", "additional_kwargs": {}, "example": False},
    "0.1.0": {"content": "hi", "additional_kwargs": {}, "type": "human", "example": False},
    "0.1.30": {
        "content": "hi",
        "additional_kwargs": {},
        "type": "human",
        "name": None,
        "id": None,
        "example": False,
    },
    "0.1.53": {
        "content": "hi",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "human",
        "name": None,
        "id": None,
        "example": False,
    },
    "1.0.0": {
        "content": "hi",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "human",
        "name": None,
        "id": None,
    },
}
AI: dict[str, dict[str, Any]] = {
    "0.1.53": {**HUMAN["0.1.53"], "type": "ai", "tool_calls": [], "invalid_tool_calls": []},
    "0.2.43": {
        **HUMAN["0.1.53"],
        "type": "ai",
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": None,
    },
    "1.0.0": {
        **HUMAN["1.0.0"],
        "type": "ai",
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": None,
    },
}


@pytest.mark.parametrize("data", HUMAN.values(), ids=HUMAN)
def test_a_human_message_of_every_era(data: dict[str, Any]) -> None:
    """Every release's file of a plain message loads as the same plain message."""
    assert HumanMessage("hi") == from_wire({"type": "human", "data": data})


@pytest.mark.parametrize("data", AI.values(), ids=AI)
def test_an_ai_message_of_every_era(data: dict[str, Any]) -> None:
    """So does an answer, with or without the keys for tool calls and usage."""
    assert AIMessage("hi") == from_wire({"type": "ai", "data": data})


def test_a_tool_message_of_today() -> None:
    """The newest shape, with every key written."""
    data: dict[str, Any] = {
        "content": "42",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "tool",
        "name": "f",
        "id": None,
        "tool_call_id": "c1",
        "artifact": None,
        "status": "success",
    }
    assert ToolMessage("42", name="f", tool_call_id="c1") == from_wire({"type": "tool", "data": data})


def test_tool_calls_of_files_older_than_tool_calls() -> None:
    """An answer that has calls only in OpenAI's form gets them read, as in that framework."""
    message = from_wire({"type": "ai", "data": {"content": "", "additional_kwargs": {"tool_calls": [CALL]}}})
    assert isinstance(message, AIMessage)
    assert [READ] == message.tool_calls


@pytest.mark.parametrize("cls", list(SHAPES), ids=lambda cls: cls.__name__)
def test_chunks_become_the_whole_message(cls: type[BaseMessage]) -> None:
    """A streamed chunk in a file loads as its class; what only chunks have is kept."""
    shape = SHAPES[cls]
    needed: dict[str, Any] = {shape.required: "n"} if shape.required else {}
    tag = f"{cls.__name__}Chunk"
    data = {"content": "x", "type": tag, **needed, "tool_call_chunks": [], "chunk_position": "last"}
    message = from_wire({"type": tag, "data": data})
    assert cls("x", tool_call_chunks=[], chunk_position="last", **needed) == message
    assert shape.tag == to_wire(message)["type"]


@pytest.mark.parametrize(
    "obj",
    [
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", "HumanMessage"],
            "kwargs": {"content": "hi", "type": "human"},
        },
        {"lc": 1, "type": "constructor", "id": ["x", "HumanMessageChunk"], "kwargs": {"content": "hi"}},
        {"type": "human", "content": "hi", "additional_kwargs": {}, "id": None},
        {"type": "human", "data": {"content": "hi"}, "position": 7, "message_id": "m"},
    ],
)
def test_other_shapes_of_that_framework(obj: dict[str, Any]) -> None:
    """Serialised constructors and flat objects load too; what carries a message may have keys of its own."""
    assert HumanMessage("hi") == from_wire(obj)


@pytest.mark.parametrize("type_", ["developer", "remove", "Human", "human ", "future"])
def test_an_unknown_type_is_kept_unchanged(type_: str) -> None:
    """It loads as an opaque message and is written back as it was."""
    obj = {"type": type_, "data": {"content": "x", "type": type_, "id": 5, "nested": {"a": [1, None]}}}
    message = from_wire(obj)
    assert isinstance(message, OpaqueMessage)
    assert obj == to_wire(message)


def test_reading_does_not_touch_what_is_read() -> None:
    """The object passed in stays as it was."""
    obj = {"type": "ai", "data": {"content": "", "type": "ai", "additional_kwargs": {"tool_calls": [CALL]}}}
    before = json.dumps(obj)
    from_wire(obj)
    assert before == json.dumps(obj)


@pytest.mark.parametrize(
    ("fault", "obj"),
    [
        ("a message is of type list", []),
        ("a message is of type str", SECRET),
        ("type is missing", {"data": {"content": SECRET}}),
        ("type is missing", {"type": 5, "data": {"content": SECRET}}),
        ("type is missing", {"role": "user", "content": SECRET}),
        ("type is missing", {"lc": 1, "id": ["x", "RemoveMessage"], "kwargs": {}}),
        ("data is of type NoneType", {"type": "human"}),
        ("data is of type list", {"type": "human", "data": [SECRET]}),
        ("data.type contradicts type", {"type": "human", "data": {"content": SECRET, "type": "ai"}}),
        ("data.type contradicts type", {"type": "human", "data": {"content": SECRET, "type": [5]}}),
        ("data.content is missing", {"type": "human", "data": {}}),
        ("data.content is invalid", {"type": "human", "data": {"content": None}}),
        (r"data.content\[1\] is invalid", {"type": "human", "data": {"content": [SECRET, 5]}}),
        ("data.tool_call_id is missing", {"type": "tool", "data": {"content": SECRET}}),
        (
            "data.status is invalid",
            {"type": "tool", "data": {"content": "", "tool_call_id": "c", "status": SECRET}},
        ),
        (r"data.tool_calls\[0\] is invalid", {"type": "ai", "data": {"content": "", "tool_calls": [SECRET]}}),
        ("data is invalid", {"type": "human", "data": {"content": SECRET, "\ud800": 1}}),
    ],
)
def test_a_faulty_message_is_refused_with_its_path(fault: str, obj: Any) -> None:
    """The error names the place and what to do, never what was said."""
    with pytest.raises(InvalidMessage, match=f"^{fault}") as raised:
        from_wire(obj)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
