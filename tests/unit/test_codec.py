"""Rows: what a draft holds, and that every message comes back from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatstore import codec
from chatstore.codec import Draft, decode, encode, same
from chatstore.errors import CorruptRecord, InvalidMessage
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
from chatstore.strictjson import unpack
from chatstore.wire import SHAPES, to_wire

if TYPE_CHECKING:
    from pydantic import BaseModel

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
SECRET = "the parrot sold the submarine"
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
READ = {"name": "find", "args": {"q": 1}, "id": "c1", "type": "tool_call"}

HOSTILE = st.text(st.sampled_from("\0\\u0d8\ud83d\ude00\ud800\udfff😀\"'\n\r\u2028\ufeff\uffff "))
TEXT = st.text(st.characters(exclude_categories=())) | HOSTILE
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([-0.0, 5e-324])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
IDS = st.text(min_size=1, max_size=255).filter(lambda text: codec.id_fault(text) is None)
CONTENT = TEXT | st.lists(
    TEXT | OBJECTS | st.builds(lambda text: {"type": "text", "text": text}, TEXT), max_size=3
)
KNOWN: set[str] = {name for shape in SHAPES.values() for name in shape.fields}
# pydantic itself refuses fields whose name has a lone surrogate.
UNKNOWN: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text().filter(lambda name: name not in KNOWN), JSON, max_size=2
)
COMMON = {
    "additional_kwargs": OBJECTS,
    "response_metadata": OBJECTS,
    "name": st.none() | TEXT,
    "id": st.none() | IDS,
}
CALLS = st.lists(OBJECTS | st.just(READ), max_size=2)


def fields(needed: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return keyword arguments for a message class, unknown ones included."""
    known = st.fixed_dictionaries({"content": CONTENT, **needed}, optional={**COMMON, **optional})
    return st.builds(lambda own, more: {**own, **more}, known, UNKNOWN)


RAW_CALLS = st.fixed_dictionaries({"tool_calls": st.lists(st.just(CALL) | JSON, max_size=2)})
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(lambda own: HumanMessage(**own), fields({}, {"example": st.booleans()})),
    st.builds(
        lambda own: AIMessage(**own),
        fields(
            {},
            {
                "additional_kwargs": OBJECTS | RAW_CALLS,
                "tool_calls": CALLS,
                "invalid_tool_calls": CALLS,
                "usage_metadata": st.none()
                | OBJECTS
                | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), JSON),
            },
        ),
    ),
    st.builds(lambda own: SystemMessage(**own), fields({}, {})),
    st.builds(
        lambda own: ToolMessage(**own),
        fields({"tool_call_id": TEXT}, {"artifact": JSON, "status": st.sampled_from(["success", "error"])}),
    ),
    st.builds(lambda own: FunctionMessage(**{"name": "f", **own}), fields({}, {"name": TEXT})),
    st.builds(lambda own: ChatMessage(**own), fields({"role": TEXT}, {})),
    st.builds(
        lambda name, data: OpaqueMessage(type=name, data=data),
        st.sampled_from(["developer", "remove", "x" * 32, "é"]),
        OBJECTS | st.builds(lambda data, content: {**data, "content": content}, OBJECTS, CONTENT),
    ),
)


def inside(message: BaseModel) -> str:
    """Return all values of *message*, with their exact types and order."""
    return repr(
        (
            type(message),
            list(message.__dict__.items()),
            message.__pydantic_extra__,
            message.__pydantic_private__,
        )
    )


def back(row: Draft) -> Message:
    """Return the message of *row*, as a repository reads it."""
    return decode(row.type, row.content, row.payload, None if row.id_generated else row.message_id)


# ---- the round trip


@given(MESSAGES)
@example(HumanMessage("\ud83d\ude00"))
@example(ToolMessage("", tool_call_id="", artifact=[-0.0, 5e-324, 2**70, True, 1, 1.0]))
def test_every_message_comes_back_exactly(message: Message) -> None:
    """Whatever was stored comes back equal, to the type of every number and the order of every key."""
    row = encode(message, now=NOW)
    assert message == back(row)
    assert inside(message) == inside(back(row))


