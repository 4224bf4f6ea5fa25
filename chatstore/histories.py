"""The named histories of the "Chat Message History" page: one short class each, which only builds a repository.

This module knows the parameters people pass already; it refuses to know how anything is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.connect import connect, connect_async
from chatstore.errors import Invalid
from chatstore.history import ChatMessageHistory, owned

if TYPE_CHECKING:
    import os


class FileChatMessageHistory(ChatMessageHistory):
    """One conversation in one JSON file, in the page's format, readable by everything that reads that."""

    def __init__(self, file_path: str | os.PathLike[str], *, last: int | None = None) -> None:
        """Work on the file at *file_path*, made at the first append."""
        from chatstore.backends.file import SESSION, PageFileRepository

        owned(self, PageFileRepository(file_path), SESSION, last)
        self.file_path = file_path


class SQLChatMessageHistory(ChatMessageHistory):
    """One session in any SQL database."""

    def __init__(self, session_id: str, connection: Any, *, last: int | None = None) -> None:
        """Work on session *session_id* of *connection*: a URL, or a SQLAlchemy Engine or AsyncEngine.

        A hundred histories on one URL share one engine; an engine that is passed in is never closed.
        """
        if type(connection).__name__ == "AsyncEngine":
            super().__init__(connect_async(connection), session_id, last=last)
        else:
            owned(self, connect(connection), session_id, last)


class PostgresChatMessageHistory(ChatMessageHistory):
    """One session in PostgreSQL, by psycopg 3."""

    def __init__(self, session_id: str, connection_string: str, *, last: int | None = None) -> None:
        """Work on session *session_id* of the database behind *connection_string*, a ``postgresql://`` URL.

        Raises `Invalid` for any other database's URL.
        """
        if str(connection_string).partition(":")[0].partition("+")[0] not in {"postgresql", "postgres"}:
            msg = "PostgresChatMessageHistory takes a postgresql:// URL: use SQLChatMessageHistory for other databases"
            raise Invalid(msg)
        owned(self, connect(connection_string), session_id, last)
