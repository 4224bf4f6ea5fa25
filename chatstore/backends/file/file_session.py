"""A session in a file, read no further than an operation asks, and the operations both kinds of file share.

This module knows when lines must be read, added or written anew; the subclasses in `directory` and `single_file`
know what the lines of their kind of file say. It refuses to know the operating system.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import replace
from threading import local
from typing import TYPE_CHECKING, Any, cast

from chatstore.arguments import EVERYTHING, Window
from chatstore.backends.conversation import Conversation
from chatstore.backends.file import array_file, element, filesystem
from chatstore.backends.file.repair import FIRST
from chatstore.backends.sessions import SessionsCore
from chatstore.core import another_body, missing, no_message, same_body
from chatstore.errors import CorruptRecord, InvalidMessage
from chatstore.messages import Durability
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from chatstore.aio import AsyncRepository
    from chatstore.arguments import Scope
    from chatstore.backends.file.array_file import Array
    from chatstore.backends.file.element import Entry
    from chatstore.codec import Draft
    from chatstore.core import Answer, Row, T
    from chatstore.messages import ChatSession, Message, MessageRecord, Records


class FileSession(Conversation):
    """A session whose rows stand in an array file, or in none yet (*array* None)."""

    def __init__(self, session: ChatSession, array: Array | None) -> None:
        """Begin with what the session is; no row is read."""
        self.session = self.stored = session
        self.array = array
        #: What is appended; all other changes make `rows` be read and written anew.
        self.new: list[Row] = []
        self._ids = None
        self._entries: list[Entry] | None = None
        self._rows: list[Row] | None = [] if array is None else None
        self._kept: dict[int, tuple[Row, Entry]] = {}
        self._every_id = False

    #: Whether an element with NaN is a damaged one; other programs write such.
    strict = True

    # ---- what a kind of file must know

    @abstractmethod
    def entered(self, values: Sequence[tuple[Any, bytes | None]]) -> list[Entry]:
        """Return the entries of all elements, each given as its value and its line."""

    @abstractmethod
    def seek(self, array: Array, window: Window) -> list[Entry]:
        """Return the entries of a neat array inside *window*. Raises ValueError where a line is damaged."""

    @abstractmethod
    def place(self, array: Array, message_id: str) -> Entry | None:
        """Return the entry of a neat array that has this id. Raises ValueError as `seek`."""

    @abstractmethod
    def line(self, row: Row, session: ChatSession | None) -> bytes:
        """Return the line of a new row; *session* is what it became, for the last one."""

    @abstractmethod
    def kept_line(self, entry: Entry, session: ChatSession | None) -> bytes:
        """Return the line of a row that stays; *session* as in `line`."""

    # ---- reading

    def entries(self) -> list[Entry]:
        """Return all entries that are stored."""
        if self._entries is None:
            self._entries = (
                [] if self.array is None else self.entered(_values(self.array, strict=self.strict))
            )
        return self._entries

    def inside(self, window: Window) -> Sequence[Entry]:
        """Return the entries inside *window*, oldest first."""
        if self.array is None or self.array.empty or window.empty:
            return []
        if self.array.neat and self._entries is None and window != EVERYTHING:
            try:
                return self.seek(self.array, window)
            except ValueError:
                pass  # a damaged or strange line: read them all
        entries: Any = self.entries()
        return cast("Sequence[Entry]", Conversation(self.session, entries).window(window))

    def entry(self, key: int | str) -> Entry:
        """Return the entry at a position (int) or with an id (str). Raises `MessageNotFound`."""
        found = self.entry_of(key) if isinstance(key, str) else None
        if isinstance(key, int) and key > 0:
            found = next(iter(self.inside(Window(after=key - 1, before=key + 1))), None)
        if found is None:
            raise no_message(self.session.session_id, key)
        return found

    def entry_of(self, message_id: str) -> Entry | None:
        """Return the entry with this id."""
        if self.array is not None and self.array.neat and self._entries is None:
            try:
                return self.place(self.array, message_id)
            except ValueError:
                pass
        return next((entry for entry in self.entries() if entry.message_id == message_id), None)

    # ---- what a conversation does, without reading more than it must

    @property
    def rows(self) -> list[Row]:
        """All rows, read when they are first asked for."""
        if self._rows is None:
            entries = [] if self.array is None else self.entered(_lines(self.array, strict=self.strict))
            rows = [element.row_of(entry) for entry in entries]
            self._kept = {row.position: (row, entry) for row, entry in zip(rows, entries, strict=True)}
            self._rows = rows + self.new
        return self._rows

    @rows.setter
    def rows(self, rows: list[Row]) -> None:
        self._rows = rows

    def known(self, drafts: Sequence[Draft]) -> dict[str, Row]:
        """As `Conversation.known`; an id that was just generated is not looked up."""
        sought = drafts if self._every_id else [draft for draft in drafts if not draft.id_generated]
        if not sought or self._rows is not None:
            return super().known(sought) if sought else {}
        found = {}
        for draft in sought:
            entry = self.entry_of(draft.message_id)
            if entry is not None:
                row = element.row_of(entry)
                if not same_body(draft, row.draft):
                    raise another_body(self.session.session_id, draft.message_id)
                found[draft.message_id] = row
        return found

    def load(self, rows: Sequence[Row], now: datetime) -> int:
        """As `Conversation.load`: here a generated id may be known."""
        self._every_id = True
        return super().load(rows, now)

    def remove(self, row: Row, now: datetime) -> None:
        """As `Conversation.remove`."""
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
        return self._rows is None and self.array is not None and self.array.neat and not self.array.empty

    def new_lines(self) -> list[bytes]:
        """Return the lines of what is appended."""
        last = len(self.new) - 1
        return [
            self.line(row, self.session if number == last else None) for number, row in enumerate(self.new)
        ]

    def all_lines(self) -> Iterator[bytes]:
        """Yield the lines of all rows."""
        last = len(self.rows) - 1
        for number, row in enumerate(self.rows):
            kept, session = self._kept.get(row.position), self.session if number == last else None
            yield self.kept_line(kept[1], session) if kept and kept[0] is row else self.line(row, session)


def _values(array: Array, *, strict: bool) -> list[tuple[Any, bytes | None]]:
    """Return every element as its value (None, and its line, where it cannot be read)."""
    if not array.neat:
        return [_checked(value, None, strict=strict) for value in array.elements]
    try:
        return [(value, None) for value in element.parsed(array.whole(), strict=strict)]
    except ValueError:
        return _lines(array, strict=strict)


def _lines(array: Array, *, strict: bool) -> list[tuple[Any, bytes | None]]:
    """Return every element as its value (None where it cannot be read), and its line where it has one."""
    if not array.neat:
        return _values(array, strict=strict)
    whole = array.whole()
    lines = [line.removesuffix(b",") for line in whole[FIRST : array.end].split(b"\n") if line]
    try:
        values, doubtful = _whole(whole, strict=strict)
    except ValueError:
        return [_checked(_value(line), line, strict=strict) for line in lines]
    places: list[bytes | None] = (
        [*lines] if len(values) == len(lines) else [None] * len(values)
    )  # else by hand
    return [_checked(value, line, strict=doubtful) for value, line in zip(values, places, strict=True)]


def _whole(text: bytes, *, strict: bool) -> tuple[list[Any], bool]:
    """Return all elements, and whether one of them is not strict JSON where it should be."""
    if strict:
        try:
            return element.parsed(text, strict=True), False
        except ValueError:
            pass
    return element.parsed(text), strict


def _value(line: bytes) -> Any:
    try:
        return element.parsed(line)
    except ValueError:
        return None


def _checked(value: Any, line: bytes | None, *, strict: bool) -> tuple[Any, bytes | None]:
    """Return an element; one that is not strict JSON is damaged, and has a line, so that a rewrite keeps it."""
    if not strict or element.is_strict(value):
        return value, line
    return None, element.compact(value) if line is None else line


class FilesCore(SessionsCore):
    """What both kinds of file do alike: mend what is torn, and read outside the lock what was looked at."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._here = local()

    @abstractmethod
    def guard(self, session_id: str, *, write: bool, needed: bool) -> AbstractContextManager[bool]:
        """Hold the lock and tell whether there is one; where nobody can write it is missing, unless *needed*."""

    @abstractmethod
    def array_path(self, session_id: str) -> str:
        """Return where the session's array stands."""

    @abstractmethod
    def mend(self, session_id: str, array: Array) -> None:
        """Cut a torn file back to its last whole element."""

    @contextmanager
    def locked(self, session_id: str, *, write: bool) -> Iterator[None]:
        """As `SessionsCore.locked`; a torn file is mended first, for which a reader becomes a writer."""
        for exclusive in (write, True):
            with self.guard(session_id, write=exclusive, needed=write) as held:
                array = array_file.look(self.array_path(session_id))
                if array is not None and array.neat and array.torn is not None:
                    if not exclusive:
                        continue
                    array = self._mended(session_id, array, needed=write) if held else array
                self._here.array = array
                try:
                    yield
                finally:
                    self._here.array = None
                return

    def _mended(self, session_id: str, array: Array, *, needed: bool) -> Array | None:
        try:
            self.mend(session_id, array)
        except OSError:
            if needed:
                raise
            return array  # it can be read all the same
        return array_file.look(array.path)

    def here(self) -> Array | None:
        """Return the array that this thread has locked, as it was then."""
        array: Array | None = self._here.array
        return array

    # ---- reading

    def _reading(self, scope: Scope, session_id: str, now: datetime) -> FileSession | None:
        with self.locked(session_id, write=False):
            return cast("FileSession | None", self._seen(scope, session_id, now))

    def messages(self, scope: Scope, session_id: str, window: Window, now: datetime) -> list[Message]:
        """As `Repository.get_messages`."""
        found = self._reading(scope, session_id, now)
        entries = [] if found is None else found.inside(window)
        try:
            return [element.message_of(entry) for entry in entries]
        except (InvalidMessage, CorruptRecord):
            element.records_of(session_id, entries, 0)  # names them all
            raise

    def records(self, scope: Scope, session_id: str, window: Window, now: datetime) -> Records:
        """As `Repository.get_records`."""
        found = self._reading(scope, session_id, now)
        if found is None:
            return element.records_of(session_id, (), 0)
        return element.records_of(session_id, found.inside(window), found.session.revision)

    def message(self, scope: Scope, session_id: str, key: int | str, now: datetime) -> MessageRecord:
        """As `Repository.get_message`."""
        found = self._reading(scope, session_id, now)
        if found is None:
            raise missing(session_id)
        return element.records_of(session_id, [found.entry(key)], 0)[0]

    def durability(self) -> Durability:
        """As `Repository.durability`."""
        detail = (
            "each acknowledged write is fsynced; one host, a local file system (no NFS, no synced folder)"
        )
        return Durability("machine", detail)


class FilesRepository(Repository):
    """A repository whose core waits for files; asynchronous callers lend it a thread."""

    _path: str

    def _run(self, operation: Callable[..., Answer[T]], /, *args: Any) -> T:
        with filesystem.told(self._path):
            return operation(*args)  # type: ignore[return-value]  # files are waited for where they are read

    def _asynchronous(self) -> AsyncRepository:
        from chatstore.threads import ThreadedRepository

        return ThreadedRepository(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"
