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

It refuses to know bytes and locks (`array_file`, `filesystem`), and what an operation means to a session
(`chatstore.backends.conversation`).
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from zlib import crc32

from chatstore.arguments import NewSession, Scope, microseconds, utcnow
from chatstore.backends import conversation as rules
from chatstore.backends.file import array_file, element, filesystem, header, names
from chatstore.backends.file.element import Entry
from chatstore.backends.file.file_session import FilesCore, FileSession, FilesRepository
from chatstore.backends.file.header import Header
from chatstore.backends.file.line_index import LineIndex
from chatstore.backends.file.repair import FIRST
from chatstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chatstore.arguments import Window
    from chatstore.backends.conversation import Conversation
    from chatstore.backends.file.array_file import Array
    from chatstore.core import Row
    from chatstore.messages import ChatSession

_log: Final = logging.getLogger(__name__)
_LOCKS: Final = ".locks"
#: Lock files of a directory, for ever: processes of all releases must choose the same one for a session.
_LOCK_COUNT: Final = 64
#: How many sessions are remembered for lists.
_LISTED: Final = 20_000
_Stamps = tuple["filesystem.Stamp | None", "filesystem.Stamp | None"]


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


class DirectoryCore(FilesCore):
    """The sessions of one directory."""

    def __init__(self, directory: str) -> None:
        """Work in *directory*, which is made at the first write."""
        super().__init__()
        self.directory = directory
        self._listed: dict[str, tuple[_Stamps, ChatSession | None]] = {}

    def array_path(self, session_id: str) -> str:
        """As `FilesCore.array_path`."""
        return f"{self.directory}/{names.file_name(session_id)}.json"

    def _own_path(self, session_id: str) -> str:
        return f"{self.directory}/{names.file_name(session_id)}.session"

    @contextmanager
    def guard(self, session_id: str, *, write: bool, needed: bool) -> Iterator[bool]:
        """As `FilesCore.guard`: by one of a fixed number of lock files, which are never removed."""
        number = crc32(session_id.encode()) % _LOCK_COUNT
        descriptor = self._lock(f"{self.directory}/{_LOCKS}/{number:02x}", write=write, needed=needed)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                filesystem.release(descriptor)

    def _lock(self, path: str, *, write: bool, needed: bool) -> int | None:
        """Lock, for a write in a file that is made where it is missing; reading is right without, too."""
        try:
            descriptor = filesystem.acquire(path, os.O_RDONLY, write=write)
            if descriptor is None and write:
                filesystem.make_directory(self.directory)
                filesystem.make_directory(f"{self.directory}/{_LOCKS}")
                descriptor = filesystem.acquire(path, os.O_RDONLY | os.O_CREAT, write=write)
        except OSError:
            if needed:
                raise
            return None
        return descriptor

    # ---- the hooks of `SessionsCore`

    def find(self, session_id: str) -> DirectorySession | None:
        """As `SessionsCore.find`."""
        return self._found(session_id, self.here())

    def _found(self, session_id: str, array: Array | None) -> DirectorySession | None:
        own = header.read(self._own_path(session_id), session_id)
        if own is None and array is None:
            return None
        found = DirectorySession(session_id, own, array)
        return found if found.exists else None

    def save(self, conversation: Conversation, *, rows: bool) -> None:
        """As `SessionsCore.save`."""
        session = conversation.session
        if not isinstance(conversation, DirectorySession):
            self._make(conversation)
        elif session is conversation.stored:
            pass
        elif not rows:
            header.write(self._own_path(session.session_id), Header(session, conversation.own.rows_after))
        elif conversation.grows:
            self._adopt(conversation)
            array_file.append(cast("Array", conversation.array), conversation.new_lines())
        else:
            self._adopt(conversation)
            self._write(conversation)

    def _make(self, conversation: Conversation) -> None:
        """Write a new session: of the two files, the array decides, if there is anything in it."""
        session, last = conversation.session, len(conversation.rows) - 1
        path = self.array_path(session.session_id)
        filesystem.remove(path)  # what a crash left of an earlier session
        own = Header(session, session.revision - 1, needs_rows=last >= 0)
        header.write(self._own_path(session.session_id), own)
        lines = (
            element.line_of(session.session_id, row, session if number == last else None)
            for number, row in enumerate(conversation.rows)
        )
        array_file.write(path, lines, mtime=1000 * session.revision)

    def _adopt(self, conversation: DirectorySession) -> None:
        if conversation.adopted:
            header.write(self._own_path(conversation.session.session_id), Header(conversation.stored))

    def _write(self, conversation: DirectorySession) -> None:
        session, path = conversation.session, self.array_path(conversation.session.session_id)
        if conversation.array is not None:
            array_file.keep_torn(conversation.array)
        if conversation.rows:
            array_file.write(path, conversation.all_lines(), mtime=1000 * session.revision)
            return
        own_path = self._own_path(session.session_id)
        header.write(own_path, Header(session, session.revision))
        filesystem.remove(f"{path}.torn")
        array_file.write(path, (), mtime=1000 * session.revision)
        header.write(own_path, Header(session))  # so that an array from a backup counts

    def drop(self, session_id: str) -> None:
        """As `SessionsCore.drop`."""
        found = self.find(session_id)
        path, own_path = self.array_path(session_id), self._own_path(session_id)
        if found is not None:
            header.write(own_path, Header(found.session, deleted=True))
        filesystem.remove(path, f"{path}.torn", f"{path}.tmp")
        filesystem.sync_directory(self.directory)
        filesystem.remove(own_path)
        filesystem.sync_directory(self.directory)

    def mend(self, session_id: str, array: Array) -> None:
        """As `FilesCore.mend`; positions that may have been torn off are not used again."""
        found = self._found(session_id, array)
        if found is not None and array.lost:
            session, now = found.session, microseconds(utcnow())
            session = replace(
                session,
                last_position=session.last_position + array.lost,
                revision=max(session.revision + 1, now),
            )
            header.write(self._own_path(session_id), Header(session, found.own.rows_after))
        array_file.mend(array)

    def session_data(self) -> Iterator[ChatSession]:
        """As `SessionsCore.session_data`; a session that cannot be read is logged and left out.

        What did not change since it was looked at last is not looked at again.
        """
        for name in self._names():
            path = f"{self.directory}/{name}"
            stamps = filesystem.stamp(f"{path}.session"), filesystem.stamp(f"{path}.json")
            listed = self._listed.get(name)
            if listed is None or listed[0] != stamps:
                if len(self._listed) >= _LISTED:
                    self._listed.clear()
                listed = self._listed[name] = stamps, self._looked_at(name)
            session = listed[1]
            if session is not None:
                yield replace(session, metadata=deepcopy(session.metadata)) if session.metadata else session

    def _looked_at(self, name: str) -> ChatSession | None:
        try:
            session_id = names.session_id_of(name) or self._told_id(name)
            if session_id is None:
                return None
            with self.locked(session_id, write=False):
                found = self.find(session_id)
        except (OSError, StorageError) as error:
            _log.error("a session is left out of a list: %s", error)
            return None
        return found.session if found is not None else None

    def _names(self) -> list[str]:
        """Return the names of all sessions' files, without their suffixes."""
        try:
            parts = [(path.stem, path.suffix) for path in Path(self.directory).iterdir()]
        except FileNotFoundError:
            return []
        return sorted({name for name, suffix in parts if suffix in {".json", ".session"}})

    def _told_id(self, name: str) -> str | None:
        """Return the id that a name is too short for."""
        own = header.read(f"{self.directory}/{name}.session")
        session_id = None if own is None else own.session.session_id
        return session_id if session_id is not None and names.file_name(session_id) == name else None


class FileRepository(FilesRepository):
    """Sessions in a directory, each a JSON array in a file; for threads, processes and forks on one host."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Work in *directory*, made at the first write. Raises `NotSupported` without POSIX locks."""
        filesystem.require_locks()
        self._path = str(Path(directory).absolute())
        self._core: DirectoryCore = DirectoryCore(self._path)
