"""Histories: the interface of the page, the one class behind it, and the named constructors."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import chatstore
from chatstore import (
    AIMessage,
    BaseChatMessageHistory,
    ChatMessage,
    ChatMessageHistory,
    CosmosDBChatMessageHistory,
    DynamoDBChatMessageHistory,
    FileChatMessageHistory,
    FunctionMessage,
    HumanMessage,
    OpaqueMessage,
    PostgresChatMessageHistory,
    RedisChatMessageHistory,
    SQLChatMessageHistory,
    SystemMessage,
    ToolMessage,
)
from chatstore.errors import ChatstoreError, Invalid, InvalidMessage, InvalidSessionId, NotSupported
from chatstore.integrations.awaiting import Awaiting
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from chatstore.contract import Answer, C, T
    from chatstore.messages import Message

HELLO = [HumanMessage(content="Hello!"), AIMessage(content="Hello there! How can I assist you today?")]
PAGE = (
    '[{"type": "human", "data": {"content": "Hello!", "additional_kwargs": {}, "example": false}}, '
    '{"type": "ai", "data": {"content": "Hello there! How can I assist you today?", '
    '"additional_kwargs": {}, "example": false}}]'
)


class Listed(BaseChatMessageHistory):
    """The least that somebody else's history has to have."""

    def __init__(self) -> None:
        """Begin empty."""
        self.kept: list[Message] = []
        self.threads: set[int] = set()

    @property
    def messages(self) -> list[Message]:
        """Return what is kept."""
        self.threads.add(threading.get_ident())
        return list(self.kept)

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Keep more."""
        self.threads.add(threading.get_ident())
        self.kept.extend(messages)

    def clear(self) -> None:
        """Forget."""
        self.threads.add(threading.get_ident())
        self.kept.clear()


def test_three_methods_make_a_history() -> None:
    """Whoever implements `messages`, `add_messages` and `clear` has the rest of the interface."""
    history = Listed()
    history.add_user_message("Hello!")
    history.add_ai_message("Hello there! How can I assist you today?")
    history.add_message(SystemMessage(content="rule"))

    assert [*HELLO, SystemMessage(content="rule")] == history.messages
    assert "Human: Hello!\nAI: Hello there! How can I assist you today?\nSystem: rule" == str(history)


def test_the_interface_alone_is_no_history() -> None:
    """Without them it cannot be made."""
    with pytest.raises(TypeError):
        BaseChatMessageHistory()  # type: ignore[abstract]


def test_a_blocking_history_is_awaited_in_a_thread() -> None:
    """The asynchronous methods of somebody's synchronous history never run in the loop's thread."""
    history = Listed()

    async def talk() -> list[Message]:
        await history.aadd_messages(HELLO)
        found = await history.aget_messages()
        await history.aclear()
        return found

    assert HELLO == asyncio.run(talk())
    assert [] == history.kept
    assert threading.get_ident() not in history.threads


def test_a_history_of_its_own() -> None:
    """Without arguments a history has a memory store and a session nobody else has."""
    one, two = ChatMessageHistory(), ChatMessageHistory()
    one.add_user_message("Hello!")

    assert [HumanMessage(content="Hello!")] == one.messages
    assert [] == two.messages
    assert one.session_id != two.session_id


NEEDS_AN_ID: dict[str, Callable[[Any], ChatMessageHistory]] = {
    "sql": lambda session_id: SQLChatMessageHistory(session_id, "memory:"),
    "postgres": lambda session_id: PostgresChatMessageHistory(session_id, "postgresql://localhost/x"),
    "redis": lambda session_id: RedisChatMessageHistory(session_id, "redis://localhost:1/0"),
    "dynamodb": lambda session_id: DynamoDBChatMessageHistory("t", session_id),
    "cosmosdb": lambda session_id: CosmosDBChatMessageHistory("https://h", "d", "c", session_id, "u"),
}


@pytest.mark.parametrize("session_id", [None, "", " ", 7])
@pytest.mark.parametrize("name", NEEDS_AN_ID)
def test_a_named_history_needs_an_id(name: str, session_id: Any) -> None:
    """An id that is none is refused by the constructor, and never made up: nobody would find the session again."""
    with pytest.raises(InvalidSessionId, match="the session id"):
        NEEDS_AN_ID[name](session_id)


def test_blocks_are_a_message_too() -> None:
    """What a user or a model said may be a list of content blocks, as LangChain takes it."""
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": "Hello!"}]
    history = ChatMessageHistory()
    history.add_user_message(blocks)
    history.add_ai_message(blocks)

    assert [HumanMessage(content=blocks), AIMessage(content=blocks)] == history.messages


def test_a_message_of_langchain_is_told_where_it_belongs() -> None:
    """A plain repository says what a LangChain message needs, and not that HumanMessage is no HumanMessage."""
    theirs = pytest.importorskip("langchain_core.messages")

    with pytest.raises(
        InvalidMessage, match="this HumanMessage is LangChain's: convert it with from_langchain"
    ):
        ChatMessageHistory().add_message(theirs.HumanMessage("Hello!"))


def test_the_story_of_the_page() -> None:
    """What the page shows after a first turn is what is there, repr included."""
    history = ChatMessageHistory()
    history.add_user_message("Hello!")
    history.add_ai_message("Hello there! How can I assist you today?")

    assert (
        "[HumanMessage(content='Hello!', additional_kwargs={}, example=False), "
        "AIMessage(content='Hello there! How can I assist you today?', additional_kwargs={}, example=False)]"
    ) == repr(history.messages)


def test_the_file_of_the_page(tmp_path: Path) -> None:
    """`FileChatMessageHistory` keeps exactly the page's JSON, and reads it."""
    path = tmp_path / "chat.json"
    with FileChatMessageHistory(path) as history:
        assert not path.exists()
        history.add_messages(HELLO)
        assert json.loads(PAGE) == json.loads(path.read_text(encoding="utf-8"))

    path.write_text(PAGE, encoding="utf-8")
    assert HELLO == FileChatMessageHistory(str(path)).messages
    assert ["Hello there! How can I assist you today?"] == [
        message.content for message in FileChatMessageHistory(file_path=path, last=1).messages
    ]


