"""An exception at any line of any call: what is acknowledged afterwards is stored, and every later call works."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.pool.base import ResetStyle

import chatstore
from chatstore import HumanMessage
from chatstore.backends.common.rules import SessionState
from chatstore.backends.sql import lending
from tests.reliability.campaign import Campaign
from tests.reliability.interrupts import (
    BELOW,
    FIRST,
    OPERATIONS,
    OTHER,
    OURS,
    WORK,
    Broken,
    Interrupted,
    Tracer,
)
from tests.reliability.judge import LAST, Judge
from tests.reliability.places import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = ["memory", "sqlite", "sqlite-memory", "file", "redis", "postgres", "mariadb"]
#: Of a library's lines, in full runs every so many-th is interrupted.
STRIDE = 11
#: Where a round takes long, every so many-th of all of these.
SLOW = {("mariadb", how): 24 for how in ("call", "thread", "loop")} | {
    **{("postgres", how): 12 for how in ("call", "thread", "loop")},
    **{(kind, "thread"): 8 for kind in ("redis", "sqlite", "file")},
    ("redis", "loop"): 8,
    ("redis", "call"): 3,
    ("sqlite", "call"): 3,
    ("file", "call"): 2,
}
#: Messages after which a session that is compared is given up for a new one.
KEPT = 12
SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def _anywhere(kind: str) -> Iterator[str]:
    if kind in {"memory", "sqlite-memory"}:
        yield "memory:" if kind == "memory" else "sqlite:///:memory:"
    elif kind in {"file", "sqlite"}:
        # In memory where the system has such a place: it is not the disk's waiting that is looked at here.
        with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
            yield f"file:{folder}/chats" if kind == "file" else f"sqlite:///{folder}/chat.db"
    else:
        with place(kind) as url:
            yield (
                f"{url}{'&' if '?' in url else '?'}options=-csynchronous_commit%3Doff"
                if kind == "postgres"
                else url
            )


class Awaited:
    """An asynchronous repository, called as if it blocked; *around* is put around each coroutine."""

    def __init__(self, url: str) -> None:
        """Open *url* in a loop of its own."""
        self.runner = asyncio.Runner()
        self.around: Callable[[Any], Any] = lambda call: call
        self.inner = self.runner.get_loop().run_until_complete(self._opened(url))

    @staticmethod
    async def _opened(url: str) -> Any:
        return chatstore.connect_async(url)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the method, awaited."""

        async def call(*args: Any, **options: Any) -> Any:
            return await self.around(getattr(self.inner, name)(*args, **options))

        # Not `Runner.run`, whose handler of SIGINT is none of ours to test.
        return lambda *args, **options: self.runner.get_loop().run_until_complete(call(*args, **options))

    def ended(self) -> None:
        """Close the repository and the loop."""
        self.close()
        self.runner.close()


