"""Create the search index, where the database has full text.

It costs an append something; `chatstore index drop` takes it away, and then this revision has nothing to
drop.
"""

from __future__ import annotations

from alembic import op

from chatstore.backends.sql import search_objects
from chatstore.backends.sql.migration_steps import dialect, execute, offline, schema

revision = "chatstore_0003"
down_revision = "chatstore_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index what is stored; appends wait meanwhile on PostgreSQL, MySQL and MariaDB."""
    if not offline():
        search_objects.create_search_index(op.get_bind(), schema())
        return
    for statement in search_objects.creation(dialect(), schema()):
        execute(statement)


def downgrade() -> None:
    """Drop the index; nothing is lost."""
    if not offline():
        search_objects.drop_search_index(op.get_bind(), schema())
        return
    for statement in search_objects.removal(dialect(), schema()):
        execute(statement)