@given(MESSAGES)
@example(HumanMessage("\ud83d\ude00", id="a"))
@example(AIMessage("", additional_kwargs={"tool_calls": []}, name="", id="a"))
@example(OpaqueMessage(type="future", data={"id": "a", "content": 5}))
def test_the_wire_form_of_a_row_is_that_of_its_message(message: Message) -> None:
    """What a row says in wire form is what its message would, to the order of every key."""
    row = encode(message, now=NOW)
    assert json.dumps(to_wire(back(row))) == json.dumps(codec.draft_to_wire(row))


@given(MESSAGES)
def test_every_row_can_be_stored_and_queried(message: Message) -> None:
    """Every column is text or a number that every database takes, the payload JSON every database reads."""
    row = encode(message, now=NOW)
    texts = [row.message_id, row.type, row.content, row.payload, row.name, row.tool_call_id, row.model]
    assert all(codec.is_storable(text) for text in texts if text is not None)
    assert all(len(text) <= 255 for text in (row.message_id, row.name, row.tool_call_id, row.model) if text)
    held = json.loads(row.payload)
    assert isinstance(held, dict | str)
    assert isinstance(held, str) or "\\u0000" not in row.payload


@given(MESSAGES)
def test_reading_twice_gives_different_objects(message: Message) -> None:
    """What one reader changes, another does not see."""
    row = encode(message, now=NOW)
    first, second = back(row), back(row)
    if isinstance(first, BaseMessage):
        first.additional_kwargs["changed"] = 1
        first.response_metadata["changed"] = 1
    else:
        first.data["changed"] = 1
    assert inside(message) == inside(second)


@given(MESSAGES)
def test_quick_building_is_validation(message: Message) -> None:
    """Skipping validation, where types suffice, makes what validation would have made, to the last slot."""
    row = encode(message, now=NOW)
    quick = back(row)
    if isinstance(quick, BaseMessage):
        data = {"content": row.content, **unpack(row.payload)}
        if not row.id_generated:
            data["id"] = row.message_id
        slow = type(quick).model_validate(data)
        assert inside(slow) == inside(quick)
        assert slow.model_fields_set == quick.model_fields_set
        assert slow.model_dump() == quick.model_dump()


ASSIGNED = st.sampled_from(
    [
        None,
        0,
        1,
        1.5,
        "",
        "x",
        "\0",
        b"x",
        (),
        ("x",),
        [],
        {},
        [1],
        ["x"],
        {"a": 1},
        {1: 2},
        [None],
        True,
        object(),
        float("nan"),
    ]
)


@given(
    MESSAGES.filter(lambda message: isinstance(message, BaseMessage)),
    st.sampled_from(sorted(KNOWN)),
    ASSIGNED,
)
def test_what_was_assigned_is_stored_exactly_or_refused(message: BaseMessage, name: str, value: Any) -> None:
    """Assignment is not validated, so encoding is: nothing is written that would not come back equal."""
    setattr(message, name, value)
    if name == "type":
        return  # the class says the type
    try:
        row = encode(message, now=NOW)
    except InvalidMessage:
        pass
    else:
        assert message == back(row)


@pytest.mark.parametrize(
    ("name", "value"), [("content", 0), ("content", 1.5), ("tool_call_id", 5), ("status", "x")]
)
def test_assigned_values_are_not_converted(name: str, value: Any) -> None:
    """What a constructor makes text of is refused where it was assigned: it would not come back equal."""
    message = ToolMessage("x", tool_call_id="c1")
    setattr(message, name, value)
    with pytest.raises(InvalidMessage, match=f"^data.{name}"):
        encode(message, now=NOW)


def test_a_deleted_field_is_its_default_or_refused() -> None:
    """A message that lost its content is refused."""
    message = HumanMessage("x")
    del message.content
    with pytest.raises(InvalidMessage, match=r"data\.content"):
        encode(message, now=NOW)


# ---- what a row holds


def test_a_plain_message_has_an_empty_payload() -> None:
    """Content, type and id say everything."""
    row = encode(HumanMessage("hi", id="m1"), now=NOW, source="langchain")
    assert Draft(NOW, "m1", False, "human", "hi", "{}", source="langchain") == row


def test_a_message_without_an_id_gets_one_and_does_not_keep_it() -> None:
    """The generated id is the row's; the message has none on the way back."""
    row = encode(AIMessage("hi"), now=NOW)
    assert (True, 36) == (row.id_generated, len(row.message_id))
    assert back(row).id is None


