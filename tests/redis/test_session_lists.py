"""Lists of sessions: exact on one server; on a cluster put right by whoever reads, whatever a dead client left."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import HumanMessage
from chatstore.arguments import microseconds
from chatstore.backends.redis import session_lists
from chatstore.backends.redis.driver_errors import make_failed
from chatstore.backends.redis.repository import RedisRepository
from chatstore.backends.redis.steps import Many

if TYPE_CHECKING:
    from tests.redis.conftest import Ground

BATCH = [HumanMessage("x")]


def names(ground: Ground, **filters: Any) -> list[str]:
    """Return the listed session ids, page by page of two."""
    found, cursor = [], None
    while True:
        page = ground.store.list_sessions(limit=2, cursor=cursor, **filters)
        found += [session.session_id for session in page.items]
        if (cursor := page.next_cursor) is None:
            return found


class Dying(RedisRepository):
    """A repository whose process ends where `many` commands are sent for the *nth* time."""

    left = 0

    def _lend(self, wanted: Any) -> Any:
        if isinstance(wanted, Many) and wanted.commands[0][0] == "ZADD":
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
        return super()._lend(wanted)


def dying(ground: Ground, after: int) -> Dying:
    """Return a repository that dies instead of writing to the index for the time after *after*."""
    repository = Dying(ground.client, key_prefix=ground.prefix)
    repository.left = after
    return repository


def test_a_session_is_in_its_lists_before_it_is(cluster: Ground) -> None:
    """Law: a client that dies after making a session has entered it; one that dies before leaves nothing to see."""
    for after, made in ((0, False), (1, True)):
        with pytest.raises(KeyboardInterrupt):
            dying(cluster, after).create_session(f"created {after}", user_id="u")
        with pytest.raises(KeyboardInterrupt):
            dying(cluster, after).scope(user_id="u").add_messages(f"appended {after}", BATCH)
        with pytest.raises(KeyboardInterrupt):
            dying(cluster, after).scope(user_id="u").replace_messages(f"replaced {after}", BATCH)
        wanted = [f"replaced {after}", f"appended {after}", f"created {after}"] if made else []
        assert wanted == names(cluster) == names(cluster, user_id="u")


def test_an_entry_that_is_late_is_put_right(cluster: Ground) -> None:
    """Law: where a client died before moving a session forward, whoever reads it does.

    One page is in order at once. Page by page, the session counts as touched while paging: it moves to the front.
    """
    for name in "abcd":
        cluster.store.create_session(name, user_id="u")
    for name in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            dying(cluster, 0).add_messages(name, BATCH)
    assert ["b", "a", "d", "c"] == [session.session_id for session in cluster.store.list_sessions().items]
    assert ["b", "a", "d", "c"] == names(cluster)
    assert ["b", "d", "c"] == names(cluster, user_id="u")  # it found "a" on its second page
    assert ["b", "a", "d", "c"] == names(cluster, user_id="u")
    for name in "abcd":
        session = cluster.store.get_session(name)
        for key in (f"{cluster.prefix}sessions", f"{cluster.prefix}sessions:user:u"):
            assert microseconds(session.updated_at) == cluster.client.zscore(key, name)


def test_a_move_that_fails_does_not_fail_the_change(
    cluster: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Law: what is stored is acknowledged, although its place in the list could not be written; a warning says so."""
    cluster.store.create_session("s")
    store = RedisRepository(cluster.client, key_prefix=cluster.prefix)
    real = store._lend

    def failing(wanted: Any) -> Any:
        if isinstance(wanted, Many) and wanted.commands[0][0] == "ZADD":
            raise make_failed("refused")
        return real(wanted)

    monkeypatch.setattr(store, "_lend", failing)
    assert [1] == [record.position for record in store.add_messages("s", BATCH)]
    assert ["keeps its old place"] == [one.message.partition("session ")[2][:19] for one in caplog.records]
    assert 1 == cluster.store.list_sessions().items[0].message_count


