"""The history classes that LangChain had for single databases, under their names and with their parameters.

This module knows what callers of those classes pass; it refuses to know how anything is stored. Changing the import
is the whole migration of the code. Parameters that described the old tables, keys or items are accepted and mean
nothing here, since chatstore has a layout of its own; those whose promise would be broken in silence are refused with
what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore import histories
from chatstore.errors import Invalid
from chatstore.integrations.langchain.history import ChatMessageHistory

if TYPE_CHECKING:
    import os
    from typing import Self, Unpack

    from chatstore.integrations.langchain.history import Options


def _refuse(**given: tuple[object, str]) -> None:
    """Raise `Invalid` for the first parameter that was passed, with what to write instead."""
    for name, (value, instead) in given.items():
        if value is not None and value is not False:
            msg = f"{name}= has no meaning here: {instead}"
            raise Invalid(msg)


def _passed(**given: object) -> dict[str, Any]:
    """Return the parameters that were passed; the others keep chatstore's own defaults."""
    return {name: value for name, value in given.items() if value is not None}


class FileChatMessageHistory(ChatMessageHistory):
    """One conversation in one JSON file, in the format of LangChain's class of this name."""

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        encoding: str | None = None,
        ensure_ascii: bool = True,  # noqa: ARG002 - either way the file is the same JSON
        **options: Unpack[Options],
    ) -> None:
        """Work on the file at *file_path*, in UTF-8; it is made at the first append.

        Any other *encoding* is `Invalid`.
        """
        if encoding is not None and encoding.lower().replace("_", "-") not in {"utf-8", "utf8", "ascii"}:
            msg = "the file is read and written in UTF-8: convert it, and leave encoding= out"
            raise Invalid(msg)
        self._adopt(histories.FileChatMessageHistory(file_path), options)
        self.file_path = file_path


class SQLChatMessageHistory(ChatMessageHistory):
    """One session in any SQL database."""

    def __init__(
        self,
        session_id: str,
        connection: Any = None,
        *,
        connection_string: str | None = None,
        table_name: str = "message_store",  # noqa: ARG002 - chatstore's tables have names of their own
        session_id_field_name: str = "session_id",  # noqa: ARG002
        custom_message_converter: object = None,
        engine_args: dict[str, Any] | None = None,
        async_mode: bool | None = None,  # noqa: ARG002 - one object serves both sides
        **options: Unpack[Options],
    ) -> None:
        """Work on session *session_id* of *connection*: a URL, or a SQLAlchemy Engine or AsyncEngine.

        *connection_string* is its older name; without either, ``CHATSTORE_URL`` is read. A hundred histories on one
        URL share one engine. Raises `Invalid` for a *custom_message_converter* and for *engine_args*.
        """
        _refuse(
            custom_message_converter=(
                custom_message_converter,
                "messages are stored whole; put what is beside them into the session's metadata",
            ),
            engine_args=(
                engine_args or None,
                "make the engine and pass it, connection=create_engine(url, **engine_args)",
            ),
        )
        target = connection if connection is not None else connection_string
        if isinstance(target, str) and ":" not in target:
            msg = "the second parameter is the connection: write connection=URL; a table's name is not needed"
            raise Invalid(msg)
        self._adopt(histories.SQLChatMessageHistory(session_id, target), options)


class PostgresChatMessageHistory(ChatMessageHistory):
    """One session in PostgreSQL."""

    def __init__(
        self,
        session_id: str,
        connection_string: str | None = None,
        table_name: str = "message_store",  # noqa: ARG002 - chatstore's tables have names of their own
        *,
        sync_connection: object = None,
        async_connection: object = None,
        **options: Unpack[Options],
    ) -> None:
        """Work on session *session_id* of the database behind *connection_string*, a ``postgresql://`` URL.

        Without it ``CHATSTORE_URL`` is read. Raises `Invalid` for a *sync_connection* or *async_connection*, as the
        class of langchain-postgres takes: a connection cannot be shared by threads, and one URL is one pool here.
        """
        instead = "pass the database's URL, PostgresChatMessageHistory(session_id, 'postgresql://…')"
        _refuse(sync_connection=(sync_connection, instead), async_connection=(async_connection, instead))
        # Any: where no URL is passed, connect() reads the environment.
        target: Any = connection_string
        self._adopt(histories.PostgresChatMessageHistory(session_id, target), options)


