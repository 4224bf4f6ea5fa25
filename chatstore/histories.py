"""The named histories, with the parameters of LangChain's: one short class each, which only builds a repository.

*deadline* is how many seconds a call may take, 30 unless said otherwise (`chatstore.connect`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from chatstore.aio import AsyncRepository
from chatstore.arguments import UNSET, Scope, check_session_id
from chatstore.connect import connect, connect_async
from chatstore.deadlines import checked
from chatstore.errors import Invalid
from chatstore.history import ChatMessageHistory, _threaded, owned

if TYPE_CHECKING:
    import os
    from typing import Self

    from chatstore.repository import Repository


R = TypeVar("R", bound="Repository | AsyncRepository")


class FileChatMessageHistory(ChatMessageHistory):
    """One session in one JSON file, in the format of LangChain's `FileChatMessageHistory`."""

    def __init__(
        self, file_path: str | os.PathLike[str], *, last: int | None = None, deadline: float | None = None
    ) -> None:
        """Work on the file at *file_path*, which the first append creates."""
        from chatstore.backends.file import SESSION, SingleFileRepository

        owned(self, _timed(SingleFileRepository(file_path), deadline), SESSION, last)
        self.file_path = file_path


class SQLChatMessageHistory(ChatMessageHistory):
    """One session in any SQL database."""

    def __init__(
        self, session_id: str, connection: Any, *, last: int | None = None, deadline: float | None = None
    ) -> None:
        """Work on session *session_id* of *connection*: a URL, or a SQLAlchemy Engine or AsyncEngine.

        A hundred histories on one URL share one engine; an engine that is passed in is never closed. A URL whose
        driver has one side only (asyncpg, psycopg2) is worked on by psycopg, which has both, where that is installed
        and the URL has no options; else that one side works.
        """
        check_session_id(session_id)
        if isinstance(connection, str):
            from chatstore.backends.sql.sides import both_sides, only_awaits

            connection = both_sides(connection)
            if only_awaits(connection):
                connection = connect_async(connection, deadline=deadline)
        if type(connection).__name__ == "AsyncEngine":
            connection = connect_async(connection, deadline=deadline)
        if isinstance(connection, AsyncRepository):
            super().__init__(connection, session_id, last=last)
            self._owned = True
        else:
            owned(self, connect(connection, deadline=deadline), session_id, last)


class PostgresChatMessageHistory(ChatMessageHistory):
    """One session in PostgreSQL, with psycopg 3."""

    def __init__(
        self,
        session_id: str,
        connection_string: str,
        *,
        last: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Work on session *session_id* of the database at *connection_string*, a ``postgresql://`` URL.

        Raises `Invalid` for any other database's URL.
        """
        check_session_id(session_id)
        named = connection_string is not None  # else connect reads the environment
        if named and str(connection_string).partition(":")[0].partition("+")[0] not in {
            "postgresql",
            "postgres",
        }:
            msg = "PostgresChatMessageHistory takes a postgresql:// URL: use SQLChatMessageHistory for other databases"
            raise Invalid(msg)
        owned(self, connect(connection_string, deadline=deadline), session_id, last)


class RedisChatMessageHistory(ChatMessageHistory):
    """One session in Redis."""

    def __init__(
        self,
        session_id: str,
        url: str = "redis://localhost:6379/0",
        key_prefix: str = "chatstore:",
        ttl: int | None = None,
        *,
        client: Any = None,
        last: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Work on session *session_id* of the server at *url*, a ``redis://`` or ``rediss://`` URL.

        Or over *client*, of redis-py, which is never closed here; over an asynchronous one only the awaited side works.

        All keys begin with *key_prefix*; the default is that of `connect`, which lists the same sessions. *ttl* is in
        seconds: each append sets the session to expire that much later; None leaves its expiry alone.
        """
        check_session_id(session_id)
        if client is not None:
            super().__init__(_timed(_over(client, key_prefix, ttl), deadline), session_id, last=last)
            return
        from urllib.parse import urlencode

        mark = "&" if "?" in url else "?"
        options = {"key_prefix": key_prefix} | ({} if ttl is None else {"ttl": str(ttl)})
        owned(self, connect(f"{url}{mark}{urlencode(options)}", deadline=deadline), session_id, last)


class DynamoDBChatMessageHistory(ChatMessageHistory):
    """One session in a DynamoDB table that ``chatstore upgrade`` has made."""

    def __init__(
        self,
        table_name: str,
        session_id: str,
        endpoint_url: str | None = None,
        *,
        region_name: str | None = None,
        boto3_session: Any = None,
        ttl: int | None = None,
        last: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Work on session *session_id* of table *table_name*.

        Credentials and region come from the usual places of AWS, or from *boto3_session*. *ttl* is in seconds: each
        append sets the session to expire that much later; None leaves its expiry alone.
        """
        check_session_id(session_id)
        from chatstore.backends.dynamodb import DynamoDBRepository

        repository = DynamoDBRepository(
            table_name,
            region_name=region_name,
            endpoint_url=endpoint_url,
            boto3_session=boto3_session,
            ttl=ttl,
        )
        owned(self, _timed(repository, deadline), session_id, last)


class CosmosDBChatMessageHistory(ChatMessageHistory):
    """One session in Azure Cosmos DB."""

    def __init__(
        self,
        cosmos_endpoint: str,
        cosmos_database: str,
        cosmos_container: str,
        session_id: str,
        user_id: str = UNSET,
        credential: Any = None,
        connection_string: str | None = None,
        ttl: int | None = None,
        *,
        last: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Work on session *session_id* in a container of the account, if it belongs to *user_id*.

        Without *user_id* every session can be used; None and an empty one raise `Invalid`.
        *credential* is the account's key or a credential of azure-identity; *connection_string* has endpoint and key
        in one. Without both, the environment is read as for a ``cosmosdb://`` URL. *ttl* is in seconds: each append
        sets the session to expire that much later; None leaves its expiry alone.
        """
        check_session_id(session_id)
        from chatstore.backends.cosmosdb.repository import repository_of

        if user_id is not UNSET:
            Scope().narrowed(None, user_id)  # before a client is made
        place = (cosmos_endpoint, cosmos_database, cosmos_container)
        repository: Repository = _timed(repository_of(*place, credential, connection_string, ttl), deadline)
        owned(self, repository if user_id is UNSET else repository.scope(user_id=user_id), session_id, last)

    def prepare_cosmos(self) -> None:
        """Create the database and the container if they are missing; ``with`` does this too."""
        from chatstore.backends.cosmosdb.provisioning import provisioner_of

        provisioner_of(self.repository).upgrade()

    def __enter__(self) -> Self:
        self.prepare_cosmos()
        return self

    async def __aenter__(self) -> Self:
        await _threaded(self.prepare_cosmos)
        return self


def _timed(repository: R, deadline: float | None) -> R:
    """Return *repository* with the deadline of its calls, in seconds; None leaves the usual one."""
    repository._deadline = checked(deadline)
    return repository


def _over(client: Any, key_prefix: str, ttl: int | None) -> Repository | AsyncRepository:
    """Return the repository over a client of redis-py, of either kind."""
    from chatstore.backends.redis.clients import is_awaiting
    from chatstore.backends.redis.repository import AsyncRedisRepository, RedisRepository

    kind = AsyncRedisRepository if is_awaiting(client) else RedisRepository
    return kind(client, key_prefix=key_prefix, ttl=ttl)
