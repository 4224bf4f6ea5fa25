"""``--user ""`` and ``--tenant ""``, as a variable that is not set gives them: refused by every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

import chatstore
from chatstore import HumanMessage
from chatstore.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

#: What follows the name of each command that takes an owner.
COMMANDS = {
    "sessions": (),
    "search": ("secret",),
    "append": ("trip", "Hello"),
    "import": ("chat.json",),
    "export": ("trip",),
    "copy": ("sqlite:///chat.db", "sqlite:///new.db"),
    "edit": ("trip",),
    "assign": ("--to-user", "kenji", "--yes"),
    "purge": ("--yes",),
    "web": ("--port", "0"),
    "token": ("tokens.json",),
}


def test_every_command_that_takes_an_owner_is_tested() -> None:
    """A new command with --user cannot be forgotten here."""
    context = click.Context(main)
    found = {
        name
        for name in main.list_commands(context)
        if any("--user" in one.opts for one in getattr(main.get_command(context, name), "params", ()))
    }

    assert set(COMMANDS) == found


@pytest.mark.parametrize("option", ["--user", "--tenant"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_owner_is_refused(command: str, option: str, cli: Run, folder: Path) -> None:
    """Nothing is printed of somebody's session, nothing is written, and no file is made."""
    (folder / "chat.json").write_text('[{"type": "human", "data": {"content": "Hi"}}]', encoding="utf-8")
    with chatstore.connect("sqlite:///chat.db") as store:
        store.scope(user_id="ada").add_messages("trip", [HumanMessage("a secret")])
    where = () if command in {"copy", "token"} else ("--url", "sqlite:///chat.db")

    ran = cli(command, *COMMANDS[command], option, "", *where)

    assert (2, "") == (ran.code, ran.out)
    assert f"{option} is empty" in ran.err
    assert not (folder / "new.db").exists()
    with chatstore.connect("sqlite:///chat.db") as store:
        assert ["a secret"] == [message.content for message in store.get_messages("trip")]
        assert 1 == len(store.list_sessions().items)


def test_an_import_from_a_source_refuses_an_empty_owner(cli: Run) -> None:
    """What another program left is not even looked at."""
    ran = cli("import", "--from", "redis-list", "redis://127.0.0.1:1", "--user", "", "--url", "memory:")

    assert 2 == ran.code
    assert "--user is empty" in ran.err
