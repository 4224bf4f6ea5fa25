"""The public door to the migrations: bring a database to the schema, and live beside a host's own Alembic.

Knows which names of the SQL backend are promised to stay; what they do stands where they are defined. Importing
this module imports Alembic.
"""

from __future__ import annotations

from chatstore.backends.sql.migration_host import add_to, add_to_config
from chatstore.backends.sql.migrations import (
    HEAD,
    VERSION_TABLE,
    Moved,
    alembic_ini,
    check,
    config,
    current,
    downgrade,
    ignore,
    owns,
    script_location,
    upgrade,
    upgrade_sql,
    version_location,
)

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "Moved",
    "add_to",
    "add_to_config",
    "alembic_ini",
    "check",
    "config",
    "current",
    "downgrade",
    "ignore",
    "owns",
    "script_location",
    "upgrade",
    "upgrade_sql",
    "version_location",
]
