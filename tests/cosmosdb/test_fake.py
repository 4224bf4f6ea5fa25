"""What the fake claims of the service, point by point, through the unmodified SDK; each point names its source.

The pages are those of the service's documentation: REST is learn.microsoft.com/rest/api/cosmos-db, AZURE is
learn.microsoft.com/azure/cosmos-db. That a rule *bites* is part of each test: the last ones plant clients that would
lose data, and see them refused.
"""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ServiceResponseError
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

from tests.cosmos import leaking_sdk
from tests.cosmos_fake.sql import Unreadable, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cosmos_fake import Fake

MEGABYTE = 1024 * 1024


@pytest.fixture
def container(client: CosmosClient) -> ContainerProxy:
    """Give a container with the partition key ``/session_id``, in which nothing expires by itself."""
    database = client.create_database("chat")
    return database.create_container("chat", PartitionKey("/session_id"), default_ttl=-1)


def refused(status: int, call: Callable[[], Any]) -> CosmosHttpResponseError:
    """Call something that must be answered with *status*."""
    with pytest.raises(CosmosHttpResponseError) as error:
        call()
    assert status == error.value.status_code
    return error.value


def document(name: str, session: str = "garden", **values: Any) -> dict[str, Any]:
    """Return a document."""
    return {"id": name, "session_id": session, **values}


def asked(container: ContainerProxy, query: str, **options: Any) -> list[Any]:
    """Return all results of a query, from page to page."""
    parameters = [{"name": name, "value": value} for name, value in options.pop("values", {}).items()]
    return list(container.query_items(query, parameters=parameters, **options))


# ---------------------------------------------------------------------------------------- databases, containers, access


def test_a_wrong_key_is_unauthorized(fake: Fake) -> None:
    """401 is returned when the Authorization header is invalid (REST: http-status-codes-for-cosmosdb).

    The signature is over verb, type, link and date (REST: access-control-on-cosmosdb-resources).
    """
    with leaking_sdk():
        refused(401, lambda: CosmosClient(fake.url, "eA=="))


def test_a_database_is_created_once(client: CosmosClient) -> None:
    """409: the id of a new resource was taken by an existing one (REST: http-status-codes-for-cosmosdb)."""
    client.create_database("chat")
    refused(409, lambda: client.create_database("chat"))
    refused(404, lambda: client.get_database_client("other").read())


def test_a_container_needs_its_database(client: CosmosClient, container: ContainerProxy) -> None:
    """404 where the parent is missing, 409 where the id is taken (REST: create-a-collection)."""
    key = PartitionKey("/session_id")
    refused(409, lambda: client.get_database_client("chat").create_container("chat", key))
    refused(404, lambda: client.get_database_client("other").create_container("chat", key))
    refused(404, lambda: client.get_database_client("chat").get_container_client("other").read())
    assert ["/session_id"] == container.read()["partitionKey"]["paths"]


def test_a_container_keeps_its_partition_key(client: CosmosClient, container: ContainerProxy) -> None:
    """The partition key of a container cannot be changed (AZURE: partitioning-overview)."""
    database = client.get_database_client("chat")
    refused(400, lambda: database.replace_container(container, PartitionKey("/user_id")))
    database.replace_container(container, PartitionKey("/session_id"), default_ttl=60)
    assert 60 == container.read()["defaultTtl"]


def test_deleting_takes_everything_along(client: CosmosClient, container: ContainerProxy) -> None:
    """Deleting a database deletes its containers and documents (REST: delete-a-database)."""
    container.create_item(document("one"))
    client.delete_database("chat")
    refused(404, lambda: client.get_database_client("chat").get_container_client("chat").read())


# ---------------------------------------------------------------------------------------- documents


def test_a_document_is_created_once_in_a_partition(container: ContainerProxy) -> None:
    """409: the id is taken; it is unique within a partition key (REST: create-a-document; AZURE: resource-model)."""
    container.create_item(document("one"))
    refused(409, lambda: container.create_item(document("one")))
    container.create_item(document("one", "kitchen"))
    assert "kitchen" == container.read_item("one", "kitchen")["session_id"]


