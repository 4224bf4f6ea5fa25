"""``sessions``, ``show`` and ``search``: what is stored, for people, and as JSON for programs.

This module knows what these commands ask for and print; `chatstore.cli.transcript` knows how a message looks.
Nothing here changes or creates anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from chatstore.cli.options import LIMIT, TIMES, WHEN, json_option, owner_options
from chatstore.cli.output import as_json, moment, note, say, table, values
from chatstore.cli.target import Target, on_target
from chatstore.cli.tolerant_reading import read_whole_records, refuse_damage
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    from datetime import datetime

    from chatstore.messages import ChatSession, MessageRecord, SearchHit

#: The keys of a session in JSON.
SESSION: Final = (
    "session_id",
    "tenant_id",
    "user_id",
    "title",
    "metadata",
    "message_count",
    "last_position",
    "revision",
    "forked_from",
    "forked_at",
    "created_at",
    "updated_at",
    "archived_at",
    "expires_at",
)
#: The keys of a search hit in JSON.
HIT: Final = ("session_id", "position", "message_id", "type", "content", "snippet", "rank", "created_at")


@click.command()
@owner_options("Only sessions of this {}.")
@click.option("--archived", is_flag=True, help="Only archived sessions.")
@click.option("--all", "all_", is_flag=True, help="Archived sessions too.")
@click.option("--since", type=WHEN, help=f"Only sessions touched since {TIMES}.")
@click.option("--limit", type=LIMIT, default=50, show_default=True, help="Sessions on a page.")
@click.option("--cursor", metavar="TEXT", help="Go on where the page before ended; it says this cursor.")
@json_option
@on_target()
def sessions(
    target: Target,
    *,
    user: str | None,
    tenant: str | None,
    archived: bool,
    all_: bool,
    since: datetime | None,
    limit: int,
    cursor: str | None,
    json_: bool,
) -> None:
    """List sessions, newest first, a page at a time."""
    kind = None if all_ else archived
    with target.reading() as repository:
        page = repository.list_sessions(
            user_id=user, tenant_id=tenant, archived=kind, updated_since=since, limit=limit, cursor=cursor
        )
    if json_:
        as_json({"sessions": [values(one, SESSION) for one in page.items], "next_cursor": page.next_cursor})
        return
    if not page.items:
        say("no sessions")
        return
    _session_table(page.items)
    if page.next_cursor:
        note(f"more: repeat the command with --cursor {page.next_cursor}")


@click.command()
@click.argument("session")
@click.option("--last", type=click.IntRange(0), metavar="N", help="Only the newest N messages.")
@click.option("--full", is_flag=True, help="Unfold tool calls and their results.")
@json_option
@on_target()
def show(target: Target, session: str, *, last: int | None, full: bool, json_: bool) -> None:
    """Show the messages of SESSION, oldest first."""
    from chatstore.cli import transcript

    damaged: list[str] = []
    with target.reading() as repository:
        found = repository.get_session(session)
        records = read_whole_records(repository, session, damaged, last=last)
        if json_:
            as_json({"session": values(found, SESSION), "messages": [_element(record) for record in records]})
        else:
            transcript.show(found, records, full=full)
    refuse_damage(damaged)


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--session", metavar="ID", help="Only in this session.")
@owner_options("Only in sessions of this {}.")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only messages of this type: human, ai, …"
)
@click.option("--since", type=WHEN, help=f"Only messages since {TIMES}.")
@click.option("--until", type=WHEN, help="Only messages before then.")
@click.option("--limit", type=LIMIT, default=20, show_default=True, help="Hits at most.")
@json_option
@on_target()
def search(
    target: Target,
    words: tuple[str, ...],
    *,
    session: str | None,
    user: str | None,
    tenant: str | None,
    types: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
    json_: bool,
) -> None:
    """Find the messages that hold all WORDS, best first.

    Words are runs of letters and digits; case does not matter, and there is no query syntax.
    """
    query = " ".join(words)
    with target.reading() as repository:
        hits = repository.search(
            query,
            session_id=session,
            user_id=user,
            tenant_id=tenant,
            types=types or None,
            since=since,
            until=until,
            limit=limit,
        )
    if json_:
        as_json({"query": query, "hits": [values(hit, HIT) for hit in hits]})
    else:
        _show_hits(hits, query)
    if _scans(target):
        note("this search read every message: chatstore index create makes it fast")


COMMANDS = (sessions, show, search)


def _session_table(found: list[ChatSession]) -> None:
    columns: dict[str, list[Any]] = {
        "session": [one.session_id for one in found],
        "title": [one.title for one in found],
        "user": [one.user_id for one in found],
        "tenant": [one.tenant_id for one in found],
        "messages": [one.message_count for one in found],
        "updated (UTC)": [moment(one.updated_at) for one in found],
        "archived (UTC)": [moment(one.archived_at) for one in found],
    }
    # A column that would be empty is left out.
    shown = {name: cells for name, cells in columns.items() if name == "session" or any(map(_is_told, cells))}
    table(shown, zip(*shown.values(), strict=True), shorten="title")


def _is_told(cell: Any) -> bool:
    return cell not in (None, "")


def _element(record: MessageRecord) -> dict[str, Any]:
    from chatstore import codec

    beside = {"position": record.position, "message_id": record.message_id, "created_at": record.created_at}
    return {**codec.to_wire(record.message), **beside}


def _show_hits(hits: list[SearchHit], query: str) -> None:
    from chatstore.cli import transcript

    if not hits:
        say("no message holds all these words")
    for hit in hits:
        transcript.show_hit(hit, query)


def _scans(target: Target) -> bool:
    """Tell whether this database has no search index but could have one."""
    if not target.is_sql:
        return False
    from chatstore.backends.sql.search_objects import can_index, search_index_exists

    try:
        with target.connection() as connection:
            return can_index(connection) and not search_index_exists(connection, target.schema)
    except ChatstoreError:
        return False
