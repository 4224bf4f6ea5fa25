"""Take the search index out of the append: it gets tables of its own, and a session knows how far it is in them.

The new index is empty. A search fills it with what it is about, ``chatstore index refresh`` with everything; until
then the rest is read. An older release goes on beside this one: it appends as before, and its searches scan. What it
edits, or gives to another owner, is searched as it was until ``chatstore index refresh --all``.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import sqlalchemy as sa
from alembic import op

from chatstore.backends.sql.migration_steps import (
    add_column,
    dialect,
    drop_column,
    execute,
    offline,
    qualified,
)
from chatstore.backends.sql.search_objects import can_index

revision = "chatstore_0006"
down_revision = "chatstore_0005"
branch_labels = None
depends_on = None

LINES, WORDS = "chatstore_search", "chatstore_search_words"
INDEX, BY_TIME = "ix_chatstore_search_words", "ix_chatstore_search_time"
MEANS = "Up to which position the search index holds its messages; set it to 0 to have them indexed again"
#: The revision that made the index of before.
before = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("0003_full_text_search.py"))))


def upgrade() -> None:
    """Add the column, and put the new index, empty, in the place of the old; each takes a moment only."""
    add_column(
        "chatstore_sessions",
        sa.Column(
            "indexed_position", sa.BigInteger(), nullable=False, server_default=sa.text("0"), comment=MEANS
        ),
    )
    before.downgrade()
    if offline() or can_index(op.get_bind()):
        for statement in _creation().get(dialect().name, []):
            execute(statement)


def downgrade() -> None:
    """Make the old index again, over all that is stored."""
    for name in (
        (WORDS, LINES) if dialect().name == "sqlite" else (LINES,) if dialect().name in _creation() else ()
    ):
        execute(f"DROP TABLE IF EXISTS {qualified(name)}")
    drop_column("chatstore_sessions", "indexed_position")
    before.upgrade()


def _creation() -> dict[str, list[str]]:
    """Return the statements that make the index, by the database's name."""
    lines, messages = qualified(LINES), qualified("chatstore_messages")
    mysql = [
        (
            f"CREATE TABLE IF NOT EXISTS {lines} (message BIGINT NOT NULL PRIMARY KEY, "
            "words LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
            f"CONSTRAINT fk_chatstore_search_message FOREIGN KEY (message) REFERENCES {messages} (id) "
            f"ON DELETE CASCADE, "
            f"FULLTEXT INDEX {INDEX} (words)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
        )
    ]
    return {
        "sqlite": [
            (
                f"CREATE TABLE IF NOT EXISTS {lines} (number INTEGER NOT NULL PRIMARY KEY, "
                "message INTEGER NOT NULL UNIQUE REFERENCES chatstore_messages (id) ON DELETE CASCADE)"
            ),
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {qualified(WORDS)} USING fts5(words, content='', tokenize='ascii')",
        ],
        "postgresql": [
            (
                f"CREATE TABLE IF NOT EXISTS {lines} (message BIGINT NOT NULL PRIMARY KEY "
                f"REFERENCES {messages} (id) ON DELETE CASCADE, created_at TIMESTAMPTZ NOT NULL, "
                "words TSVECTOR NOT NULL)"
            ),
            f"CREATE INDEX IF NOT EXISTS {INDEX} ON {lines} USING gin (words)",
            f"CREATE INDEX IF NOT EXISTS {BY_TIME} ON {lines} (created_at)",
        ],
        "mysql": mysql,
        "mariadb": mysql,
    }