def test_what_is_missing_is_not_found(container: ContainerProxy) -> None:
    """404: the document is no longer a resource (REST: get-a-document, replace-a-document, delete-a-document)."""
    container.create_item(document("one"))
    refused(404, lambda: container.read_item("other", "garden"))
    refused(404, lambda: container.read_item("one", "kitchen"))
    refused(404, lambda: container.replace_item("other", document("other")))
    refused(404, lambda: container.delete_item("other", "garden"))
    container.delete_item("one", "garden")
    refused(404, lambda: container.read_item("one", "garden"))


def test_an_upsert_creates_or_replaces(container: ContainerProxy) -> None:
    """x-ms-documentdb-is-upsert creates the document or updates it (REST: create-a-document)."""
    container.upsert_item(document("one", color="red"))
    container.upsert_item(document("one", size=3))
    found = container.read_item("one", "garden")
    assert (None, 3) == (found.get("color"), found["size"])


def test_every_write_gives_a_new_etag_and_time(container: ContainerProxy) -> None:
    """_etag and _ts are the system's and change with every write (REST: documents)."""
    first, second = container.create_item(document("one")), container.upsert_item(document("one"))
    assert first["_etag"] != second["_etag"]
    assert isinstance(second["_ts"], int)
    assert first["_rid"] == second["_rid"]


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a#b", "a?b", "", "x" * 1024])
def test_some_ids_are_refused(container: ContainerProxy, name: str) -> None:
    r"""An id has no / \ # ? and at most 1,023 bytes (AZURE: concepts-limits, per-item limits).

    The SDK refuses some of them by itself; a batch goes to the service unchecked.
    """
    batch = [("create", (document(name),))]
    with pytest.raises(CosmosBatchOperationError) as error:
        container.execute_item_batch(batch, "garden")
    assert 400 == error.value.status_code


def test_the_partition_key_of_header_and_body_agree(container: ContainerProxy) -> None:
    """400: the partition key in the document does not match the header's (AZURE: troubleshoot-bad-request)."""
    with pytest.raises(CosmosBatchOperationError) as error:
        container.execute_item_batch([("create", (document("one"),))], "kitchen")
    assert 400 == error.value.status_code


def test_a_document_has_at_most_two_megabytes(container: ContainerProxy) -> None:
    """413 over the limit of 2 MB, counted as UTF-8 JSON (AZURE: concepts-limits; REST: create-a-document)."""
    spare = len(json.dumps(document("one", text=""), separators=(",", ":")))
    container.create_item(document("one", text="x" * (2 * MEGABYTE - spare)))
    refused(413, lambda: container.create_item(document("two", text="x" * (2 * MEGABYTE - spare + 1))))
    refused(413, lambda: container.create_item(document("two", text="é" * MEGABYTE)))


def test_a_partition_key_has_at_most_2048_bytes(container: ContainerProxy) -> None:
    """The length of a partition key value is at most 2,048 bytes (AZURE: concepts-limits)."""
    for longest in ("k" * 2048, "😀" * 512):
        container.create_item(document("one", longest))
        refused(400, functools.partial(container.create_item, document("one", f"{longest}k")))


def test_numbers_are_doubles(container: ContainerProxy) -> None:
    """Numbers are IEEE 754 doubles: beyond 2**53 they come back changed (AZURE: query, data types)."""
    container.create_item(document("one", exact=2**53, rounded=2**53 + 1))
    found = container.read_item("one", "garden")
    assert 2**53 == found["exact"]
    assert 2**53 + 1 != found["rounded"]


def test_text_is_unicode(container: ContainerProxy) -> None:
    """JSON is UTF-8 text, which has no lone surrogates (RFC 8259, 8.2: their fate is unpredictable; here, 400)."""
    refused(400, lambda: container.create_item(document("one", text="\ud800")))


def test_preconditions_are_kept(container: ContainerProxy) -> None:
    """412 when If-Match names another etag; If-None-Match with * refuses what is there.

    AZURE: database-transactions-optimistic-concurrency; REST: replace-a-document, common request headers.
    """
    old, new = container.create_item(document("one")), container.upsert_item(document("one", n=2))
    stale = {"etag": old["_etag"], "match_condition": MatchConditions.IfNotModified}
    refused(412, lambda: container.replace_item("one", document("one", n=3), **stale))
    refused(412, lambda: container.upsert_item(document("one", n=3), **stale))
    refused(412, lambda: container.delete_item("one", "garden", **stale))
    refused(412, lambda: container.upsert_item(document("one"), match_condition=MatchConditions.IfMissing))
    assert 2 == container.read_item("one", "garden")["n"]
    fresh = {"etag": new["_etag"], "match_condition": MatchConditions.IfNotModified}
    container.replace_item("one", document("one", n=3), **fresh)
    assert 3 == container.read_item("one", "garden")["n"]


