"""Import and export: conversations in the files of other programs, and back.

This module knows which formats there are and how one is recognised; a format's module knows one message,
`chatstore.formats.containers` the file around it, `chatstore.incoming` how a conversation gets into a repository. None
of them knows where anything is stored.

A format is a module with three functions: ``fits(message)`` tells whether a JSON object is a message of it,
``load(message)`` makes a chatstore message of one, and ``dump(message)`` the JSON object of a chatstore
message.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

from chatstore.errors import Invalid, InvalidMessage
from chatstore.formats.containers import as_json, beside, envelopes, write_array, write_line
from chatstore.incoming.session import load_element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatstore.incoming.session import Element, IncomingSession
    from chatstore.messages import Message

__all__ = [
    "FORMATS",
    "Format",
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


def read(stream: BinaryIO, name: str = "auto", *, file: str = "") -> Iterator[IncomingSession]:
    """Yield the sessions in *stream*, in order; JSON Lines are read line by line.

    *name* is a format, or ``auto``: then each session's first message decides. *file* is the file's name, of which
    ids of messages are made. Raises `InvalidMessage`, saying where, for what is no JSON or no message of the format.
    """
    given = None if name == "auto" else find(name)
    for envelope in envelopes(stream):
        form = given or _recognised(envelope.messages, envelope.place)
        elements = [
            _element(form, message, number, f"{envelope.place}message {number}")
            for number, message in enumerate(envelope.messages, 1)
        ]
        yield envelope.session(elements, file)


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


def _element(form: Format, message: Any, number: int, place: str) -> Element:
    def load() -> Message:
        if not isinstance(message, dict):
            msg = f"it is of type {type(message).__name__}: write an object"
            raise InvalidMessage(msg)
        return form.load(message)

    element = load_element(number, place, load, **(beside(message) if isinstance(message, dict) else {}))
    if element.fault:
        msg = f"{place}: {element.fault}"
        raise InvalidMessage(msg)
    return element
