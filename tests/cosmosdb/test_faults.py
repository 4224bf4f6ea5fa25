"""What goes wrong on the way: throttling, lost answers, errors, a container that is not there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey

import chatstore
from chatstore import HumanMessage
from chatstore.errors import (
    ChatstoreError,
    Invalid,
    OutcomeUnknown,
    PartialWrite,
    SchemaMissing,
    SchemaOutdated,
    StorageError,
    StorageUnavailable,
)
from tests.cosmos import base_of, leaking_sdk
from tests.stored import texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatstore import Repository
    from tests.cosmos_fake import Fake


def said(number: int, *, named: bool = True) -> list[HumanMessage]:
    """Return that many messages, with ids if *named*."""
    return [HumanMessage(f"{one}", id=f"m{one}" if named else None) for one in range(number)]


# ---------------------------------------------------------------------------------------- throttling


@pytest.mark.parametrize("operation", ["read", "query", "batch"])
def test_throttling_is_waited_for(fake: Fake, store: Repository, operation: str) -> None:
    """Nine answers 429 in a row cost time and nothing else."""
    store.add_messages("garden", said(3))
    fake.fail(operation, 429, 9, retry_after=5)
    store.add_messages("garden", [HumanMessage("late")])
    assert ["0", "1", "2", "late"] == texts(store, "garden")
    assert [] == fake.faults


def test_throttling_ends_with_the_deadline(fake: Fake, store: Repository, impatient: None) -> None:
    """Where the service never has enough, one clear error comes in time, and nothing is stored."""
    store.add_messages("garden", said(1))
    fake.fail("batch", 429, 10_000, retry_after=100)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="request units") as error:
        store.add_messages("garden", [HumanMessage("never")])
    assert time.monotonic() - began < 6
    assert 429 == getattr(error.value.__cause__, "status_code", None)
    fake.faults.clear()
    assert ["0"] == texts(store, "garden")


def test_a_storm_over_all_requests(fake: Fake, store: Repository) -> None:
    """Every third request is throttled, whatever it is: all is stored once, in order."""
    for number in range(40):
        fake.fail("any", 429, 1, retry_after=1, skip=3 * number)
    for number in range(20):
        store.add_messages("garden", [HumanMessage(f"{number}")])
    assert [f"{number}" for number in range(20)] == texts(store, "garden")


# ---------------------------------------------------------------------------------------- lost answers


@pytest.mark.parametrize("action", ["drop before", "drop after", "503 after", 500, 503, 408])
@pytest.mark.parametrize("named", [True, False])
def test_an_append_is_stored_once(fake: Fake, store: Repository, action: str | int, named: bool) -> None:
    """Whatever becomes of the answer, the append is neither lost nor doubled."""
    store.add_messages("garden", said(2, named=named))
    for _ in range(3):
        fake.fail("batch", action)
        store.add_messages("garden", [HumanMessage("x", id="x" if named else None)])
        fake.faults.clear()
    assert ["0", "1", "x", "x", "x"][: 3 if named else 5] == texts(store, "garden")
    session = store.get_session("garden")
    assert (3 if named else 5) == session.message_count == session.last_position


@pytest.mark.parametrize("action", ["drop before", "drop after", "503 after", 503])
def test_an_asynchronous_append_is_stored_once(fake: Fake, url: str, action: str | int) -> None:
    """The same with ``await``, where the transport cannot tell a broken connection from one that never was."""

    async def appended() -> list[str]:
        async with chatstore.connect_async(url) as store:
            for number in range(3):
                fake.fail("batch", action)
                await store.add_messages("garden", [HumanMessage(f"{number}")])
                fake.faults.clear()
            return [message.text for message in await store.get_messages("garden")]

    assert ["0", "1", "2"] == asyncio.run(appended())


CHANGES: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "pop": (lambda store: store.pop_message("garden"), ["0", "1"]),
    "delete": (lambda store: store.delete_message("garden", "m0"), ["1", "2"]),
    "edit": (lambda store: store.update_message("garden", 2, HumanMessage("new")), ["0", "new", "2"]),
    "replace": (lambda store: store.replace_messages("garden", [HumanMessage("new")]), ["new"]),
    "truncate": (lambda store: store.truncate("garden", after=1), ["0"]),
    "clear": (lambda store: store.clear("garden"), []),
    "update": (lambda store: store.update_session("garden", title="new"), ["0", "1", "2"]),
    "delete session": (lambda store: store.delete_session("garden"), []),
    "fork": (lambda store: store.fork_session("garden", "copy"), ["0", "1", "2"]),
    "create": (lambda store: store.create_session("other"), ["0", "1", "2"]),
}


@pytest.mark.parametrize("action", ["drop before", "drop after", "503 after"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_made_once(fake: Fake, store: Repository, action: str, change: str) -> None:
    """Nobody else writes, so the header tells whether a change whose answer was lost was made."""
    store.add_messages("garden", said(3))
    before = store.get_session("garden").revision
    make, left = CHANGES[change]
    fake.fail("batch", action)
    make(store)
    assert left == texts(store, "garden")
    if change not in {"fork", "create", "delete session"}:
        assert before + 1 == store.get_session("garden").revision


@pytest.mark.parametrize("action", ["drop after", "503 after"])
@pytest.mark.parametrize("change", ["pop", "delete", "edit", "replace", "update"])
def test_a_change_that_another_writer_hides_is_unknown(
    fake: Fake, url: str, store: Repository, action: str, change: str
) -> None:
    """If another writer was faster than the second look, nobody can tell: `OutcomeUnknown`, and no second attempt."""
    store.add_messages("garden", said(3))
    fake.fail("batch", action)
    with chatstore.connect(url) as other:

        def interfere() -> None:
            fake.fail("batch", lambda: None)  # not the fault of the other
            other.add_messages("garden", [HumanMessage("between")])

        if action == "drop after":
            fake.fail("read", interfere, skip=1)
        else:  # the SDK sends the batch again by itself
            fake.fail("batch", interfere)
        with pytest.raises(OutcomeUnknown, match="read before repeating"):
            CHANGES[change][0](store)
    assert [*CHANGES[change][1], "between"] == texts(store, "garden")


# ---------------------------------------------------------------------------------------- errors are errors


@pytest.mark.parametrize("operation", ["read", "query"])
@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
def test_an_error_while_reading_is_not_an_empty_session(
    fake: Fake, store: Repository, impatient: None, operation: str, status: int
) -> None:
    """A session that cannot be read is never reported, or treated, as one without messages."""
    store.add_messages("garden", said(3))
    fake.fail(operation, status, 10_000)
    with pytest.raises(StorageError):
        store.get_messages("garden")
    if operation == "read":
        with pytest.raises(StorageError):
            store.add_messages("garden", [HumanMessage("over it")])
    fake.faults.clear()
    assert ["0", "1", "2"] == texts(store, "garden")


def test_a_wrong_key_is_one_clear_error(fake: Fake, container: ContainerProxy) -> None:
    """It names the key's place in the world, never the key."""
    url = base_of(fake).replace(":" + base_of(fake).split(":")[2].split("@")[0], ":d3Jvbmc%3D")
    with (
        leaking_sdk(),
        chatstore.connect(f"{url}/chat/chat") as store,
        pytest.raises(StorageError, match="refuses the key") as error,
    ):
        store.get_messages("garden")
    assert "d3Jvbmc" not in f"{error.value!r} {error.value.__cause__!r} {store!r} {store._lease!r}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["chat/other", "other/chat"])
