"""Messages and records as values: how they print, compare, copy and validate."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from chatstore.messages import (
    BLANK,
    CLASSES,
    PLAIN,
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    Message,
    MessageRecord,
    OpaqueMessage,
    Records,
    SystemMessage,
    ToolMessage,
)

SECRET = "the parrot sold the submarine"
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
READ = {"name": "find", "args": {"q": 1}, "id": "c1", "type": "tool_call"}
NEEDED: dict[type[BaseMessage], dict[str, Any]] = {
    ToolMessage: {"tool_call_id": "c1"},
    FunctionMessage: {"name": "f"},
    ChatMessage: {"role": "critic"},
}


def inside(message: BaseModel) -> tuple[object, ...]:
    """Return everything pydantic keeps of a message, the order of fields included."""
    return (
        type(message),
        list(message.__dict__.items()),
        message.__pydantic_fields_set__,
        message.__pydantic_extra__,
        message.__pydantic_private__,
    )


def validated(cls: type[BaseMessage], **fields: Any) -> BaseMessage:
    """Return the message that pydantic's own validation makes."""
    return cls.model_validate(fields)


# ---- printing


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            "HumanMessage(content='Hello!', additional_kwargs={}, example=False)",
            HumanMessage(content="Hello!"),
        ),
        (
            "AIMessage(content='Hello there!', additional_kwargs={}, example=False)",
            AIMessage(content="Hello there!"),
        ),
        ("SystemMessage(content='Be brief.', additional_kwargs={})", SystemMessage("Be brief.")),
        (
            "ToolMessage(content='4', additional_kwargs={}, tool_call_id='c1')",
            ToolMessage("4", tool_call_id="c1"),
        ),
        ("FunctionMessage(content='4', additional_kwargs={}, name='f')", FunctionMessage("4", name="f")),
        ("ChatMessage(content='4', additional_kwargs={}, role='critic')", ChatMessage("4", role="critic")),
        (
            "HumanMessage(content='x', additional_kwargs={'a': 1}, example=True, name='A', id='7', mood='b')",
            HumanMessage("x", additional_kwargs={"a": 1}, example=True, name="A", id="7", mood="b"),
        ),
        (
            "AIMessage(content='', additional_kwargs={}, example=False, usage_metadata={'input_tokens': 1})",
            AIMessage("", usage_metadata={"input_tokens": 1}),
        ),
        ("OpaqueMessage(type='developer', data={'a': 1})", OpaqueMessage(type="developer", data={"a": 1})),
    ],
)
def test_repr_is_the_pages(expected: str, message: Message) -> None:
    """A plain message prints as on the page; other fields follow where they differ from their default."""
    assert expected == repr(message)


def test_the_page_prints_as_a_list() -> None:
    """The page's two messages print exactly as the page shows them."""
    messages = [HumanMessage("Hello!"), AIMessage("Hello there! How can I assist you today?")]
    expected = (
        "[HumanMessage(content='Hello!', additional_kwargs={}, example=False), "
        "AIMessage(content='Hello there! How can I assist you today?', additional_kwargs={}, example=False)]"
    )
    assert expected == repr(messages)


# ---- construction


@pytest.mark.parametrize("cls", [HumanMessage, AIMessage, SystemMessage])
@pytest.mark.parametrize("content", ["", "hi", "\0", "\ud800", "\ud83d\ude00", "😀" * 3])
def test_text_alone_makes_what_validation_makes(cls: type[BaseMessage], content: str) -> None:
    """The short way of a plain message ends in the same object as validation does, to the last slot."""
    expected = inside(validated(cls, content=content))
    assert expected == inside(cls(content))
    assert expected == inside(cls(content=content))


@pytest.mark.parametrize("cls", list(BLANK))
def test_blank_values_are_the_declared_fields(cls: type[BaseMessage]) -> None:
    """The values written down for speed are the fields of the class, in order, with their defaults."""
    message = validated(cls, content="x", **NEEDED.get(cls, {}))
    expected = {**message.__dict__, **dict.fromkeys(NEEDED.get(cls, {}))}
    assert list(expected.items()) == list(BLANK[cls]("x", None).items())
    assert list(cls.model_fields) == list(BLANK[cls]("x", None))


