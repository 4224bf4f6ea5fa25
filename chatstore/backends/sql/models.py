"""The schema: tables that a person can read, `sessions` and `messages`, and `states` beside them.

This module knows tables and columns. It refuses to know how rows are written, what a message is, and how a
database comes to this schema: the migrations do that alone, and a test holds both together. Host applications
may use `SessionRow` and `MessageRow`, the same tables as declarative classes; SQLAlchemy's ORM is imported when
somebody asks for these, since chatstore itself needs none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from chatstore.backends.sql.column_types import (
    ContentText,
    ExactString,
    Instant,
    JSONDocument,
    JSONText,
    LongText,
)
from chatstore.backends.sql.dialects import KNOWN, dialect_for, table_options

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

    from chatstore.backends.sql.orm import Base, MessageRow, SessionRow, StateRow

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
    "StateRow",
    "messages",
    "sessions",
    "states",
]

#: The revision this release works on; a test compares it with the migrations. Reading it loads no Alembic.
HEAD = "chatstore_0007"
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


#: Ids are BIGINT, but where a dialect has a reason.
_Id: TypeEngine[int] = BigInteger()
for _dialect in KNOWN:
    if _dialect.id_type is not None:
        _Id = _Id.with_variant(_dialect.id_type, _dialect.name, *_dialect.aliases)


def _checks_json(*_: object, dialect: Dialect, **__: object) -> bool:
    return dialect_for(dialect.name).checks_json


def _json_check(column: str) -> CheckConstraint:
    """Let the database refuse what is no JSON where its columns are plain text (MySQL, MariaDB)."""
    return CheckConstraint(f"JSON_VALID({column})", name=f"{column}_json").ddl_if(callable_=_checks_json)


#: Of chatstore's tables alone, so that a host's own stay apart.
METADATA = MetaData(naming_convention=NAMING)
#: One conversation, its owner and its counters.
sessions = Table(
    "chatstore_sessions",
    METADATA,
    Column(
        "session_id",
        ExactString(255),
        primary_key=True,
        comment="The application's id of the conversation, compared byte for byte",
    ),
    Column("tenant_id", ExactString(255), comment="The tenant who owns it"),
    Column("user_id", ExactString(255), comment="The user who owns it"),
    Column("title", LongText(), comment="What a list of conversations shows"),
    Column(
        "metadata",
        JSONDocument(binary=True),
        nullable=False,
        comment="The application's own data, a JSON object",
    ),
    Column("message_count", BigInteger, nullable=False, comment="How many messages are stored now"),
    Column(
        "last_position",
        BigInteger,
        nullable=False,
        comment="The last position given to a message; none is given twice",
    ),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="Grows with every change; starts as the creation time in microseconds",
    ),
    Column("forked_from", ExactString(255), comment="The conversation this one was copied from"),
    Column("forked_at", BigInteger, comment="The last position that was copied"),
    Column("created_at", Instant(), nullable=False, comment="When it was created, in UTC"),
    Column("updated_at", Instant(), nullable=False, comment="When it was last changed, in UTC"),
    Column("archived_at", Instant(), comment="When it was archived, in UTC; lists leave archived ones out"),
    Column("expires_at", Instant(), comment="From when on it counts as missing, in UTC; null is never"),
    Column(
        "indexed_position",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Up to which position the search index holds its messages; set it to 0 to have them indexed again",
    ),
    Index(None, "updated_at", "session_id"),
    _json_check("metadata"),
    comment="One row a conversation",
)
#: One message of a conversation.
messages = Table(
    "chatstore_messages",
    METADATA,
    Column(
        "id",
        _Id,
        Identity(),
        primary_key=True,
        comment="What ORMs and the full-text index point at; says nothing about order",
    ),
    Column(
        "session_id",
        ExactString(255),
        ForeignKey("chatstore_sessions.session_id", ondelete="CASCADE"),
        nullable=False,
        comment="The conversation it belongs to",
    ),
    Column(
        "position",
        BigInteger,
        nullable=False,
        comment="Its place in the conversation: from 1, growing, with gaps",
    ),
    Column(
        "message_id",
        ExactString(255),
        nullable=False,
        comment="Its id, unique in the conversation: the same id is never stored twice",
    ),
    Column(
        "id_generated",
        Boolean,
        nullable=False,
        comment="True where the message came without an id and got this one",
    ),
    Column(
        "type",
        ExactString(32),
        nullable=False,
        comment="human, ai, system, tool, function, chat, or what the message says",
    ),
    Column(
        "content",
        ContentText(),
        nullable=True,
        comment="What a person reads: the text, or the text parts joined",
    ),
    Column(
        "name",
        ExactString(255),
        comment="A copy of the name in the payload, where it has 255 characters at most",
    ),
    Column(
        "tool_call_id",
        ExactString(255),
        comment="A copy of the id of the tool call that this message answers",
    ),
    Column("model", ExactString(255), comment="A copy of the name of the model that wrote it"),
    Column("input_tokens", Integer, comment="Tokens the model read for it"),
    Column("output_tokens", Integer, comment="Tokens the model wrote for it"),
    Column(
        "source",
        ExactString(64),
        comment="The framework whose format the payload is in; null for chatstore's own",
    ),
    Column(
        "payload",
        JSONDocument(),
        nullable=False,
        comment="Everything else the message holds, as JSON, losslessly",
    ),
    Column("created_at", Instant(), nullable=False, comment="When it was stored, in UTC"),
    Column(
        "finish_reason",
        ExactString(255),
        comment="Why the model ended, as it says: a copy; of an incomplete answer, why it is incomplete",
    ),
    Column(
        "state",
        ExactString(16),
        comment="Of an answer that was streamed: streaming, complete, incomplete; null for all others",
    ),
    Column("updated_at", Instant(), comment="When it was last changed, in UTC; null is never"),
    Column("first_token_at", Instant(), comment="When the first text of a streamed answer came, in UTC"),
    Column("last_token_at", Instant(), comment="When the last text of a streamed answer came, in UTC"),
    UniqueConstraint("session_id", "position"),
    UniqueConstraint("session_id", "message_id"),
    Index(None, "message_id"),
    _json_check("payload"),
    comment="One row a message",
)
#: One named state of an owner: what an application, or a framework, keeps beside conversations.
states = Table(
    "chatstore_states",
    METADATA,
    Column(
        "state_id",
        ExactString(255),
        primary_key=True,
        comment="Owner, namespace and key in one, as session_key joins them",
    ),
    Column("tenant_id", ExactString(255), comment="The tenant who owns it"),
    Column("user_id", ExactString(255), comment="The user who owns it"),
    Column("namespace", ExactString(255), nullable=False, comment="What kind of state it is"),
    Column("state_key", ExactString(255), nullable=False, comment="Its name in the namespace"),
    Column("value", JSONDocument(objects=False), nullable=False, comment="What it says, as JSON"),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="Grows with every change; starts as the creation time in microseconds",
    ),
    Column("updated_at", Instant(), nullable=False, comment="When it was last changed, in UTC"),
    Index(None, "namespace", "state_key"),
    _json_check("value"),
    comment="One row a named state",
)
_s, _m = sessions.c, messages.c
#: Where a database can, these are of some rows only, so that an append to a session without an owner, say, writes to no
#: index of owners.
_PARTIAL = (
    (Index(None, _s.user_id, _s.updated_at, _s.session_id), "user_id IS NOT NULL"),
    (Index(None, _s.tenant_id, _s.updated_at, _s.session_id), "tenant_id IS NOT NULL"),
    (Index(None, _s.expires_at), "expires_at IS NOT NULL"),
    (Index(None, _s.forked_from), "forked_from IS NOT NULL"),
    (Index(None, _m.state), "state = 'streaming'"),
)


def complete() -> MetaData:
    """Give the tables the options that databases have for them (engines, partial indexes), and return their `MetaData`.

    Whoever makes tables of the models calls this. SQLAlchemy imports a dialect to look at its options, which takes
    25 ms; no query needs them.
    """
    for table in (sessions, messages, states):
        table.dialect_kwargs.update(table_options())
    for index, some in _PARTIAL:
        where = text(some)
        index.dialect_kwargs.update({"postgresql_where": where, "sqlite_where": where})
    return METADATA


def __getattr__(name: str) -> Any:
    if name not in {"Base", "MessageRow", "SessionRow", "StateRow"}:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from chatstore.backends.sql import orm

    value = getattr(orm, name)
    globals()[name] = value
    return value
