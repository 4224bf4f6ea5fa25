"""``demo``: the main job, from an empty database to what another process reads in it.

This module knows the order of the steps and what to say between them; the conversations are
`chatstore.cli.samples`, and what the second process shows is `chatstore.cli.demo_reader`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from chatstore.cli.app import TORN
from chatstore.cli.options import examples
from chatstore.cli.output import counted, note, say
from chatstore.cli.schema import way
from chatstore.cli.target import Refused, Target, agree, refuse_empty
from chatstore.connect import ENVIRONMENT, SCHEMA_ENVIRONMENT, connect
from chatstore.errors import ChatstoreError
from chatstore.extras import EXTRAS, pip_install

READER: Final = "chatstore.cli.demo_reader"


@click.command(
    epilog=examples(
        "chatstore demo",
        "chatstore demo --keep demo.db",
        "chatstore demo --url postgresql://app@localhost/app",
    )
)
@click.option(
    "--keep", metavar="FILE", help="Where to make the SQLite file  [default: a new temporary folder]"
)
@click.option(
    "--url", metavar="URL", help="An empty SQL database to use instead; the samples are deleted at the end."
)
@click.option(
    "--schema",
    metavar="NAME",
    help="With --url: the database schema of the tables  [default: the database's own]",
)
@click.option("--yes", is_flag=True, help="Do not ask before working on a database server.")
def demo(*, url: str | None, schema: str | None, keep: str | None, yes: bool) -> None:
    """Show what chatstore does, on sample conversations.

    Creates the tables, stores conversations, and reads them from a second process: a history, a list, a search,
    three SQL queries. This happens in a new SQLite file, which is kept; CHATSTORE_URL is not used.
    """
    refuse_empty(url)
    target = Target(url or _new_file(keep), schema, chosen=True)
    if url and keep:
        msg = "--keep makes a SQLite file and --url names a database: pass one of them"
        raise Refused(msg)
    if not target.is_sql or (target.sql.get_backend_name() == "sqlite" and target.path is None):
        msg = "the demo reads from a second process and with SQL: name a SQL database that is not in memory"
        raise Refused(msg)
    if url:
        _check_empty(target, yes=yes)
    _migrate(target)
    try:
        _store(target)
        _read(target)
    finally:
        if url:
            _clean_up(target)
    if url:
        _say_what_stays(target)
    else:
        _what_next(target)


COMMANDS = (demo,)


def _new_file(keep: str | None) -> str:
    """Return the URL of a SQLite file that is not there yet."""
    if keep is None:
        place = Path(tempfile.mkdtemp(prefix="chatstore-demo-")) / "demo.db"
    else:
        place = Path(keep).absolute()
        if place.exists():
            msg = (
                f"{place} exists already: name a new file, or run chatstore sessions --url sqlite:///{place}"
            )
            raise Refused(msg)
    return f"sqlite:///{place}"


def _check_empty(target: Target, *, yes: bool) -> None:
    """Raise `Refused` for a database that holds sessions, and where nobody agrees to the use of a server."""
    if target.path is not None and not target.path.exists():
        return
    with target.provisioner() as tables:
        held = tables.held().sessions
    if held:
        msg = (
            f"{target.shown} holds {counted(held, 'session')}, and the demo works in an empty database only: "
            "name another, or leave --url out"
        )
        raise Refused(msg)
    if target.path is None:
        note(f"target     {target.shown}")
        agree("Make tables here, store 5 sessions, and delete these at the end?", yes=yes)


def _clean_up(target: Target) -> None:
    """Delete the samples."""
    from chatstore.cli.samples import samples

    with connect(target.url, schema=target.schema) as repository:
        for sample in samples():
            repository.delete_session(sample.session_id)


def _migrate(target: Target) -> None:
    from chatstore.backends.sql.migrations import upgrade

    moved = upgrade(target.sql, schema=target.schema)
    _heading("1", "Migrate")
    say(f"   database   {target.shown}")
    say(f"   revision   {way(moved)}")


def _store(target: Target) -> None:
    from chatstore.cli.samples import samples, store

    began = datetime.now(UTC)
    with connect(target.url, schema=target.schema) as repository:
        stored = store(repository)
    _date(target, began)
    users = " and ".join(sorted({sample.user_id for sample in samples()}))
    _heading("2", "Store")
    say(f"   stored     {stored} messages in {len(samples())} sessions of {users}")
    say(f"   by         process {os.getpid()}")


def _date(target: Target, began: datetime) -> None:
    """Let the sessions made since *began* be touched when their samples were: a list tells them apart by that."""
    from sqlalchemy import update

    from chatstore.arguments import microseconds
    from chatstore.backends.sql.models import sessions
    from chatstore.cli.samples import records, samples

    with target.connection(write=True) as connection:
        placed = connection.execution_options(schema_translate_map={None: target.schema})
        for sample in samples():
            *_, last = records(sample)
            # a revision begins as the time when its session was made
            new = (sessions.c.session_id == sample.session_id) & (sessions.c.revision >= microseconds(began))
            placed.execute(update(sessions).where(new).values(updated_at=last.created_at))


def _read(target: Target) -> None:
    """Run the second process, with this one's output where that is a real file."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, ENVIRONMENT: target.url, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop(SCHEMA_ENVIRONMENT, None)
    if target.schema:
        environment[SCHEMA_ENVIRONMENT] = target.schema
    sys.stdout.flush()
    ours = sys.stdout is sys.__stdout__
    command = [sys.executable, "-m", READER]
    done = subprocess.run(  # noqa: S603 - our own module, which Ctrl-C reaches by this process
        command, env=environment, capture_output=not ours, check=False, process_group=0
    )
    if not ours:
        click.echo(done.stdout, nl=False)
        click.echo(done.stderr, nl=False, err=True)
    if done.returncode == TORN:
        raise BrokenPipeError
    if done.returncode:
        msg = "the second process could not read what was stored: run chatstore doctor on the database"
        raise ChatstoreError(msg)


def _what_next(target: Target) -> None:
    command = _command()
    _heading("6", "What to type next")
    for one in (
        f"export {ENVIRONMENT}={shlex.quote(target.shown)}",
        f"{command} sessions --user ada",
        f"{command} show ada-brakes --full",
        f"{command} append ada-chain 'And in winter?'",
        f"{command} doctor",
    ):
        say(f"   {one}")
    say("\n   The same on PostgreSQL:\n")
    say(f"   {pip_install(*EXTRAS['postgres'])}")
    say(f"   {command} demo --url postgresql://user:password@localhost/database")


def _say_what_stays(target: Target) -> None:
    command = _command()
    _heading("6", "What stays")
    say("   The samples are deleted. The tables stay; this takes them away:\n")
    say(f"   export {ENVIRONMENT}={shlex.quote(target.shown)}")
    say(f"   {command} downgrade base")
    say("\n   To look at the samples there, make a file of them and copy it:\n")
    say(f"   {command} demo --keep demo.db")
    say(f'   {command} copy sqlite:///demo.db "${ENVIRONMENT}"')


def _command() -> str:
    """Return how this program is called where it was not found on the PATH."""
    called = Path(sys.argv[0])
    if called.name != "chatstore" or shutil.which("chatstore"):
        return "chatstore"
    return shlex.quote(sys.argv[0])


def _heading(number: str, text: str) -> None:
    click.echo()
    click.secho(f"{number}. {text}", bold=True)
