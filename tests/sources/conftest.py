"""What the tests of sources share: a foreign storage of each kind, and a way to read it into a repository."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests import dynamo
from tests.sources import planting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give AWS's client credentials where there are none: it will not even fail to connect without."""
    for name, value in dynamo.ANY.items():
        monkeypatch.setenv(name, os.environ.get(name, value))


@pytest.fixture(params=planting.PLANTS)
def plant(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give an empty foreign storage of each kind in turn."""
    with planting.planted(request.param) as made:
        yield made


@pytest.fixture(params=[name for name in planting.PLANTS if name != "json-file"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give an empty foreign storage of each kind that holds more than one session."""
    with planting.planted(request.param) as made:
        yield made
