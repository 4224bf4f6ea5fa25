"""Objects inside messages: structured output and artifacts of tools, which are stored as their JSON."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict

from chatstore.errors import InvalidMessage
from chatstore.integrations.langchain import ChatMessageHistory, from_langchain
from tests.integrations.langchain.classic import conversation

if TYPE_CHECKING:
    from pathlib import Path


class Plant(BaseModel):
    """What a model was asked to give."""

    name: str
    rows: list[tuple[int, float]] = []


class Holder(BaseModel):
    """A model of somebody else, with something in it that has no JSON."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inside: Any


@dataclass
class Found:
    """What a tool found."""

    plants: list[Plant]
    of: dict[str, Plant] = field(default_factory=dict)


class Opaque:
    """Has no JSON at all."""

    def __repr__(self) -> str:
        return "my secret"


PLANT = Plant(name="tomato", rows=[(1, 2.5)])
PLAIN = {"name": "tomato", "rows": [[1, 2.5]]}


def _artifact(value: Any) -> ToolMessage:
    return ToolMessage("ok", tool_call_id="c", artifact=value)


OBJECTS: dict[str, tuple[Any, Any]] = {
    "structured output": (
        AIMessage("{}", additional_kwargs={"parsed": PLANT, "refusal": None}),
        AIMessage("{}", additional_kwargs={"parsed": PLAIN, "refusal": None}),
    ),
    "an artifact": (_artifact(PLANT), _artifact(PLAIN)),
    "a list of them": (_artifact([PLANT, 1, [PLANT]]), _artifact([PLAIN, 1, [PLAIN]])),
    "a dataclass": (
        _artifact(Found([PLANT], {"a": PLANT})),
        _artifact({"plants": [PLAIN], "of": {"a": PLAIN}}),
    ),
    "metadata": (
        AIMessage("a", response_metadata={"deep": [{"er": PLANT}]}),
        AIMessage("a", response_metadata={"deep": [{"er": PLAIN}]}),
    ),
    "a field of the application": (HumanMessage("a", plant=PLANT), HumanMessage("a", plant=PLAIN)),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_become_their_json(name: str, store: Any) -> None:
    """Law: pydantic objects and dataclasses come back as their JSON; the message that was passed stays as it is."""
    given, expected = OBJECTS[name]
    before = given.model_copy(deep=True)
    history = ChatMessageHistory(store, "s")
    history.add_messages([given])

    assert [expected] == history.messages
    assert before == given
    history.upsert_messages([given.model_copy(update={"id": "1"})])
    revision = store.get_session("s").revision
    history.upsert_messages([given.model_copy(update={"id": "1"})])
    assert revision == store.get_session("s").revision


def test_documents_are_stored(memory: Any) -> None:
    """Law: what a retriever's tool gives is stored."""
    history = ChatMessageHistory(memory, "s")
    history.add_messages([_artifact([Document("text", metadata={"page": 1})])])

    assert {"page": 1} == history.messages[0].artifact[0]["metadata"]


NO_JSON: dict[str, Any] = {
    "an object": Opaque(),
    "in a list": [1, Opaque()],
    "in a dict": {"a": {"b": Opaque()}},
    "in a model": Holder(inside=Opaque()),
    "in a dataclass": Found([Opaque()]),  # type: ignore[list-item]
    "bytes": b"\xff",
    "a tuple": (1, 2),
    "no number": [math.nan],
    "a key": {1: "a"},
}


def _endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize("name", [*NO_JSON, "itself"])
def test_what_has_no_json_is_refused_by_name(name: str, memory: Any) -> None:
    """Law: what still cannot be stored is refused with the path to it, and never its value; nothing is stored."""
    history = ChatMessageHistory(memory, "s")
    given = NO_JSON[name] if name in NO_JSON else _endless()
    with pytest.raises(InvalidMessage, match=r"artifact|nested") as told:
        history.add_messages([_artifact(given)])

    assert "secret" not in str(told.value)
    assert 0 == memory.count_messages("s")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("an object", None), ("in a list", [1]), ("in a dict", {"a": {}}), ("in a model", None),
        ("in a dataclass", {"plants": [], "of": {}}), ("bytes", None), ("a tuple", None), ("no number", []),
        ("a key", {}), ("itself", None),
    ],
)  # fmt: skip
def test_what_has_no_json_is_left_out_where_asked(name: str, expected: Any, memory: Any) -> None:
    """Law: with `omits` the rest of the message is stored."""
    history = ChatMessageHistory(memory, "s", omits=True)
    given = NO_JSON[name] if name in NO_JSON else _endless()
    history.add_messages([_artifact(given)])
    stored = history.messages[0].artifact

    assert ("ok", "c") == (history.messages[0].content, history.messages[0].tool_call_id)
    assert expected == stored
    asyncio.run(history.aupsert_messages([_artifact(given).model_copy(update={"id": "1"})]))
    assert 2 == memory.count_messages("s")


def test_plain_values_are_shared() -> None:
    """Law: where there is no object nothing is copied."""
    artifact = {"rows": [[1, 2.0, None], ["x"]]}

    assert artifact is from_langchain(_artifact(artifact)).artifact  # type: ignore[union-attr]


def test_the_page_still_runs(tmp_path: Path) -> None:
    """Law: a chain over such a history answers."""
    from chatstore.integrations.langchain import FileChatMessageHistory

    history = FileChatMessageHistory(tmp_path / "a.json", omits=True)
    conversation(history).run("Hello!")
    assert 2 == len(history.messages)
