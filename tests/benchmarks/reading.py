"""What reading a whole session into message objects costs, and adding one in a single call."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

from psycopg import RawCursor
from sqlalchemy import make_url

from tests.benchmarks import raw_postgres, raw_sqlite, stores, turns
from tests.benchmarks.harness import compared, each, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.harness import Figure, Size

READ = {
    "sqlite": "`sqlite3` and pydantic (`raw_sqlite.read`)",
    "postgres": "psycopg and pydantic (`raw_postgres.read`)",
}
BULK = {
    "sqlite": ("`executemany` (`raw_sqlite.append`)", 2.0),
    "postgres": ("COPY (`raw_postgres.bulk`)", 3.0),
}


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in ("sqlite", "postgres"):
        with stores.migrated(kind) as url, stores.migrated(kind) as other, _raw(kind, other) as (add, read):
            yield from _both(size, kind, url, add, read)


@contextlib.contextmanager
def _raw(kind: str, url: str) -> Iterator[tuple[Callable[..., object], Callable[[str], list[Any]]]]:
    """Give the raw driver's two functions on the database *url*: add messages, and read a session."""
    if kind == "postgres":
        with raw_postgres.connected(url) as link, RawCursor(link) as cursor:
            yield (
                lambda session_id, messages: raw_postgres.bulk(cursor, session_id, messages),
                lambda session_id: raw_postgres.read(cursor, session_id),
            )
        return
    with contextlib.closing(raw_sqlite.connected(make_url(url).database or "", "FULL")) as file:
        yield (
            lambda session_id, messages: raw_sqlite.append(file, session_id, messages),
            lambda session_id: raw_sqlite.read(file, session_id),
        )


def _both(
    size: Size, kind: str, url: str, add: Callable[..., object], read: Callable[[str], list[Any]]
) -> Iterator[Figure]:
    name, batch, number = stores.NAMES[kind], turns.many(size.bulk), itertools.count()
    with stores.connected(url) as repository:
        repository.add_messages("whole", batch.messages)
        add("whole", batch.plain)
        if not repository.get_messages("whole") == read("whole") == batch.messages:
            msg = "the two sides stored different messages"
            raise AssertionError(msg)
        stores.settle(url)
        outcome = race(
            each(lambda: repository.get_messages("whole")),
            each(lambda: read("whole")),
            bursts=size.rounds,
            calls=1,
            warm=3,
        )
        yield compared(f"read {size.bulk:,} messages, {name}", READ[kind], outcome, 1.5)
        outcome = race(
            each(lambda: repository.add_messages(f"s-{next(number)}", batch.messages)),
            each(lambda: add(f"s-{next(number)}", batch.plain)),
            bursts=size.rounds,
            calls=1,
            warm=1,
        )
        against, limit = BULK[kind]
        yield compared(f"add {size.bulk:,} messages in one call, {name}", against, outcome, limit)
