"""Formats: every shape of a file is understood, and what OpenAI's API said comes back key for key."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore import codec
from chatstore.errors import Invalid, InvalidMessage
from chatstore.formats import find, langchain, openai, reading, writing
from chatstore.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    OpaqueMessage,
    SystemMessage,
    ToolMessage,
)
from tests import corpus, hostile

if TYPE_CHECKING:
    from chatstore.incoming.session import Incoming

USER = {"role": "user", "content": "Hi"}
HUMAN = {"type": "human", "data": {"content": "Hi", "additional_kwargs": {}, "example": False}}


def read(text: str | bytes, name: str = "auto") -> list[Incoming]:
    """Read the conversations in a file that holds *text*."""
    return list(reading.read(io.BytesIO(text if isinstance(text, bytes) else text.encode()), name))


def messages(text: str | bytes, name: str = "auto") -> list[list[Any]]:
    """Return the messages of each conversation in *text*."""
    return [[one.message for one in session.elements] for session in read(text, name)]


# ------------------------------------------------------------------------------------------------ LangChain


@pytest.mark.parametrize(
    "data",
    [
        {"content": "Hi", "additional_kwargs": {}},
        {"content": "Hi", "additional_kwargs": {}, "example": False},
        {"content": "Hi", "additional_kwargs": {}, "type": "human", "example": False},
        {"content": "Hi", "additional_kwargs": {}, "type": "human", "example": False, "name": None, "id": None},
        {"content": "Hi", "additional_kwargs": {}, "response_metadata": {}, "type": "human", "name": None, "id": None},
    ],
    ids=["0.0.123", "0.0.200, the page", "0.1.0", "0.1.30", "1.x"],
)  # fmt: skip
def test_every_age_of_the_page_is_the_same_message(data: dict[str, Any]) -> None:
    """Whichever release wrote the element, it is the same message."""
    assert [[HumanMessage("Hi")]] == messages(json.dumps([{"type": "human", "data": data}]))


def constructed(path: list[str], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor form of a message."""
    return {"lc": 1, "type": "constructor", "id": path, "kwargs": kwargs}


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (
            constructed(["langchain", "schema", "messages", "HumanMessage"], {"content": "Hi", "type": "human"}),
            HumanMessage("Hi"),
        ),
        (
            constructed(["x", "AIMessageChunk"], {"content": "Yo", "tool_calls": []}),
            AIMessage("Yo"),
        ),
        ({"type": "human", "content": "Hi", "id": "m1"}, HumanMessage("Hi", id="m1")),
        ({"type": "tool", "content": "42", "tool_call_id": "c1"}, ToolMessage("42", tool_call_id="c1")),
        ({"type": "chat", "role": "critic", "content": "No"}, ChatMessage("No", role="critic")),
        ({"type": "remove", "data": {"id": "m1"}}, OpaqueMessage(type="remove", data={"id": "m1"})),
    ],
    ids=["constructor", "constructor of a chunk", "flat", "flat tool", "flat chat", "unknown type"],
)  # fmt: skip
def test_every_shape_of_a_message_is_recognised(element: dict[str, Any], message: Any) -> None:
    """The constructor form, the flat form and unknown types load without saying which format it is."""
    assert [[message]] == messages(json.dumps([element]))


def test_a_message_is_written_with_the_keys_of_the_page() -> None:
    """What the page shows is what is written, and nothing beside it."""
    stream = io.BytesIO()

    count = writing.write_array(stream, find("langchain"), [HumanMessage("Hi"), AIMessage("Yo")])

    assert 2 == count
    assert [HUMAN, {**HUMAN, "type": "ai", "data": {**HUMAN["data"], "content": "Yo"}}] == json.loads(  # type: ignore[dict-item]
        stream.getvalue()
    )


# ------------------------------------------------------------------------------------------------ OpenAI

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
PARSED = {"name": "f", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
CUSTOM = {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "x"}}
PARTS = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]


