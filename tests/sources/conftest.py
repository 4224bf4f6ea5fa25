"""What the tests of sources share: a foreign storage of each kind, and a way to read it into a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sources import planting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Give the endpoint of a DynamoDB."""
    with planting.dynamodb() as url:
        yield url


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give AWS's client credentials of nobody."""
    for name, value in planting.AWS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=planting.PLANTS)
def plant(request: pytest.FixtureRequest, endpoint: str) -> Iterator[Any]:
    """Give an empty foreign storage of each kind in turn."""
    with planting.planted(request.param, endpoint) as made:
        yield made


@pytest.fixture(params=[name for name in planting.PLANTS if name != "json-file"])
def store(request: pytest.FixtureRequest, endpoint: str) -> Iterator[Any]:
    """Give an empty foreign storage of each kind that holds more than one session."""
    with planting.planted(request.param, endpoint) as made:
        yield made
