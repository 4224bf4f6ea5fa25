"""``doctor``: what is installed, what the storage is, in what state, and what to do about it.

This module knows what is worth looking at and which advice follows; it changes nothing and creates no file.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING, Any, Final

import click

from chatstore import __version__
from chatstore.cli.options import examples, json_option
from chatstore.cli.output import as_json, line, progress, terminal_width
from chatstore.cli.target import Target, on_target
from chatstore.errors import ChatstoreError, SchemaError, StorageError
from chatstore.extras import DISTRIBUTION

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from chatstore.records import DurabilityLevel
    from chatstore.repository import Repository

LIBRARIES: Final = ("sqlalchemy", "alembic", "pydantic")
_PRIVATE: Final = 0o077
#: Columns before a fact.
_INDENT: Final = 12
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

    Prints versions, database, schema, search index, durability, counts and advice. Changes nothing. The exit code
    is 1 if the storage cannot be used as it is.
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
        "durability": None,
        "sessions": None,
        "messages": None,
        "expired_sessions": None,
        "cannot": [],
        "notes": [],
        "versions": _versions(),
        "error": None,
        "advice": [],
    }
    try:
        target.must_exist()
        if target.is_sql:
            _look_at_database(target, facts)
        with target.reading() as repository:
            _look_at_repository(target, repository, facts)
            _look_closer(target, facts)
    except ChatstoreError as error:
        facts["error"] = str(error)
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


def _look_at_database(target: Target, facts: dict[str, Any]) -> None:
    from chatstore.backends.sql import migrations
    from chatstore.backends.sql.schema_check import schema_state
    from chatstore.backends.sql.search_objects import search_index_exists

    facts["head"] = migrations.HEAD
    with target.connection() as connection:
        _look_at_server(connection, facts)
    facts["revision"] = migrations.current(target.sql, schema=target.schema)
    with target.connection() as connection:
        if schema_state(connection, target.schema) == "ready":
            facts["search_index"] = search_index_exists(connection, target.schema)


def _look_closer(target: Target, facts: dict[str, Any]) -> None:
    """Raise what a first look does not show: tables that somebody changed, a place that cannot be written."""
    if target.is_sql and facts["revision"] == facts["head"]:
        with target.provisioner() as tables:
            differing = tables.check().differences
        if differing:
            msg = f"the tables are not as this release expects them ({differing[0]}): see chatstore check, undo that"
            raise SchemaError(msg)
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


def _look_at_repository(target: Target, repository: Repository, facts: dict[str, Any]) -> None:
    durability = repository.durability()
    facts["durability"] = {"level": durability.level, "detail": durability.detail}
    capabilities = repository.capabilities
    facts["cannot"], facts["notes"] = sorted(capabilities.denied), list(capabilities.notes)
    facts["expired_sessions"] = repository.purge(dry_run=True).sessions
    if target.is_sql:
        with target.provisioner() as tables:
            facts["sessions"], facts["messages"] = tables.held()
    else:
        facts["sessions"], facts["messages"] = _counted(repository)


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
    if facts["search_index"] is False:
        advice.append("search reads every message: run chatstore index create to make it fast")
    if facts["durability"] and facts["durability"]["level"] == "process":
        advice.append(
            "a machine that stops may lose the last messages: make commits synchronous (see durability)"
        )
    if facts["durability"] and facts["durability"]["level"] == "none":
        advice.append("nothing is kept when the process ends: use file: or a database for what must last")
    if facts["expired_sessions"]:
        advice.append(f"{facts['expired_sessions']} expired sessions still take space: run chatstore purge")
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
        for name in sorted(set(packages_distributions().get("chatstore", ())))
        if re.sub(r"[-_.]+", "-", name).lower() != DISTRIBUTION
    ]


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
        ("search", {True: "full-text index", False: "scans, no index"}.get(facts["search_index"])),
        ("durability", _durability(facts["durability"])),
        ("sessions", facts["sessions"]),
        ("messages", facts["messages"]),
        ("cannot", ", ".join(facts["cannot"]) or None),
        ("limits", "listed as notes by chatstore doctor --json" if facts["notes"] else None),
        ("versions", ", ".join(versions)),
    ]
    return [(label, value) for label, value in known if value is not None]


def _schema(revision: str | None, head: str | None) -> str | None:
    """Return the revision, and the head where it is another one; None for a storage without a schema."""
    if head is None:
        return None
    return f"{head} (head)" if revision == head else f"{revision or 'none'} (head is {head})"


def _durability(found: dict[str, Any] | None) -> str | None:
    return f"{SURVIVES[found['level']]} ({found['detail']})" if found else None
