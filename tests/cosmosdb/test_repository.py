"""What is particular to this backend: documents and their limits, pages, consistency, clients, URLs."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
from hypothesis import given
from hypothesis import strategies as st

import chatstore
from chatstore import CosmosDBChatMessageHistory, HumanMessage, codec
from chatstore.backends.cosmosdb import items, places
from chatstore.backends.cosmosdb.places import Seen
from chatstore.backends.cosmosdb.url import parse_url
from chatstore.codec import Row
from chatstore.contract import STATES
from chatstore.errors import (
    Invalid,
    MessageTooLarge,
    MissingDependency,
    NotSupported,
    OutcomeUnknown,
    SchemaOutdated,
    SessionExists,
)
from tests.cosmos import base_of
from tests.hostile import TEXTS
from tests.stored import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore import Repository
    from chatstore.messages import Message
    from tests.cosmos_fake import Fake


def stored(container: ContainerProxy) -> list[dict[str, Any]]:
    """Return every document."""
    return list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True))


# ---------------------------------------------------------------------------------------- documents


def test_a_turn_is_two_requests(fake: Fake, store: Repository) -> None:
    """An append reads the header and commits one batch; the last messages take the header and one query."""
    store.add_messages("garden", [HumanMessage("first")])
    fake.asked.clear()
    store.add_messages("garden", [HumanMessage("question"), HumanMessage("answer")])
    assert {"read": 1, "batch": 1} == dict(fake.asked)
    fake.asked.clear()
    assert 2 == len(store.get_messages("garden", last=2))
    assert {"read": 1, "query": 1} == dict(fake.asked)


def test_a_lost_race_costs_two_requests(fake: Fake, store: Repository, url: str) -> None:
    """Who lost a race reads the header and commits again; ids are looked up only if a message was in the way.

    One read and one batch of those that are counted are the other writer's.
    """
    store.add_messages("garden", [HumanMessage("first", id="first")])
    with _unshared(url) as other:
        other.count_messages("garden")
        for message, lookups in ((HumanMessage("x", id="x"), 0), (HumanMessage("first", id="first"), 1)):
            fake.fail("batch", lambda: other.add_messages("garden", [HumanMessage("between")]))
            fake.asked.clear()
            store.add_messages("garden", [message])
            assert {"read": 3 + lookups, "batch": 3, "query": lookups} == {
                name: fake.asked[name] for name in ("read", "batch", "query")
            }
    assert ["first", "between", "x", "between"] == texts(store, "garden")


def test_one_document_a_message(store: Repository, container: ContainerProxy) -> None:
    """A message is a document that people can query, beside one with the session's own data."""
    store.scope(user_id="ada").add_messages("garden", [HumanMessage("Hello!", id="a/b")])
    header, message = sorted(stored(container), key=lambda one: one["kind"], reverse=True)
    assert ("session", "session", "garden", "ada") == tuple(
        header[name] for name in ("id", "kind", "session_id", "user_id")
    )
    assert ("message", "garden", "human", "Hello!", "a/b", "0000000000000000001") == tuple(
        message[name] for name in ("kind", "session_id", "type", "content", "message_id", "position")
    )


def test_no_number_is_too_large_for_a_double(store: Repository, container: ContainerProxy) -> None:
    """The service's numbers are doubles, so nothing that may be over 2**53 is a number in a document."""
    values = [2**53 + 1, 2**63 - 1, -(2**63), 10**30, 0.1, 1e300]
    message = HumanMessage(
        "x", additional_kwargs={"values": values}, response_metadata={"deep": {"n": 2**60}}
    )
    store.create_session("garden", metadata={"count": 2**60})
    store.add_messages("garden", [message])
    assert [message] == store.get_messages("garden")
    assert {"count": 2**60} == store.get_session("garden").metadata
    numbers = [v for one in stored(container) for v in one.values() if isinstance(v, int | float)]
    assert max(numbers) < 2**53