class Sweep:
    """One repository, interrupted again and again, and what was wrong after it.

    *how*: in a ``call``, in a call of another ``thread``, at a ``wait`` of an asynchronous call by cancelling it, or
    at a line of such a call in the ``loop``.
    """

    def __init__(self, campaign: Campaign, kind: str, url: str, how: str = "call") -> None:
        """Open *url*, which a second process judges."""
        self.campaign, self.kind, self.how = campaign, kind, how
        self.repository: Any = Awaited(url) if how in {"wait", "loop"} else chatstore.connect(url)
        self.repository.count_messages(WORK)
        self.judge = Judge(url, self.repository if "memory" in kind else None)
        self.acknowledged = self.swallowed = 0
        self.wrong: list[tuple[str, ...]] = []
        self.kept, self.kept_ids = "kept 0", list[str]()
        self.first = 0

    def close(self) -> None:
        """End the second process."""
        self.judge.close()
        (self.repository.ended if isinstance(self.repository, Awaited) else self.repository.close)()

    # ---- one interrupt

    def prepare(self, name: str) -> None:
        """Have `WORK` hold `FIRST`, and `OTHER` nothing."""
        self.first = self.repository.replace_messages(WORK, FIRST)[0].position
        if name in {"create", "fork", "load"}:
            self.repository.delete_session(OTHER)

    def point(self, name: str, at: int, kind: type[BaseException], parts: tuple[str, ...]) -> bool:
        """Interrupt operation *name* at its line *at*; tell whether it has so many."""
        self.prepare(name)
        tracer = Tracer(at, kind("interrupt"), parts)
        error = self.run(tracer, lambda: OPERATIONS[name](self.repository, self.first))
        if tracer.raised:
            self.campaign.done += 1
            self.said(f"{name} at {tracer.where}", tracer, error)
            self.after(f"{name} at {tracer.where}")
        elif error is not None:
            raise error
        return tracer.raised

    def run(self, tracer: Tracer, call: Callable[[], Any]) -> BaseException | None:
        """Return what comes out of *call*."""
        if self.how != "thread":
            return self.out(tracer, call)
        found: list[BaseException | None] = []
        thread = threading.Thread(target=lambda: found.append(self.out(tracer, call)))
        thread.start()
        thread.join()
        return found[0]

    def out(self, tracer: Tracer, call: Callable[[], Any]) -> BaseException | None:
        """Return what comes out of *call* in this thread."""
        try:
            if isinstance(self.repository, Awaited):
                self.repository.around = tracer.waiting if self.how == "wait" else tracer.awaiting
                call()
            else:
                with tracer.on():
                    call()
        except BaseException as error:  # noqa: BLE001 - whatever comes out is looked at
            return error.with_traceback(None)
        finally:
            if isinstance(self.repository, Awaited):
                self.repository.around = lambda inner: inner
        return None

    def said(self, what: str, tracer: Tracer, error: BaseException | None) -> None:
        """Look whether the interrupt stayed what it is; in a destructor Python reports it and goes on."""
        self.swallowed += error is None
        if error is not None and error is not tracer.error and not isinstance(error, asyncio.CancelledError):
            self.wrong.append((what, "another error", repr(error), repr(error.__cause__)))
        tracer.error.__traceback__ = tracer.error.__context__ = None

    def after(self, what: str) -> None:
        """Look whether two appends are acknowledged and stored, and nothing is left open, or lent."""
        mine = f"k{self.campaign.done}"
        try:
            if len(self.kept_ids) == KEPT:  # or what looks at all messages has more and more to do
                self.repository.delete_session(self.kept)
                self.kept, self.kept_ids = f"kept {self.campaign.done}", []
            for session in (self.kept, WORK):
                self.repository.add_messages(session, [HumanMessage(mine, id=mine)])
        except BaseException as error:  # noqa: BLE001 - counted
            self.wrong.append((what, "refused", repr(error), repr(error.__cause__)))
            return
        self.acknowledged += 2
        self.kept_ids.append(mine)
        told = self.judge.says(self.kept, WORK)
        found = [record[1] for record in told[self.kept]["records"]]
        if found != self.kept_ids[-len(found) :] or told[self.kept]["count"] != len(self.kept_ids):
            self.wrong.append((what, "lost", str(found), str(self.kept_ids[-3:])))
        if told["open"]:
            self.wrong.append((what, "left open", str(told["open"])))
        if (out := self.lent()) != 0:
            self.wrong.append((what, "still lent", str(out)))
        self.whole(what, mine, told[WORK])

    def whole(self, what: str, mine: str, told: dict[str, Any]) -> None:
        """Look whether the interrupted session is as before the call or as after it, and counts what it has."""
        positions = [record[0] for record in told["records"]]
        ids = [record[1] for record in told["records"]]
        contents = [record[2] for record in told["records"]]
        counted = told["count"] == len(ids) or len(ids) == LAST
        if not counted or sorted(set(positions)) != positions or ids[-1] != mine:
            self.wrong.append((what, "torn", str(told)))
        for pair in (("a", "b"), ("text of w4", "text of w5"), ("text of r1", "text of r2")):
            if len({one in contents for one in pair}) != 1:
                self.wrong.append((what, "half", str(contents)))

    def lent(self) -> int:
        """Return how many connections somebody still holds."""
        repository = self.repository
        if isinstance(repository, Awaited):
            repository = getattr(repository.inner, "_inner", repository.inner)
        lease: Any = getattr(repository, "_lease", None)
        lent: Any = None if lease is None else lease.lend(repository._user)
        pool: Any = lent.engine.pool if hasattr(lent, "engine") else None
        if not hasattr(pool, "checkedout"):
            return 0
        if pool.checkedout():
            gc.collect()  # SQLAlchemy's connections and their transactions refer to each other
        return int(pool.checkedout())


