"""What operations on files cost, in bytes moved and waits for the disk: no more in a long session."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.backends.file import SESSION, FileRepository, SingleFileRepository
from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatstore.repository import Repository

SHORT, LONG = 10, 10_000
TEXT = "x" * 300


class Traffic:
    """Counts bytes and waits that pass between this process and its files."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in front of reading, writing and syncing."""
        self.bytes = self.waits = 0
        for name, counted in (("pread", len), ("pwrite", lambda written: written)):
            patch.setattr(os, name, self.wrapped(getattr(os, name), counted))
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self.waited)

    def wrapped(self, call: Callable[..., Any], counted: Callable[[Any], int]) -> Callable[..., Any]:
        """Return *call*, counting."""

        def counting(*args: Any) -> Any:
            found = call(*args)
            self.bytes += counted(found)
            return found

        return counting

    def waited(self, _: int) -> None:
        """Count a wait, and do not wait."""
        self.waits += 1

    def of(self, call: Callable[[], object]) -> tuple[int, int]:
        """Return the bytes and waits of *call*."""
        self.bytes = self.waits = 0
        call()
        return self.bytes, self.waits


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Give the counters."""
    return Traffic(monkeypatch)


KINDS: dict[str, Callable[[Path], Repository]] = {
    "directory": FileRepository,
    "page": lambda path: SingleFileRepository(path.with_name(f"{path.name}.json")),
}


def filled(folder: Path, kind: str, size: int) -> Repository:
    """Return a repository of *size* messages."""
    repository = KINDS[kind](folder / str(size))
    messages = [HumanMessage(TEXT, id=f"i{number}" if number % 2 else None) for number in range(size)]
    repository.add_messages(SESSION, messages)
    return KINDS[kind](folder / str(size))


def turn(number: int, message_id: str | None = None) -> list[HumanMessage | AIMessage]:
    """Return a turn."""
    return [HumanMessage(f"{number} {TEXT}", id=message_id), AIMessage(TEXT)]


def _append_costs(repository: Repository, traffic: Traffic, *, named: bool) -> list[tuple[int, int]]:
    def append(number: int) -> None:
        repository.add_messages(SESSION, turn(number, f"n{number}" if named else None))

    append(0)  # what a process learns once
    return [traffic.of(partial(append, number)) for number in range(1, 20)]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_append_costs_the_same_in_a_long_session(
    tmp_path: Path, traffic: Traffic, kind: str, named: bool
) -> None:
    """At 10,000 messages an append moves at most 1.2 times the bytes it moves at 10, and waits once."""
    costs = {
        size: _append_costs(filled(tmp_path, kind, size), traffic, named=named) for size in (SHORT, LONG)
    }

    assert {1} == {waits for cost in costs.values() for _, waits in cost}
    assert sum(moved for moved, _ in costs[LONG]) <= 1.2 * sum(moved for moved, _ in costs[SHORT])


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_is_followed_line_by_line(tmp_path: Path, traffic: Traffic, kind: str) -> None:
    """What others appended meanwhile is read, and not what was known before."""
    repository = filled(tmp_path, kind, LONG)
    repository.add_messages(SESSION, turn(0, "first"))
    moved, _ = traffic.of(lambda: repository.add_messages(SESSION, turn(1, "second")))
    for number in range(2, 6):
        KINDS[kind](tmp_path / str(LONG)).add_messages(SESSION, turn(number, f"n{number}"))

    again, _ = traffic.of(lambda: repository.add_messages(SESSION, turn(3, "n3")))

    assert again <= moved + 6 * 2 * len(TEXT) + 8192


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda repository, _: repository.get_messages(SESSION, last=3),
        lambda repository, size: repository.get_records(SESSION, after=size - 3),
        lambda repository, _: repository.get_session(SESSION),
        lambda repository, _: repository.count_messages(SESSION),
        lambda repository, _: repository.get_message(SESSION, "i9"),
    ],
)
def test_the_end_is_read_from_the_end(
    tmp_path: Path, traffic: Traffic, kind: str, call: Callable[[Repository, int], object]
) -> None:
    """The newest messages, what came after a position, and the counters do not need the others."""
    costs = {}
    for size in (SHORT, LONG):
        repository = filled(tmp_path, kind, size)
        call(repository, size)  # what a process learns once
        costs[size], _ = traffic.of(partial(call, repository, size))

    assert costs[LONG] <= costs[SHORT] + 40 * 8192


def test_a_fresh_process_reads_the_end_only(tmp_path: Path, traffic: Traffic) -> None:
    """In a directory an append, a count, a list and the newest messages need no look at the rest, ever."""
    filled(tmp_path, "directory", LONG)
    size = (tmp_path / str(LONG) / f"{SESSION}.json").stat().st_size
    calls: list[Callable[[Repository], object]] = [
        lambda repository: repository.add_messages(SESSION, turn(0)),
        lambda repository: repository.count_messages(SESSION),
        lambda repository: repository.list_sessions(),
        lambda repository: repository.get_messages(SESSION, last=20),
        lambda repository: repository.get_messages(SESSION, before=5000, last=20),
        lambda repository: repository.get_messages(SESSION, after=5000, limit=20),
    ]
    for call in calls:
        moved, _ = traffic.of(partial(call, FileRepository(tmp_path / str(LONG))))

        assert moved < 300_000 < size


def test_paging_reads_each_message_about_once(tmp_path: Path, traffic: Traffic) -> None:
    """iter_records over 10,000 messages reads the file about once, not once for every page."""
    repository = filled(tmp_path, "directory", LONG)
    size = (tmp_path / str(LONG) / f"{SESSION}.json").stat().st_size

    moved, _ = traffic.of(lambda: list(repository.iter_records(SESSION)))

    assert moved < 4 * size


def test_a_list_looks_only_at_what_changed(tmp_path: Path, traffic: Traffic) -> None:
    """A second list of the same sessions opens none of them."""
    repository = FileRepository(tmp_path / "chats")
    for number in range(50):
        repository.create_session(f"s{number}", metadata={"n": number})
    first = repository.list_sessions().items
    first[0].metadata["n"] = "changed by the caller"

    moved, _ = traffic.of(repository.list_sessions)
    assert 0 == moved
    repository.add_messages("s7", turn(1))

    assert "s7" == repository.list_sessions(limit=1).items[0].session_id
    assert set(range(50)) == {session.metadata["n"] for session in repository.list_sessions().items}


def test_a_large_message_is_moved_once(tmp_path: Path, traffic: Traffic) -> None:
    """Ten megabytes go to the file once, and come back once."""
    repository = filled(tmp_path, "directory", SHORT)
    large = "y" * 10_000_000

    written, _ = traffic.of(lambda: repository.add_messages(SESSION, [HumanMessage(large)]))
    read, _ = traffic.of(lambda: repository.get_messages(SESSION, last=1))

    assert large == repository.get_messages(SESSION, last=1)[0].content
    assert written < 10_100_000
    assert read < 25_000_000
