"""``upgrade``, ``downgrade``, ``current``, ``check`` and ``alembic-ini``: the tables and their revisions.

This module knows what to say before and after a migration; how one runs is the backend's own
(`chatstore.provisioning.Provisioner`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chatstore.cli.options import examples, json_option
from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.target import Refused, Target, agree, on_target

if TYPE_CHECKING:
    from chatstore.provisioning import Moved, Provisioner


_wait = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=60,
    show_default=True,
    help="Give up when others have held this up for so long.",
)


@click.command(
    epilog=examples("chatstore upgrade", "chatstore upgrade --sql --url postgresql://app@localhost/app")
)
@click.argument("revision", default="head")
@click.option("--sql", "offline", is_flag=True, help="Print the SQL script instead, without connecting.")
@_wait
@json_option
@on_target(chosen=True, tables=True)
def upgrade(target: Target, revision: str, *, offline: bool, wait: float, json_: bool) -> None:
    """Create the tables, or migrate them to REVISION.

    REVISION is head unless another one is named. Several processes may do this at once. While another migration runs,
    or an application's transaction holds a lock on the tables, this says for whom it waits; it holds no statement of
    the application up for longer than a second meanwhile. With --sql, REVISION may be a range such as
    chatstore_0001:head.
    """
    with target.provisioner() as tables:
        if offline:
            _print_script(tables, revision, json_=json_)
            return
        _refuse_unknown(tables, revision, "head", tables.head)
        target.must_be_possible()
        with progress(f"upgrading {target.shown}"):
            moved = tables.upgrade(revision, wait=wait)
    report(target, moved, json_=json_)


@click.command(epilog=examples("chatstore downgrade chatstore_0002", "chatstore downgrade base"))
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_wait
@json_option
@on_target(chosen=True, tables=True)
def downgrade(target: Target, revision: str, *, yes: bool, wait: float, json_: bool) -> None:
    """Migrate the tables back to REVISION, after asking.

    "base" drops the tables, with every conversation in them.
    """
    target.must_exist()
    with target.provisioner() as tables:
        _refuse_unknown(tables, revision, "base")
        before = tables.current()
        tables.refuse_unreachable(revision, before)
        note(f"database   {target.shown}")
        note(f"revision   {before or 'none'} -> {revision}")
        if before not in (None, revision):
            held = tables.held()
            note(f"holds      {counted(held.sessions, 'session')}, {counted(held.messages, 'message')}")
            lost = (
                "All of it will be lost."
                if revision == "base"
                else "What later revisions brought will be lost."
            )
            agree(f"{lost} Downgrade?", yes=yes)
        with progress(f"downgrading {target.shown}"):
            moved = tables.downgrade(revision, wait=wait)
    report(target, moved, json_=json_)


@click.command(epilog=examples("chatstore current", "chatstore current --json"))
@json_option
@on_target(tables=True)
def current(target: Target, *, json_: bool) -> None:
    """Show which revision the tables are at."""
    target.must_exist()
    with target.provisioner() as tables:
        found, head = tables.current(), tables.head
    if json_:
        as_json({"url": target.shown, "revision": found, "head": head, "at_head": found == head})
        return
    say(f"database   {target.shown}")
    say(f"revision   {found or 'none'}{standing(found, head)}")


@click.command(epilog=examples("chatstore check", "chatstore check --json"))
@json_option
@on_target(tables=True)
def check(target: Target, *, json_: bool) -> None:
    """Compare the tables with what this release expects.

    The exit code is 1 if they differ. Other tables, views and the search index are not looked at.
    """
    target.must_exist()
    with target.provisioner() as tables:
        found, head = tables.check(), tables.head
    if json_:
        about = {"url": target.shown, "revision": found.revision, "head": head}
        as_json({**about, "differences": found.differences, "ok": found.fault is None})
    else:
        say(f"database   {target.shown}")
        say(f"revision   {found.revision or 'none'}{standing(found.revision, head)}")
        for difference in found.differences:
            say(f"differs    {difference}")
        if found.fault is None:
            say("tables     as this release expects them")
    if found.fault is not None:
        raise found.fault


@click.command("alembic-ini", epilog=examples("chatstore alembic-ini > alembic.ini"))
def alembic_ini() -> None:
    """Print an alembic.ini for Alembic's own commands.

    It needs no storage. Alembic finds the database by CHATSTORE_URL.
    """
    from chatstore.backends.sql import migrations

    click.echo(migrations.alembic_ini(), nl=False)


COMMANDS = (upgrade, downgrade, current, check, alembic_ini)


def _print_script(tables: Provisioner, revision: str, *, json_: bool) -> None:
    script = tables.script(revision)
    if script is None:
        msg = "--sql prints SQL, and this service has none: run the command without it"
        raise Refused(msg)
    if json_:
        msg = "--sql prints SQL, which --json cannot be: leave one of them out"
        raise Refused(msg)
    click.echo(script, nl=False)


def _refuse_unknown(tables: Provisioner, revision: str, *names: str) -> None:
    """Raise `Refused` where there is one revision only, and *names* are all that it can be called here."""
    if tables.single and revision not in names:
        msg = f"this service has no revision {revision!r}: say {names[0]}"
        raise Refused(msg)


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
