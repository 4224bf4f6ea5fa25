"""Clients: shared by URL and closed by the last, passed in and never closed, new in a forked child and a new loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

import chatstore
from chatstore import HumanMessage, RedisChatMessageHistory
from chatstore.backends.common import leases
from chatstore.backends.redis.repository import AsyncRedisRepository, RedisRepository
from chatstore.errors import Invalid, StorageUnavailable
from chatstore.extras import not_installed
from chatstore.threads import ThreadedRepository
from tests import redis_servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis.conftest import Ground

BATCH = [HumanMessage("x")]


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Whatever a test makes from a URL it closes: nothing more is in use than before."""
    before = set(leases.in_use())
    yield
    assert before == set(leases.in_use())


def test_a_hundred_histories_share_a_client(ground: Ground) -> None:
    """Law: histories on one server share a client and its pool, whatever their prefix; the last one closes it."""
    url = f"{ground.url.partition('?')[0]}?client_name=hundred"
    made = [RedisChatMessageHistory(f"s{number}", url, f"{ground.prefix}{number}:") for number in range(100)]
    for history in made:
        history.add_user_message("x")
    lease: Any = made[0].repository._lease  # type: ignore[union-attr]
    assert all(history.repository._lease is lease for history in made)  # type: ignore[union-attr]
    named = [one for one in ground.client.client_list() if one["name"] == "hundred"]
    assert 1 == len(named)
    for history in made[1:]:
        history.close()
        history.close()
    assert ["x"] == [message.content for message in made[0].messages]
    made[0].close()
    assert [] == [one for one in ground.client.client_list() if one["name"] == "hundred"]


def test_clients_that_were_passed_in_stay_open_and_as_they_were(ground: Ground, shared_url: str) -> None:
    """Law: a client of the caller's is used as it is, decoding or not, and works on after `close`."""
    for decode in (False, True):
        with redis.Redis.from_url(shared_url, decode_responses=decode, protocol=3 if decode else 2) as client:
            store = chatstore.connect(client)
            assert type(store) is RedisRepository
            mine = RedisRepository(client, key_prefix=ground.prefix)
            mine.add_messages("s", BATCH)
            assert 1 + decode == len(mine.get_messages("s")) == mine.list_sessions().items[0].message_count
            mine.close()
            store.close()
            assert client.ping()

    async def awaited() -> None:
        for decode in (False, True):
            client = redis.asyncio.Redis.from_url(
                shared_url, decode_responses=decode, protocol=3 if decode else 2
            )
            store = chatstore.connect_async(client)
            assert type(store) is AsyncRedisRepository
            mine = AsyncRedisRepository(client, key_prefix=ground.prefix)
            await mine.add_messages("s", BATCH)
            assert 3 + decode == len(await mine.get_messages("s"))
            await mine.close()
            await store.close()
            assert await client.ping()
            await client.aclose()

    asyncio.run(awaited())


def test_a_blocking_client_in_a_loop(ground: Ground) -> None:
    """Law: `connect_async` takes a blocking client too, in threads; a history over one has both sides."""
    store = chatstore.connect_async(ground.client)
    assert type(store) is ThreadedRepository

    async def used() -> None:
        assert 0 == await store.count_messages(f"nobody {ground.prefix}")
        await store.close()
        history = RedisRepository(ground.client, key_prefix=ground.prefix).history("s")
        async with history:
            await history.aadd_messages(BATCH)
            assert BATCH == await history.aget_messages() == history.messages

    asyncio.run(used())
    assert ground.client.ping()


@pytest.mark.parametrize("thing", [object(), redis.ConnectionPool(), redis.Redis().pipeline(), b"redis://x"])
def test_what_is_no_client(thing: Any) -> None:
    """Law: what is neither URL nor client is refused with what to pass."""
    for connect in (chatstore.connect, chatstore.connect_async):
        with pytest.raises(Invalid):
            connect(thing)


def test_clients_on_the_wrong_side(ground: Ground) -> None:
    """Law: an asynchronous client is refused where nothing awaits, and the reverse."""
    with pytest.raises(Invalid, match="connect_async"):
        chatstore.connect(redis.asyncio.Redis())
    with pytest.raises(Invalid, match="does not await"):
        AsyncRedisRepository(ground.client)


