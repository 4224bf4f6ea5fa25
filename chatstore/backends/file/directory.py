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

It refuses to know bytes and locks (`arrays`, `disk`), and what an operation means to a session
(`chatstore.backends.conversation`).
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from zlib import crc32

from chatstore.arguments import microseconds, utcnow
from chatstore.backends.file import arrays, disk, elements, names, sessionfile
from chatstore.backends.file.session import DirectoryConversation
from chatstore.backends.file.sessionfile import Own
from chatstore.backends.file.stored import FilesCore
from chatstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.backends.conversation import Conversation
    from chatstore.backends.file.arrays import Array
    from chatstore.messages import ChatSession

_log: Final = logging.getLogger(__name__)
_LOCKS: Final = ".locks"
#: Lock files of a directory, for ever: processes of all releases must choose the same one for a session.
_LOCK_COUNT: Final = 64
#: How many sessions are remembered for lists.
_LISTED: Final = 20_000
_Stamps = tuple["disk.Stamp | None", "disk.Stamp | None"]


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
        lock = self._lock(f"{self.directory}/{_LOCKS}/{number:02x}", write=write, needed=needed)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                disk.release(lock)

    def _lock(self, path: str, *, write: bool, needed: bool) -> disk.Lock | None:
        """Lock, for a write in a file that is made where it is missing; reading is right without, too."""
        try:
            lock = disk.acquire(path, os.O_RDONLY, write=write)
            if lock is None and write:
                disk.make_directory(self.directory)
                disk.make_directory(f"{self.directory}/{_LOCKS}")
                lock = disk.acquire(path, os.O_RDONLY | os.O_CREAT, write=write)
        except OSError:
            if needed:
                raise
            return None
        return lock

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
        if conversation.rows:
            arrays.write(path, conversation.all_lines(), mtime=1000 * session.revision)
            return
        own_path = self._own_path(session.session_id)
        sessionfile.write(own_path, Own(session, session.revision))
        disk.remove(f"{path}.torn")
        arrays.write(path, (), mtime=1000 * session.revision)
        sessionfile.write(own_path, Own(session))  # so that an array from a backup counts

    def drop(self, session_id: str) -> None:
        """As `SessionsCore.drop`."""
        found = self.find(session_id)
        path, own_path = self.array_path(session_id), self._own_path(session_id)
        if found is not None:
            sessionfile.write(own_path, Own(found.session, deleted=True))
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
        """As `SessionsCore.session_data`; a session that cannot be read is logged and left out.

        What did not change since it was looked at last is not looked at again.
        """
        for name in self._names():
            path = f"{self.directory}/{name}"
            stamps = disk.stamp(f"{path}.session"), disk.stamp(f"{path}.json")
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
        own = sessionfile.read(f"{self.directory}/{name}.session")
        session_id = None if own is None else own.session.session_id
        return session_id if session_id is not None and names.file_name(session_id) == name else None
