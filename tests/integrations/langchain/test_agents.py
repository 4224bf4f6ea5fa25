"""Agents of LangChain 1: what they say is stored as it is said, once, and comes back at the next run."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    PIIDetectionError,
    PIIMiddleware,
    SummarizationMiddleware,
)
from langchain.tools import tool
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from sqlalchemy import make_url

import chatstore
from chatstore.errors import Invalid, StorageUnavailable
from chatstore.integrations.langchain import ChatMessageHistory, HistoryMiddleware
from tests.integrations.langchain.classic import ToolModel

RUN: Any = {"configurable": {"thread_id": "t"}}
CALL = AIMessage("", id="ask", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "call_1"}])


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def _model(*answers: Any) -> Any:
    return ToolModel(messages=iter([AIMessage(one) if isinstance(one, str) else one for one in answers]))


def _agent(
    history: Any, *answers: Any, extra: Any = (), checkpointer: Any = None, last: int | None = None
) -> Any:
    """Return an agent whose model gives *answers*, with *extra* middleware before the one under test."""
    kept = HistoryMiddleware(history, last=last)
    return create_agent(_model(*answers), [add], middleware=[*extra, kept], checkpointer=checkpointer)


def _ask(agent: Any, text: str, run: Any = RUN) -> list[Any]:
    return _shown(agent.invoke({"messages": [HumanMessage(text)]}, run)["messages"])


def _shown(messages: Any) -> list[Any]:
    return [(one.type, one.content) for one in messages]


FIRST = [("human", "1 + 2?"), ("ai", ""), ("tool", "3"), ("ai", "three")]
SECOND = [("human", "sure?"), ("ai", "yes")]


@pytest.mark.parametrize("checkpointed", [False, True])
def test_two_runs(checkpointed: bool, store: Any) -> None:
    """Law: each message is stored once; the second run knows the first, from the store or from its checkpointer."""
    agent = _agent(store, CALL, "three", "yes", checkpointer=InMemorySaver() if checkpointed else None)

    assert FIRST == _ask(agent, "1 + 2?")
    assert FIRST == _shown(store.get_messages("t"))
    revision = store.get_session("t").revision
    assert FIRST + SECOND == _ask(agent, "sure?")
    assert FIRST + SECOND == _shown(store.get_messages("t"))
    assert revision + 2 == store.get_session("t").revision  # one append of the question, one of the answer
    assert [("ask", [call["id"] for call in CALL.tool_calls])] == [
        (one.id, [call["id"] for call in one.tool_calls])
        for one in ChatMessageHistory(store, "t").messages
        if one.type == "ai" and one.tool_calls
    ]


@pytest.mark.parametrize("checkpointed", [False, True])
def test_two_runs_awaited(checkpointed: bool, store: Any) -> None:
    """Law: the same with `ainvoke`, over the asynchronous repository."""

    async def main() -> list[Any]:
        async with store._asynchronous() as awaited:
            agent = _agent(
                awaited, CALL, "three", "yes", checkpointer=InMemorySaver() if checkpointed else None
            )
            await agent.ainvoke({"messages": [HumanMessage("1 + 2?")]}, RUN)
            return _shown((await agent.ainvoke({"messages": [HumanMessage("sure?")]}, RUN))["messages"])

    assert FIRST + SECOND == asyncio.run(main())
    assert FIRST + SECOND == _shown(store.get_messages("t"))


def test_a_blocking_repository_is_awaited(sqlite_url: str) -> None:
    """Law: `ainvoke` works over a blocking repository, in threads of its own."""
    with chatstore.connect(sqlite_url) as store:
        asyncio.run(_agent(store, CALL, "three").ainvoke({"messages": [HumanMessage("1 + 2?")]}, RUN))

        assert FIRST == _shown(store.get_messages("t"))


def test_streams_are_stored(memory: Any) -> None:
    """Law: a streamed run stores what an invoked one does."""
    asked = {"messages": [HumanMessage("1 + 2?")]}
    parts = list(_agent(memory, "one two").stream(asked, RUN, stream_mode="messages"))

    assert len(parts) > 2
    assert [("human", "1 + 2?"), ("ai", "one two")] == _shown(memory.get_messages("t"))


def test_nothing_of_it_is_in_the_answer(memory: Any) -> None:
    """Law: what the middleware remembers for itself is no part of the agent's input or output."""
    agent = _agent(memory, "yes")

    assert ["messages"] == list(agent.invoke({"messages": [HumanMessage("a")]}, RUN))
    assert "chatstore_saved" not in agent.get_input_jsonschema()["properties"]