def test_each_loop_has_a_client_of_its_own(ground: Ground) -> None:
    """Law: one repository serves several loops, one after the other, and `close` gives back what a loop used."""
    store = chatstore.connect_async(ground.url)

    async def used(close: bool) -> int:
        await asyncio.gather(*(store.add_messages("s", BATCH) for _ in range(20)))
        if close:
            await store.close()
        else:
            await store._lease.aclose(store._user)  # type: ignore[attr-defined]
        return await ground_count()

    async def ground_count() -> int:
        async with chatstore.connect_async(ground.url) as other:
            return await other.count_messages("s")

    assert [20, 40] == [asyncio.run(used(close)) for close in (False, True)]
    gc.collect()


def test_a_cancelled_call_leaves_no_answer_behind(ground: Ground) -> None:
    """Law: after a cancelled call the next one on that connection gets its own answer."""

    async def run() -> None:
        async with chatstore.connect_async(ground.url) as store:
            await store.add_messages("s", BATCH)
            for number in range(50):
                task = asyncio.create_task(store.get_session("s"))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert BATCH == await store.get_messages("s")

    asyncio.run(run())


def _in_child(store: Any, done: Any) -> None:
    for number in range(20):
        store.add_messages("s", [HumanMessage(f"child {os.getpid()} {number}")])
    done.put(store.count_messages("s") >= 20)


@pytest.mark.parametrize("where", ["ground", "cluster"])
def test_a_forked_child_has_connections_of_its_own(where: str, request: pytest.FixtureRequest) -> None:
    """Law: parent and children use one repository at the same time; every message arrives, whole and once."""
    here: Ground = request.getfixturevalue(where)
    here.store.add_messages("s", BATCH)
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    children = [context.Process(target=_in_child, args=(here.store, done)) for _ in range(3)]
    for child in children:
        child.start()
    for number in range(20):
        here.store.add_messages("s", [HumanMessage(f"parent {number}")])
    assert [True] * 3 == [done.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)
        assert 0 == child.exitcode
    contents = [message.content for message in here.store.get_messages("s")]
    assert 81 == len(contents) == len(set(contents))


