"""Sessions in a directory: for each an array of its messages, and a small file with its own data.

This module knows which of the two files an operation changes, in which order, and which of them decides:

========================  ===================================================================================
what changes              what decides
========================  ===================================================================================
append                    the array, to which lines are added; its last one says what the session became
edit, delete a message    the array, replaced; its last line says what the session became
clear                     the session's file: elements up to its ``rows_after`` are void; the array follows
title, owner, …           the session's file
create                    the array, after the session's file; without messages, the session's file
delete                    the session's file, which says that there is none; then both are removed
========================  ===================================================================================

It refuses to know bytes and locks (`arrays`, `disk`) and what an operation means (`chatstore.backends.conversation`).
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from chatstore.arguments import microseconds, utcnow
from chatstore.backends.file import arrays, disk, elements, names, sessionfile
from chatstore.backends.file.arrays import FIRST
from chatstore.backends.file.elements import Entry
from chatstore.backends.file.index import Index
from chatstore.backends.file.sessionfile import Own
from chatstore.backends.file.stored import FileConversation, FilesCore
from chatstore.errors import StorageError
from chatstore.messages import ChatSession

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chatstore.arguments import Window
    from chatstore.backends.conversation import Conversation
    from chatstore.backends.file.arrays import Array
    from chatstore.core import Row

_log: Final = logging.getLogger(__name__)
_LOCKS: Final = ".locks"
#: Lock files of a directory; sessions that share one wait for each other.
_LOCK_COUNT: Final = 64


def _identified(line: bytes) -> str | None:
    try:
        found = elements.own(line)["message_id"]
    except ValueError:
        return None
    return found if isinstance(found, str) else None


_INDEX: Final = Index(_identified)


class DirectoryConversation(FileConversation):
    """A session of a directory; *own* is what its small file says."""

    def __init__(self, own: Own, array: Array | None, *, adopted: bool) -> None:
        """Begin with what both files say; *adopted* where there is no small file yet."""
        super().__init__(own.session, array)
        self.own, self.adopted = own, adopted
        mark = elements.mark_of(array.last_line()) if array is not None and array.neat and not array.empty else None
        if mark is not None:
            self.session = elements.marked(own.session, mark)
            if mark.revision <= own.rows_after:
                self.array, self._rows, self.session = None, [], own.session
        elif array is not None:
            self.session = self._unmarked(own.session, array)
        self.stored = self.session

    def _unmarked(self, session: ChatSession, array: Array) -> ChatSession:
        """Return what the session is where its last element does not say: after a fault, or by another's hand."""
        entries, changed = self.entries(), array.stamp.mtime // 1000
        when = datetime.fromtimestamp(changed // 1_000_000, UTC)
        return replace(
            session,
            message_count=len(entries),
            last_position=max(session.last_position, entries[-1].position if entries else 0),
            revision=max(session.revision, changed),
            updated_at=max(session.updated_at, when) if changed > session.revision else session.updated_at,
        )

    @property
    def exists(self) -> bool:
        """Tell whether there is such a session: one that was being made exists when it has its messages."""
        return not self.own.provisional or (self.array is not None and not self.array.empty)

    # ---- lines

    def entered(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """As `FileConversation.entered`; what an element does not say is derived from its place."""
        entries: list[Entry] = []
        now = self.own.session.created_at
        for value, line in values:
            given = value if isinstance(value, dict) else {}
            last = entries[-1].position if entries else 0
            position = elements.natural_of(given.get("position")) or last + 1
            position = position if position > last else last + 1
            created_at = elements.time_of(given.get("created_at")) or now
            message_id = elements.id_of(given, position)
            entries.append(Entry(position, message_id, created_at, value, line))
        return entries

    def _entry(self, line: bytes) -> Entry:
        value = elements.parsed(line)
        beside = value if isinstance(value, dict) else {}
        position, created_at = elements.natural_of(beside.get("position")), elements.time_of(beside.get("created_at"))
        if position is None or created_at is None or not isinstance(beside.get("message_id"), str):
            raise ValueError
        return Entry(position, beside["message_id"], created_at, value, line)

    def seek(self, array: Array, window: Window) -> list[Entry]:
        """As `FileConversation.seek`: by halving, since positions grow."""
        low = _behind(array, window.after) if window.after else FIRST
        high = array.end
        if window.before is not None and window.before <= self.session.last_position:
            high = _behind(array, window.before - 1) - len(b",\n")
        if low >= high:
            return []
        lines = array.forth(low, high) if window.last is None else array.back(high, low)
        most = window.limit if window.last is None else window.last
        entries = [self._entry(line) for (_, line), _ in zip(lines, range(most or array.end), strict=False)]
        return entries if window.last is None else entries[::-1]

    def place(self, array: Array, message_id: str) -> Entry | None:
        """As `FileConversation.place`."""
        found = _INDEX.find(array, message_id)
        return self._entry(next(array.forth(found.offset))[1]) if found else None

    def line(self, row: Row, session: ChatSession | None) -> bytes:
        """As `FileConversation.line`."""
        return elements.line_of(self.session.session_id, row, session)

    def kept_line(self, entry: Entry, session: ChatSession | None) -> bytes:
        """As `FileConversation.kept_line`."""
        return elements.kept_line(entry, session)


def _behind(array: Array, position: int) -> int:
    """Return where the first line begins whose position is above *position* (behind the last one if there is none)."""
    low, high = FIRST, array.end + len(b",\n")
    while low < high:
        start, line = array.line_at(min((low + high) // 2, array.end))
        if elements.own(line)["position"] > position:
            high = start
        else:
            low = start + len(line) + len(b",\n")
    return low


class DirectoryCore(FilesCore):
    """The sessions of one directory."""

    def __init__(self, directory: str) -> None:
        """Work in *directory*, which is made at the first write."""
        super().__init__()
        self.directory = directory

    def array_path(self, session_id: str) -> str:
        """As `FilesCore.array_path`."""
        return os.path.join(self.directory, names.file_name(session_id) + ".json")

    def _own_path(self, session_id: str) -> str:
        return os.path.join(self.directory, names.file_name(session_id) + ".session")

    @contextmanager
    def guard(self, session_id: str, *, write: bool, needed: bool) -> Iterator[None]:
        """As `FilesCore.guard`."""
        number = hash_of(session_id) % _LOCK_COUNT
        path = os.path.join(self.directory, _LOCKS, f"{number:02x}")
        descriptor = disk.acquire(path, os.O_RDONLY, write=write)
        if descriptor is None and (needed or os.path.isdir(self.directory)):
            descriptor = self._new_lock(path, write=write, needed=needed)
        try:
            yield
        finally:
            if descriptor is not None:
                disk.release(descriptor)

    def _new_lock(self, path: str, *, write: bool, needed: bool) -> int | None:
        try:
            disk.make_directory(os.path.dirname(path))
            return disk.acquire(path, os.O_RDONLY | os.O_CREAT, write=write)
        except OSError:
            if needed:
                raise
            return None  # what cannot be written is read without a lock
