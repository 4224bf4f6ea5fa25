"""`Revision`: one of chatstore's own revisions, run by Alembic on Django's connection, as a step of a Django migration.

So ``migrate``, ``migrate chatstore zero``, ``sqlmigrate``, ``showmigrations`` and test databases have chatstore's
tables. A database that has a revision already, by ``chatstore upgrade``, is left as it is.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.migrations.operations.base import Operation
from sqlalchemy import URL

from chatstore.backends.sql import migrations
from chatstore.contrib.django.database import database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Dialect


class Revision(Operation):
    """Bring the tables from the revision *after* ("base" is none) to *revision*, or back."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, revision: str, after: str) -> None:
        """Do nothing yet."""
        self.revision, self.after = revision, after

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Leave the models to other operations."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Upgrade, unless the tables are as far already."""
        del from_state, to_state
        if not _here(app_label, schema_editor):
            return
        if schema_editor.collect_sql:
            _collect(schema_editor, migrations.write_upgrade, f"{self.after}:{self.revision}")
            return
        with _connection(schema_editor) as connection:
            found = migrations.current(connection)
            if found is None or found < self.revision:
                migrations.upgrade(connection, self.revision)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Downgrade, unless the tables are not as far."""
        del from_state, to_state
        if not _here(app_label, schema_editor):
            return
        if schema_editor.collect_sql:
            _collect(schema_editor, migrations.write_downgrade, f"{self.revision}:{self.after}")
            return
        with _connection(schema_editor) as connection:
            found = migrations.current(connection)
            if found is not None and found >= self.revision:
                migrations.downgrade(connection, self.after)

    def describe(self) -> str:
        """Say what it does."""
        return f"Bring chatstore's tables to {self.revision}"

    @property
    def migration_name_fragment(self) -> str:
        """Name a migration of this alone."""
        return self.revision


def _here(app_label: str, schema_editor: Any) -> bool:
    """Tell whether ``DATABASE_ROUTERS`` want the tables in this database."""
    alias = schema_editor.connection.alias
    return bool(router.allow_migrate(alias, app_label, model_name="session"))


@contextlib.contextmanager
def _connection(schema_editor: Any) -> Iterator[Connection]:
    """Lend Django's connection, in the transaction that Django has begun for a migration, where it has begun one."""
    used = database(schema_editor.connection.alias)
    used.ready = False
    with used.connection() as connection:
        if used.in_transaction:
            connection.begin()
        yield connection


def _collect(schema_editor: Any, write: Any, way: str) -> None:
    """Have ``sqlmigrate`` print what would be executed."""
    written = io.StringIO()
    write(_offline(schema_editor.connection), way, None, written, begins=False)
    schema_editor.collected_sql.append(written.getvalue().strip())


def _offline(django: Any) -> Dialect:
    """Return the dialect of a script, which knows MariaDB from MySQL."""
    name = database(django.alias).engine.dialect.name
    if name == "mysql" and django.mysql_is_mariadb:
        name = "mariadb"
    make: Any = URL.create(name).get_dialect()
    return make(paramstyle="named")  # type: ignore[no-any-return]
