"""What `load_records` takes: records of one session in order, each id once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chatstore
from chatstore import HumanMessage, errors
from chatstore.testing.loading import record

if TYPE_CHECKING:
    from chatstore.records import MessageRecord


def test_an_id_twice_in_one_load_counts_once() -> None:
    """Loading is idempotent by message id, within one call too; another body is a conflict."""
    with chatstore.connect("memory:") as repository:
        assert 1 == repository.load_records("s", [record(1, "same", "a"), record(2, "same", "a")])
        assert [1] == [found.position for found in repository.get_records("s")]
        with pytest.raises(errors.MessageConflict):
            repository.load_records("t", [record(1, "one", "a"), record(2, "other", "a")])


@pytest.mark.parametrize(
    "given",
    [
        [HumanMessage("no record")],
        [record(1, "far", "a")._replace(position=2**63)],
        [record(1, "far", "a")._replace(position=2**70)],
    ],
)
def test_what_is_no_record_is_refused(given: list[MessageRecord]) -> None:
    """A message is no record, and a position must leave room for those that follow."""
    with chatstore.connect("memory:") as repository:
        with pytest.raises(errors.Invalid):
            repository.load_records("s", given)
        assert [] == repository.list_sessions().items