class RedisChatMessageHistory(ChatMessageHistory):
    """One session in Redis."""

    def __init__(
        self,
        session_id: str,
        url: str | None = None,
        key_prefix: str | None = None,
        ttl: int | None = None,
        *,
        redis_url: str | None = None,
        redis_client: object = None,
        index_name: str | None = None,  # noqa: ARG002 - chatstore needs no index
        overwrite_index: bool = False,  # noqa: ARG002
        **options: Unpack[Options],
    ) -> None:
        """Work on session *session_id* of the server at *url* (*redis_url* in langchain-redis).

        Or over *redis_client*, one of redis-py (for Sentinel, say), which is never closed here. *ttl* is in seconds
        from the last append.
        """
        made = histories.RedisChatMessageHistory
        target = url or redis_url or "redis://localhost:6379/0"
        self._adopt(
            made(session_id, target, **_passed(key_prefix=key_prefix, ttl=ttl, client=redis_client)), options
        )


class DynamoDBChatMessageHistory(ChatMessageHistory):
    """One session in a DynamoDB table."""

    def __init__(  # noqa: PLR0917 - LangChain's order
        self,
        table_name: str,
        session_id: str,
        endpoint_url: str | None = None,
        primary_key_name: str = "SessionId",  # noqa: ARG002 - chatstore's table has keys of its own
        key: dict[str, str] | None = None,
        boto3_session: object = None,
        kms_key_id: str | None = None,
        ttl: int | None = None,
        ttl_key_name: str = "expireAt",  # noqa: ARG002
        history_size: int | None = None,
        history_messages_key: str = "History",  # noqa: ARG002
        *,
        coerce_float_to_decimal: bool = False,  # noqa: ARG002 - numbers come back as they went in
        **options: Unpack[Options],
    ) -> None:
        """Work on session *session_id* of the table *table_name*; *history_size* limits what is read.

        Raises `Invalid` for a composite *key* and for a *kms_key_id*.
        """
        _refuse(
            key=(key, "join its values to one id, session_id=session_key(*key.values())"),
            kms_key_id=(kms_key_id, "set the key on the table, which encrypts all of it"),
        )
        made = histories.DynamoDBChatMessageHistory
        given = _passed(endpoint_url=endpoint_url, boto3_session=boto3_session, ttl=ttl)
        if history_size is not None:
            options.setdefault("last", history_size)
        self._adopt(made(table_name, session_id, **given), options)


class CosmosDBChatMessageHistory(ChatMessageHistory):
    """One session in an Azure Cosmos DB container."""

    def __init__(  # noqa: PLR0917 - LangChain's order
        self,
        cosmos_endpoint: str,
        cosmos_database: str,
        cosmos_container: str,
        session_id: str,
        user_id: str,
        credential: Any = None,
        connection_string: str | None = None,
        ttl: int | None = None,
        cosmos_client_kwargs: dict[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Work on the user's session *session_id*; either *credential* or *connection_string* is needed.

        *ttl* is in seconds. Raises `Invalid` for *cosmos_client_kwargs*.
        """
        _refuse(
            cosmos_client_kwargs=(
                cosmos_client_kwargs or None,
                "leave it out; retries and time limits are chatstore's",
            )
        )
        given = _passed(credential=credential, connection_string=connection_string, ttl=ttl)
        where = (cosmos_endpoint, cosmos_database, cosmos_container, session_id, user_id)
        self._made = histories.CosmosDBChatMessageHistory(*where, **given)
        self._adopt(self._made, options)

    def prepare_cosmos(self) -> None:
        """Create the database and the container where they are missing; ``with`` does it too."""
        self._made.prepare_cosmos()

    def __enter__(self) -> Self:
        self.prepare_cosmos()
        return self

    async def __aenter__(self) -> Self:
        await self._made.__aenter__()
        return self
