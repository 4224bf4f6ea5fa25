"""What this process learnt about array files: how many lines they have, and which ids stand where.

This module knows lines and offsets; it refuses to know what makes an id. A file that only grew since is read
from where it ended then. The memory is bounded: the files used last are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from chatstore.backends.file.repair import FIRST
from chatstore.forks import renewed_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore.backends.file.array_file import Array
    from chatstore.backends.file.filesystem import Stamp

REMEMBERED: Final = 64


class Place(NamedTuple):
    """Where a line stands: its offset in bytes, and its number from 1."""

    offset: int
    number: int


class _Known(NamedTuple):
    stamp: Stamp
    lines: int
    ids: dict[str, Place] | None


class LineIndex:
    """The lines of array files in which *identify* finds an id (None where there is none)."""

    def __init__(self, identify: Callable[[bytes], str | None]) -> None:
        """Know nothing yet."""
        self._identify = identify
        self._files: OrderedDict[str, _Known] = OrderedDict()
        self._renew()
        renewed_in_child(self)

    def _renew(self) -> None:
        self._lock = Lock()

    def count(self, array: Array) -> int:
        """Return how many elements the neat *array* has."""
        return self._learnt(array, ids=False).lines

    def find(self, array: Array, message_id: str) -> Place | None:
        """Return where the neat *array* has *message_id*; the first place where an id stands twice."""
        known = self._learnt(array, ids=True)
        place = known.ids.get(message_id) if known.ids is not None else None
        # Another thread may have learnt of lines that this array did not have yet.
        return place if place is not None and place.offset < array.end else None

    def _learnt(self, array: Array, *, ids: bool) -> _Known:
        with self._lock:
            before = self._files.get(array.path)
        if before is not None and ids and before.ids is None:
            before = None
        if before is not None and before.stamp == array.stamp:
            return before
        known = self._read(array, before if before is not None and _grown(before, array) else None, ids=ids)
        with self._lock:
            self._files[array.path] = known
            self._files.move_to_end(array.path)
            if len(self._files) > REMEMBERED:
                self._files.popitem(last=False)
        return known

    def _read(self, array: Array, before: _Known | None, *, ids: bool) -> _Known:
        start = FIRST if before is None else before.stamp.size - 1
        lines = 0 if before is None else before.lines
        if array.empty:
            return _Known(array.stamp, 0, {})
        if not ids and (before is None or before.ids is None):
            return _Known(array.stamp, lines + array.lines_from(start), None)
        found = {} if before is None or before.ids is None else before.ids
        for offset, line in array.forth(start):
            lines += 1
            message_id = self._identify(line)
            if message_id is not None:
                found.setdefault(message_id, Place(offset, lines))
        return _Known(array.stamp, lines, found)


def _grown(before: _Known, array: Array) -> bool:
    """Tell whether *array* is what was known, with lines added: its closing line has become a comma."""
    then, now = before.stamp, array.stamp
    same_file = (then.device, then.inode) == (now.device, now.inode)
    return (
        same_file
        and before.lines > 0
        and now.size > then.size
        and array.read(then.size - 3, then.size) == b",\n{"
    )
