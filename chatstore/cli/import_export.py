"""``import`` and ``export``: conversations from the files of other programs, and back.

This module knows files and reports; the formats are in `chatstore.formats`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from chatstore.cli.import_source import import_sources, refuse_options, source_options
from chatstore.cli.options import examples, json_option, owner_options
from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.owners import read_owners
from chatstore.cli.target import Refused, Target, announce, on_target, say_revision
from chatstore.errors import Conflict, Invalid, SessionNotFound
from chatstore.formats import ALIASES, FORMATS, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.incoming.loading import Loader, Tally
    from chatstore.incoming.session import Incoming
    from chatstore.messages import MessageRecord
    from chatstore.repository import Repository

    Choice = click.Choice[str]
else:
    Choice = click.Choice  # generic for type checkers, and since click 8.2 at all

STDIN = "-"


class FormatChoice(Choice):
    """The name of a format; names that formats had before are accepted, and not listed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of today."""
        return super().convert(ALIASES.get(value, value), param, ctx)


@click.command(
    "import",
    epilog=examples(
        "chatstore import chats.jsonl --user ada",
        "chatstore import - --session trip < chat.json",
        "chatstore import --from redis-list redis://localhost:6379/0",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE|SOURCE…")
@source_options
@click.option(
    "--format",
    "name",
    type=FormatChoice(["auto", *FORMATS]),
    default="auto",
    show_default=True,
    help="Format of the messages; auto decides by the first one.",
)
@click.option(
    "--session",
    metavar="ID",
    help="Store a file's only conversation in this session; with --from, read only this one.",
)
@click.option("--prefix", metavar="NAME", help="Prefix of generated session ids  [default: the file's name]")
@owner_options("The {} who owns the sessions, whatever the file says.")
@click.option("--owners", metavar="FILE", help="CSV or JSON that says whose each session is; before --user.")
@click.option(
    "--expiry/--no-expiry",
    default=True,
    help="Keep the expiry dates that sessions have there, or leave them out.  [default: keep]",
)
@click.option(
    "--before",
    is_flag=True,
    help="With --from: messages that a session holds here already come after those of the source.",
)
@json_option
@on_target(chosen=True)
def import_(
    target: Target,
    files: tuple[str, ...],
    *,
    name: str,
    session: str | None,
    prefix: str | None,
    user: str | None,
    tenant: str | None,
    owners: str | None,
    expiry: bool,
    before: bool,
    json_: bool,
    kind: str | None,
    **options: str | None,
) -> None:
    """Store conversations from files or another program.

    Reads LangChain message JSON and OpenAI chat-completions JSON: an array of messages, objects with a list of
    messages under "messages" or "traj", and JSON Lines of either, which are read line by line. "-" is stdin.

    With --from, SOURCE is where LangChain's chat histories stored them: a URL of Redis, DynamoDB, Cosmos DB or a SQL
    database, or a file. env:NAME takes the URL from the environment. A source is only read.

    Repeating the command stores nothing twice, and continues an import that was interrupted.
    """
    from chatstore.incoming.loading import Loader

    refuse_options(kind, options, {"format": name != "auto", "prefix": prefix})
    if kind is not None:
        told = {
            "user_id": user,
            "tenant_id": tenant,
            "owners": read_owners(owners),
            "expires": expiry,
            "before": before,
        }
        import_sources(target, kind, files, options, session=session, told=told, json_=json_)
        return
    if before:
        msg = "--before belongs to a source: add --from with its kind; messages of files have positions of their own"
        raise Refused(msg)
    if session is not None and len(files) > 1:
        msg = "--session names the session of one conversation in one file: import the files one by one"
        raise Refused(msg)
    if STDIN in files and session is None and prefix is None:
        msg = "stdin has no name to make session ids from: add --session or --prefix"
        raise Refused(msg)
    _check_files(files)
    named = read_owners(owners)
    shown = announce(target)
    with target.writing() as repository:
        done = []
        for file in files:
            loader = Loader(repository, tenant_id=tenant, user_id=user, owners=named, expires=expiry)
            done.append((file, _import_file(loader, file, name, session, prefix), loader.tally))
    say_revision(target, shown)
    _report(done, json_=json_)


@click.command(
    epilog=examples(
        "chatstore export ada-chain",
        "chatstore export ada-chain --format openai -o chain.json",
        "chatstore export --all --user ada > ada.jsonl",
    )
)
@click.argument("session", required=False)
@click.option(
    "--all", "all_", is_flag=True, help="Write every session, archived ones too, each as one line of JSON."
)
@owner_options("With --all: only sessions of this {}.")
@click.option(
    "--format",
    "name",
    type=FormatChoice(tuple(FORMATS)),
    default="langchain",
    show_default=True,
    help="Format of the messages.",
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write to this file  [default: stdout]")
@on_target()
def export(
    target: Target,
    session: str | None,
    *,
    all_: bool,
    user: str | None,
    tenant: str | None,
    name: str,
    path: str | None,
) -> None:
    """Write one session, or all of them, as JSON.

    A SESSION becomes an array of messages. With --all, each session becomes an object on a line of its own.

    `chatstore import` restores what --all writes in LangChain's format: messages with their ids, positions and
    times; sessions with their ids, owners, titles, metadata, archiving and expiry. Not written are the times at
    which sessions were created and changed, and which session they were forked from. OpenAI's format holds only
    what that API knows of a message.
    """
    from chatstore.cli.tolerant_reading import list_all_sessions, refuse_damage

    if (session is None) != all_:
        msg = "say what to export: a SESSION, or --all"
        raise Refused(msg)
    if session is not None and not (user is None and tenant is None):
        msg = "--user and --tenant work with --all only: leave them out"
        raise Refused(msg)
    damaged: list[str] = []
    with target.reading() as repository, _open_output(path) as stream:
        if session is not None:
            written = 1, _export_one(repository, session, name, stream, damaged)
        else:
            ids = list_all_sessions(repository, user_id=user, tenant_id=tenant)
            written = _export_all(repository, ids, name, stream, damaged)
    if path not in (None, STDIN):
        note(f"exported   {counted(written[0], 'session')}, {counted(written[1], 'message')} to {path}")
    refuse_damage(damaged)


COMMANDS = (import_, export)


# ---------------------------------------------------------------------------------------------- import


def _choose_id(incoming: Incoming, session: str | None, prefix: str, *, alone: bool) -> str:
    """Return the session id. Raises `Refused` for a second conversation where one *session* was named."""
    if session is not None and not alone:
        msg = "the file holds several conversations: leave --session out, or use --prefix"
        raise Refused(msg)
    if session or incoming.session_id is not None:
        return session or str(incoming.session_id)
    return prefix if alone else f"{prefix}/{incoming.number}"


def _check_files(files: tuple[str, ...]) -> None:
    """Raise what is wrong with a file before anything is written."""
    for file in files:
        if file != STDIN:
            with Path(file).open("rb"):
                pass


@contextmanager
def _open_input(file: str) -> Iterator[BinaryIO]:
    if file == STDIN:
        yield sys.stdin.buffer
    else:
        with Path(file).open("rb") as stream:
            yield stream


def _import_file(loader: Loader, file: str, name: str, session: str | None, prefix: str | None) -> list[str]:
    """Store the conversations of a file; return the ids of their sessions."""
    from chatstore.formats.reading import read

    done: list[str] = []
    with _open_input(file) as stream, progress(f"importing {file}") as step:
        try:
            for incoming, alone in _mark_alone(read(stream, name, file=Path(file).name)):
                session_id = _choose_id(incoming, session, prefix or Path(file).stem, alone=alone)
                loader.append(incoming, session_id, join=session is not None)
                done.append(session_id)
                step(1)
        except (Conflict, Invalid) as error:
            kept = f" ({counted(len(done), 'conversation')} before it stored; repeating goes on)"
            error.args = (f"{file}: {error}{kept if done else ''}",)
            raise
    return done


def _mark_alone(conversations: Iterator[Incoming]) -> Iterator[tuple[Incoming, bool]]:
    """Yield each conversation, and whether it is the only one."""
    first, second = next(conversations, None), next(conversations, None)
    for conversation in filter(None, (first, second)):
        yield conversation, second is None
    for conversation in conversations:
        yield conversation, False


def _report(done: list[tuple[str, list[str], Tally]], *, json_: bool) -> None:
    if json_:
        files = [
            {
                "file": file,
                "session_ids": session_ids,
                "new_messages": tally.new,
                "known_messages": tally.known,
            }
            for file, session_ids, tally in done
        ]
        as_json({"files": files})
        return
    for file, session_ids, tally in done:
        what = f"session {session_ids[0]}" if len(session_ids) == 1 else counted(len(session_ids), "session")
        say(f"imported   {file}: {what}, {counted(tally.new, 'message')} new, {tally.known:,} known")


# ---------------------------------------------------------------------------------------------- export


def _export_one(repository: Repository, session: str, name: str, stream: BinaryIO, damaged: list[str]) -> int:
    from chatstore.formats.writing import write_array

    repository.get_session(session)
    messages = (record.message for record in _read_records(repository, session, name, damaged))
    return write_array(stream, find(name), messages)


def _export_all(
    repository: Repository, ids: list[str], name: str, stream: BinaryIO, damaged: list[str]
) -> tuple[int, int]:
    from chatstore.formats.writing import write_line

    form, sessions, messages = find(name), 0, 0
    with progress("exporting", len(ids)) as step:
        for session_id in ids:
            with suppress(SessionNotFound):  # deleted since it was listed
                session = repository.get_session(session_id)
                records = _read_records(repository, session_id, name, damaged)
                messages += write_line(stream, form, session, records)
                sessions += 1
            step(1)
    return sessions, messages


def _read_records(
    repository: Repository, session_id: str, name: str, damaged: list[str]
) -> Iterator[MessageRecord]:
    """Yield the records of a session that can be read, and written as JSON."""
    from chatstore.cli.tolerant_reading import keep_writable, read_whole_records
    from chatstore.formats.writing import dump_json

    form, records = find(name), read_whole_records(repository, session_id, damaged)
    return keep_writable(records, session_id, lambda message: dump_json(form.dump(message)), damaged)


@contextmanager
def _open_output(path: str | None) -> Iterator[BinaryIO]:
    """Open stdout, or a file that replaces *path* only when all of it is written."""
    if path in (None, STDIN):
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    place = Path(str(path)).resolve()
    if place.exists() and not place.is_file():  # a device or a pipe
        with place.open("wb") as stream:
            yield stream
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    except OSError as error:
        error.filename = path
        raise
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        if place.exists():
            shutil.copymode(place, name)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
