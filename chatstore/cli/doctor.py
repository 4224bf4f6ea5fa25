"""``doctor``: what is installed, what the storage is, in what state, and what to do about it.

This module knows what is worth looking at and which advice follows; it changes nothing and creates no file.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import TYPE_CHECKING, Any, Final

import click

from chatstore import __version__
from chatstore.cli.looks import SECONDS, Looks
from chatstore.cli.options import examples, json_option
from chatstore.cli.output import as_json, counted, line, progress, terminal_width
from chatstore.cli.target import Target, on_target
from chatstore.errors import ChatstoreError, CorruptRecord, SchemaError, StorageError
from chatstore.extras import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import Distribution
    from typing import TypeAlias

    from sqlalchemy import Connection

    from chatstore.records import DurabilityLevel
    from chatstore.repository import Repository

    Look: TypeAlias = Callable[[dict[str, Any]], None]

LIBRARIES: Final = ("sqlalchemy", "alembic", "pydantic")
_PRIVATE: Final = 0o077
#: What may take long where much is stored, and says nothing about whether it can be used.
_COUNTS: Final = "how many sessions and messages there are"
_ANSWERS: Final = "answers left streaming"
#: Seconds for the first looks, which connect, and for each of the others.
_FIRST_SECONDS, _EACH_SECONDS = 2.0, 2.5
#: Columns before a fact.
_INDENT: Final = 12
#: New messages that a search indexes without anybody noticing.
MANY_UNINDEXED: Final = 20_000
#: What a level of durability says about a message that was acknowledged.
SURVIVES: Final[dict[DurabilityLevel, str]] = {
    "none": "nothing survives the process",
    "snapshot": "only what the last snapshot holds survives the process",
    "process": "survives the process, not a crash of the machine",
    "machine": "survives a crash of the machine",
    "unknown": "nobody can tell what it survives",
}


@click.command(epilog=examples("chatstore doctor", "chatstore doctor --json --url redis://localhost:6379/0"))
@json_option
@on_target()
@click.pass_context
def doctor(context: click.Context, target: Target, *, json_: bool) -> None:
    """Show the state of a storage, and what to do about it.

    Prints versions, database, schema, search index, durability, counts and advice. Changes nothing. Answers within five
    seconds, whatever hangs, and says what it could not look at. The exit code is 1 if the storage cannot be used as it
    is.
    """
    with progress("looking"):
        facts = examine(target)
    if json_:
        as_json(facts)
    else:
        _show(facts)
    if not facts["ok"]:
        context.exit(1)


COMMANDS = (doctor,)


def examine(target: Target) -> dict[str, Any]:
    """Return all facts; what could not be found out is None, and ``error`` says why."""
    facts: dict[str, Any] = {
        "url": target.shown,
        "backend": target.scheme,
        "server": None,
        "driver": None,
        "revision": None,
        "head": None,
        "search_index": None,
        "unindexed_sessions": None,
        "unindexed_messages": None,
        "durability": None,
        "sessions": None,
        "messages": None,
        "expired_sessions": None,
        "abandoned_answers": None,
        "cannot": [],
        "notes": [],
        "unseen": [],
        "versions": _versions(),
        "error": None,
        "advice": [],
    }
    looks = Looks()
    try:
        with target.writing(deadline=SECONDS) as repository:
            _take(looks, _looks(target, repository, facts), facts)
    except ChatstoreError as error:
        facts["error"] = str(error)
    facts["unseen"] = looks.unseen
    if facts["error"] is None and set(looks.unseen) - {_COUNTS, _ANSWERS}:
        facts["error"] = _hangs(looks.unseen)
    facts["advice"] = _advice(target, facts)
    facts["ok"] = facts["error"] is None
    return facts


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "chatstore": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _looks(target: Target, repository: Repository, facts: dict[str, Any]) -> Iterator[tuple[str, Look]]:
    """Yield what is looked at, by name; what only makes sense where all was well so far comes later."""
    yield ("the place", lambda _found: target.must_exist())
    if target.is_sql:
        yield "the server", partial(_look_at_database, target)
        yield "the schema", partial(_look_at_schema, target)
    yield "durability and limits", partial(_look_at_promises, repository)
    if facts["head"] is not None and facts["revision"] == facts["head"]:
        yield "how the tables are made", partial(_look_closer, target)
    yield "the right to write", partial(_look_for_rights, target)
    yield "the tables" if target.is_sql else "the sessions", partial(_look_inside, repository)
    yield "expired sessions", partial(_look_for_expired, repository)
    yield _ANSWERS, partial(_look_for_abandoned, repository)
    yield _COUNTS, partial(_count, target, repository)


def _take(looks: Looks, wanted: Iterator[tuple[str, Look]], facts: dict[str, Any]) -> None:
    """Take one look after the other; where the first ones hang, so would the others."""
    for number, (name, look) in enumerate(wanted):
        seen = looks.take(name, look, facts, _FIRST_SECONDS if number <= 1 else _EACH_SECONDS)
        if not seen and number <= 1:
            looks.unseen += [name for name, _ in wanted]


def _hangs(unseen: list[str]) -> str:
    """Say what could not be looked at, and what to do."""
    *first, last = unseen
    what = f"{', '.join(first)} and {last}" if first else last
    return (
        f"there was no answer in time about {what}: somebody holds a lock, or the server or the network hangs; "
        "end that, then run this again"
    )


def _look_at_database(target: Target, found: dict[str, Any]) -> None:
    with target.connection() as connection:
        _look_at_server(connection, found)


def _look_at_schema(target: Target, found: dict[str, Any]) -> None:
    from chatstore.backends.sql import migrations
    from chatstore.backends.sql.schema_check import schema_state
    from chatstore.backends.sql.search_objects import search_index_exists, unindexed

    found["revision"] = migrations.current(target.sql, schema=target.schema)
    found["head"] = migrations.HEAD  # not before: a schema that could not be looked at is not none
    with target.connection() as connection:
        if schema_state(connection, target.schema) == "ready":
            found["search_index"] = search_index_exists(connection, target.schema)
            if found["search_index"]:
                found["unindexed_sessions"], found["unindexed_messages"] = unindexed(
                    connection, target.schema
                )


def _look_inside(repository: Repository, _found: dict[str, Any]) -> None:
    """Read the first session and its messages, which need no more than that they can be read."""
    for session in repository.list_sessions(archived=None, limit=1).items:
        with suppress(CorruptRecord):  # which is not what is looked for
            repository.get_messages(session.session_id, limit=1)


def _look_closer(target: Target, _found: dict[str, Any]) -> None:
    """Raise an error about tables that somebody changed."""
    with target.provisioner() as tables:
        differing = tables.check().differences
    if differing:
        msg = f"the tables are not as this release expects them ({differing[0]}): see chatstore check, undo that"
        raise SchemaError(msg)


def _look_for_rights(target: Target, _found: dict[str, Any]) -> None:
    """Raise an error about a place that cannot be written."""
    path = target.path
    # SQLite writes a journal beside its file; in a folder of files, locks are taken.
    for place in [] if path is None else [path, path.parent if target.is_sql else path / ".locks"]:
        if place.exists() and not os.access(
            place, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            msg = (
                f"this user cannot write to {place}, only read: give it the right to, or choose another place"
            )
            raise StorageError(msg)


def _look_at_server(connection: Connection, facts: dict[str, Any]) -> None:
    dialect = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    number = ".".join(str(part) for part in getattr(dialect, "server_version_info", None) or ())
    facts["backend"], facts["server"] = dialect.name, f"{name} {number}".strip()
    release = getattr(dialect.dbapi, "__version__", None)
    facts["driver"] = f"{dialect.driver} {release}" if isinstance(release, str) else dialect.driver


def _look_at_promises(repository: Repository, found: dict[str, Any]) -> None:
    durability = repository.durability()
    found["durability"] = {"level": durability.level, "detail": durability.detail}
    capabilities = repository.capabilities
    found["cannot"], found["notes"] = sorted(capabilities.denied), list(capabilities.notes)


def _look_for_expired(repository: Repository, found: dict[str, Any]) -> None:
    found["expired_sessions"] = repository.purge(dry_run=True).sessions


def _look_for_abandoned(repository: Repository, found: dict[str, Any]) -> None:
    found["abandoned_answers"] = repository.close_answers(dry_run=True)


def _count(target: Target, repository: Repository, found: dict[str, Any]) -> None:
    if target.is_sql:
        with target.provisioner() as tables:
            found["sessions"], found["messages"] = tables.held()
    else:
        found["sessions"], found["messages"] = _counted(repository)


def _counted(repository: Repository) -> tuple[int, int]:
    sessions = messages = 0
    cursor = None
    while True:
        page = repository.list_sessions(archived=None, limit=1000, cursor=cursor)
        sessions += len(page.items)
        messages += sum(session.message_count for session in page.items)
        if (cursor := page.next_cursor) is None:
            return sessions, messages


def _advice(target: Target, facts: dict[str, Any]) -> list[str]:
    advice = [facts["error"]] if facts["error"] else []
    advice += _strangers()
    if not target.chosen:
        advice.append("this is the default storage: set CHATSTORE_URL to the one your application uses")
    if not facts["error"] and (facts["revision"] or "") > (facts["head"] or facts["revision"] or ""):
        advice.append("the database is newer than this installation of chatstore: upgrade that soon")
    if facts["search_index"] is False:
        advice.append("search reads every message: run chatstore index create to make it fast")
    if (facts["unindexed_messages"] or 0) > MANY_UNINDEXED:
        advice.append(
            "the next searches have much to index first: run chatstore index refresh, and from cron"
        )
    if facts["durability"] and facts["durability"]["level"] == "process":
        advice.append(
            "a machine that stops may lose the last messages: make commits synchronous (see durability)"
        )
    if facts["durability"] and facts["durability"]["level"] == "none":
        advice.append("nothing is kept when the process ends: use file: or a database for what must last")
    if facts["expired_sessions"]:
        advice.append(f"{facts['expired_sessions']} expired sessions still take space: run chatstore purge")
    if facts["abandoned_answers"]:
        left = counted(facts["abandoned_answers"], "answer")
        advice.append(f"{left} left streaming by processes that died: run chatstore close-answers")
    path = target.path
    if path is not None and path.exists() and path.stat().st_mode & _PRIVATE:
        advice.append(f"other users of this machine can open {path}: chmod go-rwx it")
    return advice


def _strangers() -> list[str]:
    """Tell of other distributions that put files into the folder of this package: pip lets them overwrite it."""
    python = shlex.quote(sys.executable)
    return [
        f"{name} {version(name)} is another project, whose files stand in the same folder as these: "
        f"{python} -m pip uninstall {name}, then install {DISTRIBUTION} again"
        for name in sorted({one.name for one in distributions() if _brings(one, "chatstore")})
        if re.sub(r"[-_.]+", "-", name).lower() != DISTRIBUTION
    ]


def _brings(distribution: Distribution, package: str) -> bool:
    """Tell whether *distribution* installed a *package*; `packages_distributions` takes half a second for that."""
    if names := distribution.read_text("top_level.txt"):
        return package in names.split()
    return f"\n{package}/" in f"\n{distribution.read_text('RECORD')}"


def _show(facts: dict[str, Any]) -> None:
    for label, value in _lines(facts):
        _say(label, str(value))
    for one in facts["advice"]:
        _say("advice", one, fg="yellow")
    if facts["ok"] and not facts["advice"]:
        click.secho("all is well", fg="green")


def _say(label: str, text: str, **style: Any) -> None:
    """Print a fact; on a terminal long ones go on below, and no word is broken."""
    lines, width = [line(text)], terminal_width()
    if width is not None:
        room = max(width - _INDENT, _INDENT)
        lines = textwrap.wrap(lines[0], room, break_long_words=False, break_on_hyphens=False)
    label = click.style(f"{label:<{_INDENT}}", bold=True, **style)
    click.echo(label + f"\n{'':{_INDENT}}".join(lines))


def _lines(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    versions = [f"{name} {number or 'missing'}" for name, number in facts["versions"].items()]
    known = [
        ("storage", facts["url"]),
        ("server", facts["server"]),
        ("driver", facts["driver"]),
        ("schema", _schema(facts["revision"], facts["head"])),
        ("search", _search(facts)),
        ("durability", _durability(facts["durability"])),
        ("sessions", facts["sessions"]),
        ("messages", facts["messages"]),
        ("unseen", ", ".join(facts["unseen"]) or None),
        ("cannot", ", ".join(facts["cannot"]) or None),
        ("limits", "listed as notes by chatstore doctor --json" if facts["notes"] else None),
        ("versions", ", ".join(versions)),
    ]
    return [(label, value) for label, value in known if value is not None]


def _search(facts: dict[str, Any]) -> str | None:
    if not facts["search_index"]:
        return None if facts["search_index"] is None else "scans, no index"
    new = facts["unindexed_messages"]
    return f"full-text index, {counted(new, 'message')} not in it yet" if new else "full-text index"


def _schema(revision: str | None, head: str | None) -> str | None:
    """Return the revision, and the head where it is another one; None for a storage without a schema."""
    if head is None:
        return None
    return f"{head} (head)" if revision == head else f"{revision or 'none'} (head is {head})"


def _durability(found: dict[str, Any] | None) -> str | None:
    return f"{SURVIVES[found['level']]} ({found['detail']})" if found else None
