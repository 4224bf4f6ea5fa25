"""What this process learnt about array files: how many lines they have, and which line has which id.

This module knows lines and offsets; it refuses to know what makes an id. A file that only grew since is read
from where it ended then. The memory is bounded: the files used last are remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from chatstore.backends.file.filesystem import Stamp, StampCache
from chatstore.backends.file.repair import FIRST

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.backends.file.array_file import Array

REMEMBERED: Final = 64


class Line(NamedTuple):
    """Where a line stands: its offset in bytes, and its number from 1."""

    offset: int
    number: int


class _Known(NamedTuple):
    lines: int
    ids: dict[str, Line] | None


_NOTHING: Final = _Known(0, None)


class LineIndex:
    """The lines of array files in which *identify* finds an id (None where there is none)."""

    def __init__(self, identify: Callable[[bytes], str | None]) -> None:
        """Know nothing yet."""
        self._identify = identify
        self._files = StampCache[Stamp, _Known](REMEMBERED)

    def count(self, array: Array) -> int:
        """Return how many elements the neat *array* has."""
        return self._learn(array, ids=False).lines

    def find(self, array: Array, message_id: str) -> Line | None:
        """Return where the neat *array* has *message_id*; the first line, where two have it."""
        ids = self._learn(array, ids=True).ids
        line = ids.get(message_id) if ids is not None else None
        # Another thread may have learnt of lines that this array did not have yet.
        return line if line is not None and line.offset < array.end else None

    def _learn(self, array: Array, *, ids: bool) -> _Known:
        then, known = self._files.get(array.path) or (None, _NOTHING)
        if then is None or (ids and known.ids is None) or not _has_grown(then, known, array):
            then, known = None, _NOTHING
        if then != array.stamp:
            start = FIRST if then is None else then.size - 1
            known = self._read(array, start, known, ids=ids)
            self._files.put(array.path, array.stamp, known)
        return known

    def _read(self, array: Array, start: int, known: _Known, *, ids: bool) -> _Known:
        """Return what is known with the lines from *start*."""
        if array.empty:
            return _Known(0, {})
        if not ids and known.ids is None:
            return _Known(known.lines + array.count_lines(start), None)
        lines, found = known.lines, known.ids or {}
        for offset, line in array.read_forth(start):
            lines += 1
            message_id = self._identify(line)
            if message_id is not None:
                found.setdefault(message_id, Line(offset, lines))
        return _Known(lines, found)


def _has_grown(then: Stamp, known: _Known, array: Array) -> bool:
    """Tell whether *array* is what was known, or that with lines added: its closing line has become a comma."""
    now = array.stamp
    return then == now or (
        then[:2] == now[:2]
        and known.lines > 0
        and now.size > then.size
        and array.read(then.size - 3, then.size) == b",\n{"
    )
