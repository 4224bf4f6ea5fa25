"""The schema: two tables that a person can read, as public declarative models.

This module knows tables, columns and how each database spells their types. It refuses to know how rows are
written, what a message is, and how a database comes to this schema: the migrations do that alone, and a test
holds both together. Host applications may use `SessionRow` and `MessageRow` with their ORM; chatstore itself
works on `sessions` and `messages`, the same tables.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from chatstore.backends.sql.column_types import (
    MYSQL_FAMILY,
    ContentText,
    ExactString,
    Instant,
    JSONDocument,
    JSONText,
    LongText,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect

__all__ = [
    "HEAD",
    "NAMING",
    "VERSION_TABLE",
    "Base",
    "ContentText",
    "ExactString",
    "Instant",
    "JSONDocument",
    "JSONText",
    "LongText",
    "MessageRow",
    "SessionRow",
    "messages",
    "sessions",
]

#: The revision this release works on; a test compares it with the migrations. Reading it loads no Alembic.
HEAD = "chatstore_0004"
#: chatstore's own version table, beside a host's ``alembic_version``.
VERSION_TABLE = "chatstore_alembic_version"
#: How constraints and indexes are called: all columns in the name, so that composite keys cannot collide.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}


#: An INTEGER primary key on SQLite is the rowid itself; elsewhere ids are BIGINT.
_Id = BigInteger().with_variant(Integer(), "sqlite")
_MYSQL_TABLE = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_row_format": "DYNAMIC",  # index keys of 3,072 bytes, whatever the server's default
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_row_format": "DYNAMIC",
}


def _in_mysql_family(*_: object, dialect: Dialect, **__: object) -> bool:
    return dialect.name in MYSQL_FAMILY


def _json_check(column: str) -> CheckConstraint:
    """Let the MySQL family refuse what is no JSON, since its columns are plain text."""
    return CheckConstraint(f"JSON_VALID({column})", name=f"{column}_json").ddl_if(callable_=_in_mysql_family)


class Base(DeclarativeBase):
    """The base of chatstore's models, with a MetaData of its own."""

    metadata = MetaData(naming_convention=NAMING)


class SessionRow(Base):
    """One conversation, its owner and its counters."""

    __tablename__ = "chatstore_sessions"
    __table_args__ = (
        Index(None, "user_id", "updated_at", "session_id"),
        Index(None, "tenant_id", "updated_at", "session_id"),
        Index(None, "updated_at", "session_id"),
        Index(None, "expires_at"),
        _json_check("metadata"),
        {"comment": "One row a conversation", **_MYSQL_TABLE},
    )

    session_id: Mapped[str] = mapped_column(
        ExactString(255),
        primary_key=True,
        comment="The application's id of the conversation, compared byte for byte",
    )
    tenant_id: Mapped[str | None] = mapped_column(ExactString(255), comment="The tenant who owns it")
    user_id: Mapped[str | None] = mapped_column(ExactString(255), comment="The user who owns it")
    title: Mapped[str | None] = mapped_column(LongText(), comment="What a list of conversations shows")
    session_metadata: Mapped[Any] = mapped_column(
        "metadata",
        JSONDocument(binary=True),
        nullable=False,
        comment="The application's own data, a JSON object",
    )
    message_count: Mapped[int] = mapped_column(BigInteger, comment="How many messages are stored now")
    last_position: Mapped[int] = mapped_column(
        BigInteger, comment="The last position given to a message; none is given twice"
    )
    revision: Mapped[int] = mapped_column(
        BigInteger, comment="Grows with every change; starts as the creation time in microseconds"
    )
    forked_from: Mapped[str | None] = mapped_column(
        ExactString(255), comment="The conversation this one was copied from"
    )
    forked_at: Mapped[int | None] = mapped_column(BigInteger, comment="The last position that was copied")
    created_at: Mapped[datetime] = mapped_column(Instant(), comment="When it was created, in UTC")
    updated_at: Mapped[datetime] = mapped_column(Instant(), comment="When it was last changed, in UTC")
    archived_at: Mapped[datetime | None] = mapped_column(
        Instant(), comment="When it was archived, in UTC; lists leave archived ones out"
    )
    expires_at: Mapped[datetime | None] = mapped_column(
        Instant(), comment="From when on it counts as missing, in UTC; null is never"
    )

    messages: Mapped[list[MessageRow]] = relationship(
        back_populates="session",
        order_by="MessageRow.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )


class MessageRow(Base):
    """One message of a conversation."""

    __tablename__ = "chatstore_messages"
    __table_args__ = (
        UniqueConstraint("session_id", "position"),
        UniqueConstraint("session_id", "message_id"),
        _json_check("payload"),
        {"comment": "One row a message", **_MYSQL_TABLE},
    )

    id: Mapped[int] = mapped_column(
        _Id,
        Identity(),
        primary_key=True,
        comment="What ORMs and the full-text index point at; says nothing about order",
    )
    session_id: Mapped[str] = mapped_column(
        ExactString(255),
        ForeignKey("chatstore_sessions.session_id", ondelete="CASCADE"),
        comment="The conversation it belongs to",
    )
    position: Mapped[int] = mapped_column(
        BigInteger, comment="Its place in the conversation: from 1, growing, with gaps"
    )
    message_id: Mapped[str] = mapped_column(
        ExactString(255), comment="Its id, unique in the conversation: the same id is never stored twice"
    )
    id_generated: Mapped[bool] = mapped_column(
        Boolean, comment="True where the message came without an id and got this one"
    )
    type: Mapped[str] = mapped_column(
        ExactString(32), comment="human, ai, system, tool, function, chat, or what the message says"
    )
    content: Mapped[str] = mapped_column(
        ContentText(), nullable=True, comment="What a person reads: the text, or the text parts joined"
    )
    name: Mapped[str | None] = mapped_column(
        ExactString(255), comment="A copy of the name in the payload, where it has 255 characters at most"
    )
    tool_call_id: Mapped[str | None] = mapped_column(
        ExactString(255), comment="A copy of the id of the tool call that this message answers"
    )
    model: Mapped[str | None] = mapped_column(
        ExactString(255), comment="A copy of the name of the model that wrote it"
    )
    input_tokens: Mapped[int | None] = mapped_column(Integer, comment="Tokens the model read for it")
    output_tokens: Mapped[int | None] = mapped_column(Integer, comment="Tokens the model wrote for it")
    source: Mapped[str | None] = mapped_column(
        ExactString(64), comment="The framework whose format the payload is in; null for chatstore's own"
    )
    payload: Mapped[Any] = mapped_column(
        JSONDocument(), nullable=False, comment="Everything else the message holds, as JSON, losslessly"
    )
    created_at: Mapped[datetime] = mapped_column(Instant(), comment="When it was stored, in UTC")

    session: Mapped[SessionRow] = relationship(back_populates="messages")


#: The tables themselves, for SQLAlchemy Core.
sessions: Table = SessionRow.metadata.tables["chatstore_sessions"]
messages: Table = MessageRow.metadata.tables["chatstore_messages"]
