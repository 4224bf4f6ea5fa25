"""Foreign storages with sessions in them, each in the layout that its program left: plain clients, no chatstore.

Each `Plant` has a source to read from and the options for that; `add` puts raw elements behind a session's last one,
and `contents` is all that is stored, to see that reading changed nothing.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import tempfile
import uuid
from abc import ABC, abstractmethod
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
import redis
from azure.cosmos import PartitionKey
from boto3.dynamodb.types import TypeSerializer
from sqlalchemy import make_url

from tests import cosmos, dynamo, servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Plant(ABC):
    """One foreign storage. *kind* is what `--from` calls it; *exact* tells whether it keeps text that is no JSON."""

    kind: str
    exact = True
    #: Whose its sessions are.
    owner: str | None = None

    def __init__(self, source: str, **options: str) -> None:
        """Keep where to read, and how."""
        self.source, self.options = source, options

    def session(self, name: str) -> str:
        """Return the session id that stands for *name* here."""
        return name

    @abstractmethod
    def add(self, session: str, raw: Sequence[str]) -> None:
        """Put elements, JSON texts, behind the last one of *session*."""

    @abstractmethod
    def contents(self) -> Any:
        """Return all that is stored."""


class RedisList(Plant):
    """A list a session, pushed at its head."""

    kind = "redis-list"

    def __init__(self, url: str) -> None:
        """Keep to a prefix of its own."""
        self.prefix = f"test*[{secrets.token_hex(4)}]?:"  # what a pattern would take for more than itself
        self.client: Any = redis.Redis.from_url(url)
        super().__init__(url, key_prefix=self.prefix)

    def add(self, session: str, raw: Sequence[str]) -> None:
        self.client.lpush(self.prefix + session, *raw)

    def keys(self) -> list[bytes]:
        """Name the keys under the prefix."""
        return sorted(key for key in self.client.scan_iter() if key.startswith(self.prefix.encode()))

    def contents(self) -> Any:
        return [(key, self.client.dump(key), self.client.pttl(key) > 0) for key in self.keys()]

    def close(self) -> None:
        """Take the keys away."""
        if keys := self.keys():
            self.client.delete(*keys)
        self.client.close()


class Sql(Plant):
    """A table with a row a message."""

    kind = "message-store"

    def __init__(self, url: str, ddl: str, table: str = "message_store") -> None:
        """Create the table."""
        super().__init__(url, **({} if table == "message_store" else {"table": table}))
        self.table = table
        self.run(ddl.format(table=table))

    def add(self, session: str, raw: Sequence[str]) -> None:
        statement = f"INSERT INTO {self.table} (session_id, message) VALUES (%s, %s)"
        self.run(statement, [(session, one) for one in raw])

    def contents(self) -> Any:
        return self.run(f"SELECT * FROM {self.table} ORDER BY id")

    @abstractmethod
    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        """Run one statement, for each of *rows* if there are any, in one transaction; return what it reads."""


class Sqlite(Sql):
    """The community package's table, as its models make it."""

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        with contextlib.closing(sqlite3.connect(make_url(self.source).database or "")) as link, link:
            if rows:
                link.executemany(statement.replace("%s", "?"), rows)
                return []
            return link.execute(statement).fetchall()


class Postgres(Sql):
    """The community package's table for PostgreSQL: JSONB."""

    exact = False

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        plain = self.source.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain) as link, link.cursor() as cursor:
            if rows:
                cursor.executemany(statement.encode(), rows)
                return []
            done = cursor.execute(statement.encode())
            return done.fetchall() if done.description else []


