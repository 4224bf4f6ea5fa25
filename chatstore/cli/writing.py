"""``append``: one message, from the command line or from stdin.

This module knows roles and stdin; it refuses to know how messages are stored.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from chatstore.cli.options import examples, json_option, owner_options
from chatstore.cli.output import as_json, say
from chatstore.cli.target import Target, on_target
from chatstore.errors import Invalid

if TYPE_CHECKING:
    from chatstore.repository import Repository

ROLES: Final = {
    "user": "HumanMessage",
    "human": "HumanMessage",
    "assistant": "AIMessage",
    "ai": "AIMessage",
    "system": "SystemMessage",
}


@click.command(
    epilog=examples(
        "chatstore append ada-chain 'And in winter?'",
        "chatstore append ada-chain 'Every 100 km.' --role assistant --user ada",
        "echo 'Hello!' | chatstore append ada-chain - --id greeting-1",
    )
)
@click.argument("session")
@click.argument("text")
@click.option("--role", type=click.Choice([*ROLES]), default="user", show_default=True, help="Who said it.")
@click.option(
    "--id", "message_id", metavar="ID", help="Message id; repeating the command with it stores nothing twice."
)
@owner_options("The {} who owns the session; a session of another one is refused.")
@json_option
@on_target()
def append(
    target: Target,
    session: str,
    text: str,
    *,
    role: str,
    message_id: str | None,
    user: str | None,
    tenant: str | None,
    json_: bool,
) -> None:
    """Append TEXT as a message to SESSION.

    A session that does not exist is created. "-" reads the text from stdin. Put "--" before a TEXT that begins with
    a dash.
    """
    from chatstore import messages

    said = _stdin() if text == "-" else text
    message = getattr(messages, ROLES[role])(said, **({"id": message_id} if message_id is not None else {}))
    with target.writing() as repository:
        records = _scoped(repository, user, tenant).add_messages(session, [message])
    record = records[0]
    if json_:
        told = {"session_id": session, "position": record.position, "message_id": record.message_id}
        as_json({**told, "created_at": record.created_at, "revision": records.revision})
    else:
        say(f"message {record.position} of session {session}, in {target.shown}")


COMMANDS = (append,)


def _scoped(repository: Repository, user: str | None, tenant: str | None) -> Repository:
    if user is None and tenant is None:
        return repository
    return repository.scope(user_id=user, tenant_id=tenant)


def _stdin() -> str:
    """Return what stdin holds, without the line break at its end."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError:
        msg = "stdin is not UTF-8: convert it first, for example with iconv"
        raise Invalid(msg) from None
    return text.removesuffix("\n").removesuffix("\r")
