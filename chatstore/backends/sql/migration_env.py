"""What ``alembic/env.py`` does: find the URL and the schema, and run Alembic's command on them.

Knows the command line (``-x url=``, ``-x schema=``), the environment (``CHATSTORE_URL``,
``CHATSTORE_SCHEMA``) and the ini file, in this order. Refuses to know which command it is, but for one thing:
one that only reads creates nothing.
"""

from __future__ import annotations

import configparser
import logging.config
import os
import sys
from typing import TYPE_CHECKING

from alembic import context
from alembic.util import CommandError

from chatstore.backends.sql.migration_runner import (
    adopt_strangers,
    prepare,
    readable,
    refuse_unknown,
    work_alone,
    write_for,
    write_schema,
)
from chatstore.backends.sql.migrations import options
from chatstore.backends.sql.url import parse_url, shown
from chatstore.backends.sql.visits import connected, dialect_of
from chatstore.errors import ChatstoreError, Invalid

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL


def run() -> None:
    """Run the command; every error of ours becomes Alembic's one line."""
    if context.config.config_file_name and context.config.cmd_opts:
        logging.config.fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    try:
        _say_where()
        if context.is_offline_mode():
            _offline(_url(), _schema())
        else:
            _online(_schema())
    except ChatstoreError as error:
        raise CommandError(str(error)) from error


def _say_where() -> None:
    """Name the database in one line on the error stream, for a person who typed the command; no password.

    A URL that the ini file has by default is easily taken for another. Standard output may be a script.
    """
    if context.config.cmd_opts and not getattr(context.config.cmd_opts, "quiet", False):
        shared: Connection | None = context.config.attributes.get("connection")
        schema = f" (schema {_schema()})" if _schema() else ""
        sys.stderr.write(f"database   {shown(_url() if shared is None else shared.engine.url)}{schema}\n")


def _offline(url: URL, schema: str | None) -> None:
    dialect = dialect_of(url)()
    context.configure(
        url=url, dialect_opts={"paramstyle": "named"}, literal_binds=True, **options(dialect, schema)
    )
    write_for(context.get_context().dialect)
    with context.begin_transaction():
        if _upgrades():
            write_schema(context.get_context(), context.get_context()._start_from_rev)
        context.run_migrations()


def _online(schema: str | None) -> None:
    shared: Connection | None = context.config.attributes.get("connection")
    writes = _writes()
    with readable(), connected(_url() if shared is None else shared, create=writes) as connection:

        def work() -> None:
            _run(connection, schema, writes=writes)

        if writes:
            work_alone(connection, schema, _wait(), work)
        else:
            work()


def _run(connection: Connection, schema: str | None, *, writes: bool) -> None:
    context.configure(connection=connection, dont_mutate=not writes, **options(connection.dialect, schema))
    if writes:
        refuse_unknown(context.script, context.get_context())
        if _upgrades():
            adopt_strangers(connection, schema)
        prepare(connection, schema)
    with context.begin_transaction():
        context.run_migrations()


def _writes() -> bool:
    """Tell whether the command goes somewhere: upgrade, downgrade and stamp do, current and check do not."""
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


def _upgrades() -> bool:
    """Tell an upgrade from a stamp, with which people say what tables of unknown origin are."""
    return getattr(context.get_context()._migrations_fn, "__name__", "") == "upgrade"


def _wait() -> float | None:
    """Return for how many seconds to wait for others: ``-x wait=``, None for the usual time."""
    told = _argument("wait")
    try:
        return None if told is None else float(told)
    except ValueError:
        raise Invalid("wait is no number of seconds: pass -x wait=60 before the command") from None


def _schema() -> str | None:
    return _argument("schema") or os.environ.get("CHATSTORE_SCHEMA") or None


def _url() -> URL:
    url = _argument("url") or os.environ.get("CHATSTORE_URL") or _ini_url()
    if not url:
        raise Invalid(
            "no database is named: set CHATSTORE_URL, or pass -x url=sqlite:///chat.db before the command, "
            "or write sqlalchemy.url into the ini file"
        )
    return parse_url(url)


def _argument(name: str) -> str | None:
    return context.get_x_argument(as_dictionary=True).get(name)


def _ini_url() -> str | None:
    config = context.config
    try:
        return config.get_main_option("sqlalchemy.url")
    except configparser.InterpolationError:  # a password with a single % in it
        return config.file_config.get(config.config_ini_section, "sqlalchemy.url", raw=True)
