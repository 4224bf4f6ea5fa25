"""What is undivided is whole in a forked child, and a fork waits for it, though not for ever."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import forks
from chatstore.backends.file import filesystem
from chatstore.backends.memory.repository import MemoryRepository
from chatstore.forks import Undivided
from tests.forked import in_child, until_a_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@contextmanager
def busy(work: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Run *work* in another thread; it gets a function that waits until a fork begins."""
    inside = Event()
    thread = Thread(target=work, args=(partial(until_a_fork, inside),))
    thread.start()
    assert inside.wait(30)
    yield
    thread.join()


def test_a_fork_waits_for_a_change_in_memory() -> None:
    """A child does not begin with half of what another thread was changing."""
    repository, changed = MemoryRepository(), list[int]()

    def change(until_forked: Callable[[], None]) -> None:
        with repository._core.locked("s", write=True):
            changed.append(1)
            until_forked()
            changed.append(2)

    with busy(change):
        assert "[1, 2]" == in_child(lambda: changed)


def test_a_child_knows_each_copy_of_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that another thread was opening to lock it is closed in the child, which would keep the lock."""
    path, taken = tmp_path / "lock", list[filesystem.FileLock | None]()
    path.touch()
    opened = os.open

    def acquire(until_forked: Callable[[], None]) -> None:
        def slowly(*args: Any) -> int:
            descriptor = opened(*args)
            until_forked()
            return descriptor

        monkeypatch.setattr(os, "open", slowly)
        taken.append(filesystem.acquire(str(path), os.O_RDONLY, write=True))

    def copies() -> int:
        found = [descriptor for descriptor in range(3, 256) if _is(descriptor, path)]
        return len(found)

    with busy(acquire):
        assert "0" == in_child(copies)
    (lock,) = taken
    assert lock is not None
    assert _is(lock.descriptor, path)
    filesystem.release(lock)


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def test_nobody_begins_while_a_process_forks() -> None:
    """Who comes while a fork is under way waits for its end; the thread that forks does not wait for itself."""
    gate, said = Undivided(), list[str]()

    def come() -> None:
        with gate:
            said.append("inside")

    assert gate.hold()
    with gate:
        said.append("who forks")
    thread = Thread(target=come)
    thread.start()
    said.append("forked")
    gate.let_go()
    thread.join(30)
    assert ["who forks", "forked", "inside"] == said


def test_a_fork_waits_for_nobody_who_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs holds a fork up for a while only; one that has died inside, or forks there, not at all."""
    gate, end = Undivided(), Event()
    gate._inside.add(-1)  # a thread that is no more
    assert gate.hold()
    gate.let_go()
    with gate:
        assert not gate.hold()
        gate.let_go()

    def hang(inside: Event) -> None:
        with gate:
            inside.set()
            end.wait()

    inside = Event()
    thread = Thread(target=hang, args=(inside,))
    thread.start()
    assert inside.wait(30)
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    assert not gate.hold()
    gate.let_go()
    end.set()
    thread.join()
    assert gate.hold()
    gate.let_go()
