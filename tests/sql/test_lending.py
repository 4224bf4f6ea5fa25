"""The pool: who waits for a connection goes on as soon as one comes back, and waits no longer than it may."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chatstore.backends.sql import lending
from chatstore.backends.sql.engine_factory import new_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    """Return an engine with one connection, for which callers wait a few milliseconds."""
    engine = new_engine(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.003)
    yield engine
    engine.dispose()


def test_who_waits_is_woken(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when it looks again."""
    monkeypatch.setattr(lending, "_LOOK_SECONDS", 20)
    engine = new_engine(sqlite_url, pool_size=1, max_overflow=0)
    waiting, took = Event(), list[float]()

    def wait() -> None:
        waiting.set()
        began = time.monotonic()
        engine.connect().close()
        took.append(time.monotonic() - began)

    with engine.connect():
        thread = Thread(target=wait)
        thread.start()
        assert waiting.wait(30)
        thread.join(0.2)
    thread.join(15)
    assert took[0] < 10
    engine.dispose()


def test_nobody_waits_for_ever(engine: Engine) -> None:
    """Many who give a connection to each other all the time, and give up: a queue's own timeout may then never end.

    CPython's `SimpleQueue.get` waits without an end where it is woken at its deadline and finds nothing.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    took = list[float]()

    def take() -> None:
        for _ in range(400):
            began = time.monotonic()
            with suppress(PoolTimeout):
                engine.connect().close()
            took.append(time.monotonic() - began)

    threads = [Thread(target=take, daemon=True) for _ in range(24)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert len(took) == 24 * 400
    assert max(took) < 10


def test_who_gives_up_says_so(engine: Engine) -> None:
    """The error of SQLAlchemy's pools, after the time that it was given."""
    with engine.connect(), pytest.raises(PoolTimeout, match="all 1 connections stayed in use"):
        engine.connect()
