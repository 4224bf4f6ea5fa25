"""docs/reference/cli.md says what --help says: every command, every option."""

from __future__ import annotations

import re
import shlex
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


def examples(name: str) -> list[list[str]]:
    """Return the words of each example below a command's options, without what the shell does with them."""
    lines = (COMMANDS[name].epilog or "").splitlines()[2:]
    return [shlex.split(re.split(" [<>|] ", line[line.index("chatstore") :])[0]) for line in lines]


def accept(words: list[str]) -> str:
    """Have click parse a line; return the full name of the command. Raises what click says against it."""
    context, command = main.make_context("chatstore", words[1:]), click.Context(main).command
    name, rest = "chatstore", [*context._protected_args, *context.args]
    while isinstance(command, click.Group):
        name, found = f"{name} {rest[0]}", command.get_command(context, rest[0])
        assert found is not None
        command, rest = found, rest[1:]
    command.make_context(name, rest)
    return name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_that_can_be_typed(name: str) -> None:
    """Each command's --help ends with lines that the command accepts."""
    assert "Examples:" in COMMANDS[name].get_help(click.Context(COMMANDS[name]))
    assert examples(name)
    assert {name} == {accept(line) for line in examples(name)}


def test_an_example_with_a_wrong_option_would_be_found() -> None:
    """Click refuses what it does not know, and a value that is none."""
    with pytest.raises(click.UsageError, match="--bogus"):
        accept(["chatstore", "sessions", "--bogus"])
    with pytest.raises(click.UsageError, match="write a time"):
        accept(["chatstore", "sessions", "--since", "5x"])


def test_the_help_of_all_commands_names_every_kind_of_url() -> None:
    """Whoever asks for help is told of each backend."""
    told = main.get_help(click.Context(main))

    schemes = ("memory:", "file:", "sqlite:", "postgresql:", "mysql:", "mariadb:", "redis:", "rediss:")
    assert [] == [one for one in (*schemes, "dynamodb:", "cosmosdb:") if one not in told]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_a_help_is_wider_than_80_columns(name: str) -> None:
    """On a terminal of 80 columns no line goes on in the next one."""
    context = click.Context(COMMANDS[name], info_name=name, terminal_width=80)

    assert [] == [line for line in COMMANDS[name].get_help(context).splitlines() if len(line) > 80]


def test_a_missing_option_would_be_found() -> None:
    """The comparison sees an option that the page lacks."""
    assert "--cursor" in told("chatstore sessions")
    assert "--bogus" not in told("chatstore sessions")
