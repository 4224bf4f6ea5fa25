"""What is asked of DynamoDB, and what becomes of throttling, batches left undone, pages and sizes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import chatstore
from chatstore import AIMessage, HumanMessage, deadlines
from chatstore.backends.dynamodb import items, store
from chatstore.errors import MessageTooLarge, PartialWrite, StorageError, StorageUnavailable
from tests import dynamo
from tests.stored import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.backends.dynamodb import DynamoDBRepository

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(600)]


@pytest.fixture
def repository(dynamodb_url: str) -> Iterator[DynamoDBRepository]:
    """Give a repository on a table of its own."""
    with chatstore.connect(dynamodb_url) as repository:
        yield repository  # type: ignore[misc]


@pytest.fixture
def hooks(repository: DynamoDBRepository) -> dynamo.Hooks:
    """Give its requests."""
    return dynamo.Hooks(repository)


def numbers(count: int, *, ids: bool = True) -> list[HumanMessage]:
    """Return numbered messages."""
    return [HumanMessage(str(number), id=f"m{number}" if ids else None) for number in range(1, count + 1)]


def test_an_append_is_one_read_and_one_transaction(
    repository: DynamoDBRepository, hooks: dynamo.Hooks
) -> None:
    """No id is looked up before the service refuses it, since it is known; a title alone is one plain write."""
    repository.add_messages("s", numbers(2, ids=False))
    repository.add_messages("s", numbers(2))
    assert ["GetItem", "TransactWriteItems"] * 2 == hooks.names()
    hooks.requests.clear()
    repository.add_messages("s", numbers(2))
    assert ["GetItem", "TransactWriteItems", "GetItem", "BatchGetItem", "BatchGetItem"] == hooks.names()
    hooks.requests.clear()
    repository.update_session("s", title="x")
    assert ["GetItem", "PutItem"] == hooks.names()


def test_every_read_is_consistent(repository: DynamoDBRepository, hooks: dynamo.Hooks) -> None:
    """Each read of the table asks for a strongly consistent answer; only indexes, which cannot, do not."""
    repository.add_messages("s", numbers(60))
    repository.get_messages("s", last=3)
    repository.get_message("s", "m3")
    repository.truncate("s", after=2)
    repository.fork_session("s", "t")
    repository.list_sessions()
    repository.scope(user_id="u").list_sessions()
    asked = {"GetItem": 0, "Query": 0, "BatchGetItem": 0}
    for name, request in hooks.requests:
        if name in asked and "IndexName" not in request:
            asked[name] += 1
            places = request.get("RequestItems", {"": request}).values()
            assert [True] == [place["ConsistentRead"] for place in places], name
    assert all(asked.values()), asked


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ProvisionedThroughputExceededException", 400),
        ("ThrottlingException", 400),
        ("RequestLimitExceeded", 400),
        ("TransactionInProgressException", 400),
        ("InternalServerError", 500),
        ("ServiceUnavailable", 503),
    ],
)
def test_what_passes_is_tried_again(
    repository: DynamoDBRepository, hooks: dynamo.Hooks, code: str, status: int
) -> None:
    """Throttling and faults of the service are waited out, on every request of a call, and nothing is done twice."""
    for operation in ("GetItem", "TransactWriteItems", "Query"):
        hooks.fail(operation, code, 2, status)
    repository.add_messages("s", numbers(3, ids=False))
    assert ["1", "2", "3"] == texts(repository)
    hooks.fail("TransactWriteItems", code, 1, status)
    popped = repository.pop_message("s")
    assert popped is not None
    assert ["1", "2"] == texts(repository)


@pytest.mark.parametrize(
    "reason", ["ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict"]
)
def test_a_transaction_that_was_cancelled_for_a_passing_reason(
    repository: DynamoDBRepository, hooks: dynamo.Hooks, reason: str
) -> None:
    """A cancelled transaction whose reasons are throttling or another transaction is run again."""
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "cancelled",
        "CancellationReasons": [{"Code": "None"}, {"Code": reason, "Message": "x"}],
    }
    hooks.answer("TransactWriteItems", body, body)
    repository.add_messages("s", numbers(2))
    assert ["1", "2"] == texts(repository)
    assert 3 == hooks.names().count("TransactWriteItems")


def test_throttling_that_does_not_end_is_one_error(
    repository: DynamoDBRepository, hooks: dynamo.Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the deadline the caller hears of it, with the service's own error as the cause, and nothing is stored."""
    monkeypatch.setattr(deadlines, "DEFAULT", 0.5)
    hooks.fail("TransactWriteItems", "ProvisionedThroughputExceededException", 1000)
    with pytest.raises(StorageUnavailable, match="capacity") as caught:
        repository.add_messages("s", numbers(2))
    assert "ProvisionedThroughputExceeded" in str(caught.value.__cause__)
    assert [] == texts(repository)


