"""``delete`` and ``purge``: what goes is counted and shown before anybody is asked.

This module knows how to ask; it refuses to know how anything is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chatstore.cli.options import TIMES, WHEN, examples, json_option
from chatstore.cli.output import as_json, counted, line, moment, note, progress, say
from chatstore.cli.target import Target, agree, announce, on_target

if TYPE_CHECKING:
    from datetime import datetime

    from chatstore.messages import PurgeReport

YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command(epilog=examples("chatstore delete ada-chain", "chatstore delete ada-chain --yes --json"))
@click.argument("session")
@YES
@json_option
@on_target(chosen=True)
def delete(target: Target, session: str, *, yes: bool, json_: bool) -> None:
    """Delete SESSION and all its messages, after asking."""
    with target.reading() as repository:
        found = repository.get_session(session)
        announce(target)
        title = f" ({line(found.title)})" if found.title else ""
        note(f"session    {session}{title}, last touched {moment(found.updated_at)} UTC")
        note(f"holds      {counted(found.message_count, 'message')}")
        agree("This session and its messages will be lost. Delete it?", yes=yes)
        deleted = repository.delete_session(session)
    if json_:
        as_json(
            {"session_id": session, "deleted": deleted, "messages": found.message_count if deleted else 0}
        )
    else:
        say(f"deleted    {session}" if deleted else f"session {session} was gone already")


@click.command(
    epilog=examples(
        "chatstore purge --dry-run",
        "chatstore purge --updated-before 365d",
        "chatstore purge --archived --updated-before 2026-01-01 --yes",
    )
)
@click.option(
    "--updated-before", type=WHEN, metavar="WHEN", help=f"Only sessions not changed since then, {TIMES}."
)
@click.option("--archived", is_flag=True, help="Only archived sessions.")
@click.option(
    "--expired", is_flag=True, help="Only expired sessions; the default where no condition is given."
)
@click.option("--dry-run", is_flag=True, help="Count what would be deleted, and delete nothing.")
@YES
@json_option
@on_target(chosen=True)
def purge(
    target: Target,
    *,
    updated_before: datetime | None,
    archived: bool,
    expired: bool,
    dry_run: bool,
    yes: bool,
    json_: bool,
) -> None:
    """Delete expired, old or archived sessions, after asking.

    Deletes the sessions that match every condition; without conditions, the expired ones.
    """
    with target.reading() as repository:
        report = repository.purge(
            updated_before=updated_before, archived_only=archived, expired_only=expired or None, dry_run=True
        )
        announce(target)
        note(f"to purge   {_size(report)}")
        if report.sessions and not dry_run:
            agree("These sessions and their messages will be lost. Purge them?", yes=yes)
            with progress("purging"):
                report = repository.purge(
                    updated_before=updated_before, archived_only=archived, expired_only=expired or None
                )
    if json_:
        as_json({"sessions": report.sessions, "messages": report.messages, "dry_run": dry_run})
    elif dry_run:
        say("nothing was deleted (--dry-run)")
    else:
        say(f"purged     {_size(report)}")


COMMANDS = (delete, purge)


def _size(report: PurgeReport) -> str:
    return f"{counted(report.sessions, 'session')}, {counted(report.messages, 'message')}"