def test_a_transcript_names_everybody() -> None:
    """`str` of a history has a line for each message, of whatever class."""
    history = ChatMessageHistory()
    history.add_messages(
        [
            SystemMessage(content="rule"),
            HumanMessage(content=["part", {"type": "text", "text": "another"}]),
            ToolMessage(content="result", tool_call_id="c"),
            FunctionMessage(content="value", name="f"),
            ChatMessage(content="aside", role="narrator"),
            OpaqueMessage(type="future", data={"content": "later"}),
            OpaqueMessage(type="future", data={}),
        ]
    )

    lines = str(history).splitlines()
    assert ["System: rule", "Tool: result", "Function: value", "narrator: aside", "future: later"] == [
        line for line in lines if not line.startswith(("Human", "part", "another")) and line != "future: "
    ]
    assert "part" in str(history)
    assert "another" in str(history)


def test_a_repr_tells_no_content() -> None:
    """The repr of a history is its session, not what was said."""
    history = ChatMessageHistory(None, "s")
    history.add_user_message("secret")

    assert "ChatMessageHistory(session_id='s')" == repr(history)


def test_one_history_in_several_loops(tmp_path: Path) -> None:
    """A history is awaited in one loop after the other, and used without a loop between them."""
    for repository in (chatstore.connect("memory:"), chatstore.connect(f"file:{tmp_path}/chats")):
        history = repository.history("s")

        async def turn(history: ChatMessageHistory, text: str) -> list[Message]:
            await history.aadd_messages([HumanMessage(content=text)])
            return await history.aget_messages()

        assert 1 == len(asyncio.run(turn(history, "a")))
        history.add_user_message("b")
        assert ["a", "b", "c"] == [message.content for message in asyncio.run(turn(history, "c"))]
        repository.close()


def test_a_bad_session_id_is_told_at_the_first_use() -> None:
    """Making a history does nothing; its first use refuses an impossible session id."""
    history = ChatMessageHistory(chatstore.connect("memory:"), " padded ")

    with pytest.raises(InvalidSessionId):
        history.add_user_message("x")