def test_a_missing_container_names_the_command(fake: Fake, container: ContainerProxy, path: str) -> None:
    """`SchemaMissing`, also with ``await``."""
    with (
        chatstore.connect(f"{base_of(fake)}/{path}") as store,
        pytest.raises(SchemaMissing, match="chatstore upgrade"),
    ):
        store.add_messages("garden", said(1))

    async def read() -> None:
        async with chatstore.connect_async(f"{base_of(fake)}/{path}") as store:
            await store.get_messages("garden")

    with pytest.raises(SchemaMissing, match="chatstore upgrade"):
        asyncio.run(read())


def test_a_container_that_goes_away_is_missed(client: CosmosClient, store: Repository) -> None:
    """A container that is deleted under way is missing, not empty."""
    store.add_messages("garden", said(1))
    client.get_database_client("chat").delete_container("chat")
    with pytest.raises(SchemaMissing):
        store.get_messages("garden")
    with pytest.raises(SchemaMissing):
        store.add_messages("garden", said(2))


def test_a_container_of_somebody_else_is_left_alone(fake: Fake, client: CosmosClient) -> None:
    """A container with another partition key is refused before anything is written."""
    client.create_database("chat").create_container("theirs", PartitionKey("/user_id"))
    with (
        chatstore.connect(f"{base_of(fake)}/chat/theirs") as store,
        pytest.raises(SchemaOutdated, match="/user_id"),
    ):
        store.add_messages("garden", said(1))
    assert 0 == fake.asked["batch"]


