"""``sessions``, ``show`` and ``search``: what is stored, for people, and as JSON for programs.

This module knows what these commands ask for and print; `chatstore.cli.transcript` knows how a message looks.
Nothing here changes or creates anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from chatstore.cli.options import LIMIT, TIMES, WHEN, examples, json_option, owner_options
from chatstore.cli.output import as_json, note, say, values
from chatstore.cli.target import Target, on_target
from chatstore.cli.tolerant_reading import read_whole_records, refuse_damage
from chatstore.errors import ChatstoreError
from chatstore.records import SESSION_FIELDS

if TYPE_CHECKING:
    from datetime import datetime

    from chatstore.messages import MessageRecord, SearchHit

#: The keys of a session in JSON.
SESSION: Final = SESSION_FIELDS
#: The keys of a search hit in JSON.
HIT: Final = (
    "session_id",
    "position",
    "message_id",
    "type",
    "content",
    "snippet",
    "highlights",
    "rank",
    "created_at",
    "title",
    "tenant_id",
    "user_id",
)


@click.command(
    epilog=examples(
        "chatstore sessions --user ada",
        "chatstore sessions --since 7d --limit 20",
        "chatstore sessions --all --json --url postgresql://app@localhost/app",
    )
)
@owner_options("Only sessions of this {}.")
@click.option("--archived", is_flag=True, help="Only archived sessions.")
@click.option("--all", "all_", is_flag=True, help="List archived sessions too, which are left out otherwise.")
@click.option("--since", type=WHEN, help=f"Only sessions changed since then, {TIMES}.")
@click.option("--limit", type=LIMIT, default=50, show_default=True, help="Sessions on a page.")
@click.option("--cursor", metavar="TEXT", help="Continue after an earlier page, which prints this cursor.")
@click.option(
    "--full", is_flag=True, help="Print whole ids, titles and times, however narrow the terminal is."
)
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
    full: bool,
    json_: bool,
) -> None:
    """List sessions, the last changed first, a page at a time.

    The list fits the terminal: long titles are cut at the end, long ids are shortened in the middle. In a pipe or a
    file, all are whole.
    """
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
    from chatstore.cli import session_list

    known = [name for name, value in (("user", user), ("tenant", tenant)) if value is not None]
    session_list.show(page.items, full=full, known=known)
    if page.next_cursor:
        note(f"more: repeat the command with --cursor {page.next_cursor}")


@click.command(
    epilog=examples(
        "chatstore show ada-brakes",
        "chatstore show ada-brakes --last 10 --full",
        "chatstore show ada-brakes --json",
    )
)
@click.argument("session")
@click.option(
    "--last", type=click.IntRange(0), metavar="N", help="Only the newest N messages  [default: all]"
)
@click.option(
    "--full",
    is_flag=True,
    help="Show tool calls and results whole; ids, models, finish reasons, tokens and metadata too.",
)
@json_option
@on_target()
def show(target: Target, session: str, *, last: int | None, full: bool, json_: bool) -> None:
    """Show the messages of SESSION, oldest first.

    A tool call and its result take a line each; a tool that failed is marked (failed).
    """
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


@click.command(
    epilog=examples(
        "chatstore search oil chain",
        "chatstore search refund --user ada --since 30d",
        "chatstore search timeout --type tool --limit 5 --json",
        "chatstore search --newest -- 'brake pad*' -front",
    )
)
@click.argument("words", nargs=-1, required=True)
@click.option("--session", metavar="ID", help="Only in this session.")
@owner_options("Only in sessions of this {}.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Only messages of this type (human, ai, system, tool); may be repeated.",
)
@click.option("--since", type=WHEN, help=f"Only messages since then, {TIMES}.")
@click.option("--until", type=WHEN, help="Only messages before then.")
@click.option("--limit", type=LIMIT, default=20, show_default=True, help="The most hits to print.")
@click.option(
    "--newest", is_flag=True, help="The newest first, instead of those that say the words most often."
)
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
    newest: bool,
    json_: bool,
) -> None:
    """Find the messages that say all WORDS, best first.

    Case and accents do not matter. Also: '"an exact phrase"', -without and begin*; put -- before what begins with a
    dash, and quotes around what the shell would change.
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
            order="newest" if newest else "best",
        )
    if json_:
        as_json({"query": query, "hits": [values(hit, HIT) for hit in hits]})
    else:
        _show_hits(hits)
    if _scans(target):
        note("this search read every message: chatstore index create makes it fast")


COMMANDS = (sessions, show, search)


def _element(record: MessageRecord) -> dict[str, Any]:
    from chatstore import codec

    beside = {"position": record.position, "message_id": record.message_id, "created_at": record.created_at}
    return {**codec.to_wire(record.message), **beside}


def _show_hits(hits: list[SearchHit]) -> None:
    from chatstore.cli import transcript

    if not hits:
        say("no message says all that")
    for hit in hits:
        transcript.show_hit(hit)


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
