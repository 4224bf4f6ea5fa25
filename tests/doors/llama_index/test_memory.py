"""The doors of LlamaIndex under its own memories, agents and chat engines, and the block that recalls."""

from __future__ import annotations

import asyncio
import random
import warnings
from typing import Any

import pytest
import sqlalchemy as sa
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, MockLLM, TextBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer, Memory, StaticMemoryBlock
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore

import chatstore
from chatstore import HumanMessage
from chatstore.integrations.llama_index import ChatstoreChatStore, ChatstoreDBChatStore, ChatstoreMemoryBlock

SIZES: dict[str, Any] = {"token_limit": 60, "token_flush_size": 15, "tokenizer_fn": str.split}


def said(chance: random.Random, role: str) -> ChatMessage:
    """Return a message of some words."""
    words = [str(chance.randrange(1000)) for _ in range(chance.randrange(1, 12))]
    return ChatMessage(" ".join(words), role=role)


def turn(chance: random.Random) -> list[ChatMessage]:
    """Return a turn, perhaps with a call of a tool."""
    called = [said(chance, "assistant"), said(chance, "tool")] if chance.random() < 0.4 else []
    return [said(chance, "user"), *called, said(chance, "assistant")]


@pytest.mark.parametrize("seed", range(3))
def test_a_memory_is_as_over_their_sql_store(store: chatstore.Repository, seed: int) -> None:
    """Law: a memory keeps, gives and archives the same messages over either store."""
    chance = random.Random(seed)

    async def go() -> None:
        theirs = SQLAlchemyChatStore("theirs")
        over = [
            Memory.from_defaults(
                session_id="k",
                chat_store=one,
                memory_blocks=[StaticMemoryBlock(name="fixed", static_content="Be kind.")],
                **SIZES,
            )
            for one in (theirs, ChatstoreDBChatStore(store))
        ]
        for _ in range(20):
            new = turn(chance)
            if chance.random() < 0.5:
                await asyncio.gather(*(memory.aput_messages(new) for memory in over))
            else:
                for one in new:
                    await asyncio.gather(*(memory.aput(one) for memory in over))
            one, other = [await memory.aget(input="now") for memory in over]
            assert one == other
            for status in (None, *MessageStatus):
                one, other = [await memory.aget_all(status) for memory in over]
                assert one == other
        assert await over[1].aget_all(MessageStatus.ARCHIVED)
        await asyncio.gather(*(memory.areset(MessageStatus.ARCHIVED) for memory in over))
        assert await over[0].aget_all() == await over[1].aget_all()
        await theirs._async_engine.dispose()

    asyncio.run(go())


def test_a_memory_that_does_not_await(store: chatstore.Repository) -> None:
    """Law: a memory's synchronous methods work without a loop and in one, and leave no connection behind."""
    memory = Memory.from_defaults(session_id="k", chat_store=ChatstoreDBChatStore(store))

    def say(text: str) -> None:
        memory.put(ChatMessage(text))
        memory.put_messages([ChatMessage(text, role="assistant")])

    async def inside() -> None:
        say("in a loop")  # the framework runs it in a thread with a loop of its own, for each call

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(inside())
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        say("without")
        loop.close()
        asyncio.set_event_loop(None)
    assert ["in a loop"] * 2 + ["without"] * 2 == [message.text for message in store.get_messages("k")]


def test_a_running_loop_leaves_no_connections() -> None:
    """Law: however often a memory that does not await is used in a running loop, connections stay as few."""
    from tests import servers

    with servers.migrated_url("postgres") as url, chatstore.connect(url) as repository:
        memory = Memory.from_defaults(session_id="k", chat_store=ChatstoreDBChatStore(repository))

        async def inside() -> None:
            for _ in range(12):
                memory.put(ChatMessage("a"))

        asyncio.run(inside())
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert connection.execute(sa.text(count)).scalar_one() <= 6
        engine.dispose()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # the framework looks at every attribute of its models
def test_an_agent(store: chatstore.Repository) -> None:
    """Law: the runs of an agent are stored, go on in a memory made anew, and are read by others."""

    def climate(city: str = "Riga") -> str:
        """Say what it is like."""
        return f"{city} is cool"

    async def go() -> list[ChatMessage]:
        for question in ("When do I plant tomatoes?", "And where it is cold?"):
            agent = FunctionAgent(tools=[climate], llm=MockFunctionCallingLLM())
            memory = Memory.from_defaults(session_id="garden", chat_store=ChatstoreDBChatStore(store))
            await agent.run(question, memory=memory)
        found: list[ChatMessage] = await memory.aget_all()
        return found

    found = asyncio.run(go())
    assert ["user", "assistant", "tool", "assistant"] == [one.role.value for one in found[:4]]
    messages = store.get_messages("garden")
    assert len(found) == len(messages)
    assert "When do I plant tomatoes?" == messages[0].text
    assert [{"city": "Riga"}] == [call["args"] for call in getattr(messages[1], "tool_calls", [])]
    assert "Riga is cool" == messages[2].text
    assert ["garden"] == [hit.session_id for hit in store.search("cold")]