def test_hostile_text_is_text(store: Repository, container: ContainerProxy) -> None:
    """The fake refuses lone surrogates; none is ever sent, and all comes back equal."""
    messages = [HumanMessage(text, name=text[:50] or None) for text in TEXTS.values()]
    store.add_messages("garden", messages)
    assert messages == store.get_messages("garden")


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_document_ids_are_legal_and_different(one: str, other: str) -> None:
    """Any two message ids get two document ids, of letters that every tool knows, at most 255."""
    ids = [text.encode("utf-16", "replace").decode("utf-16") for text in (one, other)]
    names = [items.message_name("0" * 36, text) for text in ids]
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{1,255}", name) for name in names)
    assert (ids[0] == ids[1]) is (names[0] == names[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b", "a\\b"),
        ("a#b", "a?b"),
        ("a~2fb", "a/b"),
        ("~", "~7e"),
        ("A", "a"),
        ("é", "e\u0301"),
        ("😀" * 255, "😀" * 254 + "😁"),
    ],
)
def test_ids_that_look_alike_stay_apart(store: Repository, one: str, other: str) -> None:
    """Forbidden characters, upper case and long ids are no two messages' common id."""
    for session in (one, other):
        store.add_messages(session, [HumanMessage(one, id=one), HumanMessage(other, id=other)])
        store.add_messages(session, [HumanMessage(other, id=other)])
        assert [one, other] == texts(store, session)
        assert other == store.get_message(session, other).message.text


@given(st.lists(st.tuples(st.integers(0, 10**15), st.text(max_size=20)), min_size=2, max_size=6))
def test_places_in_lists_sort_as_time_and_id_do(pairs: list[tuple[int, str]]) -> None:
    """Text in ASCII, which every collation sorts alike, has the order of (time, id)."""
    clean = [(micros, re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "", name)) for micros, name in pairs]
    made = [
        items.listed(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros), name)
        for micros, name in clean
    ]
    assert all(text.isascii() for text in made)
    assert [one for _, one in sorted(zip(clean, made, strict=True))] == sorted(made)


# ---------------------------------------------------------------------------------------- limits


def spare(store: Repository, text: str = "x") -> int:
    """Return how many more characters like *text* a message of that text may have."""
    core: Any = store._core
    draft = codec.encode(HumanMessage(text), now=datetime.now(UTC))
    room: int = core.store.limits.message - core.store.size("garden", Row(1, draft))
    return room // len(json.dumps(text)[1:-1])


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_the_largest_message_fits_and_one_more_letter_does_not(
    fake: Fake, store: Repository, letter: str
) -> None:
    """The limit is counted as the SDK sends it, checked before sending, and holds beside the largest header."""
    room = spare(store, letter)
    store.create_session("garden", title="t" * 1000, metadata={"m": "x" * 250_000})
    largest = HumanMessage(letter * (room + 1))
    store.add_messages("garden", [largest])
    assert 1_700_000 < fake.sent["batch"] < items.MAX_BYTES
    assert [largest] == store.get_messages("garden")
    before = fake.asked["batch"]
    with pytest.raises(MessageTooLarge) as error:
        store.add_messages("garden", [HumanMessage("fine"), HumanMessage(letter * (room + 3))])
    assert before == fake.asked["batch"]
    assert items.LIMITS.message == error.value.limit < error.value.size
    assert 1 == store.count_messages("garden")


def test_a_header_has_a_limit_too(fake: Fake, store: Repository) -> None:
    """Metadata that would not fit beside a message is refused before anything is written."""
    with pytest.raises(Invalid, match="metadata"):
        store.create_session("garden", metadata={"m": "x" * items.MAX_HEADER})
    assert 0 == fake.asked["batch"]