def _points(sweep: Sweep) -> Iterator[tuple[str, int, type[BaseException], tuple[str, ...]]]:
    """Yield operations, lines, classes and files, at random."""
    rng = sweep.campaign.random
    last = 12 if sweep.how == "wait" else 300
    for _ in sweep.campaign.rounds():
        parts = OURS if rng.random() < 0.5 else OURS + BELOW
        yield rng.choice(list(OPERATIONS)), rng.randrange(1, last), rng.choice([Interrupted, Broken]), parts


def _all_points(sweep: Sweep) -> None:
    """Interrupt every operation at every line of ours, and at a part of the libraries'."""
    for number, name in enumerate(OPERATIONS):
        for parts in (OURS, OURS + BELOW):
            step = 1 if parts is OURS or name in {"append", "update", "messages"} else STRIDE
            step = 1 if sweep.how == "wait" else step * SLOW.get((sweep.kind, sweep.how), 1)
            at = 1 + number % step
            while sweep.point(name, at, (Interrupted, Broken)[at % 2], parts):
                at += step
            if sweep.how == "wait":
                break


@contextmanager
def _unraisable() -> Iterator[None]:
    """Keep what an interrupt in a destructor says from being a warning; Python goes on after it.

    Nothing is logged: pytest keeps what is, and with a traceback the connection that an interrupt came upon.
    """
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logging.disable(logging.CRITICAL)
    try:
        yield
        gc.collect()  # what an interrupt left in a cycle speaks here, not in the next test
    finally:
        sys.unraisablehook = before
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_call_costs_no_other(kind: str) -> None:
    """Every line of every operation: nothing acknowledged is lost, no call refused, nothing left open or lent."""
    _swept(Campaign(f"interrupted at a line, {kind}", 1 << 30), kind, "call")


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_thread_costs_no_other_thread(kind: str) -> None:
    """The same in a thread of its own: no lock stays held, and what it held serves the others."""
    _swept(Campaign(f"thread interrupted at a line, {kind}", 1 << 30), kind, "thread")


@pytest.mark.parametrize("kind", ["sqlite", "file", "redis", "postgres", "mariadb"])
def test_a_cancelled_call_costs_no_other(kind: str) -> None:
    """Every moment at which an asynchronous call waits: the same after a cancellation."""
    _swept(Campaign(f"cancelled at a wait, {kind}", 1 << 30), kind, "wait")


@pytest.mark.parametrize("kind", ["redis", "postgres", "mariadb"])
def test_an_interrupted_asynchronous_call_costs_no_other(kind: str) -> None:
    """Every line of an asynchronous call."""
    _swept(Campaign(f"asynchronous, interrupted at a line, {kind}", 1 << 30), kind, "loop")


@pytest.mark.parametrize(("kind", "plant"), [("sqlite", "lending"), ("memory", "memory")])
def test_the_campaign_bites(kind: str, plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dirty connections are lent again, or conversations are changed in place, the sweep finds it."""
    campaign = Campaign(f"planted, {kind}", 1 << 30)
    with _anywhere(kind) as url, _unraisable():
        sweep = Sweep(campaign, kind, url)
        if plant == "lending":
            monkeypatch.setattr(lending, "_give_up", lambda *_: None)
            monkeypatch.setattr(
                lending.LendingPool, "_do_return_conn", lambda pool, record: pool._idle.put(record)
            )
            monkeypatch.setattr(Connection, "close", _closed_without_rollback)
            sweep.repository._lease.lend(
                sweep.repository._user
            ).engine.pool._reset_on_return = ResetStyle.reset_none
        else:
            monkeypatch.setattr(SessionState, "opened", lambda self: self)
        at = 0
        while not sweep.wrong and sweep.point("append", at := at + 1, Interrupted, OURS):
            pass
        monkeypatch.undo()
        sweep.close()
    assert sweep.wrong != []


def _closed_without_rollback(connection: Connection) -> None:
    connection._transaction = None
    connection.connection.close()


def _swept(campaign: Campaign, kind: str, how: str) -> None:
    with _anywhere(kind) as url, warnings.catch_warnings(), _unraisable():
        # That a connection was left to the garbage collector is said by libraries, and is what happened.
        warnings.simplefilter("ignore")
        sweep = Sweep(campaign, kind, url, how)
        if campaign.short:
            for point in _points(sweep):
                sweep.point(*point)
        else:
            _all_points(sweep)
        sweep.close()
        acknowledged, wrong = sweep.acknowledged, sweep.wrong
        del sweep  # and with it what it had lent, which is collected here
    campaign.report(acknowledged=acknowledged)
    assert wrong == []