def test_plain_classes_require_nothing() -> None:
    """Only a class that requires nothing but content may skip validation."""
    required = {
        cls
        for cls in BLANK
        if [name for name, info in cls.model_fields.items() if info.is_required()] != ["content"]
    }
    assert set(PLAIN) == set(BLANK) - required


@pytest.mark.parametrize("cls", list(BLANK))
def test_content_by_position_and_by_name(cls: type[BaseMessage]) -> None:
    """Content may be given either way, once."""
    more = NEEDED.get(cls, {})
    assert cls(content=["a", {"type": "text", "text": "b"}], **more) == cls(
        ["a", {"type": "text", "text": "b"}], **more
    )
    with pytest.raises(TypeError, match="takes one content"):
        cls("a", **{"content": "b", **more})
    with pytest.raises(TypeError, match="takes one content"):
        cls(*["a", "b"], **more)
    with pytest.raises(ValidationError, match="content"):
        cls(**more)


@pytest.mark.parametrize("cls", list(NEEDED))
def test_what_a_class_requires(cls: type[BaseMessage]) -> None:
    """A tool message needs its call, a function message its name, a chat message its role."""
    with pytest.raises(ValidationError, match=next(iter(NEEDED[cls]))):
        cls("x")


@pytest.mark.parametrize("content", [5, None, ("a",) * 2 + (5,), ["a", 5], {"a": 1}, b"\xff"])
def test_content_is_text_or_parts(content: Any) -> None:
    """Anything else is refused at construction."""
    with pytest.raises(ValidationError):
        HumanMessage(content)


def test_the_type_is_the_classes() -> None:
    """A type that is not the class's own is refused; the class's own may be given."""
    with pytest.raises(ValidationError, match="type"):
        HumanMessage("x", type="ai")
    assert HumanMessage("x") == HumanMessage("x", type="human")


def test_a_number_becomes_a_text_id() -> None:
    """An id given as a number is kept as text; so is a tool call's."""
    assert "5" == HumanMessage("x", id=5).id
    number: Any = 5
    assert "5" == ToolMessage("x", tool_call_id=number).tool_call_id


def test_a_tools_number_becomes_text() -> None:
    """A tool may answer with a number, as in that framework."""
    answers: list[Any] = [4, 4.5, True]
    assert ["4", "4.5", "True"] == [ToolMessage(answer, tool_call_id="c").content for answer in answers]


def test_unknown_fields_are_kept() -> None:
    """What the class does not know stays with the message, whatever it is called."""
    message = HumanMessage("x", self=1, cls=2, json=3, content_type=None)
    assert {"self": 1, "cls": 2, "json": 3, "content_type": None} == message.__pydantic_extra__
    assert message.model_copy() == message


def test_validation_errors_do_not_repeat_values() -> None:
    """What was said never stands in an error."""
    for fields in (
        {"content": [SECRET, 5]},
        {"content": "x", "name": [SECRET]},
        {"content": "x", "type": SECRET},
    ):
        with pytest.raises(ValidationError) as raised:
            HumanMessage(**fields)
        assert SECRET not in str(raised.value) + repr(raised.value)


# ---- tool calls in OpenAI's form


def test_tool_calls_are_read_from_additional_kwargs() -> None:
    """Where neither list is given, OpenAI's calls become tool calls, or invalid ones if they do not parse."""
    broken = {"id": "c2", "function": {"name": "find", "arguments": '{"q": '}}
    nan = {"id": "c3", "function": {"name": "find", "arguments": '{"q": NaN}'}}
    listed = {"id": "c4", "function": {"name": "find", "arguments": "[1]"}}
    message = AIMessage("", additional_kwargs={"tool_calls": [CALL, broken, nan, listed]})
    assert [READ] == message.tool_calls
    assert ["c2", "c3", "c4"] == [call["id"] for call in message.invalid_tool_calls]
    assert {
        "name": "find",
        "args": '{"q": ',
        "id": "c2",
        "error": None,
        "type": "invalid_tool_call",
    } == message.invalid_tool_calls[0]


