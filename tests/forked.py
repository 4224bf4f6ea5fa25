"""Something done in a forked child, and what it said; something that goes on while a process forks."""

from __future__ import annotations

import os
import traceback
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_forking = Event()
# Later handlers run earlier: this is said when a fork begins, before it waits for anything.
os.register_at_fork(before=_forking.set)


def until_a_fork(inside: Event) -> None:
    """Say that this thread is *inside* something, and wait until its process is about to fork."""
    _forking.clear()
    inside.set()
    assert _forking.wait(30)


def in_child(work: Callable[[], object]) -> str:
    """Fork, do *work* in the child, and return what it returned or raised, as text."""
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        try:
            os.write(said, str(work()).encode())
        except BaseException:  # noqa: BLE001 - told to the parent
            os.write(said, traceback.format_exc()[-4000:].encode())
        finally:
            os._exit(0)
    os.close(said)
    with os.fdopen(heard, "rb") as answers:
        answer = answers.read().decode()
    os.waitpid(child, 0)
    return answer
