"""What reads cost beside the raw driver: a session, its end, a page of a user's; and adding many in a single call."""

from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import RawCursor
from sqlalchemy import insert, make_url

from chatstore.backends.sql.models import sessions
from tests.benchmarks import raw_mariadb, raw_objects, raw_postgres, raw_sqlite, stores, turns
from tests.benchmarks.harness import compared, each, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from tests.benchmarks.harness import Figure, Size

READ = {
    "sqlite": ("`sqlite3` and pydantic (`raw_sqlite.read`)", 1.0),
    "postgres": ("psycopg and pydantic (`raw_postgres.read`)", 1.0),
    "mariadb": ("PyMySQL and pydantic (`raw_mariadb.read`)", 1.1),
}
BULK = {
    "sqlite": ("`executemany` (`raw_sqlite.append`)", 1.5),
    "postgres": ("COPY (`raw_postgres.bulk`)", 1.8),
    "mariadb": ("`executemany` (`raw_mariadb.append`)", 1.8),
}


#: The last messages, and a page of one user's sessions, of whom each has a hundred.
LAST, PAGE, OWN, USER = 20, 50, 100, "user-7"
#: How many times as long as the driver, and the payload as text.
END = {"sqlite": (2.5, "payload"), "postgres": (2.0, "payload::text"), "mariadb": (2.0, "payload")}
LISTED = {"sqlite": 5.0, "postgres": 4.0, "mariadb": 4.0}
RAW_END = """
    SELECT type, content, {payload}, message_id, id_generated FROM chatstore_messages
    WHERE session_id = 'long' ORDER BY position DESC LIMIT {size}"""
RAW_PAGE = """
    SELECT session_id, tenant_id, user_id, title, metadata, message_count, last_position, revision, created_at,
    updated_at, archived_at, expires_at FROM chatstore_sessions
    WHERE user_id = '{user}' AND archived_at IS NULL AND (expires_at IS NULL OR expires_at > CURRENT_TIMESTAMP)
    ORDER BY updated_at DESC, session_id DESC LIMIT {size}"""


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in stores.SQL:
        yield from _parts(size, kind)
    for kind in stores.SQL:
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
    if kind == "mariadb":
        with contextlib.closing(raw_mariadb.connected(url)) as connection:
            yield (
                lambda session_id, messages: raw_mariadb.append(connection, session_id, messages),
                lambda session_id: raw_mariadb.read(connection, session_id),
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
        against, limit = READ[kind]
        yield compared(f"read {size.bulk:,} messages, {name}", against, outcome, limit)
        outcome = race(
            each(lambda: repository.add_messages(f"s-{next(number)}", batch.messages)),
            each(lambda: add(f"s-{next(number)}", batch.plain)),
            bursts=size.rounds,
            calls=1,
            warm=1,
        )
        against, limit = BULK[kind]
        yield compared(f"add {size.bulk:,} messages in one call, {name}", against, outcome, limit)


def _parts(size: Size, kind: str) -> Iterator[Figure]:
    """Measure the end of a session, and a page of one user's sessions among as many as a long session has messages."""
    name, (limit, payload) = stores.NAMES[kind], END[kind]
    with stores.migrated(kind) as url, stores.connected(url) as repository:
        stores.fill(repository, "long", 1_000)
        engine = stores.writing(url)
        with engine.begin() as connection:
            _make_sessions(connection, size.long)
        stores.settle(url)
        with engine.connect() as connection:
            cursor = connection.connection.cursor()

            def ask(sql: str) -> list[Any]:
                cursor.execute(sql)
                return list(cursor.fetchall())

            end = RAW_END.format(payload=payload, size=LAST)
            if raw_objects.messages(ask(end)[::-1]) != repository.get_messages("long", last=LAST):
                msg = "the two sides read different messages"
                raise AssertionError(msg)
            outcome = race(
                each(lambda: repository.get_messages("long", last=LAST)),
                each(lambda: raw_objects.messages(ask(end)[::-1])),
                bursts=size.bursts,
                calls=size.calls,
                warm=20,
            )
            yield compared(f"last {LAST} of a session, {name}", "the driver and pydantic", outcome, limit)
            page = RAW_PAGE.format(user=USER, size=PAGE)
            listed = [one.session_id for one in repository.list_sessions(user_id=USER, limit=PAGE).items]
            if len(listed) != PAGE or listed != [line[0] for line in ask(page)]:
                msg = "the two sides list different sessions"
                raise AssertionError(msg)
            outcome = race(
                each(lambda: repository.list_sessions(user_id=USER, limit=PAGE)),
                each(lambda: ask(page)),
                bursts=size.bursts,
                calls=size.calls,
                warm=20,
            )
            work = f"list {PAGE} of a user's among {size.long:,} sessions, {name}"
            yield compared(work, "the driver's rows", outcome, LISTED[kind])
        engine.dispose()


def _make_sessions(connection: Connection, count: int) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    lines = (
        {
            "session_id": f"made-{number}",
            "user_id": f"user-{number // OWN}",
            "title": f"chat {number}",
            "metadata": {},
            "message_count": 0,
            "last_position": 0,
            "revision": number + 1,
            "created_at": moment,
            "updated_at": moment + timedelta(seconds=number * 7 % 1_000),
        }
        for number in range(count)
    )
    while part := list(itertools.islice(lines, 5_000)):
        connection.execute(insert(sessions), part)
