"""Import and export: conversations in the files of other programs, and back.

This module knows which formats there are and how one is recognised; a format's module knows one message,
`chatstore.formats.containers` the file around it, `chatstore.formats.loading` how a conversation gets into a
repository. None of them knows where anything is stored.

A format is a module with three functions: ``fits(message)`` tells whether a JSON object is a message of it,
``load(message)`` makes a chatstore message of one, and ``dump(message)`` the JSON object of a chatstore
message.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

from chatstore.errors import Invalid, InvalidMessage
from chatstore.formats.containers import Conversation, Item, as_json, envelopes, write_array, write_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatstore.messages import Message

__all__ = [
    "FORMATS",
    "Conversation",
    "Format",
    "Item",
    "as_json",
    "find",
    "read",
    "write_array",
    "write_line",
]

#: The name of each format, and the module that knows it; recognised in this order.
FORMATS: Final = {"page": "chatstore.formats.page", "openai": "chatstore.formats.openai"}


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
    if name not in FORMATS:
        msg = f"there is no format {name!r}: use one of {', '.join(FORMATS)}"
        raise Invalid(msg)
    return cast("Format", import_module(FORMATS[name]))


def read(stream: BinaryIO, name: str = "auto") -> Iterator[Conversation]:
    """Yield the conversations in *stream*, in order; JSON Lines are read line by line.

    *name* is a format, or ``auto``: then each conversation's first message decides. Raises
    `InvalidMessage`, saying where, for what is no JSON or no message of the format.
    """
    given = None if name == "auto" else find(name)
    for envelope in envelopes(stream):
        form = given or _recognised(envelope.messages, envelope.place)
        items = [
            _item(form, message, f"{envelope.place}message {number}")
            for number, message in enumerate(envelope.messages, 1)
        ]
        yield envelope.conversation(items)


def _recognised(messages: Iterable[Any], place: str) -> Format:
    first = next(iter(messages), {"type": "human", "data": {}})  # nothing in it fits everything
    for name in FORMATS:
        form = find(name)
        if isinstance(first, dict) and form.fits(first):
            return form
    msg = (
        f"{place}message 1: it has neither a type and data (page) nor a role (openai): "
        "say --format, or convert the file to one of them"
    )
    raise InvalidMessage(msg)


def _item(form: Format, message: Any, place: str) -> Item:
    try:
        if isinstance(message, dict):
            return Item.around(message, form.load(message))
        msg = f"{place}: it is of type {type(message).__name__}: write an object"
    except InvalidMessage as error:
        msg = f"{place}: {error}"
    except RecursionError:
        msg = f"{place}: it is nested too deeply to be stored: flatten it"
    raise InvalidMessage(msg)
