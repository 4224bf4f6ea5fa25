"""Conversations out of LangGraph's checkpoints: all that was said, in order, once, with its times."""

from __future__ import annotations

import asyncio
import operator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

import chatstore
from chatstore.errors import InvalidMessage, SessionExists, StorageUnavailable
from chatstore.integrations.langchain import ChatMessageHistory, aimport_checkpoints, import_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator


class State(TypedDict):
    """A graph's state."""

    messages: Annotated[list[Any], add_messages]


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give a checkpointer of either kind."""
    if request.param == "memory":
        yield InMemorySaver()
        return
    with SqliteSaver.from_conn_string(":memory:") as made:
        yield made


def _graph(saver: Any) -> Any:
    """Return a graph that answers, and forgets all but the newest two messages after the third question."""

    def answered(state: Any) -> Any:
        return {"messages": [AIMessage(state["messages"][-1].content.upper())]}

    def forgotten(state: Any) -> Any:
        messages = state["messages"]
        return {"messages": [RemoveMessage(id=one.id) for one in messages[:-2]] if len(messages) > 5 else []}

    graph = StateGraph(State)
    graph.add_node("answer", answered)
    graph.add_node("forget", forgotten)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", "forget")
    graph.add_edge("forget", END)
    return graph.compile(checkpointer=saver)


def _run(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def _say(graph: Any, thread: str, *texts: str) -> None:
    for text in texts:
        graph.invoke({"messages": [HumanMessage(text)]}, _run(thread))


def _contents(store: Any, thread: str) -> list[str]:
    return [one.content for one in store.get_messages(thread)]


def test_all_that_was_said_is_stored(saver: Any, store: Any) -> None:
    """Law: each thread becomes a session, with what the graph forgot, in order, and at the time it was said."""
    began, graph = datetime.now(UTC), _graph(saver)
    _say(graph, "one", "a", "b", "c", "d")
    _say(graph, "two", "x")

    assert {"one": 8, "two": 2} == import_checkpoints(saver, store)
    assert ["a", "A", "b", "B", "c", "C", "d", "D"] == _contents(store, "one")
    assert ["x", "X"] == _contents(store, "two")
    times = [one.created_at for one in store.get_records("one")]
    assert times == sorted(times)
    assert began <= times[0] < times[-1] <= datetime.now(UTC)
    state = graph.get_state(_run("two")).values["messages"]
    assert state == ChatMessageHistory(store, "two").messages


def test_a_second_run_stores_what_is_new(saver: Any, store: Any) -> None:
    """Law: running it again stores nothing twice, and what was said since."""
    graph = _graph(saver)
    _say(graph, "one", "a")
    import_checkpoints(saver, store)
    _say(graph, "one", "b")

    assert {"one": 2} == import_checkpoints(saver, store)
    assert {"one": 0} == import_checkpoints(saver, store)
    assert ["a", "A", "b", "B"] == _contents(store, "one")


def test_chosen_threads_for_an_owner(saver: Any, memory: Any) -> None:
    """Law: only the threads that are named are stored, for the scope's owner."""
    graph = _graph(saver)
    _say(graph, "one", "a")
    _say(graph, "two", "b")

    assert {"two": 2} == import_checkpoints(saver, memory.scope(user_id="ada"), threads=["two"])
    assert [("two", "ada")] == [(one.session_id, one.user_id) for one in memory.list_sessions().items]


def test_an_abandoned_branch_is_left_out(saver: Any, memory: Any) -> None:
    """Law: what led to the newest checkpoint is stored, not what was taken back."""
    graph = _graph(saver)
    _say(graph, "one", "a")
    kept = graph.get_state(_run("one")).config
    _say(graph, "one", "mistaken")
    graph.invoke({"messages": [HumanMessage("b")]}, kept)
    import_checkpoints(saver, memory)

    assert ["a", "A", "b", "B"] == _contents(memory, "one")


def test_it_awaits() -> None:
    """Law: the asynchronous side does the same."""

    async def main() -> None:
        saver = InMemorySaver()
        graph = _graph(saver)
        await graph.ainvoke({"messages": [HumanMessage("a")]}, _run("one"))
        async with chatstore.connect_async("memory:") as store:
            assert {"one": 2} == await aimport_checkpoints(saver, store)
            assert {"one": 0} == await aimport_checkpoints(saver, store, threads=["one"])
            assert ["a", "A"] == [one.content for one in await store.get_messages("one")]

    asyncio.run(main())


