"""Run steps of the migrations on a URL or a connection, and say in our words what went wrong.

Knows connections, the version table and Alembic's way of running; refuses to know which way the steps go.
It does not use ``alembic.command``: that cannot run inside a host's ``env.py``, which `move` can.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import alembic.context
import alembic.op
from alembic.ddl import DefaultImpl
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from chatstore.backends.sql.ddl import qualify, verbatim
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.dialects.migrating import Waiting, in_autocommit
from chatstore.backends.sql.driver_errors import kind_of
from chatstore.backends.sql.models import HEAD, VERSION_TABLE, messages, sessions
from chatstore.backends.sql.schema_check import stored_revision, upgrade_command
from chatstore.backends.sql.visits import connected, current, translate_errors
from chatstore.errors import SchemaError, SchemaTooNew, StorageUnavailable
from chatstore.provisioning import Moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alembic.runtime.migration import RevisionStep
    from sqlalchemy.engine import URL, Dialect, Engine

    Steps = Callable[[ScriptDirectory, Any], list[RevisionStep]]


T = TypeVar("T")


def move(
    target: str | URL | Engine | Connection,
    revision: str,
    schema: str | None,
    steps: Steps,
    wait: float | None = None,
) -> Moved:
    """Run the *steps* to *revision* on a database, alone; none, and no lock, where it is there already.

    *wait* is for how many seconds others are waited for, None for the usual time.
    """
    with readable(), connected(target, create=True) as connection:
        end_reading(connection)
        ours = not connection.in_transaction()
        before = current(connection, schema=schema)
        if ours:
            connection.rollback()
        if before == revision:
            return Moved(before, before)

        found: list[str | None] = []

        def work() -> Moved:
            found.append(current(connection, schema=schema))  # somebody else may have been faster
            _run(connection, schema, steps)
            return Moved(found[0], current(connection, schema=schema))

        return work_alone(connection, schema, wait, work)


def work_alone(connection: Connection, schema: str | None, wait: float | None, work: Callable[[], T]) -> T:
    """Return what *work* does while no other migration runs; again where somebody held a lock on the tables.

    It never waits for a lock long enough to hold an application up for more than a second, which would queue behind it.
    """
    dialect, waiting = dialect_for(connection.dialect.name), Waiting(wait)
    while True:
        try:
            with dialect.alone(connection, schema, waiting), dialect.briefly(connection):
                return work()
        except (SQLAlchemyError, StorageUnavailable) as error:
            cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
            if not isinstance(cause, SQLAlchemyError) or kind_of(cause) not in {"busy", "timeout"}:
                raise
        waiting.breathe(lambda: dialect.holders(connection))


def _run(connection: Connection, schema: str | None, steps: Steps) -> None:
    from chatstore.backends.sql.migrations import config, options

    script = ScriptDirectory.from_config(config())
    opts = options(connection.dialect, schema) | {
        "fn": lambda heads, _context: steps(script, heads),
        "script": script,
    }
    context = MigrationContext.configure(connection, opts=opts)
    refuse_unknown(script, context)
    adopt_strangers(connection, schema)
    prepare(connection, schema)
    with operations(context):
        context.run_migrations()


def end_reading(connection: Connection) -> None:
    """End what is no transaction of the caller's, though it looks like one, on a connection of a running ``env.py``.

    Reading its version table, Alembic makes SQLAlchemy begin one. Where each revision has a transaction of its
    own, the first revision commits that; where there is none to run, nobody does, and it is rolled back with all
    that followed. And in AUTOCOMMIT, Alembic's transaction is none.
    """
    environment = getattr(alembic.context, "_proxy", None)
    host: MigrationContext | None = environment and environment._migration_context
    if host is None or host.connection is not connection or host._in_external_transaction:
        return
    if host._transaction is not None:
        if in_autocommit(connection):
            host._transaction.commit()
            host._transaction = None
    elif (host._transaction_per_migration or not host.impl.transactional_ddl) and connection.in_transaction():
        with host.begin_transaction(_per_migration=True):  # as a revision that does nothing would
            pass


def refuse_unknown(script: ScriptDirectory, context: MigrationContext) -> None:
    """Raise `SchemaTooNew` where the database is at a revision that this release has not got."""
    known = {one.revision for one in script.walk_revisions()}
    for head in context.get_current_heads():
        if head not in known:
            raise SchemaTooNew(
                f"the database is at revision {head}, which this release does not know: install the release "
                "that migrated it, or a newer one"
            )


def adopt_strangers(connection: Connection, schema: str | None) -> None:
    """Make tables without our version table ready for the revisions; `SchemaError` where they are not as ours.

    Their views go: the revisions make them again, and PostgreSQL takes no column away from one. A migration that
    was killed half way has left the version table, and goes on.
    """
    from chatstore.backends.sql.migrations import check

    inspector = inspect(connection)
    if inspector.has_table(VERSION_TABLE, schema=schema):
        return
    found, where = stored_revision(connection, schema)
    if found:
        raise SchemaError(
            f"chatstore's revision stands in {where}, at {found}: run {upgrade_command(where)} instead"
        )
    if not any(inspector.has_table(table.name, schema=schema) for table in (sessions, messages)):
        return
    if check(connection, schema=schema):
        raise SchemaError(
            f"there are chatstore tables but no {VERSION_TABLE}, and the tables are not as this release expects "
            f"them (chatstore check says where): correct them, restore {VERSION_TABLE} from a backup, or move "
            "the tables away"
        )
    for view in inspector.get_view_names(schema=schema):
        if view.startswith("chatstore_"):
            connection.execute(verbatim(f"DROP VIEW {qualify(connection.dialect, view, schema)}"))


def prepare(connection: Connection, schema: str | None) -> None:
    """Make room for the migrations: the schema on PostgreSQL, no leftovers of a batch on SQLite."""
    ours = dialect_for(connection.dialect.name)
    if ours.creates_schema and schema and not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    if ours.copies_tables:
        for name in inspect(connection).get_table_names(schema=schema):
            if name.startswith("_alembic_tmp_chatstore_"):
                Operations(MigrationContext.configure(connection)).drop_table(name, schema=schema)


def know(dialect: Dialect) -> None:
    """Let Alembic treat a dialect that it has never heard of as it treats standard SQL."""
    try:
        DefaultImpl.get_by_dialect(dialect)
    except KeyError:
        type("PlainImpl", (DefaultImpl,), {"__dialect__": dialect.name})


def write_for(dialect: Dialect) -> None:
    """Make a dialect that no server has told anything fit for writing SQL down."""
    if dialect.default_schema_name is None:
        dialect.default_schema_name = dialect_for(dialect.name).default_schema


def write_schema(context: MigrationContext, start: str | None) -> None:
    """Write the creation of the schema on PostgreSQL, into a script that starts from nothing."""
    schema = context.version_table_schema
    if dialect_for(context.dialect.name).creates_schema and schema and start in {None, "", "base"}:
        context.execute(CreateSchema(schema, if_not_exists=True))


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Turn the errors of drivers, of Alembic and of the file system into ours."""
    try:
        with translate_errors():
            yield
    except CommandError as error:
        if isinstance(error.__cause__, RevisionError):
            raise SchemaError(
                f"{error}: name a revision from chatstore_0001 to {HEAD}, head or base"
            ) from error
        said = str(error).rstrip(".")
        raise SchemaError(f"Alembic refuses ({said}): correct what it says, then run this again") from error


@contextlib.contextmanager
def operations(context: MigrationContext) -> Iterator[None]:
    """Give revisions their ``op``, and a host's revision that called us its own back."""
    hosts = getattr(alembic.op, "_proxy", None)
    try:
        with Operations.context(context):
            yield
    finally:
        if hosts is not None:
            hosts._install_proxy()
