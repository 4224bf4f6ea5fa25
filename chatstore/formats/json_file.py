"""LangChain's file: one JSON array with an object for each message, in the shape of any release.

This module knows how to cut an array into its elements without reading all of it, so that one that is damaged hides no
other; it refuses to know what an element says. `chatstore.formats` reads more kinds of files, each as a whole.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from chatstore.errors import Invalid
from chatstore.incoming.session import Element, Incoming, parse_element

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

OPTIONS: Final[dict[str, str]] = {}
_CHUNK: Final = 1 << 16
#: An element of more bytes is a quote that is never closed, not a message.
_LONGEST: Final = 256 << 20
_TOKEN: Final = re.compile(rb'[\[\]{},"\\]')
_SPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_OTHER: Final = (
    "it is not a JSON array: import it without --from, which reads other shapes too, or make it one"
)


def mask(source: str) -> str:
    """Return the path."""
    return source


def read(source: str, session: str | None, options: Mapping[str, str]) -> Generator[Incoming, None, None]:
    """Yield the file's one session, called *session*, else as the file without its ending."""
    del options
    path = Path(source)
    if path.is_dir():
        msg = f"{source} is a folder: name the files in it, such as {source}/*.json"
        raise Invalid(msg)
    with path.open("rb") as stream:
        yield Incoming(session or path.stem, path.name, source, _read_elements(stream, source))


def _read_elements(stream: BinaryIO, place: str) -> Iterator[Element]:
    ordinal = 0
    pieces = split(stream)
    while True:
        ordinal += 1
        try:
            raw = next(pieces, None)
        except Torn as torn:
            yield Element(ordinal, f"{place} from element {ordinal} on", fault=str(torn))
            return
        if raw is None:
            return
        yield parse_element(ordinal, f"{place} element {ordinal}", raw)


class Torn(ValueError):
    """The array does not go on as an array does."""


def split(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the text of each element of the array in *stream*, whether or not it is JSON.

    Raises `Torn` where the rest cannot be cut into elements.
    """
    scanner, piece, begun = _Scanner(), bytearray(), False
    data = _read_opening(stream)
    while data:
        start = 0
        for at, sign in scanner.find_cuts(data):
            piece += data[start:at]
            start = at + 1
            raw = bytes(piece.strip(_SPACE))
            if raw or sign == b"," or begun:
                yield raw
            if sign == b"]":
                _check_end(data[start:], stream)
                return
            begun = True
            piece.clear()
        piece += data[start:]
        if len(piece) > _LONGEST:
            msg = f"an element has more than {_LONGEST >> 20} MB: look for a quote that is missing"
            raise Torn(msg)
        data = stream.read(_CHUNK)
    if raw := bytes(piece.strip(_SPACE)):
        yield raw  # the last one may be whole
    msg = (
        "the file ends before the array does: it was cut off while it was written; what stands before is read"
    )
    raise Torn(msg)


class _Scanner:
    """Where in a text that comes in chunks the commas and the bracket are that belong to the array itself."""

    def __init__(self) -> None:
        self.depth, self.quoted, self.escaped = 0, False, False

    def find_cuts(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the place and the sign of each in *data*, the next chunk."""
        skip = 0 if self.escaped else -1
        for token in _TOKEN.finditer(data):
            at, sign = token.start(), token[0]
            if at == skip:
                continue
            if self.quoted:
                self.quoted = sign != b'"'
                skip = at + 1 if sign == b"\\" else skip
            elif sign == b'"':
                self.quoted = True
            elif sign in b"[{":
                self.depth += 1
            elif self.depth:
                self.depth -= sign in b"]}"
            elif sign in b",]":
                yield at, sign
        self.escaped = skip == len(data)


def _read_opening(stream: BinaryIO) -> bytes:
    """Read up to the array's opening bracket; return what was read after it."""
    data = b""
    while len(data.strip(_SPACE)) <= len(_BOM) and (more := stream.read(_CHUNK)):
        data += more
    data = data.removeprefix(_BOM).lstrip(_SPACE)
    if not data:
        msg = "the file is empty: restore it, or write [] for no messages"
        raise Torn(msg)
    if not data.startswith(b"["):
        raise Torn(_OTHER)
    return data[1:] or stream.read(_CHUNK)


def _check_end(rest: bytes, stream: BinaryIO) -> None:
    """Raise `Torn` if anything comes after the array."""
    while rest or (rest := stream.read(_CHUNK)):
        if rest.strip(_SPACE):
            msg = "something comes after the array: remove it, or import the file without --from"
            raise Torn(msg)
        rest = b""
