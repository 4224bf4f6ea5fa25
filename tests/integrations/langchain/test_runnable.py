"""`RunnableWithMessageHistory`: sync, async, streaming, any factory; and its faults, softened."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableFieldSpec, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

import chatstore
from chatstore import session_key
from chatstore.errors import StorageUnavailable
from chatstore.integrations.langchain import ChatMessageHistory

CONFIG: Any = {"configurable": {"session_id": "s"}}
SHAPES = ("messages", "dict", "placeholder")


def _model(*answers: str) -> Any:
    return GenericFakeChatModel(messages=iter([AIMessage(content=one) for one in answers]))


def _runner(store: Any, shape: str, *answers: str, first: Any = None, history: Any = None) -> tuple[Any, Any]:
    """Return a runnable with a history, of each *shape*, and a function from text to its input.

    *first* runs before the model, inside the history.
    """
    chain = _model(*answers)
    options: dict[str, Any] = {}
    if shape == "dict":
        chain = RunnableLambda(lambda given: given["asked"]) | chain
        options = {"input_messages_key": "asked"}
    if shape == "placeholder":
        prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{asked}")])
        chain, options = prompt | chain, {"input_messages_key": "asked", "history_messages_key": "history"}
    if first is not None:
        chain = RunnableLambda(first) | chain
    runner = RunnableWithMessageHistory(
        chain, lambda session_id: history or ChatMessageHistory(store, session_id), **options
    )
    return runner, lambda text: [HumanMessage(text)] if shape == "messages" else {"asked": text}


def _contents(store: Any, session_id: str = "s") -> list[Any]:
    return [(one.type, one.content) for one in store.get_messages(session_id)]


TURNS = [("human", "a"), ("ai", "one two"), ("human", "b"), ("ai", "three")]


@pytest.mark.parametrize("shape", SHAPES)
def test_turns_are_stored_once(shape: str, store: Any) -> None:
    """Law: each turn is stored once, in order, and the next one sees it."""
    runner, asked = _runner(store, shape, "one two", "three")
    answers = [runner.invoke(asked(text), CONFIG).content for text in ("a", "b")]

    assert ["one two", "three"] == answers
    assert TURNS == _contents(store)


@pytest.mark.parametrize("shape", SHAPES)
def test_turns_are_awaited(shape: str, store: Any) -> None:
    """Law: `ainvoke` does the same by the asynchronous side, `astream` too."""

    async def main() -> None:
        async with store._asynchronous() as awaited:
            runner, asked = _runner(awaited, shape, "one two", "three")
            await runner.ainvoke(asked("a"), CONFIG)
            assert "three" == "".join([part.content async for part in runner.astream(asked("b"), CONFIG)])

    asyncio.run(main())
    assert TURNS == _contents(store)


def test_a_blocking_store_is_awaited_too(sqlite_url: str) -> None:
    """Law: a history over a blocking repository serves `ainvoke`, in threads of its own."""
    with chatstore.connect(sqlite_url) as store:
        runner, asked = _runner(store, "messages", "one two", "three")
        for text in ("a", "b"):
            asyncio.run(runner.ainvoke(asked(text), CONFIG))

        assert TURNS == _contents(store)


@pytest.mark.parametrize("shape", SHAPES)
def test_streams_are_stored_whole(shape: str, memory: Any) -> None:
    """Law: of a streamed answer the whole message is stored, once."""
    runner, asked = _runner(memory, shape, "one two", "three")
    parts = [part.content for part in runner.stream(asked("a"), CONFIG)]
    list(runner.stream(asked("b"), CONFIG))

    assert ["one", " ", "two"] == [part for part in parts if part]
    assert TURNS == _contents(memory)
    assert [chatstore.HumanMessage, chatstore.AIMessage] * 2 == [
        type(one) for one in memory.get_messages("s")
    ]


def test_a_factory_of_several_keys(memory: Any) -> None:
    """Law: a factory may take several keys; owners and sessions stay apart."""

    def opened(*, user_id: str, chat: str) -> ChatMessageHistory:
        return ChatMessageHistory(memory.scope(user_id=user_id), session_key(user_id, chat))

    specs = [ConfigurableFieldSpec(id=name, annotation=str) for name in ("user_id", "chat")]
    runner = RunnableWithMessageHistory(_model("one", "two"), opened, history_factory_config=specs)
    for user in ("ada", "bob"):
        runner.invoke([HumanMessage(f"I am {user}")], {"configurable": {"user_id": user, "chat": "c"}})

    assert [("human", "I am ada"), ("ai", "one")] == _contents(memory, session_key("ada", "c"))
    assert ["bob"] == [one.user_id for one in memory.scope(user_id="bob").list_sessions().items]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_concurrent_append_costs_nobody_a_message(shape: str, asynchronous: bool, store: Any) -> None:
    """Law: what another worker appends while the model thinks makes the runner drop neither question nor answer."""

    def interrupted(given: Any) -> Any:
        store.add_messages("s", [chatstore.HumanMessage("meanwhile"), chatstore.AIMessage("answered")])
        return given

    store.add_messages("s", [chatstore.HumanMessage("before"), chatstore.AIMessage("yes")])

    async def main() -> None:
        async with store._asynchronous() as awaited:
            runner, asked = _runner(awaited, shape, "one", first=interrupted)
            await runner.ainvoke(asked("mine"), CONFIG)

    if asynchronous:
        asyncio.run(main())
    else:
        runner, asked = _runner(store, shape, "one", first=interrupted)
        runner.invoke(asked("mine"), CONFIG)

    expected = ["before", "yes", "meanwhile", "answered", "mine", "one"]
    assert list(zip(["human", "ai"] * 3, expected, strict=True)) == _contents(store)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reader_beside_a_run_is_not_held_up(shape: str, memory: Any) -> None:
    """Law: what one call has read is kept for that call alone; the same object reads anew for everybody else."""
    history = ChatMessageHistory(memory, "s")
    seen: list[Any] = []

    def watched(given: Any) -> Any:
        memory.add_messages("s", [chatstore.HumanMessage("meanwhile")])
        reader = threading.Thread(target=lambda: seen.append([one.content for one in history.messages]))
        reader.start()
        reader.join()
        return given

    runner, asked = _runner(memory, shape, "one", first=watched, history=history)
    runner.invoke(asked("mine"), CONFIG)

    assert [["meanwhile"]] == seen
    assert ["meanwhile", "mine", "one"] == [content for _, content in _contents(memory)]
    memory.add_messages("s", [chatstore.HumanMessage("later")])
    assert "later" == history.messages[-1].content


class Unavailable:
    """A core whose appends find the disk full."""

    def add_messages(self, *_: Any) -> Any:
        """Fail."""
        msg = "the disk is full: make room"
        raise StorageUnavailable(msg)


def test_a_swallowed_failure_is_logged(memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Law: the runner returns as if nothing had happened; the log says at ERROR that the turn was not stored."""

    class Full(ChatMessageHistory):
        def add_messages(self, messages: Any) -> None:
            self.repository = full
            super().add_messages(messages)

    full = memory._copied(_core=Unavailable())
    runner = RunnableWithMessageHistory(_model("one"), lambda session_id: Full(memory, session_id))
    with caplog.at_level(logging.ERROR, "chatstore"):
        assert "one" == runner.invoke([HumanMessage("my secret")], CONFIG).content

    told = [one.getMessage() for one in caplog.records if one.name.startswith("chatstore")]
    assert ["session 's': a write of 2 messages failed: the disk is full: make room"] == told
    assert [] == memory.get_messages("s")


def test_a_model_that_fails_and_is_asked_again(memory: Any) -> None:
    """Law: a retry of the whole runnable stores one turn."""
    left = [True]

    def flaky(given: Any) -> Any:
        if left.pop() if left else False:
            raise ConnectionError
        return given

    runner = RunnableWithMessageHistory(
        RunnableLambda(flaky) | _model("one"), lambda session_id: ChatMessageHistory(memory, session_id)
    ).with_retry(
        retry_if_exception_type=(ConnectionError,), stop_after_attempt=3, wait_exponential_jitter=False
    )
    runner.invoke([HumanMessage("a")], CONFIG)

    assert [("human", "a"), ("ai", "one")] == _contents(memory)
