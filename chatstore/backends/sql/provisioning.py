"""The tables of a database, for ``chatstore upgrade`` and its siblings: `chatstore.provisioning.Provisioner`.

This module knows what a revision, or none, says about a database and its tables; it refuses to know how one is reached
(`migrations`), and imports that, and Alembic with it, only to migrate or compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, inspect, select, table

from chatstore.backends.sql.models import HEAD
from chatstore.backends.sql.visits import connected, current, translate_errors
from chatstore.errors import SchemaError, SchemaMissing, SchemaOutdated
from chatstore.provisioning import Checked, Held, Moved

if TYPE_CHECKING:
    from sqlalchemy import URL


class DatabaseProvisioner:
    """The tables in one database schema; see `chatstore.provisioning.Provisioner`."""

    head = HEAD
    single = False

    def __init__(self, url: URL, schema: str | None) -> None:
        """Work on the database behind *url*, in *schema*."""
        self._url, self._schema = url, schema

    def close(self) -> None:
        """Do nothing: each call has a connection of its own."""

    def current(self) -> str | None:
        return current(self._url, schema=self._schema)

    def upgrade(self, revision: str, *, wait: float | None = None) -> Moved:
        from chatstore.backends.sql import migrations

        return migrations.upgrade(self._url, revision, schema=self._schema, wait=wait)

    def refuse_unreachable(self, revision: str, before: str | None) -> None:
        from chatstore.backends.sql import migrations

        migrations.refuse_unreachable(revision, before)

    def downgrade(self, revision: str, *, wait: float | None = None) -> Moved:
        from chatstore.backends.sql import migrations

        return migrations.downgrade(self._url, revision, schema=self._schema, wait=wait)

    def script(self, revision: str) -> str:
        from chatstore.backends.sql import migrations

        return migrations.upgrade_sql(self._url, revision, schema=self._schema)

    def check(self) -> Checked:
        """Compare the tables; other tables, views and the search index are not looked at."""
        found = self.current()
        there = found is not None or self._has_sessions()
        differences = [_difference(one) for one in self._differences()] if there else []
        return Checked(found, differences, _fault(found, differences, there=there))

    def held(self) -> Held:
        """Count sessions and messages at any revision that has the tables."""
        names = ("chatstore_sessions", "chatstore_messages")
        with translate_errors(), connected(self._url, create=False) as connection:
            inspector = inspect(connection)
            return Held(
                *(
                    connection.execute(
                        select(func.count()).select_from(table(name, schema=self._schema))
                    ).scalar_one()
                    if inspector.has_table(name, schema=self._schema)
                    else 0
                    for name in names
                )
            )

    def _differences(self) -> list[Any]:
        from chatstore.backends.sql import migrations

        return migrations.check(self._url, schema=self._schema)

    def _has_sessions(self) -> bool:
        """Tell whether there is a table of sessions, whatever is known about it."""
        with translate_errors(), connected(self._url, create=False) as connection:
            return inspect(connection).has_table("chatstore_sessions", schema=self._schema)


def _fault(found: str | None, differences: list[str], *, there: bool) -> SchemaError | None:
    """Make the error for tables that are not in order, or not *there* at all; None where all is well."""
    if found is None and there:
        return SchemaError(
            "nothing says at which revision these tables are: run chatstore upgrade on them, which goes on if "
            "they do not differ"
        )
    if found is None:
        return SchemaMissing("the database has no chatstore tables: run chatstore upgrade on it")
    if found < HEAD:
        return SchemaOutdated(
            f"the database is at {found}, this release needs {HEAD}: run chatstore upgrade on it"
        )
    if differences:
        return SchemaOutdated(
            "something else changed the tables: undo that; chatstore upgrade --sql shows how they should be"
        )
    return None


def _difference(one: Any) -> str:
    """Say one of Alembic's differences in a line: what it would do, to what."""
    if isinstance(one, list):
        return "; ".join(_difference(part) for part in one)
    what, *about = one
    names = [getattr(part, "name", part) for part in about if isinstance(part, str) or hasattr(part, "name")]
    return f"{str(what).replace('_', ' ')}: {' '.join(str(name) for name in names)}"
