"""The page's story, and the classic memories, over every backend."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, RemoveMessage, ToolMessage

import chatstore
from chatstore.errors import Invalid, NotSupported, StorageUnavailable
from chatstore.integrations.langchain import ChatMessageHistory, FileChatMessageHistory
from tests.integrations.langchain.classic import ANSWER, conversation, memories

if TYPE_CHECKING:
    from pathlib import Path

    from chatstore.contract import Core
    from chatstore.repository import Repository

TURN = [HumanMessage(content="Hello!"), AIMessage(content=ANSWER)]


def test_the_page_word_for_word(store: Any) -> None:
    """Law: the page's chain runs over every backend, and `history.messages` shows what the page shows."""
    history = ChatMessageHistory(store, "s")

    assert ANSWER == conversation(history).run("Hello!")
    assert TURN == history.messages
    assert TURN == ChatMessageHistory(store, "s").messages


def test_the_page_in_memory() -> None:
    """Law: without arguments a history is a conversation in memory of its own."""
    history, other = ChatMessageHistory(), ChatMessageHistory()
    history.add_user_message("hi!")
    history.add_ai_message("whats up?")

    assert [HumanMessage("hi!"), AIMessage("whats up?")] == history.messages
    assert [] == other.messages
    assert "Human: hi!\nAI: whats up?" == str(history)


def test_the_page_in_a_file(tmp_path: Path) -> None:
    """Law: the file holds the page's JSON."""
    conversation(FileChatMessageHistory(str(tmp_path / "chat.json"))).run("Hello!")

    assert [
        {"type": "human", "data": {"content": "Hello!", "additional_kwargs": {}, "example": False}},
        {"type": "ai", "data": {"content": ANSWER, "additional_kwargs": {}, "example": False}},
    ] == json.loads((tmp_path / "chat.json").read_text())


def test_a_transcript_of_anything(memory: Any) -> None:
    """Law: any message can be printed, also those on which LangChain's own transcript fails."""
    history = ChatMessageHistory(memory, "s")
    blocks = [{"type": "text", "text": "see"}, {"type": "image", "url": "https://example.org/a.png"}]
    history.add_messages([HumanMessage(blocks), RemoveMessage(id="1"), ChatMessage("psst", role="whisperer")])

    assert "Human: see\nremove: \nwhisperer: psst" == str(history)


def test_chatstores_own_history_is_refused_with_the_error_of_the_howto(memory: Any) -> None:
    """Law: pydantic refuses a history that is not LangChain's; this package's passes."""
    with pytest.raises(ValueError, match="instance of BaseChatMessageHistory"):
        memories.ConversationBufferMemory(chat_memory=chatstore.ChatMessageHistory())

    assert memories.ConversationBufferMemory(chat_memory=ChatMessageHistory(memory, "s"))


def test_a_chain_awaits(store: Any) -> None:
    """Law: `ainvoke` of the page's chain reads and writes by the asynchronous side."""

    async def main() -> Any:
        async with ChatMessageHistory(store, "s") as history:
            answer = await conversation(history).ainvoke({"input": "Hello!"})
            return answer["response"], await history.aget_messages()

    assert (ANSWER, TURN) == asyncio.run(main())


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_an_asynchronous_repository(kind: str, request: pytest.FixtureRequest) -> None:
    """Law: over an asynchronous repository the asynchronous side works, and the other says so."""
    url = "memory:" if kind == "memory" else request.getfixturevalue(f"{kind}_url")
    if kind == "postgres":
        from chatstore.backends.sql.migrations import upgrade

        upgrade(url)

    async def main() -> None:
        async with chatstore.connect_async(url) as store:
            history = ChatMessageHistory(store, "s")
            await history.aadd_messages(TURN)
            assert TURN == await history.aget_messages()
            with pytest.raises(NotSupported, match="await"):
                _ = ChatMessageHistory(store, "s").messages
            await history.aclear()
            assert [] == await history.aget_messages()

    asyncio.run(main())


def test_a_window_memory(memory: Any) -> None:
    """Law: the window memory shows the model its window, and the session keeps all."""
    history, kind = ChatMessageHistory(memory, "s"), "ConversationBufferWindowMemory"
    chain = conversation(history, ["one", "two", "three"], kind, k=1)
    for question in ("a", "b", "c"):
        chain.run(question)

    assert "Human: c\nAI: three" == chain.memory.load_memory_variables({})["history"]
    assert ["a", "one", "b", "two", "c", "three"] == [one.content for one in memory.get_messages("s")]


def test_a_summary_memory(memory: Any) -> None:
    """Law: the summary memory summarises, and the session keeps what was said."""
    chain = conversation(ChatMessageHistory(memory, "s"), ["one", "two"], "ConversationSummaryMemory")
    for question in ("a", "b"):
        chain.run(question)

    assert "a summary" == chain.memory.load_memory_variables({})["history"]
    assert ["a", "one", "b", "two"] == [one.content for one in memory.get_messages("s")]


