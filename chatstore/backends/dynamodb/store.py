"""The steps of `chatstore.backends.common.documents`, as requests to DynamoDB.

This module knows requests, pages and batches; it refuses to know what an operation of the contract is. Reads of the
table are strongly consistent. An index never is, so it only says which sessions to look at; those are read from the
table. What the service leaves undone of a batch is sent again, with pauses, until the deadline.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from chatstore import deadlines
from chatstore.backends.common.documents import steps
from chatstore.backends.common.documents.header import END
from chatstore.backends.common.documents.serial import parse_header, parse_row
from chatstore.backends.dynamodb import items
from chatstore.backends.dynamodb.backend import BACKEND
from chatstore.driving import Failed, Patience, Pause
from chatstore.errors import StorageUnavailable
from chatstore.ids import new_id
from chatstore.messages import Capabilities, Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from chatstore.backends.common.documents.header import Header
    from chatstore.backends.dynamodb.client import TableClient
    from chatstore.backends.dynamodb.items import Item
    from chatstore.codec import Row

#: What the service takes: items of a transaction, writes and reads of a batch. A message is two items.
TRANSACTION, WRITES, READS = 100, 25, 100
#: Sessions of one page of a list.
PAGE = 60
#: 4 MB a transaction, without the largest header and the ids of the messages.
COMMIT_BYTES: Final = 4 * 1024 * 1024 - items.MAX_ITEM - 50 * 4096
LIMITS: Final = steps.Limits(
    messages=(TRANSACTION - 1) // 2, size=COMMIT_BYTES, message=items.MAX_ITEM, header=items.MAX_ITEM
)
CAPABILITIES: Final = Capabilities(
    denied=BACKEND.denied,
    atomic_batch=LIMITS.messages,
    notes=(
        f"up to {LIMITS.messages} messages or {COMMIT_BYTES // 2**20} MB of one call are atomic, more go in pieces",
        "lists find sessions by an index that follows within moments; what they show is read consistently",
        "a list without user and tenant reads the whole index; usage reads each message it counts",
    ),
)
#: By scheme of the index: its name and its key.
INDEXES: Final = {"user": ("by_user", items.USER_KEY), "tenant": ("by_tenant", items.TENANT_KEY)}


class DynamoDBStore:
    """One table."""

    limits = LIMITS
    capabilities = CAPABILITIES

    def __init__(self, client: TableClient) -> None:
        """Use *client* for its table."""
        self.client = client
        self.table = client.address.table
        self._doers: Mapping[type, Callable[[Any], Any]] = {
            steps.Look: self.look,
            steps.Read: self.read,
            steps.Count: self.count,
            steps.Known: self.known,
            steps.Commit: self.commit,
            steps.Stage: self.stage,
            steps.Sweep: self.sweep,
            steps.Listing: self.listing,
            Pause: lambda step: time.sleep(step.seconds),
        }

    def carry_out(self, step: Any) -> Any:
        """Do *step*, as its class promises."""
        return self._doers[type(step)](step)

    def size(self, session_id: str, row: Row) -> int:
        """Return the bytes of a message's item."""
        return items.size(items.message_item(session_id, new_id(), row, None)) + _TTL_BYTES

    def header_size(self, session_id: str, header: Header) -> int:
        """Return the bytes of a session's item."""
        return items.size(items.header_item(session_id, header))

    def durability(self) -> Durability:
        """Say what DynamoDB says of itself."""
        return Durability(
            "machine", "DynamoDB acknowledges a write when it is on disks in two or more zones of the region"
        )

    # ---- reading

    def look(self, step: steps.Look) -> Header | None:
        """Read the item of a session."""
        found = self.client.call(
            "get_item",
            TableName=self.table,
            Key=items.key(step.session_id, items.SESSION),
            ConsistentRead=True,
        )
        return parse_header(items.document(found["Item"])) if "Item" in found else None

    def read(self, step: steps.Read) -> list[Row]:
        """Read messages, page by page."""
        rows: list[Row] = []
        asked = self._messages(step) | {"ScanIndexForward": not step.newest}
        if step.limit is not None:
            asked["Limit"] = step.limit
        for page in self._pages("query", asked):
            rows += map(_row, page["Items"])
            if step.limit is not None and len(rows) >= step.limit:
                return rows[: step.limit]
        return rows

    def count(self, step: steps.Count) -> int:
        """Count messages, page by page."""
        asked = self._messages(step) | {"Select": "COUNT"}
        return sum(page["Count"] for page in self._pages("query", asked))

    def known(self, step: steps.Known) -> list[tuple[str, Row]]:
        """Read the ids, then the messages at their positions."""
        wanted = [
            items.key(step.session_id, items.id_key(generation, name))
            for generation in step.generations
            for name in step.message_ids
        ]
        places = [
            items.message_key(items.generation_of(found["SK"]["S"]), int(found["position"]["N"]))
            for found in self._got(wanted)
        ]
        rows = self._got([items.key(step.session_id, place) for place in places])
        return [(items.generation_of(found["SK"]["S"]), _row(found)) for found in rows]

    def listing(self, step: steps.Listing) -> steps.Listed:
        """Read a page of an index, then the sessions it names."""
        way, value = ("user", step.user_id) if step.user_id is not None else ("tenant", step.tenant_id)
        index, name = INDEXES["user" if value is None else way]
        asked: dict[str, Any] = {"TableName": self.table, "IndexName": index, "Limit": PAGE}
        if step.token is not None:
            asked["ExclusiveStartKey"] = step.token
        if value is not None:
            asked |= _owned(name, f"{way[0]}#{value}", step.until)
        page = self.client.call("scan" if value is None else "query", **asked)
        found = self._got([items.key(one["PK"]["S"], items.SESSION) for one in page["Items"]])
        reached = None
        if value is not None and page["Items"]:
            reached = items.moment_of(page["Items"][-1][items.TOUCHED]["S"])
        headers = [(one["PK"]["S"], parse_header(items.document(one))) for one in found]
        return steps.Listed(headers, page.get("LastEvaluatedKey"), reached)

    # ---- writing

    def commit(self, step: steps.Commit) -> Header | None:
        """Write a header on condition of the one before, with the rows that change; alone, it needs no transaction."""
        header = self._header_write(step)
        writes = list(self._row_writes(step))
        try:
            if writes:
                token = step.after.token if step.after else new_id()
                asked: dict[str, Any] = {"TransactItems": [header, *writes], "ClientRequestToken": token}
                self.client.call("transact_write_items", committing=True, **asked)
            else:
                ((kind, asked),) = header.items()
                self.client.call(f"{kind.lower()}_item", committing=True, **asked)
        except steps.Lost as lost:
            raise _lost(lost.__cause__) from lost.__cause__
        return step.after

    def _header_write(self, step: steps.Commit) -> dict[str, dict[str, Any]]:
        asked: dict[str, Any] = {"TableName": self.table, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if step.before is None:
            asked |= {
                "ConditionExpression": "attribute_not_exists(#key)",
                "ExpressionAttributeNames": {"#key": "PK"},
            }
        else:
            asked |= {
                "ConditionExpression": "#token = :token",
                "ExpressionAttributeNames": {"#token": "token"},
                "ExpressionAttributeValues": {":token": {"S": step.before.token}},
            }
        if step.after is None:
            return {"Delete": asked | {"Key": items.key(step.session_id, items.SESSION)}}
        return {"Put": asked | {"Item": items.header_item(step.session_id, step.after)}}

    def _row_writes(self, step: steps.Commit) -> Iterator[dict[str, dict[str, Any]]]:
        name = step.session_id
        sweep_at = step.after.sweep_at if step.after else None
        new = {
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": "PK"},
        }
        for row in step.added:
            generation = step.after.open.generation if step.after else ""
            for make in (items.message_item, items.id_item):
                yield {"Put": {"TableName": self.table, "Item": make(name, generation, row, sweep_at), **new}}
        for generation, row in step.put:
            yield {
                "Put": {"TableName": self.table, "Item": items.message_item(name, generation, row, sweep_at)}
            }
        for generation, row in step.removed:
            for sort_key in _sort_keys(generation, row):
                yield {"Delete": {"TableName": self.table, "Key": items.key(name, sort_key)}}

    def stage(self, step: steps.Stage) -> None:
        """Write rows in batches."""
        self._batches(
            {"PutRequest": {"Item": make(step.session_id, step.generation, row, step.sweep_at)}}
            for row in step.rows
            for make in (items.message_item, items.id_item)
        )

    def sweep(self, step: steps.Sweep) -> None:
        """Delete ids, then messages, in batches; both are looked for, since a batch may stop between them."""
        prefix = items.id_prefix(step.generation)
        ids = {
            **self._keys("#pk = :pk AND begins_with(#sk, :prefix)", ":prefix", prefix, step.session_id),
            "FilterExpression": "#position > :above",
        }
        ids["ExpressionAttributeNames"]["#position"] = "position"
        ids["ExpressionAttributeValues"][":above"] = {"N": str(step.above)}
        above = steps.Count(step.session_id, step.generation, step.above, END)
        for asked in (ids, self._messages(above)):
            asked["ProjectionExpression"] = "#pk, #sk"
            for page in self._pages("query", asked):
                self._batches({"DeleteRequest": {"Key": found}} for found in page["Items"])

    # ---- requests

    def _messages(self, step: steps.Read | steps.Count) -> dict[str, Any]:
        first = items.message_key(step.generation, step.after + 1)
        asked = self._keys("#pk = :pk AND #sk BETWEEN :first AND :last", ":first", first, step.session_id)
        asked["ExpressionAttributeValues"][":last"] = {"S": items.message_key(step.generation, step.last)}
        return asked

    def _keys(self, condition: str, name: str, value: str, session_id: str) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": {"#pk": "PK", "#sk": "SK"},
            "ExpressionAttributeValues": {":pk": {"S": session_id}, name: {"S": value}},
        }

    def _pages(self, name: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield pages to the end: a page of the service ends at 1 MB, whatever was asked for."""
        while True:
            page = self.client.call(name, **asked)
            yield page
            if not page.get("LastEvaluatedKey"):
                return
            asked = {**asked, "ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _got(self, keys: Sequence[Item]) -> list[Item]:
        """Read items by their keys, in any order; those that are missing are left out."""
        found: list[Item] = []
        for first in range(0, len(keys), READS):
            wanted: list[Item] = list(keys[first : first + READS])
            patience = Patience()
            while wanted:
                asked = {self.table: {"Keys": wanted, "ConsistentRead": True}}
                answer = self.client.call("batch_get_item", RequestItems=asked)
                some = answer.get("Responses", {}).get(self.table, [])
                found += some
                wanted = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
                patience = self._again(wanted, patience, progress=bool(some))
        return found

    def _batches(self, writes: Iterable[dict[str, Any]]) -> None:
        """Send *writes* in batches, whatever the service leaves undone again."""
        waiting, patience = list(writes), Patience()
        while waiting:
            batch, waiting = waiting[:WRITES], waiting[WRITES:]
            answer = self.client.call("batch_write_item", RequestItems={self.table: batch})
            undone = answer.get("UnprocessedItems", {}).get(self.table, [])
            patience = self._again(undone, patience, progress=len(undone) < len(batch))
            waiting += undone

    @staticmethod
    def _again(undone: Sequence[Any], patience: Patience, *, progress: bool) -> Patience:
        """Wait before what is *undone* is sent again; patience begins anew where there was *progress*."""
        if progress:
            patience = Patience()
            deadlines.renew()
        if undone:
            told = StorageUnavailable(
                "DynamoDB left part of a batch undone all the time: repeat the call later, or give the table "
                "more capacity"
            )
            time.sleep(patience.after(Failed("busy", told, None)).seconds)
        return patience


_TTL_BYTES = items.size({items.TTL: {"N": "0" * 12}})


def _lost(cause: Any) -> steps.Lost:
    """Return what the service says of a lost race: the header that is there, and whether an id was in the way."""
    first, *others = cause.response.get("CancellationReasons") or [cause.response]
    # Behind the header come pairs of a message and its id. A position is in the way in every race; only an id says that
    # the message may be known, and to look for it each time would make this writer slower than those who win.
    taken = any(one.get("Code") == "ConditionalCheckFailed" for one in others[1::2])
    found = first.get("Item")
    return steps.Lost(parse_header(items.document(found)) if found else None, taken=taken)


def _owned(name: str, value: str, until: datetime | None) -> dict[str, Any]:
    """Return how an index is asked for an owner's sessions, newest first."""
    asked: dict[str, Any] = {
        "KeyConditionExpression": "#owner = :owner",
        "ExpressionAttributeNames": {"#owner": name},
        "ExpressionAttributeValues": {":owner": {"S": value}},
        "ScanIndexForward": False,
    }
    if until is not None:
        asked["KeyConditionExpression"] += " AND #touched <= :until"
        asked["ExpressionAttributeNames"]["#touched"] = items.TOUCHED
        asked["ExpressionAttributeValues"][":until"] = {"S": items.touched(until)}
    return asked


def _sort_keys(generation: str, row: Row) -> tuple[str, str]:
    return items.message_key(generation, row.position), items.id_key(generation, row.draft.message_id)


def _row(item: Item) -> Row:
    found = items.document(item)
    return parse_row({**found, "position": items.position_of(found["SK"])})
