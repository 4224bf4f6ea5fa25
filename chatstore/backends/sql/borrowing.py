"""An engine over connections that somebody else opens, begins, ends and closes: a framework's own.

This module knows what SQLAlchemy does to a connection beside executing statements, and leaves all of it out. It
refuses to know whose connections they are, and what a transaction is there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, NullPool

from chatstore.backends.sql.dialects import dialect_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Dialect


def borrowing_engine(url: URL, module: Any, lend: Callable[[], Any]) -> Engine:
    """Return an engine that executes on what *lend* gives: a DB-API connection of *module*, for the calling thread.

    Nothing is set on it, begun, committed, rolled back or closed.
    """
    kind: Any = url.get_dialect()
    make, options = _borrowing(kind)
    dialect: Dialect = make(dbapi=module, **options)
    pool = NullPool(lend, dialect=dialect, reset_on_return=None)
    return Engine(pool, dialect, url, hide_parameters=True)


def learn(engine: Engine) -> None:
    """Let the dialect of *engine* ask its server what it is, which must be done once before anything else."""
    with engine.connect() as connection:
        engine.dialect.initialize(connection)


@lru_cache
def _borrowing(kind: Any) -> tuple[Any, dict[str, Any]]:
    """Return the dialect *kind* without what it does to connections and transactions, and what it is made with."""
    left_out = dict.fromkeys(_LEFT_OUT, _leave)
    parts, options = dialect_for(kind.name).lent(kind)
    parts = {**left_out, "supports_statement_cache": True, "on_connect": _nothing, **parts}
    return type(f"Borrowing{kind.__name__}", (kind,), parts), options


_LEFT_OUT = (
    "do_begin",
    "do_close",
    "do_commit",
    "do_rollback",
    "do_terminate",
    "reset_isolation_level",
    "set_isolation_level",
)


def _leave(_dialect: Dialect, *_: Any) -> None:
    """Do nothing: it is the lender's to do."""


def _nothing(_dialect: Dialect) -> None:
    """Return no function: a new connection has been set up by its lender."""


__all__ = ["borrowing_engine", "learn"]
