"""What goes wrong with servers: one clear error, within the deadline, and nothing half written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import chatstore
from chatstore import HumanMessage, deadlines
from chatstore.backends.redis import scripts
from chatstore.backends.redis.repository import RedisRepository
from chatstore.errors import ChatstoreError, Invalid, OutcomeUnknown, StorageError, StorageUnavailable
from tests import embedded, redis_servers
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.repository import Repository
    from tests.redis.conftest import Ground

BATCH = [HumanMessage("a question"), HumanMessage("an answer")]
CHANGES: dict[str, Callable[[Repository], object]] = {
    "create": lambda store: store.create_session("new"),
    "update": lambda store: store.update_session("s", title="other"),
    "replace": lambda store: store.replace_messages("s", BATCH),
    "edit": lambda store: store.update_message("s", 1, HumanMessage("other")),
    "delete message": lambda store: store.delete_message("s", 1),
    "pop": lambda store: store.pop_message("s"),
    "fork": lambda store: store.fork_session("s", "f"),
    "delete": lambda store: store.delete_session("s"),
}
SCRIPTS = [value for value in vars(scripts).values() if isinstance(value, scripts.Script)]
READING = {scripts.SNAPSHOT, scripts.MESSAGE, scripts.PAGE, scripts.MEND}
CHANGING = [script.digest.encode() for script in SCRIPTS if script not in READING]


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> float:
    """Make the deadline short, and return it."""
    monkeypatch.setattr(deadlines, "DEFAULT", 1.0)
    return 1.0


@pytest.fixture
def proxied(ground: Ground) -> Iterator[tuple[FaultProxy, str]]:
    """Give a proxy before the shared server, and the ground's URL through it."""
    parts = urlsplit(ground.url)
    for script in SCRIPTS:
        # What is cut must be the change, not the question for its script.
        ground.client.script_load(script.source)
    with FaultProxy(parts.hostname or "", parts.port or 6379) as proxy:
        yield proxy, parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Assert that the block ends in time, with what a busy machine needs on top."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds + 3


@pytest.mark.parametrize("query", ["", "?cluster=true"])
def test_nobody_listens(query: str, brief: float) -> None:
    """Law: an unreachable server is `StorageUnavailable` soon, also for what cannot be repeated, on both sides."""
    url = f"redis://127.0.0.1:{embedded.free_port()}/0{query}"
    with within(brief), chatstore.connect(url) as store:
        for call in (lambda: store.add_messages("s", BATCH), lambda: store.create_session("s")):
            with pytest.raises(StorageUnavailable, match="host, port") as caught:
                call()
            assert not isinstance(caught.value, OutcomeUnknown)
            assert caught.value.__cause__ is not None

    async def awaited() -> None:
        async with chatstore.connect_async(url) as store:
            for call in (store.add_messages("s", BATCH), store.create_session("s")):
                with pytest.raises(StorageUnavailable, match="host, port") as caught:
                    await call
                assert not isinstance(caught.value, OutcomeUnknown)

    with within(brief):
        asyncio.run(awaited())


def test_a_silent_server(proxied: tuple[FaultProxy, str], brief: float) -> None:
    """Law: a server that accepts and never answers is an error within deadline and timeout."""
    proxy, url = proxied
    proxy.arm(Mode.BLACKHOLE)
    with (
        within(brief + 0.5),
        chatstore.connect(f"{url}&socket_timeout=0.4") as store,
        pytest.raises(StorageUnavailable),
    ):
        store.add_messages("s", BATCH)


@pytest.mark.parametrize("clustered", [False, True])
def test_wrong_and_missing_passwords(clustered: bool) -> None:
    """Law: a refused login is told from a dead server, at once, and no password is in the error."""
    options = ("--cluster-enabled", "yes") if clustered else ()
    with redis_servers.started(*redis_servers.QUIET, "--requirepass", "sesame", *options) as url:
        query = "?cluster=true" if clustered else ""
        for login in ("", ":wrong-one@", "nobody:wrong-one@"):
            with within(0), chatstore.connect(url.replace("://", f"://{login}") + query) as store:
                with pytest.raises(StorageError, match="refuses access") as caught:
                    store.add_messages("s", BATCH)
                assert not isinstance(caught.value, StorageUnavailable)
                assert "wrong-one" not in f"{caught.value!r} {caught.value.__cause__!r}"
        if not clustered:
            with chatstore.connect(url.replace("://", "://:sesame@")) as store:
                assert 2 == len(store.add_messages("s", BATCH))