def calling(*calls: Any) -> dict[str, Any]:
    """Return an assistant's message with these tool calls; text stands for the arguments of one."""
    made = [
        {**CALL, "function": {"name": "f", "arguments": call}} if isinstance(call, str) else call
        for call in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


MESSAGES: dict[str, dict[str, Any]] = {
    "system": {"role": "system", "content": "Be brief."},
    "developer": {"role": "developer", "content": "Be brief."},
    "user": USER,
    "named user": {"role": "user", "content": "Hi", "name": "ada"},
    "parts": {"role": "user", "content": PARTS},
    "assistant": {"role": "assistant", "content": "Yo"},
    "null content": {"role": "assistant", "content": None},
    "no content": {"role": "assistant"},
    "calls": calling(CALL),
    "calls and text": {"role": "assistant", "content": "Let me see", "tool_calls": [CALL]},
    "calls and empty text": {"role": "assistant", "content": "", "tool_calls": [CALL]},
    "calls without content": {"role": "assistant", "tool_calls": [CALL]},
    "spaced arguments": calling('{ "a": 1.0, "b": "\\u00e9"}'),
    "twice the same key": calling('{"a":1,"a":2}'),
    "broken arguments": calling('{"a":'),
    "empty arguments": calling(""),
    "a custom tool": calling(CUSTOM),
    "valid after broken": calling("?", CALL),
    "no calls": {"role": "assistant", "content": "Yo", "tool_calls": []},
    "null calls": {"role": "assistant", "content": "Yo", "tool_calls": None, "function_call": None, "refusal": None},
    "refusal": {"role": "assistant", "content": None, "refusal": "No."},
    "audio": {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
    "function call": {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    "reasoning": {"role": "assistant", "content": "42", "reasoning_content": "6 x 7", "annotations": []},
    "with an id": {"role": "assistant", "content": "Yo", "id": "msg_1"},
    "with an impossible id": {"role": "assistant", "content": "Yo", "id": " x"},
    "tool": {"role": "tool", "content": "42", "tool_call_id": "call_1"},
    "named tool": {"role": "tool", "content": "42", "tool_call_id": "call_1", "name": "f"},
    "tool with a number": {"role": "tool", "content": 42, "tool_call_id": 7},
    "tool without a call": {"role": "tool", "content": "42"},
    "function": {"role": "function", "name": "f", "content": None},
    "unknown role": {"role": "critic", "content": "No", "score": 1.0, "final": True},
    "null name": {"role": "user", "content": "Hi", "name": None},
    "reserved keys": {"role": "user", "content": "Hi", "__openai__": 1, "additional_kwargs": {}},
}  # fmt: skip


def stored(message: Any) -> Any:
    """Return *message* after it was stored and read again."""
    return codec.from_wire(codec.loads(codec.dumps(codec.to_wire(message))))


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_what_the_api_said_comes_back_key_for_key(message: dict[str, Any]) -> None:
    """Loaded, stored and dumped, a message is equal, and so is its JSON (1, 1.0 and true differ)."""
    dumped = openai.dump(stored(openai.load(message)))

    assert message == dumped
    assert json.dumps(message, sort_keys=True) == json.dumps(dumped, sort_keys=True)


@pytest.mark.parametrize("text", hostile.TEXTS.values(), ids=hostile.TEXTS)
def test_any_text_comes_back(text: str) -> None:
    """Hostile text anywhere in a message, arguments included, comes back equal."""
    calls = [{**CALL, "function": {"name": "f", "arguments": text}}]
    for message in (
        {"role": "user", "content": text, "name": text},
        {"role": "tool", "content": text, "tool_call_id": text},
        {"role": "assistant", "content": [{"type": "text", "text": text}], "tool_calls": calls, "x": text},
    ):
        assert message == openai.dump(stored(openai.load(message)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("content", "name", "id", "tool_calls", "tool_call_id", "refusal", "audio", "function_call", "other")


@given(
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "critic"]),
    rest=st.dictionaries(st.sampled_from(KEYS), VALUES | st.text()),
)
def test_any_json_in_any_key_comes_back(role: str, rest: dict[str, Any]) -> None:
    """Whatever JSON stands under the API's keys, it is neither lost nor changed."""
    message = {"role": role, **rest}

    assert json.dumps(message, sort_keys=True) == json.dumps(
        openai.dump(stored(openai.load(message))), sort_keys=True
    )


def test_messages_become_what_everybody_looks_for() -> None:
    """Roles are classes, tool calls are parsed, the developer stays one: not only the round trip counts."""
    assert HumanMessage("Hi") == openai.load(USER)
    assert SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}) == openai.load(
        {"role": "developer", "content": "x"}
    )
    assert ToolMessage("42", tool_call_id="call_1", name="f") == openai.load(MESSAGES["named tool"])
    assert AIMessage("", tool_calls=[PARSED]) == openai.load(MESSAGES["calls"])


def test_arguments_that_json_would_write_otherwise_are_kept_as_text() -> None:
    """Only where the parsed arguments do not give the text back is the raw list kept beside them."""
    plain, spaced = openai.load(MESSAGES["calls"]), openai.load(MESSAGES["spaced arguments"])

    assert {} == plain.additional_kwargs  # type: ignore[union-attr]
    assert {"tool_calls": MESSAGES["spaced arguments"]["tool_calls"]} == spaced.additional_kwargs  # type: ignore[union-attr]
    assert [{"a": 1.0, "b": "é"}] == [call["args"] for call in spaced.tool_calls]  # type: ignore[union-attr]


def test_a_broken_call_is_an_invalid_tool_call() -> None:
    """Arguments that are no JSON are shown as such, with their text."""
    message = openai.load(MESSAGES["broken arguments"])

    assert isinstance(message, AIMessage)
    assert [] == message.tool_calls
    assert ['{"a":'] == [call["args"] for call in message.invalid_tool_calls]


@pytest.mark.parametrize(
    ("message", "dumped"),
    [
        (
            AIMessage("", tool_calls=[{**PARSED, "args": {"é": 1}}], usage_metadata={"input_tokens": 1}),
            calling('{"é":1}'),
        ),
        (HumanMessage("Hi", additional_kwargs={"lc_source": "x"}), USER),
        (ToolMessage("42", tool_call_id="c", artifact=[1]), {"role": "tool", "content": "42", "tool_call_id": "c"}),
        (FunctionMessage("42", name="f"), {"role": "function", "content": "42", "name": "f"}),
        (ChatMessage("No", role="critic"), {"role": "critic", "content": "No"}),
        (OpaqueMessage(type="remove", data={"id": "m"}), {"role": "remove", "id": "m"}),
    ],
    ids=["tool call", "another framework's keys", "artifact", "function", "own role", "unknown type"],
)  # fmt: skip
def test_messages_from_elsewhere_are_written_as_the_api_takes_them(
    message: Any, dumped: dict[str, Any]
) -> None:
    """Usage, artifacts and other frameworks' keys stay behind; the API would refuse them."""
    assert dumped == openai.dump(message)


def test_calls_that_were_edited_are_not_written_as_they_came() -> None:
    """The raw list counts only as long as it says what the message says."""
    message = openai.load(MESSAGES["spaced arguments"])
    assert isinstance(message, AIMessage)
    message.tool_calls[0]["args"] = {"a": 2}

    assert ['{"a":2}'] == [call["function"]["arguments"] for call in openai.dump(message)["tool_calls"]]


# ------------------------------------------------------------------------------------------------ containers


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([USER, USER]),
        json.dumps([USER, USER], indent=2),
        f"{json.dumps(USER)}\n{json.dumps(USER)}",
        f"\n\n{json.dumps(USER)}\r\n\r\n{json.dumps(USER)}\r\n",
        "\ufeff" + json.dumps([USER, USER]),
        f"\ufeff{json.dumps(USER)}\n{json.dumps(USER)}\n",
        json.dumps({"messages": [USER, USER]}),
        json.dumps({"traj": [USER, USER]}, indent=1),
        json.dumps([{"messages": [USER, USER]}]),
        json.dumps([[USER, USER]]),
    ],
    ids=["array", "indented", "lines", "blank lines and CRLF", "BOM", "BOM and lines", "object", "traj",
         "array of objects", "array of arrays"],
)  # fmt: skip
def test_every_container_holds_the_same_conversation(text: str) -> None:
    """However the messages are wrapped, they are the same ones, in order."""
    assert [[HumanMessage("Hi")] * 2] == messages(text)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"messages": [USER]}, {"traj": [USER, USER]}]),
        f"{json.dumps({'messages': [USER]})}\n{json.dumps({'messages': [USER, USER]})}",
        f"{json.dumps([USER])}\n{json.dumps([USER, USER])}",
        json.dumps([[USER], [USER, USER]]),
        f"{json.dumps({'messages': [HUMAN]})}\n{json.dumps({'messages': [USER, USER]})}",
    ],
    ids=["array of objects", "lines of objects", "lines of arrays", "array of arrays", "two formats"],
)
def test_several_conversations_are_told_apart(text: str) -> None:
    """Each is a conversation of its own, numbered from 1, in its own format."""
    found = read(text)

    assert [1, 2] == [len(list(conversation.elements)) for conversation in found]
    assert [1, 2] == [conversation.number for conversation in found]


