"""The contract over documents in dictionaries, in pieces as small as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.testing import RepositoryContract
from tests.dictstore import LIMITS, AsyncDictRepository, DictRepository, DictStore

if TYPE_CHECKING:
    from collections.abc import Callable


class _Contract(RepositoryContract):
    lacks = frozenset({"threads", "large"})  # dictionaries are not safe for threads

    @pytest.fixture
    def documents(self) -> DictStore:
        return DictStore(limits=LIMITS._replace(size=1_000_000, message=900_000, header=200_000))

    @pytest.fixture
    def evidence(self, documents: DictStore) -> Callable[[], object]:
        return lambda: (dict(documents.headers), dict(documents.rows), dict(documents.ids))


class TestContract(_Contract):
    """The whole contract, waiting."""

    @pytest.fixture
    def repository(self, documents: DictStore) -> Any:
        """Give an empty repository."""
        return DictRepository(documents)


class TestAsynchronousContract(_Contract):
    """The whole contract, awaiting."""

    @pytest.fixture
    def repository(self, documents: DictStore) -> Any:
        """Give an empty repository."""
        return AsyncDictRepository(documents)
