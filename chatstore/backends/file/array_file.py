"""A JSON array in a file, one element a line: looked at in one piece, read in parts, appended to in O(1).

``[``, the elements with a comma after each but the last, ``]``: such a file is *neat*. It is plain JSON for
everyone, and because JSON has no bare line breaks, a line is an element. This module knows lines and bytes;
it refuses to know what an element says. `repair` understands files that are not neat.

What was looked at stays readable whatever happens to the file: elements never move within it, and a file that
is replaced lives on for those who have it open.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from chatstore.backends.file import filesystem, repair
from chatstore.backends.file.filesystem import OpenFile
from chatstore.backends.file.repair import CLOSING, EMPTY, FIRST, HEAD
from chatstore.errors import OutcomeUnknown, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Bytes read at first, from either end; a long line takes more.
BLOCK: Final = 4096
_LONG_BLOCK: Final = 1 << 22
#: What a kill cannot interrupt half way.
_PAGE: Final = 4096


class Array:
    """What was in an array file when it was looked at.

    *neat* arrays have lines; of others only *elements* are known, as values. *torn* is what follows the
    last whole element where the end of the file is missing, and *lost* how many elements that may have been.
    """

    def __init__(self, path: str, *, write: bool) -> None:
        """Look at the file *path*, to *write* to it later. Raises `StorageError` for what is not an array."""
        self.path = path
        self.torn: bytes | None = None
        self.lost = 0
        self.elements: list[Any] = []
        self.file, self.writable = _open(path, write=write)
        self.stamp = self.file.stamp
        size = self.stamp.size
        self._known = max(0, size - BLOCK)
        #: The end of the file, from the byte at `_known`.
        self.tail = self.file.read(self._known, size)
        head = self.tail if size <= BLOCK else self.file.read(0, len(HEAD))
        #: Where the last element's line ends.
        self.end = size - len(CLOSING)
        self.empty = self.tail == EMPTY
        # With the brace: an append after a comma that somebody left there would not be JSON.
        self.neat = self.empty or (head.startswith(HEAD) and self.tail.endswith(b"}" + CLOSING))
        if not self.neat:
            self._understand()

    def _understand(self) -> None:
        """Become what `repair` makes of a file that is not neat."""
        shape = repair.understand(self.path, self.file.read(0, self.stamp.size))
        self.neat, self.elements = shape.neat is not None, shape.elements
        self.torn, self.lost = shape.torn, shape.lost
        if shape.neat is not None:
            self.tail, self._known, self.end = shape.neat, 0, len(shape.neat) - len(CLOSING)
        self.empty = self.tail == EMPTY if self.neat else not self.elements

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
        if start >= self._known:
            return self.tail[start - self._known : end - self._known]
        return self.file.read(start, end)

    def read_all(self) -> bytes:
        """Return all bytes."""
        return self.read(0, self.end + len(CLOSING))

    # ---- the lines of a neat array

    def find_line(self, offset: int) -> tuple[int, bytes]:
        """Return where the line begins that the byte at *offset* belongs to, and the line."""
        start = next(at for at, _ in self.read_back(offset))
        return next(self.read_forth(start))

    def read_back(self, end: int, start: int = FIRST) -> Iterator[tuple[int, bytes]]:
        """Yield the lines between *start* and *end* with their offsets, the last one first, cut at *end*."""
        rest, block, known = b"", BLOCK, self._known
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

    def read_forth(self, start: int = FIRST, end: int | None = None) -> Iterator[tuple[int, bytes]]:
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

    def count_lines(self, start: int = FIRST) -> int:
        """Return how many lines there are from the one that begins at *start*."""
        count, at = 0, start
        while at < self.end and (part := self.read(at, min(at + _LONG_BLOCK, self.end))):
            count, at = count + part.count(b"\n"), at + len(part)
        return count + (start < self.end)


def look(path: str, *, write: bool) -> Array | None:
    """Return what the array file *path* holds, as `Array` does; None where there is none."""
    try:
        return Array(path, write=write)
    except FileNotFoundError:
        return None


def _open(path: str, *, write: bool) -> tuple[OpenFile, bool]:
    """Open the file, and tell whether it can be written to: a write may turn out to have nothing to do."""
    if write:
        try:
            return OpenFile(path, os.O_RDWR), True
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
    return OpenFile(path, os.O_RDONLY), False


# -------------------------------------------------------------------------------- writing


def append(array: Array, lines: Sequence[bytes], *, mtime: int | None = None) -> None:
    """Add *lines* after the last element of a neat *array*, all or nothing, and wait for the disk.

    An array without elements is replaced instead: `write`.
    """
    pieces = _cut(b",\n" + b",\n".join(lines) + CLOSING, array.end)
    file = _check_unchanged(array)
    try:
        for start, data in pieces:
            file.write(data, start)
        if mtime is not None:
            with suppress(PermissionError):  # only its owner may set a file's time
                os.utime(file.descriptor, ns=(mtime, mtime))
        os.fdatasync(file.descriptor)
    except BaseException:
        _take_back(file, array)
        raise


def _check_unchanged(array: Array) -> OpenFile:
    """Return the file to write to; raise `StorageUnavailable` if a program that knows no locks changed it."""
    file = array.file if array.writable else OpenFile(array.path, os.O_RDWR)
    now = filesystem.stamp(array.path)
    if now is None or now[:3] != array.stamp[:3]:
        msg = f"{array.path} was changed by another program at the same moment: repeat the call"
        raise StorageUnavailable(msg)
    return file


def _cut(data: bytes, at: int) -> list[tuple[int, bytes]]:
    """Cut *data*, which goes over the closing line at *at*, so that a kill at any moment leaves all of it or nothing.

    What lies in one page is written whole or not at all. Otherwise everything after the old end goes first,
    but for the last byte; then the closing line becomes a comma and a line break; then one byte, the brace of
    the first new element, makes it all count; the last byte says that nothing is left to do.
    """
    size = len(data)
    if at // _PAGE == (at + size - 1) // _PAGE:
        return [(at, data)]
    cuts = (3, size - 1), (0, 2), (2, 3), (size - 1, size)
    return [(at + start, data[start:stop]) for start, stop in cuts]


def _take_back(file: OpenFile, array: Array) -> None:
    try:
        file.write(CLOSING, array.end)
        os.ftruncate(file.descriptor, array.stamp.size)
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
    file = _check_unchanged(array)
    os.ftruncate(file.descriptor, array.end)
    file.write(CLOSING, array.end)
    os.fsync(file.descriptor)
