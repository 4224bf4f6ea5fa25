"""How the fake answers queries: who may answer, in what order, in which pages.

Knows what the gateway answers itself, what it leaves to the SDK (with a plan), how pages are cut, and what a
continuation token holds. Knows the language only by `sql`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.cosmos_fake.sql import Query, Unreadable, parse
from tests.cosmos_fake.store import RANGES, Container, Refused, Store, compact, range_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PAGE: Final = 4 * 1024 * 1024
DEFAULT_COUNT: Final = 100
#: Documents that one answer counts; the client adds the numbers up.
COUNTED: Final = 40
NOT_SERVABLE: Final = 1004


class Asked(NamedTuple):
    """A query as it came: its text and parameters, and the headers that say where it looks."""

    text: str
    parameters: Mapping[str, Any]
    key: str | None
    range_id: str | None
    cross: bool
    most: int
    continuation: str | None
    seen: Mapping[str, int]

    def digest(self) -> str:
        """Name the query, so that its tokens are no use to another one."""
        about = json.dumps([self.text, dict(self.parameters), self.key, self.range_id], sort_keys=True)
        return hashlib.sha256(about.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=256)
def read(text: str) -> Query:
    """Parse *text*; 501 for what the fake does not know."""
    try:
        return parse(text)
    except Unreadable as fault:
        raise Refused(501, f"The fake does not know this query: {fault}") from fault


def answer(store: Store, container: Container, asked: Asked) -> tuple[list[Any], str | None]:
    """Return one page, and the token of the next one (None at the end)."""
    query = read(asked.text)
    places = _places(query, asked)
    _check_order(query, container)
    place, after = _resumed(asked, places)
    at = store.snapshot(container, place, asked.seen.get(place))
    found = [
        (query.key(document), document["_rid"], document)
        for document in store.documents(container, place, asked.key, at)
        if query.takes(document, asked.parameters)
    ]
    found.sort(key=lambda one: one[:2])
    if after is not None:
        last = (query.key(after), after["_rid"])
        found = [one for one in found if last < one[:2]]
    page = _cut(
        [query.row(one[2], asked.parameters) for one in found], COUNTED if query.counts else asked.most
    )
    rows = [len(page)] if query.counts else page
    if len(page) < len(found):
        return rows, _token(asked, place, found[len(page) - 1][2], query)
    following = places.index(place) + 1
    if following < len(places):  # the gateway goes on with the next partition, and such a page may be empty
        return rows, _token(asked, places[following], None, query)
    return rows, None


def plan(text: str) -> dict[str, Any]:
    """Return how the SDK has to ask each partition, and how to merge what they answer."""
    query = read(text)
    alias, source = query.alias, query.source
    if not query.order or query.counts or source["select"] != "*":
        raise Refused(501, "The fake plans queries that select everything, in an order.")
    items = ", ".join(f'{{"item": {".".join((alias, *path))}}}' for path, _ in query.order)
    where = f"({source['where']}) AND " if "where" in source else ""
    rewritten = (
        f"SELECT {alias}._rid, [{items}] AS orderByItems, {alias} AS payload FROM {alias} "
        f"WHERE ({where}({{documentdb-formattableorderbyquery-filter}})) ORDER BY {source['order']}"
    )
    info = {
        "distinctType": "None",
        "top": None,
        "offset": None,
        "limit": None,
        "orderBy": ["Descending" if down else "Ascending" for _, down in query.order],
        "orderByExpressions": [".".join((alias, *path)) for path, _ in query.order],
        "groupByExpressions": [],
        "aggregates": [],
        "rewrittenQuery": rewritten,
        "hasSelectValue": False,
        "hasNonStreamingOrderBy": False,
    }
    everywhere = {"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}
    return {"partitionedQueryExecutionInfoVersion": 2, "queryInfo": info, "queryRanges": [everywhere]}


def _places(query: Query, asked: Asked) -> list[str]:
    """Return the physical partitions a query goes through; refuse what the gateway leaves to the SDK."""
    if asked.key is not None:
        return [range_of(asked.key)]
    if asked.range_id is not None:
        return [asked.range_id]
    if not asked.cross:
        raise Refused(400, "Cross partition query is required but disabled.")
    if query.order or query.counts:
        message = "The provided cross partition query can not be directly served by the gateway."
        raise Refused(400, message, NOT_SERVABLE)
    return [name for name, _, _ in RANGES]


def _check_order(query: Query, container: Container) -> None:
    """Refuse an order that no index of the container can serve."""
    policy = container.properties["indexingPolicy"]
    paths = ["/" + "/".join(path) for path, _ in query.order]
    if len(paths) > 1:
        order = [
            (path, "descending" if down else "ascending")
            for path, (_, down) in zip(paths, query.order, strict=True)
        ]
        opposite = [(path, "ascending" if way == "descending" else "descending") for path, way in order]
        composites = [
            [(one["path"], one.get("order", "ascending")) for one in index]
            for index in policy.get("compositeIndexes", [])
        ]
        if order not in composites and opposite not in composites:
            raise Refused(400, "The order by query does not have a corresponding composite index.")
    elif paths:
        included = {one["path"] for one in policy.get("includedPaths", [])}
        if not included & {"/*", f"{paths[0]}/?", f"{paths[0]}/*"}:
            raise Refused(400, "The index path corresponding to the specified order-by item is excluded.")


def _cut(rows: list[Any], count: int) -> list[Any]:
    """Return as many *rows* as one answer holds: by number, and by size."""
    page: list[Any] = []
    size = 0
    for row in rows[:count]:
        size += len(compact(row))
        if page and size > MAX_PAGE:
            break
        page.append(row)
    return page


def _token(asked: Asked, place: str, last: dict[str, Any] | None, query: Query) -> str:
    """Return where to go on: the partition, and of the last document what it was sorted by."""
    kept: dict[str, Any] = {"_rid": last["_rid"]} if last else {}
    for path, _ in query.order if last else ():
        source, target = last, kept
        for name in path[:-1]:
            source, target = (source or {}).get(name), target.setdefault(name, {})
        if source and path[-1] in source:
            target[path[-1]] = source[path[-1]]
    text = json.dumps({"of": asked.digest(), "place": place, "last": kept or None})
    return base64.b64encode(text.encode()).decode()


def _resumed(asked: Asked, places: list[str]) -> tuple[str, dict[str, Any] | None]:
    """Return where the page begins: the partition, and the document behind which."""
    if asked.continuation is None:
        return places[0], None
    try:
        token = json.loads(base64.b64decode(asked.continuation, validate=True))
        if token["of"] != asked.digest() or token["place"] not in places:
            raise KeyError(token["of"])
    except (binascii.Error, ValueError, KeyError, TypeError) as fault:
        raise Refused(400, "Invalid Continuation Token") from fault
    return token["place"], token["last"]
