"""Sessions in a directory: for each an array of its messages, and a header with its own data.

This module knows which of the two files an operation changes, in which order, and which of them decides:

========================  ===================================================================================
what changes              what decides
========================  ===================================================================================
append                    the array, to which lines are added; its last one says what the session became
edit, delete a message    the array, replaced; its last line says what the session became
clear                     the header: elements up to its ``rows_after`` are void; the array follows
title, owner, …           the header
create                    the array, after the header; without messages, the header
delete                    the header, which says that there is none; then both are removed
========================  ===================================================================================

It refuses to know bytes and locks (`array_file`, `filesystem`), and what an operation means to a session
(`chatstore.backends.common.rules`).
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from zlib import crc32

from chatstore.arguments import NewSession, Scope, microseconds, utcnow
from chatstore.backends.common import rules
from chatstore.backends.file import array_file, element, filesystem
from chatstore.backends.file.element import Entry
from chatstore.backends.file.file_session import FilesCore, FileSession, FilesRepository
from chatstore.backends.file.filesystem import Stamp, StampCache
from chatstore.backends.file.header import Header, Pending
from chatstore.backends.file.header import read as read_header
from chatstore.backends.file.header import write as write_header
from chatstore.backends.file.line_index import LineIndex
from chatstore.backends.file.names import file_name, session_id_of
from chatstore.backends.file.repair import CLOSING, FIRST
from chatstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chatstore.arguments import Window
    from chatstore.backends.common.rules import SessionState
    from chatstore.backends.file.array_file import Array
    from chatstore.backends.file.filesystem import FileLock
    from chatstore.messages import ChatSession

_log: Final = logging.getLogger(__name__)
_LOCKS: Final = ".locks"
#: Lock files of a directory, for ever: processes of all releases must choose the same one for a session.
_LOCK_COUNT: Final = 64
#: How many headers are remembered, and how many sessions for lists.
_REMEMBERED: Final = 1000
_LISTED: Final = 20_000
_Stamps = tuple[Stamp | None, Stamp | None]


def _read_own_id(line: bytes) -> str | None:
    try:
        found: str = element.read_beside(line)["message_id"]
    except ValueError:
        return element.read_id(line)
    return found


_INDEX: Final = LineIndex(_read_own_id)


def _make_unowned(session_id: str, array: Array) -> ChatSession:
    new = NewSession(session_id, Scope(), None, {}, None)
    return rules.fresh(new, array.time)


class DirectorySession(FileSession):
    """A session of a directory."""

    write_line = staticmethod(element.write_line)
    keep_line = staticmethod(element.keep_line)

    def __init__(self, session_id: str, header: Header | None, array: Array | None) -> None:
        """Begin with what both files say; *header* None for an array that was put here by hand."""
        self.adopted = header is None
        self.header = header = header or Header(_make_unowned(session_id, cast("Array", array)))
        session = header.session
        mark = None
        if array is not None and array.neat and not array.empty:
            mark = element.read_mark(array.tail[: -len(CLOSING)])
        if header.deleted or (mark is not None and mark.revision <= header.rows_after):
            array = None
        if array is None:
            session = replace(session, message_count=0)
        elif mark is not None:
            session = element.apply_mark(session, mark)
        pending = header.pending
        if pending is not None and array is not None and (mark is None or mark.revision >= pending.revision):
            session = replace(session, title=pending.title, metadata=pending.metadata)
        super().__init__(session, array)
        if array is not None and mark is None:
            self.session = self.stored = self._derive(session, array)
        #: One that was made by its first append exists with its array.
        self.exists = not header.deleted and (array is not None or not header.needs_rows)
        # An array without a header, or whose last element does not say what the session became, is replaced.
        self._appendable = self._appendable and mark is not None and not self.adopted

    def _derive(self, session: ChatSession, array: Array) -> ChatSession:
        """Return what the session is where its last element does not say so, after a fault or by hand."""
        entries, newer = self.entries(), array.changed > session.revision
        return replace(
            session,
            message_count=len(entries),
            last_position=max(session.last_position, entries[-1].position if entries else 0),
            revision=max(session.revision, array.changed),
            updated_at=max(session.updated_at, array.time) if newer else session.updated_at,
        )

    # ---- lines

    def build_entries(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """As `FileSession.build_entries`; what an element does not say is derived from its place."""
        entries: list[Entry] = []
        for value, line in values:
            given = value if isinstance(value, dict) else element.read_leniently(line)
            last = entries[-1].position if entries else 0
            position: Any = given.get("position")
            position = position if element.is_natural(position) and position > last else last + 1
            created_at = element.parse_time(given.get("created_at")) or self.header.session.created_at
            message_id = element.choose_id(given, position)
            entries.append(Entry(position, message_id, created_at, value, line))
        return entries

    def seek(self, array: Array, window: Window) -> list[Entry]:
        """As `FileSession.seek`: by halving, since positions grow."""
        low = _find_after(array, window.after) if window.after else FIRST
        high = array.end
        if window.before is not None and window.before <= self.session.last_position:
            high = _find_after(array, window.before - 1) - len(b",\n")
        if low >= high:
            return []
        if window.last is not None:
            lines = list(islice(array.read_back(high, low), window.last))[::-1]
        else:
            lines = list(islice(array.read_forth(low, high), window.limit))
        return [element.read_entry(line) for _, line in lines]

    def seek_id(self, array: Array, message_id: str) -> Entry | None:
        """As `FileSession.seek_id`."""
        found = _INDEX.find(array, message_id)
        return element.read_entry(next(array.read_forth(found.offset))[1]) if found else None


def _find_after(array: Array, position: int) -> int:
    """Return where the first line begins whose position is above *position*, or the end."""
    low, high = FIRST, array.end + len(b",\n")
    while low < high:
        start, line = array.find_line(min((low + high) // 2, array.end))
        if element.read_beside(line)["position"] > position:
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
        self._headers = StampCache[Stamp, Header](_REMEMBERED)
        self._listed = StampCache[_Stamps, "ChatSession | None"](_LISTED)

    def array_path(self, session_id: str) -> str:
        """As `FilesCore.array_path`."""
        return f"{self.directory}/{file_name(session_id)}.json"

    def _header_path(self, session_id: str) -> str:
        return f"{self.directory}/{file_name(session_id)}.session"

    def lock(self, session_id: str, *, write: bool, needed: bool) -> FileLock | None:
        """As `FilesCore.lock`: one of a fixed number of lock files, which are never removed.

        For a write it is made where it is missing; reading is right without, too.
        """
        path = f"{self.directory}/{_LOCKS}/{crc32(session_id.encode()) % _LOCK_COUNT:02x}"
        try:
            found = filesystem.acquire(path, os.O_RDONLY, write=write)
            if found is None and write:
                filesystem.make_directory(self.directory)
                filesystem.make_directory(f"{self.directory}/{_LOCKS}")
                found = filesystem.acquire(path, os.O_RDONLY | os.O_CREAT, write=write)
        except OSError:
            if needed:
                raise
            return None
        return found

    # ---- the hooks of `WholeSessionCore`

    def find(self, session_id: str) -> DirectorySession | None:
        """As `WholeSessionCore.find`."""
        header, array = self._read_header(self._header_path(session_id)), self._here.array
        if header is None and array is None:
            return None
        found = DirectorySession(session_id, header, array)
        return found if found.exists else None

    def _read_header(self, path: str) -> Header | None:
        """Return what is in the header at *path*, None where there is none; what did not change is not read again."""
        stamp, known = filesystem.stamp(path), self._headers.get(path)
        if stamp is None:
            return None
        if known is not None and known[0] == stamp:
            return known[1]
        found = read_header(path)
        self._headers.put(path, stamp, found)
        return found

    def save(self, conversation: SessionState, *, rows: bool) -> None:
        """As `WholeSessionCore.save`; when a session began, which a load may tell, is in its header alone."""
        if rows and isinstance(conversation, DirectorySession):
            self._prepare_header(conversation)
        super().save(conversation, rows=rows)

    def _prepare_header(self, conversation: DirectorySession) -> None:
        """Write, before the array, what of the session only its header says: it counts with the array, or already."""
        before, after, header = conversation.stored, conversation.session, conversation.header
        if after is before:
            return
        own = replace(
            header.session, title=before.title, metadata=before.metadata, created_at=after.created_at
        )
        made = header._replace(session=own, pending=None)
        if conversation.new and (after.title is not before.title or after.metadata is not before.metadata):
            made = made._replace(pending=Pending(after.revision, after.title, after.metadata))
        # What an append that was broken off left there would count with this one.
        if made != header:
            write_header(self._header_path(header.session.session_id), made)
            conversation.header = made
            conversation.stored = replace(before, created_at=after.created_at)

    def make(self, session: SessionState) -> None:
        """As `FilesCore.make`: of the two files, the array decides, if there is anything in it."""
        data, last = session.session, len(session.rows) - 1
        path = self.array_path(data.session_id)
        filesystem.remove(path)  # what a crash left of an earlier session
        header = Header(data, data.revision - 1, needs_rows=last >= 0)
        write_header(self._header_path(data.session_id), header)
        lines = (
            element.write_line(data.session_id, row, data if number == last else None)
            for number, row in enumerate(session.rows)
        )
        array_file.write(path, lines, mtime=1000 * data.revision)

    def rewrite(self, session: DirectorySession, *, rows: bool) -> None:
        """As `FilesCore.rewrite`."""
        data, path = session.session, self.array_path(session.session.session_id)
        header_path = self._header_path(data.session_id)
        if not rows:
            write_header(header_path, Header(data, session.header.rows_after))
            return
        if session.adopted:
            write_header(header_path, Header(session.stored, pending=session.header.pending))
        if session.array is not None:
            array_file.keep_torn(session.array)
        if session.rows:
            array_file.write(path, session.all_lines(), mtime=1000 * data.revision)
            return
        write_header(header_path, Header(data, data.revision))
        filesystem.remove(f"{path}.torn")
        array_file.write(path, (), mtime=1000 * data.revision)
        write_header(header_path, Header(data))  # so that an array from a backup counts

    def drop(self, session_id: str) -> None:
        """As `WholeSessionCore.drop`."""
        found = self.find(session_id)
        path, header_path = self.array_path(session_id), self._header_path(session_id)
        if found is not None:
            write_header(header_path, Header(found.session, deleted=True))
        filesystem.remove(path, f"{path}.torn", f"{path}.tmp")
        filesystem.sync_directory(self.directory)
        filesystem.remove(header_path)
        filesystem.sync_directory(self.directory)

    def mend(self, session_id: str, array: Array) -> None:
        """As `FilesCore.mend`; positions that may have been torn off are not used again."""
        found = self.find(session_id)
        if found is not None and array.lost:
            session, now = found.session, microseconds(utcnow())
            session = replace(
                session,
                last_position=session.last_position + array.lost,
                revision=max(session.revision + 1, now),
            )
            write_header(self._header_path(session_id), Header(session, found.header.rows_after))
        array_file.mend(array)

    def session_data(self) -> Iterator[ChatSession]:
        """As `WholeSessionCore.session_data`; a session that cannot be read is logged and left out.

        What did not change since it was looked at last is not looked at again.
        """
        for name in self._list_names():
            path = f"{self.directory}/{name}"
            stamps = filesystem.stamp(f"{path}.session"), filesystem.stamp(f"{path}.json")
            known, session = self._listed.get(name) or (None, None)
            if known != stamps:
                session = self._look_at(name)
                self._listed.put(name, stamps, session)
            if session is not None:
                yield session

    def _look_at(self, name: str) -> ChatSession | None:
        try:
            session_id = session_id_of(name) or self._read_long_id(name)
            if session_id is None:
                return None
            with self.locked(session_id, write=False):
                found = self.find(session_id)
        except (OSError, StorageError) as error:
            _log.error("a session is left out of a list: %s", error)
            return None
        return found.session if found is not None else None

    def _list_names(self) -> list[str]:
        """Return the names of all sessions' files, without their suffixes."""
        try:
            parts = [(path.stem, path.suffix) for path in Path(self.directory).iterdir()]
        except FileNotFoundError:
            return []
        return sorted({name for name, suffix in parts if suffix in {".json", ".session"}})

    def _read_long_id(self, name: str) -> str | None:
        """Return the id that a name is too short for."""
        header = self._read_header(f"{self.directory}/{name}.session")
        return None if header is None else header.session.session_id


class FileRepository(FilesRepository):
    """Sessions in a directory, each a JSON array in a file; for threads, processes and forks on one host."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Work in *directory*, made at the first write. Raises `NotSupported` without POSIX locks."""
        filesystem.require_locks()
        self._path = str(Path(directory).absolute())
        self._core: DirectoryCore = DirectoryCore(self._path)
