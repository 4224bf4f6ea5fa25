"""The doors of LlamaIndex: every message, statuses, and random operations beside the framework's own stores."""

from __future__ import annotations

import asyncio
import copy
import pickle
import random
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from llama_index.core.base.llms import types as theirs
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import ImageDocument
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from pydantic import BaseModel

import chatstore
from chatstore import AIMessage, ToolMessage
from chatstore.errors import Invalid, InvalidMessage, InvalidSessionId
from chatstore.integrations.llama_index import ChatstoreChatStore, ChatstoreDBChatStore, ChatstoreMemoryBlock
from chatstore.messages import OpaqueMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(50)
BLOCKS: list[Any] = [
    theirs.TextBlock(text="Hello \x00 🙂"),
    theirs.TextBlock(text=""),
    theirs.ImageBlock(image=PICTURE, detail="high"),
    theirs.ImageBlock(url="https://example.org/a.png"),
    theirs.AudioBlock(audio=b"abcde", format="mp3"),
    theirs.VideoBlock(url="https://example.org/a.mp4", fps=3),
    theirs.DocumentBlock(data=b"%PDF-1", title="Seeds", document_mimetype="application/pdf"),
    theirs.CachePoint(cache_control=theirs.CacheControl(type="ephemeral")),
    theirs.CitableBlock(title="t", source="s", content=[theirs.TextBlock(text="c")]),
    theirs.CitationBlock(
        cited_content=theirs.TextBlock(text="q"),
        source="s",
        title="t",
        additional_location_info={"page": 1},
    ),
    theirs.ThinkingBlock(content="Hm.", num_tokens=3, additional_information={"signature": "x"}),
    theirs.ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"x": [1, None]}),
    theirs.ToolCallBlock(tool_name="f", tool_kwargs="{no JSON"),
]


class Raw(BaseModel):
    """What a model's integration keeps of an answer."""

    reason: str


def every() -> list[ChatMessage]:
    """Return a message of each role, one with each block, and what integrations add."""
    about = {"n": None, "deep": [{"x": 1.5}], "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    return [
        *(ChatMessage(f"I am {role.value}.", role=role) for role in theirs.MessageRole),
        *(ChatMessage(role="assistant", blocks=[block]) for block in BLOCKS),
        ChatMessage(role="user", blocks=[one for one in BLOCKS if one.block_type != "tool_call"]),
        ChatMessage(role="assistant", blocks=[], additional_kwargs=about),
        ChatMessage("warm", role="tool", additional_kwargs={"tool_call_id": "c", "name": "f"}),
    ]


def test_every_message_comes_back(store: chatstore.Repository) -> None:
    """Law: whatever role and blocks it has, a message is equal when it is read again, by either store."""
    ChatstoreChatStore(store).set_messages("k", every())
    assert every() == ChatstoreChatStore(store).get_messages("k")
    assert every() == asyncio.run(ChatstoreDBChatStore(store).get_messages("k"))
    types = {message.type for message in store.get_messages("k")}
    assert {"human", "ai", "system", "tool", "function"} == types


def test_what_others_read(store: chatstore.Repository) -> None:
    """Law: text, calls, good and bad, and answers of tools are there for who knows nothing of LlamaIndex."""
    raw = {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"y": 2}'}}
    ChatstoreChatStore(store).set_messages(
        "k",
        [
            ChatMessage(role="assistant", blocks=BLOCKS),
            ChatMessage("Well.", role="assistant", additional_kwargs={"tool_calls": [raw]}),
            ChatMessage("warm", role="tool", additional_kwargs={"tool_call_id": "c", "name": "f"}),
        ],
    )
    first, second, output = store.get_messages("k")
    assert isinstance(first, AIMessage)
    assert isinstance(second, AIMessage)
    assert isinstance(output, ToolMessage)
    assert ("Hello \x00 🙂\n", "Well.", "warm") == (first.text, second.text, output.text)
    assert [("f", {"x": [1, None]}, "c")] == [
        (one["name"], one["args"], one["id"]) for one in first.tool_calls
    ]
    assert ["{no JSON"] == [one["args"] for one in first.invalid_tool_calls]
    assert [("g", {"y": 2}, "c2")] == [(one["name"], one["args"], one["id"]) for one in second.tool_calls]
    assert ("c", "f") == (output.tool_call_id, output.name)


