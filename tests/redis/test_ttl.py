"""Sessions that expire: `expires_at` decides, Redis's own expiry sweeps long after, all keys of a session together."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis

import chatstore
from chatstore import HumanMessage, MessageRecord, RedisChatMessageHistory
from chatstore.backends.redis.repository import AsyncRedisRepository, RedisRepository
from chatstore.backends.redis.server import SWEPT_AFTER
from chatstore.errors import Invalid

if TYPE_CHECKING:
    from tests.redis.conftest import Ground

BATCH = [HumanMessage("x", id="x"), HumanMessage("y", id="y")]
HOUR = timedelta(hours=1)


def left(ground: Ground, name: str = "s") -> list[float]:
    """Return the seconds after which Redis takes each key of the session away; -1 is never, -2 no such key."""
    keys = (f"{ground.prefix}{{{name}}}:{part}" for part in ("session", "messages", "ids"))
    return [round(value / 1000, 1) if value > 0 else value for value in map(ground.client.pttl, keys)]


def swept(ground: Ground, after: timedelta) -> bool:
    """Tell whether all keys go at one moment, *after* the grace, as exactly as a test can say."""
    found = left(ground)
    wanted = (after + SWEPT_AFTER).total_seconds()
    return max(found) - min(found) < 1 and wanted - 20 < min(found) <= wanted


def test_all_keys_of_a_session_are_swept_together(ground: Ground) -> None:
    """Law: whatever is done to an expiring session, its keys go at one moment, an hour after it looks missing."""
    until = datetime.now(UTC) + HOUR
    ground.store.create_session("s", expires_at=until)
    ground.store.add_messages("s", BATCH)
    assert swept(ground, HOUR)
    ground.store.clear("s")
    ground.store.add_messages("s", BATCH)
    assert swept(ground, HOUR)
    ground.store.replace_messages("s", BATCH)
    ground.store.update_message("s", "x", HumanMessage("z"))
    assert swept(ground, HOUR)
    ground.store.update_session("s", expires_at=until + HOUR)
    assert swept(ground, 2 * HOUR)
    ground.store.update_session("s", expires_at=None)
    assert [-1, -1, -1] == left(ground)
    ground.store.add_messages("s", [HumanMessage("more")])
    assert [-1, -1, -1] == left(ground)
    ground.store.update_session("s", expires_at=datetime.now(UTC) - 30 * HOUR)
    assert swept(ground, timedelta())
    assert 0 == ground.store.count_messages("s")
    ground.store.add_messages("s", BATCH)
    assert [-1, -1, -1] == left(ground)


def test_a_ttl_slides_with_what_is_added(ground: Ground) -> None:
    """Law: create, add, replace, load and fork set `expires_at`; nothing else moves it, a repetition neither."""
    store = RedisRepository(ground.client, key_prefix=ground.prefix, ttl=3600)

    def moved(call: Any, name: str = "s") -> bool:
        before = ground.store.get_session("s").expires_at
        call()
        session = ground.store.get_session(name)
        if session.expires_at == before:
            return False
        assert session.expires_at is not None
        assert timedelta(0) <= session.expires_at - session.updated_at - HOUR < timedelta(seconds=1)
        return True

    assert HOUR == (made := store.create_session("s")).expires_at - made.created_at  # type: ignore[operator]
    record = MessageRecord(HumanMessage("l"), 90, "l", datetime.now(UTC), "s")
    assert moved(lambda: store.add_messages("s", BATCH))
    assert swept(ground, HOUR)
    assert not moved(lambda: store.add_messages("s", BATCH))
    assert moved(lambda: store.load_records("s", [record]))
    assert moved(lambda: store.replace_messages("s", BATCH))
    assert moved(lambda: store.fork_session("s", "f"), "f")
    for call in (
        lambda: store.get_messages("s"),
        lambda: store.update_message("s", "x", HumanMessage("z")),
        lambda: store.update_session("s", title="t"),
        lambda: store.delete_message("s", "x"),
        lambda: store.pop_message("s"),
        lambda: store.clear("s"),
        lambda: ground.store.add_messages("s", BATCH),
    ):
        assert not moved(call)
    until = datetime.now(UTC) + 5 * HOUR
    assert until == store.create_session("own", expires_at=until).expires_at


def test_a_ttl_by_url_history_and_await(ground: Ground) -> None:
    """Law: a URL, a history and both sides of it set the same `expires_at`; a history without one leaves it."""
    plain = ground.url.partition("?")[0]
    with RedisChatMessageHistory("s", plain, ground.prefix, 60) as history:
        history.add_user_message("one")
        first = ground.store.get_session("s").expires_at
        asyncio.run(_adds(history))
        second = ground.store.get_session("s").expires_at
    assert first is not None
    assert second is not None
    assert timedelta(0) < second - first < timedelta(seconds=30)
    with RedisChatMessageHistory("s", plain, ground.prefix) as history:
        history.add_user_message("three")
        assert ["one", "two", "three"] == [message.content for message in history.messages]
    assert second == ground.store.get_session("s").expires_at
    with chatstore.connect(f"{ground.url}&ttl=120") as store:
        store.add_messages("s", BATCH)
    third = ground.store.get_session("s").expires_at
    assert third is not None
    assert timedelta(seconds=50) < third - second < timedelta(seconds=90)


async def _adds(history: RedisChatMessageHistory) -> None:
    await history.aadd_messages([HumanMessage("two")])
    await history.aclose()


def test_an_expired_session_of_a_ttl_begins_anew(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: from the instant of `expires_at` the session is missing; what is added then begins it at position 1."""
    store = RedisRepository(ground.client, key_prefix=ground.prefix, ttl=60)
    (first, *_) = store.add_messages("s", BATCH)
    later = datetime.now(UTC) + timedelta(seconds=61)
    monkeypatch.setattr("chatstore.repository.utcnow", lambda: later)
    assert ([], []) == (store.get_messages("s"), store.list_sessions().items)
    (again, *_) = store.add_messages("s", BATCH)
    assert (1, 1) == (first.position, again.position)
    assert later == store.get_session("s").created_at
    assert later + timedelta(seconds=60) == store.get_session("s").expires_at


@pytest.mark.parametrize("ttl", [0, -1, True, 1.5, "60", 10**12])
def test_what_is_no_ttl(ground: Ground, ttl: Any) -> None:
    """Law: a ttl is a whole number of seconds above 0."""
    with pytest.raises(Invalid, match="ttl"):
        RedisRepository(ground.client, ttl=ttl)
    with pytest.raises(Invalid, match="ttl"):
        AsyncRedisRepository(redis.asyncio.Redis(), ttl=ttl)
