"""The constructors people call already: the import changes, nothing else; what would break in silence is refused."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore import connect, histories
from chatstore.backends.memory.repository import MemoryRepository
from chatstore.backends.sql.migrations import upgrade
from chatstore.errors import Invalid, InvalidSessionId
from chatstore.history import ChatMessageHistory as PlainHistory
from chatstore.integrations.langchain import (
    ChatMessageHistory,
    CosmosDBChatMessageHistory,
    DynamoDBChatMessageHistory,
    FileChatMessageHistory,
    PostgresChatMessageHistory,
    RedisChatMessageHistory,
    SQLChatMessageHistory,
)
from tests import cosmos, servers
from tests.integrations.langchain.classic import ANSWER, conversation
from tests.reliability.places import place

if TYPE_CHECKING:
    from pathlib import Path

TURN = [HumanMessage("Hello!"), AIMessage(ANSWER)]


def _converses(history: Any) -> None:
    """Assert that the page runs with *history*."""
    with history:
        assert isinstance(history, ChatMessageHistory)
        assert ANSWER == conversation(history).run("Hello!")
        assert TURN == history.messages


def test_a_file(tmp_path: Path) -> None:
    """Law: `FileChatMessageHistory` takes what LangChain's takes."""
    for number, options in enumerate(({}, {"encoding": "utf-8"}, {"encoding": None, "ensure_ascii": False})):
        path = tmp_path / f"{number}.json"
        history = FileChatMessageHistory(str(path), **options)  # type: ignore[arg-type]
        _converses(history)
        assert str(path) == str(history.file_path)

    with pytest.raises(Invalid, match="UTF-8"):
        FileChatMessageHistory(tmp_path / "x.json", encoding="cp1252")


SQL_CALLS = [
    ((), {"connection": True}),
    ((), {"connection_string": True}),
    ((True,), {}),
    ((), {"connection": True, "table_name": "message_store", "session_id_field_name": "session_id"}),
    ((), {"connection": True, "async_mode": False, "engine_args": {}, "custom_message_converter": None}),
]


@pytest.mark.parametrize(("args", "options"), SQL_CALLS, ids=range(len(SQL_CALLS)))
def test_sql(args: tuple[Any, ...], options: dict[str, Any], sqlite_url: str) -> None:
    """Law: `SQLChatMessageHistory` takes what LangChain's classes of this name took, over the releases."""
    args = tuple(sqlite_url for _ in args)
    options = {name: sqlite_url if value is True else value for name, value in options.items()}
    _converses(SQLChatMessageHistory("s", *args, **options))


