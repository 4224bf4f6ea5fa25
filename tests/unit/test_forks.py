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
from chatstore.forks import this_thread
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


@contextmanager
def forking() -> Iterator[None]:
    """Hold what a fork of this process holds."""
    forks._before()
    yield
    forks._give_back()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return what forks say of whether nothing undivided was going on."""
    said: list[bool] = []
    monkeypatch.setattr(forks, "_closing", [said.append])
    return said


@pytest.mark.parametrize("known", [True, False], ids=["a thread that was here", "a new thread"])
def test_nobody_begins_while_a_process_forks(quiet: list[bool], *, known: bool) -> None:
    """Who comes while a fork is under way waits for its end; the thread that forks does not wait for itself."""
    said, here, come = list[str](), Event(), Event()

    def enter() -> None:
        if known:
            assert this_thread.undivided
        here.set()
        come.wait(30)
        with this_thread.undivided:
            said.append("inside")

    thread = Thread(target=enter)
    thread.start()
    assert here.wait(30)
    with forking():
        with this_thread.undivided:
            said.append("who forks")
        come.set()
        thread.join(0.1)
        said.append("forked")
    thread.join(30)
    assert ["who forks", "forked", "inside"] == said
    assert [True] == quiet


def test_a_fork_waits_for_nobody_who_does_not_end(quiet: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs holds a fork up for a while only; one that forks inside, or has ended, not at all."""
    end, inside = Event(), Event()

    def hang() -> None:
        with this_thread.undivided:
            inside.set()
            end.wait()

    with this_thread.undivided, forking():
        pass
    thread = Thread(target=hang)
    thread.start()
    assert inside.wait(30)
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    with forking():
        pass
    end.set()
    thread.join()
    with forking():
        pass
    assert [False, False, True] == quiet


def test_threads_that_fork_at_once_give_back_what_each_has_taken() -> None:
    """One after the other; and nothing stays taken, which would hold up every thread that comes."""

    def fork() -> None:
        for _ in range(50):
            assert "None" == in_child(lambda: None)

    def enter() -> None:
        with this_thread.undivided:
            pass

    threads = [Thread(target=fork) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    late = Thread(target=enter)
    late.start()
    late.join(5)
    assert not any(thread.is_alive() for thread in (*threads, late))
