"""Values and sizes that one database or another gets wrong: numbers, the edges of time, what is too large."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import create_engine

import chatstore
from chatstore import HumanMessage, errors
from chatstore.testing.loading import record
from tests import servers

LAST = datetime.max.replace(tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)


def test_metadata_that_python_calls_equal_is_stored(url: str) -> None:
    """A change from 1 to True is a change, and is what is read afterwards."""
    with chatstore.connect(url) as repository:
        repository.create_session("s", metadata={"a": 1})
        told = repository.update_session("s", metadata={"a": True}).metadata["a"]
        assert [True, True] == [told, repository.get_session("s").metadata["a"]]
        assert repository.get_session("s").metadata["a"] is True


def test_large_floats_in_metadata_come_back_equal(url: str) -> None:
    """JSONB writes 1e23 as 10**23, another number; it comes back equal all the same, and is found."""
    given = {"x": 1e23, "y": 1e300, "z": -1e16, "small": 1e-300}
    with chatstore.connect(url) as repository:
        repository.create_session("s", metadata=given)
        assert given == repository.get_session("s").metadata
        assert ["s"] == [found.session_id for found in repository.list_sessions(metadata={"x": 1e23}).items]


def test_windows_take_any_natural_number(url: str) -> None:
    """A limit over 32 and over 64 bits is no error."""
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("one"), HumanMessage("two")])
        for many in (2**31, 2**40, 2**63, 2**70):
            assert 2 == len(repository.get_messages("s", limit=many))
            assert 2 == len(repository.get_records("s", last=many))


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_the_edges_of_time_are_read_in_any_session_zone(zone: str) -> None:
    """PostgreSQL speaks the session's zone, in which the last hours of 9999 are the year 10000."""
    with servers.migrated_url("postgres") as url:
        engine = create_engine(url, connect_args={"options": f"-c timezone={zone}"})
        repository = chatstore.connect(engine)
        repository.create_session("s", expires_at=LAST)
        repository.load_records(
            "s", [record(1, "first", "a", created_at=FIRST), record(2, "last", "b", created_at=LAST)]
        )
        assert [FIRST, LAST] == [found.created_at for found in repository.get_records("s")]
        assert [FIRST] == [hit.created_at for hit in repository.search("first")]
        assert [LAST] == [found.expires_at for found in repository.list_sessions().items]
        engine.dispose()


def test_the_last_microsecond_has_a_day(url: str) -> None:
    """SQLite's date functions round up, and have no answer for the end of the last year."""
    with chatstore.connect(url) as repository:
        repository.load_records(
            "s", [record(1, "first", "a", created_at=FIRST), record(2, "last", "b", created_at=LAST)]
        )
        assert [date.min, date.max] == [row.day for row in repository.usage(by=("day",))]


@pytest.mark.parametrize("content", ["x" * 17_000_000, "'\n" * 5_000_000])
def test_a_message_over_the_servers_packet_is_refused_before_it_is_sent(content: str) -> None:
    """The limit is the server's max_allowed_packet, the size what escaping makes of the message."""
    with servers.migrated_url("mariadb") as url, chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("kept")])
        for write in (repository.add_messages, repository.replace_messages):
            with pytest.raises(errors.MessageTooLarge) as refused:
                write("s", [HumanMessage(content)])
            assert refused.value.size > refused.value.limit > 1_000_000
        assert ["kept"] == [message.content for message in repository.get_messages("s")]


def test_the_largest_message_that_is_not_refused_is_stored() -> None:
    """Limit and size are exact enough: what the check lets through, the server takes."""
    with servers.migrated_url("mariadb") as url, chatstore.connect(url) as repository:
        with pytest.raises(errors.MessageTooLarge) as refused:
            repository.add_messages("s", [HumanMessage("x" * 17_000_000)])
        largest = HumanMessage("x" * (refused.value.limit - 2))  # beside it a payload of two braces
        repository.add_messages("s", [largest])
        assert [largest] == repository.get_messages("s")
