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
from typing import TYPE_CHECKING, Any, Final, cast
from zlib import crc32

from chatstore.arguments import NewSession, Scope, microseconds, utcnow
from chatstore.backends import conversation as rules
from chatstore.backends.file import arrays, disk, elements, names, sessionfile
from chatstore.backends.file.arrays import FIRST
from chatstore.backends.file.elements import Entry
from chatstore.backends.file.index import Index
from chatstore.backends.file.sessionfile import Own
from chatstore.backends.file.stored import FileConversation, FilesCore
from chatstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chatstore.arguments import Window
    from chatstore.backends.conversation import Conversation
    from chatstore.backends.file.arrays import Array
    from chatstore.core import Row
    from chatstore.messages import ChatSession

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


def _unowned(session_id: str, array: Array) -> ChatSession:
    new = NewSession(session_id, Scope(), None, {}, None)
    return rules.fresh(new, array.time)


class DirectoryConversation(FileConversation):
    """A session of a directory; *own* is what its small file says."""

    def __init__(self, session_id: str, own: Own | None, array: Array | None) -> None:
        """Begin with what both files say; *own* None for an array that was put here by hand."""
        self.adopted = own is None
        self.own = own = own or Own(_unowned(session_id, cast("Array", array)))
        mark = elements.mark_of(array.last_line()) if array is not None and array.neat and not array.empty else None
        revision = mark.revision if mark else 0 if array is None else array.changed
        super().__init__(own.session, array if revision > own.rows_after else None)
        if self.array is None:
            self.session = replace(own.session, message_count=0)
        elif mark is not None:
            self.session = elements.marked(own.session, mark)
        else:
            self.session = self._unmarked(own.session, self.array)
        self.stored = self.session

    def _unmarked(self, session: ChatSession, array: Array) -> ChatSession:
        """Return what the session is where its last element does not say: after a fault, or by another's hand."""
        entries = self.entries()
        return replace(
            session,
            message_count=len(entries),
            last_position=max(session.last_position, entries[-1].position if entries else 0),
            revision=max(session.revision, array.changed),
            updated_at=max(session.updated_at, array.time) if array.changed > session.revision else session.updated_at,
        )

    @property
    def exists(self) -> bool:
        """Tell whether there is such a session: one that was being made exists when it has its messages."""
        return not self.own.needs_rows or (self.array is not None and not self.array.empty)

    # ---- lines

    def entered(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """As `FileConversation.entered`; what an element does not say is derived from its place."""
        entries: list[Entry] = []
        for value, line in values:
            given = value if isinstance(value, dict) else {}
            last = entries[-1].position if entries else 0
            position = elements.natural_of(given.get("position")) or last + 1
            position = position if position > last else last + 1
            created_at = elements.time_of(given.get("created_at")) or self.own.session.created_at
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
        """As `FilesCore.guard`: by one of a fixed number of lock files, which are never removed."""
        name = f"{crc32(session_id.encode()) % _LOCK_COUNT:02x}"
        descriptor = self._lock(os.path.join(self.directory, _LOCKS, name), write=write, needed=needed)
        try:
            yield
        finally:
            if descriptor is not None:
                disk.release(descriptor)

    def _lock(self, path: str, *, write: bool, needed: bool) -> int | None:
        try:
            descriptor = disk.acquire(path, os.O_RDONLY, write=write)
            if descriptor is None and (needed or os.path.isdir(self.directory)):
                disk.make_directory(self.directory)
                disk.make_directory(os.path.dirname(path))
                descriptor = disk.acquire(path, os.O_RDONLY | os.O_CREAT, write=write)
        except OSError:
            if needed:
                raise
            return None  # where nobody can write, reading needs no lock
        return descriptor

    # ---- the hooks of `SessionsCore`

    def find(self, session_id: str) -> DirectoryConversation | None:
        """As `SessionsCore.find`."""
        return self._found(session_id, self.here())

    def _found(self, session_id: str, array: Array | None) -> DirectoryConversation | None:
        own = sessionfile.read(self._own_path(session_id), session_id)
        if own is None and array is None:
            return None
        found = DirectoryConversation(session_id, own, array)
        return found if found.exists else None

    def save(self, conversation: Conversation, *, rows: bool) -> None:
        """As `SessionsCore.save`."""
        session = conversation.session
        if not isinstance(conversation, DirectoryConversation):
            self._make(conversation)
        elif session is conversation.stored:
            pass
        elif not rows:
            sessionfile.write(self._own_path(session.session_id), Own(session, conversation.own.rows_after))
        elif conversation.grows:
            self._adopt(conversation)
            arrays.append(cast("Array", conversation.array), conversation.new_lines())
        else:
            self._adopt(conversation)
            self._write(conversation)

    def _make(self, conversation: Conversation) -> None:
        """Write a new session: of the two files, the array decides, if there is anything in it."""
        session, last = conversation.session, len(conversation.rows) - 1
        path = self.array_path(session.session_id)
        disk.remove(path)  # what a crash left of an earlier session
        own = Own(session, session.revision - 1, needs_rows=last >= 0)
        sessionfile.write(self._own_path(session.session_id), own)
        lines = (
            elements.line_of(session.session_id, row, session if number == last else None)
            for number, row in enumerate(conversation.rows)
        )
        arrays.write(path, lines, mtime=1000 * session.revision)

    def _adopt(self, conversation: DirectoryConversation) -> None:
        if conversation.adopted:
            sessionfile.write(self._own_path(conversation.session.session_id), Own(conversation.stored))

    def _write(self, conversation: DirectoryConversation) -> None:
        session, path = conversation.session, self.array_path(conversation.session.session_id)
        if conversation.array is not None:
            arrays.keep_torn(conversation.array)
        if not conversation.rows:
            sessionfile.write(self._own_path(session.session_id), Own(session, session.revision))
            disk.remove(f"{path}.torn")
        arrays.write(path, conversation.all_lines(), mtime=1000 * session.revision)

    def drop(self, session_id: str) -> None:
        """As `SessionsCore.drop`."""
        found = self.find(session_id)
        path, own_path = self.array_path(session_id), self._own_path(session_id)
        if found is not None:
            sessionfile.write(own_path, Own(found.session, found.session.revision, needs_rows=True))
        disk.remove(path, f"{path}.torn", f"{path}.tmp")
        disk.sync_directory(self.directory)
        disk.remove(own_path)
        disk.sync_directory(self.directory)

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
            sessionfile.write(self._own_path(session_id), Own(session, found.own.rows_after))
        arrays.mend(array)

    def session_data(self) -> Iterator[ChatSession]:
        """As `SessionsCore.session_data`; a session that cannot be read is logged and left out."""
        for name in self._names():
            try:
                session_id = names.session_id_of(name) or self._told_id(name)
                if session_id is None:
                    continue
                with self.locked(session_id, write=False):
                    found = self.find(session_id)
            except (OSError, StorageError) as error:
                _log.error("a session is left out of a list: %s", error)  # noqa: TRY400 - the error says it all
                continue
            if found is not None:
                yield found.session

    def _names(self) -> list[str]:
        """Return the names of all sessions' files, without their suffixes."""
        try:
            with os.scandir(self.directory) as found:
                parts = [os.path.splitext(item.name) for item in found]
        except FileNotFoundError:
            return []
        return sorted({name for name, suffix in parts if suffix in {".json", ".session"}})

    def _told_id(self, name: str) -> str | None:
        """Return the id that a name is too short for."""
        own = sessionfile.read(os.path.join(self.directory, f"{name}.session"))
        session_id = None if own is None else own.session.session_id
        return session_id if session_id is not None and names.file_name(session_id) == name else None