def test_missing_permissions(own_server: str) -> None:
    """Law: an ACL that forbids what is needed is an error that says so, before anything is written."""
    with redis.Redis.from_url(own_server) as client:
        for rules in (["+@all", "-evalsha", "-eval"], ["+@all", "-zadd"], ["+@all", "resetkeys", "~other:*"]):
            client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", *rules)
            as_app = own_server.replace("://", "://app:pw@")
            with chatstore.connect(as_app) as store, pytest.raises(StorageError, match="ACL"):
                store.add_messages("s", BATCH)
        assert [] == client.keys("*messages")


def test_the_documented_permissions_are_enough_and_none_too_many(own_server: str) -> None:
    """Law: the commands that docs/how-to/redis.md names suffice for everything, and each of them is needed."""
    allowed = [word for word in _documented().split() if word.startswith("+") and not word.startswith("+@")]
    with redis.Redis.from_url(own_server) as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", "~chatstore:*", *allowed)
        with chatstore.connect(own_server.replace("://", "://app:pw@")) as store:
            _everything(store)
        client.script_flush()
        for left_out in allowed:
            client.flushall()
            rules = [rule for rule in allowed if rule != left_out]
            client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", "~chatstore:*", *rules)
            with chatstore.connect(own_server.replace("://", "://app:pw@")) as store:
                if left_out in {"+config|get", "+info"}:
                    continue
                with pytest.raises(StorageError):
                    _everything(store)


def _documented() -> str:
    from tests.layers import ROOT

    page = (ROOT / "docs" / "how-to" / "redis.md").read_text(encoding="utf-8")
    return next(line for line in page.splitlines() if line.startswith("ACL SETUSER"))


def _everything(store: Repository) -> None:
    from datetime import UTC, datetime, timedelta

    soon = datetime.now(UTC) + timedelta(hours=1)
    store.create_session("s", user_id="u", tenant_id="t", expires_at=soon)
    store.add_messages("s", [HumanMessage("x", id="x"), *BATCH])
    store.update_session("s", title="t", user_id="v")
    store.update_session("s", title=None, expires_at=None)
    store.update_session("s", expires_at=soon)
    store.update_message("s", "x", HumanMessage("y"))
    store.get_messages("s", last=2), store.get_messages("s", after=1), store.get_message("s", 2)
    store.fork_session("s", "f", through=2)
    store.delete_message("s", "x")
    store.pop_message("s"), store.add_messages("s", BATCH)
    store.truncate("s", after=2)
    store.clear("s")
    store.replace_messages("s", BATCH)
    store.list_sessions(user_id="v"), store.search("question"), store.usage()
    store.delete_session("f")
    store.purge(updated_before=soon)


def test_a_read_only_replica(own_server: str) -> None:
    """Law: writing to a replica is an error that says so; reading there works."""
    port = own_server.rpartition(":")[2]
    with (
        chatstore.connect(own_server) as primary,
        redis_servers.started(*redis_servers.QUIET, "--replicaof", "127.0.0.1", port) as replica,
        chatstore.connect(replica) as store,
        redis.Redis.from_url(replica) as client,
    ):
        primary.add_messages("s", BATCH)
        embedded.wait_until(lambda: bool(client.exists("chatstore:{s}:messages")), 20, "replication")
        assert 2 == store.count_messages("s")
        with pytest.raises(StorageError, match="replica") as caught:
            store.add_messages("s", BATCH)
        assert not isinstance(caught.value, StorageUnavailable)