# ---------------------------------------------------------------------------------------- time to live


def test_a_document_lives_as_long_as_it_says(fake: Fake, container: ContainerProxy) -> None:
    """With a default of -1, a document with ttl n expires n seconds after its last write (AZURE: time-to-live)."""
    container.create_item(document("short", ttl=1000))
    container.create_item(document("long"))
    fake.store.ahead = 800
    assert "short" == container.read_item("short", "garden")["id"]
    container.upsert_item(document("short", ttl=1000))
    fake.store.ahead = 1600
    assert 2 == len(asked(container, "SELECT * FROM c", partition_key="garden"))
    fake.store.ahead = 1801
    refused(404, lambda: container.read_item("short", "garden"))
    assert ["long"] == [one["id"] for one in asked(container, "SELECT * FROM c", partition_key="garden")]
    container.create_item(document("short"))


def test_a_container_without_a_default_ignores_it(fake: Fake, client: CosmosClient) -> None:
    """The ttl of a document is effective only where the container's is not null (AZURE: time-to-live)."""
    container = client.create_database("two").create_container("two", PartitionKey("/session_id"))
    container.create_item(document("short", ttl=1))
    fake.store.ahead = 1000
    assert "short" == container.read_item("short", "garden")["id"]


@pytest.mark.parametrize("ttl", [0, -2, 2**31, "60", 1.5])
def test_only_some_times_to_live_are_taken(container: ContainerProxy, ttl: object) -> None:
    """A ttl is -1 or a positive integer up to 2,147,483,647 (AZURE: time-to-live)."""
    refused(400, lambda: container.create_item(document("one", ttl=ttl)))


# ---------------------------------------------------------------------------------------- batches


def test_a_batch_does_everything_in_order(container: ContainerProxy) -> None:
    """A batch of create, replace, upsert, read, delete succeeds as one (AZURE: transactional-batch)."""
    container.create_item(document("gone"))
    made = container.create_item(document("kept", n=1))
    answers = container.execute_item_batch(
        [
            ("create", (document("new"),)),
            ("replace", ("kept", document("kept", n=2)), {"if_match_etag": made["_etag"]}),
            ("upsert", (document("put"),)),
            ("read", ("kept",)),
            ("delete", ("gone",)),
        ],
        "garden",
    )
    assert [201, 200, 201, 200, 204] == [answer["statusCode"] for answer in answers]
    assert 2 == answers[3]["resourceBody"]["n"]
    found = asked(container, "SELECT * FROM c", partition_key="garden")
    assert ["kept", "new", "put"] == sorted(one["id"] for one in found)


@pytest.mark.parametrize(
    ("status", "failing"),
    [
        (409, ("create", (document("kept"),))),
        (404, ("replace", ("other", document("other")))),
        (404, ("delete", ("other",))),
        (412, ("replace", ("kept", document("kept", n=9)), {"if_match_etag": '"old"'})),
        (413, ("create", (document("big", text="é" * MEGABYTE),))),
    ],
)
def test_a_failing_batch_does_nothing(
    container: ContainerProxy, status: int, failing: tuple[Any, ...]
) -> None:
    """The failed operation has its own status, all others 424, and all is rolled back (AZURE: transactional-batch)."""
    container.create_item(document("kept", n=1))
    if status == 413:  # the batch itself would be too large
        refused(413, lambda: container.execute_item_batch([failing], "garden"))
        return
    operations = [("create", (document("new"),)), ("upsert", (document("kept", n=2),))]
    with pytest.raises(CosmosBatchOperationError) as error:
        container.execute_item_batch([*operations, failing, ("create", (document("last"),))], "garden")
    assert [424, 424, status, 424] == [one["statusCode"] for one in error.value.operation_responses]
    found = asked(container, "SELECT * FROM c", partition_key="garden")
    assert [("kept", 1)] == [(one["id"], one["n"]) for one in found]


