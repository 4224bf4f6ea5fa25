"""Statements that are executed again and again: by SQLAlchemy, or past it where there is a fast path.

This module is all that knows of ``fast_path.py``. Without that file every statement goes through SQLAlchemy, slower
and with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Dialect


class Prepared(Protocol):
    """A statement that is built once."""

    def first_row(self, connection: Connection, given: dict[str, Any]) -> Any:
        """Execute it with the parameters *given*, and return its first row or None."""

    def run_many(self, connection: Connection, given: Sequence[dict[str, Any]]) -> None:
        """Execute it once for each of the parameters *given*."""


@dataclass(frozen=True)
class Ordinary:
    """A statement for SQLAlchemy."""

    statement: Any

    def first_row(self, connection: Connection, given: dict[str, Any]) -> Any:
        """Execute it with the parameters *given*, and return its first row or None."""
        return connection.execute(self.statement, given).first()

    def run_many(self, connection: Connection, given: Sequence[dict[str, Any]]) -> None:
        """Execute it once for each of the parameters *given*."""
        connection.execute(self.statement, given)


def ordinary(statement: Any, _dialect: Dialect, _names: Sequence[str] | None = None) -> Prepared:
    """Return *statement* for SQLAlchemy to execute."""
    return Ordinary(statement)


def run_ordinarily(connection: Connection, sql: str) -> None:
    """Execute *sql*, which has no parameters and gives nothing."""
    connection.exec_driver_sql(sql)


#: How a statement is prepared, and how one without parameters is executed.
prepare: Callable[..., Prepared]
run: Callable[[Connection, str], None]
try:
    from chatstore.backends.sql.fast_path import prepare, run
except ModuleNotFoundError:
    prepare, run = ordinary, run_ordinarily

__all__ = ["Ordinary", "Prepared", "ordinary", "prepare", "run", "run_ordinarily"]
