"""The full-text index of a database: whether it is there, how it is made and taken away.

Asks the dialect for all of it; where that has none, search scans. Refuses to know how a search is asked: ``search.py``
does. The index is optional: an append costs less without it, so ``chatstore index drop`` takes it away, and everything
here may be repeated.

What is indexed everywhere: words, that is runs of letters and digits, whatever their case; accents count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.backends.sql.ddl import verbatim
from chatstore.backends.sql.dialects import KNOWN, dialect_for

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect

    from chatstore.backends.sql.dialects.base import FullText

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
    """Create the search index over all that is stored; False where this database can have none.

    Nothing happens where it is whole already. PostgreSQL and the MySQL family hold appends back meanwhile.
    """
    if not can_index(connection):
        return False
    if not search_index_exists(connection, schema):
        for statement in creation(connection.dialect, schema):
            connection.execute(verbatim(statement))
    return True


def drop_search_index(connection: Connection, schema: str | None = None) -> None:
    """Take the search index away; nothing happens where there is none."""
    full_text = _full_text(connection.dialect)
    if full_text is None or (full_text.drops_once and not full_text.exists(connection, schema)):
        return
    for statement in full_text.removal(connection.dialect, schema):
        connection.execute(verbatim(statement))


def creation(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that create the search index of *dialect*; none where it has no full text."""
    full_text = _full_text(dialect)
    return [] if full_text is None else full_text.creation(dialect, schema)


def removal(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that take the search index of *dialect* away."""
    full_text = _full_text(dialect)
    return [] if full_text is None else full_text.removal(dialect, schema)


def triggers(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that create what keeps the index of *dialect* in step, where altering a table loses it."""
    full_text = _full_text(dialect)
    return [] if full_text is None else full_text.triggers(dialect, schema)
