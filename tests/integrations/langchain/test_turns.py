"""A conversation that was stored can be sent to a model again, whatever came between calls and their answers.

Random histories are stored, seeded as an agent's run begins, and made into requests by the providers' own clients;
`tests.integrations.langchain.rules` checks those.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI

import chatstore
from chatstore.driving import drive
from chatstore.integrations.langchain import ChatMessageHistory, from_langchain, sendable, state, turns
from chatstore.integrations.langchain.state import seeded
from tests.integrations.langchain.rules import anthropic_faults, openai_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = int(os.environ.get("CHATSTORE_TEST_SEED", "20261130"))
HISTORIES = int(os.environ.get("CHATSTORE_TEST_HISTORIES", "10000"))
BLANK: Any = [{"type": "text", "text": " "}]
OPENAI: Any = ChatOpenAI(model="gpt-x", api_key="none")
ANTHROPIC: Any = ChatAnthropic(model_name="claude-x", api_key="none", timeout=None, stop=None)


class Writer:
    """Writes one random history: runs that overlap, break off, are repaired, answered twice, or not at all."""

    def __init__(self, dice: random.Random) -> None:
        """Begin with nothing said."""
        self.dice = dice
        self.said: list[Any] = []
        self.open: list[tuple[str, str]] = []  # calls without an answer, with the names of their tools
        self.closed: list[str] = []
        self.repeats_ids = dice.random() < 0.2  # as models do that count calls from 0 in each turn

    def write(self) -> list[Any]:
        """Return the messages, in the order in which they were stored."""
        steps = (self._person, self._calls, self._answer, self._says, self._repair, self._odd)
        for _ in range(self.dice.randint(1, 24)):
            self.dice.choices(steps, (4, 4, 12, 3, 1, 1))[0]()
        return self.said

    def _person(self) -> None:
        self.said.append(HumanMessage(self.dice.choice(["a", "b?", [{"type": "text", "text": "c"}]])))

    def _says(self) -> None:
        self.said.append(AIMessage(self.dice.choice(["yes", "no", ["well"]])))

    def _calls(self) -> None:
        """Call one to three tools; some calls are broken, and of those some have no name or no id."""
        calls: list[Any] = []
        broken: list[Any] = []
        for number in range(self.dice.randint(1, 3)):
            name = f"call_{number}" if self.repeats_ids else f"call_{len(self.said)}_{number}"
            if self.dice.random() < 0.87:
                calls.append({"name": "add", "args": {"a": 1}, "id": name, "type": "tool_call"})
            else:
                tool = self.dice.choice(["add", "add", None])
                given = self.dice.choice([name, name, name, None])
                broken.append(
                    {"name": tool, "args": "{", "id": given, "error": "cut", "type": "invalid_tool_call"}
                )
        made = AIMessage(self.dice.choice(["", "let me see"]), tool_calls=calls, invalid_tool_calls=broken)
        self.said.append(made)
        self.open += [(call["id"], "add") for call in (*calls, *broken) if call["id"]]

    def _answer(self) -> None:
        if self.open:
            name, tool = self.open.pop(self.dice.randrange(len(self.open)))
            self.closed.append(name)
            self.said.append(ToolMessage("3", tool_call_id=name, name=tool))

    def _repair(self) -> None:
        """Say of a call that it has no answer; the answer may come all the same."""
        if self.open:
            name, tool = self.dice.choice(self.open)
            self.said.append(ToolMessage("cut", tool_call_id=name, name=tool, status="error"))

    def _odd(self) -> None:
        odd: list[Any] = [
            HumanMessage(""),
            HumanMessage(BLANK),
            AIMessage(""),
            AIMessage([]),
            SystemMessage("Be brief."),
            SystemMessage(self.dice.choice(["Speak French.", ""])),
            ToolMessage("?", tool_call_id="of nobody"),
            chatstore.OpaqueMessage(type="event", data={"content": "joined"}),
        ]
        if self.closed:
            odd.append(ToolMessage("again", tool_call_id=self.dice.choice(self.closed)))
        self.said.append(self.dice.choice(odd))


def _histories(count: int) -> Iterator[tuple[int, Writer, list[Any]]]:
    print("seed", SEED)
    for number in range(count):
        writer = Writer(random.Random(f"{SEED} {number}"))
        yield number, writer, writer.write()


def _seed(said: list[Any], dice: random.Random) -> list[Any]:
    """Store what was *said*, delete some of it, and return what the next run sends: a window of it and a question."""
    with chatstore.connect("memory:") as store:
        store.add_messages("s", map(from_langchain, said))
        if said and dice.random() < 0.2:
            store.delete_message("s", dice.randint(1, len(said)))
        last = dice.choice([None, None, None, *range(len(said))])
        question = HumanMessage("and now?", id="q")
        messages, _ = drive(seeded("s", [question], last), lambda step: step(store))
    assert question == messages[-1]
    return messages


def _faults(messages: list[Any], writer: Writer) -> list[str]:
    faults = openai_faults(OPENAI._get_request_payload(messages)["messages"])
    return faults + anthropic_faults(ANTHROPIC._get_request_payload(messages), unique=not writer.repeats_ids)


@pytest.mark.timeout(600)
def test_every_stored_conversation_can_be_sent() -> None:
    """Law: of 10,000 random histories none begins a run that OpenAI or Anthropic would refuse."""
    answered = 0
    for number, writer, said in _histories(HISTORIES):
        messages = _seed(said, writer.dice)
        assert [] == _faults(messages, writer), f"history {number} of seed {SEED}: {said}"
        answered += sum(one.type == "tool" for one in messages)

    assert answered > HISTORIES / 4  # it is no way out to leave everything out


def test_calls_that_were_answered_come_through() -> None:
    """Law: where each call has an id, a name and one answer somewhere behind it, nothing but order is changed."""
    for number, _, said in _histories(500):
        whole = [
            one
            for one in said
            if one.type == "human" or (one.type == "ai" and one.tool_calls and not one.invalid_tool_calls)
        ]
        for place in range(len(whole) - 1, -1, -1):  # an answer for each call, somewhere behind it
            for call in whole[place].tool_calls if whole[place].type == "ai" else ():
                call["id"] = f"{place}/{call['id']}"
                where = random.Random(f"{number} {place}").randint(place + 1, len(whole))
                whole.insert(where, ToolMessage("3", tool_call_id=call["id"]))
        whole.insert(0, HumanMessage("first"))
        kept = [one for one in whole if one.type != "human" or one.content not in ("", BLANK)]

        assert sorted(map(id, kept)) == sorted(map(id, sendable(whole)))
        assert [one for one in kept if one.type != "tool"] == [
            one for one in sendable(whole) if one.type != "tool"
        ]


CALL = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "c1"}])
TWO = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": name} for name in ("c1", "c2")])
OTHER = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "c2"}])
PERSON, SAYS = HumanMessage("a"), AIMessage("yes")


def _answer(name: str) -> ToolMessage:
    return ToolMessage("3", tool_call_id=name)


FAULTY = {
    "an answer behind a person": [PERSON, CALL, PERSON, _answer("c1"), SAYS],
    "a call without an answer": [PERSON, CALL, PERSON],
    "a call at the end": [PERSON, CALL],
    "one of two answers": [PERSON, TWO, _answer("c1"), PERSON],
    "an answer without a call": [PERSON, SAYS, _answer("c1"), SAYS],
    "an answer first": [_answer("c1"), PERSON],
    "two answers to one call": [PERSON, CALL, _answer("c1"), _answer("c1"), SAYS],
    "answers of two messages at once": [PERSON, CALL, PERSON, OTHER, _answer("c1"), _answer("c2")],
    "an id for two calls": [
        PERSON,
        AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "c1"}] * 2),
        _answer("c1"),
        _answer("c1"),
    ],
    "a call without an id": [PERSON, AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": None}]), SAYS],
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
def test_the_rules_find_what_is_wrong(name: str) -> None:
    """Law: both checks find each kind of disorder, and nothing in what `sendable` makes of it."""
    messages = FAULTY[name]
    mended = sendable(messages)

    assert openai_faults(OPENAI._get_request_payload(messages)["messages"])
    assert anthropic_faults(ANTHROPIC._get_request_payload(messages))
    assert [] == openai_faults(OPENAI._get_request_payload(mended)["messages"])
    assert [] == anthropic_faults(ANTHROPIC._get_request_payload(mended))


def test_the_histories_are_hard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: without each part of the work, some of the histories are refused, so none of it is idle."""

    def refused() -> int:
        found = 0
        for _, writer, said in _histories(600):
            try:
                found += bool(_faults(_seed(said, writer.dice), writer))
            except (KeyError, ValueError, UserWarning):  # Anthropic's client has rules of its own
                found += 1
        return found

    assert 0 == refused()
    for module, part, idle in (
        (state, "in_turn", list),
        (state, "says_something", lambda message: message.type != "event"),
        (turns, "_from_a_person", list),
        (turns, "_is_answerable", lambda *_: True),
    ):
        with monkeypatch.context() as planted:
            planted.setattr(module, part, idle)
            assert refused() > 3, part


def test_a_history_can_be_made_sendable(memory: Any) -> None:
    """Law: what a history reads may be passed through `sendable`; the history itself shows what was stored."""
    history = ChatMessageHistory(memory, "s")
    history.add_messages([PERSON, CALL, PERSON, _answer("c1")])

    assert ["human", "ai", "human", "tool"] == [one.type for one in history.messages]
    assert ["human", "ai", "tool", "human"] == [one.type for one in sendable(history.messages)]
    assert ["human", "ai", "tool", "human"] == [one.type for one in sendable(memory.get_messages("s"))]
