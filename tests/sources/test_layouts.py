"""What is particular to one source: lifetimes, numbers, owners, times, and damage that only it can have."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sqlite3
import subprocess
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
import pytest
import redis

from chatstore.backends.memory.repository import MemoryRepository
from chatstore.errors import NotSupported, StorageError
from chatstore.incoming.loading import Tally
from chatstore.messages import AIMessage, HumanMessage, ToolMessage
from chatstore.sources import read
from tests import embedded, servers
from tests.sources import planting
from tests.sources.importing import moved
from tests.sources.planting import TABLES, Cosmos, Dynamodb, RedisList, Sqlite
from tests.sources.shapes import REDIS_DOCUMENTS, human_element

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def one(name: str) -> Any:
    """Return a fixture that plants *name*."""

    @pytest.fixture
    def planted() -> Iterator[Any]:
        with planting.planted(name) as made:
            yield made

    return planted


def answers(port: int) -> bool:
    """Tell whether somebody listens at *port*."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


redis_list, dynamodb, cosmos = one("redis-list"), one("dynamodb-item"), one("cosmos-document")
sqlite, postgres, mariadb = (one(f"message-store {name}") for name in ("sqlite", "postgres", "mariadb"))
postgres_uuid = one("message-store postgres uuid")


# ---------------------------------------------------------------------------------------------- Redis


def test_a_lists_time_to_live_is_kept_and_followed(redis_list: RedisList) -> None:
    """The session ends when the key would have; a push that moved that on moves it here; a cleared one stays."""
    key, repository = f"{redis_list.prefix}one", MemoryRepository()
    redis_list.add("one", [human_element("a")])
    redis_list.client.expire(key, 1000)

    tally, _ = moved(redis_list, repository)
    left = [_left(repository)]
    redis_list.client.expire(key, 2000)
    moved(redis_list, repository)
    left.append(_left(repository))
    repository.update_session("one", expires_at=None)
    moved(redis_list, repository)

    assert Tally(sessions=1, new=1, expiring=1) == tally
    assert [True, True] == [990 < left[0] <= 1000, 1990 < left[1] <= 2000]
    assert repository.get_session("one").expires_at is None


def _left(repository: MemoryRepository) -> float:
    until = repository.get_session("one").expires_at
    assert until is not None
    return (until - datetime.now(UTC)).total_seconds()


def test_pushes_that_come_while_reading_shift_nothing(redis_list: RedisList) -> None:
    """The list is read from its tail: what is pushed meanwhile is read too, at its place."""
    redis_list.add("one", [human_element(str(number)) for number in range(1, 251)])
    seen = []
    for found in read("redis-list", redis_list.source, options=redis_list.options):
        for element in found.elements:
            if element.ordinal in (1, 100, 150):
                redis_list.add("one", [human_element(f"late {element.ordinal}")])
            assert element.message is not None
            seen.append(element.message.content)

    assert [*map(str, range(1, 251)), "late 1", "late 100", "late 150"] == seen


def test_rights_to_read_are_enough(redis_list: RedisList) -> None:
    """A user who may run nothing but commands that read imports all; one without rights gets one clear error."""
    redis_list.add("one", [human_element("a")])
    client, names = redis_list.client, ["chatstore-test-reads", "chatstore-test-nothing"]
    client.acl_setuser(names[0], enabled=True, passwords=["+s3cret"], keys=["*"], categories=["+@read"])
    client.acl_setuser(names[0], enabled=True, commands=["+scan", "+ping"])
    client.acl_setuser(names[1], enabled=True, passwords=["+s3cret"], commands=["+ping"])
    try:
        told = []
        for name in names:
            redis_list.source = redis_list.source.replace("redis://", f"redis://{name}:s3cret@")
            try:
                told.append(str(moved(redis_list, MemoryRepository())[0].new))
            except StorageError as error:
                told.append(str(error))
            redis_list.source = redis_list.source.replace(f"{name}:s3cret@", "")
        assert "1" == told[0]
        assert "does not let this user read" in told[1]
        assert "s3cret" not in told[1]
    finally:
        client.acl_deluser(*names)


def test_keys_that_are_no_sessions(redis_list: RedisList) -> None:
    """A key that is not text, or makes no session id, is named; other types are left alone; lists go on."""
    prefix, client = redis_list.prefix.encode(), redis_list.client
    redis_list.add("good", [human_element("a")])
    client.lpush(prefix + b"\xff\xfe", human_element("b"))
    client.lpush(prefix + b" outer ", human_element("c"))
    client.lpush(prefix, human_element("d"))
    client.set(prefix + b"text", "e")
    client.hset((prefix + b"hash").decode(), "f", "g")
    repository = MemoryRepository()

    tally, left = moved(redis_list, repository)

    assert Tally(sessions=1, new=1, damaged=3) == tally
    assert ["good"] == [session.session_id for session in repository.list_sessions().items]
    assert any("\\xff\\xfe" in place and "UTF-8" in why for _, place, why in left)
    assert Tally(damaged=1) == moved(redis_list, repository, "text")[0]