@pytest.mark.parametrize("where", ["ground", "cluster"])
def test_entries_of_nobody(
    where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: an entry without its session is not listed; it goes when it is too old to be that of one being made."""
    here: Ground = request.getfixturevalue(where)
    key = f"{here.prefix}sessions"
    here.store.create_session("there")
    now = datetime.now(UTC)
    here.client.zadd(
        key,
        {"young": microseconds(now), "old": microseconds(now - session_lists.GRACE - timedelta(minutes=1))},
    )
    assert ["there"] == names(here)
    assert {b"there", b"young"} == set(here.client.zrange(key, 0, -1))


@pytest.mark.parametrize("where", ["ground", "cluster"])
def test_sessions_that_the_server_swept(where: str, request: pytest.FixtureRequest) -> None:
    """Law: an expired session that Redis itself took away is in no list, no count and no sum, and leaves no entry."""
    here: Ground = request.getfixturevalue(where)
    for name in ("swept", "kept"):
        here.store.create_session(name, user_id="u")
        here.store.add_messages(name, BATCH)
    for part in ("session", "messages", "ids"):
        here.client.pexpire(f"{here.prefix}{{swept}}:{part}", 1)
    long_ago = microseconds(datetime.now(UTC) - timedelta(days=2))
    for key in (f"{here.prefix}sessions", f"{here.prefix}sessions:user:u"):
        here.client.zadd(key, {"swept": long_ago})
    while here.client.exists(f"{here.prefix}{{swept}}:session"):
        pass
    assert ["kept"] == names(here) == names(here, user_id="u")
    assert 1 == sum(row.messages for row in here.store.usage())
    assert ["kept"] == [hit.session_id for hit in here.store.search("x")]
    assert 1 == here.store.purge(updated_before=datetime.now(UTC) + timedelta(days=1)).sessions
    assert [] == here.names()


def test_an_entry_in_the_list_of_another_owner(cluster: Ground) -> None:
    """Law: a list shows only who belongs to it, also where an old entry says otherwise."""
    cluster.store.create_session("s", user_id="u")
    cluster.store.update_session("s", user_id="v")
    assert [b"s"] == cluster.client.zrange(f"{cluster.prefix}sessions:user:u", 0, -1)
    assert ([], ["s"]) == (names(cluster, user_id="u"), names(cluster, user_id="v"))
    cluster.client.zadd(f"{cluster.prefix}sessions:user:u", {"s": 1})
    assert [] == names(cluster, user_id="u")
    assert [] == cluster.client.zrange(f"{cluster.prefix}sessions:user:u", 0, -1)


def test_many_sessions_of_one_moment(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: sessions that were touched in the same microsecond are listed once each, in the order of their ids."""
    moment = datetime.now(UTC)
    monkeypatch.setattr("chatstore.repository.utcnow", lambda: moment)
    monkeypatch.setattr(session_lists, "BATCH", 3)
    wanted = [f"s{number:03}" for number in range(40)]
    for name in wanted:
        ground.store.create_session(name)
    assert wanted[::-1] == names(ground)
    assert wanted[::-1] == [one.session_id for one in ground.store.list_sessions(limit=1000).items]


@pytest.mark.parametrize("where", ["ground", "cluster"])
def test_a_session_that_comes_and_goes_ends_where_it_is(where: str, request: pytest.FixtureRequest) -> None:
    """Law: made, deleted and made again by many at once, a session is in the list at the end if it is there."""
    here: Ground = request.getfixturevalue(where)

    def work(number: int) -> None:
        for turn in range(30):
            if (turn + number) % 3:
                here.store.scope(user_id="u").add_messages("s", BATCH)
            else:
                here.store.delete_session("s")
            here.store.list_sessions(user_id="u")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    here.store.scope(user_id="u").add_messages("s", BATCH)
    assert ["s"] == names(here) == names(here, user_id="u")
    here.store.delete_session("s")
    assert [] == names(here)
    assert [] == here.names()