def test_an_empty_list_hides_no_other() -> None:
    """Where one of the two lists is empty, the messages are in the other."""
    assert [[HumanMessage("Hi")]] == messages(json.dumps({"messages": [], "traj": [USER]}))
    assert [[HumanMessage("Hi")]] == messages(json.dumps({"messages": [USER], "traj": []}))


@pytest.mark.parametrize("text", ["[]", " [ ] ", '{"messages": []}'])
def test_no_messages_are_a_conversation_without_messages(text: str) -> None:
    """An empty array is the page's empty file."""
    assert [[]] == messages(text)


def test_lines_are_read_one_by_one() -> None:
    """The first conversation is there before the last line was looked at."""

    def lines() -> Any:
        yield from [f"{json.dumps({'messages': [USER]})}\n".encode()] * 3
        pytest.fail("the stream was read to its end")

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.lines = lines()

        def __iter__(self) -> Any:
            return self.lines

    assert 1 == next(reading.read(Stream())).number  # type: ignore[arg-type]


def test_what_stands_beside_the_messages_is_the_sessions() -> None:
    """Ids, owner, title and times are taken; the metadata object and every other key become metadata."""
    about = {
        "thread_id": 7,
        "user_id": "ada",
        "tenant_id": None,
        "title": "Tyres",
        "metadata": {"a": 1},
        "model": "wheel-1",
        "tools": [{"type": "function"}],
        "archived_at": "2026-01-01T00:00:00+00:00",
        "expires_at": "some day",
    }

    [found] = read(json.dumps({**about, "messages": [USER]}))

    assert ("7", "ada", None, "Tyres") == (found.session_id, found.user_id, found.tenant_id, found.title)
    assert {
        "a": 1,
        "model": "wheel-1",
        "tools": [{"type": "function"}],
        "expires_at": "some day",
    } == found.metadata
    assert found.archived_at is not None
    assert found.expires_at is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("nope", "not JSON"),
        ("\ufeff{", "not JSON"),
        (b"[\xff]", "UTF-8"),
        ("5", "messages only"),
        ("{}", "message 1: .*neither"),
        ("[5]", "message 1: "),
        ('[{"role": "user", "content": NaN}]', "NaN"),
        ('[{"role": "user", "role": "tool"}]', "same key twice"),
        (json.dumps([{"x": 1}]), "say --format"),
        (json.dumps([USER, {"role": "user", "text": "Hi"}]), "message 2: content is missing"),
        (
            json.dumps([{"role": "user", "parts": [{"text": "Hello"}]}]),
            "message 1: it is a message of Gemini's API",
        ),
        (
            json.dumps({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}),
            "a request to Gemini's API",
        ),
        (
            json.dumps([{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]),
            "Vercel's AI SDK",
        ),
        (
            json.dumps([{"title": "T", "mapping": {"a": {"message": None}}, "current_node": "a"}]),
            "ChatGPT's export",
        ),
        (
            json.dumps([{"uuid": "1", "name": "T", "chat_messages": [{"text": "Hi", "sender": "human"}]}]),
            "Claude's export",
        ),
        (
            json.dumps([{"id": "1", "title": "T", "chat": {"history": {"messages": {}}}}]),
            "Open WebUI's export",
        ),
        (
            json.dumps({"conversationId": "1", "messages": [{"isCreatedByUser": True, "text": "Hi"}]}),
            "LibreChat's export",
        ),
        (json.dumps({"messages": [USER], "traj": [USER]}), "under messages and under traj: keep one"),
        (json.dumps([USER, {"content": "x"}]), "message 2: role"),
        (json.dumps([HUMAN, {"type": "human", "data": {"content": 5}}]), "message 2: data.content"),
        (json.dumps([{"type": "tool", "data": {"content": "x"}}]), "message 1: data.tool_call_id is missing"),
        (f"{json.dumps(USER)}\nnope\n", "line 2: "),
        (f"{json.dumps(USER)}\n\n{json.dumps({'messages': []})}\n", "line 3: "),
        (f"{json.dumps({'messages': []})}\n{json.dumps(USER)}\n", "line 2: "),
        (f"{json.dumps({'messages': [USER]})}\n{json.dumps({'messages': [USER, 5]})}", "line 2: message 2: "),
        (json.dumps([{"messages": [USER]}, {"messages": [USER, {}]}]), "conversation 2: message 2: "),
        (json.dumps({"messages": [USER], "metadata": {"a": 1}, "a": 2}), "'a' stands in metadata"),
        ('[{"role": "user", "content": ' + "[" * 2000 + "]" * 2000 + "}]", "deep"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str | bytes, fault: str) -> None:
    """A file that is not what it should be ends in one error that says where and what to do."""
    with pytest.raises(InvalidMessage, match=fault):
        read(text)


def test_an_unknown_format_names_those_there_are() -> None:
    """A wrong name is `Invalid`, not a missing module."""
    with pytest.raises(Invalid, match="langchain, openai"):
        read("[]", "xml")


def test_a_format_that_is_named_is_not_guessed() -> None:
    """What would be recognised as one format is refused as the other."""
    with pytest.raises(InvalidMessage, match="message 1: role"):
        read(json.dumps([HUMAN]), "openai")


def test_records_come_back_from_lines() -> None:
    """Position, id and time beside an element of the page are what was written there."""
    from chatstore.connect import connect

    repository, stream = connect("memory:"), io.BytesIO()
    repository.create_session("s", user_id="ada", title="T", metadata={"a": 1})
    repository.add_messages("s", [HumanMessage("a"), AIMessage("b", id="m1")])
    repository.pop_message("s")
    repository.add_messages("s", [AIMessage("c")])

    writing.write_line(stream, find("langchain"), repository.get_session("s"), repository.iter_records("s"))

    [found] = read(stream.getvalue())
    assert ("s", "ada", "T", {"a": 1}) == (found.session_id, found.user_id, found.title, found.metadata)
    assert [record[:5] for record in repository.iter_records("s")] == [
        (one.message, one.position, one.message_id, one.created_at, "s") for one in found.elements
    ]


def test_what_is_written_never_harms_a_terminal() -> None:
    """No control character, and nothing that turns the direction of text, is in the bytes; the JSON is equal."""
    stream = io.BytesIO()
    text = "".join(map(chr, [*range(32), *range(127, 160), 0x202E, 0x2066, 0x2028, 0xFEFF, 0x61C])) + "é👍"

    writing.write_array(stream, find("openai"), [HumanMessage(text)])

    written = stream.getvalue().decode()
    assert [] == [char for char in written if char in text and char not in "é👍\n"]
    assert [{"role": "user", "content": text}] == json.loads(written)


def test_the_corpus_comes_back_equal() -> None:
    """200 conversations in the shapes of real ones: every message is equal, in order."""
    conversations = corpus.conversations()

    found = read(json.dumps(conversations))

    assert [one["traj"] for one in conversations] == [
        [openai.dump(one.message) for one in conversation.elements if one.message] for conversation in found
    ]
    assert [one["user_id"] for one in conversations] == [conversation.user_id for conversation in found]


def test_the_page_keeps_what_openai_said() -> None:
    """Through the page's JSON and back, a conversation in OpenAI's format is still equal."""
    loaded = [openai.load(message) for message in MESSAGES.values()]

    again = [langchain.load(json.loads(codec.dumps(langchain.dump(message)))) for message in loaded]

    assert list(MESSAGES.values()) == [openai.dump(message) for message in again]