def test_a_run_that_breaks_off(memory: Any) -> None:
    """Law: what was said before a failure is stored, its repetition stores nothing twice, and the model is asked well.

    The tool's call has no answer in the session, so the call is left out of what the next run begins with.
    """
    asked = {"messages": [HumanMessage("1 + 2?", id="q")]}

    class Down(AgentMiddleware):
        def wrap_tool_call(self, *_: Any) -> Any:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        _agent(memory, CALL, extra=[Down()]).invoke(asked, RUN)
    assert FIRST[:2] == _shown(memory.get_messages("t"))

    found = _agent(memory, "three").invoke(asked, RUN)
    assert [FIRST[0], FIRST[3]] == _shown(found["messages"])
    assert [*FIRST[:2], FIRST[3]] == _shown(memory.get_messages("t"))


def test_a_changed_message_is_updated(store: Any) -> None:
    """Law: a message whose body other middleware changes is updated in its place."""

    class Shouting(AgentMiddleware):
        def after_model(self, state: Any, runtime: Any) -> Any:  # noqa: ARG002 - passed by its name
            answer = state["messages"][-1]
            return {"messages": [AIMessage(answer.content.upper(), id=answer.id)]}

    agent = _agent(store, "yes", "no", extra=[Shouting()])
    _ask(agent, "a?")
    _ask(agent, "b?")

    expected = [("human", "a?"), ("ai", "YES"), ("human", "b?"), ("ai", "NO")]
    assert expected == _shown(store.get_messages("t"))
    assert [1, 2, 3, 4] == [one.position for one in store.get_records("t")]


def test_a_person_edits_a_call(memory: Any) -> None:
    """Law: a run that a person interrupts is stored as far as it is, and goes on where it stopped."""
    guard = HumanInTheLoopMiddleware(interrupt_on={"add": True})
    agent = _agent(memory, CALL, "forty", extra=[guard], checkpointer=InMemorySaver())
    assert FIRST[:2] == _ask(agent, "1 + 2?")
    assert FIRST[:2] == _shown(memory.get_messages("t"))
    edit = {"type": "edit", "edited_action": {"name": "add", "args": {"a": 20, "b": 20}}}
    found = agent.invoke(Command(resume={"decisions": [edit]}), RUN)["messages"]

    assert "40" in found[2].content
    assert found == ChatMessageHistory(memory, "t").messages
    assert ["human", "ai", "tool", "ai"] == [one.type for one in found]


