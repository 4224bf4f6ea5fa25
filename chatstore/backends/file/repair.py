"""Array files that are not neat: torn by a crash, edited by hand, written by another program.

This module knows broken and foreign JSON, in memory; it refuses to know files and what an element says. Where
it is not sure what is meant, it says where the fault is and leaves everything as it is.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any, Final, NamedTuple, NoReturn

from chatstore.errors import StorageError

#: Neat arrays: how they begin, how they end, the empty one, and where the first line begins.
HEAD: Final = b'[\n{"type":'
CLOSING: Final = b"\n]\n"
EMPTY: Final = b"[\n]\n"
FIRST: Final = 2
#: How an appended element begins while its brace is missing. Nothing else begins a line like this.
_SEAM: Final = b'\n"type":'

#: What other programs write may hold NaN: that is for the reader of the element.
_json: Final = json.JSONDecoder()
#: A number, literal or escape that a cut goes through is at most this long.
_CUT: Final = 12
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class Shape(NamedTuple):
    """What was understood: the same as a neat array's bytes, or only its elements; and what was torn off."""

    neat: bytes | None
    elements: list[Any]
    torn: bytes | None = None
    lost: int = 0


def understand(path: str, data: bytes) -> Shape:
    """Return the elements of *data*, the contents of *path*. Raises `StorageError` for what is not an array."""
    try:
        value = _json.decode(text.strip()) if (text := data.decode("utf-8-sig")).strip() else []
    except (ValueError, RecursionError) as error:
        return _repair(path, data, error)
    if not isinstance(value, list):
        msg = (
            f"{path} holds a JSON {type(value).__name__}, no array of messages: move it, or name another file"
        )
        raise StorageError(msg)
    return Shape(None, value)


def _repair(path: str, data: bytes, error: Exception) -> Shape:
    lined = data.startswith(HEAD)
    # An append that was killed before it counted follows the closing line, or what was one.
    inner = data.find(CLOSING) + len(CLOSING)
    if lined and len(CLOSING) <= inner < len(data):
        return Shape(data[:inner], [], data[inner:])
    if lined and (seam := data.find(_SEAM)) > 0:
        return Shape(data[:seam].rstrip(b",\n]") + CLOSING, [], data[seam + 1 :])
    bare = data.removesuffix(CLOSING).rstrip(b", \t\r\n")
    if lined and data.endswith(CLOSING) and bare.endswith(b"}") and bare + CLOSING != data:
        # A comma after the last element, left by hand. Its lines can be read as they are; to append, it must go.
        shape = understand(path, bare + CLOSING)
        return shape if shape.neat is None else shape._replace(torn=b"")
    if (lined or HEAD.startswith(data[: len(HEAD)])) and not data.endswith(CLOSING):
        return _cut_back(data)
    if (
        data.startswith(EMPTY[:FIRST])
        and data.endswith(CLOSING)
        and any(map(_measure_element, data.split(b"\n")))
    ):
        return Shape(data, [])  # lines, some of which are damaged: their reader will name them
    return _cut_foreign(path, data, error)


def _cut_back(data: bytes) -> Shape:
    """Return what is whole of a file in lines that ends too early."""
    lines = data[FIRST:].split(b"\n")
    start = len(data)
    for number in range(len(lines) - 1, -1, -1):
        start -= len(lines[number])
        if length := _measure_element(lines[number]):
            end = start + length
            torn = data[end:] if data[end:].strip(b",\n]") else b""
            return Shape(data[:end] + CLOSING, [], torn, sum(map(bool, lines[number + 1 :])) if torn else 0)
        start -= 1
    return Shape(EMPTY, [], data[FIRST:], sum(map(bool, lines)))


def _measure_element(line: bytes) -> int:
    """Return how many bytes of *line* are a whole object at its beginning."""
    if not line.startswith(b"{"):
        return 0
    text = line.decode("utf-8", "surrogateescape")
    try:
        _, length = _json.raw_decode(text)
    except (ValueError, RecursionError):
        return 0
    return len(text[:length].encode("utf-8", "surrogateescape"))


def _cut_foreign(path: str, data: bytes, error: Exception) -> Shape:
    """Return the whole elements of a foreign file that ends too early; other faults are for its user."""
    data = data.removeprefix(BOM_UTF8)
    text, place, elements = data.decode("utf-8", "replace").rstrip(), 0, list[Any]()
    if not text.startswith("[") or (
        isinstance(error, UnicodeDecodeError) and "end of data" not in error.reason
    ):
        _refuse(path, error)
    while place < len(text):
        start = _skip_space(text, place + 1)
        try:
            value, end = _json.raw_decode(text, start)
        except json.JSONDecodeError as fault:
            if not _is_cut(text, fault):
                _refuse(path, error)
            return Shape(None, elements, data[len(text[:start].encode()) :], 1)
        except (ValueError, RecursionError):
            _refuse(path, error)
        elements.append(value)
        place = _skip_space(text, end)
        if text[place : place + 1] not in {",", ""}:
            _refuse(path, error)
    return Shape(None, elements, b"")


def _skip_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _is_cut(text: str, fault: json.JSONDecodeError) -> bool:
    """Tell whether *text* is at fault only because it ends here."""
    if fault.msg.startswith("Unterminated string"):
        return True
    return fault.pos >= len(text) - _CUT and not text.endswith("]")


def _refuse(path: str, error: Exception) -> NoReturn:
    if isinstance(error, json.JSONDecodeError):
        fault = f"{error.msg} at line {error.lineno}, column {error.colno}: correct it there"
    elif isinstance(error, UnicodeDecodeError):
        fault = f"byte {error.start} is not UTF-8: convert the file to UTF-8"
    else:
        fault = "it is nested too deeply, or has a number of too many digits: correct it"
    msg = f"{path} is no JSON array: {fault}; nothing was changed"
    raise StorageError(msg) from None