def test_a_full_answer() -> None:
    """The columns are copies: the payload has all of them too."""
    message = AIMessage(
        "Found it.",
        name="Ada",
        response_metadata={"model_name": "m-1"},
        tool_calls=[READ],
        usage_metadata={"input_tokens": 3, "output_tokens": 5, "total_tokens": 8},
    )
    row = encode(message, now=NOW)
    assert ("Ada", None, "m-1", 3, 5) == (
        row.name,
        row.tool_call_id,
        row.model,
        row.input_tokens,
        row.output_tokens,
    )
    expected = {
        "response_metadata": {"model_name": "m-1"},
        "name": "Ada",
        "tool_calls": [READ],
        "usage_metadata": {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8},
    }
    assert expected == json.loads(row.payload)


def test_a_tool_message_has_its_calls_id_in_a_column() -> None:
    """So that a call and its result join."""
    row = encode(ToolMessage("4", tool_call_id="c1"), now=NOW)
    assert ("c1", '{"tool_call_id":"c1"}') == (row.tool_call_id, row.payload)


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        (
            "a\nb\nc",
            [
                "a",
                {"type": "text", "text": "b"},
                {"type": "image", "url": "u"},
                {"type": "text", "text": "c"},
            ],
        ),
        ("", []),
        ("a\ufffdb", "a\0b"),
        ("\ufffd\ufffd😀", "\ud83d\ude00😀"),
        ("\ufffd\nx", ["\ud800", "x"]),
    ],
)
def test_the_content_column_is_for_people(expected: str, content: Any) -> None:
    """It has the text parts on lines of their own, with a mark where a character cannot be held."""
    row = encode(HumanMessage(content), now=NOW)
    assert expected == row.content
    assert content == back(row).content


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("a", {"response_metadata": {"model_name": "a", "model": "b"}}),
        ("b", {"response_metadata": {"model": "b"}}),
        ("c", {"additional_kwargs": {"model": "c"}}),
        ("b", {"response_metadata": {"model_name": 5, "model": "b"}}),
        (None, {"response_metadata": {"model_name": "m" * 256}}),
        (None, {"response_metadata": {"model_name": "m\0"}}),
        (None, {}),
    ],
)
def test_the_model(expected: str | None, fields: dict[str, Any]) -> None:
    """The model is where frameworks put it; what no column holds is None there and whole in the payload."""
    row = encode(AIMessage("x", **fields), now=NOW)
    assert expected == row.model
    assert AIMessage("x", **fields) == back(row)


@pytest.mark.parametrize(
    ("expected", "tokens"),
    [(0, 0), (2**31 - 1, 2**31 - 1), (None, 2**31), (None, 1.0), (None, True), (None, "5"), (None, None)],
)
def test_token_columns_are_integers_of_32_bits(expected: int | None, tokens: Any) -> None:
    """Whatever else a framework reports stays in the payload."""
    row = encode(AIMessage("x", usage_metadata={"input_tokens": tokens}), now=NOW)
    assert (expected, None) == (row.input_tokens, row.output_tokens)
    assert {"input_tokens": tokens} == json.loads(row.payload)["usage_metadata"]


@pytest.mark.parametrize(
    ("expected", "name"), [("n" * 255, "n" * 255), (None, "n" * 256), (None, "n\ud800"), ("", "")]
)
def test_name_columns_hold_255_characters(expected: str | None, name: str) -> None:
    """A longer name, or one no database holds, is in the payload alone."""
    row = encode(HumanMessage("x", name=name), now=NOW)
    assert expected == row.name
    assert HumanMessage("x", name=name) == back(row)


@pytest.mark.parametrize("message_id", ["", " a", "a\n", "x" * 256, "\ud800"])
def test_a_bad_id_is_refused(message_id: str) -> None:
    """The client's id is an id like any other."""
    message = HumanMessage(SECRET)
    message.id = message_id
    with pytest.raises(InvalidMessage, match=r"the message id .*: use"):
        encode(message, now=NOW)


@pytest.mark.parametrize("value", ["x", None, 5, {"type": "human", "data": {"content": "x"}}])
def test_what_is_no_message_is_refused(value: Any) -> None:
    """A text is not a message: nobody would know whose it is."""
    with pytest.raises(InvalidMessage, match="not a message: pass"):
        encode(value, now=NOW)


