"""Ids: the one rule, and UUIDs of version 7."""

from __future__ import annotations

import os
import threading
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import check_owner_id, check_session_id
from chatstore.errors import Invalid, InvalidMessage
from chatstore.ids import checked_id, id_fault, new_id

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("value", ["a", "A b", "é" * 255, "😀", "a/b?c=d", "a\u00a0b", "-"])
def test_ids_may_be_any_printable_text(value: str) -> None:
    """One to 255 characters, spaces inside included."""
    assert id_fault(value) is None
    assert value == checked_id(value)


@pytest.mark.parametrize(
    "value", ["", "a" * 256, " a", "a ", "a\u3000", "a\nb", "a\0", "\x7f", "\x85b", "\ud800", None, b"a"]
)
def test_other_ids_are_refused(value: Any) -> None:
    """The error says what is wrong and what to do, and does not repeat the id."""
    with pytest.raises(InvalidMessage, match=r"^the message id .*: use 1 to 255 characters"):
        checked_id(value)


@pytest.mark.parametrize("value", [7, uuid.UUID(int=7)], ids=repr)
def test_what_only_needs_str_is_told_so(value: Any) -> None:
    """A number or a UUID is no text, and the error says how to make it one."""
    for check in (check_session_id, checked_id, partial(check_owner_id, name="user_id")):
        with pytest.raises(Invalid, match=f"of type {type(value).__name__}, not text: pass str\\(\\) of it"):
            check(value)


def test_new_ids_are_uuids_of_version_7() -> None:
    """Version, variant and the time in milliseconds are where RFC 9562 has them."""
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert (7, uuid.RFC_4122) == (made.version, made.variant)
    # Many ids within one millisecond may have counted on into the next ones.
    assert before <= made.int >> 80 <= after + 1000
    assert new_id() == str(uuid.UUID(new_id())) or id_fault(new_id()) is None


def test_new_ids_grow() -> None:
    """Ids of one process are in the order in which they were made, as text too."""
    made = [new_id() for _ in range(20_000)]
    assert sorted(set(made)) == made


def test_new_ids_grow_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a clock that stands nor one that goes back repeats or reorders ids."""
    first = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    made = [first, *(new_id() for _ in range(10_000))]
    assert sorted(set(made)) == made


def test_threads_never_share_an_id() -> None:
    """Eight threads making ids at once make different ones, each thread growing ones."""
    made: list[list[str]] = [[] for _ in range(8)]

    def work(own: list[str]) -> None:
        own.extend(new_id() for _ in range(2_000))

    threads = [threading.Thread(target=work, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert all(sorted(own) == own for own in made)
    assert 16_000 == len({one for own in made for one in own})


def _in_child(task: Callable[[], str]) -> str:
    """Return what *task* returns in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        try:
            os.write(write, task().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork: nothing to test")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_children_make_ids_of_their_own() -> None:
    """Children forked from one state, even while the lock is held, neither hang nor repeat each other."""
    from chatstore import ids

    with ids._sequence.lock:
        made = [_in_child(lambda: " ".join(new_id() for _ in range(100))) for _ in range(3)]
    every = [one for text in made for one in text.split()]
    assert (300, 300) == (len(every), len(set(every)))
