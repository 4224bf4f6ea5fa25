"""``delete``, ``purge`` and ``close-answers``: what goes is counted and shown before anybody is asked.

This module knows how to ask; it refuses to know how anything is deleted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from chatstore.cli.options import TIMES, WHEN, YES, examples, json_option, owner_options
from chatstore.cli.output import as_json, counted, line, moment, note, progress, say
from chatstore.cli.target import Target, agree, announce, on_target

if TYPE_CHECKING:
    from chatstore.messages import PurgeReport

#: Later than any session was changed: the condition that all sessions of an owner meet.
_ALWAYS: Final = datetime(9999, 1, 1, tzinfo=UTC)


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
        "chatstore purge --user ada --dry-run",
    )
)
@owner_options("Only sessions of this {}; without another condition, all of them.")
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
    user: str | None,
    tenant: str | None,
    updated_before: datetime | None,
    archived: bool,
    expired: bool,
    dry_run: bool,
    yes: bool,
    json_: bool,
) -> None:
    """Delete expired, old, archived or one user's sessions.

    Deletes the sessions that match every condition; without conditions, the expired ones. With an owner alone it
    deletes everything of theirs, named states included. Asks first. Interrupted, it has deleted a part: the same
    command again deletes the rest.
    """
    from chatstore.cli.state_copy import delete_states, list_states

    owned = user is not None or tenant is not None
    everything_of = owned and not (updated_before or archived or expired)
    if everything_of:
        updated_before = _ALWAYS
    with target.reading() as everything:
        repository = everything.scope(user_id=user, tenant_id=tenant) if owned else everything
        report = repository.purge(
            updated_before=updated_before, archived_only=archived, expired_only=expired or None, dry_run=True
        )
        states = sum(1 for _ in list_states(repository)) if everything_of else 0
        announce(target)
        note(f"to purge   {_size(report, states)}")
        if (report.sessions or states) and not dry_run:
            agree("All of this will be lost. Purge it?", yes=yes)
            with progress("purging"):
                report = repository.purge(
                    updated_before=updated_before, archived_only=archived, expired_only=expired or None
                )
                states = delete_states(repository) if everything_of else 0
    if json_:
        counts = {"sessions": report.sessions, "messages": report.messages, "states": states}
        as_json(counts | {"dry_run": dry_run})
    elif dry_run:
        say("nothing was deleted (--dry-run)")
    else:
        say(f"purged     {_size(report, states)}")


@click.command(
    "close-answers", epilog=examples("chatstore close-answers --dry-run", "chatstore close-answers --json")
)
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@json_option
@on_target(chosen=True)
def close_answers(target: Target, *, dry_run: bool, json_: bool) -> None:
    """Close streamed answers whose process died.

    Answers that nobody has written to for a minute read as incomplete; this stores them as that. Their text stays.
    """
    with target.reading() as repository:
        announce(target)
        number = repository.close_answers(dry_run=dry_run)
    if json_:
        as_json({"answers": number, "dry_run": dry_run})
    elif dry_run:
        say(f"to close   {counted(number, 'answer')}; nothing was changed (--dry-run)")
    else:
        say(f"closed     {counted(number, 'answer')}")


COMMANDS = (delete, purge, close_answers)


def _size(report: PurgeReport, states: int) -> str:
    size = f"{counted(report.sessions, 'session')}, {counted(report.messages, 'message')}"
    return f"{size}, {counted(states, 'named state')}" if states else size