@pytest.mark.parametrize("arguments", ["", "null", None, {}, "{}"])
def test_a_call_may_have_no_arguments(arguments: Any) -> None:
    """Every way to say "no arguments" is an empty object."""
    raw = {"id": "c1", "function": {"name": "now", "arguments": arguments}}
    message = AIMessage("", additional_kwargs={"tool_calls": [raw]})
    assert [{"name": "now", "args": {}, "id": "c1", "type": "tool_call"}] == message.tool_calls


@pytest.mark.parametrize("raw", [None, 5, "x", [], [None], [{}], [{"function": 5}], {"a": 1}])
def test_what_is_no_call_is_left_alone(raw: Any) -> None:
    """Shapes that are not OpenAI's raise nothing and give no calls."""
    message = AIMessage("", additional_kwargs={"tool_calls": raw})
    assert ([], [], raw) == (
        message.tool_calls,
        message.invalid_tool_calls,
        message.additional_kwargs["tool_calls"],
    )


def test_deep_arguments_are_invalid_not_fatal() -> None:
    """Arguments nested too deeply to parse make an invalid call."""
    raw = {"id": "c1", "function": {"name": "f", "arguments": "[" * 100_000}}
    assert 1 == len(AIMessage("", additional_kwargs={"tool_calls": [raw]}).invalid_tool_calls)


@pytest.mark.parametrize(
    "given", [{"tool_calls": []}, {"invalid_tool_calls": []}, {"tool_calls": [{"name": "other"}]}]
)
def test_given_tool_calls_win(given: dict[str, Any]) -> None:
    """A list that was given, even an empty one, is never replaced."""
    message = AIMessage("", additional_kwargs={"tool_calls": [CALL]}, **given)
    assert given.get("tool_calls", []) == message.tool_calls


def test_validation_reads_tool_calls_too() -> None:
    """`model_validate` and a field of another model give what the constructor gives."""

    class Turn(BaseModel):
        answer: AIMessage

    data = {"content": "", "additional_kwargs": {"tool_calls": [CALL]}}
    assert (
        [READ]
        == AIMessage.model_validate(data).tool_calls
        == Turn.model_validate({"answer": data}).answer.tool_calls
    )


# ---- values


def samples() -> list[Message]:
    """Return one message of each class, plain and full."""
    return [
        HumanMessage("hi"),
        HumanMessage("hi", id="1", mood="glad"),
        AIMessage("hi"),
        AIMessage("", tool_calls=[READ]),
        SystemMessage("hi"),
        ToolMessage("4", tool_call_id="c1", artifact={"rows": [1]}, status="error"),
        FunctionMessage("4", name="f"),
        ChatMessage("4", role="critic"),
        OpaqueMessage(type="developer", data={"content": "x"}),
    ]


@pytest.mark.parametrize("message", samples(), ids=lambda message: message.type)
def test_messages_are_ordinary_pydantic_objects(message: Message) -> None:
    """Dumping, copying, pickling and comparing work on every message, however it was made."""
    assert message == type(message).model_validate(message.model_dump())
    assert message == copy.copy(message) == copy.deepcopy(message) == message.model_copy(deep=True)
    assert inside(message) == inside(pickle.loads(pickle.dumps(message)))  # noqa: S301 - made here
    assert message == type(message).model_validate_json(message.model_dump_json())


def test_equality_is_by_value_and_class() -> None:
    """Equal fields of one class are equal messages; another class or field is not."""
    assert HumanMessage("x") == HumanMessage("x")
    other: Message = AIMessage("x")
    assert HumanMessage("x") != other
    assert HumanMessage("x") != HumanMessage("x", mood="glad")


