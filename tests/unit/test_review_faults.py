"""Faults a review found outside of SQL, each as the law it broke."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from threading import Event

import pytest

import chatstore
from chatstore import HumanMessage, errors
from chatstore.records import MessageRecord
from chatstore.threads import _Workers

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(content: str, position: int, name: str) -> MessageRecord:
    """Make a record to load."""
    return MessageRecord(HumanMessage(content, id=name), position, name, NOW, "s")


def test_a_call_cancelled_before_it_began_is_cancelled() -> None:
    """What waits behind another call ends with CancelledError, and never runs."""

    async def turn() -> list[object]:
        workers, go, ran = _Workers(), Event(), list[object]()
        first = asyncio.create_task(workers.run(go.wait, write=True))
        second = asyncio.create_task(workers.run(lambda: ran.append("ran"), write=True))
        await asyncio.sleep(0)
        second.cancel()
        ended = await asyncio.gather(second, return_exceptions=True)
        go.set()
        await first
        workers.close()
        return [type(ended[0]), *ran]

    assert [asyncio.CancelledError] == asyncio.run(turn())


def test_an_id_twice_in_one_load_counts_once() -> None:
    """Loading is idempotent by message id, within one call too; another body is a conflict."""
    with chatstore.connect("memory:") as repository:
        assert 1 == repository.load_records("s", [record("same", 1, "a"), record("same", 2, "a")])
        assert [1] == [found.position for found in repository.get_records("s")]
        with pytest.raises(errors.MessageConflict):
            repository.load_records("t", [record("one", 1, "a"), record("other", 2, "a")])


@pytest.mark.parametrize(
    "given", [[HumanMessage("no record")], [record("far", 2**63, "a")], [record("far", 2**70, "a")]]
)
def test_what_is_no_record_is_refused(given: list[MessageRecord]) -> None:
    """A message is no record, and a position must leave room for those that follow."""
    with chatstore.connect("memory:") as repository:
        with pytest.raises(errors.Invalid):
            repository.load_records("s", given)
        assert [] == repository.list_sessions().items


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800", r"\\u0000 \\", "back\\slash"])
def test_a_backslash_in_metadata_is_a_backslash(text: str) -> None:
    """Text that only looks like an escaped NUL or surrogate is stored."""
    with chatstore.connect("memory:") as repository:
        repository.create_session("s", metadata={"a": text, text: "b"})
        assert {"a": text, text: "b"} == repository.get_session("s").metadata


@pytest.mark.parametrize("text", ["\0", "\\\0", "\ud800", "\\\ud800"])
def test_what_no_database_holds_is_refused_in_metadata(text: str) -> None:
    """NUL and lone surrogates are refused, behind a backslash too."""
    with chatstore.connect("memory:") as repository, pytest.raises(errors.Invalid):
        repository.create_session("s", metadata={"a": text})
