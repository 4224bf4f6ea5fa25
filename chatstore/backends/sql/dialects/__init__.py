"""Every SQL dialect that chatstore knows, found by SQLAlchemy's name for it.

A new one is a module beside this and an entry in `KNOWN`; nothing else compares names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool.base import ResetStyle

from chatstore.backends.sql.dialects import generic
from chatstore.backends.sql.dialects.base import Dialect
from chatstore.backends.sql.dialects.mysql import MYSQL
from chatstore.backends.sql.dialects.postgresql import POSTGRESQL
from chatstore.backends.sql.dialects.sqlite import SQLITE

if TYPE_CHECKING:
    from sqlalchemy.pool import Pool

KNOWN = (SQLITE, POSTGRESQL, MYSQL, generic.COCKROACHDB, generic.ORACLE, generic.SQLSERVER)
_by_name = {name: dialect for dialect in KNOWN for name in (dialect.name, *dialect.aliases)}
_UNRESET_NOTE = (
    "the pool of this engine does not roll back what comes back to it (pool_reset_on_return=None), so that after an "
    "interrupt in the middle of a call a transaction may stay open in it: leave that option out"
)


@lru_cache
def dialect_for(name: str) -> Dialect:
    """Return the dialect that SQLAlchemy, or a URL, calls *name*; a plain one for a name that is not known."""
    return _by_name.get(name) or generic.of(name)


def dialect_over(name: str, pool: Pool | None) -> Dialect:
    """Return the dialect *name*, which notes what is to be said of the *pool* of a passed-in engine."""
    dialect = dialect_for(name)
    if pool is None or pool._reset_on_return is not ResetStyle.reset_none:
        return dialect
    return replace(dialect, notes=(*dialect.notes, _UNRESET_NOTE))


def table_options() -> dict[str, Any]:
    """Return the options of our tables for all dialects; each takes its own."""
    return {key: value for dialect in KNOWN for key, value in dialect.table_options.items()}


__all__ = ["KNOWN", "Dialect", "dialect_for", "dialect_over", "table_options"]
