"""Which storage a command works on: the options, the default, what is said about it, and how it is opened.

This module knows URLs and how to name one without its password; it refuses to know what is done there.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar

import click

from chatstore.cli.output import line, note
from chatstore.connect import ENVIRONMENT, SCHEMA_ENVIRONMENT, connect
from chatstore.errors import SchemaMissing, StorageError
from chatstore.schemes import backend_of, schemes_where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import URL, Connection

    from chatstore.backend import Backend
    from chatstore.provisioning import Provisioner
    from chatstore.repository import Repository

P = ParamSpec("P")
R = TypeVar("R")

#: Where conversations are read from and appended to when nobody says.
DEFAULT: Final = "sqlite:///chatstore.db"


class Refused(click.ClickException):
    """The command does nothing, and says what to type instead; exit code 2."""

    exit_code = 2


class Interrupted(Refused):
    """Ctrl-C came while the command was asking; exit code 130."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class Target:
    """A storage: its *url* and database *schema*; *chosen* tells whether somebody named it."""

    url: str
    schema: str | None
    chosen: bool

    @property
    def scheme(self) -> str:
        """The first part of the URL."""
        return self.url.partition(":")[0]

    @property
    def backend(self) -> Backend:
        """Who keeps what is there."""
        return backend_of(self.url)

    @property
    def is_sql(self) -> bool:
        """Tell whether this is a database that SQL reads."""
        return self.backend.is_sql

    @property
    def sql(self) -> URL:
        """The parsed URL of a database. Raises `Invalid`."""
        from chatstore.backends.sql.url import parse_url

        return parse_url(self.url)

    @property
    def shown(self) -> str:
        """The URL without passwords, in one line."""
        schema = f" (schema {self.schema})" if self.schema and self.is_sql else ""
        return line(self.backend.show(self.url) + schema)

    @property
    def path(self) -> Path | None:
        """The file or folder it lies in; None for servers and for memory."""
        return self.backend.path(self.url)

    # ---- opening

    @contextmanager
    def reading(self) -> Iterator[Repository]:
        """Lend the repository; where there is nothing yet, raise and create nothing."""
        self.must_exist()
        with self.writing() as repository:
            yield repository

    @contextmanager
    def writing(self, *, deadline: float | None = None) -> Iterator[Repository]:
        """Lend the repository, for calls of *deadline* seconds; a SQLite file that is missing is made."""
        if self.backend.in_process(self.url):
            note("a store in memory ends with this command")
        with connect(self.url, schema=self.schema, deadline=deadline) as repository:
            yield repository

    def must_exist(self) -> None:
        """Raise an error where a file or folder is missing, or a SQLite file holds nothing of ours."""
        self.must_be_possible()
        path = self.path
        if path is None or str(path).startswith("file:"):
            return
        if not path.exists():
            what = "upgrade or append" if self.backend.provisioner else "import or append"
            msg = f"there is nothing at {self.shown}: check the path, or create it with chatstore {what}"
            raise StorageError(msg)
        if self.is_sql and is_bare(path):
            msg = f"{self.shown} holds no chatstore tables: check the path, or run chatstore upgrade on it"
            raise SchemaMissing(msg)

    def must_be_possible(self) -> None:
        """Raise an error where a driver is missing, or a folder stands in the place of a SQLite file."""
        if not self.is_sql:
            return
        from chatstore.backends.sql.engine_factory import dialect_of

        dialect_of(self.sql)
        path = self.path
        if path is not None and path.is_dir():
            msg = f"{self.shown} is a folder, not a SQLite file: name a file inside it"
            raise StorageError(msg)

    @contextmanager
    def provisioner(self) -> Iterator[Provisioner]:
        """Lend what makes, compares and takes away the tables. Raises `Refused` where there are none."""
        if self.backend.provisioner is None:
            raise self.has_no_tables()
        lent = self.backend.provisioner(self.url, self.schema)
        try:
            yield lent
        finally:
            lent.close()

    def has_no_tables(self) -> Refused:
        """Make the error for a command that is about tables."""
        known = schemes_where(lambda backend: backend.is_sql)
        return Refused(f"{self.shown} has no tables to migrate: name a SQL database ({known})")

    @contextmanager
    def connection(self, *, write: bool = False) -> Iterator[Connection]:
        """Lend a connection to the database, in a transaction that is committed at the end."""
        from chatstore.backends.sql.engine_factory import migration_engine
        from chatstore.backends.sql.lending import WRITES
        from chatstore.backends.sql.visits import translate_errors

        engine = migration_engine(self.sql)
        try:
            with translate_errors(), engine.execution_options(**{WRITES: write}).begin() as connection:
                yield connection
        finally:
            engine.dispose()