class PostgresUuid(Postgres):
    """The table of langchain-postgres: UUIDs and times."""

    def session(self, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class Mariadb(Sql):
    """The community package's table on MySQL, whose collation takes A for a."""

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        url = make_url(self.source)
        parts: dict[str, Any] = {"host": url.host, "port": url.port or 3306, "user": url.username}
        link = pymysql.connect(**parts, password=url.password or "", database=url.database)
        with contextlib.closing(link), link.cursor() as cursor:
            if rows:
                cursor.executemany(statement, rows)
            else:
                cursor.execute(statement)
            link.commit()
            return list(cursor.fetchall())


class Dynamodb(Plant):
    """An item a session."""

    kind = "dynamodb-item"
    exact = False

    def __init__(self, server: str) -> None:
        """Create a table of its own."""
        self.table = f"Sessions-{secrets.token_hex(4)}"
        self.client = dynamo.client(server)
        self.client.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "SessionId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "SessionId", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        super().__init__(str(make_url(server).set(database=self.table)))

    def add(self, session: str, raw: Sequence[str]) -> None:
        self.add_item(session, [json.loads(one, parse_float=Decimal) for one in raw])

    def add_item(self, session: str, elements: list[Any], **more: Any) -> None:
        """Put *elements* behind the item's last ones, and other attributes beside them."""
        key = {"SessionId": {"S": session}}
        item = self.client.get_item(TableName=self.table, Key=key).get("Item", {})
        whole = {
            **item,
            "SessionId": {"S": session},
            **{name: TypeSerializer().serialize(value) for name, value in more.items()},
        }
        added = TypeSerializer().serialize(elements)["L"]
        whole["History"] = {"L": [*item.get("History", {"L": []})["L"], *added]}
        self.client.put_item(TableName=self.table, Item=whole)

    def contents(self) -> Any:
        found = self.client.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return sorted(found, key=lambda item: json.dumps(item, default=str))


class Cosmos(Plant):
    """A document a session."""

    kind = "cosmos-document"
    owner = "ada"

    def __init__(self, account: cosmos.Account) -> None:
        """Create a container of its own; read with the key in the URL."""
        self.fake = account.fake
        name = f"chats_{secrets.token_hex(4)}"
        self.database = account.client.create_database(name)
        self.container = self.database.create_container("history", PartitionKey("/user_id"))
        super().__init__(f"{account.base}/{name}/history".replace("cosmosdb+http:", "http:"))

    def add(self, session: str, raw: Sequence[str]) -> None:
        found = next((one for one in self.contents() if one["id"] == session), None)
        document = found or {"id": session, "user_id": self.owner, "messages": []}
        document["messages"] += [_loose(one) for one in raw]
        self.container.upsert_item(document)

    def contents(self) -> Any:
        found = self.container.query_items("SELECT * FROM c", enable_cross_partition_query=True)
        return sorted(found, key=lambda document: (document["id"], document["user_id"]))


class JsonFile(Plant):
    """The page's file, written anew for each message."""

    kind = "json-file"

    def __init__(self, folder: Path) -> None:
        """Name the file like the session."""
        self.path = folder / "one.json"
        self.raw: list[str] = []
        super().__init__(str(self.path))

    def add(self, session: str, raw: Sequence[str]) -> None:
        assert "one" == session
        self.raw += raw
        self.path.write_text(f"[{', '.join(self.raw)}]")

    def contents(self) -> Any:
        return self.path.read_bytes(), self.path.stat().st_mtime_ns


def _loose(raw: str) -> Any:
    """Return the value, or the text where it is none."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw


TABLES = {
    "message-store sqlite": (
        "CREATE TABLE {table} (id INTEGER NOT NULL, session_id TEXT, message TEXT, PRIMARY KEY (id))"
    ),
    "message-store postgres": (
        "CREATE TABLE {table} (id SERIAL PRIMARY KEY, session_id TEXT NOT NULL, message JSONB NOT NULL)"
    ),
    "message-store postgres uuid": (
        "CREATE TABLE {table} (id SERIAL PRIMARY KEY, session_id UUID NOT NULL, message JSONB NOT NULL, "
        "created_at TIMESTAMPTZ NOT NULL DEFAULT NOW())"
    ),
    "message-store mariadb": (
        "CREATE TABLE {table} (id INTEGER NOT NULL AUTO_INCREMENT, session_id TEXT, message TEXT, PRIMARY KEY (id))"
    ),
}
PLANTS = ("redis-list", *TABLES, "dynamodb-item", "cosmos-document", "json-file")


@contextlib.contextmanager
def planted(name: str) -> Iterator[Any]:
    """Give an empty foreign storage."""
    with contextlib.ExitStack() as stack:
        match name.split():
            case ["redis-list"]:
                plant: Plant = stack.enter_context(
                    contextlib.closing(RedisList(servers.obtain("redis") + "/0"))
                )
            case ["message-store", "sqlite"]:
                plant = Sqlite(stack.enter_context(servers.fresh_database("sqlite")), TABLES[name])
            case ["message-store", "postgres"]:
                plant = Postgres(stack.enter_context(servers.fresh_database("postgres")), TABLES[name])
            case ["message-store", "postgres", "uuid"]:
                url = stack.enter_context(servers.fresh_database("postgres"))
                plant = PostgresUuid(url, TABLES[name], "chat_history")
            case ["message-store", "mariadb"]:
                plant = Mariadb(stack.enter_context(servers.fresh_database("mariadb")), TABLES[name])
            case ["dynamodb-item"]:
                plant = Dynamodb(servers.obtain("dynamodb"))
                stack.callback(plant.client.delete_table, TableName=plant.table)
            case ["cosmos-document"]:
                account = stack.enter_context(cosmos.account())
                plant = Cosmos(account)
                stack.callback(account.client.delete_database, plant.database)
            case _:
                plant = JsonFile(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        yield plant