def test_a_cluster_is_read_as_a_whole(cluster_url: str) -> None:
    """A node's URL is enough: the client asks whether it belongs to a cluster, and goes where the keys are."""
    with contextlib.closing(redis.Redis.from_url(cluster_url)) as client:
        for number in range(20):
            client.lpush(f"message_store:s{number}", human_element("b"), human_element("a"))
    plant = _Lists(cluster_url)
    repository = MemoryRepository()

    assert Tally(sessions=20, new=40) == moved(plant, repository)[0]
    assert Tally(sessions=1, known=2) == moved(plant, repository, "s7")[0]


class _Lists:
    """Lists under the usual prefix."""

    kind, options = "redis-list", dict[str, str]()

    def __init__(self, source: str) -> None:
        self.source = source


@pytest.fixture
def cluster_url(tmp_path: Path) -> Iterator[str]:
    """Run a cluster of one node; give its URL."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on PATH to make a cluster of")
    port = embedded.free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]
    process = subprocess.Popen(
        ["redis-server", *words, "--cluster-port", str(embedded.free_port())],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    node: Any = redis.Redis(port=port)
    try:
        embedded.wait_until(lambda: answers(port), 20, "redis-server")
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        embedded.wait_until(lambda: node.cluster("info").get("cluster_state") == "ok", 20, "the cluster")
        yield f"redis://127.0.0.1:{port}"
    finally:
        node.close()
        process.terminate()
        process.wait(20)


def test_documents_want_the_json_module(redis_url: str) -> None:
    """Without it the error says that nothing can be read there, and what would help."""
    client = redis.Redis.from_url(redis_url)
    if any(module[b"name"] == b"ReJSON" for module in client.module_list()):
        pytest.skip("this server has the JSON module")

    with pytest.raises(NotSupported, match="no JSON module"):
        next(read("redis-json", redis_url))
    client.close()


def test_documents_are_read_in_the_order_of_their_times(redis_stack_url: str) -> None:
    """Documents as langchain-redis wrote them: sessions apart, ids and times kept, damage named, twice is once."""
    prefix = "chatstore-test:json:"
    client: Any = redis.Redis.from_url(redis_stack_url)
    try:
        for session in ("user:7", "user"):
            for number, text in enumerate(REDIS_DOCUMENTS):
                last = 9 - number  # the ids do not tell the order
                key = f"{prefix}{session}:01M8AFDJEG2EE47Y3E5B5J1Y{'CBA'[number]}{last}"
                client.execute_command("JSON.SET", key, "$", text % (last, session, number + 1))
        client.execute_command(
            "JSON.SET", f"{prefix}user:01M8AFDJEG2EE47Y3E5B5J1YZZ", "$", '{"timestamp": 1e10}'
        )
        repository = MemoryRepository()
        plant = _Documents(redis_stack_url, prefix)

        assert Tally(sessions=2, new=6, damaged=1) == moved(plant, repository)[0]
        assert Tally(sessions=1, known=3) == moved(plant, repository, "user:7")[0]
        told = [HumanMessage("Grüße"), AIMessage(""), ToolMessage("42", tool_call_id="c1")]
        for session in ("user:7", "user"):
            records = repository.get_records(session)
            assert told == [record.message for record in records]
            assert datetime.fromtimestamp(1795648047.000001, UTC) == records[0].created_at
            assert "01M8AFDJEG2EE47Y3E5B5J1YC9" == records[0].message_id
    finally:
        client.delete(*client.keys(f"{prefix}*"))
        client.close()


class _Documents:
    """RedisJSON documents under a prefix."""

    kind = "redis-json"

    def __init__(self, source: str, prefix: str) -> None:
        self.source, self.options = source, {"key_prefix": prefix}


# ---------------------------------------------------------------------------------------------- DynamoDB


def test_numbers_come_back_as_json_has_them(dynamodb: Dynamodb) -> None:
    """Decimals are ints where nothing stands behind the point, else floats, at every depth."""
    artifact = {"n": Decimal(3), "x": Decimal("0.1"), "big": Decimal(2**53 + 1), "list": [Decimal("1e2")]}
    data = {"content": "x", "tool_call_id": "c", "artifact": artifact}
    dynamodb.add_item("one", [{"type": "tool", "data": data}])
    repository = MemoryRepository()

    moved(dynamodb, repository)

    [message] = repository.get_messages("one")
    assert isinstance(message, ToolMessage)
    assert {"n": 3, "x": 0.1, "big": 2**53 + 1, "list": [100]} == message.artifact
    assert [int, float, int] == [type(value) for value in list(message.artifact.values())[:3]]


def test_expired_items_are_left_out_and_said(dynamodb: Dynamodb) -> None:
    """DynamoDB deletes them hours later; what has still to live keeps its end."""
    now = int(time.time())
    dynamodb.add_item("old", [json.loads(human_element("a"))], expireAt=Decimal(now - 5))
    dynamodb.add_item("young", [json.loads(human_element("b"))], expireAt=Decimal(now + 500))
    repository = MemoryRepository()

    tally, left = moved(dynamodb, repository)

    assert Tally(sessions=1, new=1, skipped=1, expiring=1) == tally
    assert [("skipped", "item old")] == [(what, place) for what, place, _ in left]
    assert datetime.fromtimestamp(now + 500, UTC) == repository.get_session("young").expires_at


def test_items_without_messages_and_binary_are_named(dynamodb: Dynamodb) -> None:
    """An item of another kind, bytes, a set: each is told with its place, and the option that may help."""
    dynamodb.add_item("bytes", [{"type": "human", "data": {"content": "x", "blob": b"\x00"}}])
    dynamodb.add_item("good", [json.loads(human_element("a"))])
    dynamodb.client.put_item(
        TableName=dynamodb.table, Item={"SessionId": {"S": "other"}, "Messages": {"L": []}}
    )
    repository = MemoryRepository()

    tally, left = moved(dynamodb, repository)

    assert (1, 2) == (tally.new, tally.damaged)
    assert any(place == "item other" and "--messages-key" in why for _, place, why in left)
    dynamodb.options = {"session_key": "Id"}
    tally, left = moved(dynamodb, repository)
    assert Tally(damaged=3) == tally
    assert "SessionId" in left[0][2]


def test_a_table_that_is_not_there_is_an_error(dynamodb: Dynamodb) -> None:
    """It is never an empty source."""
    dynamodb.source = dynamodb.source.replace(dynamodb.table, "Nothing")

    with pytest.raises(StorageError, match="does not exist"):
        moved(dynamodb, MemoryRepository())


# ---------------------------------------------------------------------------------------------- Cosmos DB


def test_a_document_belongs_to_its_user(cosmos: Cosmos) -> None:
    """The partition key becomes the owner; the same id of another user's is refused, not mixed."""
    wire = json.loads(human_element("a"))
    documents: list[dict[str, Any]] = [
        {"id": "one", "user_id": "ada", "messages": [wire]},
        {"id": "two", "user_id": "", "messages": []},
        {"id": "one", "user_id": "eve", "messages": [json.loads(human_element("b"))]},
        {"id": "settings", "user_id": "ada", "theme": "dark"},
    ]
    for document in documents:
        cosmos.container.upsert_item(document)
    repository = MemoryRepository()

    tally, left = moved(cosmos, repository)

    assert Tally(sessions=2, new=1, refused=1, damaged=1) == tally
    assert ("ada", None) == (repository.get_session("one").user_id, repository.get_session("two").user_id)
    assert ["document one of eve", "document settings"] == [place for _, place, _ in left]
    assert [HumanMessage("a")] == repository.get_messages("one")


