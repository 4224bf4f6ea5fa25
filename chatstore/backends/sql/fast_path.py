"""The way past SQLAlchemy to the driver, which halves what a small append costs in Python.

Knows compiled statements, the driver's cursor and what SQLAlchemy would have done about its errors. Nothing depends
on it: ``execution.py`` does without when this file is gone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.column_types import Instant
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.driver_errors import is_lost
from chatstore.backends.sql.lending import DIRECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Dialect

#: The driver's cursor that stays with a connection, in its `info`.
_KEPT = "chatstore_cursor"


class DriverFailed(SQLAlchemyError):
    """A driver's error met on its own cursor; it looks like SQLAlchemy's wrapper to whoever reads errors."""

    def __init__(self, orig: BaseException, *, connection_invalidated: bool) -> None:
        super().__init__(type(orig).__name__)
        self.orig = orig
        self.connection_invalidated = connection_invalidated


class Compiled(NamedTuple):
    """A statement as a driver takes it, compiled once: SQLAlchemy would look at all of it again at every execution."""

    sql: str
    constants: dict[str, Any]
    ordered: Callable[[dict[str, Any]], tuple[Any, ...]] | None
    #: The parameters that are times which the driver does not take.
    written: tuple[str, ...]

    def first_row(self, connection: Connection, given: dict[str, Any]) -> Any:
        """Execute it with the parameters *given*, and return its first row or None."""
        return _execute(connection, self.sql, self._bound(given), row=True)

    def run_many(self, connection: Connection, given: Sequence[dict[str, Any]]) -> None:
        """Execute it once for each of the parameters *given*."""
        _execute(connection, self.sql, [self._bound(line) for line in given], many=True)

    def _bound(self, given: dict[str, Any]) -> Any:
        values = self.constants | given
        for name in self.written:
            values[name] = _iso(values[name])
        return values if self.ordered is None else self.ordered(values)


def prepare(statement: Any, dialect: Dialect, names: Sequence[str] | None = None) -> Compiled:
    """Compile *statement*, whose parameters must be what the driver takes, but for times where they are text.

    *names* are the columns of an INSERT that has no values yet.
    """
    compiled = statement.compile(dialect=dialect, column_keys=names)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    ordered = itemgetter(*compiled.positiontup) if compiled.positional else None
    times = [name for name, bind in compiled.binds.items() if isinstance(bind.type, Instant)]
    as_text = dialect_for(dialect.name).moments_are_text
    return Compiled(str(compiled), constants, ordered, tuple(times) if as_text else ())


@lru_cache(8)  # the lines of one append have one time
def _iso(moment: datetime) -> str:
    """Write a time as `Instant` does where it is text."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def run(connection: Connection, sql: str) -> None:
    """Execute *sql*, which has no parameters and gives nothing."""
    _execute(connection, sql, None)


def _execute(
    connection: Connection, sql: str, parameters: Any, *, row: bool = False, many: bool = False
) -> Any:
    """Execute *sql* on the driver's own cursor; errors become `DriverFailed`, a lost connection leaves the pool.

    The cursor stays with the connection where it can: a new one of psycopg's learns again how to write each type, which
    is a tenth of a small append.
    """
    if not connection.get_execution_options().get(DIRECT):
        result = connection.exec_driver_sql(sql, parameters)
        return result.first() if row else None
    fairy = connection.connection
    lasting = dialect_for(connection.dialect.name).keeps_cursors
    cursor: Any = fairy.info.get(_KEPT) if lasting else None
    if cursor is None:
        cursor = fairy.cursor()
        if lasting:
            fairy.info[_KEPT] = cursor
    try:
        if many:
            cursor.executemany(sql, parameters)
        elif parameters is None:  # which not every driver takes
            cursor.execute(sql)
        else:
            cursor.execute(sql, parameters)
        return cursor.fetchone() if row else None
    except connection.dialect.loaded_dbapi.Error as error:
        raise _failed(connection, cursor, error) from None
    finally:
        if not lasting:
            cursor.close()


def _failed(connection: Connection, cursor: Any, error: Any) -> DriverFailed:
    lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor) or is_lost(
        error
    )
    if lost:
        # As SQLAlchemy does: other connections of this age are as dead.
        connection.invalidate(error)
        connection.engine.dispose()
    return DriverFailed(error, connection_invalidated=lost)
