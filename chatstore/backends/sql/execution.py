"""Statements that are executed again and again: by SQLAlchemy, or past it where there is a fast path.

This module is all that knows of ``fast_path.py``. Without that file every statement goes through SQLAlchemy, slower
and with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from chatstore.backends.sql.lending import WRITES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Dialect


class Prepared(Protocol):
    """A statement that is built once."""

    def first_row(self, connection: Connection, given: dict[str, Any]) -> Any:
        """Execute it with the parameters *given*, and return its first row or None."""

    def rows(self, connection: Connection, given: dict[str, Any]) -> Sequence[Any]:
        """Execute it with the parameters *given*, and return all rows."""

    def insert(self, connection: Connection, lines: Iterable[tuple[Any, ...]]) -> None:
        """Execute it for each of *lines*: values in the order it was prepared with, of which the first is a time."""


@dataclass(frozen=True)
class Ordinary:
    """A statement for SQLAlchemy."""

    statement: Any
    names: Sequence[str] | None = None

    def first_row(self, connection: Connection, given: dict[str, Any]) -> Any:
        """Execute it with the parameters *given*, and return its first row or None."""
        return connection.execute(self.statement, given).first()

    def rows(self, connection: Connection, given: dict[str, Any]) -> Sequence[Any]:
        """Execute it with the parameters *given*, and return all rows."""
        return connection.execute(self.statement, given).all()

    def insert(self, connection: Connection, lines: Iterable[tuple[Any, ...]]) -> None:
        """Execute it for each of *lines*: values in the order it was prepared with, of which the first is a time."""
        names = self.names or ()
        connection.execute(self.statement, [dict(zip(names, line, strict=True)) for line in lines])


def ordinary(statement: Any, _dialect: Dialect, names: Sequence[str] | None = None) -> Prepared:
    """Return *statement* for SQLAlchemy to execute."""
    return Ordinary(statement, names)


def run_ordinarily(connection: Connection, sql: str) -> None:
    """Execute *sql*, which has no parameters and gives nothing."""
    connection.exec_driver_sql(sql)


def begin_ordinarily(sql: str, connection: Connection) -> None:
    """Begin a transaction by *sql* where one is asked for."""
    if connection.get_execution_options().get(WRITES):
        run_ordinarily(connection, sql)


def cannot_copy(_connection: Connection) -> bool:
    """Tell whether lines can be copied: SQLAlchemy has no way to."""
    return False


def copy_nothing(connection: Connection, sql: str, lines: Iterable[tuple[Any, ...]]) -> None:
    """Copy *lines*, of which the first values are times, by what a dialect's `copying` gave."""
    raise NotImplementedError


#: How a statement is prepared, one without parameters executed, a transaction begun, and whether and how lines are
#: copied.
prepare: Callable[..., Prepared]
run: Callable[[Connection, str], None]
begin: Callable[[str, Connection], None]
can_copy: Callable[[Connection], bool]
copy: Callable[[Connection, str, Iterable[tuple[Any, ...]]], None]
try:
    from chatstore.backends.sql.fast_path import begin, can_copy, copy, prepare, run
except ModuleNotFoundError:
    prepare, run, begin, can_copy, copy = (
        ordinary,
        run_ordinarily,
        begin_ordinarily,
        cannot_copy,
        copy_nothing,
    )

__all__ = [
    "Ordinary",
    "Prepared",
    "begin",
    "can_copy",
    "copy",
    "ordinary",
    "prepare",
    "run",
    "run_ordinarily",
]
