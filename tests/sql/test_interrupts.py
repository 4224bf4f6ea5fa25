"""An interrupt in the middle of a call: it stays what it is, and the calls after it work and are stored."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.exc import StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import base

import chatstore
from chatstore import HumanMessage, errors
from chatstore.backends.sql.engine_factory import new_async_engine, new_engine
from chatstore.backends.sql.lending import WRITES, Lent, interrupt_in
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a migrated, empty database of each kind."""
    with servers.migrated_url(request.param) as found:
        yield found


class _TimeIsUp(Exception):
    """What a task queue raises in a handler of a signal: an ordinary exception."""


def _handler(*_: object) -> None:
    raise _TimeIsUp


class _AfterBegin:
    """Runs *interrupt* as soon as a unit's BEGIN has been sent, once."""

    def __init__(self, engine: Engine, interrupt: Callable[[], object]) -> None:
        self.interrupt: Callable[[], object] | None = interrupt
        event.listen(engine, "begin", self)

    def __call__(self, connection: Connection) -> None:
        if self.interrupt is not None and connection.get_execution_options().get(WRITES):
            interrupt, self.interrupt = self.interrupt, None
            interrupt()


@pytest.fixture
def handled() -> Iterator[None]:
    """Have a signal's handler raise."""
    before = signal.signal(signal.SIGUSR1, _handler)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_what_is_acknowledged_after_an_interrupt_is_stored(url: str, handled: None) -> None:
    """A handler that raises just after BEGIN: the appends after it are seen by everybody, and none is refused."""
    del handled
    with chatstore.connect(url) as repository, chatstore.connect(create_engine(url)) as another:
        repository.add_messages("s", [HumanMessage("first")])
        lent: Any = repository
        _AfterBegin(lent._lease.lend(lent._user).engine, lambda: signal.raise_signal(signal.SIGUSR1))
        with pytest.raises(_TimeIsUp):
            repository.update_session("s", title="never")
        repository.add_messages("s", [HumanMessage("second")])
        with pytest.raises(errors.SessionNotFound):
            repository.update_session("missing", title="rolls back")
        stored = [message.content for message in another.get_messages("s")]
        assert ["first", "second"] == stored
        assert another.get_session("s").title is None
        another._lease.lend(another._user).engine.dispose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_cancelled_call_leaves_nothing_open(kind: str) -> None:
    """The same for a task that is cancelled after BEGIN: the next append is seen outside."""

    async def cancel(url: str) -> None:
        repository: Any = chatstore.connect_async(url)
        async with repository:
            await repository.add_messages("s", [HumanMessage("first")])
            task = asyncio.current_task()
            assert task is not None
            _AfterBegin(repository._lease.lend_awaiting(repository._user).unit.sync_engine, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await repository.update_session("s", title="never")
            task.uncancel()
            await repository.add_messages("s", [HumanMessage("second")])
            assert 0 == repository._lease.lend_awaiting(repository._user).engine.pool.checkedout()

    with servers.migrated_url(kind) as url:
        asyncio.run(cancel(url))
        with chatstore.connect(url) as repository:
            assert ["first", "second"] == [message.content for message in repository.get_messages("s")]
            assert repository.get_session("s").title is None


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Have Ctrl-C be Ctrl-C, also where a shell that runs this in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_database_in_memory_outlives_ctrl_c() -> None:
    """SQLAlchemy closes a connection that Ctrl-C came upon, and with it a database in memory: ours stays."""
    with chatstore.connect("sqlite:///:memory:") as repository:
        repository.add_messages("s", [HumanMessage("first")])

        def press(*_: object) -> None:
            event.remove(engine, "before_cursor_execute", press)
            signal.raise_signal(signal.SIGINT)

        engine = repository._lease.lend(repository._user).engine  # type: ignore[attr-defined]
        event.listen(engine, "before_cursor_execute", press)
        with pytest.raises(KeyboardInterrupt):
            repository.usage()
        repository.add_messages("s", [HumanMessage("second")])
        assert ["first", "second"] == [message.content for message in repository.get_messages("s")]


def test_closing_ends_a_database_in_memory() -> None:
    """A repository on a database in memory that is used again after `close` begins with an empty one."""
    repository = chatstore.connect("sqlite:///:memory:")
    repository.add_messages("s", [HumanMessage("first")])
    engine = repository._lease.lend(repository._user).engine  # type: ignore[attr-defined]
    repository.close()
    with engine.connect() as connection:
        assert 0 == connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()


def test_only_what_a_call_called_clean_is_lent_again(url: str) -> None:
    """A connection comes back to the next call after success and after an error of ours, and no other way."""
    engine = new_engine(url)
    driven = []

    def used(raising: BaseException | None) -> None:
        with Lent(engine) as connection:
            driven.append(connection.connection.driver_connection)
            if raising is not None:
                raise raising

    used(None)
    with pytest.raises(errors.SessionNotFound):
        used(errors.SessionNotFound("an answer like any other"))
    used(None)
    with pytest.raises(_TimeIsUp):
        used(_TimeIsUp())
    used(None)
    with engine.connect() as connection:  # which nobody called clean
        driven.append(connection.connection.driver_connection)
    used(None)
    same = [left is right for left, right in pairwise(driven)]
    assert [True, True, True, False, True, False] == same
    engine.dispose()


def test_connections_that_are_lost_on_the_way_are_not_counted(url: str) -> None:
    """An interrupt between the pool and whoever asked it takes nothing from the others."""
    engine = new_engine(url, pool_size=1, max_overflow=1, pool_timeout=0.2)
    pool: Any = engine.pool
    for _ in range(5):
        pool._do_get()  # and nobody ever gives it back
    assert 0 == pool.checkedout()
    held = [engine.connect(), engine.connect()]
    with pytest.raises(PoolTimeout):
        engine.connect()
    for connection in held:
        connection.close()
    assert (0, 1) == (pool.checkedout(), pool.checkedin())
    engine.dispose()


def test_connections_of_which_nobody_was_told_are_not_counted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt where the garbage collector tells that a connection was lost takes nothing from the others."""
    engine = new_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    pool: Any = engine.pool
    monkeypatch.setattr(base, "_finalize_fairy", lambda *_, **__: None)
    held: Any = base._ConnectionFairy._checkout(pool)
    kept = held._connection_record
    del held
    gc.collect()
    monkeypatch.undo()
    assert kept.dbapi_connection is not None
    with engine.connect():  # which closes what nobody has any more
        assert (1, None) == (pool.checkedout(), kept.dbapi_connection)
    assert (0, 1) == (pool.checkedout(), pool.checkedin())
    engine.dispose()


def test_who_waits_for_a_connection_gets_the_next_one(url: str) -> None:
    """A full pool lends to a thread that waits what another one gives back."""
    engine = new_engine(url, pool_size=1, max_overflow=0)
    with Lent(engine) as connection:
        first = connection.connection.driver_connection
        seen: list[object] = []

        def wait() -> None:
            with Lent(engine) as mine:
                seen.append(mine.connection.driver_connection)

        thread = threading.Thread(target=wait)
        thread.start()
    thread.join(30)
    assert [first] == seen
    engine.dispose()


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_tasks_that_wait_for_a_connection_get_it_in_turn(kind: str) -> None:
    """The same for tasks: a pool of one serves six, and one that was cancelled while it waited takes nothing along."""

    async def work(url: str) -> tuple[list[Any], int]:
        engine = new_async_engine(url, pool_size=1, max_overflow=0)

        async def ask(number: int) -> int:
            async with engine.connect() as connection:
                return int((await connection.exec_driver_sql(f"SELECT {number}")).scalar_one())

        tasks = [asyncio.create_task(ask(number)) for number in range(6)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        out = int(engine.pool.checkedout())  # type: ignore[attr-defined]
        await engine.dispose()
        return found, out

    with servers.migrated_url(kind) as url:
        found, out = asyncio.run(work(url))
    assert ([0, 1, 2, 4, 5], 0) == ([answer for answer in found if isinstance(answer, int)], out)


def test_a_pool_that_resets_nothing_is_told_of(url: str) -> None:
    """Of a passed-in engine whose pool keeps what is open, the notes say so; of any other they do not."""
    plain, unreset = create_engine(url), create_engine(url, pool_reset_on_return=None)
    told = [
        "pool_reset_on_return" in " ".join(chatstore.connect(engine).capabilities.notes)
        for engine in (plain, unreset)
    ]
    assert [False, True] == told


def test_an_interrupt_is_not_taken_for_a_bad_parameter() -> None:
    """SQLAlchemy wraps what comes out of the nowhere of a statement's parameters; a fault in them stays one."""
    interrupt, fault = _TimeIsUp(), ValueError("no number")
    assert interrupt is interrupt_in(StatementError("told", "SELECT 1", (), interrupt))
    assert None is interrupt_in(StatementError("told", "SELECT 1", (), fault))
    assert None is interrupt_in(interrupt)


def test_an_interrupt_below_a_check_of_sqlalchemy_is_found() -> None:
    """SQLAlchemy asserts that what it ended has ended, also where an interrupt kept it from that."""
    interrupt, ended = _TimeIsUp(), False

    def end() -> None:
        try:
            raise interrupt
        finally:
            assert ended

    with pytest.raises(AssertionError) as told:
        end()
    assert interrupt is interrupt_in(told.value)
    assert None is interrupt_in(AssertionError("a fault of one's own"))
