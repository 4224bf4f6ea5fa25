"""``edit`` and ``assign``: a session's title, archive, owner and expiry; the owners of many sessions.

This module knows what is asked for and in what order sessions are visited; it refuses to know how they are changed.
Neither command moves a session in its owner's list, nor makes it look used to ``purge``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from chatstore.arguments import Scope
from chatstore.cli.options import YES, examples, json_option, owner_options
from chatstore.cli.output import as_json, counted, line, moment, note, progress, say, values
from chatstore.cli.owners import read_owners
from chatstore.cli.reading import SESSION
from chatstore.cli.target import Refused, Target, agree, announce, on_target
from chatstore.errors import Conflict, SessionNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.messages import ChatSession
    from chatstore.repository import Repository

#: Sessions that are read at once.
PAGE = 1000


@click.command(
    epilog=examples(
        "chatstore edit ada-chain --title 'Squeaky chain'",
        "chatstore edit ada-chain --archive --no-expiry",
        "chatstore edit visit-4711 --user ada --tenant wheelhouse",
    )
)
@click.argument("session")
@click.option("--title", metavar="TEXT", help='The new title; "" takes it away.')
@click.option("--archive/--unarchive", "archived", default=None, help="Archive it, or take it back.")
@owner_options("The {} whose it is from now on.")
@click.option("--no-expiry", is_flag=True, help="Let it expire no more.")
@json_option
@on_target(chosen=True)
def edit(
    target: Target,
    session: str,
    *,
    title: str | None,
    archived: bool | None,
    user: str | None,
    tenant: str | None,
    no_expiry: bool,
    json_: bool,
) -> None:
    """Change title, archive, owner or expiry of SESSION.

    What is not named stays, and so does the session's place in lists.
    """
    changes: dict[str, Any] = {"archived": archived, "user_id": user, "tenant_id": tenant}
    changes = {name: value for name, value in changes.items() if value is not None}
    changes |= {} if title is None else {"title": title or None}
    changes |= {"expires_at": None} if no_expiry else {}
    if not changes:
        msg = "say what to change: --title, --archive, --unarchive, --user, --tenant or --no-expiry"
        raise Refused(msg)
    with target.reading() as repository:
        before = repository.get_session(session)
        announce(target)
        after = repository.update_session(session, **changes, touch=False)
    if json_:
        as_json(values(after, SESSION))
        return
    changed = [(name, *pair) for name, *pair in zip(_SHOWN, _told(before), _told(after), strict=True)]
    for name, old, new in changed:
        if old != new:
            say(f"{name:<11}{old} -> {new}")
    if before.revision == after.revision:
        say(f"session {session} is so already")


_SHOWN = ("title", "archived", "user", "tenant", "expires")


def _told(session: ChatSession) -> tuple[str, ...]:
    """Return what `_SHOWN` names, in words."""
    return (
        line(session.title or "none"),
        moment(session.archived_at) or "no",
        line(session.user_id or "none"),
        line(session.tenant_id or "none"),
        moment(session.expires_at) or "never",
    )


# ------------------------------------------------------------------------------------------------ owners in bulk


@dataclass(slots=True)
class Assignment:
    """Which sessions get which owner; *missing* collects those that *owners* names and that are not there."""

    repository: Repository
    #: What a session must have now.
    now: Scope
    unowned: bool
    #: Whose each becomes: by its id, or the same for all.
    owners: dict[str, Scope]
    to: Scope
    missing: set[str] = field(default_factory=set)

    def sessions(self) -> Iterator[ChatSession]:
        """Yield the sessions that have to change, each as it is now."""
        found = self._named() if self.owners else self._listed()
        return (one for one in found if self.changes(one))

    def changes(self, session: ChatSession) -> dict[str, Any]:
        """Return what has to change in *session*, if it is one of those that are meant."""
        taken = self.unowned and session.user_id is not None
        if taken or not self.now.sees(session.tenant_id, session.user_id):
            return {}
        owner = self.owners.get(session.session_id, self.to)
        wanted = {"user_id": owner.user_id, "tenant_id": owner.tenant_id}
        return {name: value for name, value in wanted.items() if value not in (None, getattr(session, name))}

    def assign(self, session: ChatSession) -> bool:
        """Give *session* its owner, and say whether that was needed; one that changes meanwhile is looked at anew."""
        with suppress(SessionNotFound):
            while changes := self.changes(session):
                try:
                    self.repository.update_session(
                        session.session_id, **changes, expected_revision=session.revision, touch=False
                    )
                except Conflict:
                    session = self.repository.get_session(session.session_id)
                else:
                    return True
        return False

    def _named(self) -> Iterator[ChatSession]:
        for session_id in self.owners:
            try:
                yield self.repository.get_session(session_id)
            except SessionNotFound:
                self.missing.add(session_id)

    def _listed(self) -> Iterator[ChatSession]:
        cursor = None
        while True:
            page = self.repository.list_sessions(
                user_id=self.now.user_id,
                tenant_id=self.now.tenant_id,
                archived=None,
                limit=PAGE,
                cursor=cursor,
            )
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return


@click.command(
    epilog=examples(
        "chatstore assign --owners owners.csv --dry-run",
        "chatstore assign --user ada@old.example --to-user ada",
        "chatstore assign --unowned --to-user ada --to-tenant wheelhouse --yes",
    )
)
@click.option(
    "--owners", metavar="FILE", help="CSV (session,user,tenant) or JSON: whose each session becomes."
)
@owner_options("Only sessions that have this {} now.")
@click.option("--unowned", is_flag=True, help="Only sessions without a user.")
@owner_options("The {} whose they become.", prefix="to-")
@click.option("--dry-run", is_flag=True, help="Count the sessions, and change nothing.")
@YES
@json_option
@on_target(chosen=True)
@click.pass_context
def assign(
    context: click.Context,
    target: Target,
    *,
    owners: str | None,
    user: str | None,
    tenant: str | None,
    unowned: bool,
    to_user: str | None,
    to_tenant: str | None,
    dry_run: bool,
    yes: bool,
    json_: bool,
) -> None:
    """Give many sessions an owner, after asking.

    Which sessions: those of --owners FILE, or all that match --user, --tenant and --unowned. What is not named stays.
    Interrupted, it has done a part: the same command again does the rest.
    """
    to = Scope(to_tenant, to_user)
    if (owners is None) == (to == Scope()):
        msg = "say whose the sessions become: either --to-user or --to-tenant or both, or --owners FILE"
        raise Refused(msg)
    if owners is None and not (unowned or user or tenant):
        msg = (
            "say which sessions: --user or --tenant for those of an owner, --unowned for those without a user"
        )
        raise Refused(msg)
    if unowned and user:
        msg = "no session has a user and none: leave out --user or --unowned"
        raise Refused(msg)
    named = read_owners(owners)
    if owners is not None and not named:
        msg = f"{owners} names no session: nothing was done"
        raise Refused(msg)
    with target.reading() as repository:
        work = Assignment(repository, Scope(tenant, user), unowned, named, to)
        found = anothers = 0
        with progress("counting") as step:
            for session in work.sessions():
                found += 1
                anothers += any(getattr(session, name) is not None for name in work.changes(session))
                step(1)
        announce(target)
        note(f"to assign  {counted(found, 'session')}{f', {anothers:,} from another owner' * bool(anothers)}")
        for session_id in sorted(work.missing):
            note(f"missing    {session_id}")
        done = 0 if dry_run or not found else _assign_all(work, found, yes=yes)
    if json_:
        number = found if dry_run else done
        as_json({"sessions": number, "missing": sorted(work.missing), "dry_run": dry_run})
    else:
        say("nothing was changed (--dry-run)" if dry_run else f"assigned   {counted(done, 'session')}")
    if work.missing:
        context.exit(1)


def _assign_all(work: Assignment, found: int, *, yes: bool) -> int:
    """Ask, then give the sessions their owner, until none is left; return how many there were.

    A session that is used meanwhile moves to the front of the list and behind the reader: so the list is read again.
    """
    agree("These sessions will be seen by their new owner only. Go on?", yes=yes)
    done = 0
    with progress("assigning", found) as step:
        while changed := _pass(work, step):
            done += changed
    return done


def _pass(work: Assignment, step: Callable[[int], None]) -> int:
    done = 0
    for session in work.sessions():
        if work.assign(session):
            done += 1
            step(1)
    return done


COMMANDS = (edit, assign)
