"""What both kinds of file share: a session that is read no further than an operation needs, and the operations.

This module knows when lines must be read, added or replaced; the subclasses in `directory` and `single_file`
know what the lines of their kind of file say. It refuses to know the operating system.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from threading import local
from typing import TYPE_CHECKING, Any, cast

from chatstore.arguments import EVERYTHING, Window
from chatstore.backends.common.rules import SessionState
from chatstore.backends.common.whole_sessions import WholeSessionCore
from chatstore.backends.file import array_file, element, filesystem
from chatstore.backends.file.repair import FIRST
from chatstore.codec import same_body
from chatstore.errors import CorruptRecord, InvalidMessage
from chatstore.failures import another_body, missing, no_message
from chatstore.messages import Durability
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from chatstore.aio import AsyncRepository
    from chatstore.backends.file.array_file import Array
    from chatstore.backends.file.element import Entry
    from chatstore.codec import Draft, Row
    from chatstore.contract import (
        Answer,
        AskDurability,
        C,
        GetMessage,
        GetMessages,
        GetRecords,
        InSession,
        T,
    )
    from chatstore.messages import ChatSession, Message, MessageRecord, Records


class FileSession(SessionState):
    """A session whose rows are in an array file, or in none yet (*array* None)."""

    def __init__(self, session: ChatSession, array: Array | None) -> None:
        """Begin with what the session is; no row is read."""
        self.session = self.stored = session
        self.array = array
        #: What is appended; for all other changes `rows` are read, and the file is replaced.
        self.new: list[Row] = []
        self._ids = None
        self._appendable = array is not None and array.neat and not array.empty
        self._entries: list[Entry] | None = None
        self._rows: list[Row] | None = [] if array is None else None
        self._kept: dict[int, tuple[Row, Entry]] = {}
        self._every_id = False

    #: Whether an element with NaN is a damaged one; other programs write such.
    strict = True

    # ---- what a kind of file must know

    @abstractmethod
    def build_entries(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """Return the entries of all elements, each given as its value and its line."""

    @abstractmethod
    def seek(self, array: Array, window: Window) -> list[Entry]:
        """Return the entries of a neat array inside *window*. Raises ValueError where a line is damaged."""

    @abstractmethod
    def seek_id(self, array: Array, message_id: str) -> Entry | None:
        """Return the entry of a neat array that has this id. Raises ValueError as `seek`."""

    #: Return the line of a new row of the session with this id; the last one says what the session became.
    write_line: Callable[[str, Row, ChatSession | None], bytes]
    #: Return the line of an entry that stays; the session is given as above.
    keep_line: Callable[[Entry, ChatSession | None], bytes]

    # ---- reading

    def entries(self) -> list[Entry]:
        """Return all entries that are stored."""
        if self._entries is None:
            self._entries = (
                [] if self.array is None else self.build_entries(_read_values(self.array, strict=self.strict))
            )
        return self._entries

    def select(self, window: Window) -> Sequence[Entry]:
        """Return the entries inside *window*, oldest first."""
        if self.array is None or self.array.empty or window.empty:
            return []
        if self.array.neat and self._entries is None and window != EVERYTHING:
            try:
                return self.seek(self.array, window)
            except ValueError:
                pass  # a damaged or strange line: read them all
        entries: Any = self.entries()
        return cast("Sequence[Entry]", SessionState(self.session, entries).window(window))

    def find_entry(self, key: int | str) -> Entry:
        """Return the entry at a position (int) or with an id (str). Raises `MessageNotFound`."""
        found = self.find_by_id(key) if isinstance(key, str) else None
        if isinstance(key, int) and key > 0:
            found = next(iter(self.select(Window(after=key - 1, before=key + 1))), None)
        if found is None:
            raise no_message(self.session.session_id, key)
        return found

    def find_by_id(self, message_id: str) -> Entry | None:
        """Return the entry with this id."""
        if self.array is not None and self.array.neat and self._entries is None:
            try:
                return self.seek_id(self.array, message_id)
            except ValueError:
                pass
        return next((entry for entry in self.entries() if entry.message_id == message_id), None)

    # ---- what a conversation does, without reading more than it must

    @property
    def rows(self) -> list[Row]:
        """All rows, read when they are first asked for."""
        if self._rows is None:
            entries = (
                [] if self.array is None else self.build_entries(_read_lines(self.array, strict=self.strict))
            )
            rows = [element.read_row(entry) for entry in entries]
            self._kept = {row.position: (row, entry) for row, entry in zip(rows, entries, strict=True)}
            self._rows = rows + self.new
        return self._rows

    @rows.setter
    def rows(self, rows: list[Row]) -> None:
        self._rows = rows

    def known(self, drafts: Sequence[Draft]) -> dict[str, Row]:
        """As `SessionState.known`; an id that was just generated is not looked up."""
        sought = drafts if self._every_id else [draft for draft in drafts if not draft.id_generated]
        if not sought or self._rows is not None:
            return super().known(sought) if sought else {}
        found = {}
        for draft in sought:
            entry = self.find_by_id(draft.message_id)
            if entry is not None:
                row = element.read_row(entry)
                if not same_body(draft, row.draft):
                    raise another_body(self.session.session_id, draft.message_id)
                found[draft.message_id] = row
        return found

    def load(self, rows: Sequence[Row], now: datetime) -> int:
        """As `SessionState.load`: here a generated id may be known."""
        self._every_id = True
        return super().load(rows, now)

    def remove(self, row: Row, now: datetime) -> None:
        """As `SessionState.remove`."""
        self.ids()  # known before the row goes
        super().remove(row, now)

    def _push(self, row: Row) -> None:
        self.new.append(row)
        if self._rows is not None:
            super()._push(row)

    def _touch(self, now: datetime, **changes: Any) -> None:
        count = self.stored.message_count + len(self.new) if self._rows is None else len(self._rows)
        self.session = replace(
            self.session,
            **changes,
            message_count=count,
            revision=self.session.revision + 1,
            updated_at=max(self.session.updated_at, now),
        )

    # ---- writing

    @property
    def grows(self) -> bool:
        """Tell whether the file need only be appended to."""
        return self._appendable and self._rows is None

    def new_lines(self) -> list[bytes]:
        """Return the lines of what is appended."""
        session_id = self.session.session_id
        lines = [self.write_line(session_id, row, None) for row in self.new[:-1]]
        return [*lines, self.write_line(session_id, self.new[-1], self.session)]

    def all_lines(self) -> Iterator[bytes]:
        """Yield the lines of all rows."""
        last = len(self.rows) - 1
        for number, row in enumerate(self.rows):
            kept, session = self._kept.get(row.position), self.session if number == last else None
            if kept is not None and kept[0] is row:
                yield self.keep_line(kept[1], session)
            else:
                yield self.write_line(self.session.session_id, row, session)


def _read_values(array: Array, *, strict: bool) -> list[tuple[Any, bytes | None]]:
    """Return every element as its value (None, and its line, where it cannot be read)."""
    if not array.neat:
        return [_check(value, None, strict=strict) for value in array.elements]
    try:
        return [(value, None) for value in element.parse(array.read_all(), strict=strict)]
    except ValueError:
        return _read_lines(array, strict=strict)


def _read_lines(array: Array, *, strict: bool) -> list[tuple[Any, bytes | None]]:
    """Return every element as its value (None where it cannot be read), and its line where it has one."""
    if not array.neat:
        return _read_values(array, strict=strict)
    whole = array.read_all()
    lines = [line.removesuffix(b",") for line in whole[FIRST : array.end].split(b"\n") if line]
    try:
        values, doubtful = _parse_whole(whole, strict=strict)
    except ValueError:
        return [_check(_parse_line(line), line, strict=strict) for line in lines]
    # Where somebody broke lines by hand, no line is an element.
    given: list[bytes | None] = [*lines] if len(values) == len(lines) else [None] * len(values)
    return [_check(value, line, strict=doubtful) for value, line in zip(values, given, strict=True)]


def _parse_whole(text: bytes, *, strict: bool) -> tuple[list[Any], bool]:
    """Return all elements, and whether one of them is not strict JSON where it should be."""
    if strict:
        try:
            return element.parse(text, strict=True), False
        except ValueError:
            pass
    return element.parse(text), strict


def _parse_line(line: bytes) -> Any:
    try:
        return element.parse(line)
    except ValueError:
        return None


def _check(value: Any, line: bytes | None, *, strict: bool) -> tuple[Any, bytes | None]:
    """Return an element; one that is not strict JSON is damaged, and has a line, so that a rewrite keeps it."""
    if not strict or element.is_strict(value):
        return value, line
    return None, element.compact(value) if line is None else line


class _Here(local):
    """What this thread has looked at under its lock."""

    array: Array | None = None


class FilesCore(WholeSessionCore):
    """A core over files: it mends what is torn, and reads outside the lock what it looked at inside."""

    #: Whether a file's time is its session's revision, and must be set by an append, too.
    dated = False

    def __init__(self) -> None:
        """Hold no lock."""
        self._here = _Here()

    # ---- what a kind of file must know

    @abstractmethod
    def lock(self, session_id: str, *, write: bool, needed: bool) -> filesystem.FileLock | None:
        """Return the descriptor of the lock; None for a reader of what nobody can write to, unless it is *needed*."""

    @abstractmethod
    def array_path(self, session_id: str) -> str:
        """Return the path of the session's array."""

    @abstractmethod
    def make(self, session: SessionState) -> None:
        """Write the files of a new session."""

    @abstractmethod
    def rewrite(self, session: Any, *, rows: bool) -> None:
        """Write a changed session in the place of what is stored."""

    @abstractmethod
    def mend(self, session_id: str, array: Array) -> None:
        """Cut a torn file back to its last whole element."""

    # ---- the hooks of `WholeSessionCore`

    @contextmanager
    def locked(self, session_id: str, *, write: bool) -> Iterator[None]:
        """As `WholeSessionCore.locked`; a torn file is mended first, for which a reader becomes a writer."""
        path = self.array_path(session_id)
        for exclusive in (write, True):
            lock = self.lock(session_id, write=exclusive, needed=write)
            try:
                array = self._here.array = array_file.look(path, write=exclusive)
                if array is not None and array.neat and array.torn is not None:
                    if not exclusive:
                        continue
                    if lock is not None:
                        self._here.array = self._mend(session_id, array, needed=write)
                yield
                return
            finally:
                self._here.array = None
                if lock is not None:
                    filesystem.release(lock)

    def _mend(self, session_id: str, array: Array, *, needed: bool) -> Array | None:
        """Mend the file and look at it again; where it cannot be written to, it can be read all the same."""
        try:
            self.mend(session_id, array)
        except OSError:
            if needed:
                raise
            return array
        return array_file.look(array.path, write=True)

    def save(self, conversation: SessionState, *, rows: bool) -> None:
        """As `WholeSessionCore.save`."""
        if not isinstance(conversation, FileSession):
            self.make(conversation)
        elif conversation.session is conversation.stored:
            pass
        elif not rows or not conversation.grows:
            self.rewrite(conversation, rows=rows)
        elif conversation.new:
            mtime = 1000 * conversation.session.revision if self.dated else None
            array_file.append(cast("Array", conversation.array), conversation.new_lines(), mtime=mtime)
        else:
            self.rewrite(conversation, rows=False)

    # ---- reading

    def _look(self, call: InSession) -> FileSession | None:
        with self.locked(call.session_id, write=False):
            return cast("FileSession | None", self._seen(call))

    def get_messages(self, call: GetMessages) -> list[Message]:
        """As `Repository.get_messages`."""
        found = self._look(call)
        entries = [] if found is None else found.select(call.window)
        try:
            return [element.read_message(entry) for entry in entries]
        except (InvalidMessage, CorruptRecord):
            element.read_records(call.session_id, entries, 0)  # names them all
            raise

    def get_records(self, call: GetRecords) -> Records:
        """As `Repository.get_records`."""
        found = self._look(call)
        if found is None:
            return element.read_records(call.session_id, (), 0)
        return element.read_records(call.session_id, found.select(call.window), found.session.revision)

    def get_message(self, call: GetMessage) -> MessageRecord:
        """As `Repository.get_message`."""
        found = self._look(call)
        if found is None:
            raise missing(call.session_id)
        return element.read_records(call.session_id, [found.find_entry(call.key)], 0)[0]

    def durability(self, call: AskDurability) -> Durability:  # noqa: ARG002 - there is but one answer
        """As `Repository.durability`."""
        detail = (
            "each acknowledged write is fsynced; one host, a local file system (no NFS, no synced folder)"
        )
        return Durability("machine", detail)


class FilesRepository(Repository):
    """A repository whose core waits for files; asynchronous callers lend it a thread."""

    _path: str

    def _run(self, operation: Callable[[C], Answer[T]], call: C, /) -> T:
        try:
            return operation(call)  # type: ignore[return-value]  # files are waited for where they are read
        except OSError as error:
            raise filesystem.explain(error, self._path) from error

    def _asynchronous(self) -> AsyncRepository:
        from chatstore.threads import ThreadedRepository

        return ThreadedRepository(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"