def test_sql_engines(sqlite_url: str) -> None:
    """Law: engines of both kinds may be passed, and stay open."""
    upgrade(sqlite_url)
    engine = create_engine(sqlite_url)
    _converses(SQLChatMessageHistory("s", connection=engine))
    with engine.connect() as link:
        assert 2 == link.exec_driver_sql("SELECT count(*) FROM chatstore_messages").scalar()
    engine.dispose()

    async def main() -> None:
        awaited = create_async_engine(sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
        history = SQLChatMessageHistory("s", connection=awaited, async_mode=True)
        assert TURN == await history.aget_messages()
        await awaited.dispose()

    asyncio.run(main())


def test_sql_by_an_asynchronous_url(sqlite_url: str) -> None:
    """Law: a URL of an asynchronous driver serves both sides."""
    _converses(SQLChatMessageHistory("s", connection=sqlite_url.replace("sqlite:", "sqlite+aiosqlite:")))


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_sql_servers(kind: str) -> None:
    """Law: any database, by its URL."""
    with servers.migrated_url(kind) as url:
        _converses(SQLChatMessageHistory("s", connection=url))


def test_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: `PostgresChatMessageHistory` takes the page's parameters; without a URL the environment's."""
    with servers.migrated_url("postgres") as url:
        plain = url.replace("postgresql+psycopg:", "postgresql:")
        _converses(PostgresChatMessageHistory("s", plain, "message_store"))
        _converses(PostgresChatMessageHistory(session_id="t", connection_string=url))
        monkeypatch.setenv("CHATSTORE_URL", url)
        assert TURN == PostgresChatMessageHistory("t").messages


def test_redis() -> None:
    """Law: the page runs on a Redis, by the page's parameters."""
    with place("redis") as url:
        at, _, prefix = url.partition("?key_prefix=")
        _converses(RedisChatMessageHistory("s", url=at, key_prefix=prefix, ttl=600))


def test_redis_by_a_client() -> None:
    """Law: a client of the application's own is worked with, and stays open; an asynchronous one is awaited."""
    redis = pytest.importorskip("redis")
    with place("redis") as url:
        at, _, prefix = url.partition("?key_prefix=")
        client = redis.Redis.from_url(at)
        _converses(RedisChatMessageHistory("s", redis_client=client, key_prefix=prefix, ttl=600))
        assert client.ping()
        client.close()

        async def main() -> None:
            awaited = redis.asyncio.Redis.from_url(at)
            history = RedisChatMessageHistory("s", redis_client=awaited, key_prefix=prefix)
            assert TURN == await history.aget_messages()
            await awaited.aclose()

        asyncio.run(main())


CALLS: dict[str, Any] = {
    "sql": lambda session_id: SQLChatMessageHistory(session_id, "memory:"),
    "postgres": lambda session_id: PostgresChatMessageHistory(session_id, "postgresql://localhost/x"),
    "redis": lambda session_id: RedisChatMessageHistory(session_id, "redis://localhost:1/0"),
    "dynamodb": lambda session_id: DynamoDBChatMessageHistory("t", session_id),
    "cosmosdb": lambda session_id: CosmosDBChatMessageHistory("https://h", "d", "c", session_id, "u"),
}


@pytest.mark.parametrize("session_id", [None, "", " ", 7])
@pytest.mark.parametrize("name", CALLS)
def test_a_session_needs_an_id(name: str, session_id: Any) -> None:
    """Law: a required id that is no id is refused by the constructor, not at the first use, and never made up."""
    with pytest.raises(InvalidSessionId, match="the session id"):
        CALLS[name](session_id)


def test_dynamodb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the page runs on a DynamoDB, by the page's parameters; the region is the environment's."""
    with place("dynamodb") as url:
        address = make_url(url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", str(address.host))
        endpoint = address.query.get("endpoint_url")
        _converses(DynamoDBChatMessageHistory(str(address.database), "s", endpoint, ttl=600))  # type: ignore[arg-type]


def test_cosmosdb() -> None:
    """Law: the page runs on a Cosmos DB, by the page's parameters; the session is its user's."""
    with cosmos.account() as account, account.container() as url:
        database, container = url.split("/")[-2:]
        text = cosmos.connection_string(account.base)
        history = CosmosDBChatMessageHistory("", database, container, "s", "ada", connection_string=text)
        _converses(history)
        with connect(url) as repository:
            assert "ada" == repository.get_session("s").user_id


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: SQLChatMessageHistory("s", "message_store"), "write connection=URL"),
        (lambda: SQLChatMessageHistory("s", "memory:", engine_args={"echo": True}), "create_engine"),
        (lambda: SQLChatMessageHistory("s", "memory:", custom_message_converter=object()), "metadata"),
        (lambda: SQLChatMessageHistory("s"), "CHATSTORE_URL"),
        (lambda: PostgresChatMessageHistory("s", sync_connection=object()), "pass the database's URL"),
        (lambda: PostgresChatMessageHistory("s", async_connection=object()), "pass the database's URL"),
        (lambda: DynamoDBChatMessageHistory("t", "s", key={"a": "b"}), "session_key"),
        (lambda: DynamoDBChatMessageHistory("t", "s", kms_key_id="k"), "on the table"),
        (
            lambda: CosmosDBChatMessageHistory("e", "d", "c", "s", "u", cosmos_client_kwargs={"a": 1}),
            "leave it out",
        ),
        (lambda: CosmosDBChatMessageHistory("e", "d", "c", "s", ""), "user_id is empty"),
        (lambda: CosmosDBChatMessageHistory("e", "d", "c", "s", cast("str", None)), "needs an owner"),
    ],
)
def test_what_would_be_broken_is_refused(wrong: Any, told: str) -> None:
    """Law: a parameter whose promise chatstore does not keep is refused with what to write instead."""
    with pytest.raises(Invalid, match=told):
        wrong()


#: The call, the constructor of `chatstore.histories` behind it, and what that one is passed.
MAPPED: dict[str, tuple[Any, str, tuple[Any, ...], dict[str, Any]]] = {
    "redis, the page": (
        lambda: RedisChatMessageHistory("s", url="redis://h:1/2", key_prefix="p:", ttl=60),
        "RedisChatMessageHistory", ("s", "redis://h:1/2"), {"key_prefix": "p:", "ttl": 60},
    ),
    "redis, by position": (
        lambda: RedisChatMessageHistory("s", "redis://h:1/2", "p:", 60),
        "RedisChatMessageHistory", ("s", "redis://h:1/2"), {"key_prefix": "p:", "ttl": 60},
    ),
    "redis, its default": (
        lambda: RedisChatMessageHistory("s"), "RedisChatMessageHistory", ("s", "redis://localhost:6379/0"), {},
    ),
    "redis, langchain-redis": (
        lambda: RedisChatMessageHistory("s", redis_url="redis://h", index_name="i", overwrite_index=True),
        "RedisChatMessageHistory", ("s", "redis://h"), {},
    ),
    "dynamodb, the page": (
        lambda: DynamoDBChatMessageHistory("t", "s", "http://h"),
        "DynamoDBChatMessageHistory", ("t", "s"), {"endpoint_url": "http://h"},
    ),
    "dynamodb, today": (
        lambda: DynamoDBChatMessageHistory(
            table_name="t", session_id="s", boto3_session="b", primary_key_name="SessionId", ttl=60,
            ttl_key_name="e", history_size=5, history_messages_key="H", coerce_float_to_decimal=True,
        ),
        "DynamoDBChatMessageHistory", ("t", "s"), {"boto3_session": "b", "ttl": 60},
    ),
    "cosmosdb": (
        lambda: CosmosDBChatMessageHistory(
            cosmos_endpoint="https://h", cosmos_database="d", cosmos_container="c", session_id="s", user_id="u",
            connection_string="x", ttl=60,
        ),
        "CosmosDBChatMessageHistory", ("https://h", "d", "c", "s", "u"), {"connection_string": "x", "ttl": 60},
    ),
}  # fmt: skip


class Prepared(PlainHistory):
    """A history of chatstore's own, of any store."""

    def prepare_cosmos(self) -> None:
        """Make nothing."""

    async def __aenter__(self) -> Any:
        self.prepare_cosmos()
        return self


@pytest.mark.parametrize("name", MAPPED)
def test_parameters_of_other_stores(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: what is passed reaches the constructor of that store; what was not passed is left to its defaults."""
    call, constructor, args, options = MAPPED[name]
    seen: list[Any] = []

    def made(*passed: Any, **named: Any) -> Any:
        seen.append((passed, named))
        return Prepared(MemoryRepository(), "s")

    monkeypatch.setattr(histories, constructor, made, raising=False)
    history = call()

    assert [(args, options)] == seen
    assert (5 if "today" in name else None) == history.last
    _converses(history)


def test_cosmos_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: the call that had to be made before, and ``with``, make the container."""
    prepared: list[str] = []

    monkeypatch.setattr(Prepared, "prepare_cosmos", lambda self: prepared.append(self.session_id))
    monkeypatch.setattr(
        histories, "CosmosDBChatMessageHistory", lambda *_, **__: Prepared(MemoryRepository(), "s")
    )
    with CosmosDBChatMessageHistory("https://h", "d", "c", "s", "u", connection_string="x") as history:
        history.prepare_cosmos()
    assert ["s", "s"] == prepared

    async def main() -> None:
        async with CosmosDBChatMessageHistory("https://h", "d", "c", "s", "u", connection_string="x"):
            assert ["s"] * 3 == prepared

    asyncio.run(main())


def test_a_hundred_histories_share_a_pool(sqlite_url: str) -> None:
    """Law: histories on one URL share one engine; a closed one leaves the others their connections."""
    with servers.migrated_url("postgres") as url:
        made = [PostgresChatMessageHistory(f"s{n}", url) for n in range(100)]
        threads = [threading.Thread(target=one.add_messages, args=(TURN,)) for one in made]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        engines = {id(one.repository._lease.lend(one.repository._user).engine) for one in made}  # type: ignore[union-attr]
        opened = made[0].repository._lease.lend(made[0].repository._user).engine.pool.checkedin()  # type: ignore[union-attr]
        made[0].close()

        assert 1 == len(engines)
        assert 1 <= opened <= 15
        assert TURN == made[99].messages
        with connect(url) as store:
            assert [2] * 100 == [store.count_messages(f"s{n}") for n in range(100)]
        for one in made[1:]:
            one.close()
