"""A real client, langchain-openai, against a server: what it was answered is stored, and sent at the next turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.messages import HumanMessage
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_openai import ChatOpenAI

from chatstore.integrations.langchain import ChatMessageHistory, HistoryMiddleware
from tests.integrations.langchain.classic import chains, memories
from tests.integrations.langchain.openai_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION: Any = {"configurable": {"session_id": "s"}}
THREAD: Any = {"configurable": {"thread_id": "s"}}


@tool
def total(numbers: list[int]) -> int:
    """Add numbers."""
    return sum(numbers)


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a running server."""
    with Server() as running:
        yield running


def _model(server: Server) -> Any:
    return ChatOpenAI(model="small", base_url=server.url, api_key="none", max_retries=0, stream_usage=True)


def _sent(server: Server) -> list[Any]:
    """Return the roles and texts of the newest request."""
    return [(one["role"], one["content"]) for one in server.asked[-1]["messages"]]


TWICE = [("user", "hi"), ("assistant", "You said: hi"), ("user", "and?")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_runnable(stream: bool, server: Server, store: Any) -> None:
    """Law: two turns are stored whole, with ids, model and tokens; the second request repeats the first turn."""
    runner = RunnableWithMessageHistory(
        _model(server), lambda session_id: ChatMessageHistory(store, session_id)
    )
    for text in ("hi", "and?"):
        if stream:
            assert len(list(runner.stream([HumanMessage(text)], SESSION))) > 2
        else:
            runner.invoke([HumanMessage(text)], SESSION)

    assert TWICE == _sent(server)
    records = store.get_records("s")
    assert ["hi", "You said: hi", "and?", "You said: and?"] == [one.message.content for one in records]
    assert 4 == len({one.message_id for one in records})
    assert [("small", 22, 14)] == [
        (row.model, row.input_tokens, row.output_tokens) for row in store.usage(by=("model",)) if row.model
    ]
    assert {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}.items() <= (
        ChatMessageHistory(store, "s").messages[1].usage_metadata.items()
    )


def test_a_runnable_awaited(server: Server, store: Any) -> None:
    """Law: the same with `ainvoke` and `astream`."""

    async def main() -> None:
        async with store._asynchronous() as awaited:
            runner = RunnableWithMessageHistory(
                _model(server), lambda name: ChatMessageHistory(awaited, name)
            )
            await runner.ainvoke([HumanMessage("hi")], SESSION)
            assert len([part async for part in runner.astream([HumanMessage("and?")], SESSION)]) > 2

    asyncio.run(main())
    assert TWICE == _sent(server)
    assert 4 == store.count_messages("s")


def test_the_pages_chain(server: Server, memory: Any) -> None:
    """Law: the page's chain runs with a chat model of the day."""
    history = ChatMessageHistory(memory, "s")
    chain = chains.ConversationChain(
        llm=_model(server), memory=memories.ConversationBufferMemory(chat_memory=history)
    )

    assert "You said:" in chain.run("Hello!")
    assert ["human", "ai"] == [one.type for one in history.messages]


@pytest.mark.parametrize("stream", [False, True])
def test_an_agent_with_a_tool(stream: bool, server: Server, store: Any) -> None:
    """Law: the call of a tool, its answer and the model's are stored once each and sent again at the next run."""
    agent = create_agent(_model(server), [total], middleware=[HistoryMiddleware(store)])
    for text in ("1 + 2?", "thanks"):
        asked = {"messages": [HumanMessage(text)]}
        if stream:
            assert len(list(agent.stream(asked, THREAD, stream_mode="messages"))) > 2
        else:
            agent.invoke(asked, THREAD)

    found = ChatMessageHistory(store, "s").messages
    assert ["1 + 2?", "", "3", "It is 3.", "thanks", "You said: thanks"] == [one.content for one in found]
    (call,) = found[1].tool_calls
    assert ("total", {"numbers": [1, 2]}, found[2].tool_call_id) == (call["name"], call["args"], call["id"])
    assert ["user", "assistant", "tool", "assistant", "user"] == [role for role, _ in _sent(server)]
    assert 3 == len(server.asked)
