"""`Repository` and `AsyncRepository` are written by hand, word for word; this is what keeps them one."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from chatstore.aio import AsyncRepository
from chatstore.repository import Repository

PAIRS = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
NO_WAITING = {"scope", "using", "history", "capabilities"}  # they do no I/O, so both sides have the very same
ITERATORS = {"Iterator": "AsyncIterator", "Generator": "AsyncGenerator", "Iterable": "AsyncIterable"}


def public(kind: type) -> dict[str, Any]:
    """Return what *kind* offers: its public names and the ones that `with` uses."""
    special = {*PAIRS, *PAIRS.values()}
    names = [
        name for name in dir(kind) if not name.startswith("_") or (name in special and hasattr(kind, name))
    ]
    return {name: inspect.getattr_static(kind, name) for name in names}


def asynchronous(annotation: object) -> str:
    """Return a return annotation as the asynchronous side has it."""
    return re.sub(r"^(\w+)(?=\[)", lambda found: ITERATORS.get(found[0], found[0]), str(annotation))


def differences(one: type, two: type) -> list[str]:
    """Name everything in which the synchronous *one* and the asynchronous *two* differ besides waiting."""
    ours, theirs = public(one), public(two)
    renamed = {PAIRS.get(name, name): value for name, value in ours.items()}
    found = [f"{name} has no twin" for name in sorted(renamed.keys() ^ theirs.keys())]
    for name in sorted(renamed.keys() & theirs.keys()):
        found += compared(name, renamed[name], theirs[name])
    return found


def compared(name: str, mine: Any, other: Any) -> list[str]:
    """Name the differences of one pair of members."""
    if name in NO_WAITING or isinstance(mine, property) or isinstance(other, property):
        return [] if mine is other else [f"{name} waits for nothing, so both sides share one"]
    signature, twin = inspect.signature(mine), inspect.signature(other)
    found = []
    if list(signature.parameters.values()) != list(twin.parameters.values()):
        found.append(f"{name} takes {signature} and {twin}")
    if asynchronous(signature.return_annotation) != str(twin.return_annotation):
        found.append(f"{name} returns {signature.return_annotation} and {twin.return_annotation}")
    if inspect.iscoroutinefunction(mine) or inspect.isasyncgenfunction(mine):
        found.append(f"{name} of the synchronous side must be waited for")
    if not (inspect.iscoroutinefunction(other) or str(twin.return_annotation).startswith("Async")):
        found.append(f"{name} of the asynchronous side cannot be awaited")
    return found


def test_the_twins_are_equal_apart_from_waiting() -> None:
    """Same names, same parameters with the same defaults and types, same results, one awaited."""
    assert differences(Repository, AsyncRepository) == []


def test_the_twins_do_not_share_their_words_by_accident() -> None:
    """The comparison sees the contract, so an empty answer means something."""
    assert {"add_messages", "iter_records", "scope", "close", "capabilities"} <= public(Repository).keys()
    assert {"__aenter__", "__aexit__"} <= public(AsyncRepository).keys()


class Shared:
    """What a planted pair has in common."""

    def scope(self) -> None:
        """Wait for nothing."""


class Sound(Shared):
    """The synchronous half of the planted pairs."""

    def get(self, key: str, *, last: int | None = None) -> list[str]:
        """Answer."""
        raise NotImplementedError

    def walk(self, key: str) -> Iterator[str]:  # type: ignore[name-defined]  # noqa: F821
        """Answer one by one."""


class Twin(Shared):
    """A faithful asynchronous half, which the others spoil in one point each."""

    async def get(self, key: str, *, last: int | None = None) -> list[str]:
        """Answer."""
        raise NotImplementedError

    def walk(self, key: str) -> AsyncIterator[str]:  # type: ignore[name-defined]  # noqa: F821
        """Answer one by one."""


class Missing(Shared):
    """A twin without `walk`."""

    get = Twin.get


class Renamed(Twin):
    """A twin with another keyword."""

    async def get(self, key: str, *, first: int | None = None) -> list[str]:  # type: ignore[override]
        """Answer."""
        raise NotImplementedError


class Defaulted(Twin):
    """A twin with another default."""

    async def get(self, key: str, *, last: int | None = 5) -> list[str]:
        """Answer."""
        raise NotImplementedError


class Retyped(Twin):
    """A twin with another result."""

    async def get(self, key: str, *, last: int | None = None) -> list[Any]:
        """Answer."""
        raise NotImplementedError


class Blocking(Twin):
    """A twin that forgot to wait."""

    get = Sound.get  # type: ignore[assignment]


class Rescoped(Twin):
    """A twin with a second `scope`."""

    def scope(self) -> None:
        """Wait for nothing, again."""


def test_a_faithful_pair_passes() -> None:
    """What differs only in waiting is no difference."""
    assert differences(Sound, Twin) == []


@pytest.mark.parametrize(
    ("twin", "fault"),
    [
        (Missing, "walk has no twin"),
        (Renamed, "get takes"),
        (Defaulted, "get takes"),
        (Retyped, "get returns"),
        (Blocking, "get of the asynchronous side cannot be awaited"),
        (Rescoped, "scope waits for nothing"),
    ],
)
def test_a_planted_difference_is_caught(twin: type, fault: str) -> None:
    """Each spoilt twin is found out, for its one fault."""
    assert [True] == [fault in one for one in differences(Sound, twin)]
