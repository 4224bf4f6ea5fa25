"""``upgrade``, ``downgrade``, ``current``, ``check`` and ``alembic-ini``: the tables and their revisions.

This module knows what to say before and after a migration; it refuses to know how one runs
(`chatstore.backends.sql.migrations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chatstore.cli.options import examples, json_option
from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.target import Refused, Target, agree, on_target
from chatstore.errors import SchemaError, SchemaMissing, SchemaOutdated

if TYPE_CHECKING:
    from chatstore.backends.provisioning import Moved


@click.command(
    epilog=examples("chatstore upgrade", "chatstore upgrade --sql --url postgresql://app@localhost/app")
)
@click.argument("revision", default="head")
@click.option("--sql", "offline", is_flag=True, help="Print the SQL script instead, without connecting.")
@json_option
@on_target(chosen=True, tables=True)
def upgrade(target: Target, revision: str, *, offline: bool, json_: bool) -> None:
    """Create the tables, or migrate them to REVISION.

    REVISION is head unless another one is named. Several processes may do this at once. With --sql, REVISION may be
    a range such as chatstore_0001:head.
    """
    if target.is_service:
        from chatstore.cli import services

        services.upgrade(target, revision, offline=offline, json_=json_)
        return
    from chatstore.backends.sql import migrations

    if offline:
        if json_:
            msg = "--sql prints SQL, which --json cannot be: leave one of them out"
            raise Refused(msg)
        click.echo(migrations.upgrade_sql(target.sql, revision, schema=target.schema), nl=False)
        return
    target.must_be_possible()
    with progress(f"upgrading {target.shown}"):
        moved = migrations.upgrade(target.sql, revision, schema=target.schema)
    report(target, moved, json_=json_)


@click.command(epilog=examples("chatstore downgrade chatstore_0002", "chatstore downgrade base"))
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@on_target(chosen=True, tables=True)
def downgrade(target: Target, revision: str, *, yes: bool, json_: bool) -> None:
    """Migrate the tables back to REVISION, after asking.

    "base" drops the tables, with every conversation in them.
    """
    if target.is_service:
        from chatstore.cli import services

        services.downgrade(target, revision, yes=yes, json_=json_)
        return
    from chatstore.backends.sql import migrations

    target.must_exist()
    before = migrations.current(target.sql, schema=target.schema)
    migrations.refuse_unreachable(revision, before)
    note(f"database   {target.shown}")
    note(f"revision   {before or 'none'} -> {revision}")
    if before not in (None, revision):
        sessions, messages = rows(target)
        note(f"holds      {counted(sessions, 'session')}, {counted(messages, 'message')}")
        lost = (
            "All of it will be lost." if revision == "base" else "What later revisions brought will be lost."
        )
        agree(f"{lost} Downgrade?", yes=yes)
    with progress(f"downgrading {target.shown}"):
        moved = migrations.downgrade(target.sql, revision, schema=target.schema)
    report(target, moved, json_=json_)


@click.command(epilog=examples("chatstore current", "chatstore current --json"))
@json_option
@on_target(tables=True)
def current(target: Target, *, json_: bool) -> None:
    """Show which revision the tables are at."""
    if target.is_service:
        from chatstore.cli import services

        services.current(target, json_=json_)
        return
    from chatstore.backends.sql import migrations

    target.must_exist()
    found = migrations.current(target.sql, schema=target.schema)
    if json_:
        about = {"url": target.shown, "revision": found, "head": migrations.HEAD}
        as_json({**about, "at_head": found == migrations.HEAD})
        return
    say(f"database   {target.shown}")
    say(f"revision   {found or 'none'}{standing(found, migrations.HEAD)}")


@click.command(epilog=examples("chatstore check", "chatstore check --json"))
@json_option
@on_target(tables=True)
def check(target: Target, *, json_: bool) -> None:
    """Compare the tables with what this release expects.

    The exit code is 1 if they differ. Other tables, views and the search index are not looked at.
    """
    if target.is_service:
        from chatstore.cli import services

        services.check(target, json_=json_)
        return
    from chatstore.backends.sql import migrations

    target.must_exist()
    found = migrations.current(target.sql, schema=target.schema)
    there = found is not None or has_tables(target)
    differences = tables_differ(target) if there else []
    sound = found is not None and found >= migrations.HEAD and not differences
    if json_:
        about = {"url": target.shown, "revision": found, "head": migrations.HEAD}
        as_json({**about, "differences": differences, "ok": sound})
    else:
        say(f"database   {target.shown}")
        say(f"revision   {found or 'none'}{standing(found, migrations.HEAD)}")
        for difference in differences:
            say(f"differs    {difference}")
        if sound:
            say("tables     as this release expects them")
    if not sound:
        _complain(found, migrations.HEAD, there=there)


@click.command("alembic-ini", epilog=examples("chatstore alembic-ini > alembic.ini"))
def alembic_ini() -> None:
    """Print an alembic.ini for Alembic's own commands.

    It needs no storage. Alembic finds the database by CHATSTORE_URL.
    """
    from chatstore.backends.sql import migrations

    click.echo(migrations.alembic_ini(), nl=False)


COMMANDS = (upgrade, downgrade, current, check, alembic_ini)


def has_tables(target: Target) -> bool:
    """Tell whether there is a table of sessions, whatever is known about it."""
    from sqlalchemy import inspect

    with target.connection() as connection:
        return inspect(connection).has_table("chatstore_sessions", schema=target.schema)


def tables_differ(target: Target) -> list[str]:
    """Say how the tables differ from what this release expects, a line each."""
    from chatstore.backends.sql import migrations

    return [_difference(one) for one in migrations.check(target.sql, schema=target.schema)]


def rows(target: Target) -> tuple[int, int]:
    """Count the sessions and messages of a database at any revision that has the tables."""
    from sqlalchemy import func, inspect, select, table

    with target.connection() as connection:
        inspector = inspect(connection)
        names = ("chatstore_sessions", "chatstore_messages")
        found = [
            connection.execute(
                select(func.count()).select_from(table(name, schema=target.schema))
            ).scalar_one()
            if inspector.has_table(name, schema=target.schema)
            else 0
            for name in names
        ]
    return found[0], found[1]


def report(target: Target, moved: Moved, *, json_: bool) -> None:
    """Say from where to where the tables were moved."""
    if json_:
        as_json({"url": target.shown, "before": moved.before, "after": moved.after})
        return
    say(f"database   {target.shown}")
    say(f"revision   {way(moved)}")


def way(moved: Moved) -> str:
    """Say from where to where the tables were moved."""
    if moved.before == moved.after:
        return f"{moved.after or 'none'} (nothing to do)"
    return f"{moved.before or 'none'} -> {moved.after or 'none'}"


def standing(found: str | None, head: str) -> str:
    """Say in brackets how a revision stands to the one that this release needs."""
    if found == head:
        return " (head)"
    if found is None:
        return f" (head is {head}: run chatstore upgrade)"
    if found < head:
        return f" (head is {head}: run chatstore upgrade)"
    return f" (this release knows {head}: upgrade chatstore)"


def _complain(found: str | None, head: str, *, there: bool) -> None:
    """Raise the error that ends a check of tables that are not in order, or not *there* at all."""
    if found is None and there:
        msg = (
            "nothing says at which revision these tables are: run chatstore upgrade on them, which goes on if "
            "they do not differ"
        )
        raise SchemaError(msg)
    if found is None:
        msg = "the database has no chatstore tables: run chatstore upgrade on it"
        raise SchemaMissing(msg)
    if found < head:
        msg = f"the database is at {found}, this release needs {head}: run chatstore upgrade on it"
        raise SchemaOutdated(msg)
    msg = "something else changed the tables: undo that; chatstore upgrade --sql shows how they should be"
    raise SchemaOutdated(msg)


def _difference(one: Any) -> str:
    """Say one of Alembic's differences in a line: what it would do, to what."""
    if isinstance(one, list):
        return "; ".join(_difference(part) for part in one)
    what, *about = one
    names = [getattr(part, "name", part) for part in about if isinstance(part, str) or hasattr(part, "name")]
    return f"{str(what).replace('_', ' ')}: {' '.join(str(name) for name in names)}"