@pytest.mark.parametrize("kind", ["ConversationTokenBufferMemory", "ConversationSummaryBufferMemory"])
def test_token_memories_prune_the_session(kind: str, store: Any) -> None:
    """Law: with `prunes` what a token memory drops leaves the session; from the front, and only that."""
    chain = conversation(
        ChatMessageHistory(store, "s", prunes=True), ["one", "two", "three"], kind, max_token_limit=3
    )
    for question in ("a", "b", "c"):
        chain.run(question)

    assert ["two", "c", "three"] == [one.content for one in store.get_messages("s")]
    assert 6 == store.get_session("s").last_position
    shown = chain.memory.load_memory_variables({})["history"]
    assert shown.endswith("AI: two\nHuman: c\nAI: three")
    assert ("a summary" in shown) == (kind == "ConversationSummaryBufferMemory")


def test_token_memories_keep_the_session_otherwise(memory: Any) -> None:
    """Law: without `prunes` a session loses nothing."""
    chain = conversation(
        ChatMessageHistory(memory, "s"), ["one", "two"], "ConversationTokenBufferMemory", max_token_limit=1
    )
    for question in ("a", "b"):
        chain.run(question)

    assert 4 == memory.count_messages("s")


def test_pruning_meets_a_message_that_is_gone(memory: Any) -> None:
    """Law: what another worker pruned first is pruned; nothing else goes in its place."""
    history = ChatMessageHistory(memory, "s", prunes=True)
    history.add_messages([HumanMessage("a"), AIMessage("b"), HumanMessage("c")])
    read = history.messages
    memory.delete_message("s", 1)

    assert "a" == read.pop(0).content
    assert ["b", "c"] == [one.content for one in memory.get_messages("s")]
    assert "c" == read.pop().content
    assert ["b"] == [one.content for one in memory.get_messages("s")]


def test_every_read_is_fresh(store: Any) -> None:
    """Law: reading twice with one object sees what others wrote in between; a memory class does too."""
    history = ChatMessageHistory(store, "s")
    memory = memories.ConversationBufferMemory(chat_memory=history)
    history.add_message(HumanMessage("a"))
    assert ["a"] == [one.content for one in history.messages]
    ChatMessageHistory(store, "s").add_message(AIMessage("b"))

    assert ["a", "b"] == [one.content for one in history.messages]
    assert "Human: a\nAI: b" == memory.load_memory_variables({})["history"]

    async def main() -> None:
        for count in (2, 3):
            assert count == len(await history.aget_messages())
            await history._awaited().add_messages("s", [chatstore.HumanMessage("c")])
        await history.aclose()

    asyncio.run(main())


def test_a_pinned_read_is_kept_until_a_write(store: Any) -> None:
    """Law: with `pinned` an object reads once; what others append is seen after its own write, or by a new one."""
    history = ChatMessageHistory(store, "s", pinned=True)
    history.add_message(HumanMessage("a"))
    first = history.messages
    ChatMessageHistory(store, "s").add_message(AIMessage("b"))

    assert first == history.messages
    assert first is not history.messages
    assert 2 == len(ChatMessageHistory(store, "s").messages)
    history.add_message(HumanMessage("c"))
    assert ["a", "b", "c"] == [one.content for one in history.messages]


def test_messages_can_be_given(memory: Any) -> None:
    """Law: the one parameter of the class in memory that this one stands for is taken."""
    assert TURN == ChatMessageHistory(messages=TURN).messages
    assert [] == ChatMessageHistory(messages=[]).messages
    ChatMessageHistory(memory, "s", messages=TURN).add_message(HumanMessage("b"))
    assert 3 == memory.count_messages("s")


def test_a_list_that_was_read_is_the_callers(memory: Any) -> None:
    """Law: emptying the list that was read empties nothing else."""
    history = ChatMessageHistory(memory, "s")
    history.add_messages(TURN)
    history.messages.clear()

    assert TURN == history.messages
    assert 2 == memory.count_messages("s")


def test_last_limits_what_is_read(memory: Any) -> None:
    """Law: `last` is the newest that many."""
    history = ChatMessageHistory(memory, "s", last=2)
    history.add_messages([HumanMessage("a"), AIMessage("b"), HumanMessage("c")])

    assert ["b", "c"] == [one.content for one in history.messages]


def test_messages_can_be_set(store: Any) -> None:
    """Law: assigning replaces all messages at once."""
    history = ChatMessageHistory(store, "s")
    history.add_messages(TURN)
    history.messages = [HumanMessage("Only this")]

    assert ["Only this"] == [one.content for one in store.get_messages("s")]


