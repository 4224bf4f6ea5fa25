"""One session in one JSON file of LangChain's format: ``type`` and ``data``.

This module knows what can be derived where nothing is summary: positions are places in the array, an id is the
message's own or ``#`` and the position, and the revision is the file's time of change, which every write
moves on. It refuses what one file of that format cannot hold: owners, titles, other sessions. Nothing lies
beside the file, except what was torn off it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from chatstore import codec
from chatstore.arguments import NewSession, Scope, Window, microseconds
from chatstore.backends.common import rules
from chatstore.backends.file import array_file, element, filesystem
from chatstore.backends.file.element import Entry
from chatstore.backends.file.file_session import FilesCore, FileSession, FilesRepository
from chatstore.backends.file.line_index import LineIndex
from chatstore.codec import Appended, Row
from chatstore.contract import STATES
from chatstore.errors import NotSupported
from chatstore.messages import Capabilities
from chatstore.strictjson import dump_checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chatstore.backends.common.rules import SessionState
    from chatstore.backends.file.array_file import Array
    from chatstore.backends.file.filesystem import FileLock
    from chatstore.codec import Draft
    from chatstore.contract import AddMessages, InSession, ReplaceMessages
    from chatstore.messages import ChatSession

#: The id of the one session that such a file holds.
SESSION: Final = "file"


_INDEX: Final = LineIndex(element.read_id)


def _write_line(_: str, row: Row, session: ChatSession | None = None) -> bytes:  # noqa: ARG001 - no mark
    return dump_checked(codec.draft_to_wire(row.draft))


def _keep_line(entry: Entry, session: ChatSession | None) -> bytes:  # noqa: ARG001 - no mark
    return entry.line if entry.line is not None else element.compact(entry.value)


class SingleFileSession(FileSession):
    """The session in such a file."""

    strict = False
    write_line = staticmethod(_write_line)
    keep_line = staticmethod(_keep_line)

    def __init__(self, array: Array) -> None:
        """Begin with what the file's size and time tell."""
        count = _INDEX.count(array) if array.neat else len(array.elements)
        session = rules.fresh(NewSession(SESSION, Scope(), None, {}, None), array.time)
        super().__init__(replace(session, message_count=count, last_position=count), array)

    def build_entries(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """As `FileSession.build_entries`."""
        return [self._entry(position, value, line) for position, (value, line) in enumerate(values, 1)]

    def _entry(self, position: int, value: Any, line: bytes | None) -> Entry:
        return Entry(position, element.choose_id(value, position), self.session.created_at, value, line)

    def seek(self, array: Array, window: Window) -> list[Entry]:
        """As `FileSession.seek`: the newest are read from the end."""
        count = self.session.message_count
        low, high = window.after or 0, count if window.before is None else min(count, window.before - 1)
        if window.last is not None:
            low = max(low, high - window.last)
        elif window.limit is not None:
            high = min(high, low + window.limit)
        if low >= high:
            return []
        if high == count:
            lines = [line for _, line in islice(array.read_back(array.end), high - low)][::-1]
        else:
            lines = [line for _, line in islice(array.read_forth(), low, high)]
        return [
            self._entry(position, element.parse(line), line) for position, line in enumerate(lines, low + 1)
        ]

    def seek_id(self, array: Array, message_id: str) -> Entry | None:
        """As `FileSession.seek_id`."""
        found = _INDEX.find(array, message_id)
        if found is not None:
            line = next(array.read_forth(found.offset))[1]
            return self._entry(found.number, element.parse(line), line)
        number = message_id.removeprefix("#")
        if number == message_id or not number.isdecimal() or f"#{int(number)}" != message_id:
            return None
        entry = next(iter(self.seek(array, Window(after=int(number) - 1, limit=1))), None)
        return entry if entry is not None and entry.message_id == message_id else None

    def replace(self, drafts: Sequence[Draft], revision: int | None, now: datetime) -> Appended:
        """As `SessionState.replace`; positions begin anew."""
        self.expect(revision)
        self.session = replace(self.session, last_position=0)
        return super().replace(drafts, None, now)

    def _touch(self, now: datetime, **changes: Any) -> None:
        super()._touch(now, **changes)
        self.session = replace(self.session, revision=max(self.session.revision, microseconds(now)))


def _deny(*_: object) -> NoReturn:
    msg = "a file in LangChain's format holds one session only: use file:, sqlite: or postgresql:"
    raise NotSupported(msg)


class SingleFileCore(FilesCore):
    """The one session of the file *path*."""

    dated = True
    capabilities = Capabilities(
        denied=STATES.union(
            {
                "begin_answer",
                "close_answers",
                "create_session",
                "update_session",
                "delete_session",
                "list_sessions",
                "fork_session",
                "load_records",
                "usage",
                "purge",
            }
        ),
        notes=(
            "positions are places in the file: after a message is deleted, those behind it move up",
            "messages without an id, and all times, are known by the file's own place and time only",
            "search scans every message",
        ),
    )
    begin_answer: Any = _deny
    close_answers: Any = _deny
    create_session: Any = _deny
    update_session: Any = _deny
    delete_session: Any = _deny
    list_sessions: Any = _deny
    fork_session: Any = _deny
    load_records: Any = _deny
    usage: Any = _deny
    purge: Any = _deny

    def __init__(self, path: str) -> None:
        """Work on the file at *path*, which is made at the first append; its directory must exist."""
        super().__init__()
        self.path = path

    def array_path(self, session_id: str) -> str:
        """As `FilesCore.array_path`."""
        if session_id != SESSION:
            msg = f"{self.path} holds one session, {SESSION!r}: use file:, sqlite: or postgresql: for more"
            raise NotSupported(msg)
        return self.path

    def lock(self, session_id: str, *, write: bool, needed: bool) -> FileLock | None:
        """As `FilesCore.lock`: the lock is on the file; while there is none, on its directory."""
        path = self.array_path(session_id)
        while True:
            found = filesystem.acquire(path, os.O_RDONLY, write=write)
            if found is not None or not needed:
                return found
            directory = str(Path(path).parent)
            found = filesystem.acquire(directory, os.O_RDONLY, write=True)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, "no such directory", directory)
            if not os.path.lexists(path):
                return found
            filesystem.release(found)

    # ---- the hooks of `WholeSessionCore`

    def find(self, session_id: str) -> SingleFileSession | None:
        """As `WholeSessionCore.find`."""
        self.array_path(session_id)
        array = self._here.array
        return None if array is None else SingleFileSession(array)

    def _seen(self, call: InSession) -> SessionState | None:
        if call.scope:
            _deny()
        return super()._seen(call)

    def make(self, session: SessionState) -> None:
        """As `FilesCore.make`."""
        lines = (_write_line(SESSION, row) for row in session.rows)
        array_file.write(self.path, lines, mtime=1000 * session.session.revision)

    def rewrite(self, session: SingleFileSession, *, rows: bool) -> None:  # noqa: ARG002 - there are only rows
        """As `FilesCore.rewrite`."""
        array_file.keep_torn(cast("Array", session.array))
        array_file.write(self.path, session.all_lines(), mtime=1000 * session.session.revision)
        if not session.rows:
            filesystem.remove(f"{self.path}.torn")

    def drop(self, session_id: str) -> None:
        """Nothing that calls this is offered."""
        _deny(session_id)

    def mend(self, session_id: str, array: Array) -> None:  # noqa: ARG002 - there is only one
        """As `FilesCore.mend`."""
        array_file.mend(array)

    def session_data(self) -> Iterator[ChatSession]:
        """As `WholeSessionCore.session_data`."""
        with self.locked(SESSION, write=False):
            found = self.find(SESSION)
        if found is not None:
            yield found.session

    # ---- ids are derived from places

    def add_messages(self, call: AddMessages) -> Appended:
        """As `Repository.add_messages`."""
        return _name_by_position(super().add_messages(call))

    def replace_messages(self, call: ReplaceMessages) -> Appended:
        """As `Repository.replace_messages`."""
        return _name_by_position(super().replace_messages(call))


def _name_by_position(done: Appended) -> Appended:
    """Return the rows with the ids under which they will be found."""
    rows = [
        Row(row.position, row.draft._replace(message_id=f"#{row.position}"))
        if row.draft.id_generated
        else row
        for row in done.rows
    ]
    return Appended(done.revision, rows)


class SingleFileRepository(FilesRepository):
    """One session, `SESSION`, in one JSON file of LangChain's format, which other programs may rewrite."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Work on the file at *path*, made at the first append. Raises `NotSupported` without POSIX locks."""
        filesystem.require_locks()
        self._path = str(Path(path).absolute())
        self._core: SingleFileCore = SingleFileCore(self._path)
