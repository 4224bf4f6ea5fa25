"""A JSON array in a file, one element a line: looked at in one piece, read in parts, appended to in O(1).

``[``, the elements with a comma after each but the last, ``]``: such a file is *neat*. It is plain JSON for
everyone, and because JSON has no bare line breaks, a line is an element. This module knows lines and bytes;
it refuses to know what an element says. `chatstore.backends.file.repair` understands files that are not neat.

What was looked at stays readable whatever happens to the file: elements never move within it, and a file that
is replaced lives on for those who have it open.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from chatstore.backends.file import filesystem, repair
from chatstore.backends.file.repair import CLOSING, EMPTY, FIRST, HEAD
from chatstore.errors import OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chatstore.backends.file.filesystem import Stamp

#: Bytes read at first, from either end; a long line takes more.
BLOCK: Final = 4096
_LONG_BLOCK: Final = 1 << 22
#: What a kill cannot interrupt half way.
_PAGE: Final = 4096


class Array:
    """What was in an array file when it was looked at.

    *neat* arrays have lines; of others only *elements* are known, as values. *torn* is what stands behind the
    last whole element where the file's end is missing, and *lost* how many elements that may have been.
    """

    def __init__(self, path: str, descriptor: int, stamp: Stamp, tail: bytes) -> None:
        """Own *descriptor*; *tail* is the end of the file."""
        self.path = path
        self.stamp = stamp
        self.neat = True
        self.torn: bytes | None = None
        self.lost = 0
        self.elements: list[Any] = []
        self._descriptor = descriptor
        self._size = stamp.size
        self._tail = tail

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)

    @property
    def end(self) -> int:
        """Where the last element's line ends."""
        return self._size - len(CLOSING)

    @property
    def empty(self) -> bool:
        """Tell whether there is no element."""
        return self._size == len(EMPTY) if self.neat else not self.elements

    @property
    def changed(self) -> int:
        """When the file was last changed, in microseconds since 1970."""
        return self.stamp.mtime // 1000

    @property
    def time(self) -> datetime:
        """When the file was last changed."""
        seconds, micro = divmod(self.changed, 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from *start* to *end*."""
        known = self._size - len(self._tail)
        if start >= known:
            return self._tail[start - known : end - known]
        return filesystem.read(self._descriptor, start, end)

    def whole(self) -> bytes:
        """Return all bytes."""
        return self.read(0, self._size)

    def understand(self) -> Array:
        """Become what `repair` makes of a file that is not neat."""
        shape = repair.understand(self.path, self.whole())
        self.neat, self.elements = shape.neat is not None, shape.elements
        self.torn, self.lost = shape.torn, shape.lost
        if shape.neat is not None:
            self._tail, self._size = shape.neat, len(shape.neat)
        return self

    # ---- the lines of a neat array

    def last_line(self) -> bytes:
        """Return the newest element's line."""
        start = self._tail.rfind(b"\n", 0, len(self._tail) - len(CLOSING)) + 1
        return self._tail[start : -len(CLOSING)] if start else next(line for _, line in self.back(self.end))

    def line_at(self, offset: int) -> tuple[int, bytes]:
        """Return where the line begins that the byte at *offset* belongs to, and the line."""
        start = next(at for at, _ in self.back(offset))
        return next(self.forth(start))

    def back(self, end: int, start: int = FIRST) -> Iterator[tuple[int, bytes]]:
        """Yield the lines between *start* and *end* with their offsets, the last one first, cut at *end*."""
        rest, block, known = b"", BLOCK, self._size - len(self._tail)
        while start < end:
            low = max(start, known if end > known else end - block)
            lines = (self.read(low, end) + rest).split(b"\n")
            offset = end + len(rest)
            rest = lines[0]
            for line in reversed(lines[1:]):
                offset -= len(line)
                yield offset, line.removesuffix(b",")
                offset -= 1
            end, block = low, min(2 * block, _LONG_BLOCK)
        yield start, rest.removesuffix(b",")

    def forth(self, start: int = FIRST, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the lines from the one that begins at *start*, up to *end*, with their offsets."""
        end = self.end if end is None else end
        rest, block, at = b"", BLOCK, start
        while at < end:
            part = self.read(at, min(at + block, end))
            if not part:
                break  # another program cut the file meanwhile
            at, block = at + len(part), min(2 * block, _LONG_BLOCK)
            lines = (rest + part).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield start, line.removesuffix(b",")
                start += len(line) + 1
        if rest:
            yield start, rest.removesuffix(b",")

    def lines_from(self, start: int = FIRST) -> int:
        """Return how many lines there are from the one that begins at *start*."""
        count, at = 0, start
        while at < self.end and (part := self.read(at, min(at + _LONG_BLOCK, self.end))):
            count, at = count + part.count(b"\n"), at + len(part)
        return count + (start < self.end)


def look(path: str) -> Array | None:
    """Return what the array file *path* holds; None where there is none.

    Raises `StorageError` for a file that is no array.
    """
    try:
        descriptor = filesystem.open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        stamp = filesystem.stamp_of(os.fstat(descriptor))
        tail = filesystem.read(descriptor, max(0, stamp.size - BLOCK), stamp.size)
        head = tail if stamp.size <= BLOCK else filesystem.read(descriptor, 0, len(HEAD))
    except BaseException:
        os.close(descriptor)
        raise
    array = Array(path, descriptor, stamp, tail)
    # A brace: behind a comma that somebody left there, an append would make the file no JSON.
    neat = (head.startswith(HEAD) and tail.endswith(b"}" + CLOSING)) or tail == EMPTY
    return array if neat else array.understand()


# -------------------------------------------------------------------------------- writing


def append(array: Array, lines: Sequence[bytes], *, mtime: int | None = None) -> None:
    """Put *lines* behind the last element of a neat *array*, all or nothing, and wait for the disk.

    An array without elements is written anew instead: `write`.
    """
    at = array.end
    data = b",\n" + b",\n".join(lines) + CLOSING
    descriptor = _open_unchanged(array)
    try:
        try:
            _put(descriptor, data, at)
            if mtime is not None:
                with suppress(PermissionError):  # only its owner may set a file's time
                    os.utime(descriptor, ns=(mtime, mtime))
            os.fdatasync(descriptor)
        except BaseException:
            _take_back(descriptor, array, at)
            raise
    finally:
        os.close(descriptor)


def _open_unchanged(array: Array) -> int:
    """Open the file for writing; raise `StorageUnavailable` if a program that knows no locks changed it."""
    descriptor = filesystem.open_file(array.path, os.O_RDWR)
    if filesystem.stamp_of(os.fstat(descriptor))[:3] == array.stamp[:3]:
        return descriptor
    os.close(descriptor)
    msg = f"{array.path} was changed by another program at the same moment: repeat the call"
    raise StorageUnavailable(msg)


def _put(descriptor: int, data: bytes, at: int) -> None:
    """Write *data* over the closing line at *at* so that a kill at any moment leaves all of it or nothing.

    What lies in one page is written whole or not at all. Otherwise everything behind the old end goes first,
    but for the last byte; then the closing line becomes a comma and a line break; then one byte, the brace of
    the first new element, makes it all count; the last byte says that nothing is left to do.
    """
    end = at + len(data)
    if at // _PAGE == (end - 1) // _PAGE:
        filesystem.write(descriptor, data, at)
        return
    for start, stop in ((3, len(data) - 1), (0, 2), (2, 3), (len(data) - 1, len(data))):
        filesystem.write(descriptor, data[start:stop], at + start)


def _take_back(descriptor: int, array: Array, at: int) -> None:
    try:
        filesystem.write(descriptor, CLOSING, at)
        os.ftruncate(descriptor, array.stamp.size)
    except OSError as error:
        msg = (
            f"{array.path}: writing failed, and so did taking it back: read the session, then repeat the call"
        )
        raise OutcomeUnknown(msg) from error


def write(path: str, lines: Iterable[bytes], *, mtime: int | None = None) -> None:
    """Put a neat array of *lines* in the place of the file *path*, all or nothing."""
    body = b",\n".join(lines)
    filesystem.replace_file(path, [b"[\n", body, CLOSING] if body else [EMPTY], mtime=mtime)


def keep_torn(array: Array) -> None:
    """Put aside what was torn off *array*, in a file of the same name and ``.torn``."""
    if array.torn:
        filesystem.append_aside(f"{array.path}.torn", array.torn)


def mend(array: Array) -> None:
    """Cut a torn file back to its last whole element, and keep what is cut."""
    keep_torn(array)
    descriptor = _open_unchanged(array)
    try:
        os.ftruncate(descriptor, array.end)
        filesystem.write(descriptor, CLOSING, array.end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