def test_what_the_agent_forgets_is_kept(memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Law: summarisation takes messages from the agent, not from the session; the log says so, no summary is stored."""
    summary = SummarizationMiddleware(
        _model("they talked", "and again"), trigger=("messages", 4), keep=("messages", 1)
    )
    agent = _agent(memory, "1", "2", "3", "4", extra=[summary], checkpointer=InMemorySaver())
    with caplog.at_level(logging.INFO, "chatstore"):
        found = [_ask(agent, text) for text in "abcd"][-1]

    assert len(found) < 8
    assert any("they talked" in content or "and again" in content for _, content in found)
    said = [text for pair in zip("abcd", "1234", strict=True) for text in pair]
    assert said == [content for _, content in _shown(memory.get_messages("t"))]
    assert any("forgot" in one.getMessage() and "stay stored" in one.getMessage() for one in caplog.records)


def test_what_was_deleted_stays_deleted(memory: Any) -> None:
    """Law: a message that was deleted from the session is not brought back by the agent's memory of it."""
    agent = _agent(memory, "1", "2", checkpointer=InMemorySaver())
    _ask(agent, "my secret")
    memory.delete_message("t", 1)
    _ask(agent, "b")

    assert ["1", "b", "2"] == [content for _, content in _shown(memory.get_messages("t"))]


def test_an_older_session_is_continued(store: Any) -> None:
    """Law: messages that were stored without ids are seeded, and not stored again."""
    ChatMessageHistory(store, "t").add_messages([HumanMessage("a"), AIMessage("1")])
    before = store.get_records("t")
    agent = _agent(store, "2", "3", checkpointer=InMemorySaver())

    assert ["a", "1", "b", "2"] == [content for _, content in _ask(agent, "b")]
    assert ["a", "1", "b", "2", "c", "3"] == [content for _, content in _ask(agent, "c")]
    assert ["a", "1", "b", "2", "c", "3"] == [content for _, content in _shown(store.get_messages("t"))]
    assert list(before) == list(store.get_records("t"))[:2]


def test_a_window_begins_with_a_person(memory: Any) -> None:
    """Law: `last` may cut between a question and its answer, or a call and its: what answers nothing is left out."""
    _ask(_agent(memory, CALL, "three"), "1 + 2?")

    for last in (1, 2, 3):
        with chatstore.connect("memory:") as copy:
            copy.load_records("t", memory.get_records("t"))
            assert SECOND == _ask(_agent(copy, "yes", last=last), "sure?")
            assert FIRST + SECOND == _shown(copy.get_messages("t"))


def test_a_person_writes_while_a_tool_works(memory: Any) -> None:
    """Law: an answer that was stored behind another question is sent behind its call, and stays where it is."""
    other = _agent(memory, "wait")

    class Interrupted(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            _ask(other, "are you there?")
            return handler(request)

    _ask(_agent(memory, CALL, "three", extra=[Interrupted()]), "1 + 2?")
    stored = [*FIRST[:2], ("human", "are you there?"), ("ai", "wait"), *FIRST[2:]]
    assert stored == _shown(memory.get_messages("t"))

    sent = [*FIRST[:3], ("human", "are you there?"), ("ai", "wait"), FIRST[3]]
    assert sent + SECOND == _ask(_agent(memory, "yes"), "sure?")
    assert stored + SECOND == _shown(memory.get_messages("t"))


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_repair_is_stored_once(checkpointed: bool, memory: Any) -> None:
    """Law: what LangChain answers to a call that it cannot read is stored once, however many turns follow."""
    broken = {"name": "add", "args": '{"a": 1', "id": "i1", "error": "cut", "type": "invalid_tool_call"}
    answers = [AIMessage("", invalid_tool_calls=[broken]), "2", "3", "4"]
    agent = _agent(memory, *answers, checkpointer=InMemorySaver() if checkpointed else None)
    for text in "abcd":
        _ask(agent, text)

    told = [one for one in memory.get_messages("t") if one.type == "tool"]
    assert len(told) == len({one.tool_call_id for one in told}) == (1 if checkpointed else 0)


def test_a_repair_that_was_stored_is_taken_for_an_answer(memory: Any) -> None:
    """Law: a repair behind the next question is sent behind the call that it repairs, and never made again."""
    broken = {"name": "add", "args": '{"a": 1', "id": "i1", "error": "cut", "type": "invalid_tool_call"}
    said = [
        HumanMessage("a"),
        AIMessage("", invalid_tool_calls=[broken]),
        HumanMessage("b"),
        ToolMessage("cut", tool_call_id="i1", status="error"),
        AIMessage("2"),
    ]
    ChatMessageHistory(memory, "t").add_messages(said)
    found = _ask(_agent(memory, "3"), "c")

    assert ["a", "", "cut", "b", "2", "c", "3"] == [content for _, content in found]
    assert 7 == memory.count_messages("t")


def test_answers_to_nothing_are_stored_and_not_sent(memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Law: an answer in the input whose call is in no message is stored; the log says that it was not sent."""
    given = [HumanMessage("a"), ToolMessage("3", tool_call_id="gone")]
    found = _agent(memory, "1").invoke({"messages": given}, RUN)

    assert [("human", "a"), ("ai", "1")] == _shown(found["messages"])
    assert ["3", "a", "1"] == [content for _, content in _shown(memory.get_messages("t"))]
    assert "1 calls or answers are stored and not sent" in caplog.text


MAIL = "I am ada@example.org"


@pytest.mark.parametrize("first", [False, True], ids=["behind others", "before others"])
@pytest.mark.parametrize("strategy", ["block", "redact", "mask", "hash"])
def test_what_a_person_should_not_have_said(
    strategy: Any, first: bool, sqlite_url: str, tmp_path: Path
) -> None:
    """Law: what other middleware refuses or redacts before the model is asked was never stored in the clear."""
    guard = PIIMiddleware("email", strategy=strategy)
    with chatstore.connect(sqlite_url) as store:
        kept = HistoryMiddleware(store)
        agent = create_agent(_model("hello"), [add], middleware=[kept, guard] if first else [guard, kept])
        if strategy == "block":
            with pytest.raises(PIIDetectionError):
                _ask(agent, MAIL)
            assert [] == store.get_messages("t")
        else:
            assert MAIL not in str(_ask(agent, MAIL))
            assert ["human", "ai"] == [one.type for one in store.get_messages("t")]
    files = list(Path(str(make_url(sqlite_url).database)).parent.iterdir())
    assert files
    assert not [file for file in files if MAIL.encode() in file.read_bytes()]


@pytest.mark.parametrize("strategy", ["block", "redact"])
def test_what_a_tool_should_not_have_said(strategy: Any, memory: Any) -> None:
    """Law: the same of what a tool answers."""

    @tool
    def look_up() -> str:
        """Look up who it is."""
        return MAIL

    guard = PIIMiddleware("email", strategy=strategy, apply_to_input=False, apply_to_tool_results=True)
    call = AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": "c"}])
    agent = create_agent(_model(call, "hello"), [look_up], middleware=[HistoryMiddleware(memory), guard])
    if strategy == "block":
        with pytest.raises(PIIDetectionError):
            _ask(agent, "who?")
    else:
        _ask(agent, "who?")

    assert "ada@" not in str(memory.get_messages("t"))
    assert "who?" == memory.get_messages("t")[0].content


def test_what_the_model_should_not_have_said(memory: Any) -> None:
    """Law: where the history comes before other middleware, the answer is stored as that leaves it."""
    seen: list[Any] = []

    class Watching(AgentMiddleware):
        def after_agent(self, state: Any, runtime: Any) -> None:  # noqa: ARG002 - passed by their names
            seen.append([one.content for one in memory.get_messages("t")])

    guard = PIIMiddleware("email", strategy="redact", apply_to_input=False, apply_to_output=True)
    kept = HistoryMiddleware(memory)
    _ask(create_agent(_model(MAIL), [add], middleware=[kept, guard, Watching()]), "who?")

    assert [["who?", "I am [REDACTED_EMAIL]"]] == seen


def test_messages_without_ids(memory: Any) -> None:
    """Law: where an agent's state gives its messages no ids, the middleware does; nothing is stored twice."""
    agent = create_deep_agent(_model("1", "2"), middleware=[HistoryMiddleware(memory)])
    for text in "ab":
        agent.invoke({"messages": [("user", text)]}, RUN)

    assert ["a", "1", "b", "2"] == [content for _, content in _shown(memory.get_messages("t"))]


def test_a_tool_that_the_caller_runs(memory: Any) -> None:
    """Law: the answer to a stored call may come as the next run's input."""
    ChatMessageHistory(memory, "t").add_messages([HumanMessage("1 + 2?", id="q"), CALL])
    found = _agent(memory, "three").invoke({"messages": [ToolMessage("3", tool_call_id="call_1")]}, RUN)

    assert FIRST == _shown(found["messages"])
    assert FIRST == _shown(memory.get_messages("t"))


def test_sessions_and_owners_from_the_runtime(memory: Any) -> None:
    """Law: a function of the runtime chooses session and owner for each run."""

    @dataclass
    class Caller:
        user: str

    def opened(runtime: Any) -> ChatMessageHistory:
        return ChatMessageHistory(memory.scope(user_id=runtime.context.user), f"{runtime.context.user}'s")

    kept = HistoryMiddleware(opened)
    agent = create_agent(_model("1", "2"), [add], middleware=[kept], context_schema=Caller)
    for user in ("ada", "bob"):
        agent.invoke({"messages": [HumanMessage(f"I am {user}")]}, context=Caller(user))

    assert [("human", "I am ada"), ("ai", "1")] == _shown(memory.scope(user_id="ada").get_messages("ada's"))
    assert [] == memory.scope(user_id="bob").get_messages("ada's")


def test_a_run_without_a_session_is_refused(memory: Any) -> None:
    """Law: a run that names no session is refused before the model is asked."""
    with pytest.raises(Invalid, match="thread_id"):
        _agent(memory, "1").invoke({"messages": [HumanMessage("a")]})


def test_one_agent_serves_many(sqlite_url: str) -> None:
    """Law: runs of one agent in many threads keep their sessions apart."""
    with chatstore.connect(sqlite_url) as store, ThreadPoolExecutor(4) as pool:
        agent = _agent(store, *["ok"] * 16)
        list(pool.map(lambda n: _ask(agent, f"q{n}", {"configurable": {"thread_id": f"t{n}"}}), range(16)))

        for n in range(16):
            assert [("human", f"q{n}"), ("ai", "ok")] == _shown(store.get_messages(f"t{n}"))


def test_a_store_that_is_down_stops_the_run(memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Law: what cannot be stored is an error of the run, logged without a word of it."""

    class Down:
        def __getattr__(self, name: str) -> Any:
            return getattr(memory._core, name)

        def add_messages(self, *_: Any) -> Any:
            msg = "the disk is full: make room"
            raise StorageUnavailable(msg)

    with pytest.raises(StorageUnavailable):
        _ask(_agent(memory._copied(_core=Down()), "1"), "my secret")
    assert "disk is full" in caplog.text
    assert "secret" not in caplog.text
