"""``index create``, ``refresh`` and ``drop``: the full-text index, which searches use and fill.

This module knows when to make it, fill it and take it away; it refuses to know of what it is made.
"""

from __future__ import annotations

import click

from chatstore.cli.options import examples, json_option
from chatstore.cli.output import as_json, progress, say
from chatstore.cli.target import Target, on_target
from chatstore.errors import NotSupported


@click.group()
def index() -> None:
    """Create, fill or drop the full-text index.

    With it, searches are fast; without it, they read every message. Appends do not write to it: a search adds what is
    new where it searches, and `refresh` everything.
    """


@index.command(epilog=examples("chatstore index create"))
@json_option
@on_target(chosen=True, sql=True)
def create(target: Target, *, json_: bool) -> None:
    """Create the index, empty; nothing waits for it.

    Searches fill it with what they are about; `chatstore index refresh` does it at once, for everything.
    """
    from chatstore.backends.sql.search_objects import create_search_index, search_index_exists

    _ready(target)
    with progress("creating the search index"), target.connection(write=True) as connection:
        before = search_index_exists(connection, target.schema)
        if not create_search_index(connection, target.schema):
            msg = f"{connection.dialect.name} has no full-text index here: search works without, by scanning"
            raise NotSupported(msg)
    _report(target, before=before, after=True, json_=json_)


@index.command(epilog=examples("chatstore index refresh", "chatstore index refresh --all"))
@click.option(
    "--all", "all_", is_flag=True, help="Index everything again, as after other programs changed texts."
)
@json_option
@on_target(chosen=True, sql=True)
def refresh(target: Target, *, all_: bool, json_: bool) -> None:
    """Index what is new, so that no search has to: for cron.

    On SQLite it also merges what was indexed bit by bit. Appends go on meanwhile. Several of these may run at once, and
    each may be interrupted; if --all was, just after its beginning, run chatstore index create.
    """
    from chatstore.backends.sql import search_objects

    _ready(target)
    with target.connection() as connection:
        if not search_objects.search_index_exists(connection, target.schema):
            msg = "there is no full-text index here: run chatstore index create first"
            raise NotSupported(msg)
    if all_:
        search_objects.renew_search_index(lambda: target.connection(write=True), target.schema)
    with target.connection() as connection:
        before = search_objects.unindexed(connection, target.schema)
    with progress("indexing sessions", before[0]) as step:
        search_objects.refresh_search_index(lambda: target.connection(write=True), target.schema, step)
    with target.connection() as connection:
        after = search_objects.unindexed(connection, target.schema)
    if json_:
        as_json({"url": target.shown, "unindexed_before": before[0], "unindexed_after": after[0]})
        return
    say(f"database   {target.shown}")
    say(f"sessions   {before[0]} with messages that were not indexed, now {after[0]}")


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
