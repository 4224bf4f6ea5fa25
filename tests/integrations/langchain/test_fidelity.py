"""What is stored comes back equal: every class, every block, on every backend; and every older shape loads."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.messages.utils import message_chunk_to_message

from chatstore import OpaqueMessage, codec
from chatstore import messages as own
from chatstore.errors import InvalidMessage
from chatstore.integrations.langchain import (
    ChatMessageHistory,
    FileChatMessageHistory,
    convert,
    from_langchain,
    to_langchain,
)
from tests.integrations.langchain.samples import FOLDED, MESSAGES

if TYPE_CHECKING:
    from pathlib import Path


def test_every_message_comes_back_equal(store: Any) -> None:
    """Law: what was added comes back equal, of the same class, with the same dump, and is a message of its own."""
    history, given = ChatMessageHistory(store, "s"), list(MESSAGES.values())

    history.add_messages(given)
    found = ChatMessageHistory(store, "s").messages

    assert given == found
    assert [type(one) for one in given] == [type(one) for one in found]
    assert [dumpd(one) for one in given] == [dumpd(one) for one in found]
    assert [one.model_dump() for one in given] == [one.model_dump() for one in found]
    assert [repr(one) for one in given] == [repr(one) for one in found]
    assert not {id(one) for one in given} & {id(one) for one in found}


def test_what_was_stored_is_taken_again(store: Any) -> None:
    """Law: the messages that come back are stored as the same bodies: known ids are known."""
    history = ChatMessageHistory(store, "s")
    history.add_messages(
        [message for message in MESSAGES.values() if message.id and message.type != "remove"]
    )
    revision, found = store.get_session("s").revision, ChatMessageHistory(store, "s").messages

    history.add_messages(found)

    assert revision == store.get_session("s").revision
    assert found == history.messages


def test_ids_stay_none(store: Any) -> None:
    """Law: a message without an id comes back without one, and nothing is written into it."""
    message = HumanMessage("Hello!")
    ChatMessageHistory(store, "s").add_message(message)

    assert message.id is None
    assert [None] == [one.id for one in ChatMessageHistory(store, "s").messages]


@pytest.mark.parametrize("name", FOLDED)
def test_chunks_become_messages(name: str, memory: Any) -> None:
    """Law: a streamed chunk is stored as the message that LangChain makes of it; a subclass as its base."""
    chunk, whole = FOLDED[name]
    ChatMessageHistory(memory, "s").add_message(chunk)
    found = ChatMessageHistory(memory, "s").messages

    assert [whole] == found
    assert [type(whole)] == [type(one) for one in found]
    if name != "a subclass":
        assert message_chunk_to_message(chunk) == found[0]


def test_columns_are_filled(store: Any) -> None:
    """Law: what people filter on stands in columns: name, tool call, model, tokens."""
    asked = AIMessage(
        "Hi",
        name="bot",
        response_metadata={"model_name": "gpt-x"},
        usage_metadata={"input_tokens": 3, "output_tokens": 5, "total_tokens": 8},
    )
    answered = ToolMessage("42", tool_call_id="call_1", name="weather")
    drafts = [codec.encode(from_langchain(one), now=datetime.now(UTC)) for one in (asked, answered)]
    ChatMessageHistory(store, "s").add_messages([asked, answered])

    assert [("bot", None, "gpt-x", 3, 5), ("weather", "call_1", None, None, None)] == [
        (one.name, one.tool_call_id, one.model, one.input_tokens, one.output_tokens) for one in drafts
    ]
    assert [(("gpt-x", 3, 5)), (None, 0, 0)] == sorted(
        ((row.model, row.input_tokens, row.output_tokens) for row in store.usage(by=("model",))),
        key=lambda row: row[0] is None,
    )


PLAIN = {"content": "Hello!", "additional_kwargs": {}}
#: What the releases wrote for a human and an ai message (`docs/how-to/moving-from-langchain.md`).
SHAPES: dict[str, list[dict[str, Any]]] = {
    "0.0.123": [PLAIN, PLAIN],
    "0.0.300": [{**PLAIN, "example": False}, {**PLAIN, "example": False}],
    "0.1.0": [{**PLAIN, "type": "human", "example": False}, {**PLAIN, "type": "ai", "example": False}],
    "0.2.0": [
        {**PLAIN, "response_metadata": {}, "type": "human", "name": None, "id": None, "example": False},
        {
            **PLAIN,
            "response_metadata": {},
            "type": "ai",
            "name": None,
            "id": None,
            "example": False,
            "tool_calls": [],
            "invalid_tool_calls": [],
        },
    ],
}


@pytest.mark.parametrize("release", SHAPES)
def test_older_files_load(release: str, tmp_path: Path) -> None:
    """Law: the file of any release loads, and what is read equals a message made now."""
    human, ai = SHAPES[release]
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([{"type": "human", "data": human}, {"type": "ai", "data": ai}]))

    assert [HumanMessage("Hello!"), AIMessage("Hello!")] == FileChatMessageHistory(path).messages


def test_files_of_this_release_load(tmp_path: Path) -> None:
    """Law: what LangChain itself writes today loads equal, but for a message that is an instruction to a graph."""
    given = [message for name, message in MESSAGES.items() if name not in ("remove", "hostile")]
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(messages_to_dict(given)))

    assert given == FileChatMessageHistory(path).messages


def test_langchain_reads_our_files(tmp_path: Path) -> None:
    """Law: the file is one that LangChain reads: its own loader makes the same texts and calls of it."""
    given = [message for name, message in MESSAGES.items() if name not in ("remove", "hostile")]
    path = tmp_path / "chat.json"
    FileChatMessageHistory(path).add_messages(given)
    found = messages_from_dict(json.loads(path.read_text()))

    assert [(one.type, one.content, one.id, one.name) for one in given] == [
        (one.type, one.content, one.id, one.name) for one in found
    ]
    assert [getattr(one, "tool_calls", None) for one in given] == [
        getattr(one, "tool_calls", None) for one in found
    ]


def test_an_unknown_type_is_kept(store: Any) -> None:
    """Law: a type that LangChain lacks hides no other message; it reads as that role and goes back unchanged."""
    strange = OpaqueMessage(type="developer", data={"content": "Be brief.", "weight": 3})
    store.add_messages("s", [own.HumanMessage("before"), strange, own.HumanMessage("after")])
    found = ChatMessageHistory(store, "s").messages
    ChatMessageHistory(store, "copy").add_messages(found)

    assert ["before", "Be brief.", "after"] == [one.content for one in found]
    assert isinstance(found[1], ChatMessage)
    assert "developer" == found[1].role
    assert [strange] == store.get_messages("copy")[1:2]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (ToolMessage("x", tool_call_id="c", artifact=(1, 2)), "artifact"),
        (ToolMessage("x", tool_call_id="c", artifact=b"bytes"), "artifact"),
        (
            ToolMessage("x", tool_call_id="c", artifact={"at": datetime(2026, 1, 1, tzinfo=UTC)}),
            "artifact.at",
        ),
        (AIMessage("x", response_metadata={"p": math.nan}), "response_metadata.p"),
        (HumanMessage("x", additional_kwargs={1: 2}), "additional_kwargs"),
    ],
)
def test_what_json_lacks_is_refused(message: BaseMessage, path: str, memory: Any) -> None:
    """Law: what would not come back equal is refused with its path before anything is written."""
    with pytest.raises(InvalidMessage, match=path):
        ChatMessageHistory(memory, "s").add_messages([HumanMessage("fine"), message])

    assert 0 == memory.count_messages("s")


@pytest.mark.parametrize("wrong", ["text", ("user", "text"), {"role": "user"}, None, 3])
def test_what_is_no_message_is_refused(wrong: Any, memory: Any) -> None:
    """Law: only messages are taken."""
    with pytest.raises(InvalidMessage, match="is no message"):
        ChatMessageHistory(memory, "s").add_messages([wrong])

    assert [] == memory.get_messages("s")


def test_all_classes_fit() -> None:
    """Law: the fast path covers the installed release; else reading is slow without anybody noticing."""
    assert set(convert._THEIRS) == set(convert._FITTING)


@pytest.mark.parametrize("name", MESSAGES)
def test_another_layout_is_as_good(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a class with fields unknown here is made by its constructor, and equal."""
    message = MESSAGES[name]
    monkeypatch.setattr(convert, "_FITTING", {})

    assert message == to_langchain(from_langchain(message))


def test_a_converted_message_is_another() -> None:
    """Law: converting leaves chatstore's message as it was."""
    message = own.AIMessage("Hi", id="1", rating=5)
    made = to_langchain(message)

    assert AIMessage("Hi", id="1", rating=5) == made
    assert own.AIMessage("Hi", id="1", rating=5) == message
    assert own.AIMessage is type(message)


def test_an_example_is_kept(store: Any) -> None:
    """Law: `example=True`, which releases before 1.0 had as a field, comes back equal in either."""
    ChatMessageHistory(store, "s").add_messages(
        [HumanMessage("a", example=True), AIMessage("b", example=True)]
    )

    found = ChatMessageHistory(store, "s").messages
    assert [HumanMessage("a", example=True), AIMessage("b", example=True)] == found