def test_a_full_server_refuses_whole_messages_and_lets_go_of_old_ones(own_server: str) -> None:
    """Law: at maxmemory with noeviction a change is stored whole or refused whole, and deleting works."""
    with redis.Redis.from_url(own_server) as client, chatstore.connect(own_server) as store:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 3_000_000)
        stored = _until_full(store)
        assert stored > 50
        counted = [store.count_messages(f"s{number}") for number in range(3)]
        assert stored == sum(counted)
        for number in range(3):
            records = store.get_records(f"s{number}")
            assert list(range(1, counted[number] + 1)) == [record.position for record in records]
            assert counted[number] == client.hlen(f"chatstore:{{s{number}}}:ids")
        before = store.get_session("s0")
        for call in (store.create_session, lambda name: store.update_session("s0", title=name)):
            with pytest.raises(StorageError, match="full"):
                call("new")
        assert before == store.get_session("s0")
        store.truncate("s1", after=counted[1] // 2)
        assert counted[1] // 2 == store.count_messages("s1") == len(store.get_messages("s1"))
        assert store.delete_session("s2")
        assert 2 == len(store.add_messages("s0", BATCH))


def _until_full(store: Repository) -> int:
    """Append to three sessions until the server refuses; return how many messages it took."""
    for number in range(1000):
        try:
            store.add_messages(f"s{number % 3}", [HumanMessage("x" * 5_000)] * 2)
        except StorageError as error:
            assert "full" in str(error)  # noqa: PT017 - where it happens is not known before
            return 2 * number
    raise AssertionError("the server never was full")


def test_a_server_that_cannot_save(own_server: str) -> None:
    """Law: a server that stops taking writes since its replicas are gone is an error that says so."""
    with redis.Redis.from_url(own_server) as client, chatstore.connect(own_server) as store:
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(StorageError, match="cannot save"):
            store.add_messages("s", BATCH)
        client.config_set("min-replicas-to-write", 0)
        assert 2 == len(store.add_messages("s", BATCH))


def test_a_server_that_is_loading(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: while a server loads its data, calls wait for it, up to the deadline."""
    port = redis_servers._port()
    with (
        redis_servers.started("--save", "60 1", port=port, folder=tmp_path) as url,
        redis.Redis.from_url(url) as client,
        chatstore.connect(url) as store,
    ):
        store.add_messages("s", BATCH)
        with client.pipeline(transaction=False) as pipeline:
            for number in range(3000):
                pipeline.set(f"filler {number}", "x" * 100)
            pipeline.execute()
        client.save()
    slow = ("--save", "", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    monkeypatch.setattr(redis_servers, "_why_not", lambda _: _loading(port))
    with redis_servers.started(*slow, port=port, folder=tmp_path) as url, chatstore.connect(url) as store:
        monkeypatch.setattr(deadlines, "DEFAULT", 0.3)
        with pytest.raises(StorageUnavailable, match="loading"):
            store.count_messages("s")
        monkeypatch.setattr(deadlines, "DEFAULT", 30.0)
        assert 2 == store.count_messages("s")


def _loading(port: int) -> str | None:
    try:
        with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client:
            client.get("x")
    except redis.BusyLoadingError:
        return None
    except redis.RedisError as error:
        return str(error)
    return "not loading"


def test_a_server_that_goes_away_in_the_middle(brief: float) -> None:
    """Law: an append to a server that died is an error within the deadline; back again, the same call goes on."""
    port = redis_servers._port()
    with redis_servers.started(*redis_servers.QUIET, port=port) as url:
        store = chatstore.connect(url)
        store.add_messages("s", BATCH)
    with within(brief), pytest.raises(StorageUnavailable):
        store.add_messages("s", BATCH)
    with redis_servers.started(*redis_servers.QUIET, port=port):
        assert [1, 2] == [record.position for record in store.add_messages("s", BATCH)]
        store.close()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_whose_answer_is_lost(proxied: tuple[FaultProxy, str], ground: Ground, name: str) -> None:
    """Law: what cannot be repeated is done once, and `OutcomeUnknown`; cut before it is sent, it is not done."""
    proxy, url = proxied
    ground.store.add_messages("s", [HumanMessage(str(number)) for number in range(5)])
    with chatstore.connect(url) as store:
        store.get_session("s")
        before = _state(ground)
        for mode, changed in ((Mode.BEFORE, False), (Mode.AFTER, True)):
            # A fork and an edit read first; the last script is the change.
            proxy.arm(mode, lambda sent: any(digest in sent for digest in CHANGING), times=1)
            with pytest.raises(OutcomeUnknown, match="read before"):
                CHANGES[name](store)
            proxy.disarm()
            assert changed == (before != _state(ground))


def _state(ground: Ground) -> object:
    return [
        (session, ground.store.get_records(session.session_id))
        for session in ground.store.list_sessions(archived=None).items
    ]


@pytest.mark.parametrize("name", CHANGES)
def test_a_client_that_repeats_by_itself_does_nothing_twice(
    proxied: tuple[FaultProxy, str], ground: Ground, name: str
) -> None:
    """Law: a passed-in client may send a change again whose answer was lost; it is done once all the same."""
    proxy, url = proxied
    ground.store.add_messages("s", [HumanMessage(str(number)) for number in range(5)])
    revision = ground.store.get_session("s").revision
    with redis.Redis.from_url(url.partition("?")[0], retry=Retry(NoBackoff(), 3)) as client:
        store = RedisRepository(client, key_prefix=ground.prefix)
        store.get_session("s")
        proxy.arm(Mode.AFTER, lambda sent: any(digest in sent for digest in CHANGING), times=1)
        with pytest.raises(OutcomeUnknown):
            CHANGES[name](store)
        proxy.disarm()
    if name in {"create", "fork"}:
        assert revision == ground.store.get_session("s").revision
        assert 2 == len(ground.store.list_sessions().items)
    elif name == "delete":
        assert [] == ground.store.list_sessions().items
    else:
        assert revision + 1 == ground.store.get_session("s").revision


def test_a_node_of_a_cluster_that_is_gone(brief: float) -> None:
    """Law: sessions of a dead node are `StorageUnavailable` within the deadline; those of others work on."""
    with redis_servers.cluster() as urls, chatstore.connect(f"{urls[0]}?cluster=true") as store:
        with redis.RedisCluster.from_url(urls[0]) as client:
            names = [f"s{number}" for number in range(30)]
            for name in names:
                store.add_messages(name, BATCH)
            dead = client.get_node_from_key("chatstore:{s0}:session")
            homes = {name: client.get_node_from_key(f"chatstore:{{{name}}}:session") for name in names}
            with redis.Redis(host=dead.host, port=dead.port) as node:
                node.config_set("cluster-require-full-coverage", "no")
            for other in client.get_primaries():
                client.config_set("cluster-require-full-coverage", "no", target_nodes=other)
            with redis.Redis(host=dead.host, port=dead.port) as node:
                os.kill(int(node.info("server")["process_id"]), signal.SIGKILL)
        lost = [name for name in names if homes[name] == dead]
        kept = [name for name in names if homes[name] != dead]
        assert lost
        assert kept
        with within(brief + 1), pytest.raises(StorageUnavailable):
            store.get_messages(lost[0])
        for name in kept:
            assert 2 == store.count_messages(name)


def test_the_wrong_kind_of_server(own_server: str, cluster: Ground) -> None:
    """Law: a cluster that is met without saying so, and the reverse, is an error that tells what to write."""
    plain = cluster.url.replace("?cluster=true&", "?")
    address = urlsplit(plain)
    elsewhere = next(
        name
        for name in (f"s{number}" for number in range(1000))
        if cluster.client.get_node_from_key(f"{cluster.prefix}{{{name}}}:session").port != address.port
    )
    with chatstore.connect(plain) as store, pytest.raises(StorageError, match="cluster=true"):
        store.add_messages(elsewhere, BATCH)
    lost = f"{own_server}?cluster=true"
    with chatstore.connect(lost) as store, pytest.raises(StorageError, match="not part of a Redis Cluster"):
        store.add_messages("s", BATCH)


@pytest.mark.parametrize(
    "url",
    [
        "redis:",
        "redis://",
        "redis:///0",
        "redis://:secret@host:port",
        "redis://:secret@host:99999",
        "redis://:secret@host/chat",
        "redis://:secret@host/-1",
        "redis://:secret@host/0?cluster=perhaps",
        "redis://:secret@host/1?cluster=true",
        "redis://:secret@host/0?ttl=soon",
        "redis://:secret@host/0?ttl=0",
        "redis://:secret@host/0?ttl=-5",
        "redis://:secret@host/0?ttl=99999999999999",
        "redis://:secret@host/0?strict=2",
        "redis://:secret@host/0?key_prefix=",
        "redis://:secret@host/0?key_prefix={a}",
        "redis://:secret@host/0?retry_on_timeout=true",
        "rediss://:secret@host/0?decode_responses=true",
    ],
)
def test_urls_that_say_nothing(url: str) -> None:
    """Law: a URL that cannot be meant is `Invalid` without any I/O, and its password is not repeated."""
    for connect in (chatstore.connect, chatstore.connect_async):
        with pytest.raises(Invalid) as caught:
            connect(url)
        assert "secret" not in str(caught.value)


def test_options_that_redis_py_refuses() -> None:
    """Law: the value of a passed-on option is checked at the first use, and the error is chatstore's."""
    with chatstore.connect("redis://127.0.0.1/0?socket_timeout=long") as store, pytest.raises(ChatstoreError):
        store.count_messages("s")
