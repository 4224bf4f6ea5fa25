"""``copy``: all sessions of one storage into another, and the proof that they are there.

This module knows what to report of each session; how one is copied and compared is in `chatstore.cli.session_copy`.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from chatstore.cli.import_source import resolve_environment
from chatstore.cli.options import examples, json_option, owner_options
from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.target import Refused, Target, announce, say_revision
from chatstore.connect import SCHEMA_ENVIRONMENT
from chatstore.errors import ChatstoreError, Conflict, CorruptRecord, Invalid, SessionNotFound, StorageError

if TYPE_CHECKING:
    from chatstore.cli.session_copy import Pair
    from chatstore.messages import ChatSession
    from chatstore.repository import Repository

SAME, DIFFERS, CHANGED, REFUSED, DAMAGED, GONE = "same", "differs", "changed", "refused", "damaged", "gone"
#: What of these makes the copy a failure.
_FAILED: Final = (DIFFERS, CHANGED, REFUSED, DAMAGED)


class NotTheSame(click.ClickException):
    """The target does not hold what the source holds; exit code 1."""


@click.command(
    epilog=examples(
        "chatstore copy sqlite:///chat.db postgresql://app@localhost/app",
        "chatstore copy file:chats sqlite:///chat.db --user ada",
        "chatstore copy env:OLD_URL env:NEW_URL --json",
    )
)
@click.argument("source", metavar="SOURCE_URL")
@click.argument("target", metavar="TARGET_URL")
@click.option("--session", "chosen", multiple=True, metavar="ID", help="Only this session; may be repeated.")
@owner_options("Only sessions of this {}.")
@click.option(
    "--from-schema", metavar="NAME", help="The source's database schema  [default: CHATSTORE_SCHEMA]"
)
@click.option("--to-schema", metavar="NAME", help="The target's database schema  [default: CHATSTORE_SCHEMA]")
@json_option
def copy(
    source: str,
    target: str,
    *,
    chosen: tuple[str, ...],
    user: str | None,
    tenant: str | None,
    from_schema: str | None,
    to_schema: str | None,
    json_: bool,
) -> None:
    """Copy sessions to another storage, then compare both.

    Messages keep their positions, ids and times; sessions keep their owner, title and metadata. Named states are copied
    with all sessions, or all of an owner. The source is only read. Repeating the command continues a copy that was
    interrupted. The exit code is 1 if anything differs. env:NAME takes a URL from the environment; CHATSTORE_URL is not
    used.
    """
    old, new = _resolve_targets(source, target, from_schema, to_schema)
    note(f"source     {old.shown}")
    before = announce(new)
    with ExitStack() as opened:
        from chatstore.cli.session_copy import Pair
        from chatstore.cli.state_copy import copy_states

        pair = Pair(opened.enter_context(old.reading()), opened.enter_context(new.writing()))
        ids, messages = _choose_sessions(pair.source, chosen, user, tenant)
        work = _Work(pair)
        with progress("copying", messages) as step:
            for session_id in ids:
                work.copy(session_id, step)
        with progress("comparing", len(ids)) as step:
            for session_id in ids:
                work.compare(session_id)
                step(1)
        if not chosen:
            owner = {name: one for name, one in (("user_id", user), ("tenant_id", tenant)) if one is not None}
            work.states, work.lost = copy_states(
                *(one.scope(**owner) if owner else one for one in (pair.source, pair.target))
            )
    say_revision(new, before)
    work.report(old.shown, new.shown, json_=json_)


COMMANDS = (copy,)


class _Work:
    """What became of each session."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.new = self.read = 0
        self.revisions: dict[str, int] = {}
        self.done: list[dict[str, Any]] = []
        self.damaged: dict[str, list[str]] = {}
        self.refused: dict[str, str] = {}
        self.states, self.lost = 0, list[str]()

    def copy(self, session_id: str, step: Any) -> None:
        """Copy a session. Raises `StorageError` where one of the storages fails; all else is kept for `compare`."""
        damaged: list[str] = []
        seen = 0

        def read(messages: int) -> None:
            nonlocal seen
            seen += messages
            step(messages)

        try:
            session = self.pair.source.get_session(session_id)
            self.revisions[session_id] = session.revision
            self.new += self.pair.copy(session, damaged, read)
            self.read += seen
        except SessionNotFound:  # deleted since it was listed
            self.revisions.pop(session_id, None)
        except (Conflict, Invalid, CorruptRecord) as error:
            self.refused[session_id] = str(error)
        except ChatstoreError as error:
            if self.new:
                kept = counted(self.new, "message")
                error.args = (f"{error} ({kept} copied before; repeating goes on)", *error.args[1:])
            raise
        if damaged:
            self.damaged[session_id] = damaged

    def compare(self, session_id: str) -> None:
        """Compare a session in both storages, and say what is not as it should be."""
        state, why, messages, digest = self._judge(session_id)
        result = {
            "session_id": session_id,
            "state": state,
            "messages": messages,
            "sha256": digest,
            "why": why,
        }
        self.done.append(result)
        if state != SAME:
            note(f"{state:<10} {session_id}: {why}")

    def _judge(self, session_id: str) -> tuple[str, str, int, str]:
        if session_id in self.refused:
            return REFUSED, self.refused[session_id], 0, ""
        session = _find_session(self.pair.source, session_id)
        if session is None:
            copied = session_id in self.revisions
            why = "it was deleted in the source meanwhile"
            return (CHANGED if copied else GONE), why, 0, ""
        found = self.pair.compare(session)
        if not found.linked:
            note(f"unlinked   {session_id}: the target cannot tell from which session it was forked")
        after = _find_session(self.pair.source, session_id)
        if after is None or after.revision != self.revisions.get(session_id):
            why = "it changed in the source while it was copied: repeat this"
            return CHANGED, why, found.messages, found.digest
        if found.difference:
            return DIFFERS, found.difference, found.messages, found.digest
        if session_id in self.damaged:
            lost = self.damaged[session_id]
            why = f"{counted(len(lost), 'record')} of the source cannot be read ({', '.join(lost[:3])})"
            return DAMAGED, why, found.messages, found.digest
        return SAME, "", found.messages, found.digest

    def report(self, source: str, target: str, *, json_: bool) -> None:
        """Print the counts. Raises `NotTheSame` unless all that is there is the same in both."""
        states = Counter(one["state"] for one in self.done)
        copied = len(self.done) - states[REFUSED] - states[GONE]
        if json_:
            counts = {"sessions": copied, "new_messages": self.new, "known_messages": self.read - self.new}
            counts["states"] = self.states - len(self.lost)
            as_json({"source": source, "target": target, **counts, "compared": self.done})
        else:
            known = f"{self.read - self.new:,} known"
            say(
                f"copied     {counted(copied, 'session')}, {counted(self.new, 'message')} new, {known}, to {target}"
            )
            messages = sum(one["messages"] for one in self.done if one["state"] == SAME)
            say(
                f"compared   {counted(states[SAME], 'session')}, {counted(messages, 'message')}: the same in both"
            )
            if self.states > len(self.lost):
                say(f"states     {self.states - len(self.lost):,} copied, the same in both")
        if self.lost:
            note(f"states     not in the target: {'; '.join(self.lost[:3])}{' …' * (len(self.lost) > 3)}")  # noqa: PLR2004 - examples
        if failed := sum(states[state] for state in _FAILED):
            named = ", ".join(f"{states[state]:,} {state}" for state in _FAILED if states[state])
            msg = f"not the same in both: {counted(failed, 'session')} ({named}); each is named above: see to it"
            raise NotTheSame(msg)
        if self.lost:
            msg = (
                f"{counted(len(self.lost), 'named state')} of the source, such as an agent's memory of a user, "
                "could not be copied: keep the source, or copy to SQL, which keeps them"
            )
            raise NotTheSame(msg)


