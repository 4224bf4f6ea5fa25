"""Bring a database to the schema, and tell whether it is there.

Knows where the migrations lie, how Alembic runs them on a URL or on a connection, and how they live beside a
host application's own. Refuses to know what a revision does. With its siblings ``migration_*``, the only
place of the package that imports Alembic, and only when something is migrated or checked.

A host's ``env.py`` may end with ``upgrade(connection)``, and keeps its hands off these tables with
``context.configure(include_name=ignore)``.
"""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData
from sqlalchemy.engine import URL, Dialect, Engine

from chatstore.backends.sql import models
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.migration_runner import (
    know,
    move,
    operations,
    readable,
    write_for,
    write_schema,
)
from chatstore.backends.sql.models import HEAD, VERSION_TABLE
from chatstore.backends.sql.search_objects import SEARCH_TABLES
from chatstore.backends.sql.url import parse_url
from chatstore.backends.sql.visits import connected, current, dialect_of
from chatstore.errors import Invalid, SchemaError
from chatstore.provisioning import Moved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from sqlalchemy import Connection

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "Moved",
    "alembic_ini",
    "check",
    "config",
    "current",
    "downgrade",
    "ignore",
    "owns",
    "refuse_unreachable",
    "run_env",
    "script_location",
    "upgrade",
    "upgrade_sql",
    "version_location",
]

_PACKAGE = Path(__file__).parents[2]
# ---------------------------------------------------------------------------------------- where things are


def script_location() -> Path:
    """Return the folder of the migrations: in the package when installed, beside it in a checkout.

    A folder counts only if it holds ``env.py``: beside an installed package, ``alembic`` is the library
    itself.
    """
    for place in (_PACKAGE / "_alembic", _PACKAGE.parent / "alembic"):
        if (place / "env.py").is_file() and (place / "versions").is_dir():
            return place
    raise SchemaError(
        "this installation has no migrations: install chatstore-sql again, from a wheel or a whole checkout"
    )


def version_location() -> Path:
    """Return the folder of the revisions, for a host that keeps one history (``version_locations``)."""
    return script_location() / "versions"


def config() -> Config:
    """Return a configuration for ``alembic.command``; the URL comes from ``CHATSTORE_URL``."""
    made = Config()
    made.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    made.set_main_option("path_separator", "newline")
    return made


def alembic_ini() -> str:
    """Return an ``alembic.ini`` for people who installed the package and want Alembic's own commands."""
    place = script_location()
    location = "chatstore:_alembic" if place.name == "_alembic" else str(place).replace("%", "%%")
    return _INI.format(location=location)


# ----------------------------------------------------------------------------------------- up, down, where


def upgrade(
    target: str | URL | Engine | Connection,
    revision: str = "head",
    *,
    schema: str | None = None,
    wait: float | None = None,
) -> Moved:
    """Migrate a database to *revision*; return the revisions before and after. Concurrent calls wait for each other.

    *wait* is for how many seconds this waits for others in all, 60 unless said otherwise: for another migration, and
    for transactions that hold locks on the tables. For whom, the logger ``chatstore`` says. Statements of an
    application are held up for less than a second while it waits.

    On a connection that is in a transaction nothing is committed (although MySQL and MariaDB themselves commit
    before each change of a table); otherwise it is committed here. On PostgreSQL a missing *schema* is created.
    Raises `SchemaTooNew` for a database that a newer release migrated, `SchemaError` for an unknown revision,
    `StorageUnavailable` if the database cannot be reached, is locked or is read-only.
    """
    if revision in {"head", "heads"}:
        revision = HEAD
    return move(target, revision, schema, lambda script, heads: script._upgrade_revs(revision, heads), wait)


def downgrade(
    target: str | URL | Engine | Connection,
    revision: str,
    *,
    schema: str | None = None,
    wait: float | None = None,
) -> Moved:
    """Take a database back to *revision* ("base" drops the tables with everything in them); otherwise as `upgrade`."""
    return move(target, revision, schema, lambda script, heads: script._downgrade_revs(revision, heads), wait)


def refuse_unreachable(revision: str, before: str | None) -> None:
    """Raise `SchemaError` where no downgrade leads from *before*, a revision of this release or None, to *revision*."""
    if before is None or before <= HEAD:
        with readable():
            ScriptDirectory.from_config(config())._downgrade_revs(revision, before)


def check(target: str | URL | Engine | Connection, *, schema: str | None = None) -> list[Any]:
    """Return how a database's tables differ from the models, in Alembic's terms; an empty list if they do not.

    Other tables of the database, views and the search index are not compared.
    """
    with readable(), connected(target, create=False) as connection:
        schema = _named(connection.dialect, schema)
        context = MigrationContext.configure(connection, opts=options(connection.dialect, schema))
        return list(compare_metadata(context, context.opts["target_metadata"]))


def upgrade_sql(target: str | URL | Dialect, revision: str = "head", *, schema: str | None = None) -> str:
    """Return the SQL script of an upgrade: from nothing, or from a revision with ``from:to``.

    *target* is a URL, a dialect or a dialect's name; nothing is connected to, and no driver is needed.
    """
    written = io.StringIO()
    write_upgrade(_dialect(target), revision, schema, written)
    return written.getvalue()


def write_upgrade(
    dialect: Dialect, revision: str, schema: str | None, into: TextIO, *, begins: bool = True
) -> None:
    """Write what `upgrade_sql` returns; without BEGIN and COMMIT where somebody else *begins*."""
    script = ScriptDirectory.from_config(config())
    start, _, to = revision.rpartition(":")
    with readable():
        _refuse_backwards(script, start, to)
    _write(dialect, start, schema, into, lambda heads: script._upgrade_revs(to, heads), begins=begins)