def test_what_a_batch_leaves_undone_is_sent_again(
    repository: DynamoDBRepository, hooks: dynamo.Hooks
) -> None:
    """UnprocessedItems and UnprocessedKeys are resubmitted until nothing is left: staging, sweeping, reading ids."""
    hooks.cut(7, 0, 3, 25, 1)
    repository.replace_messages("s", numbers(120))
    assert [str(one) for one in range(1, 121)] == texts(repository)
    hooks.cut(1, 0, 40)
    assert [(one, f"m{one}") for one in range(1, 121)] == [
        (record.position, record.message_id) for record in repository.add_messages("s", numbers(120))
    ]
    hooks.cut(2, 0, 1)
    repository.clear("s")
    assert ["S"] == [item["SK"]["S"] for item in _items(repository)]


def test_a_batch_that_is_never_finished_is_one_error(
    repository: DynamoDBRepository, hooks: dynamo.Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing of a batch is done until the deadline, the caller hears of it; the old messages are still there."""
    repository.add_messages("s", numbers(1))
    monkeypatch.setattr(deadlines, "DEFAULT", 0.3)
    hooks.cut(*[0] * 100)
    with pytest.raises(StorageUnavailable, match="undone"):
        repository.replace_messages("s", numbers(120))
    assert ["1"] == texts(repository)


def _items(repository: DynamoDBRepository) -> list[dict[str, Any]]:
    return dynamo.items(dynamo.boto(repository), repository._client.address.table)


# ------------------------------------------------------------------------------------------------ pieces


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("ids", [True, False])
def test_a_batch_that_stops_is_completed(
    repository: DynamoDBRepository,
    hooks: dynamo.Hooks,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    ids: bool,
) -> None:
    """A large batch that fails at its first, second or third transaction: what is told is stored, the rest follows."""
    monkeypatch.setattr(deadlines, "DEFAULT", 0.2)
    size, messages = store.LIMITS.messages, numbers(3 * store.LIMITS.messages, ids=ids)
    hooks.fail("TransactWriteItems", "ThrottlingException", 1000, skip=number)
    with pytest.raises(PartialWrite if number else StorageUnavailable) as caught:
        repository.add_messages("s", messages)
    hooks.calm()
    stored = getattr(caught.value, "stored", 0)
    assert number * size == stored == repository.count_messages("s")

    monkeypatch.undo()
    repository.add_messages("s", messages if ids else messages[stored:])
    assert [str(one) for one in range(1, 3 * size + 1)] == texts(repository)
    assert list(range(1, 3 * size + 1)) == [record.position for record in repository.get_records("s")]


def test_a_sweep_that_crashed_leaves_nothing_reachable_and_a_purge_takes_it(
    repository: DynamoDBRepository, hooks: dynamo.Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a process dies between the switch and the sweep, old messages are gone for everybody, and swept by a purge."""

    def die(**_: Any) -> None:
        raise KeyboardInterrupt

    repository.add_messages("s", numbers(70))
    repository.add_messages("gone", numbers(70))
    events = dynamo.boto(repository).meta.events
    events.register("before-send.dynamodb.BatchWriteItem", die)
    for call in (lambda: repository.clear("s"), lambda: repository.delete_session("gone")):
        with pytest.raises(KeyboardInterrupt):
            call()
    events.unregister("before-send.dynamodb.BatchWriteItem", die)

    assert [] == texts(repository)
    assert ["s"] == [session.session_id for session in repository.list_sessions().items]
    assert 2 * 140 + 2 == len(_items(repository))
    assert [71] == [record.position for record in repository.add_messages("s", numbers(1))]
    repository.purge()
    assert 2 * 141 + 2 == len(_items(repository)), "they may still belong to somebody who is at work"

    monkeypatch.setattr("chatstore.backends.common.documents.header.GRACE", timedelta(seconds=-5))
    repository.purge()
    assert [("s", "I"), ("s", "M"), ("s", "S")] == [
        (item["PK"]["S"], item["SK"]["S"][0]) for item in _items(repository)
    ]


# ------------------------------------------------------------------------------------------------ sizes and pages


def test_the_largest_message(repository: DynamoDBRepository) -> None:
    """A message of exactly the limit is stored; one byte more is refused before anything is sent, with both numbers."""

    def of(length: int) -> HumanMessage:
        return HumanMessage("x" * length, id="m")

    size = _size(repository, of(0))
    room = items.MAX_ITEM - size
    for length in (room - 1, room):
        repository.add_messages("s", [of(length)])
        assert [of(length)] == repository.get_messages("s")
        repository.clear("s")
    hooks = dynamo.Hooks(repository)
    for over in (1, 100_000):
        with pytest.raises(MessageTooLarge) as caught:
            repository.add_messages("s", [of(room + over)])
        assert (items.MAX_ITEM, items.MAX_ITEM + over) == (caught.value.limit, caught.value.size)
    assert [] == hooks.names()
    repository.add_messages("s", [HumanMessage("ü" * (room // 2), id="m")])


def _size(repository: DynamoDBRepository, message: HumanMessage) -> int:
    from chatstore import codec
    from chatstore.codec import Row

    draft = codec.encode(message, now=datetime.now(UTC))
    return repository._store.size("s", Row(2**63 - 1, draft))


def test_a_batch_of_large_messages_is_cut_by_bytes(
    repository: DynamoDBRepository, hooks: dynamo.Hooks
) -> None:
    """No transaction is larger than 4 MB, however few its messages; a session is read past every page of 1 MB."""
    messages = [HumanMessage(f"{number} " + "x" * 390_000) for number in range(12)]
    repository.add_messages("s", messages)
    assert 2 == hooks.names().count("TransactWriteItems")
    hooks.requests.clear()
    assert messages == repository.get_messages("s")
    assert hooks.names().count("Query") > 4
    hooks.requests.clear()
    assert messages[-7:] == repository.get_messages("s", last=7)
    assert messages[2:5] == repository.get_messages("s", after=2, limit=3)
    assert 12 == len(repository.replace_messages("s", messages))
    repository.truncate("s", after=12 + 3)
    assert messages[:3] == repository.get_messages("s")


def test_two_thousand_messages_of_ten_kilobytes(dynamodb_url: str) -> None:
    """A long session works: appended in pieces, read whole and from either end, cut, and deleted without rest.

    For each page of it the server of the tests goes through the whole session, which can take longer than a call may.
    """
    with chatstore.connect(dynamodb_url, deadline=300) as repository:
        _live_long(repository)  # type: ignore[arg-type]


def _live_long(repository: DynamoDBRepository) -> None:
    body = "x" * 10_000
    messages = [HumanMessage(f"{number} {body}", id=f"m{number}") for number in range(1, 2001)]
    for first in range(0, 2000, 490):
        repository.add_messages("s", messages[first : first + 490])

    assert messages == repository.get_messages("s")
    assert messages[-3:] == repository.get_messages("s", last=3)
    assert messages[999] == repository.get_message("s", "m1000").message
    repository.truncate("s", after=60)
    assert 60 == repository.count_messages("s")
    assert messages[:60] == repository.get_messages("s")
    assert repository.delete_session("s")
    assert [] == _items(repository)


def test_long_ids_fit_into_keys(repository: DynamoDBRepository) -> None:
    """The longest ids of the widest characters are stored, known again and told apart."""
    session, one, two = ("𐍈" * 254 + end for end in "sab")
    made = repository.add_messages(session, [HumanMessage("1", id=one), HumanMessage("2", id=two)])
    assert list(made) == list(
        repository.add_messages(session, [HumanMessage("1", id=one), HumanMessage("2", id=two)])
    )
    assert "2" == repository.get_message(session, two).message.content
    repository.create_session("t", tenant_id=one, user_id=two)
    assert ["t"] == [
        found.session_id for found in repository.scope(tenant_id=one, user_id=two).list_sessions().items
    ]


# ------------------------------------------------------------------------------------------------ what is stored


def test_numbers_come_back_as_they_went_in(repository: DynamoDBRepository) -> None:
    """Nothing is ever a Decimal, loses a digit or changes its type: payloads and metadata are JSON text."""
    values: dict[str, Any] = {
        "float": 0.1,
        "int": 10**30 + 1,
        "one": 1,
        "one point": 1.0,
        "tiny": 5e-324,
        "true": True,
    }
    repository.create_session("s", metadata=values)
    repository.add_messages(
        "s", [AIMessage("x", response_metadata=values, usage_metadata={"input_tokens": 3})]
    )

    for found in (repository.get_session("s").metadata, repository.get_messages("s")[0].response_metadata):  # type: ignore[union-attr]
        assert json.dumps(values) == json.dumps(found)
    kinds = {kind for item in _items(repository) for typed in item.values() for kind in typed}
    assert kinds <= {"S", "N", "BOOL"}


def test_expired_sessions_are_filtered_and_items_carry_the_time(
    repository: DynamoDBRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expired session looks missing at once, though the service has not swept it; its items say when it may."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    repository.create_session("s", user_id="u", expires_at=soon)
    repository.add_messages("s", numbers(2))
    swept = {item["ttl"]["N"] for item in _items(repository)}
    assert [soon.timestamp() + 3600] == pytest.approx([int(one) for one in swept], abs=1)

    monkeypatch.setattr("chatstore.repository.utcnow", lambda: soon)
    assert [] == texts(repository)
    assert [] == repository.scope(user_id="u").list_sessions().items
    assert 5 == len(_items(repository))
    repository.add_messages("s", [HumanMessage("anew")])
    assert ["anew"] == texts(repository)
    assert 3 == len(_items(repository))


def test_an_index_that_lags_shows_nothing_false(repository: DynamoDBRepository, hooks: dynamo.Hooks) -> None:
    """What an index says is checked against the session itself: owner, state and order are those of the table."""
    repository.create_session("mine", user_id="u")
    repository.create_session("moved", user_id="u")
    table, lent = repository._client.address.table, dynamo.boto(repository)
    before = next(item for item in dynamo.items(lent, table) if item["PK"]["S"] == "moved")
    repository.update_session("moved", user_id="v")
    now = next(item for item in dynamo.items(lent, table) if item["PK"]["S"] == "moved")
    # the index as it was a moment ago: the table's item keeps its new owner
    lent.put_item(TableName=table, Item={**now, "user_key": before["user_key"]})

    assert ["mine"] == [one.session_id for one in repository.list_sessions(user_id="u").items]
    assert {"mine", "moved"} == {one.session_id for one in repository.list_sessions().items}


def test_a_damaged_item_does_not_hide_the_others(repository: DynamoDBRepository) -> None:
    """A message that somebody damaged is named by its position; the error carries the others; a session says so too."""
    repository.add_messages("s", numbers(4))
    table, lent = repository._client.address.table, dynamo.boto(repository)
    found = dynamo.items(lent, table)
    second, third = (item for item in found if item["SK"]["S"][0] == "M" and item["position"]["N"] in "23")
    lent.put_item(TableName=table, Item={name: value for name, value in second.items() if name != "payload"})
    lent.put_item(TableName=table, Item={**third, "created_at": {"S": "yesterday"}})

    with pytest.raises(chatstore.errors.CorruptRecord) as caught:
        repository.get_records("s")
    assert (2, 3) == caught.value.positions
    assert [1, 4] == [record.position for record in caught.value.records]
    repository.delete_message("s", 2)
    repository.update_message("s", 3, HumanMessage("mended"))
    assert ["1", "mended", "4"] == texts(repository)
    header = next(item for item in found if item["SK"]["S"] == "S")
    lent.put_item(TableName=table, Item={**header, "parts": {"S": "?"}})
    with pytest.raises(StorageError, match="'s'"):
        repository.get_session("s")
