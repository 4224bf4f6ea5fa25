"""One session of a directory: what its array and its small file say together.

This module knows which of the two is right where they differ, and how lines with positions are searched; it
refuses to know when which file is written (`chatstore.backends.file.directory`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from chatstore.arguments import NewSession, Scope
from chatstore.backends import conversation as rules
from chatstore.backends.file import element
from chatstore.backends.file.element import Entry
from chatstore.backends.file.file_session import FileSession
from chatstore.backends.file.header import Header
from chatstore.backends.file.line_index import LineIndex
from chatstore.backends.file.repair import FIRST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatstore.arguments import Window
    from chatstore.backends.file.array_file import Array
    from chatstore.core import Row
    from chatstore.messages import ChatSession


def _identified(line: bytes) -> str | None:
    try:
        found: str = element.own(line)["message_id"]
    except ValueError:
        return element.id_in(line)
    return found


_INDEX: Final = LineIndex(_identified)


def _unowned(session_id: str, array: Array) -> ChatSession:
    new = NewSession(session_id, Scope(), None, {}, None)
    return rules.fresh(new, array.time)


class DirectorySession(FileSession):
    """A session of a directory; *own* is what its small file says."""

    def __init__(self, session_id: str, own: Header | None, array: Array | None) -> None:
        """Begin with what both files say; *own* None for an array that was put here by hand."""
        self.adopted = own is None
        self.own = own = own or Header(_unowned(session_id, cast("Array", array)))
        lined = array is not None and array.neat and not array.empty
        mark = element.mark_of(cast("Array", array).last_line()) if lined else None
        void = own.deleted or (mark is not None and mark.revision <= own.rows_after)
        super().__init__(own.session, None if void else array)
        if self.array is None:
            self.session = replace(own.session, message_count=0)
        elif mark is not None:
            self.session = element.marked(own.session, mark)
        else:
            self.session = self._unmarked(own.session, self.array)
        self.stored = self.session
        self._marked = mark is not None

    def _unmarked(self, session: ChatSession, array: Array) -> ChatSession:
        """Return what the session is where its last element does not say so, after a fault or by hand."""
        entries, newer = self.entries(), array.changed > session.revision
        return replace(
            session,
            message_count=len(entries),
            last_position=max(session.last_position, entries[-1].position if entries else 0),
            revision=max(session.revision, array.changed),
            updated_at=max(session.updated_at, array.time) if newer else session.updated_at,
        )

    @property
    def grows(self) -> bool:
        """As `FileSession.grows`; an array whose last element says nothing is written anew."""
        return self._marked and super().grows

    @property
    def exists(self) -> bool:
        """Tell whether there is such a session: one that is made by its first append exists with its array."""
        return not self.own.deleted and (self.array is not None or not self.own.needs_rows)

    # ---- lines

    def entered(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """As `FileSession.entered`; what an element does not say is derived from its place."""
        entries: list[Entry] = []
        for value, line in values:
            given = value if isinstance(value, dict) else element.told(line)
            last = entries[-1].position if entries else 0
            position = element.natural_of(given.get("position")) or last + 1
            position = position if position > last else last + 1
            created_at = element.time_of(given.get("created_at")) or self.own.session.created_at
            message_id = element.id_of(given, position)
            entries.append(Entry(position, message_id, created_at, value, line))
        return entries

    def _entry(self, line: bytes) -> Entry:
        value = element.parsed(line, strict=True)
        beside = value if isinstance(value, dict) else {}
        position = element.natural_of(beside.get("position"))
        created_at = element.time_of(beside.get("created_at"))
        if position is None or created_at is None or not isinstance(beside.get("message_id"), str):
            raise ValueError
        return Entry(position, beside["message_id"], created_at, value, line)

    def seek(self, array: Array, window: Window) -> list[Entry]:
        """As `FileSession.seek`: by halving, since positions grow."""
        low = _behind(array, window.after) if window.after else FIRST
        high = array.end
        if window.before is not None and window.before <= self.session.last_position:
            high = _behind(array, window.before - 1) - len(b",\n")
        if low >= high:
            return []
        if window.last is not None:
            return [self._entry(line) for _, line in islice(array.back(high, low), window.last)][::-1]
        return [self._entry(line) for _, line in islice(array.forth(low, high), window.limit)]

    def place(self, array: Array, message_id: str) -> Entry | None:
        """As `FileSession.place`."""
        found = _INDEX.find(array, message_id)
        return self._entry(next(array.forth(found.offset))[1]) if found else None

    def line(self, row: Row, session: ChatSession | None) -> bytes:
        """As `FileSession.line`."""
        return element.line_of(self.session.session_id, row, session)

    def kept_line(self, entry: Entry, session: ChatSession | None) -> bytes:
        """As `FileSession.kept_line`."""
        return element.kept_line(entry, session)


def _behind(array: Array, position: int) -> int:
    """Return where the first line begins whose position is above *position*, or the end."""
    low, high = FIRST, array.end + len(b",\n")
    while low < high:
        start, line = array.line_at(min((low + high) // 2, array.end))
        if element.own(line)["position"] > position:
            high = start
        else:
            low = start + len(line) + len(b",\n")
    return low
