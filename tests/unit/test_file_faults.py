"""Files under a process that dies, or a disk that fails, at every single change it makes to them.

After each fault a second repository, which knows nothing of the first, looks at what is left.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.backends.file import SESSION, FileRepository, SingleFileRepository
from chatstore.errors import CorruptRecord, StorageUnavailable
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
    """Makes the n-th change fail: as a disk does (once), or as a kill does (with all that follow)."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in front of the operating system; `begin` decides what fails."""
        self.count, self.fails_at, self.error, self.half = 0, 0, None, False
        for name in (*CHANGES, *WAITS):
            patch.setattr(os, name, self.wrapped(getattr(os, name)))

    error: OSError | None

    def begin(self, fails_at: int, error: OSError | None = None, *, half: bool = False) -> None:
        """Let call number *fails_at* raise *error*, or die; with *half*, after half of its bytes."""
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
            return None if call.__name__ in WAITS else call(*args, **named)

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


def states(folder: Path) -> dict[str, object]:
    """Return all that can be seen of the sessions old and new, without revisions, times and positions."""
    repository = FileRepository(folder)
    return {key: _state(repository, key) for key in ("old", "new")}


def _state(repository: Repository, session_id: str) -> object:
    contents = [message.content for message in repository.get_messages(session_id)]
    listed = [item for item in repository.list_sessions().items if item.session_id == session_id]
    if not listed:
        return ("missing", contents)
    assert listed == [repository.get_session(session_id)]
    assert len(contents) == listed[0].message_count == repository.count_messages(session_id)
    return (listed[0].user_id, listed[0].title, contents)


def prepared(folder: Path) -> Path:
    """Return *folder* with one session in it, whose positions end at 4."""
    repository = FileRepository(folder)
    repository.create_session("old", user_id="u", title="old")
    repository.add_messages("old", turn("first"))
    repository.add_messages("old", turn("second"))
    return folder


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


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_kill_leaves_all_of_a_call_or_nothing(
    tmp_path: Path, faults: Faults, name: str, half: bool
) -> None:
    """Killed at any change, a call happened or did not; the next one works and reuses no position."""
    number, seen = 1, set()
    while not _killed(tmp_path / str(number), faults, CALLS[name], number, half=half):
        folder = tmp_path / str(number)
        seen.add(repr(states(folder)))
        for path in folder.glob("*.json"):
            json.loads(path.read_bytes())
        for key in ("old", "new"):
            (record,) = FileRepository(folder).add_messages(key, [HumanMessage("next")])
            assert [record] == FileRepository(folder).get_records(key, last=1)
            assert record.position > 4 or key == "new" or name == "delete"
        number += 1
    print(f"{name}: {number - 1} faults injected")
    assert number > 1
    before, done = repr(states(prepared(tmp_path / "before"))), repr(states(tmp_path / str(number)))
    assert seen <= {before, done}


def _killed(
    folder: Path, faults: Faults, call: Callable[[Repository], object], number: int, *, half: bool
) -> bool:
    """Make *call* and kill it at change *number*; tell whether it had finished before."""
    repository = FileRepository(prepared(folder))
    faults.begin(number, half=half)
    try:
        call(repository)
    except Killed:
        return False
    else:
        return True
    finally:
        faults.begin(0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("name", CALLS)
def test_a_failing_disk_costs_the_call_only(tmp_path: Path, faults: Faults, name: str, code: int) -> None:
    """Whichever change fails, the error says what to do, no record is harmed, and a repetition works."""
    number, seen = 1, set()
    while True:
        folder = prepared(tmp_path / str(number))
        faults.begin(number, OSError(code, os.strerror(code)), half=True)
        try:
            CALLS[name](FileRepository(folder))
        except StorageUnavailable as error:
            advice = str(error)
        else:
            break
        finally:
            faults.begin(0)
        assert "repeat the call" in advice
        seen.add(repr(states(folder)))
        if repr(states(folder)) == repr(states(prepared(tmp_path / f"{number} before"))):
            CALLS[name](FileRepository(folder))
            seen.add(repr(states(folder)))
        number += 1
    print(f"{name}: {number - 1} faults injected")
    assert number > 1
    assert {repr(states(prepared(tmp_path / "before"))), repr(states(folder))} >= seen


# -------------------------------------------------------------------------------- the page's file

PAGE_CALLS: dict[str, Callable[[Repository], object]] = {
    "first append": lambda repository: repository.add_messages(SESSION, turn("a")),
    "append": lambda repository: repository.add_messages(SESSION, turn("a")),
    "edit": lambda repository: repository.update_message(SESSION, 2, AIMessage("edited")),
    "delete message": lambda repository: repository.delete_message(SESSION, 1),
    "pop": lambda repository: repository.pop_message(SESSION),
    "truncate": lambda repository: repository.truncate(SESSION, after=1),
    "clear": lambda repository: repository.clear(SESSION),
    "replace": lambda repository: repository.replace_messages(SESSION, turn("b")),
}


@pytest.mark.parametrize("name", PAGE_CALLS)
def test_a_kill_leaves_all_of_a_pages_call_or_nothing(tmp_path: Path, faults: Faults, name: str) -> None:
    """The same in the page's format, where no element says more than type and data."""
    number, seen = 1, set()
    while True:
        path = tmp_path / f"{number}.json"
        if name != "first append":
            SingleFileRepository(path).add_messages(SESSION, turn("first") + turn("second"))
        repository = SingleFileRepository(path)
        before = repository.get_messages(SESSION)
        faults.begin(number)
        try:
            PAGE_CALLS[name](repository)
        except Killed:
            faults.begin(0)
        else:
            break
        seen.add(repr(SingleFileRepository(path).get_messages(SESSION)))
        if path.exists():
            json.loads(path.read_bytes())
        SingleFileRepository(path).add_messages(SESSION, [HumanMessage("next")])
        assert [HumanMessage("next")] == SingleFileRepository(path).get_messages(SESSION, last=1)
        number += 1
    faults.begin(0)
    print(f"{name}: {number - 1} faults injected")
    assert number > 1
    assert seen <= {repr(before), repr(SingleFileRepository(path).get_messages(SESSION))}


#: What is written in the place of an element's data: of these, JSON knows no number.
NAN = ['"additional_kwargs":{"score":NaN}', '"additional_kwargs":{"score":[1,-Infinity]}']


@pytest.mark.parametrize("fault", NAN)
@pytest.mark.parametrize("indented", [False, True])
def test_what_is_no_json_number_is_a_damaged_record(fault: str, indented: bool, tmp_path: Path) -> None:
    """It is named by its position, hides no other record, stays in the file as it is, and can be mended."""
    repository = FileRepository(tmp_path)
    repository.add_messages("s", [HumanMessage(text) for text in "abcd"])
    repository.delete_message("s", 2)
    path = tmp_path / "s.json"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace('"additional_kwargs":{}', fault)
    path.write_text("\n".join(lines).replace(',"', ',\n "' if indented else ',"') + "\n")

    for added in (0, 1):
        with pytest.raises(CorruptRecord) as caught:
            repository.get_records("s")
        assert (3,) == caught.value.positions
        assert ["a", "d", "e"][: 2 + added] == [record.message.content for record in caught.value.records]
        with pytest.raises(CorruptRecord):
            repository.get_message("s", 3)
        repository.add_messages("s", [HumanMessage("e")])
        assert any(mark in path.read_text() for mark in ("NaN", "-Infinity"))
    repository.update_message("s", 3, HumanMessage("c"))

    assert ["a", "c", "d", "e", "e"] == [message.content for message in repository.get_messages("s")]