def test_a_batch_has_at_most_100_operations(container: ContainerProxy) -> None:
    """A batch has at most 100 operations (AZURE: concepts-limits, transactional-batch)."""
    batch = [("create", (document(f"{number}"),)) for number in range(101)]
    refused(400, lambda: container.execute_item_batch(batch, "garden"))
    assert 100 == len(container.execute_item_batch(batch[:100], "garden"))


def test_a_batch_has_at_most_two_megabytes(container: ContainerProxy) -> None:
    """The payload of a batch cannot exceed 2 MB (AZURE: concepts-limits, transactional-batch)."""
    batch = [("create", (document(name, text="x" * MEGABYTE),)) for name in "ab"]
    refused(413, lambda: container.execute_item_batch(batch, "garden"))
    container.execute_item_batch(batch[:1], "garden")


# ---------------------------------------------------------------------------------------- queries


@pytest.fixture
def filled(container: ContainerProxy) -> ContainerProxy:
    """Give a container of 60 documents in 12 sessions, in all three physical partitions."""
    for number in range(60):
        container.create_item(document(f"{number}", f"s{number % 12}", n=number, deep={"n": -number}))
    return container


def test_a_partition_key_is_a_filter(filled: ContainerProxy) -> None:
    """A query with x-ms-documentdb-partitionkey sees that key's documents only (REST: query-documents)."""
    found = asked(filled, "SELECT * FROM c", partition_key="s3")
    assert [3, 15, 27, 39, 51] == sorted(one["n"] for one in found)


def test_a_query_over_partitions_must_be_allowed(fake: Fake, container: ContainerProxy) -> None:
    """Without a key, x-ms-documentdb-query-enablecrosspartition must be set (REST: query-documents)."""
    refused(400, lambda: asked(container, "SELECT * FROM c"))


def test_pages_hold_what_was_asked_for(fake: Fake, filled: ContainerProxy) -> None:
    """No page has more than x-ms-max-item-count; x-ms-continuation leads on (REST: query-documents)."""
    query = filled.query_items("SELECT * FROM c ORDER BY c.n", partition_key="s3", max_item_count=2)
    assert [[3, 15], [27, 39], [51]] == [[one["n"] for one in page] for page in query.by_page()]
    assert 3 == fake.asked["query"]


def test_a_page_has_at_most_four_megabytes(container: ContainerProxy) -> None:
    """An answer has at most 4 MB, whatever number was asked for (AZURE: concepts-limits, per-request limits)."""
    for number in range(10):
        container.create_item(document(f"{number}", text="x" * MEGABYTE))
    query = container.query_items("SELECT * FROM c", partition_key="garden", max_item_count=100)
    assert [3, 3, 3, 1] == [len(list(page)) for page in query.by_page()]


def test_a_token_is_good_for_its_query_only(filled: ContainerProxy) -> None:
    """400 for a continuation of another query, or none at all (AZURE: query pagination)."""
    pages: Any = filled.query_items("SELECT * FROM c", partition_key="s3", max_item_count=2).by_page()
    next(pages)
    token = pages.continuation_token
    for other, key in (("SELECT * FROM c WHERE c.n > 0", "s3"), ("SELECT * FROM c", "s4")):
        again = filled.query_items(other, partition_key=key, max_item_count=2).by_page(token)
        refused(400, functools.partial(next, again))
    pages = filled.query_items("SELECT * FROM c", partition_key="s3", max_item_count=2).by_page("nonsense")
    refused(400, lambda: next(pages))


def test_a_token_stands_for_a_place(filled: ContainerProxy) -> None:
    """A later page begins behind the last document, whatever was added or deleted (AZURE: query pagination)."""
    query = "SELECT * FROM c ORDER BY c.n"
    pages = filled.query_items(query, partition_key="s3", max_item_count=2).by_page()
    assert [3, 15] == [one["n"] for one in next(pages)]
    filled.delete_item("3", "s3")
    filled.create_item(document("new", "s3", n=1))
    assert [27, 39] == [one["n"] for one in next(pages)]


def test_pages_over_partitions_may_be_empty(fake: Fake, filled: ContainerProxy) -> None:
    """A page may be empty and yet lead on (AZURE: query pagination): each partition is gone through in turn."""
    found = asked(filled, "SELECT * FROM c WHERE c.n = 7", enable_cross_partition_query=True)
    assert [7] == [one["n"] for one in found]
    assert 3 == fake.asked["query"]