def is_bare(path: Path) -> bool:
    """Tell whether a SQLite file holds no table of ours, as far as that can be seen without changing it."""
    import sqlite3

    try:
        link = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            found = link.execute(
                "SELECT count(*) FROM sqlite_master WHERE name IN ('chatstore_alembic_version', 'chatstore_sessions')"
            )
            return bool(found.fetchone() == (0,))
        finally:
            link.close()
    except sqlite3.Error:
        return False


# ---------------------------------------------------------------------------------------------- options


def on_target(
    *, chosen: bool = False, sql: bool = False, tables: bool = False
) -> Callable[[Callable[P, R]], Callable[..., R]]:
    """Give a command ``--url`` and ``--schema``, and the `Target` as its first argument.

    With *chosen* there is no default; with *sql* only databases will do, with *tables* services with tables too.
    """

    def decorate(command: Callable[P, R]) -> Callable[..., R]:
        default = ENVIRONMENT if chosen else f"{ENVIRONMENT}, else {DEFAULT}"
        own = "else the database's own"

        @click.option("--url", metavar="URL", help=f"Where the conversations are  [default: {default}]")
        @click.option(
            "--schema",
            metavar="NAME",
            help=f"Database schema of the tables  [default: {SCHEMA_ENVIRONMENT}, {own}]",
        )
        @wraps(command)
        def wrapped(*args: Any, url: str | None, schema: str | None, **options: Any) -> R:
            return command(target(url, schema, chosen=chosen, sql=sql, tables=tables), *args, **options)  # type: ignore[arg-type]

        return wrapped

    return decorate


def target(
    url: str | None, schema: str | None, *, chosen: bool, sql: bool = False, tables: bool = False
) -> Target:
    """Return the target that is named; raise `Refused` for what the command does not take."""
    refuse_empty(url)
    named = url or os.environ.get(ENVIRONMENT)
    if chosen and not named:
        msg = f"which storage? This command changes it and takes no default: pass --url, or set {ENVIRONMENT}"
        raise Refused(msg)
    found = Target(named or DEFAULT, schema or os.environ.get(SCHEMA_ENVIRONMENT) or None, bool(named))
    if (sql and not found.is_sql) or (tables and found.backend.provisioner is None):
        raise found.has_no_tables()
    if not named:
        note(f"using {DEFAULT} (pass --url or set {ENVIRONMENT} for another)")
    return found


def refuse_empty(url: str | None) -> None:
    """Raise `Refused` for ``--url ""``: an unset variable of a script must not mean another storage."""
    if url is not None and not url.strip():
        msg = f"--url is empty: name a storage, or leave it out to use {ENVIRONMENT}"
        raise Refused(msg)


# ---------------------------------------------------------------------------------------------- asking


def agree(question: str, *, yes: bool) -> None:
    """Return if *yes*, or if somebody at a terminal agrees; else raise `Refused`."""
    if yes:
        return
    if not sys.stdin.isatty():
        _refuse(f"{question} Nobody can be asked here, so nothing was done: add --yes if it is meant")
    try:
        agreed = click.confirm(line(question), err=True)
    except click.Abort:
        click.echo(err=True)  # the prompt's line ends here
        _refuse("interrupted before anything was done: run the same again", Interrupted)
    if not agreed:
        _refuse("nothing was done: add --yes to be asked no more")


def announce(target: Target) -> str | None:
    """Say on stderr what is about to be changed; return a database's revision."""
    note(f"target     {target.shown}")
    if not target.is_sql:
        return None
    from chatstore.backends.sql.visits import current

    found = current(target.sql, schema=target.schema)
    note(f"revision   {found or 'none'}")
    return found


def say_revision(target: Target, before: str | None) -> None:
    """Say after the work what became of the revision of a database, which was *before*."""
    if target.is_sql:
        from chatstore.backends.sql.models import HEAD

        note(f"revision   none -> {HEAD}" if before is None else f"revision   {before} (as before)")


def _refuse(message: str, kind: type[Refused] = Refused) -> NoReturn:
    raise kind(message)