def test_a_file_that_is_gone(store: chatstore.Repository, tmp_path: Path) -> None:
    """Law: a conversation reads as it was stored after a file that it names was deleted."""
    picture = tmp_path / "a.png"
    picture.write_bytes(PICTURE)
    block = theirs.ImageBlock(path=picture)
    cited = theirs.CitableBlock(title="t", source="s", content=[block])
    said = [ChatMessage(role="user", blocks=[theirs.TextBlock(text="Look:"), block, cited])]
    ChatstoreChatStore(store).set_messages("k", said)
    picture.unlink()
    assert said == ChatstoreChatStore(store).get_messages("k")


def test_what_integrations_add(store: chatstore.Repository) -> None:
    """Law: objects and bytes become JSON, old pictures are there once, and what is no JSON is refused."""
    door = ChatstoreChatStore(store)
    old = {
        "images": [ImageDocument(image="AAAA")],
        "raw": Raw(reason="stop"),
        "bytes": b"\xff",
        "pair": (1, float("nan")),
    }
    door.add_message("k", ChatMessage("Look:", additional_kwargs=old))
    (found,) = door.get_messages("k")
    assert ["text", "image"] == [block.block_type for block in found.blocks]
    assert ({"reason": "stop"}, "/w==", [1, None]) == tuple(
        found.additional_kwargs[name] for name in ("raw", "bytes", "pair")
    )
    refused = [ChatMessage("a"), ChatMessage("b", additional_kwargs={"x": object()})]
    with pytest.raises(InvalidMessage, match="out of additional_kwargs"):
        door.set_messages("k", refused)
    with pytest.raises(InvalidMessage, match="out of additional_kwargs"):
        asyncio.run(ChatstoreDBChatStore(store).add_messages("k", refused))
    assert [found] == door.get_messages("k")


def test_keys_that_are_no_sessions(store: chatstore.Repository) -> None:
    """Law: an empty key is refused, with what to do; one of letters of any kind is a session."""
    with pytest.raises(InvalidSessionId):
        ChatstoreChatStore(store).add_message("", ChatMessage("a"))
    ChatstoreChatStore(store).add_message("Küche/🍅 1", ChatMessage("a"))
    assert ["Küche/🍅 1"] == ChatstoreChatStore(store).get_keys()


# ------------------------------------------------------------------------------- beside the framework's own stores


def message(chance: random.Random) -> ChatMessage:
    """Return a message that says a number."""
    return ChatMessage(str(chance.randrange(10**9)), role=chance.choice(["user", "assistant", "tool"]))


class Simple:
    """One of the random runs beside `SimpleChatStore`.

    It differs on purpose where that fails with ``IndexError``, or has a key without messages: here there is none.
    """

    def __init__(self, ours: ChatstoreChatStore, chance: random.Random) -> None:
        """Begin with empty stores."""
        self.ours, self.theirs, self.chance = ours, SimpleChatStore(), chance

    def call(self, name: str, *arguments: Any) -> Any:
        """Call *name* of both, or its awaited twin, and compare what they return."""
        twin = {"add_message": "async_add_message"}.get(name, f"a{name}")
        if self.chance.random() < 0.2:
            ours = asyncio.run(getattr(self.ours, twin)(*copy.deepcopy(arguments)))
        else:
            ours = getattr(self.ours, name)(*copy.deepcopy(arguments))
        try:
            expected = getattr(self.theirs, name)(*copy.deepcopy(arguments))
        except IndexError:
            expected = None
        if name == "delete_messages":
            expected = expected or None
        assert expected == ours, (name, arguments)

    def step(self) -> None:
        """Do one thing, and compare what is there then."""
        key, chance = self.chance.choice(["a", "b", "c"]), self.chance
        many = [message(chance) for _ in range(chance.randrange(4))]
        index = chance.randrange(-7, 7)
        steps: list[tuple[Any, ...]] = [
            *[("add_message", key, message(chance))] * 6,
            ("set_messages", key, many),
            ("delete_messages", key),
            *[("delete_message", key, index)] * 3,
            ("delete_last_message", key),
        ]
        self.call(*chance.choice(steps))
        for one in ("a", "b", "c"):
            self.call("get_messages", one)
        assert sorted(one for one in self.theirs.get_keys() if self.theirs.store[one]) == sorted(
            self.ours.get_keys()
        )