def test_a_chat_engine(store: chatstore.Repository) -> None:
    """Law: the older memory of a chat engine keeps its messages in the synchronous store, and has those of others."""
    store.add_messages("k", [HumanMessage("before")])

    def engine() -> SimpleChatEngine:
        memory = ChatMemoryBuffer.from_defaults(chat_store=ChatstoreChatStore(store), chat_store_key="k")
        made: SimpleChatEngine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=memory)
        return made

    engine().chat("Hello")
    asyncio.run(engine().achat("again"))
    texts = [message.text for message in store.get_messages("k")]
    assert ["before", "Hello", "again"] == [texts[at] for at in (0, 1, 3)]
    assert 5 == len(texts)
    assert texts == [message.content for message in engine().chat_history]


# --------------------------------------------------------------------------------------------------------- recall

GARDEN = [
    ("user", "My tomatoes stand on the balcony."),
    ("assistant", "Water the tomatoes in the morning."),
    ("user", "I have a dog called Rex."),
    ("assistant", "A fine name for a dog."),
]


def garden() -> list[ChatMessage]:
    """Return what was said first."""
    return [ChatMessage(text, role=role) for role, text in GARDEN]


async def recalled(block: ChatstoreMemoryBlock, question: str, session_id: str | None = "k") -> list[str]:
    """Return what *block* gives for *question*."""
    return [one.text for one in await block.aget([ChatMessage(question)], session_id=session_id)]


def test_what_is_recalled(store: chatstore.Repository) -> None:
    """Law: what shares the most and the rarest words comes first, of one session or of all that are seen."""
    ada, bob = store.scope(user_id="ada"), store.scope(user_id="bob")
    ChatstoreChatStore(ada).set_messages("k", garden())
    ChatstoreChatStore(ada).add_message("other", ChatMessage("The dog of ada barks."))
    ChatstoreChatStore(bob).add_message("bob's", ChatMessage("The dog of bob sleeps."))

    async def go() -> None:
        here, all_hers = ChatstoreMemoryBlock(ada), ChatstoreMemoryBlock(ada, across_sessions=True)
        assert "user: I have a dog called Rex." == (await recalled(here, "Is the dog called Rex?"))[0]
        found = await recalled(all_hers, "a dog?", None)
        assert {"user: The dog of ada barks.", "user: I have a dog called Rex."} < {*found}
        assert [] == [text for text in found if "bob" in text]
        assert [] == await recalled(here, "a dog?", None)
        assert [] == await recalled(here, "?! -- \"' *")
        assert [] == await here.aget([], session_id="k")
        assert [] == await here.aget(None, session_id="k")
        assert 1 == len(await recalled(ChatstoreMemoryBlock(ada, limit=1), "tomatoes dog"))
        assert [] == await recalled(ChatstoreMemoryBlock(ada, limit=0), "tomatoes dog")
        # A word that everybody says counts less than one that hardly anybody says, though it was said later.
        ChatstoreChatStore(ada).set_messages(
            "pots", [ChatMessage(text) for text in ("A pot.", *["A fern."] * 3)]
        )
        assert "user: A pot." == (await recalled(here, "fern pot", "pots"))[0]
        # What stands in the active messages is not said twice.
        assert [] == await here.aget([*garden(), ChatMessage("Rex")], session_id="k")

    asyncio.run(go())


def test_a_memory_recalls_what_it_archived(store: chatstore.Repository) -> None:
    """Law: what fell out of the active messages comes back when it is asked for; nothing is stored twice for it."""

    async def go() -> None:
        memory = Memory.from_defaults(
            session_id="k",
            chat_store=ChatstoreDBChatStore(store),
            memory_blocks=[ChatstoreMemoryBlock(store, priority=1)],
            **SIZES,
        )
        await memory.aput_messages(garden())
        for number in range(20):
            await memory.aput_messages(
                [ChatMessage(f"{number} and so on " * 2), ChatMessage("ok", role="assistant")]
            )
        assert await memory.aget_all(MessageStatus.ARCHIVED)
        await memory.aput(ChatMessage("What is the dog called?"))
        first, *_ = await memory.aget()
        assert "system" == first.role
        assert "user: I have a dog called Rex." == first.content.split("\n")[2].strip(), first.content

    asyncio.run(go())
    assert 4 + 40 + 1 == store.count_messages("k")


def test_less_is_recalled_where_tokens_are_few() -> None:
    """Law: what says least is left out first, until enough is saved."""
    block = ChatstoreMemoryBlock(chatstore.connect("memory:"))
    content = [TextBlock(text=letter * 40) for letter in "abc"]

    async def go() -> None:
        assert content == await block.atruncate(content, 0)
        assert content[:2] == await block.atruncate(content, 5)
        assert content[:1] == await block.atruncate(content, 11)
        assert await block.atruncate(content, 100) is None

    asyncio.run(go())
