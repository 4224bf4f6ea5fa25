"""What the tests of all doors share: places to keep conversations, and the frameworks' own warnings out of the way.

A folder whose framework is not installed is not collected: `test_ends.py` makes the environments, and runs it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chatstore
from tests import servers
from tests.doors.frameworks import EVERY, FRAMEWORKS, is_here, quietly

if TYPE_CHECKING:
    from collections.abc import Iterator

here = [name for name in FRAMEWORKS if is_here(name)]
collect_ignore = [name for name in FRAMEWORKS if name not in here]
if not here:
    collect_ignore.append(EVERY)
for name in here:
    quietly(name)

PLACES = ("memory", "sqlite", "postgres")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of an empty store of each kind; that in memory is one that no other shares."""
    if request.param == "memory":
        yield "memory:"
        return
    with servers.migrated_url(request.param) as url:
        yield url


@pytest.fixture(params=("sqlite", "postgres"))
def durable(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of an empty database that several processes can share."""
    with servers.migrated_url(request.param) as url:
        yield url


@pytest.fixture
def store(place: str) -> Iterator[chatstore.Repository]:
    """Give an empty repository of each kind."""
    with chatstore.connect(place) as made:
        yield made
