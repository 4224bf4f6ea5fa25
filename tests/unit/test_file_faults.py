"""Files under a process that dies, or a disk that fails, at every single change it makes to them.

After each fault a second repository, which knows nothing of the first, looks at what is left.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.backends.file import SESSION, FileRepository, PageFileRepository
from chatstore.errors import StorageUnavailable
from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chatstore.repository import Repository

#: The calls by which a process changes files. Opening is left alone: it changes nothing that counts.
CHANGES = ("pwrite", "ftruncate", "replace", "unlink", "mkdir", "utime", "fchmod")
WAITS = ("fsync", "fdatasync")
LARGE = "x" * 9000  # more than two pages


class Killed(BaseException):
    """What stands for SIGKILL: nothing catches it, and no change happens after it."""


class Faults:
    """Makes the n-th change fail: as a disk does (once), or as a kill does (all that follow, cleaning up too)."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in front of the operating system; `begin` decides what fails."""
        self.count, self.fails_at, self.error, self.half = 0, 0, None, False
        for name in (*CHANGES, *WAITS):
            patch.setattr(os, name, self.wrapped(getattr(os, name)))

    error: OSError | None

    def begin(self, fails_at: int, error: OSError | None = None, *, half: bool = False) -> None:
        """Let the call number *fails_at* raise *error*, or die; with *half*, after half of what it should write."""
        self.count, self.fails_at, self.error, self.half = 0, fails_at, error, half

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return *call* with the fault in front of it."""

        def guarded(*args: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self.fails_at:
                if self.half and call.__name__ == "pwrite":
                    call(args[0], bytes(args[1])[: len(args[1]) // 2], *args[2:])
                raise self.error or Killed
            if self.error is None and self.fails_at and self.count > self.fails_at:
                raise Killed
            return call(*args, **named)

        return guarded


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Give the faults, which have not begun yet."""
    found = Faults(monkeypatch)
    yield found
    found.begin(0)


def turn(name: str) -> list[Any]:
    """Return a turn whose answer is longer than two pages."""
    return [HumanMessage(f"{name}?", id=f"{name}-q"), AIMessage(f"{name} {LARGE}")]


def state(repository: Repository, session_id: str) -> tuple[Any, ...] | None:
    """Return everything that can be seen of a session, without its revision and times."""
    found = [session for session in _listed(repository) if session.session_id == session_id]
    contents = [message.content for message in repository.get_messages(session_id)]
    if not found:
        return ("missing", contents)
    session = found[0]
    assert session == repository.get_session(session_id)
    assert len(contents) == session.message_count == repository.count_messages(session_id)
    return (session.user_id, session.title, contents)


def _listed(repository: Repository) -> list[Any]:
    if isinstance(repository, PageFileRepository):
        return [repository.get_session(SESSION)] if repository.count_messages(SESSION) else []
    return repository.list_sessions(archived=None).items


CALLS: dict[str, Callable[[Repository], object]] = {
    "create": lambda repository: repository.create_session("new", user_id="u", title="t"),
    "first append": lambda repository: repository.add_messages("new", turn("a")),
    "append": lambda repository: repository.add_messages("old", turn("a")),
    "append one": lambda repository: repository.add_messages("old", [HumanMessage("a")]),
    "load": lambda repository: repository.load_records("new", repository.get_records("old")),
    "title": lambda repository: repository.update_session("old", title="other"),
    "edit": lambda repository: repository.update_message("old", 2, AIMessage("edited")),
    "delete message": lambda repository: repository.delete_message("old", 1),
    "pop": lambda repository: repository.pop_message("old"),
    "truncate": lambda repository: repository.truncate("old", after=1),
    "clear": lambda repository: repository.clear("old"),
    "replace": lambda repository: repository.replace_messages("old", turn("b")),
    "empty": lambda repository: repository.replace_messages("old", []),
    "delete": lambda repository: repository.delete_session("old"),
    "fork": lambda repository: repository.fork_session("old", "new"),
}


def prepared(folder: Path) -> FileRepository:
    """Return a repository with one session, and nothing known to it."""
    first = FileRepository(folder)
    first.create_session("old", user_id="u", title="old")
    first.add_messages("old", turn("first"))
    first.add_messages("old", turn("second"))
    return FileRepository(folder)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_kill_leaves_all_of_a_call_or_nothing(tmp_path: Path, faults: Faults, name: str, half: bool) -> None:
    """Killed at any change, a call happened or did not; the next call works, and a position is never used again."""
    number, seen = 0, set()
    while True:
        number += 1
        folder = tmp_path / str(number)
        repository = prepared(folder)
        before = {key: state(FileRepository(folder), key) for key in ("old", "new")}
        last = FileRepository(folder).get_session("old").last_position
        faults.begin(number, half=half)
        try:
            CALLS[name](repository)
        except Killed:
            finished = False
        else:
            finished = True
        faults.begin(0)
        after = {key: state(FileRepository(folder), key) for key in ("old", "new")}
        if finished:
            break
        seen.add(repr(after))
        for path in folder.glob("*.json"):
            json.loads(path.read_bytes())
        for key in ("old", "new"):
            (record,) = FileRepository(folder).add_messages(key, [HumanMessage("next")])
            assert record == FileRepository(folder).get_records(key)[-1]
            assert record.position > last or key == "new" or name == "delete"
    print(f"{name}: {number - 1} faults injected")
    assert number > 1
    assert seen <= {repr(before), repr(after)}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", CALLS)
def test_a_failing_disk_costs_the_call_only(tmp_path: Path, faults: Faults, name: str, code: int) -> None:
    """Whichever change fails, the error is a StorageUnavailable that says what to do, and no record is harmed."""
    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        repository = prepared(folder)
        before = {key: state(FileRepository(folder), key) for key in ("old", "new")}
        faults.begin(number, OSError(code, os.strerror(code)), half=True)
        try:
            CALLS[name](repository)
        except StorageUnavailable as error:
            assert "repeat the call" in str(error)
            assert LARGE not in str(error)
        else:
            break
        faults.begin(0)
        after = {key: state(FileRepository(folder), key) for key in ("old", "new")}
        CALLS[name](FileRepository(folder)) if after == before else None
    print(f"{name}: {number - 1} faults injected")
    assert number > 1
