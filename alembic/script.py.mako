"""${message}."""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Say here which locks this takes, and for how long on a million messages."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Say here what is lost."""
    ${downgrades if downgrades else "pass"}
