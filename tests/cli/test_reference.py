"""docs/reference/cli.md says what --help says: every command, every option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from chatstore.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def commands(group: click.Group, path: str = "chatstore") -> Iterator[tuple[str, click.Command]]:
    """Give every command that does something, with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif command is not None:
            yield f"{path} {name}", command


COMMANDS = dict(commands(main))


def section(name: str) -> str:
    """Return what the page says below the heading of a command."""
    page = PAGE.read_text(encoding="utf-8")
    return page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]


def told(name: str) -> set[str]:
    """Return the options in the first column of a command's table."""
    rows = [line.split("|")[1] for line in section(name).splitlines() if line.startswith("| `-")]
    return {option for row in rows for option in OPTION.findall(row)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_the_page(name: str) -> None:
    """The options in the table of each command are those of its --help, no more and no fewer."""
    options = [one for one in COMMANDS[name].params if isinstance(one, click.Option)]

    assert {word for option in options for word in (*option.opts, *option.secondary_opts)} == told(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_or_a_sentence(name: str) -> None:
    """A heading alone documents nothing."""
    assert len(section(name).split()) > 10


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_is_whole(name: str) -> None:
    """Each command has a sentence that fits the list, and each option says what it does."""
    command = COMMANDS[name]

    assert not command.get_short_help_str(limit=100).endswith("...")
    assert [] == [one.name for one in command.params if isinstance(one, click.Option) and not one.help]


def test_a_missing_option_would_be_found() -> None:
    """The comparison sees an option that the page lacks."""
    assert "--cursor" in told("chatstore sessions")
    assert "--bogus" not in told("chatstore sessions")