def test_an_order_over_partitions_is_the_clients_work(fake: Fake, filled: ContainerProxy) -> None:
    """The gateway does not serve ORDER BY over partitions: the client asks for a plan and merges.

    REST: querying-cosmosdb-resources-using-the-rest-api, "Queries that cannot be served by gateway".
    """
    query = "SELECT * FROM c WHERE c.n >= @n ORDER BY c.n DESC"
    found = asked(filled, query, values={"@n": 20}, enable_cross_partition_query=True)
    assert list(range(59, 19, -1)) == [one["n"] for one in found]
    assert 1 == fake.asked["plan"]
    assert fake.asked["query"] > 3


def test_conditions_mean_what_they_say(filled: ContainerProxy) -> None:
    """AND, OR, NOT, IN, comparison and nested properties select (AZURE: query reference)."""
    cases = {
        "c.n = 3": [3],
        "c.n != 3 AND c.n < 20": [15],
        "c.n > 3 AND (c.n <= 15 OR c.n >= 51)": [15, 51],
        "NOT (c.n > 3)": [3],
        "c.n IN (27, 39, 40)": [27, 39],
        "c.deep.n < -30": [39, 51],
        "c.n = @n": [15],
    }
    for condition, numbers in cases.items():
        found = asked(filled, f"SELECT * FROM c WHERE {condition}", values={"@n": 15}, partition_key="s3")
        assert numbers == sorted(one["n"] for one in found), condition


def test_a_missing_property_is_neither_true_nor_false(filled: ContainerProxy) -> None:
    """What compares with a missing property, or with another type, is undefined (AZURE: query, undefined)."""
    for condition in ("c.x = 3", "c.x != 3", "NOT (c.x = 3)", 'c.n = "3"', 'c.n != "3"', "c.n > null"):
        assert [] == asked(filled, f"SELECT * FROM c WHERE {condition}", partition_key="s3"), condition
    assert 5 == len(asked(filled, "SELECT * FROM c WHERE NOT IS_DEFINED(c.x)", partition_key="s3"))


def test_a_number_may_come_in_parts(client: CosmosClient, container: ContainerProxy) -> None:
    """Without a plan the client gets one sum a page, and adds them up (AZURE: query pagination)."""
    for number in range(90):
        container.create_item(document(f"{number}"))
    found = asked(container, "SELECT VALUE COUNT(1) FROM c", partition_key="garden")
    assert len(found) > 1
    assert 90 == sum(found)


def test_an_order_needs_an_index(client: CosmosClient) -> None:
    """ORDER BY wants the property indexed, several want a composite index (AZURE: index-policy)."""
    policy = {"includedPaths": [{"path": "/n/?"}], "excludedPaths": [{"path": "/*"}]}
    container = client.create_database("two").create_container(
        "two", PartitionKey("/session_id"), indexing_policy=policy
    )
    assert [] == asked(container, "SELECT * FROM c ORDER BY c.n", partition_key="s3")
    refused(400, lambda: asked(container, "SELECT * FROM c ORDER BY c.x", partition_key="s3"))
    refused(400, lambda: asked(container, "SELECT * FROM c ORDER BY c.n, c.x", partition_key="s3"))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT TOP 1 * FROM c",
        "SELECT DISTINCT c.n FROM c",
        "SELECT COUNT(1) FROM c",
        "SELECT * FROM c WHERE c.n LIKE '3'",
        "SELECT * FROM c JOIN d IN c.deep",
        "SELECT * FROM c OFFSET 1 LIMIT 1",
    ],
)
def test_the_fake_reads_its_subset_only(query: str) -> None:
    """The fake never guesses what a query means."""
    with pytest.raises(Unreadable):
        parse(query)


def test_what_the_fake_does_not_know_is_not_answered(container: ContainerProxy) -> None:
    """Other queries and operations get 501."""
    refused(501, lambda: asked(container, "SELECT TOP 1 * FROM c", partition_key="s3"))
    patch = [{"op": "set", "path": "/n", "value": 1}]
    refused(501, lambda: container.patch_item("3", "s3", patch))
    refused(501, lambda: list(container.query_items_change_feed(partition_key="s3")))


# ---------------------------------------------------------------------------------------- throttling and lost answers