def test_over_an_asynchronous_repository() -> None:
    """It is awaited; the synchronous names raise `NotSupported` that says which to use."""
    history = ChatMessageHistory(chatstore.connect_async("memory:"), "s")

    async def turn() -> list[Message]:
        await history.aadd_messages(HELLO)
        return await history.aget_messages()

    assert HELLO == asyncio.run(turn())
    with pytest.raises(NotSupported, match="aget_messages"):
        history.messages  # noqa: B018 - reading is what must fail
    with pytest.raises(NotSupported, match="aadd_messages"):
        history.add_user_message("x")


class Noticed(Repository):
    """A repository that counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        """Count."""
        type(self).closed += 1

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        return operation(call)  # type: ignore[return-value]  # as in memory, nothing is waited for

    def _asynchronous(self) -> Any:
        raise NotImplementedError


def test_a_repository_that_was_passed_in_stays_open() -> None:
    """A history closes only what a named constructor made for it."""
    with ChatMessageHistory(Noticed(), "s"):
        pass

    assert 0 == Noticed.closed


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (FileChatMessageHistory, ["file_path"]),
        (SQLChatMessageHistory, ["session_id", "connection"]),
        (PostgresChatMessageHistory, ["session_id", "connection_string"]),
        (ChatMessageHistory, ["repository", "session_id"]),
    ],
)
def test_the_parameters_of_the_page(kind: type, names: list[str]) -> None:
    """The named constructors take the names people pass already, by position or by name; others by name only."""
    parameters = inspect.signature(kind).parameters
    by_name = {name for name, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}

    assert names == [name for name in parameters if name not in by_name]
    assert ({"last"} if kind is ChatMessageHistory else {"last", "deadline"}) == by_name


def test_a_sql_history(tmp_path: Path) -> None:
    """`SQLChatMessageHistory` works on a URL; two of them on one session see the same."""
    url = f"sqlite:///{tmp_path}/chat.db"
    with (
        SQLChatMessageHistory("s", url) as one,
        SQLChatMessageHistory(session_id="s", connection=url, last=1) as two,
    ):
        one.add_messages(HELLO)

        assert HELLO == one.messages
        assert HELLO[1:] == two.messages
        one.messages = [HumanMessage(content="anew")]
        assert [HumanMessage(content="anew")] == two.messages


def test_a_hundred_histories_share_one_engine(tmp_path: Path) -> None:
    """Histories on one URL share engine and pool; the last one that is closed disposes of it."""
    url = f"sqlite:///{tmp_path}/chat.db"
    histories = [SQLChatMessageHistory(f"s{number}", url) for number in range(100)]
    for history in histories[:10]:
        history.add_user_message("x")
    engines = {id(history.repository._lease.lend(history.repository._user).engine) for history in histories}  # type: ignore[union-attr]

    assert 1 == len(engines)
    for history in histories[:99]:
        history.close()
        history.close()
    histories[99].add_user_message("still open")
    histories[99].close()


def test_a_postgres_history(postgres_url: str) -> None:
    """`PostgresChatMessageHistory` takes a bare ``postgresql://`` URL and says what a new database needs."""
    bare = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    with PostgresChatMessageHistory("s", bare) as history:
        with pytest.raises(ChatstoreError, match="upgrade"):
            history.add_user_message("x")

        from chatstore.backends.sql.migrations import upgrade

        upgrade(postgres_url)
        history.add_messages(HELLO)
        assert HELLO == history.messages


@pytest.mark.parametrize("wrong", ["sqlite:///chat.db", None, {}])
def test_a_url_is_no_repository(wrong: Any) -> None:
    """It is refused where it is passed, with what to pass instead, and not at the first reading."""
    makers: list[Callable[[Any], object]] = [Awaiting]
    if wrong is not None:  # a history without one is in memory
        makers.append(partial(ChatMessageHistory, session_id="trip"))
    for make in makers:
        with pytest.raises(Invalid, match=r"pass what chatstore\.connect"):
            make(wrong)


def test_a_threaded_repository_has_the_name_of_what_it_lends(tmp_path: Path) -> None:
    """An error about what a backend cannot do names one that somebody has heard of."""

    async def set_states() -> None:
        async with chatstore.connect_async(f"file:{tmp_path}/chats") as repository:
            await repository.set_states("place", {"key": 1})

    with pytest.raises(NotSupported, match=r"^FileRepository cannot set states"):
        asyncio.run(set_states())
