"""Formats: conversations in the files of other programs, read and written.

This module knows which formats there are; a format's module knows one message, `chatstore.formats.reading` and
`chatstore.formats.writing` the file around it, `chatstore.incoming` how a conversation gets into a repository. None of
them knows where anything is stored. `chatstore.formats.json_file` reads a damaged file as far as it can be read.

A format is a module with three functions: ``fits(message)`` tells whether a JSON object is a message of it,
``load(message)`` makes a chatstore message of one, and ``dump(message)`` the JSON object of a chatstore message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from chatstore.incoming.registry import find_module

if TYPE_CHECKING:
    from chatstore.messages import Message

#: The name of each format, and its module; recognised in this order.
FORMATS: Final = {"langchain": "chatstore.formats.langchain", "openai": "chatstore.formats.openai"}
#: Names that formats had before.
ALIASES: Final = {"page": "langchain"}


class Format(Protocol):
    """What a format's module offers."""

    def fits(self, message: dict[str, Any]) -> bool:
        """Tell whether this JSON object is a message of the format."""

    def load(self, message: dict[str, Any]) -> Message:
        """Return the message; raise `InvalidMessage` for what it cannot be."""

    def dump(self, message: Message) -> dict[str, Any]:
        """Return the message as a JSON object of the format."""


def find(name: str) -> Format:
    """Return the format called *name*. Raises `Invalid` with the names there are."""
    return cast("Format", find_module("format", FORMATS, ALIASES.get(name, name)))
