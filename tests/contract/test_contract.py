"""The contract of `chatstore.testing`, over every backend, driver and way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.testing import RepositoryContract
from tests.contract import places

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module", params=[places.marked(name) for name in places.NAMES])
def place(request: pytest.FixtureRequest) -> Iterator[places.Place]:
    """Give each place in turn; pytest runs all tests of one before it opens the next."""
    with places.opened(request.param) as place:
        yield place


class TestContract(RepositoryContract):
    """The whole contract, in each place."""

    @pytest.fixture
    def runner(self, place: places.Place) -> asyncio.Runner:
        """Give the loop in which the place's engine lives."""
        return place.runner

    @pytest.fixture
    def repository(self, place: places.Place) -> Iterator[Any]:
        """Give the place's repository, emptied after each test."""
        self.lacks = place.lacks
        with place.lent() as repository:
            yield repository

    @pytest.fixture
    def evidence(self, place: places.Place) -> Callable[[], object]:
        """Give what the place can say about its stored rows."""
        return lambda: place.evidence()  # noqa: PLW0108 - the place may change it later