def test_clear_keeps_the_session(store: Any) -> None:
    """Law: `clear` deletes the messages."""
    history = ChatMessageHistory(store, "s")
    history.add_messages(TURN)
    history.clear()

    assert [] == history.messages
    assert 0 == store.get_session("s").message_count


def test_owners_are_kept_apart(store: Any) -> None:
    """Law: a history over a scope sees its owner's session only."""
    ChatMessageHistory(store.scope(user_id="ada"), "s").add_messages(TURN)

    assert TURN == ChatMessageHistory(store.scope(user_id="ada"), "s").messages
    assert [] == ChatMessageHistory(store.scope(user_id="bob"), "s").messages


class _Lost:
    """An append that is carried out while its answer gets lost."""

    def __init__(self, core: Core) -> None:
        self._core, self.left = core, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def add_messages(self, call: Any) -> Any:
        done = self._core.add_messages(call)
        if self.left:
            self.left -= 1
            msg = "the answer got lost: try again"
            raise StorageUnavailable(msg)
        return done


def _losing(store: Repository) -> Any:
    return store._copied(_core=_Lost(store._core))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_repeated_call_stores_nothing_twice(asynchronous: bool, memory: Any) -> None:
    """Law: repeating a call whose outcome is unknown stores nothing twice, also of messages without an id."""
    history = ChatMessageHistory(_losing(memory), "s")
    turn = [HumanMessage("a"), AIMessage("b", id="run-1")]

    def add() -> None:
        if asynchronous:
            asyncio.run(history.aadd_messages(turn))
        else:
            history.add_messages(turn)

    with pytest.raises(StorageUnavailable):
        add()
    add()
    assert ["a", "b"] == [one.content for one in memory.get_messages("s")]
    assert [None, "run-1"] == [one.id for one in memory.get_messages("s")]
    add()  # this one is not a repetition: what has no id is said again
    assert ["a", "b", "a"] == [one.content for one in memory.get_messages("s")]


def test_other_messages_after_a_failure_are_others(memory: Any) -> None:
    """Law: equal messages that are not the same objects are appended, however the last call ended."""
    history = ChatMessageHistory(_losing(memory), "s")
    with pytest.raises(StorageUnavailable):
        history.add_messages([HumanMessage("a")])
    history.add_messages([HumanMessage("a")])

    assert ["a", "a"] == [one.content for one in memory.get_messages("s")]


def test_a_failed_write_is_logged(memory: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Law: what could not be stored is logged at ERROR, without a word of it, and raised."""
    history = ChatMessageHistory(_losing(memory), "s-7")
    with caplog.at_level(logging.ERROR), pytest.raises(StorageUnavailable):
        history.add_messages([HumanMessage("my secret")])

    (record,) = caplog.records
    assert ("chatstore.integrations.langchain", logging.ERROR) == (record.name, record.levelno)
    assert "s-7" in record.getMessage()
    assert "secret" not in caplog.text


def test_upsert_adds_and_updates_by_id(store: Any) -> None:
    """Law: the whole state passed again and again adds what is new, updates what changed, and nothing else."""
    history = ChatMessageHistory(store, "s")
    state = [HumanMessage("a", id="1"), AIMessage("b", id="2")]
    history.upsert_messages(state)
    revision = store.get_session("s").revision
    history.upsert_messages(state)
    assert revision == store.get_session("s").revision

    state[1] = AIMessage("B", id="2")
    history.upsert_messages([*state, ToolMessage("c", tool_call_id="x", id="3"), RemoveMessage(id="1")])
    assert [("a", "1"), ("B", "2"), ("c", "3")] == [(one.content, one.id) for one in history.messages]
    assert [1, 2, 3] == [one.position for one in store.get_records("s")]


def test_upsert_awaits(store: Any) -> None:
    """Law: the asynchronous side does the same."""

    async def main() -> None:
        async with ChatMessageHistory(store, "s") as history:
            await history.aupsert_messages([HumanMessage("a", id="1")])
            await history.aupsert_messages([HumanMessage("A", id="1"), AIMessage("b", id="2")])

    asyncio.run(main())
    assert ["A", "b"] == [one.content for one in store.get_messages("s")]


def test_upsert_refuses_what_it_cannot_tell_apart(memory: Any) -> None:
    """Law: a message without an id is refused, and nothing is stored."""
    with pytest.raises(Invalid, match="no id"):
        ChatMessageHistory(memory, "s").upsert_messages([HumanMessage("a", id="1"), AIMessage("b")])

    assert 0 == memory.count_messages("s")


def test_what_was_read_during_a_write_is_not_kept(memory: Any) -> None:
    """Law: a read that a write by the same object overtakes is not what the next read gives."""
    history = ChatMessageHistory(memory, "s")
    reading = history._reading()
    found = next(reading)(memory)
    history.add_messages(TURN)
    with pytest.raises(StopIteration):
        reading.send(found)

    assert TURN == history.messages