def test_documents_are_paged(cosmos: Cosmos) -> None:
    """More documents than one page holds are all read, a page at a time, and nothing is asked for but them."""
    for number in range(25):
        cosmos.add(f"s{number}", [human_element("a")])
    asked = (
        cosmos.fake.asked if cosmos.fake else pytest.skip("a real account does not tell what it was asked")
    )
    asked.clear()

    tally, _ = moved(cosmos, MemoryRepository())

    assert Tally(sessions=25, new=25) == tally
    assert 3 <= asked["query"]
    assert [] == [name for name in asked if not name.startswith(("account", "read", "query", "plan"))]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_cosmos_is_an_error_without_secrets(status: int, cosmos: Cosmos) -> None:
    """It is never an empty source, and neither the key nor what the server says is repeated."""
    fake = cosmos.fake or pytest.skip("a real account does not fail when asked to")
    fake.fail("query", status, times=99)

    with pytest.raises(StorageError) as caught:
        moved(cosmos, MemoryRepository())

    assert str(status) in str(caught.value)
    assert "asked for by a test" not in str(caught.value)
    assert fake.key not in str(caught.value)


# ---------------------------------------------------------------------------------------------- SQL tables


def test_times_of_langchain_postgres_are_kept(postgres_uuid: Any) -> None:
    """created_at becomes the record's time, to the microsecond."""
    session = postgres_uuid.session("one")
    postgres_uuid.add(session, [human_element("a"), human_element("b")])
    postgres_uuid.run("UPDATE chat_history SET created_at = '2024-02-03 04:05:06.789012+02' WHERE id = 1")
    repository = MemoryRepository()

    moved(postgres_uuid, repository)

    first, second = repository.get_records(session)
    assert datetime(2024, 2, 3, 2, 5, 6, 789012, UTC) == first.created_at
    assert timedelta(minutes=1) > datetime.now(UTC) - second.created_at