def test_throttling_says_how_long_to_wait(fake: Fake, container: ContainerProxy) -> None:
    """429 comes with x-ms-retry-after-ms, and nothing was done (REST: http-status-codes-for-cosmosdb)."""
    fake.fail("create", 429, 3, retry_after=1)
    container.create_item(document("one"))
    assert 4 == fake.asked["create"]
    fake.fail("create", 429, 1000, retry_after=1)
    error = refused(429, lambda: container.create_item(document("two")))
    assert "1" == error.headers["x-ms-retry-after-ms"]
    refused(404, lambda: container.read_item("two", "garden"))


@pytest.mark.parametrize(("action", "stored"), [("drop before", False), ("drop after", True)])
def test_a_lost_answer_leaves_open_what_happened(
    fake: Fake, container: ContainerProxy, action: str, stored: bool
) -> None:
    """A connection can end before the work or behind it: the client sees the same."""
    fake.fail("batch", action)
    with pytest.raises(ServiceResponseError):
        container.execute_item_batch([("create", (document("one"),))], "garden")
    found = asked(container, "SELECT * FROM c", partition_key="garden")
    assert stored == bool(found)


def test_a_lagging_replica_serves_old_documents_until_the_session_is_known(fake: Fake) -> None:
    """Session consistency: who passes no session token may read the past (AZURE: consistency-levels)."""
    fake.store.lag = 1
    with CosmosClient(fake.url, fake.key) as writer, CosmosClient(fake.url, fake.key) as reader:
        written = writer.create_database("chat").create_container("chat", PartitionKey("/session_id"))
        read = reader.get_database_client("chat").get_container_client("chat")
        first = written.create_item(document("one", n=1))
        written.upsert_item(document("one", n=2))
        assert 2 == written.read_item("one", "garden")["n"]
        assert 1 == read.read_item("one", "garden")["n"]
        stale = {"etag": first["_etag"], "match_condition": MatchConditions.IfNotModified}
        refused(412, lambda: read.replace_item("one", document("one", n=9), **stale))
        assert 2 == read.read_item("one", "garden")["n"], "the refusal told the reader what there is"


def test_the_asynchronous_sdk_speaks_to_it_too(fake: Fake, filled: ContainerProxy) -> None:
    """The same requests come from `azure.cosmos.aio`."""

    async def everything() -> list[int]:
        async with AsyncCosmosClient(fake.url, fake.key) as client:
            container = client.get_database_client("chat").get_container_client("chat")
            await container.execute_item_batch([("create", (document("60", "s0", n=60),))], "s0")
            found = container.query_items("SELECT * FROM c ORDER BY c.n DESC", max_item_count=7)
            return [one["n"] async for one in found]

    assert list(range(60, -1, -1)) == asyncio.run(everything())


# ---------------------------------------------------------------------------------------- does it bite?


def test_a_client_that_would_lose_an_update_is_refused(container: ContainerProxy) -> None:
    """Eight clients count to 80 on condition of the etag: none of the 80 is lost, and some were refused."""
    container.create_item(document("counter", n=0))
    refusals = []

    def count() -> None:
        done = 0
        while done < 10:
            found = container.read_item("counter", "garden")
            batch = [
                ("replace", ("counter", {**found, "n": found["n"] + 1}), {"if_match_etag": found["_etag"]})
            ]
            try:
                container.execute_item_batch(batch, "garden")
                done += 1
            except CosmosBatchOperationError as error:
                refusals.append(error.status_code)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 80 == container.read_item("counter", "garden")["n"]
    assert {412} == set(refusals)


def test_a_client_without_a_condition_does_lose_one(container: ContainerProxy) -> None:
    """The counterpart: the fake does not serialise what the service would not."""
    container.create_item(document("counter", n=0))
    one, other = container.read_item("counter", "garden"), container.read_item("counter", "garden")
    for found in (one, other):
        container.replace_item("counter", {**found, "n": found["n"] + 1})
    assert 1 == container.read_item("counter", "garden")["n"]


def test_what_is_not_signed_is_not_served(fake: Fake) -> None:
    """A request without an Authorization header gets 401 (REST: http-status-codes-for-cosmosdb)."""
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{fake.url}/dbs/chat")  # noqa: S310 - it begins with http
    with error.value:
        assert 401 == error.value.code
