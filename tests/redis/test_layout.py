"""What stands in Redis: keys under one hash tag, rows that a person can read, and nothing that stays behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from chatstore import AIMessage, HumanMessage, MessageRecord
from chatstore.backends.redis.layout import Keys, pack_row, parse_row
from chatstore.codec import Row, encode
from chatstore.errors import CorruptRecord, Invalid, MessageTooLarge

if TYPE_CHECKING:
    from tests.redis.conftest import Ground

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
NASTY = [
    "}",
    "{",
    "{}",
    "a}b{c",
    "%7D",
    "%25",
    "}:session",
    "{a}:messages",
    "x:ids",
    "ü{",
    "a b",
    "*",
    "[a-z]",
]


@given(st.one_of(IDS, st.sampled_from(NASTY)), st.one_of(IDS, st.sampled_from(NASTY)))
def test_keys_are_of_one_slot_and_of_one_session(one: str, other: str) -> None:
    """Law: the keys of a session share a slot of a cluster; two sessions share no key."""
    keys = Keys("app:")
    assert 1 == len({key_slot(key.encode()) for key in keys.of(one)})
    assert (one == other) == bool(set(keys.of(one)) & set(keys.of(other)))


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a\nb", None, 7])
def test_a_prefix_that_would_break_the_hash_tag_is_refused(prefix: Any) -> None:
    """Law: a prefix cannot move a session's keys into different slots."""
    with pytest.raises(Invalid, match="key_prefix"):
        Keys(prefix)


def test_what_is_stored_can_be_read_by_a_person(ground: Ground) -> None:
    """Law: the layout is the documented one, key by key."""
    ground.store.create_session(
        "garden", user_id="ada", tenant_id="acme", title="Garden", metadata={"b": 1, "a": 2}
    )
    (first, second) = ground.store.add_messages(
        "garden", [HumanMessage("Hello!\nAnd more", id="q1"), AIMessage("Hi!", name="Bot")]
    )
    start = f"{ground.prefix}{{garden}}"
    lists = [f"{ground.prefix}sessions{rest}" for rest in ("", ":tenant:acme", ":user:ada")]
    assert sorted([f"{start}:ids", f"{start}:messages", f"{start}:session", *lists]) == ground.names()
    fields = {
        key.decode(): value.decode() for key, value in ground.client.hgetall(f"{start}:session").items()
    }
    assert {"title": "Garden", "metadata": '{"a":2,"b":1}', "message_count": "2", "last_position": "2"} == {
        name: fields[name] for name in ("title", "metadata", "message_count", "last_position")
    }
    assert {"q1": "0" * 18 + "1", second.message_id: "0" * 18 + "2"} == {
        key.decode(): value.decode() for key, value in ground.client.hgetall(f"{start}:ids").items()
    }
    rows = [row.decode().split("\n", 6) for row in ground.client.zrange(f"{start}:messages", 0, -1)]
    at = first.created_at.isoformat(timespec="microseconds")
    assert ["0" * 18 + "1", "q1", at, "{}", "human", "{}", "Hello!\nAnd more"] == rows[0]
    assert {"name": "Bot", "id_generated": True} == json.loads(rows[1][3])
    assert {"name": "Bot"} == json.loads(rows[1][5])
    updated = ground.store.get_session("garden").updated_at
    score = (updated - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert [score] * 3 == [ground.client.zscore(name, "garden") for name in lists]


def test_nothing_stays_behind(ground: Ground) -> None:
    """Law: a deleted session leaves no key, and an emptied one only its own data."""
    for name in ("a", "b"):
        ground.store.create_session(name, user_id="ada")
        ground.store.add_messages(name, [HumanMessage("x")])
    ground.store.delete_session("a")
    ground.store.clear("b")
    lists = [f"{ground.prefix}sessions", f"{ground.prefix}sessions:user:ada"]
    assert sorted([f"{ground.prefix}{{b}}:session", *lists]) == ground.names()
    ground.store.delete_session("b")
    assert [] == ground.names()


def test_positions_are_exact_where_doubles_are_not(ground: Ground) -> None:
    """Law: a position beyond 2**53 is stored, counted on and found as it is."""
    high = 2**62
    for position in (2**53 - 1, 2**53 + 1, 10**10 * 10**8 - 1, high):
        record = MessageRecord(HumanMessage(str(position)), position, f"m{position}", NOW, "s")
        assert 1 == ground.store.load_records("s", [record])
        assert str(position) == ground.store.get_message("s", position).message.content
    assert [high + 1, high + 2] == [
        one.position for one in ground.store.add_messages("s", [HumanMessage("x")] * 2)
    ]
    assert high + 2 == ground.store.get_session("s").last_position
    assert [high + 1] == [one.position for one in ground.store.get_records("s", after=high, before=high + 2)]
    records = ground.store.replace_messages("s", [HumanMessage("y")])
    assert [high + 3] == [one.position for one in records]


def test_a_damaged_row_is_named_and_hides_no_other(ground: Ground) -> None:
    """Law: what somebody else wrote into a session is an error that names its position and carries the rest."""
    ground.store.add_messages("s", [HumanMessage("one"), HumanMessage("two"), HumanMessage("three")])
    key = f"{ground.prefix}{{s}}:messages"
    for spoilt in (b"0000000000000000002\nnonsense", b"0000000000000000002\nid\n\xff\xfe"):
        (kept,) = ground.client.zrange(key, 1, 1)
        ground.client.zrem(key, kept)
        ground.client.zadd(key, {spoilt: 0})
        with pytest.raises(CorruptRecord) as caught:
            ground.store.get_messages("s")
        assert (2,) == caught.value.positions
        assert ["one", "three"] == [record.message.content for record in caught.value.records]
    ground.store.delete_message("s", 2)
    assert ["one", "three"] == [message.content for message in ground.store.get_messages("s")]


def test_a_damaged_session_is_named(ground: Ground) -> None:
    """Law: session data that cannot be read is an error with the session's name, and can be deleted."""
    ground.store.create_session("s")
    ground.client.hset(f"{ground.prefix}{{s}}:session", "metadata", "{")
    with pytest.raises(CorruptRecord, match="'s'"):
        ground.store.get_session("s")
    assert ground.store.delete_session("s")


def test_a_row_is_the_same_after_its_bytes() -> None:
    """Law: a row survives its stored form, with everything that is known about it."""
    message = AIMessage(
        "a\nb\r\n\x00 \ud800",
        id="m",
        name="n",
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"model_name": "model"},
    )
    row = Row(12, encode(message, now=NOW, source="elsewhere"))
    assert row == parse_row(pack_row(row))
    assert row == parse_row(pack_row(row).decode())


def test_a_message_beyond_what_redis_takes_is_refused_first(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: `MessageTooLarge` comes before anything is sent, with limit and size in bytes."""
    monkeypatch.setattr("chatstore.backends.redis.layout.MAX_ROW", 1000)
    with pytest.raises(MessageTooLarge) as caught:
        ground.store.add_messages("s", [HumanMessage("small"), HumanMessage("ü" * 600)])
    assert 1000 == caught.value.limit
    assert 1200 < caught.value.size < 1400
    assert [] == ground.names()