def test_a_state_without_messages(memory: Any) -> None:
    """Law: a graph that has no messages gives none; one whose messages cannot be read is told by name."""

    class Other(TypedDict):
        count: int

    class Odd(TypedDict):
        messages: str

    saver = InMemorySaver()
    for state, thread, value in ((Other, "counting", {"count": 1}), (Odd, "odd", {"messages": "text"})):
        graph: Any = StateGraph(state)
        graph.add_node("n", lambda _, value=value: value)
        graph.add_edge(START, "n")
        graph.compile(checkpointer=saver).invoke(value, _run(thread))

    assert {"counting": 0} == import_checkpoints(saver, memory, threads=["counting"])
    odd = import_checkpoints(saver, memory, threads=["odd"])
    assert ({}, ["odd"]) == (odd, list(odd.failed))
    assert [] == memory.list_sessions().items


class Added(TypedDict):
    """A state whose messages are only added, under a name of its own."""

    talk: Annotated[list[Any], operator.add]


def _adding(saver: Any, state: Any = Added) -> Any:
    """Return a graph without ids that answers in a tuple."""

    def answered(given: Any) -> Any:
        return {"talk": [("assistant", f"to {len(given['talk'])}")]}

    graph = StateGraph(state)
    graph.add_node("answer", answered)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver)


def test_messages_without_ids(saver: Any, store: Any) -> None:
    """Law: a state that is only added to is stored too, dicts and tuples included, once, however often."""
    graph = _adding(saver)
    given: list[Any] = [HumanMessage("a"), {"role": "user", "content": "b"}, ("user", "c"), HumanMessage("a")]
    for one in given[:3]:
        graph.invoke({"talk": [one]}, _run("one"))
    assert {"one": 6} == import_checkpoints(saver, store, key="talk")
    graph.invoke({"talk": [given[3]]}, _run("one"))

    assert {"one": 2} == import_checkpoints(saver, store, key="talk")
    assert {"one": 0} == import_checkpoints(saver, store, key="talk")
    assert ["a", "to 1", "b", "to 3", "c", "to 5", "a", "to 7"] == _contents(store, "one")
    assert ["human", "ai"] * 4 == [one.type for one in store.get_messages("one")]


def test_messages_without_ids_that_are_cut_off(saver: Any, store: Any) -> None:
    """Law: what such a graph cut off at its old end is stored, and nothing twice."""

    class Cut(TypedDict):
        talk: Annotated[list[Any], lambda old, new: [*old, *new][-3:]]

    graph = _adding(saver, Cut)
    for text in "abcd":
        graph.invoke({"talk": [HumanMessage(text)]}, _run("one"))

    assert {"one": 8} == import_checkpoints(saver, store, key="talk")
    assert ["a", "b", "c", "d"] == [one.content for one in store.get_messages("one") if one.type == "human"]
    assert {"one": 0} == import_checkpoints(saver, store, key="talk")


def test_another_key_is_named(saver: Any, memory: Any) -> None:
    """Law: a state that keeps its messages under another name is no empty one: the error says which name to pass."""
    graph: Any = StateGraph(Added)
    graph.add_node("answer", lambda _: {"talk": [AIMessage("1")]})
    graph.add_edge(START, "answer")
    graph.compile(checkpointer=saver).invoke({"talk": [HumanMessage("a")]}, _run("one"))
    done = import_checkpoints(saver, memory)

    assert {} == done
    assert "pass key='talk'" in str(done.failed["one"])
    assert {"one": 2} == import_checkpoints(saver, memory, key="talk")


def test_one_bad_thread_ends_nothing(saver: Any, memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Law: a thread that cannot be stored is named, without a word of it, and the others are stored."""
    graph = _graph(saver)
    _say(graph, "one", "a")
    adding = _adding(saver)
    adding.invoke({"talk": [{"my secret": 1}]}, _run("two"))
    memory.scope(user_id="ken").create_session("three")
    _say(graph, "three", "x")
    _say(graph, "four", "b")
    done = import_checkpoints(saver, memory.scope(user_id="ada"), threads=["one", "three", "four"])
    bad = import_checkpoints(saver, memory, key="talk", threads=["two"])

    assert {"one": 2, "four": 2} == done
    assert [("three", SessionExists), ("two", InvalidMessage)] == [
        (name, type(error)) for found in (done, bad) for name, error in found.failed.items()
    ]
    assert "'three'" in caplog.text
    assert "secret" not in caplog.text


def test_a_storage_that_is_gone_ends_it(saver: Any) -> None:
    """Law: where nothing can be stored the import ends with that error, not with every thread's name."""
    _say(_graph(saver), "one", "a")
    with (
        chatstore.connect("postgresql://nobody:x@127.0.0.1:1/none") as store,
        pytest.raises(StorageUnavailable),
    ):
        import_checkpoints(saver, store)
