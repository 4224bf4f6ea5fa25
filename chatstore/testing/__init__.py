"""The contract suite, for people who write a backend.

A backend keeps the contract if a subclass of `RepositoryContract`, given a fixture that makes an empty repository of
either kind, passes::

    from chatstore.testing import RepositoryContract


    class TestMine(RepositoryContract):
        @pytest.fixture
        def repository(self):
            with MyRepository() as repository:
                yield repository

Tests of operations that the backend denies are skipped, with the operation as the reason; `lacks` names what else
cannot be tested (see `ContractPart`). An asynchronous repository is made and closed in the loop of the fixture
``runner``. `agrees_with_memory` compares any sequence of operations with the reference implementation.

This package imports pytest and hypothesis; nothing else of chatstore imports it.
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failing assert shows both sides.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "appending", "concurrency", "counting", "driver", "editing", "expiry", "histories", "listing", "loading",
            "machine", "moves", "reading", "refusals", "revisions", "scopes", "searching", "session_values", "sessions",
            "values",
        )
    )
)  # fmt: skip

from chatstore.testing.contract import RepositoryContract  # noqa: E402
from chatstore.testing.driver import Asyncified, Awaited, ContractPart, asyncified  # noqa: E402
from chatstore.testing.machine import agrees_with_memory  # noqa: E402

__all__ = ["Asyncified", "Awaited", "ContractPart", "RepositoryContract", "agrees_with_memory", "asyncified"]
