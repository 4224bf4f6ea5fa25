"""``import`` and ``export``: conversations from the files of other programs, and back.

This module knows files and what to say; the formats are `chatstore.formats`.
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

from chatstore.cli.moving_in import move_in, refuse_options, source_options
from chatstore.cli.options import json_option, owner_options
from chatstore.cli.output import as_json, counted, note, progress, say
from chatstore.cli.target import Refused, Target, announce, on_target, said_revision
from chatstore.errors import Conflict, Invalid, SessionNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.formats import Conversation
    from chatstore.formats.loading import Loaded
    from chatstore.messages import MessageRecord
    from chatstore.repository import Repository

FORMATS = ("page", "openai")
STDIN = "-"


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE|SOURCE…")
@source_options
@click.option(
    "--format",
    "name",
    type=click.Choice(["auto", *FORMATS]),
    default="auto",
    show_default=True,
    help="What the files hold; auto looks at the first message.",
)
@click.option(
    "--session", metavar="ID", help="The one session: what a file becomes, or what is read of a source."
)
@click.option("--prefix", metavar="NAME", help="Begins ids that the file does not say; else its name does.")
@owner_options("The sessions' {}, whatever the file says.")
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
    json_: bool,
    kind: str | None,
    **options: str | None,
) -> None:
    """Store the conversations of files, or of another program's database.

    A file that is imported twice is stored once; "-" is stdin. Read are the page's JSON and OpenAI
    chat-completions JSON: an array of messages, objects with a list of messages under "messages" or "traj",
    and JSON Lines of either, which are read line by line.

    With --from, SOURCE is what that framework's chat histories left in Redis, DynamoDB, Cosmos DB, an SQL table
    or a file; env:NAME is a URL in the environment. It is only read, and repeating goes on where the last
    import ended.
    """
    refuse_options(kind, options, {"format": name != "auto", "prefix": prefix})
    if kind is not None:
        owner = {"user_id": user, "tenant_id": tenant}
        move_in(target, kind, files, options, session=session, owner=owner, json_=json_)
        return
    if session is not None and len(files) > 1:
        msg = "--session takes the one conversation of one file: import the files one by one"
        raise Refused(msg)
    if STDIN in files and session is None and prefix is None:
        msg = "stdin has no name to make session ids from: add --session or --prefix"
        raise Refused(msg)
    _check_files(files)
    before = announce(target)
    with target.writing() as repository:
        done = []
        for file in files:
            how = {"source": Path(file).name, "user_id": user, "tenant_id": tenant}
            chosen = _Chosen(session, prefix or Path(file).stem)
            done.append((file, _import_file(repository, file, name, chosen, how)))
    said_revision(target, before)
    _report(done, json_=json_)


@click.command()
@click.argument("session", required=False)
@click.option("--all", "all_", is_flag=True, help="Every session, archived ones too: one JSON object a line.")
@owner_options("With --all: only sessions of this {}.")
@click.option(
    "--format", "name", type=click.Choice(FORMATS), default="page", show_default=True, help="What to write."
)
@click.option("-o", "--output", "path", metavar="FILE", help="Write there instead of to stdout.")
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

    SESSION becomes an array of messages; --all writes JSON Lines, an object for each session. What --all
    writes in the page's format, `chatstore import` restores: messages with their ids, positions and times;
    the sessions' ids, owners, titles, metadata, archiving and expiry. When a session was created and last
    changed, and of which it is a fork, is not written. OpenAI's format keeps what that API knows of a message.
    """
    from chatstore.cli.records import all_sessions, complain

    if (session is None) != all_:
        msg = "say what to export: a SESSION, or --all"
        raise Refused(msg)
    if session is not None and not (user is None and tenant is None):
        msg = "--user and --tenant choose sessions beside --all only: leave them out"
        raise Refused(msg)
    damaged: list[str] = []
    with target.reading() as repository, _output(path) as stream:
        if session is not None:
            written = 1, _export_one(repository, session, name, stream, damaged)
        else:
            ids = all_sessions(repository, user_id=user, tenant_id=tenant)
            written = _export_all(repository, ids, name, stream, damaged)
    if path not in (None, STDIN):
        note(f"exported   {counted(written[0], 'session')}, {counted(written[1], 'message')} to {path}")
    complain(damaged)


COMMANDS = (import_, export)


# ---------------------------------------------------------------------------------------------- import


