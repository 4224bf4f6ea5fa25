"""A repository made from a URL: what it opens is closed, however often it is used again."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import HumanMessage
from tests.contract import places

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is opened by a URL, outside this process: the fake of Cosmos DB is inside, and has sockets of its own.
FROM_URLS = [
    name
    for name in places.NAMES
    if name.startswith(("url-", "pooled-", "dynamodb-"))
    or (name.startswith("redis-") and name.endswith(("-sync", "-async")))
]
TURNS = 10


@pytest.fixture(params=[places.marked(name) for name in FROM_URLS])
def place(request: pytest.FixtureRequest) -> Iterator[places.Place]:
    """Open each place in turn, for one test: closing is not for those who share a repository."""
    with places.opened(request.param) as place:
        place.pools = []
        yield place


def test_what_a_repository_opens_is_closed_each_time(place: places.Place) -> None:
    """Law: after each `close`, also after one of a repository that was used again, nothing that it opened is open."""
    with place.lent() as repository:
        _do(place, repository.close())
        before = _open_files(place)
        for _ in range(2):
            _do(place, repository.add_messages("s", [HumanMessage("x")]))
            assert _do(place, repository.count_messages("s")) >= 1
            assert before < _open_files(place)
            _do(place, repository.close())
            assert before == _open_files(place)
            _do(place, repository.close())
            assert before == _open_files(place)


def test_who_closes_closes_nothing_of_others(place: places.Place) -> None:
    """Law: a scope's `close` is its repository's; a second `close` of one takes nothing from another."""
    with place.lent() as repository:
        _do(place, repository.add_messages("s", [HumanMessage("x")]))
        used = _open_files(place)
        scope = repository.scope(user_id="ada")
        _do(place, scope.add_messages("a", [HumanMessage("y")]))
        _do(place, scope.close())
        assert used > _open_files(place)
        _do(place, scope.add_messages("a", [HumanMessage("z")]))
        _do(place, repository.close())
        assert used > _open_files(place)


def _do(place: places.Place, done: Any) -> Any:
    """Return what a call answered, awaited where it has to be."""
    return place.runner.run(done) if hasattr(done, "__await__") else done


def _open_files(place: places.Place) -> int:
    """Count the open sockets and files of this process, when the loop has ended what was closed in it."""
    place.runner.run(_turns())
    gc.collect()  # redis-py's clients of a cluster refer to themselves
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - each a number, which is no file any more when it is looked at


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