def test_what_json_lacks_is_refused_with_its_path() -> None:
    """Before anything is written, and without repeating what was said."""
    message = ToolMessage(SECRET, tool_call_id="c1", artifact={"scores": [1, 2, 3, (SECRET,)]})
    with pytest.raises(InvalidMessage, match=r"^data\.artifact\.scores\[3\] is of type tuple") as raised:
        encode(message, now=NOW)
    assert SECRET not in str(raised.value)


def test_openai_calls_that_disagree_stay_so() -> None:
    """Calls emptied by hand stay empty, though additional_kwargs still has them."""
    message = AIMessage("", additional_kwargs={"tool_calls": [CALL]})
    assert [READ] == message.tool_calls
    message.tool_calls = []
    assert message == back(encode(message, now=NOW))


def test_nothing_is_shared_with_the_message() -> None:
    """A row is text: what its writer changes afterwards is not in it."""
    message = ToolMessage("x", tool_call_id="c1", artifact=[1])
    row = encode(message, now=NOW)
    message.artifact.append(2)
    assert ToolMessage("x", tool_call_id="c1", artifact=[1]) == back(row)


# ---- opaque messages


def test_an_opaque_messages_id_is_its_key() -> None:
    """A message of a type we do not know is stored once too; a removal's id is another message's."""
    row = encode(OpaqueMessage(type="developer", data={"id": "m1", "content": "x"}), now=NOW)
    assert ("m1", False, "x") == (row.message_id, row.id_generated, row.content)
    assert encode(OpaqueMessage(type="remove", data={"id": "m1"}), now=NOW).id_generated
    assert encode(OpaqueMessage(type="developer", data={"id": ""}), now=NOW).id_generated


@pytest.mark.parametrize("type_", ["", "x" * 33, "a\0", " a", "\ud800", "human", 5])
def test_a_type_that_no_column_holds_is_refused(type_: Any) -> None:
    """Types are 1 to 32 printable characters, and not a known class's."""
    with pytest.raises(InvalidMessage, match="type"):
        encode(OpaqueMessage.model_construct(type=type_, data={}), now=NOW)


def test_a_type_learnt_later_reads_old_rows() -> None:
    """Rows stored as opaque hold all that their class will need: content and id are in the payload too."""
    row = encode(OpaqueMessage(type="developer", data={"content": "x\0", "id": "m1"}), now=NOW)
    assert {"content": "x\0", "id": "m1"} == unpack(row.payload)


# ---- damage


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("human", f'{{"name": "{SECRET}'),
        ("human", "[]"),
        ("human", ""),
        ("human", f'"{SECRET}"'),
        ("human", '{"name": NaN}'),
        ("human", b"\xff{}"),
        ("ai", '{"tool_calls": 5}'),
        ("ai", f'{{"tool_calls": ["{SECRET}"]}}'),
        ("tool", "{}"),
        ("tool", '{"tool_call_id": null}'),
        ("human", '{"type": "ai"}'),
        ("human", '{"content": 5}'),
        ("future", f'["{SECRET}"]'),
    ],
)
def test_a_damaged_row_is_corrupt(type_: str, payload: str | bytes) -> None:
    """It is an error of its own, says what to do and repeats nothing of the text."""
    with pytest.raises(CorruptRecord, match="replace or delete it") as raised:
        decode(type_, SECRET, payload, None)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("payload", ["", "[]", f'"{SECRET}"', f'{{"name": "{SECRET}', '{"name": NaN}'])
def test_a_damaged_row_has_no_wire_form(payload: str) -> None:
    """Writing on what cannot be read is the error that reading it is."""
    with pytest.raises(CorruptRecord, match="replace or delete it") as raised:
        codec.draft_to_wire(Draft.damaged("m", NOW)._replace(type="human", payload=payload))
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_rows_others_wrote_by_hand_are_read() -> None:
    """Defaults spelled out, bytes, white space, a null content (Oracle's '') and chunk tags are no damage."""
    assert (
        HumanMessage("x")
        == decode("human", "x", b"{}", None)
        == decode("human", "x", ' { "example" : false } ', None)
    )
    assert SystemMessage("") == decode("system", None, "{}", None)  # type: ignore[arg-type]
    assert AIMessage("x", id="m") == decode("AIMessageChunk", "x", "{}", "m")
    assert HumanMessage("x", name="Ann") == decode("human", "x", '{"type": "human", "name": "Ann"}', None)


