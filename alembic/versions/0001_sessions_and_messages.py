"""Create the tables of sessions and messages.

Complete in itself: what the models become later does not change what this revision creates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql

from chatstore.backends.sql.migration_steps import (
    create_index,
    create_table,
    dialect,
    drop_table,
    foreign_key,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

revision = "chatstore_0001"
down_revision = None
branch_labels = ("chatstore",)
depends_on = None

MYSQL_FAMILY = ("mysql", "mariadb")
TABLE = {
    f"{name}_{option}": value
    for name in MYSQL_FAMILY
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}.items()
}
INDEXES = (
    ("user_id", "updated_at", "session_id"),
    ("tenant_id", "updated_at", "session_id"),
    ("updated_at", "session_id"),
    ("expires_at",),
)


def upgrade() -> None:
    """Create both tables; they are new, so nobody waits for a lock."""
    create_table("chatstore_sessions", *_sessions(), comment="One row a conversation", **TABLE)
    for columns in INDEXES:
        create_index(op.f("ix_chatstore_sessions_" + "_".join(columns)), "chatstore_sessions", columns)
    create_table("chatstore_messages", *_messages(), comment="One row a message", **TABLE)


def downgrade() -> None:
    """Drop both tables and every conversation in them."""
    drop_table("chatstore_messages")
    drop_table("chatstore_sessions")


def _sessions() -> list[sa.schema.SchemaItem]:
    """Return what stands in the table of sessions."""
    return [
        _always(
            "session_id", _exact(255), "The application's id of the conversation, compared byte for byte"
        ),
        _perhaps("tenant_id", _exact(255), "The tenant who owns it"),
        _perhaps("user_id", _exact(255), "The user who owns it"),
        _perhaps("title", _long_text(), "What a list of conversations shows"),
        _always("metadata", _json(binary=True), "The application's own data, a JSON object"),
        _always("message_count", sa.BigInteger(), "How many messages are stored now"),
        _always(
            "last_position", sa.BigInteger(), "The last position given to a message; none is given twice"
        ),
        _always(
            "revision",
            sa.BigInteger(),
            "Grows with every change; starts as the creation time in microseconds",
        ),
        _perhaps("forked_from", _exact(255), "The conversation this one was copied from"),
        _perhaps("forked_at", sa.BigInteger(), "The last position that was copied"),
        _always("created_at", _instant(), "When it was created, in UTC"),
        _always("updated_at", _instant(), "When it was last changed, in UTC"),
        _perhaps("archived_at", _instant(), "When it was archived, in UTC; lists leave archived ones out"),
        _perhaps("expires_at", _instant(), "From when on it counts as missing, in UTC; null is never"),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_chatstore_sessions")),
        *_json_check("chatstore_sessions", "metadata"),
    ]


def _messages() -> list[sa.schema.SchemaItem]:
    """Return what stands in the table of messages."""
    table = "chatstore_messages"
    return [
        _id(),
        _always("session_id", _exact(255), "The conversation it belongs to"),
        _always("position", sa.BigInteger(), "Its place in the conversation: from 1, growing, with gaps"),
        _always(
            "message_id", _exact(255), "Its id, unique in the conversation: the same id is never stored twice"
        ),
        _always("id_generated", sa.Boolean(), "True where the message came without an id and got this one"),
        _always("type", _exact(32), "human, ai, system, tool, function, chat, or what the message says"),
        _perhaps("content", _long_text(), "What a person reads: the text, or the text parts joined"),
        _perhaps(
            "name", _exact(255), "A copy of the name in the payload, where it has 255 characters at most"
        ),
        _perhaps("tool_call_id", _exact(255), "A copy of the id of the tool call that this message answers"),
        _perhaps("model", _exact(255), "A copy of the name of the model that wrote it"),
        _perhaps("input_tokens", sa.Integer(), "Tokens the model read for it"),
        _perhaps("output_tokens", sa.Integer(), "Tokens the model wrote for it"),
        _perhaps(
            "source", _exact(64), "The framework whose format the payload is in; null for chatstore's own"
        ),
        _always("payload", _json(), "Everything else the message holds, as JSON, losslessly"),
        _always("created_at", _instant(), "When it was stored, in UTC"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("session_id", "position", name=op.f(f"uq_{table}_session_id_position")),
        sa.UniqueConstraint("session_id", "message_id", name=op.f(f"uq_{table}_session_id_message_id")),
        foreign_key(
            ["session_id"],
            "chatstore_sessions",
            ["session_id"],
            name=op.f(f"fk_{table}_session_id_chatstore_sessions"),
            ondelete="CASCADE",
        ),
        *_json_check(table, "payload"),
    ]


def _always(name: str, type_: TypeEngine[Any], comment: str) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False, comment=comment)


def _perhaps(name: str, type_: TypeEngine[Any], comment: str) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=True, comment=comment)


def _id() -> sa.Column[Any]:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    says = "What ORMs and the full-text index point at; says nothing about order"
    return sa.Column("id", number, sa.Identity(), nullable=False, comment=says)


def _exact(length: int) -> TypeEngine[Any]:
    """Return a string type that compares bytes."""
    here: Any = dialect()
    if here.name in MYSQL_FAMILY:
        return mysql.VARCHAR(length, collation="utf8mb4_nopad_bin" if here.is_mariadb else "utf8mb4_0900_bin")
    if here.name == "mssql":
        return mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2")
    return sa.String(length, collation="C") if here.name == "postgresql" else sa.String(length)


def _long_text() -> TypeEngine[Any]:
    """Return text without a limit; on the MySQL family case does not count, accents do."""
    here: Any = dialect()
    if here.name in MYSQL_FAMILY:
        folding = "utf8mb4_uca1400_nopad_as_ci" if here.is_mariadb else "utf8mb4_0900_as_ci"
        return mysql.LONGTEXT(collation=folding)
    if here.name == "mssql":
        return mssql.NVARCHAR(None)
    return oracle.CLOB() if here.name == "oracle" else sa.Text()


def _json(*, binary: bool = False) -> TypeEngine[Any]:
    """Return JSON where the stored text stays what was written, else long text."""
    name = dialect().name
    if name in {"postgresql", "cockroachdb"}:
        return postgresql.JSONB() if binary else postgresql.JSON()
    if name in MYSQL_FAMILY:
        return mysql.LONGTEXT(collation="utf8mb4_bin")
    return sa.JSON() if name == "sqlite" else _long_text()


def _json_check(table: str, column: str) -> list[sa.schema.SchemaItem]:
    """Let the MySQL family refuse what is no JSON."""
    if dialect().name not in MYSQL_FAMILY:
        return []
    return [sa.CheckConstraint(f"JSON_VALID({column})", name=op.f(f"ck_{table}_{column}_json"))]


def _instant() -> TypeEngine[Any]:
    """Return a moment in UTC, with microseconds."""
    name = dialect().name
    if name in MYSQL_FAMILY:
        return mysql.DATETIME(fsp=6)
    if name == "mssql":
        return mssql.DATETIME2(6)  # type: ignore[no-untyped-call]
    if name == "oracle":
        return oracle.TIMESTAMP()
    return sa.DateTime(timezone=name in {"postgresql", "cockroachdb"})
