"""``index create`` and ``index drop``: the full-text index, which search uses and every append pays for.

This module knows when to make and take it away; it refuses to know of what it is made.
"""

from __future__ import annotations

import click

from chatstore.cli.options import examples, json_option
from chatstore.cli.output import as_json, progress, say
from chatstore.cli.target import Target, on_target
from chatstore.errors import NotSupported


@click.group()
def index() -> None:
    """Create or drop the full-text index.

    With it, searches are fast. Without it, they read every message, and appends are a little cheaper.
    """


@index.command(epilog=examples("chatstore index create"))
@json_option
@on_target(chosen=True, sql=True)
def create(target: Target, *, json_: bool) -> None:
    """Create the index over all stored messages.

    On PostgreSQL and MySQL, appends wait until it is there.
    """
    from chatstore.backends.sql.search_objects import create_search_index, search_index_exists

    _ready(target)
    with progress("creating the search index"), target.connection(write=True) as connection:
        before = search_index_exists(connection, target.schema)
        if not create_search_index(connection, target.schema):
            msg = f"{connection.dialect.name} has no full-text index here: search works without, by scanning"
            raise NotSupported(msg)
    _report(target, before=before, after=True, json_=json_)


@index.command(epilog=examples("chatstore index drop"))
@json_option
@on_target(chosen=True, sql=True)
def drop(target: Target, *, json_: bool) -> None:
    """Drop the index; nothing that is stored is lost.

    Until it is created again, searches read every message.
    """
    from chatstore.backends.sql.search_objects import drop_search_index, search_index_exists

    _ready(target)
    with progress("dropping the search index"), target.connection(write=True) as connection:
        before = search_index_exists(connection, target.schema)
        drop_search_index(connection, target.schema)
    _report(target, before=before, after=False, json_=json_)


COMMANDS = (index,)


def _ready(target: Target) -> None:
    """Raise the `SchemaError` of a database that has no tables for an index."""
    from chatstore.backends.sql.schema_check import schema_state

    target.must_exist()
    with target.connection() as connection:
        schema_state(connection, target.schema)


def _report(target: Target, *, before: bool, after: bool, json_: bool) -> None:
    words = {True: "there", False: "none"}
    if json_:
        as_json({"url": target.shown, "index_before": before, "index_after": after})
        return
    say(f"database   {target.shown}")
    change = f"{words[after]} (nothing to do)" if before == after else f"{words[before]} -> {words[after]}"
    say(f"index      {change}")
    if not after:
        say("search     scans; chatstore index create brings the index back")