@given(st.lists(MESSAGES, max_size=5))
def test_a_form_stands_where_it_is_one(messages: list[Message]) -> None:
    """What a form makes of a message stands in its place, all else is read as ever; damage is damage still."""
    rows = [encode(message, now=NOW) for message in messages]
    lines = [(row.type, row.content, row.payload, row.message_id, row.id_generated) for row in rows]

    def form(type_: str, content: str, data: dict[str, Any]) -> Any:
        return (content, dict(data)) if type_ == "human" else None

    made = codec.decode_all(lines, form)
    for row, one in zip(rows, made, strict=True):
        formed = row.type == "human" and one == (row.content, unpack(row.payload))
        assert formed or inside(back(row)) == inside(one)
    native = encode(HumanMessage("x", native={"a": [1]}), now=NOW)
    assert [("x", {"native": {"a": [1]}})] == codec.decode_all([(*native[3:6], None, True)], form)
    with pytest.raises(CorruptRecord):
        codec.decode_all([*lines, ("human", "x", '{"content": 5}', None, True)], form)


# ---- the same message


@given(MESSAGES)
def test_a_message_is_the_same_as_itself(message: Message) -> None:
    """Whatever id, time and source a row has, and however its JSON was re-written."""
    row = encode(message, now=NOW)
    again = encode(back(row), now=datetime.now(UTC), source="other")
    assert same(row, again)
    assert same(row, row._replace(payload=json.dumps(json.loads(row.payload), indent=1, sort_keys=True)))


def test_sameness_is_strict() -> None:
    """Another text, type, number type or field is another message; the order of keys is not."""
    row = encode(ToolMessage("x", tool_call_id="c", artifact={"a": 1, "b": 2}), now=NOW)
    assert same(row, encode(ToolMessage("x", tool_call_id="c", artifact={"b": 2, "a": 1}), now=NOW))
    others = [
        ToolMessage("y", tool_call_id="c", artifact={"a": 1, "b": 2}),
        ToolMessage("x", tool_call_id="d", artifact={"a": 1, "b": 2}),
        ToolMessage("x", tool_call_id="c", artifact={"a": 1.0, "b": 2}),
        ToolMessage("x", tool_call_id="c", artifact={"a": True, "b": 2}),
        ToolMessage("x", tool_call_id="c", artifact={"a": 1, "b": 2}, status="error"),
        ToolMessage("x", tool_call_id="c", artifact={"a": 1, "b": 2}, mood="glad"),
        HumanMessage("x"),
    ]
    assert not any(same(row, encode(other, now=NOW)) for other in others)
    assert not same(encode(HumanMessage("😀"), now=NOW), encode(HumanMessage("\ud83d\ude00"), now=NOW))


def test_sameness_ignores_how_defaults_are_spelled() -> None:
    """A row that another program wrote with its defaults spelled out is the same message."""
    row = encode(HumanMessage("x"), now=NOW)
    assert same(row, row._replace(payload='{"example": false, "name": null, "additional_kwargs": {}}'))


def test_the_native_form_is_kept_and_names_the_source() -> None:
    """What a framework calls the same message comes back equal, and its name is the column *source*."""
    item = {"type": "message", "content": [{"type": "input_text", "text": "Hi"}], "n": [1, 1.0, True, None]}
    for message in (
        HumanMessage("Hi", native={"openai-agents": item}),
        AIMessage([{"type": "text", "text": "Hi"}], native={"openai-agents": item, "other": 1}),
        OpaqueMessage(type="reasoning", data={"content": "Hi", "native": {"openai-agents": item}}),
    ):
        draft = encode(message, now=NOW)
        read = decode(draft.type, draft.content, draft.payload, None)
        assert ("openai-agents", "Hi") == (draft.source, draft.content)
        assert repr(item) == repr(read.native["openai-agents"])
        assert message == read


@pytest.mark.parametrize("native", [{}, None, "x", {"a" * 65: 1}, {"\0": 1}], ids=repr)
def test_what_no_column_holds_is_no_source(native: object) -> None:
    """A native form without a name that the column can hold is kept all the same."""
    draft = encode(HumanMessage("Hi", native=native), now=NOW)
    read = decode(draft.type, draft.content, draft.payload, None)
    assert draft.source is None
    assert (native if isinstance(native, dict) else {}) == read.native