@pytest.mark.parametrize("seed", range(6))
def test_as_their_simple_store(store: chatstore.Repository, seed: int) -> None:
    """Law: over random operations the synchronous store does what `SimpleChatStore` does, and so do its twins."""
    run = Simple(ChatstoreChatStore(store), random.Random(seed))
    for _ in range(40):
        run.step()


class Sql:
    """One of the random runs beside `SQLAlchemyChatStore`.

    It differs on purpose in what names a message for `delete_message`: there the number of its row in the whole
    table, here its position in the session. An empty list is nothing to add; there SQLite refuses it.
    """

    def __init__(self, ours: ChatstoreDBChatStore, positions: Callable[[str], list[int]], seed: int) -> None:
        """Begin with empty stores."""
        self.ours, self.positions, self.chance = ours, positions, random.Random(seed)
        self.theirs = SQLAlchemyChatStore("theirs")

    async def rows(self, key: str) -> list[int]:
        """Return the numbers of the rows of *key*, in the order of its messages."""
        factory, table = await self.theirs._initialize()
        order = (table.c.timestamp, table.c.id)
        async with factory() as session:
            found = await session.execute(sa.select(table.c.id).where(table.c.key == key).order_by(*order))
            return [row[0] for row in found]

    async def call(self, name: str, *arguments: Any, **named: Any) -> None:
        """Call *name* of both, and compare what they return."""
        expected = await getattr(self.theirs, name)(*copy.deepcopy(arguments), **named)
        assert expected == await getattr(self.ours, name)(*copy.deepcopy(arguments), **named), name

    async def step(self) -> None:
        """Do one thing, and compare what is there then."""
        chance = self.chance
        key, status = chance.choice(["a", "b"]), chance.choice([ACTIVE, ACTIVE, ARCHIVED])
        many = [message(chance) for _ in range(chance.randrange(1, 5))]
        step = chance.randrange(16)
        if step < 4:
            await self.call("add_message", key, many[0], status)
        elif step < 8:
            await self.call("add_messages", key, many, status)
        elif step < 11:
            await self.call("archive_oldest_messages", key, chance.randrange(4))
        elif step < 13:
            await self.call("delete_oldest_messages", key, chance.randrange(4))
        elif step == 13:
            await self.call("set_messages", key, many, status)
        elif step == 14:
            await self.call("delete_messages", key, chance.choice([None, ACTIVE, ARCHIVED]))
        elif rows := await self.rows(key):
            at = chance.randrange(len(rows))
            expected = await self.theirs.delete_message(key, rows[at])
            assert expected == await self.ours.delete_message(key, self.positions(key)[at])
            assert await self.ours.delete_message(key, 10**6) is None
        window = {"limit": chance.choice([None, 0, 1, 3]), "offset": chance.choice([None, 0, 2])}
        for one in ("a", "b", "missing"):
            for state in (None, ACTIVE, ARCHIVED):
                await self.call("get_messages", one, state)
                await self.call("get_messages", one, state, **window)
                await self.call("count_messages", one, state)
        assert sorted(await self.theirs.get_keys()) == sorted(await self.ours.get_keys())


@pytest.mark.parametrize("seed", range(4))
def test_as_their_sql_store(store: chatstore.Repository, seed: int) -> None:
    """Law: over random operations messages, statuses and what is returned are as those of `SQLAlchemyChatStore`."""

    def positions(key: str) -> list[int]:
        return [record.position for record in store.get_records(key)]

    async def go() -> None:
        run = Sql(ChatstoreDBChatStore(store), positions, seed)
        for _ in range(40):
            await run.step()
        await run.theirs._async_engine.dispose()

    asyncio.run(go())


# ------------------------------------------------------------------------------------------------------- statuses


def texts(found: list[ChatMessage]) -> list[str | None]:
    """Return what was said."""
    return [one.content for one in found]


def numbered(count: int, first: int = 0) -> list[ChatMessage]:
    """Return messages that say the numbers from *first*."""
    return [ChatMessage(str(number)) for number in range(first, first + count)]


