"""What an append of a turn costs: against the raw driver, and because of the search index."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from psycopg import RawCursor
from sqlalchemy import make_url

from chatstore.backends.sql.engine_factory import new_engine
from chatstore.backends.sql.search_objects import drop_search_index
from tests.benchmarks import raw_mariadb, raw_postgres, raw_sqlite, stores, turns
from tests.benchmarks.harness import compared, each, race

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Size

#: Calls before the first that counts: connections, statement caches, prepared statements.
WARM = 50


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    yield _postgres(size, durable=True)
    yield _postgres(size, durable=False)
    yield _mariadb(size)
    yield _sqlite(size, "FULL", 1.6)
    yield _sqlite(size, "NORMAL", 3.5)
    for kind in stores.SQL:
        yield _search_index(size, kind)


def appends(repository: Repository, session_id: str = "ours") -> Callable[[], object]:
    """Return a call that appends the next turn."""
    source = turns.turns()
    return lambda: repository.add_messages(session_id, next(source).messages)


def _postgres(size: Size, *, durable: bool) -> Figure:
    plain = turns.turns()
    with contextlib.ExitStack() as opened:
        url = opened.enter_context(stores.migrated("postgres"))
        url = url if durable else _not_waiting(url)
        repository = opened.enter_context(stores.connected(url))
        cursor = opened.enter_context(RawCursor(opened.enter_context(raw_postgres.connected(url))))
        outcome = race(
            each(appends(repository)),
            each(lambda: raw_postgres.append(cursor, "raw", next(plain).plain)),
            bursts=size.bursts,
            calls=size.calls,
            warm=WARM,
        )
        _same(repository.get_messages("ours"), raw_postgres.read(cursor, "raw"))
    against = "the same statement by psycopg (`raw_postgres.append`)"
    if not durable:
        return compared("append a turn, PostgreSQL, no commit waits for the disk", against, outcome, None)
    return compared("append a turn, PostgreSQL", against, outcome, 1.3)


def _mariadb(size: Size) -> Figure:
    plain = turns.turns()
    with (
        stores.migrated("mariadb") as url,
        stores.connected(url) as repository,
        contextlib.closing(raw_mariadb.connected(url)) as link,
    ):
        outcome = race(
            each(appends(repository)),
            each(lambda: raw_mariadb.append(link, "raw", next(plain).plain)),
            bursts=size.bursts,
            calls=size.calls,
            warm=WARM,
        )
        _same(repository.get_messages("ours"), raw_mariadb.read(link, "raw"))
    return compared("append a turn, MariaDB", "PyMySQL (`raw_mariadb.append`)", outcome, 1.4)


def _not_waiting(url: str) -> str:
    """Return the URL of sessions whose commits do not wait for the disk, which hides what code costs."""
    options = {"options": "-c synchronous_commit=off"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


def _sqlite(size: Size, level: str, limit: float) -> Figure:
    plain = turns.turns()
    with (
        stores.migrated("sqlite") as url,
        stores.migrated("sqlite") as other,
        stores.connected(f"{url}?synchronous={level.lower()}") as repository,
        contextlib.closing(raw_sqlite.connected(make_url(other).database or "", level)) as link,
    ):
        outcome = race(
            each(appends(repository)),
            each(lambda: raw_sqlite.append(link, "raw", next(plain).plain)),
            bursts=size.bursts,
            calls=size.calls,
            warm=WARM,
        )
        _same(repository.get_messages("ours"), raw_sqlite.read(link, "raw"))
    return compared(f"append a turn, SQLite at {level}", "`sqlite3` (`raw_sqlite.append`)", outcome, limit)


def _search_index(size: Size, kind: str) -> Figure:
    with (
        stores.migrated(kind) as url,
        stores.migrated(kind) as bare,
        stores.connected(url) as with_index,
        stores.connected(bare) as without,
    ):
        engine = new_engine(bare)
        with engine.begin() as link:
            drop_search_index(link)
        engine.dispose()
        sides = each(appends(with_index)), each(appends(without))
        outcome = race(*sides, bursts=size.bursts, calls=size.calls, warm=WARM)
    work = f"append a turn with the search index, {stores.NAMES[kind]}"
    return compared(work, "the same without it", outcome, None)


def _same(ours: Sequence[object], theirs: Sequence[object]) -> None:
    """Both sides did the same work, or the figure is none."""
    if ours != theirs:
        msg = f"the two sides stored different messages: {len(ours)} and {len(theirs)}"
        raise AssertionError(msg)