class _Chosen:
    """Which session a conversation becomes."""

    def __init__(self, session: str | None, prefix: str) -> None:
        """Take the ids from the command line, or from the file."""
        self.session, self.prefix = session, prefix

    def id_of(self, conversation: Conversation, *, alone: bool) -> str:
        """Return the session id. Raises `Refused` for a second conversation where one session was named."""
        from chatstore.formats.loading import session_id_of

        if self.session is not None and not alone:
            msg = "the file holds several conversations: leave --session out, or use --prefix"
            raise Refused(msg)
        return self.session or session_id_of(conversation, self.prefix, alone=alone)


def _check_files(files: tuple[str, ...]) -> None:
    """Raise what is wrong with a file before anything is written."""
    for file in files:
        if file != STDIN:
            with Path(file).open("rb"):
                pass


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == STDIN:
        yield sys.stdin.buffer
    else:
        with Path(file).open("rb") as stream:
            yield stream


def _import_file(
    repository: Repository, file: str, name: str, chosen: _Chosen, how: dict[str, Any]
) -> list[Loaded]:
    from chatstore import formats
    from chatstore.formats.loading import load

    done: list[Loaded] = []
    with _opened(file) as stream, progress(f"importing {file}") as step:
        try:
            for conversation, alone in _with_alone(formats.read(stream, name)):
                session_id = chosen.id_of(conversation, alone=alone)
                done.append(
                    load(repository, conversation, session_id, join=chosen.session is not None, **how)
                )
                step(1)
        except (Conflict, Invalid) as error:
            kept = f" ({counted(len(done), 'conversation')} before it stored; repeating goes on)"
            error.args = (f"{file}: {error}{kept if done else ''}",)
            raise
    return done


def _with_alone(conversations: Iterator[Conversation]) -> Iterator[tuple[Conversation, bool]]:
    """Yield each conversation, and whether it is the only one."""
    first, second = next(conversations, None), next(conversations, None)
    for conversation in filter(None, (first, second)):
        yield conversation, second is None
    for conversation in conversations:
        yield conversation, False


def _report(done: list[tuple[str, list[Loaded]]], *, json_: bool) -> None:
    if json_:
        files = [
            {
                "file": file,
                "session_ids": [loaded.session_id for loaded in all_loaded],
                "new_messages": sum(loaded.new for loaded in all_loaded),
                "known_messages": sum(loaded.known for loaded in all_loaded),
            }
            for file, all_loaded in done
        ]
        as_json({"files": files})
        return
    for file, all_loaded in done:
        new, known = sum(one.new for one in all_loaded), sum(one.known for one in all_loaded)
        what = (
            f"session {all_loaded[0].session_id}"
            if len(all_loaded) == 1
            else counted(len(all_loaded), "session")
        )
        say(f"imported   {file}: {what}, {counted(new, 'message')} new, {known:,} known")


# ---------------------------------------------------------------------------------------------- export


def _export_one(repository: Repository, session: str, name: str, stream: BinaryIO, damaged: list[str]) -> int:
    from chatstore import formats

    repository.get_session(session)
    messages = (record.message for record in _records(repository, session, name, damaged))
    return formats.write_array(stream, formats.find(name), messages)


def _export_all(
    repository: Repository, ids: list[str], name: str, stream: BinaryIO, damaged: list[str]
) -> tuple[int, int]:
    from chatstore import formats

    form, sessions, messages = formats.find(name), 0, 0
    with progress("exporting", len(ids)) as step:
        for session_id in ids:
            with suppress(SessionNotFound):  # deleted since it was listed
                session = repository.get_session(session_id)
                records = _records(repository, session_id, name, damaged)
                messages += formats.write_line(stream, form, session, records)
                sessions += 1
            step(1)
    return sessions, messages


def _records(
    repository: Repository, session_id: str, name: str, damaged: list[str]
) -> Iterator[MessageRecord]:
    """Yield the records of a session that can be read, and written as JSON."""
    from chatstore import formats
    from chatstore.cli.records import sayable, whole_records

    form, records = formats.find(name), whole_records(repository, session_id, damaged)
    return sayable(records, session_id, lambda message: formats.as_json(form.dump(message)), damaged)


@contextmanager
def _output(path: str | None) -> Iterator[BinaryIO]:
    """Lend stdout, or a file that takes the place of *path* only when all of it is written."""
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
