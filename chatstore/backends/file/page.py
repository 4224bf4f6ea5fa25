"""One conversation in one JSON file of the "Chat Message History" page's format: ``type`` and ``data``.

This module knows what can be derived where nothing is said: positions are places in the array, an id is the
message's own or ``#`` and the position, and the revision is the file's time of change, which every write
moves on. It refuses what one file of that format cannot hold: owners, titles, other sessions. Nothing lies
beside the file, except what was torn off it.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from chatstore import codec
from chatstore.arguments import NewSession, Scope, Window, microseconds
from chatstore.backends import conversation as rules
from chatstore.backends.file import arrays, disk, elements
from chatstore.backends.file.elements import Entry
from chatstore.backends.file.index import Index
from chatstore.backends.file.stored import FileConversation, FilesCore
from chatstore.core import Appended, Row, decoded
from chatstore.errors import NotSupported
from chatstore.messages import Capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chatstore.backends.conversation import Conversation
    from chatstore.backends.file.arrays import Array
    from chatstore.codec import Draft
    from chatstore.messages import ChatSession

#: The id of the one session that a page's file holds.
SESSION: Final = "file"


_INDEX: Final = Index(elements.id_in)


class PageConversation(FileConversation):
    """The session in a page's file."""

    strict = False

    def __init__(self, array: Array) -> None:
        """Begin with what the file's size and time tell."""
        count = _INDEX.count(array) if array.neat else len(array.elements)
        session = rules.fresh(NewSession(SESSION, Scope(), None, {}, None), array.time)
        super().__init__(replace(session, message_count=count, last_position=count), array)

    def entered(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """As `FileConversation.entered`."""
        return [self._entry(position, value, line) for position, (value, line) in enumerate(values, 1)]

    def _entry(self, position: int, value: Any, line: bytes | None) -> Entry:
        return Entry(position, elements.id_of(value, position), self.session.created_at, value, line)

    def seek(self, array: Array, window: Window) -> list[Entry]:
        """As `FileConversation.seek`: the newest are read from the end."""
        count = self.session.message_count
        low, high = window.after or 0, count if window.before is None else min(count, window.before - 1)
        if window.last is not None:
            low = max(low, high - window.last)
        elif window.limit is not None:
            high = min(high, low + window.limit)
        if low >= high:
            return []
        if high == count:
            lines = [line for _, line in islice(array.back(array.end), high - low)][::-1]
        else:
            lines = [line for _, line in islice(array.forth(), low, high)]
        return [self._entry(place, elements.parsed(line), line) for place, line in enumerate(lines, low + 1)]

    def place(self, array: Array, message_id: str) -> Entry | None:
        """As `FileConversation.place`."""
        found = _INDEX.find(array, message_id)
        if found is not None:
            line = next(array.forth(found.offset))[1]
            return self._entry(found.number, elements.parsed(line), line)
        number = message_id.removeprefix("#")
        if number == message_id or not number.isdecimal() or f"#{int(number)}" != message_id:
            return None
        entry = next(iter(self.seek(array, Window(after=int(number) - 1, limit=1))), None)
        return entry if entry is not None and entry.message_id == message_id else None

    def line(self, row: Row, session: ChatSession | None) -> bytes:  # noqa: ARG002 - a page's element says no more
        """As `FileConversation.line`."""
        return _new_line(row)

    def kept_line(self, entry: Entry, session: ChatSession | None) -> bytes:  # noqa: ARG002 - as above
        """As `FileConversation.kept_line`."""
        return entry.line if entry.line is not None else elements.compact(entry.value)

    def replace(self, drafts: Sequence[Draft], revision: int | None, now: datetime) -> Appended:
        """As `Conversation.replace`; positions begin anew."""
        self.expect(revision)
        self.session = replace(self.session, last_position=0)
        return super().replace(drafts, None, now)

    def _touch(self, now: datetime, **changes: Any) -> None:
        super()._touch(now, **changes)
        self.session = replace(self.session, revision=max(self.session.revision, microseconds(now)))


def _denied(*_: object) -> NoReturn:
    msg = "a file of the page's format holds one conversation and no more: use file:, sqlite: or postgresql:"
    raise NotSupported(msg)


class PageCore(FilesCore):
    """The one session of the file *path*."""

    capabilities = Capabilities(
        denied=frozenset(
            {
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
    create: Any = _denied
    update: Any = _denied
    delete: Any = _denied
    sessions: Any = _denied
    fork: Any = _denied
    load: Any = _denied
    usage: Any = _denied
    purge: Any = _denied

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

    @contextmanager
    def guard(self, session_id: str, *, write: bool, needed: bool) -> Iterator[bool]:
        """As `FilesCore.guard`: the lock is on the file; while there is none, on its directory."""
        lock = self._lock(self.array_path(session_id), write=write, needed=needed)
        try:
            yield lock is not None
        finally:
            if lock is not None:
                disk.release(lock)

    def _lock(self, path: str, *, write: bool, needed: bool) -> disk.Lock | None:
        while True:
            lock = disk.acquire(path, os.O_RDONLY, write=write)
            if lock is not None or not needed:
                return lock
            directory = str(Path(path).parent)
            lock = disk.acquire(directory, os.O_RDONLY, write=True)
            if lock is None:
                raise FileNotFoundError(errno.ENOENT, "no such directory", directory)
            if not os.path.lexists(path):
                return lock
            disk.release(lock)

    # ---- the hooks of `SessionsCore`

    def find(self, session_id: str) -> PageConversation | None:
        """As `SessionsCore.find`."""
        self.array_path(session_id)
        array = self.here()
        return None if array is None else PageConversation(array)

    def _seen(self, scope: Scope, session_id: str, now: datetime) -> Conversation | None:
        if scope:
            _denied()
        return super()._seen(scope, session_id, now)

    def save(self, conversation: Conversation, *, rows: bool) -> None:  # noqa: ARG002 - there are only rows
        """As `SessionsCore.save`."""
        mtime = 1000 * conversation.session.revision
        if not isinstance(conversation, PageConversation):
            arrays.write(self.path, map(_new_line, conversation.rows), mtime=mtime)
        elif conversation.session is conversation.stored:
            pass
        elif conversation.grows:
            arrays.append(cast("Array", conversation.array), conversation.new_lines(), mtime=mtime)
        else:
            arrays.keep_torn(cast("Array", conversation.array))
            arrays.write(self.path, conversation.all_lines(), mtime=mtime)
            if not conversation.rows:
                disk.remove(f"{self.path}.torn")

    def drop(self, session_id: str) -> None:
        """Nothing that calls this is offered."""
        _denied(session_id)

    def mend(self, session_id: str, array: Array) -> None:  # noqa: ARG002 - there is only one
        """As `FilesCore.mend`."""
        arrays.mend(array)

    def session_data(self) -> Iterator[ChatSession]:
        """As `SessionsCore.session_data`."""
        with self.locked(SESSION, write=False):
            found = self.find(SESSION)
        if found is not None:
            yield found.session

    # ---- ids are derived from places

    def append(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Appended:
        """As `Repository.add_messages`."""
        return _placed(super().append(scope, session_id, drafts, expected_revision, now))

    def replace(
        self,
        scope: Scope,
        session_id: str,
        drafts: Sequence[Draft],
        expected_revision: int | None,
        now: datetime,
    ) -> Appended:
        """As `Repository.replace_messages`."""
        return _placed(super().replace(scope, session_id, drafts, expected_revision, now))


def _new_line(row: Row) -> bytes:
    return codec.dumps(codec.to_wire(decoded(SESSION, row))).encode()


def _placed(done: Appended) -> Appended:
    """Return the rows with the ids under which they will be found."""
    rows = [
        Row(row.position, row.draft._replace(message_id=f"#{row.position}"))
        if row.draft.id_generated
        else row
        for row in done.rows
    ]
    return Appended(done.revision, rows)