def _resolve_targets(
    source: str, target: str, from_schema: str | None, to_schema: str | None
) -> tuple[Target, Target]:
    """Return both storages. Raises `Refused` for what cannot be copied."""
    schema = os.environ.get(SCHEMA_ENVIRONMENT) or None
    old = Target(resolve_environment(source), from_schema or schema, chosen=True)
    new = Target(resolve_environment(target), to_schema or schema, chosen=True)
    if "memory" in (old.scheme, new.scheme):
        msg = "a store in memory begins empty and ends with this command: name two storages that stay"
        raise Refused(msg)
    if (old.url, old.schema) == (new.url, new.schema) or (
        old.path is not None and new.path is not None and old.path.resolve() == new.path.resolve()
    ):
        msg = "source and target are the same storage: name another target"
        raise Refused(msg)
    return old, new


def _choose_sessions(
    repository: Repository, chosen: tuple[str, ...], user: str | None, tenant: str | None
) -> tuple[list[str], int]:
    """Return the ids of the sessions to copy, a fork after what it was forked from, and how many messages."""
    from chatstore.cli.session_copy import order_parents_first
    from chatstore.cli.tolerant_reading import list_all_sessions

    ids = list_all_sessions(repository, user_id=user, tenant_id=tenant)
    if missing := sorted(set(chosen) - set(ids)):
        msg = f"the source has no session {missing[0]!r} for these options: list them with chatstore sessions"
        raise StorageError(msg)
    return order_parents_first(repository, [one for one in ids if one in chosen] if chosen else ids)


def _find_session(repository: Repository, session_id: str) -> ChatSession | None:
    try:
        return repository.get_session(session_id)
    except SessionNotFound:
        return None