def test_batches_are_cut_by_size_too(fake: Fake, store: Repository) -> None:
    """Twenty messages of 300 KB are more than one batch, none of them over 2 MB."""
    messages = [HumanMessage(f"{number} " + "x" * 300_000, id=f"m{number}") for number in range(20)]
    store.add_messages("garden", messages)
    assert messages == store.get_messages("garden")
    assert fake.asked["batch"] >= 4
    assert fake.sent["batch"] <= items.MAX_BYTES
    store.replace_messages("garden", messages[::-1])
    assert [message.text for message in messages[::-1]] == texts(store, "garden")
    assert fake.sent["batch"] <= items.MAX_BYTES


def test_all_pages_are_read(fake: Fake, store: Repository) -> None:
    """A session of 6 MB comes in pages of at most 4 MB, followed to the end, from either side."""
    messages = [HumanMessage(f"{number} " + "x" * 10_000) for number in range(600)]
    store.add_messages("garden", messages)
    fake.asked.clear()
    assert messages == store.get_messages("garden")
    assert fake.asked["query"] >= 2
    assert messages[-500:] == store.get_messages("garden", last=500)
    assert messages[:500] == store.get_messages("garden", limit=500)
    store.truncate("garden", after=450)
    assert messages[:450] == store.get_messages("garden")
    store.clear("garden")
    assert [] == store.get_messages("garden")


def test_five_thousand_messages_of_ten_kilobytes(fake: Fake, store: Repository) -> None:
    """A long session is written in batches within the limits, and read whole, from either end, and one by one."""
    messages = [HumanMessage(f"{number} " + "x" * 10_000, id=f"m{number}") for number in range(5000)]
    store.add_messages("garden", messages)
    assert fake.sent["batch"] <= items.MAX_BYTES
    assert 5000 == store.count_messages("garden")
    assert messages == store.get_messages("garden")
    assert messages[-20:] == store.get_messages("garden", last=20)
    assert messages[:20] == store.get_messages("garden", limit=20)
    assert [message.id for message in messages] == [one.message_id for one in store.iter_records("garden")]
    assert messages[2500] == store.get_message("garden", "m2500").message
    fake.asked.clear()
    store.get_messages("garden", last=20)
    assert {"read": 1, "query": 1} == dict(fake.asked)


def test_a_swept_session_leaves_nothing(store: Repository, container: ContainerProxy) -> None:
    """Deleting, clearing and replacing many messages leaves no document behind."""
    messages = [HumanMessage(f"{number}") for number in range(230)]
    store.add_messages("garden", messages)
    store.replace_messages("garden", messages)
    assert 231 == len(stored(container))
    store.truncate("garden", after=400)
    assert 171 == len(stored(container))
    store.clear("garden")
    assert 1 == len(stored(container))
    store.add_messages("garden", messages)
    store.delete_session("garden")
    assert [] == stored(container)


