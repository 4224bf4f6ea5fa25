"""Whether a database has the tables of this release: ready, empty, or an error that says what to run.

This module knows revisions and what they need; it refuses to know how a connection is lent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, String, Table, inspect, select

from chatstore.backends.sql import models
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.lending import DIRECT
from chatstore.backends.sql.url import create_private_file, sqlite_path
from chatstore.errors import SchemaError, SchemaMissing, SchemaOutdated, SchemaTooNew, StorageError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

#: The version table of a host application's own migrations.
HOSTS_TABLE = "alembic_version"
_log = logging.getLogger("chatstore")


def prepare_file(url: URL) -> None:
    """Create a missing SQLite file for its owner only; raise `StorageError` where that cannot be."""
    path = sqlite_path(url)
    if path is None or str(path).startswith("file:"):
        return
    if path.is_dir():
        msg = f"{path} is a directory, not a SQLite file: name a file inside it"
        raise StorageError(msg)
    if not path.exists():
        try:
            create_private_file(path)
        except OSError as error:
            what = "give this user the right to write in" if path.parent.is_dir() else "create"
            msg = f"the SQLite file {path} cannot be created ({error.strerror}): {what} its folder, or name another"
            raise StorageError(msg) from error


def schema_state(connection: Connection, schema: str | None) -> str:
    """Return 'ready' or 'empty' (a SQLite database without any table), or raise a `SchemaError`."""
    if not connection.get_execution_options().get(DIRECT):
        dialect_for(connection.dialect.name).look_at(connection)
    found, where = stored_revision(connection, schema)
    if found == models.HEAD:
        return "ready"
    if not found:
        inspector = inspect(connection)
        if dialect_for(connection.dialect.name).embedded and not inspector.get_table_names(schema=schema):
            return "empty"
        if inspector.has_table(models.sessions.name, schema=schema):
            msg = (
                "the database has chatstore's tables, but nothing says at which revision: "
                "run chatstore upgrade on it, which looks whether they are as they should be"
            )
            raise SchemaError(msg)
        msg = (
            "the database has no chatstore tables: run chatstore upgrade on it, or your application's own migrations "
            "if they bring these tables"
        )
        raise SchemaMissing(msg)
    if found < models.HEAD:
        msg = f"the database is at {found}, this release needs {models.HEAD}: run {upgrade_command(where)} on it"
        raise SchemaOutdated(msg)
    _check_newer(connection, schema, found)
    return "ready"


def stored_revision(connection: Connection, schema: str | None) -> tuple[str, str]:
    """Return the revision the tables are at ('' where none is told), and the version table that says so.

    A host may have taken our revisions into its own history; then they stand in its version table.
    """
    inspector = inspect(connection)
    for name in (models.VERSION_TABLE, HOSTS_TABLE):
        if inspector.has_table(name, schema=schema):
            versions = Table(name, MetaData(), Column("version_num", String(32)), schema=schema)
            stored = connection.execute(select(versions.c.version_num)).scalars()
            found = max((version for version in stored if version.startswith("chatstore_")), default="")
            if found:
                return found, name
    return "", models.VERSION_TABLE


def upgrade_command(version_table: str) -> str:
    """Return what brings tables to this release whose revision stands in *version_table*."""
    return (
        "the application's own alembic upgrade heads" if version_table == HOSTS_TABLE else "chatstore upgrade"
    )


def _check_newer(connection: Connection, schema: str | None, found: str) -> None:
    """Accept a newer schema that has all we use and asks for nothing we do not know (a rolling deploy)."""
    inspector = inspect(connection)
    for ours in (models.sessions, models.messages, models.states):
        theirs = (
            {col["name"]: col for col in inspector.get_columns(ours.name, schema=schema)}
            if inspector.has_table(ours.name, schema=schema)
            else {}
        )
        lost = [col.name for col in ours.columns if col.name not in theirs]
        needed = [name for name, col in theirs.items() if name not in ours.columns and _required(col)]
        if lost or needed:
            what = ", ".join(f"{ours.name}.{name}" for name in lost + needed)
            msg = f"the database is at {found}, which this release cannot use ({what}): install a newer chatstore-sql"
            raise SchemaTooNew(msg)
    _log.warning(
        "the database is at %s, newer than this release's %s: upgrade chatstore soon", found, models.HEAD
    )


def _required(col: Any) -> bool:
    return not col["nullable"] and col.get("default") is None and col.get("autoincrement", False) is not True


def upgrade_empty(connection: Connection, schema: str | None) -> None:
    """Migrate an empty SQLite database, unless another process just has."""
    from chatstore.backends.sql.migrations import upgrade  # Alembic: only for a new file

    if schema_state(connection, schema) == "empty":
        upgrade(connection, schema=schema)
