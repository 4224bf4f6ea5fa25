"""How the contract's tests run: written once with ``await``, over a repository of either kind.

This module knows coroutines, threads and pytest; it refuses to know what a repository promises.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import pytest

from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from chatstore.aio import AsyncRepository

T = TypeVar("T")


class Asyncified:
    """A repository whose methods are awaited, whichever kind it is: the thin shim in front of every test.

    A synchronous method runs when it is awaited, and nothing waits. A test that comes to an operation which the
    backend denies (`Capabilities.denied`) is skipped there, so the operations a test needs are those it calls.
    """

    def __init__(self, repository: Repository | AsyncRepository) -> None:
        """Stand in front of *repository*, which stays reachable as ``inner``."""
        self.inner = repository

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name in self.inner.capabilities.denied:
            pytest.skip(f"this backend denies {name}")
        if name in {"scope", "using"}:
            return lambda *args, **named: Asyncified(found(*args, **named))
        if name in {"capabilities", "history"} or not isinstance(self.inner, Repository):
            return found
        if name == "begin_answer":
            return lambda *args, **named: AsyncifiedAnswer(lambda: found(*args, **named))
        return (
            _iterated(found)
            if name in {"iter_records", "iter_states", "follow_answer"}
            else _awaitable(found)
        )


class AsyncifiedAnswer:
    """A synchronous streaming answer in the form of an asynchronous one: begun when it is awaited or entered."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        """Begin it with *begin*."""
        self._begin = begin
        self._answer: Any = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._answer, name)
        return _awaitable(found) if name in {"finish", "stop"} else found

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        self._answer = self._answer or self._begin()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._answer.__exit__(*error)


def asyncified(repository: Repository | AsyncRepository) -> AsyncRepository:
    """Return *repository* in front of which stands an `Asyncified`, typed as what it looks like."""
    return cast("AsyncRepository", Asyncified(repository))


def inner(store: AsyncRepository) -> Repository | AsyncRepository:
    """Return the very repository behind *store*."""
    return cast("Asyncified", store).inner


def offered(store: AsyncRepository, calls: Mapping[str, T]) -> dict[str, T]:
    """Return those of *calls*, by the name of their operation (up to a space), that the backend does not deny."""
    denied = inner(store).capabilities.denied
    return {name: call for name, call in calls.items() if name.partition(" ")[0] not in denied}


def _awaitable(method: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
    async def call(*args: Any, **named: Any) -> T:
        return method(*args, **named)

    return call


def _iterated(method: Callable[..., Iterator[T]]) -> Callable[..., AsyncIterator[T]]:
    async def iterate(*args: Any, **named: Any) -> AsyncIterator[T]:
        for item in method(*args, **named):
            yield item

    return iterate


async def collected(items: AsyncIterator[T]) -> list[T]:
    """Return everything that *items* yields."""
    return [item async for item in items]


async def at_once(
    store: AsyncRepository, works: Sequence[Callable[[AsyncRepository], Awaitable[T]]]
) -> list[T]:
    """Run all *works* on *store* at the same time, a thread each (a task each where the store is asynchronous)."""
    if not isinstance(inner(store), Repository):
        return list(await asyncio.gather(*(work(store) for work in works)))
    start = threading.Barrier(len(works))

    def run(work: Callable[[AsyncRepository], Awaitable[T]]) -> T:
        start.wait()
        return _finished(work(store))

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def _finished(work: Awaitable[T]) -> T:
    """Return the result of a coroutine that never really waits."""
    try:
        work.__await__().send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("a synchronous repository made somebody wait: call it from a plain thread")


# ------------------------------------------------------------------------------------------------ test classes


class Awaited:
    """A test class whose ``async def`` tests run in the event loop of the fixture ``runner``.

    Override ``runner`` where an engine must outlive one test: engines live in the loop that made them.
    """

    _runner: asyncio.Runner

    def __init_subclass__(cls, **named: Any) -> None:
        """Make plain functions of the coroutine tests of *cls*, so that pytest needs no plugin."""
        super().__init_subclass__(**named)
        _check_names(cls)
        for name, member in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(member):
                setattr(cls, name, _plain(member))

    @pytest.fixture
    def runner(self) -> Iterator[asyncio.Runner]:
        """Give the loop in which the tests run."""
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture(autouse=True)
    def _in_the_loop(self, runner: asyncio.Runner) -> None:
        self._runner = runner


def _check_names(cls: type) -> None:
    """Raise TypeError where a test of one base would hide the test of another by its name."""
    for name in (name for name in dir(cls) if name.startswith("test_") and name not in vars(cls)):
        first, *others = [base for base in cls.__mro__ if name in vars(base)]
        if any(not issubclass(first, other) for other in others):
            raise TypeError(
                f"{name} of {others[0].__name__} is hidden by {first.__name__}: rename one of them"
            )


def _plain(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(self: Awaited, **fixtures: Any) -> None:
        self._runner.run(test(self, **fixtures))

    return run


class ContractPart(Awaited):
    """What each part of the contract stands on: the fixture ``repository``, which a subclass gives."""

    #: What this repository lacks beside `Capabilities.denied`: "threads" (several callers at once), "twin" (an
    #: asynchronous history over a synchronous repository), "large" (megabytes, thousands of messages).
    lacks: frozenset[str] = frozenset()

    @pytest.fixture
    def repository(self) -> Repository | AsyncRepository:
        """Give an empty repository; every subclass overrides this."""
        raise NotImplementedError("give the contract a repository: override this fixture")

    @pytest.fixture
    def store(self, repository: Repository | AsyncRepository) -> AsyncRepository:
        """Give the repository in the form the tests are written for."""
        return asyncified(repository)

    @pytest.fixture
    def evidence(self) -> Callable[[], object]:
        """Give a function that returns what is stored, byte for byte, to prove that nothing was touched.

        None by default; a backend that can look at its own storage overrides this.
        """
        return lambda: None

    def need(self, *facilities: str) -> None:
        """Skip the test unless this repository has all *facilities* (see `lacks`)."""
        for name in facilities:
            if name in self.lacks:
                pytest.skip(f"this repository lacks {name}")


def exactly(expected: Iterable[object], actual: Iterable[object]) -> None:
    """Assert that two sequences are equal, types and signs of zero included (1, 1.0 and True differ)."""
    left, right = list(expected), list(actual)
    assert left == right
    assert [repr(item) for item in left] == [repr(item) for item in right]