def test_lists_are_paged_by_place(store: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """More sessions than one query takes are listed newest first, each once, for everybody and for an owner."""
    monkeypatch.setattr(items, "PAGE", 3)
    names = [f"s{number}" for number in range(11)]
    for name in names:
        store.scope(user_id="ada" if int(name[1:]) % 2 else "bob").create_session(name)
    assert names[::-1] == [one.session_id for one in store.list_sessions().items]
    assert names[9::-2] == [one.session_id for one in store.list_sessions(user_id="ada").items]
    assert names[10::-2] == [one.session_id for one in store.scope(user_id="bob").list_sessions().items]
    assert 11 == store.purge(updated_before=datetime.now(UTC)).sessions


# ---------------------------------------------------------------------------------------- time to live


def test_what_has_expired_is_swept_by_the_service(
    fake: Fake, store: Repository, container: ContainerProxy
) -> None:
    """Documents of a session that expires have a time to live that ends an hour later; the library hides it sooner."""
    store.create_session("garden", expires_at=datetime.now(UTC) + timedelta(seconds=1000))
    store.add_messages("garden", [HumanMessage("Hello!")])
    assert all(3600 < one["ttl"] <= 4601 for one in stored(container))
    fake.store.ahead = 3500
    assert ["Hello!"] == texts(
        store, "garden"
    )  # the service's clock is ahead of ours, and nobody loses anything
    fake.store.ahead = 4602
    assert [] == stored(container)
    assert [] == texts(store, "garden")
    store.add_messages("garden", [HumanMessage("Again!")])
    assert ["Again!"] == texts(store, "garden")


def test_what_is_expired_from_the_start_stays_for_an_hour(
    store: Repository, container: ContainerProxy
) -> None:
    """A purge can count a session that was created expired: the service does not sweep it away under its hands."""
    store.create_session("garden", expires_at=datetime.now(UTC) - timedelta(days=1))
    assert [3600] == [one["ttl"] for one in stored(container)]
    assert 1 == store.purge().sessions


def test_a_longer_life_reaches_every_document(
    fake: Fake, store: Repository, container: ContainerProxy
) -> None:
    """Whoever prolongs a session prolongs its messages."""
    store.create_session("garden", expires_at=datetime.now(UTC) + timedelta(seconds=1000))
    store.add_messages("garden", [HumanMessage("Hello!")])
    store.update_session("garden", expires_at=datetime.now(UTC) + timedelta(days=10))
    fake.store.ahead = 86_400
    assert ["Hello!"] == texts(store, "garden")
    store.update_session("garden", expires_at=None)
    fake.store.ahead = 86_400 * 365
    assert ["Hello!"] == texts(store, "garden")
    assert not any("ttl" in one for one in stored(container))


# ---------------------------------------------------------------------------------------- consistency


@pytest.mark.parametrize("lag", [1, 5])
def test_whoever_writes_reads_it(fake: Fake, store: Repository, lag: int) -> None:
    """Replicas may lag behind: a process sees all that it has done itself, after every single step."""
    fake.store.lag = lag
    said: list[str] = []
    for number in range(8):
        store.add_messages("garden", [HumanMessage(f"{number}")])
        said.append(f"{number}")
        assert said == texts(store, "garden")
    store.pop_message("garden")
    assert said[:-1] == texts(store, "garden")
    store.update_message("garden", 1, HumanMessage("new"))
    assert "new" == store.get_message("garden", 1).message.text
    store.truncate("garden", after=3)
    assert ["new", "1", "2"] == texts(store, "garden")
    store.update_session("garden", title="title")
    assert "title" == store.get_session("garden").title
    store.delete_session("garden")
    store.create_session("garden")
    assert 0 == store.get_session("garden").message_count


def test_lagging_replicas_lose_no_append(fake: Fake, url: str) -> None:
    """Two clients that read the past write in turn: nothing is lost, doubled or out of order."""
    fake.store.lag = 3
    with chatstore.connect(url) as one, _unshared(url) as other:
        for number in range(12):
            (one, other)[number % 2].add_messages("garden", [HumanMessage(f"{number}")])
        assert [f"{number}" for number in range(12)] == texts(other, "garden")


def test_lagging_replicas_under_asyncio(fake: Fake, url: str) -> None:
    """The same, for asynchronous clients."""
    fake.store.lag = 3

    async def written() -> list[str]:
        async with chatstore.connect_async(url) as store:
            for number in range(8):
                await store.add_messages("garden", [HumanMessage(f"{number}")])
                assert number + 1 == len(await store.get_messages("garden"))
            return [message.text for message in await store.get_messages("garden")]

    assert [f"{number}" for number in range(8)] == asyncio.run(written())


def test_tokens_of_later_answers_stay() -> None:
    """Answers pass each other: the token that goes furthest is kept, and so are the latest sessions."""
    seen = Seen()
    for token in ("0:-1#9", "0:-1#10#1=2", "0:-1#8"):
        seen.note("garden", token)
    assert "0:-1#10#1=2" == seen.token("garden")
    for later in ("0:1#3", "of another form", "of a third", None):
        seen.note("garden", later)
    assert "0:1#3" == seen.token("garden")
    for number in range(places.REMEMBERED):
        seen.note(f"s{number}", "0:-1#1")
    assert seen.token("garden") is None
    assert "0:-1#1" == seen.token("s0")


def _unshared(url: str) -> Any:
    """Return a repository with a client of its own."""
    from chatstore.backends.cosmosdb.repository import CosmosRepository

    return CosmosRepository(lease=places.Containers(parse_url(url)))


# ---------------------------------------------------------------------------------------- clients and URLs


def test_a_container_that_is_passed_in_is_used_and_not_closed(
    client: CosmosClient, container: ContainerProxy
) -> None:
    """The SDK's own container serves as it is, also under asyncio, in threads; it works afterwards."""
    with chatstore.connect(container) as store:
        store.add_messages("garden", [HumanMessage("Hello!")])
        assert ["Hello!"] == texts(store, "garden")

    async def read() -> list[str]:
        async with chatstore.connect_async(container) as store:
            return [message.text for message in await store.get_messages("garden")]

    assert ["Hello!"] == asyncio.run(read())
    assert "session" == container.read_item("session", "garden")["kind"]


def test_an_asynchronous_container_is_passed_in(fake: Fake, container: ContainerProxy) -> None:
    """The container of `azure.cosmos.aio` is awaited natively, and stays open; `connect` refuses it."""

    async def everything() -> list[str]:
        async with AsyncCosmosClient(fake.url, fake.key) as client:
            theirs = client.get_database_client("chat").get_container_client("chat")
            with pytest.raises(Invalid):
                chatstore.connect(theirs)
            async with chatstore.connect_async(theirs) as store:
                await store.add_messages("garden", [HumanMessage("Hello!")])
            assert "session" == (await theirs.read_item("session", "garden"))["kind"]
            async with chatstore.connect_async(theirs) as store:
                return [message.text for message in await store.get_messages("garden")]

    assert ["Hello!"] == asyncio.run(everything())


def test_a_clients_own_retries_double_nothing(fake: Fake, url: str, container: ContainerProxy) -> None:
    """A client of the caller's tries broken connections again by itself; a pop is never done twice for that."""

    async def popped() -> list[str]:
        async with AsyncCosmosClient(fake.url, fake.key) as client:
            theirs = client.get_database_client("chat").get_container_client("chat")
            store = chatstore.connect_async(theirs)
            await store.add_messages("garden", [HumanMessage(f"{number}") for number in range(3)])
            other = chatstore.connect(url)
            fake.fail("batch", "drop after")
            fake.fail("read", lambda: other.add_messages("garden", [HumanMessage("between")]), skip=1)
            with pytest.raises(OutcomeUnknown):
                await store.pop_message("garden")
            other.close()
            return [message.text for message in await store.get_messages("garden")]

    assert ["0", "1", "between"] == asyncio.run(popped())


def test_repositories_on_one_url_share_a_client(fake: Fake, url: str) -> None:
    """A hundred histories cost one client; the last to close closes it."""
    stores = [chatstore.connect(url) for _ in range(100)]
    for store in stores:
        store.count_messages("garden")
    assert 1 == fake.asked["read container"]
    lease: Any = stores[0]._lease  # type: ignore[attr-defined]
    for store in stores[1:]:
        store.close()
    assert 0 == stores[0].count_messages("garden")
    stores[0].close()
    assert (False, 0) == (lease.is_open, lease.users)


def test_a_client_that_was_made_again_is_closed_again(url: str) -> None:
    """A repository that is used after its `close` has a client again, until it is closed again; in both worlds."""
    store: Any = chatstore.connect(url)
    for _ in range(2):
        assert 0 == store.count_messages("garden")
        assert store._lease.is_open
        store.close()
        assert not store._lease.is_open

    async def awaited() -> None:
        other: Any = chatstore.connect_async(url)
        for _ in range(2):
            assert 0 == await other.count_messages("garden")
            assert other._lease.is_open
            await other.close()
            assert not other._lease.is_open

    asyncio.run(awaited())


def test_one_loop_after_the_other(url: str) -> None:
    """A client of aiohttp belongs to a loop: each gets its own, closed with its last user."""

    async def write(store: chatstore.AsyncRepository, text: str) -> None:
        await store.add_messages("garden", [HumanMessage(text)])
        await store.close()

    for text in ("one", "two"):
        asyncio.run(write(chatstore.connect_async(url), text))
    with chatstore.connect(url) as store:
        assert ["one", "two"] == texts(store, "garden")
        history = store.history("garden")

        async def read() -> int:
            async with history:
                return len(await history.aget_messages())

        assert [2, 2] == [asyncio.run(read()), asyncio.run(read())]
        assert ["one", "two"] == texts(store, "garden")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_a_client_of_its_own(store: Repository) -> None:
    """Parent and child go on writing after a fork, each over connections of its own."""
    store.add_messages("garden", [HumanMessage("before")])
    child = os.fork()
    if child == 0:
        try:
            store.add_messages("garden", [HumanMessage("child")])
        finally:
            os._exit(0)
    assert 0 == os.waitpid(child, 0)[1]
    store.add_messages("garden", [HumanMessage("parent")])
    assert ["before", "child", "parent"] == texts(store, "garden")


@pytest.mark.parametrize(
    "url",
    [
        "cosmosdb:",
        "cosmosdb://",
        "cosmosdb://account.documents.azure.com",
        "cosmosdb://account.documents.azure.com/chat",
        "cosmosdb://account.documents.azure.com/chat/",
        "cosmosdb://account.documents.azure.com/chat/chat/more",
        "cosmosdb://account.documents.azure.com/chat/chat?key=c2VjcmV0",
        "cosmosdb://c2VjcmV0@account.documents.azure.com/chat/chat",
        "cosmosdb://:c2VjcmV0/+w@account.documents.azure.com/chat/chat",
        "cosmosdb://:c2Vjcm@account.documents.azure.com/chat/chat",
        "cosmosdb://:c2VjcmV0@account.documents.azure.com:port/chat/chat",
    ],
)
def test_bad_urls_are_refused_without_their_key(url: str) -> None:
    """One error says how such a URL is written, and never repeats a key."""
    for connect in (chatstore.connect, chatstore.connect_async):
        with pytest.raises(Invalid) as error:
            connect(url)
        assert "c2Vjcm" not in repr(error.value)
        assert error.value.__cause__ is None
        assert error.value.__context__ is None or error.value.__suppress_context__


def test_urls_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, port, database, container and key are what they say, in per cent where they must be."""
    key = "c2V/jc+V0ZjE="
    found = parse_url(f"cosmosdb://:{quote(key, safe='')}@account.documents.azure.com:443/my%20chat/s")
    assert ("https://account.documents.azure.com:443", "my chat", "s", key) == (
        found.endpoint,
        found.database,
        found.container,
        found.key,
    )
    assert key not in repr(found)
    assert "http://127.0.0.1:8081" == parse_url("cosmosdb+http://127.0.0.1:8081/chat/s").endpoint


def test_the_key_may_be_in_the_environment(fake: Fake, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key in the URL, `AZURE_COSMOS_KEY` is read; without that, azure-identity is asked for."""
    bare = f"cosmosdb+http://{url.split('@')[1]}"
    with (
        chatstore.connect(bare) as store,
        pytest.raises(MissingDependency, match="pip install azure-identity"),
    ):
        store.count_messages("garden")
    monkeypatch.setenv("AZURE_COSMOS_KEY", fake.key)
    with chatstore.connect(bare) as store:
        assert 0 == store.count_messages("garden")


def test_without_the_sdk_there_is_the_command(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A missing extra is named with the pip command."""
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    for connect in (chatstore.connect, chatstore.connect_async):
        with pytest.raises(MissingDependency, match=r"pip install 'azure-cosmos>=\S+ 'aiohttp>="):
            connect(url)


def test_something_else_of_the_sdk_is_refused(client: CosmosClient) -> None:
    """A client or a database is no container."""
    with pytest.raises(Invalid, match="ContainerProxy"):
        chatstore.connect(client)


def test_search_is_refused(store: Repository) -> None:
    """What the service cannot do is said, with those that can."""
    assert {"search", *STATES} == store.capabilities.denied
    assert 99 == store.capabilities.atomic_batch
    with pytest.raises(NotSupported, match="sqlite"):
        store.search("hello")
    assert "machine" == store.durability().level


# ---------------------------------------------------------------------------------------- histories


@pytest.fixture
def history(fake: Fake) -> Iterator[CosmosDBChatMessageHistory]:
    """Give a history as people make it, on an account without a database."""
    with CosmosDBChatMessageHistory(fake.url, "chat", "chat", "garden", "ada", credential=fake.key) as made:
        yield made


def test_a_history_prepares_its_container(history: CosmosDBChatMessageHistory) -> None:
    """``with`` and `prepare_cosmos` create what is missing, as people know it."""
    history.prepare_cosmos()
    history.add_user_message("Hello!")
    history.add_ai_message("Hello there!")
    assert ["Hello!", "Hello there!"] == [message.text for message in history.messages]
    history.clear()
    assert [] == history.messages

    async def read() -> list[Message]:
        async with history:
            await history.aadd_messages([HumanMessage("Again!")])
            return await history.aget_messages()

    assert [HumanMessage("Again!")] == asyncio.run(read())


def test_a_history_belongs_to_its_user(fake: Fake, history: CosmosDBChatMessageHistory) -> None:
    """Another user sees nothing, and cannot take the id."""
    history.add_user_message("Hello!")
    text = f"AccountEndpoint={fake.url}/;AccountKey={fake.key};"
    other = CosmosDBChatMessageHistory("", "chat", "chat", "garden", "bob", connection_string=text)
    assert [] == other.messages
    with pytest.raises(SessionExists):
        other.add_user_message("Mine!")
    other.close()
    assert ["Hello!"] == [message.text for message in history.messages]


def test_a_history_expires(fake: Fake, history: CosmosDBChatMessageHistory) -> None:
    """Each addition sets the end of the session anew, in both worlds."""
    short = CosmosDBChatMessageHistory(fake.url, "chat", "chat", "short", credential=fake.key, ttl=3600)

    async def add() -> None:
        async with short:
            await short.aadd_messages([HumanMessage("two")])

    for step in ("one", "two"):
        before = datetime.now(UTC)
        if step == "one":
            short.add_user_message(step)
        else:
            asyncio.run(add())
        with chatstore.connect(f"{base_of(fake)}/chat/chat") as store:
            end = store.get_session("short").expires_at
        assert end is not None
        assert before + timedelta(seconds=3600) <= end <= datetime.now(UTC) + timedelta(seconds=3600)


@pytest.mark.parametrize(
    "arguments",
    [
        ("account", "chat", "chat", "garden"),
        ("https://account", "", "chat", "garden"),
        ("https://account", "chat", "chat", "garden", None, "no base64!"),
        ("", "chat", "chat", "garden", None, None, "AccountKey=c2VjcmV0"),
    ],
)
def test_bad_parameters_of_a_history_are_refused(arguments: tuple[Any, ...]) -> None:
    """They are `Invalid`, a ValueError, before anything is asked."""
    with pytest.raises(Invalid) as error:
        CosmosDBChatMessageHistory(*arguments)
    assert "c2VjcmV0" not in repr(error.value)


def test_other_partition_keys_are_not_upgraded(fake: Fake, client: CosmosClient) -> None:
    """A container made for other histories (by ``/user_id``) is left alone."""
    client.create_database("chat").create_container("theirs", PartitionKey("/user_id"))
    history = CosmosDBChatMessageHistory(fake.url, "chat", "theirs", "garden", credential=fake.key)
    with pytest.raises(SchemaOutdated, match="not ours"):
        history.prepare_cosmos()
    history.close()