def write_downgrade(
    dialect: Dialect, revision: str, schema: str | None, into: TextIO, *, begins: bool = True
) -> None:
    """Write the SQL script of a downgrade, with ``from:to``; otherwise as `write_upgrade`."""
    script = ScriptDirectory.from_config(config())
    start, _, to = revision.rpartition(":")
    _write(dialect, start, schema, into, lambda heads: script._downgrade_revs(to, heads), begins=begins)


def _write(
    dialect: Dialect,
    start: str,
    schema: str | None,
    into: TextIO,
    steps: Callable[[Any], Any],
    *,
    begins: bool,
) -> None:
    script = ScriptDirectory.from_config(config())
    opts = options(dialect, schema) | {
        "as_sql": True,
        "fn": lambda heads, _context: steps(heads),
        "literal_binds": True,
        "output_buffer": into,
        "script": script,
        "starting_rev": start or None,
    }
    context = MigrationContext.configure(dialect=dialect, opts=opts)
    write_for(dialect)
    with (
        readable(),
        operations(context),
        context.begin_transaction() if begins else contextlib.nullcontext(),
    ):
        write_schema(context, start)
        context.run_migrations()


def _refuse_backwards(script: ScriptDirectory, start: str, to: str) -> None:
    """Raise `Invalid` for a range that an upgrade cannot go: its script would be empty."""
    if not start or script._upgrade_revs(to, start):
        return
    if script.get_revisions(start) != script.get_revisions(to):
        msg = f"an upgrade does not go from {start} to {to}: name the older revision first, as in chatstore_0001:head"
        raise Invalid(msg)


# ------------------------------------------------------------------------------------------ beside a host


def owns(name: str | None, type_: str, parent_names: Mapping[str, Any], *, schema: str | None = None) -> bool:
    """Tell Alembic's ``include_name`` what is chatstore's: its tables and what they hold, in *schema*.

    By membership in the models, so that a column or an index that is missing or too many is still seen.
    """
    if type_ == "schema":
        return name == schema
    if type_ == "table":
        return name in models.METADATA.tables and parent_names.get("schema_name") == schema
    return True


def ignore(name: str | None, type_: str, parent_names: Mapping[str, Any]) -> bool:
    """Tell a host's ``include_name`` what is not chatstore's: all but its tables and what belongs to them.

    For an ``env.py`` that does not call `add_to`: ``context.configure(..., include_name=ignore)``.
    """
    del parent_names
    if type_ == "table":
        return name not in {*models.METADATA.tables, VERSION_TABLE, *SEARCH_TABLES}
    # other packages that compare views and the like say where each is: public.chatstore_transcript
    return not (type_ in {"function", "trigger", "view"} and ".chatstore_" in f".{name}")


def options(dialect: Dialect, schema: str | None) -> dict[str, Any]:
    """Return how Alembic is configured for our tables, online and offline."""
    know(dialect)
    return {
        "compare_type": True,
        "include_name": partial(owns, schema=schema),
        "include_schemas": schema is not None,
        "render_as_batch": True,
        "target_metadata": _metadata(dialect, schema),
        "transactional_ddl": dialect_for(dialect.name).transactional_ddl,
        "version_table": VERSION_TABLE,
        "version_table_schema": schema,
    }


def run_env() -> None:
    """Do what Alembic's command asks; ``alembic/env.py`` is this one call."""
    from chatstore.backends.sql.migration_env import run

    run()


def _metadata(dialect: Dialect, schema: str | None) -> MetaData:
    """Return the models' tables, in *schema*, as a comparison with a database of *dialect* wants them."""
    placed = MetaData(naming_convention=models.NAMING)
    tables = models.complete() if dialect_for(dialect.name).table_options else models.METADATA
    for table in tables.sorted_tables:
        copy = table.to_metadata(placed, schema=schema) if schema else table.to_metadata(placed)
        if not dialect.supports_identity_columns:  # Alembic before 1.18 would miss it there
            for column in copy.columns:
                column.identity = column.server_default = None
    return placed


def _named(dialect: Dialect, schema: str | None) -> str | None:
    """Return None for the schema that is the default anyway: reflection gives its tables none."""
    return None if schema == dialect.default_schema_name else schema


def _dialect(target: str | URL | Dialect) -> Dialect:
    """Return the dialect to write a script in."""
    if isinstance(target, Dialect):
        return target
    url = target if isinstance(target, URL) or ":" in target else URL.create(target)
    make: Callable[..., Dialect] = dialect_of(parse_url(url))
    return make(paramstyle="named")  # as Alembic's own offline mode: a percent sign stands once


_INI = """\
# The migrations of chatstore. Run them from this folder: alembic upgrade head
#
# Which database: -x url=..., else CHATSTORE_URL, else sqlalchemy.url below. In this file a % is written %%.
# Which database schema: -x schema=..., else CHATSTORE_SCHEMA, else the database's default.

[alembic]
script_location = {location}
path_separator = newline
# sqlalchemy.url = postgresql://user:password@host/database

[loggers]
keys = root, alembic

[handlers]
keys = console

[formatters]
keys = plain

[logger_root]
level = WARNING
handlers = console

[logger_alembic]
level = INFO
handlers =
qualname = alembic

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain

[formatter_plain]
format = %(levelname)-5.5s [%(name)s] %(message)s
"""
