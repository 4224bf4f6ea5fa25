"""``import --from``: conversations from another program's storage.

This module knows options and reports; the sources are in `chatstore.sources`.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.target import Refused, announce, say_revision
from chatstore.errors import ChatstoreError, CorruptRecord, NotFound
from chatstore.sources import KINDS, find, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.cli.target import Target
    from chatstore.incoming.loading import Tally

#: What the option of each name says.
_HELP: Final = {
    "key_prefix": "Redis: prefix of the keys.",
    "table": "SQL: table of the messages.",
    "session_key": "SQL and DynamoDB: column or attribute with the session id.",
    "messages_key": "DynamoDB: attribute with the messages.",
    "expiry_key": "DynamoDB: attribute with the expiry time.",
}
#: What counts are called in JSON, where it is not the name in `Tally`.
_COUNTS: Final = {
    "new": "new_messages",
    "known": "known_messages",
    "skipped": "skipped_sessions",
    "refused": "refused_sessions",
    "expiring": "expiring_sessions",
}
#: Which counts are printed only where there is something to count.
_RARE: Final = ("skipped", "refused", "damaged", "expiring")
_ENVIRONMENT: Final = "env:"


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--from`` and the options of sources."""
    for name, text in reversed(_HELP.items()):
        command = click.option(f"--{name.replace('_', '-')}", metavar="NAME", help=text)(command)
    text = f"Read another program's storage; KIND is {', '.join(KINDS)}."
    return click.option("--from", "kind", type=click.Choice(tuple(KINDS)), metavar="KIND", help=text)(command)


def resolve_environment(text: str) -> str:
    """Return *text*, or for ``env:NAME`` the value of that variable, which no list of processes shows."""
    if not text.startswith(_ENVIRONMENT):
        return text
    name = text.removeprefix(_ENVIRONMENT)
    if not os.environ.get(name):
        msg = f"the environment has no {name}: set it, or name the storage itself"
        raise Refused(msg)
    return os.environ[name]


def refuse_options(kind: str | None, options: dict[str, str | None], others: dict[str, Any]) -> None:
    """Raise `Refused` for options of sources without ``--from``, and for those of files with it."""
    given = [name for name, value in options.items() if value is not None]
    if kind is None and given:
        msg = f"--{given[0].replace('_', '-')} belongs to a source: add --from with its kind"
        raise Refused(msg)
    if kind is not None and (beside := [name for name, value in others.items() if value]):
        msg = f"--{beside[0]} cannot be used with --from: leave it out"
        raise Refused(msg)


def import_sources(
    target: Target,
    kind: str,
    names: tuple[str, ...],
    options: dict[str, str | None],
    *,
    session: str | None,
    told: dict[str, Any],
    json_: bool,
) -> None:
    """Import from each of the sources *names*, and report the result.

    Raises `CorruptRecord` at the end if anything was damaged or refused.
    """
    if session is not None and len(names) > 1:
        msg = "--session names one session of one source: import the sources one by one"
        raise Refused(msg)
    source, chosen = find(kind), {name: value for name, value in options.items() if value is not None}
    places = [resolve_environment(name) for name in names]
    for place in places:
        # Nothing is read yet; a wrong option is refused before anything is written.
        read(kind, place, options=chosen)
        note(f"source     {source.mask(place)}")
    before = announce(target)
    with target.writing() as repository:
        done = [
            (source.mask(place), _import_source(repository, kind, place, session, chosen, told))
            for place in places
        ]
    say_revision(target, before)
    _report(kind, done, json_=json_)
    if bare := [name for name, tally in done if not any(asdict(tally).values())]:
        msg = f"no session was found in {bare[0]}: check its name, and the options that say where sessions are there"
        raise NotFound(msg)
    left = sum(tally.damaged + tally.refused for _, tally in done)
    if left:
        msg = f"{counted(left, 'thing')} could not be imported, each is named above: mend it there and repeat this"
        raise CorruptRecord(msg)


def _import_source(
    repository: Any,
    kind: str,
    place: str,
    session: str | None,
    options: dict[str, str],
    told: dict[str, Any],
) -> Tally:
    from chatstore.incoming.loading import Loader

    shown = find(kind).mask(place)
    with progress(f"importing {shown}") as step:
        loader = Loader(repository, kind, **told, say=_note_left_out, step=step)
        try:
            with closing(read(kind, place, session=session, options=options)) as sessions:
                for found in sessions:
                    loader.follow(found)
        except ChatstoreError as error:
            if loader.tally.new:
                kept = counted(loader.tally.new, "message")
                error.args = (f"{error} ({kept} stored before; repeating goes on)", *error.args[1:])
            raise
    return loader.tally


def _note_left_out(what: str, place: str, why: str) -> None:
    note(f"{what:<10} {place}: {why}")


def _report(kind: str, done: list[tuple[str, Tally]], *, json_: bool) -> None:
    counts = [(name, asdict(tally)) for name, tally in done]
    if json_:
        sources = [
            {
                "source": name,
                "from": kind,
                **{_COUNTS.get(word, word): number for word, number in one.items()},
            }
            for name, one in counts
        ]
        as_json({"sources": sources})
        return
    for name, one in counts:
        sessions, new = counted(one["sessions"], "session"), counted(one["new"], "message")
        rare = "".join(f", {one[word]:,} {word}" for word in _RARE if one[word])
        say(f"imported   {name}: {sessions}, {new} new, {one['known']:,} known{rare}")
