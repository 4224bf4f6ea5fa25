"""``upgrade``, ``downgrade``, ``current`` and ``check`` for services without SQL, such as DynamoDB.

This module knows what to say and ask; what is made and taken away, the backend's ``provisioning`` knows.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from chatstore.cli import schema
from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.target import Refused, Target, agree
from chatstore.connect import connect
from chatstore.errors import SchemaMissing, SchemaOutdated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.backends.provisioning import Provisioner

#: After every session there can be: a purge up to then, as a dry run, counts them all in one pass.
_EVER = datetime.max.replace(tzinfo=UTC)


@contextmanager
def tables(target: Target) -> Iterator[Provisioner]:
    """Lend the tables of the service behind *target*."""
    backend = target.scheme.partition("+")[0]
    lent: Provisioner = import_module(f"chatstore.backends.{backend}.provisioning").provisioner_for(
        target.url
    )
    try:
        yield lent
    finally:
        lent.close()


def upgrade(target: Target, revision: str, *, offline: bool, json_: bool) -> None:
    """Make what is missing."""
    if offline:
        msg = "--sql prints SQL, and this service has none: run the command without it"
        raise Refused(msg)
    with tables(target) as lent:
        _known(revision, "head", lent.head)
        with progress(f"upgrading {target.shown}"):
            moved = lent.upgrade()
    schema.report(target, moved, json_=json_)


def downgrade(target: Target, revision: str, *, yes: bool, json_: bool) -> None:
    """Take everything away, after asking."""
    with tables(target) as lent:
        _known(revision, "base")
        before = lent.current()
        note(f"database   {target.shown}")
        note(f"revision   {before or 'none'} -> {revision}")
        if before is not None:
            with connect(target.url) as repository:
                holds = repository.purge(updated_before=_EVER, dry_run=True)
            note(f"holds      {counted(holds.sessions, 'session')}, {counted(holds.messages, 'message')}")
            agree("All of it will be lost. Downgrade?", yes=yes)
        with progress(f"downgrading {target.shown}"):
            moved = lent.downgrade()
    schema.report(target, moved, json_=json_)


def current(target: Target, *, json_: bool) -> None:
    """Say what is there."""
    with tables(target) as lent:
        found, head = lent.current(), lent.head
    if json_:
        as_json({"url": target.shown, "revision": found, "head": head, "at_head": found == head})
        return
    say(f"database   {target.shown}")
    say(f"revision   {found or 'none'}{schema.standing(found, head)}")


def check(target: Target, *, json_: bool) -> None:
    """Say how what is there differs from what this release expects."""
    with tables(target) as lent:
        found, head, differences = lent.current(), lent.head, lent.differences()
    sound = found is not None and not differences
    if json_:
        about = {"url": target.shown, "revision": found, "head": head}
        as_json({**about, "differences": differences, "ok": sound})
    else:
        say(f"database   {target.shown}")
        say(f"revision   {found or 'none'}{schema.standing(found, head)}")
        for difference in differences:
            say(f"differs    {difference}")
        if sound:
            say("tables     as this release expects them")
    if found is None:
        msg = "the service has no chatstore tables, or not all of them: run chatstore upgrade on it"
        raise SchemaMissing(msg)
    if differences:
        msg = "something else changed the tables: undo that, or run chatstore upgrade"
        raise SchemaOutdated(msg)


def _known(revision: str, *names: str) -> None:
    if revision not in names:
        msg = f"this service has no revision {revision!r}: say {names[0]}"
        raise Refused(msg)
