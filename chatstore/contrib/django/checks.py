"""The system check: whether ``DATABASES`` has a place for the conversations, and the tables of this release in it.

``manage.py check --database default`` looks at the tables. Migrations that are still to be applied are Django's to tell
of (``migrate --check``): what is looked for here is tables that are not what Django's record of them says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.checks import Error, Tags, Warning, register  # noqa: A004 - Django's names
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from chatstore.contrib.django.apps import ChatstoreConfig
from chatstore.contrib.django.database import database
from chatstore.contrib.django.repositories import DjangoRepository, look
from chatstore.errors import ChatstoreError, NotSupported, SchemaError, SchemaMissing, SchemaOutdated

if TYPE_CHECKING:
    from collections.abc import Sequence


@register(Tags.models)
def check_place(**_: Any) -> list[Any]:
    """Refuse a database that chatstore has no tables for."""
    try:
        database(DjangoRepository().alias)
    except NotSupported as error:
        return [_said(Error, error, "chatstore.E001")]
    return []


@register(Tags.database)
def check_tables(databases: Sequence[str] | None = None, **_: Any) -> list[Any]:
    """Look at the tables, if their database is among *databases*."""
    alias = DjangoRepository().alias
    if alias not in (databases or ()):
        return []
    try:
        if not _unapplied(alias):
            look(database(alias))
    except (SchemaMissing, SchemaOutdated) as error:
        return [_behind(error)]
    except (ChatstoreError, DatabaseError) as error:
        return [_said(Warning, error, "chatstore.W002")]
    return []


def _unapplied(alias: str) -> bool:
    """Tell whether Django knows of migrations that are still to be applied."""
    executor = MigrationExecutor(connections[alias])
    ours = [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] == ChatstoreConfig.label]
    return bool(executor.migration_plan(ours))


def _behind(error: SchemaError) -> Any:
    """Say that tables are missing which Django has made, by its record."""
    what = str(error).rpartition(": ")[0]
    hint = "Django's record says that its migrations are applied: run manage.py chatstore upgrade"
    return Warning(what, hint=hint, id="chatstore.W001")


def _said(kind: Any, error: Exception, name: str) -> Any:
    """Make Django's message of an error, whose advice is the hint."""
    what, _, advice = str(error).rpartition(": ")
    return kind(what or advice, hint=advice if what else None, id=name)