def test_archived_messages_stay_where_they_are(store: chatstore.Repository) -> None:
    """Law: to archive changes no message, its id, time or place; the application's title and metadata stay."""
    store.create_session("k", title="Garden", metadata={"topic": "sea"})

    async def go() -> None:
        door = ChatstoreDBChatStore(store)
        await door.add_messages("k", numbered(5))
        before = store.get_records("k")
        assert ["0", "1"] == texts(await door.archive_oldest_messages("k", 2))
        assert before == store.get_records("k")
        assert ["2", "3", "4"] == texts(await door.get_messages("k"))
        assert ["0", "1"] == texts(await door.get_messages("k", ARCHIVED))
        ids = [record.message_id for record in before]
        assert ["2", "3"] == texts(await door.delete_oldest_messages("k", 2))
        assert [ids[0], ids[1], ids[4]] == [record.message_id for record in store.get_records("k")]
        assert ["0", "1"] == texts(await door.get_messages("k", ARCHIVED))
        assert numbered(1, 4) == await door.get_messages("k")

    asyncio.run(go())
    session = store.get_session("k")
    assert ("Garden", "sea") == (session.title, session.metadata["topic"])


def test_what_a_fork_has_archived(store: chatstore.Repository) -> None:
    """Law: a fork's copies have the status of their origins, and what is said in it is active."""

    async def go() -> None:
        door = ChatstoreDBChatStore(store)
        await door.add_messages("k", numbered(6))
        await door.archive_oldest_messages("k", 4)
        store.fork_session("k", "fork", through=2)
        await door.add_messages("fork", numbered(3, 10))
        assert ["10", "11", "12"] == texts(await door.get_messages("fork"))
        assert ["0", "1"] == texts(await door.get_messages("fork", ARCHIVED))
        await door.archive_oldest_messages("fork", 2)
        assert ["0", "1", "10", "11"] == texts(await door.get_messages("fork", ARCHIVED))
        assert ["4", "5"] == texts(await door.get_messages("k"))

    asyncio.run(go())


def test_what_only_others_know_stays(store: chatstore.Repository) -> None:
    """Law: another framework's own items are no messages here: never counted, archived or deleted by number."""
    own = OpaqueMessage(type="chatkit:widget", data={"content": "", "native": {"chatkit": {"item": {}}}})
    store.add_messages("k", [own])
    ChatstoreChatStore(store).add_message("k", ChatMessage("a"))
    store.add_messages("k", [own, *[own] * 30])

    async def go() -> None:
        door = ChatstoreDBChatStore(store)
        assert ["a"] == texts(await door.get_messages("k", None, 1))
        assert 1 == await door.count_messages("k", None)
        assert await door.delete_message("k", 1) is None
        assert ["a"] == texts(await door.delete_oldest_messages("k", 5))
        await door.add_message("k", ChatMessage("b"))

    asyncio.run(go())
    assert 33 == store.count_messages("k")
    store.add_messages("k", [own] * 30)
    assert ChatMessage("b") == ChatstoreChatStore(store).delete_last_message("k")
    assert ChatstoreChatStore(store).delete_last_message("k") is None
    assert 62 == store.count_messages("k")


def test_numbers_that_are_none(store: chatstore.Repository) -> None:
    """Law: a negative limit, offset or count is refused, and nothing changes."""

    async def go() -> None:
        door = ChatstoreDBChatStore(store)
        await door.add_messages("k", numbered(2))
        for refused in (
            door.get_messages("k", limit=-1),
            door.get_messages("k", offset=-1),
            door.archive_oldest_messages("k", -1),
            door.delete_oldest_messages("k", -1),
            door.delete_message("k", -1),
        ):
            with pytest.raises(Invalid):
                await refused
        assert numbered(2) == await door.get_messages("k")
        await door.add_messages("k", [])
        await door.delete_messages("missing")

    asyncio.run(go())
    assert ["k"] == [session.session_id for session in store.list_sessions().items]


