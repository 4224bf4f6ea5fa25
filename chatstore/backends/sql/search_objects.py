"""The full-text index of a database: whether it is there, how it is made and taken away, and how far it is.

Asks the dialect for all of it; where that has none, search scans. Refuses to know how a search is asked: ``search.py``
does. The index is optional: ``chatstore index drop`` takes it away, and everything here may be repeated. A new one is
empty: searches fill it, or ``chatstore index refresh``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from sqlalchemy import MetaData, func, select, update
from sqlalchemy.exc import OperationalError

from chatstore.backends.sql.ddl import verbatim
from chatstore.backends.sql.dialects import KNOWN, dialect_for
from chatstore.backends.sql.models import sessions
from chatstore.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Dialect, Table

    from chatstore.backends.sql.dialects.base import FullText

#: Seconds, in which a search that has begun to ask the index has long done so.
PAUSE = 1.0
#: How often taking the index away from under searches is tried.
ATTEMPTS = 5
#: The tables of every dialect's index.
SEARCH_TABLES = tuple(name for known in KNOWN if known.full_text for name in known.full_text.tables)


def _full_text(dialect: Dialect) -> FullText | None:
    return dialect_for(dialect.name).full_text


def search_index_exists(connection: Connection, schema: str | None = None) -> bool:
    """Tell whether the search index of this database is whole."""
    full_text = _full_text(connection.dialect)
    return full_text is not None and full_text.exists(connection, schema)


def can_index(connection: Connection) -> bool:
    """Tell whether this database can have a search index: some builds of SQLite lack FTS5."""
    full_text = _full_text(connection.dialect)
    return full_text is not None and full_text.is_possible(connection)


def create_search_index(connection: Connection, schema: str | None = None) -> bool:
    """Create the search index, empty; False where this database can have none.

    Nothing happens where it is whole already.
    """
    if not can_index(connection):
        return False
    if not search_index_exists(connection, schema):
        for statement in [*removal(connection.dialect, schema), *creation(connection.dialect, schema)]:
            connection.execute(verbatim(statement))
        forget(connection, schema)
    return True


def drop_search_index(connection: Connection, schema: str | None = None) -> None:
    """Take the search index away; nothing happens where there is none."""
    full_text = _full_text(connection.dialect)
    if full_text is None:
        return
    for statement in full_text.removal(connection.dialect, schema):
        connection.execute(verbatim(statement))
    forget(connection, schema)


def renew_search_index(
    lend: Callable[[], AbstractContextManager[Connection]], schema: str | None = None
) -> None:
    """Make the search index anew, empty; each step in a transaction that *lend* lends.

    A search looks first whether the index holds everything, and then asks it. So that none takes the new one, which is
    empty, for the one it looked at, there is none at all for `PAUSE` in between: then it reads every message.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with lend() as connection:
                drop_search_index(connection, schema)
            break
        except (
            OperationalError,
            StorageUnavailable,
        ):  # a search and this waited for each other, which ended one
            if attempt == ATTEMPTS:
                raise
    time.sleep(PAUSE)
    with lend() as connection:
        create_search_index(connection, schema)


def forget(connection: Connection, schema: str | None = None) -> None:
    """Let no session count as indexed, so that all of them are indexed again.

    Behind the removal, which waits for those who write to the index: none of them can say afterwards that it did.
    """
    s = _sessions(schema)
    connection.execute(update(s).where(s.c.indexed_position != 0).values(indexed_position=0))


def _sessions(schema: str | None) -> Table:
    return sessions.to_metadata(MetaData(), schema=cast("str", schema))


def unindexed(connection: Connection, schema: str | None = None) -> tuple[int, int]:
    """Return how many sessions the index does not hold all of, and how many messages it lacks at most."""
    s = _sessions(schema).c
    missing = s.last_position - s.indexed_position
    found = select(func.count(), func.coalesce(func.sum(missing), 0)).where(
        s.last_position > s.indexed_position
    )
    sessions, messages = connection.execute(found).one()
    return int(sessions), int(messages)


def refresh_search_index(
    lend: Callable[[], AbstractContextManager[Connection]],
    schema: str | None = None,
    done: Callable[[int], object] = lambda _sessions: None,
) -> None:
    """Index what the index lacks, a few hundred sessions at a time, each time in a transaction that *lend* lends.

    Then the index is tidied, where that makes it quicker to read. Several may do so at once, and it may end at any
    moment: what is done stays done. Sessions that somebody holds are left for the next time. *done* is told of each
    number of sessions that got further.
    """
    from chatstore.backends.sql import search  # and with it messages, for which other commands have no use
    from chatstore.backends.sql.statements import Statements

    q, after = None, ""
    while True:
        with lend() as connection:
            q = q or Statements(dialect_for(connection.dialect.name), schema)
            session_ids = search.behind_anywhere(connection, q, after)
        if not session_ids:
            break
        further = len(session_ids)
        while further:
            with lend() as connection:
                further = search.refresh(connection, q, session_ids)
            done(further)
        after = session_ids[-1]
    begun, full_text = False, q.dialect.full_text
    while full_text is not None:
        with lend() as connection:
            begun = full_text.tidy(connection, schema, begun=begun)
        if not begun:
            return


def creation(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that create the search index of *dialect*; none where it has no full text."""
    full_text = _full_text(dialect)
    return [] if full_text is None else full_text.creation(dialect, schema)


def removal(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that take the search index of *dialect* away."""
    full_text = _full_text(dialect)
    return [] if full_text is None else full_text.removal(dialect, schema)
