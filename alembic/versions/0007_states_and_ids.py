"""Let frameworks keep named states beside the messages, and find a message by its id alone, and the forks of a session.

A new table, empty, and two indexes: an older release works on. That of messages is built while appends wait (on
PostgreSQL about a second for a million); where that is too long, make it before, by its name, with CREATE INDEX
CONCURRENTLY. Where an index may be of some rows only, that of forks is, and those of owners and expiry become so, built
again while appends wait: what has no owner is not in an index of owners.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from chatstore.backends.sql.migration_steps import create_index, create_table, dialect, drop_index, drop_table

if TYPE_CHECKING:
    from collections.abc import Sequence

revision = "chatstore_0007"
down_revision = "chatstore_0006"
branch_labels = None
depends_on = None

STATES, MESSAGES, SESSIONS = "chatstore_states", "chatstore_messages", "chatstore_sessions"
NAMES, IDS = "ix_chatstore_states_namespace_state_key", "ix_chatstore_messages_message_id"
FORKS = "ix_chatstore_sessions_forked_from"
#: The indexes of what has an owner, or expires.
OWNED = [["user_id", "updated_at", "session_id"], ["tenant_id", "updated_at", "session_id"], ["expires_at"]]
#: The revision that made the other tables.
tables = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("0001_sessions_and_messages.py"))))


def upgrade() -> None:
    """Create the table and the indexes."""
    create_table(STATES, *_columns(), comment="One row a named state", **tables.TABLE)
    create_index(op.f(NAMES), STATES, ["namespace", "state_key"])
    create_index(op.f(IDS), MESSAGES, ["message_id"])
    _create_partial(FORKS, ["forked_from"])
    if _can_be_partial():
        for columns in OWNED:
            drop_index(_named(columns), SESSIONS)
            _create_partial(_named(columns), columns)


def downgrade() -> None:
    """Drop them, and every state."""
    if _can_be_partial():
        for columns in OWNED:
            drop_index(_named(columns), SESSIONS)
            create_index(op.f(_named(columns)), SESSIONS, columns)
    drop_index(FORKS, SESSIONS)
    drop_index(IDS, MESSAGES)
    drop_table(STATES)


def _named(columns: Sequence[str]) -> str:
    return f"ix_{SESSIONS}_{'_'.join(columns)}"


def _can_be_partial() -> bool:
    """Tell whether the database has indexes of some rows only: PostgreSQL, what is written for as such, and SQLite."""
    return isinstance(dialect(), PGDialect | SQLiteDialect)


def _create_partial(name: str, columns: Sequence[str]) -> None:
    """Create an index of the rows that have the first of *columns*, where the database can."""
    some = sa.text(f"{columns[0]} IS NOT NULL")
    create_index(op.f(name), SESSIONS, columns, postgresql_where=some, sqlite_where=some)


def _columns() -> Sequence[sa.schema.SchemaItem]:
    exact, name = tables._exact, dialect().name
    return [
        tables._always("state_id", exact(255), "Owner, namespace and key in one, as session_key joins them"),
        tables._perhaps("tenant_id", exact(255), "The tenant who owns it"),
        tables._perhaps("user_id", exact(255), "The user who owns it"),
        tables._always("namespace", exact(255), "What kind of state it is"),
        tables._always("state_key", exact(255), "Its name in the namespace"),
        # Text by itself on SQLite, which takes a number in a column of JSON for its own.
        tables._always(
            "value", tables._long_text() if name == "sqlite" else tables._json(), "What it says, as JSON"
        ),
        tables._always(
            "revision",
            sa.BigInteger(),
            "Grows with every change; starts as the creation time in microseconds",
        ),
        tables._always("updated_at", tables._instant(), "When it was last changed, in UTC"),
        sa.PrimaryKeyConstraint("state_id", name=op.f(f"pk_{STATES}")),
        *tables._json_check(STATES, "value"),
    ]