def test_redis_py_is_loaded_when_it_is_needed() -> None:
    """Law: neither the package nor another backend loads redis-py, and without it the error names the extra."""
    code = (
        "import sys, chatstore\n"
        "from chatstore import HumanMessage, RedisChatMessageHistory\n"
        "chatstore.connect('memory:').history('s').add_user_message('x')\n"
        "assert 'redis' not in sys.modules, 'loaded'\n"
        "sys.modules['redis'] = None\n"
        "for make in (lambda: chatstore.connect('redis://localhost'), lambda: RedisChatMessageHistory('s')):\n"
        "    try:\n"
        "        make()\n"
        "    except chatstore.ChatstoreError as error:\n"
        "        print(type(error).__name__, error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = f"MissingDependency {not_installed('redis-py', 'redis')}"
    assert [expected] * 2 == told.splitlines()


def test_the_command_line_works_on_redis_and_shows_no_password(ground: Ground) -> None:
    """Law: the commands take a Redis URL, and none of them prints its password."""
    url = ground.url.replace("://", "://default:hush@")
    said = []
    for words in (["append", "s", "Hello!"], ["show", "s"], ["sessions"], ["doctor"]):
        command = [sys.executable, "-m", "chatstore", words[0], "--url", ground.url, *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
        said.append(done.stdout + done.stderr)
    assert "Hello!" in said[1]
    doctor = [sys.executable, "-m", "chatstore", "doctor", "--url", url]
    told = subprocess.run(doctor, capture_output=True, text=True, check=False)
    assert "hush" not in told.stdout + told.stderr
    assert "***" in told.stdout + told.stderr


def test_tls(tmp_path: Path) -> None:
    """Law: `rediss://` speaks TLS on both sides, and takes a certificate only from who is trusted."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH: it makes the certificate")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    port = redis_servers._port()
    options = ["--tls-port", str(port), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]
    options += ["--tls-auth-clients", "no"]
    with redis_servers.started(*redis_servers.QUIET, *options, folder=tmp_path):
        trusted = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/cert.pem"
        with chatstore.connect(trusted) as store:
            store.add_messages("s", BATCH)

        async def awaited() -> list[Any]:
            async with chatstore.connect_async(trusted) as store:
                return await store.get_messages("s")

        assert BATCH == asyncio.run(awaited())
        untrusted = f"rediss://127.0.0.1:{port}/0"
        with chatstore.connect(untrusted) as store, pytest.raises(StorageUnavailable):
            store.get_messages("s")


def test_a_session_of_fifty_megabytes(ground: Ground) -> None:
    """Law: 5,000 messages of 10 KB are stored in calls of a hundred, read whole and from the end, and forked."""
    text = "0123456789abcdef" * 640
    for start in range(0, 5_000, 100):
        ground.store.add_messages("s", [HumanMessage(f"{start + step} {text}") for step in range(100)])
    messages = ground.store.get_messages("s")
    assert [str(number) for number in range(5_000)] == [message.content.split()[0] for message in messages]  # type: ignore[union-attr]
    assert all(len(message.content) > 10_000 for message in messages)
    assert messages[-20:] == ground.store.get_messages("s", last=20)
    assert messages == [record.message for record in ground.store.iter_records("s")]
    assert 5_000 == ground.store.fork_session("s", "f").message_count
    assert messages[:2_500] == ground.store.get_messages("f", limit=2_500)
    ground.store.clear("f")
    assert 0 == ground.store.count_messages("f")


def test_a_cancelled_task_is_nobody_elses(ground: Ground) -> None:
    """Law: of tasks on one repository some are given up all the time: these end at once, and others meet no error."""
    late = list[float]()

    async def worked() -> None:
        now = asyncio.get_running_loop().time
        until = now() + 3
        async with chatstore.connect_async(ground.url) as store:

            async def work(session_id: str) -> None:
                while now() < until:
                    await store.add_messages(session_id, BATCH)
                    await store.update_session(session_id, title="x")
                    await store.search("x", session_id=session_id)

            async def give_up(seconds: float) -> None:
                while (began := now()) < until:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            while now() < began + seconds + 1:
                                await store.add_messages("given up", BATCH * 3)
                            late.append(now() - began)

            async with asyncio.TaskGroup() as tasks:
                for number, seconds in enumerate((0.002, 0.004, 0.006)):
                    tasks.create_task(work(f"s{number}"))
                    tasks.create_task(give_up(seconds))
            assert all([await store.count_messages(f"s{number}") for number in range(3)])

    asyncio.run(worked())
    assert [] == late


def test_who_closes_takes_no_connection_from_others(ground: Ground) -> None:
    """Law: a repository that is closed while threads and tasks use it goes on, and stores what it acknowledged."""
    until, acknowledged = time.monotonic() + 1.5, [0] * 3

    def work(number: int) -> None:
        while time.monotonic() < until:
            ground.store.add_messages(f"s{number}", BATCH)
            acknowledged[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        ground.store.close()
        time.sleep(0.002)
    for thread in threads:
        thread.join(30)
    assert acknowledged == [ground.store.count_messages(f"s{number}") for number in range(3)]


def test_a_task_that_closes_takes_no_connection_from_others(ground: Ground) -> None:
    """Law: the same of tasks."""

    async def awaited() -> list[int]:
        store, stop = chatstore.connect_async(ground.url), time.monotonic() + 1.5
        counts = [0] * 3

        async def append(number: int) -> None:
            while time.monotonic() < stop:
                await store.add_messages(f"a{number}", BATCH)
                counts[number] += 1

        async def close() -> None:
            while time.monotonic() < stop:
                await store.close()
                await asyncio.sleep(0.002)

        await asyncio.gather(*map(append, range(3)), close())
        assert counts == [await store.count_messages(f"a{number}") for number in range(3)]
        await store.close()
        return counts

    assert all(asyncio.run(awaited()))


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ended_keeps_no_connection(ground: Ground) -> None:
    """Law: what was used in a loop and not closed there goes with the next use, or the next `close`, elsewhere.

    Python warns of the sockets then: nobody has closed them.
    """
    store = chatstore.connect_async(ground.url)

    async def used() -> int:
        await store.add_messages("s", BATCH)
        return len(store._lease._awaiting)  # type: ignore[attr-defined]

    assert [1] * 4 == [asyncio.run(used()) for _ in range(4)]

    async def closed() -> None:
        await store.close()

    asyncio.run(closed())
    assert not store._lease.is_open  # type: ignore[attr-defined]
    gc.collect()