def test_an_account_that_comes_back_is_asked_again(fake: Fake, url: str) -> None:
    """The first request of an asynchronous client may fail, and be waited for by several: the next one begins anew."""

    async def read() -> list[int]:
        async with chatstore.connect_async(url) as store:
            fake.fail("account", "drop before", 2)
            both = await asyncio.gather(store.count_messages("a"), store.count_messages("b"))
            return [*both, await store.count_messages("c")]

    assert [0, 0, 0] == asyncio.run(read())


def test_nothing_listens(container: ContainerProxy) -> None:
    """An account that does not answer is one error after a few attempts."""
    began = time.monotonic()
    with (
        leaking_sdk(),
        chatstore.connect("cosmosdb+http://:a2V5@127.0.0.1:9/chat/chat") as store,
        pytest.raises(StorageUnavailable, match="does not answer"),
    ):
        store.get_messages("garden")

    async def read() -> None:
        async with chatstore.connect_async("cosmosdb+http://:a2V5@127.0.0.1:9/chat/chat") as store:
            await store.get_messages("garden")

    with pytest.raises(StorageUnavailable, match="does not answer"):
        asyncio.run(read())
    assert time.monotonic() - began < 15


# ---------------------------------------------------------------------------------------- more than one batch takes


@pytest.mark.parametrize("skip", [1, 2])
def test_a_large_append_goes_on_where_it_stopped(
    fake: Fake, store: Repository, impatient: None, skip: int
) -> None:
    """250 messages take three batches; what is stored when one fails is said, and the same call completes it."""
    messages = said(250)
    fake.fail("batch", 500, 10_000, skip=skip)
    with pytest.raises(PartialWrite) as error:
        store.add_messages("garden", messages)
    fake.faults.clear()
    assert 99 * skip == error.value.stored == store.count_messages("garden")
    assert [message.text for message in messages[: 99 * skip]] == texts(store, "garden")
    records = store.add_messages("garden", messages)
    assert list(range(1, 251)) == [record.position for record in records]
    assert [message.text for message in messages] == texts(store, "garden")


def test_a_large_append_that_fails_at_once_is_not_partial(
    fake: Fake, store: Repository, impatient: None
) -> None:
    """Nothing is stored, so the error is the plain one."""
    fake.fail("batch", 500, 10_000)
    with pytest.raises(ChatstoreError) as error:
        store.add_messages("garden", said(250))
    assert not isinstance(error.value, PartialWrite)
    fake.faults.clear()
    assert [] == texts(store, "garden")


def test_bad_input_sends_nothing(fake: Fake, store: Repository) -> None:
    """What is refused is refused before a request."""
    with pytest.raises(Invalid):
        store.add_messages("a\nb", said(1))
    assert not fake.asked.keys() & {"read container", "read", "query", "batch"}


def test_threads_that_meet_in_the_sdk_lose_and_double_nothing(
    store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK may fail over another thread's headers, before or after it has written: the call succeeds, once."""
    met: list[str] = []

    def meets(name: str) -> None:
        call = getattr(ContainerProxy, name)

        def once(self: ContainerProxy, *args: Any, **options: Any) -> Any:
            done = call(self, *args, **options)
            if name not in met:
                met.append(name)
                raise RuntimeError("OrderedDict mutated during iteration")
            return done

        monkeypatch.setattr(ContainerProxy, name, once)

    meets("execute_item_batch")
    meets("query_items")
    store.add_messages("s", [HumanMessage("one"), HumanMessage("two")])
    assert ["one", "two"] == [message.content for message in store.get_messages("s")]
    assert ["execute_item_batch", "query_items"] == met