def test_plain_messages_share_nothing() -> None:
    """Changing one message changes no other."""
    first, second = HumanMessage("x"), HumanMessage("x")
    first.additional_kwargs["a"] = 1
    first.mood = "glad"  # type: ignore[attr-defined]
    first.name = "Ann"
    assert inside(HumanMessage("x")) == inside(second)
    assert {"content", "name"} <= first.model_fields_set
    assert {"content"} == second.model_fields_set


def test_every_message_is_a_message() -> None:
    """`Message` works for annotations and `isinstance`, for all classes and what is derived from them."""

    class Custom(HumanMessage):
        mood: str = "glad"

    assert all(isinstance(message, Message) for message in samples())
    assert isinstance(Custom(content="x"), Message)
    assert not isinstance("x", Message)
    assert "Custom(content='x', additional_kwargs={}, example=False)" == repr(Custom(content="x"))
    assert "glad" == Custom(content="x").mood


def test_text_is_what_a_person_reads() -> None:
    """`text` joins the text parts by lines and leaves other blocks out."""
    parts: list[Any] = [
        "a",
        {"type": "text", "text": "b"},
        {"type": "image", "url": "u"},
        {"type": "text", "text": None},
    ]
    assert "a\nb" == HumanMessage(parts).text == OpaqueMessage(type="x", data={"content": parts}).text
    assert "c" == AIMessage("c").text
    assert "" == OpaqueMessage(type="x", data={"content": 5}).text == HumanMessage([]).text


# ---- opaque messages


@pytest.mark.parametrize("known", ["human", "AIMessageChunk"])
def test_a_known_type_is_never_opaque(known: str) -> None:
    """A type that has a class, or becomes one, cannot be hidden in an opaque message."""
    with pytest.raises(ValidationError, match="use "):
        OpaqueMessage(type=known, data={})


def test_an_opaque_message_shows_its_content_and_id() -> None:
    """They are read from the data and cannot be set; the id of a removal names another message."""
    message = OpaqueMessage(type="developer", data={"content": "x", "id": "7"})
    assert ("x", "7") == (message.content, message.id)
    assert ("", None) == (
        OpaqueMessage(type="x", data={}).content,
        OpaqueMessage(type="x", data={"id": 7}).id,
    )
    assert OpaqueMessage(type="remove", data={"id": "7"}).id is None
    with pytest.raises(AttributeError):
        message.content = "y"  # type: ignore[misc]


def test_chunk_tags_have_the_whole_messages_class() -> None:
    """Each class is found by its type and by the tag its streamed chunks leave in files."""
    assert AIMessage is CLASSES["ai"] is CLASSES["AIMessageChunk"]
    assert 12 == len(CLASSES)


# ---- records


def test_records_are_values() -> None:
    """A record cannot be changed, and equal records are equal; records carry the session's revision."""
    now = datetime.now(UTC)
    record = MessageRecord(HumanMessage("x"), 1, "m", now, "s")
    assert MessageRecord(HumanMessage("x"), 1, "m", now, "s") == record
    with pytest.raises(AttributeError):
        record.position = 2  # type: ignore[misc]
    records = Records([record])
    records.revision = 7
    assert ([record], 7) == (records, records.revision)
    assert ([], 0) == (Records(), Records().revision)


# ---- cost


def test_plain_messages_need_no_schema() -> None:
    """A conversation of plain text makes pydantic build nothing: 20 ms of every cold start."""
    program = (
        "from datetime import UTC, datetime\n"
        "from chatstore import codec, messages\n"
        "made = messages.HumanMessage('hi'), messages.AIMessage(content='ho')\n"
        "rows = [codec.encode(message, now=datetime.now(UTC)) for message in made]\n"
        "back = [codec.decode(row.type, row.content, row.payload, None) for row in rows]\n"
        "assert list(made) == back, repr(back)\n"
        "print(any(cls.__pydantic_complete__ for cls in messages.CLASSES.values()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
