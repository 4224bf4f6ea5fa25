"""What a server keeps: read from servers that are started with each setting, and refused where asked."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
import redis

import chatstore
from chatstore import HumanMessage, RedisChatMessageHistory
from chatstore.backends.redis.durability import judge_durability
from chatstore.errors import StorageError
from tests import redis_servers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.redis.conftest import Ground

AOF = ("--appendonly", "yes", "--appendfsync")
SETTINGS = {
    "nothing": (redis_servers.QUIET, "none", "no snapshots"),
    "snapshots": (("--save", "60 1", "--appendonly", "no"), "snapshot", "save=60 1"),
    "everysec": ((*AOF, "everysec"), "process", "appendfsync=everysec"),
    "always": ((*AOF, "always"), "machine", "appendfsync=always"),
    "evicting": (
        (*AOF, "always", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"),
        "none",
        "allkeys-lru",
    ),
    "evicting what expires": (
        (*AOF, "always", "--maxmemory", "50mb", "--maxmemory-policy", "volatile-ttl"),
        "machine",
        "volatile-ttl",
    ),
    "a policy without a limit": ((*AOF, "always", "--maxmemory-policy", "allkeys-lru"), "machine", "always"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_server_says_what_it_keeps(name: str) -> None:
    """Law: `durability` tells what the server's own settings mean; `strict` takes only what outlives the process."""
    options, level, said = SETTINGS[name]
    with redis_servers.started(*options) as url:
        with chatstore.connect(url) as store:
            found = store.durability()
            assert level == found.level
            assert said in found.detail
        for strict in (f"{url}?strict=true", f"{url}/0?strict=1"):
            with chatstore.connect(strict) as store:
                if level in {"process", "machine"}:
                    assert 1 == len(store.add_messages("s", [HumanMessage("x")]))
                else:
                    for _ in range(2):
                        with pytest.raises(StorageError, match="appendonly yes"):
                            store.add_messages("s", [HumanMessage("x")])
        with redis.Redis.from_url(url) as client:
            assert (level in {"process", "machine"}) == bool(client.exists("chatstore:{s}:session"))


def test_a_server_that_refuses_config_is_asked_for_info() -> None:
    """Law: where CONFIG is forbidden, as on managed services, INFO is read; what it does not tell is not guessed."""
    for options, level in ((redis_servers.QUIET, "unknown"), ((*AOF, "always"), "process")):
        with redis_servers.started(*options) as url:
            with redis.Redis.from_url(url) as client:
                client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-config")
            with chatstore.connect(url.replace("://", "://app:pw@")) as store:
                assert level == store.durability().level


def test_the_least_of_a_cluster_counts(cluster: Ground) -> None:
    """Law: on a cluster every master is asked, and the one that keeps least decides."""
    assert "none" == cluster.store.durability().level
    node = cluster.client.get_primaries()[0]
    cluster.client.config_set("appendonly", "yes", target_nodes=node)
    try:
        assert "none" == cluster.store.durability().level
        kept = [{"aof_enabled": "1", "appendfsync": "always"}, {"aof_enabled": "0", "save": "60 1"}]
        assert "snapshot" == judge_durability(kept).level
    finally:
        cluster.client.config_set("appendonly", "no", target_nodes=node)
    for strict in (True, False):
        with chatstore.connect(f"{cluster.url}&strict={str(strict).lower()}") as store:
            if strict:
                with pytest.raises(StorageError):
                    store.count_messages("s")
            else:
                assert 0 == store.count_messages("s")


def test_asynchronous_repositories_ask_too(own_server: str, cluster: Ground) -> None:
    """Law: `durability` and `strict` hold with ``await``, on a server and on a cluster."""

    async def asked(url: str) -> str:
        async with chatstore.connect_async(f"{url}{'&' if '?' in url else '?'}strict=true") as store:
            with pytest.raises(StorageError, match="without strict"):
                await store.count_messages("s")
        async with chatstore.connect_async(url) as store:
            return (await store.durability()).level

    assert ["none", "none"] == [asyncio.run(asked(url)) for url in (own_server, cluster.url)]


def test_acknowledged_messages_outlive_the_server(tmp_path: Path) -> None:
    """Law: with an append-only file, what was acknowledged is there after the server was killed."""
    for earlier in (0, 100):
        with redis_servers.started(*AOF, "everysec", folder=tmp_path) as url:
            with RedisChatMessageHistory("s", url) as history:
                assert earlier == len(history.messages)
                for number in range(100):
                    history.add_user_message(str(number))
            with redis.Redis.from_url(url) as client:
                os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
