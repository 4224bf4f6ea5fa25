"""What revisions are written with: steps that know the schema they work in, and may be repeated.

Knows Alembic's ``op``, the schema that was asked for, and that only some databases can roll DDL back: on
MariaDB and MySQL a migration that was killed half way leaves half of itself, so every step looks first and
leaves alone what is there. Refuses to know what the tables mean. Offline (``--sql``) nothing can be looked
at; the script is for a database that is at the revision it starts from.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql import quoted_name

from chatstore.backends.sql.ddl import qualify, verbatim
from chatstore.backends.sql.dialects import dialect_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alembic.operations import BatchOperations


def schema() -> str | None:
    """Return the schema of every object that is created; None is the database's default.

    It is the version table's schema, so that a database says by itself where its tables are. Marked as one name:
    where a table is altered, Alembic takes a plain string with a dot in it for two.
    """
    name = op.get_context().version_table_schema
    return quoted_name(name, None) if name else None


def dialect() -> sa.Dialect:
    """Return the dialect that is migrated, or written for."""
    return op.get_context().dialect


def offline() -> bool:
    """Tell whether SQL is only written down."""
    return op.get_context().as_sql


def qualified(name: str) -> str:
    """Return *name* in its schema, quoted where it must be, for statements written by hand."""
    return qualify(dialect(), name, schema())


def execute(statement: str) -> None:
    """Execute a statement word for word: a colon in it is a colon, a percent sign a percent sign."""
    op.execute(verbatim(statement))


def foreign_key(
    columns: Sequence[str], table: str, referred: Sequence[str], *, name: str, ondelete: str
) -> sa.ForeignKeyConstraint:
    """Return a foreign key to *table* in the same schema."""
    prefix = f"{schema()}.{table}" if schema() else table
    return sa.ForeignKeyConstraint(
        list(columns), [f"{prefix}.{column}" for column in referred], name=name, ondelete=ondelete
    )


def create_table(name: str, *parts: sa.schema.SchemaItem, **options: Any) -> None:
    """Create a table, unless it is there."""
    if not has_table(name):
        op.create_table(name, *parts, schema=schema(), **options)


def drop_table(name: str) -> None:
    """Drop a table, unless it is gone."""
    if offline() or has_table(name):
        op.drop_table(name, schema=schema())


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Create an index, unless it is there."""
    if offline() or not _has_index(name, table):
        op.create_index(name, table, list(columns), schema=schema(), **options)


def drop_index(name: str, table: str) -> None:
    """Drop an index, unless it is gone."""
    if offline() or _has_index(name, table):
        op.drop_index(name, table, schema=schema())


def _has_index(name: str, table: str) -> bool:
    return name in {index["name"] for index in _inspector().get_indexes(table, schema=schema())}


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column, which may be null or has a default, unless it is there: no database rewrites a table for it."""
    if offline() or not _has_column(table, column.name):
        op.add_column(table, column, schema=schema())


def drop_column(table: str, name: str) -> None:
    """Drop a column that no index, view or constraint names, unless it is gone."""
    if offline() or _has_column(table, name):
        op.drop_column(table, name, schema=schema())


def _has_column(table: str, name: str) -> bool:
    return name in {column["name"] for column in _inspector().get_columns(table, schema=schema())}


@contextlib.contextmanager
def altering(table: str) -> Iterator[BatchOperations]:
    """Alter a table; SQLite copies it, which would lose its triggers: they are made again.

    The rows keep their ``id``. A view that names a changed column must be dropped before and created again after.
    SQLite's copy needs a look at the table, so this cannot be written down offline for it.
    """
    looks = dialect_for(dialect().name).copies_tables and not offline()
    triggers = _triggers(table) if looks else []
    with op.batch_alter_table(table, schema=schema()) as batch:
        yield batch
    for statement in triggers:
        execute(statement)


def _triggers(table: str) -> list[str]:
    """Return the statements that make the triggers of a SQLite table, which it keeps without the schema."""
    master = sa.table("sqlite_master", *map(sa.column, ("type", "tbl_name", "sql")), schema=schema()).c
    found = sa.select(master.sql).where(master.type == "trigger", master.tbl_name == table)
    begin = "CREATE TRIGGER "
    within = qualify(dialect(), schema() or "", None) + "." if schema() else ""
    return [f"{begin}{within}{sql.removeprefix(begin)}" for sql in op.get_bind().scalars(found)]


def has_table(name: str) -> bool:
    """Tell whether a table, or a view, is there; offline it never is."""
    return not offline() and _inspector().has_table(name, schema=schema())


def _inspector() -> sa.Inspector:
    return sa.inspect(op.get_bind())