def test_rows_that_cannot_be_read_are_named(sqlite: Sqlite) -> None:
    """NULL in each column, bytes that are no UTF-8, a number: each is told by its row, the others arrive."""
    sqlite.run(
        "INSERT INTO message_store (session_id, message) VALUES (?, ?)".replace("?", "%s"),
        [
            ("one", human_element("a")),
            (None, human_element("lost")),
            ("one", None),
            ("one", b'{"type": "human", "data": {"content": "\xff"}}'),
            ("one", 7),
            ("one", human_element("b")),
        ],
    )
    sqlite.run("""UPDATE message_store SET message = CAST(message AS TEXT) WHERE id = 4""")
    repository = MemoryRepository()

    tally, left = moved(sqlite, repository)

    assert Tally(sessions=1, new=2, damaged=4) == tally
    places = [place for _, place, _ in left]
    assert ["rows without a session", "row 3", "row 4", "row 5"] == [
        place.removeprefix("message_store ") for place in places
    ]
    assert any("UTF-8" in why for _, _, why in left)
    assert ["a", "b"] == [message.content for message in repository.get_messages("one")]


def test_other_names_and_schemas(postgres: Any) -> None:
    """--table takes a schema, --session-key a column; the error for a wrong one shows what there is."""
    postgres.run("CREATE SCHEMA old")
    postgres.run('CREATE TABLE old."Log" (id serial, "chatId" text, message jsonb)')
    postgres.run(f"""INSERT INTO old."Log" ("chatId", message) VALUES ('one', '{human_element("a")}')""")
    repository = MemoryRepository()
    postgres.options = {"table": "old.Log", "session_key": "chatId"}
    postgres.source = postgres.source.replace("+psycopg", "+asyncpg")  # an application's own URL

    assert Tally(sessions=1, new=1) == moved(postgres, repository)[0]
    for options, told in (
        ({"table": "log"}, "message_store"),
        ({"table": "old.Log"}, "chatId"),
        ({"table": "old.Log", "session_key": "message_id"}, "chatId"),
    ):
        postgres.options = options
        with pytest.raises(StorageError, match=told):
            moved(postgres, repository)


@pytest.mark.parametrize("name", list(TABLES))
def test_no_transaction_can_write(name: str) -> None:
    """The connection that reads refuses a write, where the database knows how."""
    from chatstore.sources import message_store

    with planting.planted(name) as plant:
        url = message_store._parse_url(plant.source)
        with message_store._open_engine(url) as engine, message_store._open_connection(engine) as connection:
            cursor = connection.connection.cursor()
            with pytest.raises((sqlite3.Error, psycopg.Error, pymysql.Error), match=r"(?i)read.?only"):
                cursor.execute(f"DELETE FROM {plant.table}")


def test_a_file_that_is_missing_is_not_made(sqlite: Sqlite) -> None:
    """Looking for a SQLite source creates nothing."""
    from pathlib import Path

    path = Path(sqlite.source.removeprefix("sqlite:///")).with_name("missing.db")

    with pytest.raises(StorageError, match="no SQLite file"):
        next(read("message-store", f"sqlite:///{path}"))
    assert not path.exists()


def test_many_sessions_of_a_table_are_read_in_bounded_memory(postgres: Any) -> None:
    """Rows come through a cursor: 60 MB of messages take a small part of that."""
    import tracemalloc

    text = human_element("x" * 20_000)
    postgres.run(
        "INSERT INTO message_store (session_id, message) SELECT 's' || n % 3, "
        f"'{text}'::jsonb FROM generate_series(1, 3000) n"
    )
    tracemalloc.start()
    count = 0
    for found in read(postgres.kind, postgres.source):
        for element in found.elements:
            count += element.message is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert 3000 == count
    assert 15_000_000 > peak


# ---------------------------------------------------------------------------------------------- where they are


@pytest.fixture
def redis_stack_url() -> str:
    """Give the URL of a Redis server with the JSON module; the one that is there may have it."""
    import os

    url = os.environ.get("CHATSTORE_TEST_REDIS_JSON_URL") or servers.obtain("redis")
    client = redis.Redis.from_url(url)
    there = any(module[b"name"] == b"ReJSON" for module in client.module_list())
    client.close()
    if not there:
        pytest.skip("no Redis server with the JSON module: set CHATSTORE_TEST_REDIS_JSON_URL to one")
    return url