def test_what_is_read_was_so_at_one_moment(
    store: chatstore.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: a read beside one who archives and adds has both, or none of it."""

    async def go() -> None:
        door, other = ChatstoreDBChatStore(store), ChatstoreDBChatStore(store)
        await other.add_messages("k", numbered(4))
        looked = door._store.get_session

        async def and_then(key: str) -> Any:
            found = await looked(key)
            if 4 == store.count_messages(key):
                await other.archive_oldest_messages(key, 2)
                await other.add_messages(key, numbered(1, 4))
            return found

        monkeypatch.setattr(door._store, "get_session", and_then)
        assert ["2", "3", "4"] == texts(await door.get_messages("k"))

    asyncio.run(go())


def test_what_a_store_remembers_is_not_taken_for_what_there_is(store: chatstore.Repository) -> None:
    """Law: a store that read a session sees what others archive, add, delete and make anew after that."""

    async def go() -> None:
        door, other = ChatstoreDBChatStore(store), ChatstoreDBChatStore(store)
        await door.add_messages("k", numbered(4))
        assert ["0", "1", "2", "3"] == texts(await door.get_messages("k"))
        await other.archive_oldest_messages("k", 2)
        assert ["2", "3"] == texts(await door.get_messages("k"))
        await other.add_messages("k", numbered(1, 4))
        await door.add_messages("k", numbered(1, 5))
        await other.archive_oldest_messages("k", 1)
        assert ["3", "4", "5"] == texts(await door.get_messages("k"))
        assert ["3"] == texts(await door.archive_oldest_messages("k", 1))
        await door.add_messages("k", numbered(1, 6))
        assert ["4", "5", "6"] == texts(await door.get_messages("k"))
        store.delete_session("k")
        assert [] == await door.get_messages("k")
        await other.add_messages("k", numbered(1, 7))
        assert ["7"] == texts(await door.get_messages("k"))

    asyncio.run(go())


def test_a_file_that_is_gone_beside_other_messages(store: chatstore.Repository, tmp_path: Path) -> None:
    """Law: one message whose file is gone, and one with old pictures, change nothing of the others."""
    picture = tmp_path / "a.png"
    picture.write_bytes(PICTURE)
    door = ChatstoreChatStore(store)
    old = ChatMessage("Look:", additional_kwargs={"images": [ImageDocument(image="AAAA")]})
    door.set_messages(
        "k", [*every(), ChatMessage(role="user", blocks=[theirs.ImageBlock(path=picture)]), old]
    )
    before = door.get_messages("k")
    picture.unlink()
    assert before == door.get_messages("k") == asyncio.run(ChatstoreDBChatStore(store).get_messages("k"))
    assert every() == before[:-2]
    assert 2 == len(before[-1].blocks)


def test_at_the_same_time(durable: str) -> None:
    """Law: of what several archive, delete and add at once, each message is archived, deleted or active, once."""
    archived: list[ChatMessage] = []
    deleted: list[ChatMessage] = []

    async def worker(number: int) -> None:
        with chatstore.connect(durable) as repository:
            door = ChatstoreDBChatStore(repository)
            for step in range(6):
                await door.add_messages("k", numbered(2, 1000 * number + 2 * step))
                archived.extend(await door.archive_oldest_messages("k", 1))
                if number == 0:
                    deleted.extend(await door.delete_oldest_messages("k", 1))

    async def go() -> None:
        with chatstore.connect(durable) as repository:
            door = ChatstoreDBChatStore(repository)
            await asyncio.gather(*map(worker, range(4)))
            stored = texts(await door.get_messages("k", ARCHIVED))
            assert sorted(map(str, texts(archived))) == sorted(map(str, stored))
            left = texts(await door.get_messages("k"))
        everything = [*stored, *left, *texts(deleted)]
        said = [str(1000 * number + step) for number in range(4) for step in range(12)]
        assert sorted(said) == sorted(map(str, everything))

    asyncio.run(go())


# ------------------------------------------------------------------------------------------- as pydantic's models


def test_dumps_tell_nothing_of_the_repository() -> None:
    """Law: no dump or repr of a store has an address or a password; a copy works on the same repository."""
    repository = chatstore.connect("postgresql+psycopg://ada:secret@localhost/none")
    for made in (
        ChatstoreChatStore(repository),
        ChatstoreDBChatStore(repository),
        ChatstoreMemoryBlock(repository),
    ):
        shown = [repr(made), str(made), made.model_dump_json(), str(made.model_json_schema())]
        assert [] == [text for text in shown if "secret" in text or "postgres" in text]
        assert copy.deepcopy(made)._store is made._store is made.model_copy(deep=True)._store
        with pytest.raises(TypeError, match=r"make it anew, \w+\(repository\)"):
            pickle.dumps(made)
    assert {"class_name": "ChatstoreChatStore"} == ChatstoreChatStore(repository).to_dict()


def test_a_repository_that_awaits_is_refused_where_nothing_awaits() -> None:
    """Law: the synchronous store says what to pass, or which store takes it."""
    with pytest.raises(Invalid, match="use ChatstoreDBChatStore"):
        ChatstoreChatStore(chatstore.connect_async("memory:"))  # type: ignore[arg-type]
