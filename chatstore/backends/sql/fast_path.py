"""The way past SQLAlchemy to the driver, which halves what a small append costs in Python.

Knows compiled statements, the driver's cursor and what SQLAlchemy would have done about its errors. Nothing depends
on it: ``execution.py`` does without when this file is gone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.column_types import Instant, JSONDocument
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.driver_errors import is_lost
from chatstore.backends.sql.lending import DIRECT, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Dialect
    from sqlalchemy.types import TypeEngine

#: The driver's cursor that stays with a connection, in its `info`.
_KEPT = "chatstore_cursor"
#: How long a time is where it is text.
_WRITTEN = len("2026-01-01 00:00:00.000000")


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
    #: The parameters that are times, and how they are written, where the driver does not take them.
    times: tuple[str, ...]
    write: Callable[[datetime], Any]
    #: What a driver's values become, by their place in a row, where they are not what is wanted already.
    reads: tuple[tuple[int, Callable[[Any], Any]], ...]
    #: Puts the values of the columns it was prepared with where the driver wants them.
    placed: Callable[[tuple[Any, ...]], Any]

    def first_row(self, connection: Connection, given: dict[str, Any]) -> Any:
        """Execute it with the parameters *given*, and return its first row or None."""
        row = _execute(connection, self.sql, self._bound(given), fetch="fetchone")
        return row if row is None or not self.reads else self._read([row])[0]

    def rows(self, connection: Connection, given: dict[str, Any]) -> list[Any]:
        """Execute it with the parameters *given*, and return all rows."""
        rows: list[Any] = _execute(connection, self.sql, self._bound(given), fetch="fetchall")
        return self._read(rows) if self.reads else rows

    def insert(self, connection: Connection, lines: Iterable[tuple[Any, ...]]) -> None:
        """Execute it for each of *lines*: values in the order it was prepared with, of which the first is a time."""
        if self.times:
            lines = [(self.write(line[0]), *line[1:]) for line in lines]
        _execute(connection, self.sql, list(map(self.placed, lines)), many=True)

    def _bound(self, given: dict[str, Any]) -> Any:
        values = self.constants | given
        for name in self.times:
            values[name] = self.write(values[name])
        return values if self.ordered is None else self.ordered(values)

    def _read(self, rows: Sequence[Any]) -> list[Any]:
        read = list(map(list, rows))
        for place, become in self.reads:
            for row in read:
                row[place] = become(row[place])
        return read


def prepare(statement: Any, dialect: Dialect, names: Sequence[str] = ()) -> Compiled:
    """Compile *statement*, whose parameters must be what the driver takes, but for times.

    *names* are the columns of an INSERT that has no values yet, and is executed with lines of these.
    """
    compiled = statement.compile(dialect=dialect, column_keys=names or None)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    here = dialect_for(dialect.name)
    times = [name for name, bind in compiled.binds.items() if isinstance(bind.type, Instant)]
    reads = [(place, _reading(column.type, dialect)) for place, column in enumerate(compiled._result_columns)]
    return Compiled(
        str(compiled),
        constants,
        _ordering(compiled.positiontup) if compiled.positional else None,
        () if here.has_zones else tuple(times),
        _iso if here.moments_are_text else _naive,
        tuple((place, read) for place, read in reads if read is not None),
        _placing(names, compiled.positiontup) if compiled.positional else partial(_named, names),
    )


def _ordering(names: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


def _placing(names: Sequence[str], places: Sequence[str]) -> Callable[[tuple[Any, ...]], Any]:
    return itemgetter(*(names.index(name) for name in places)) if len(names) > 1 else tuple


def _named(names: Sequence[str], line: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(names, line, strict=True))


def _reading(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(kind, Instant):
        if getattr(dialect, "reads_moments", False):  # see `Dialect.lent`
            return lambda value: _moment_of_text(value) if isinstance(value, str) else _aware(value)
        return _moment_of_text if dialect_for(dialect.name).moments_are_text else _aware
    read = kind._cached_result_processor(dialect, None)
    if isinstance(kind, JSONDocument) and read is not None:  # of sessions, most have none
        return lambda value: {} if value == "{}" else read(value)
    return read


def _aware(moment: datetime | None) -> datetime | None:
    """Read a time as `Instant` does."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@lru_cache(8)  # the messages of one append have one time, and most have no others
def _moment_of_text(text: str | None) -> datetime | None:
    """Read a time as `Instant` does where it is text."""
    if text is None:
        return None
    if len(text) == _WRITTEN:  # as `_iso` writes it: twice as fast as giving it a zone afterwards
        return datetime.fromisoformat(text + "+00:00")
    return _aware(datetime.fromisoformat(text))


def _naive(moment: datetime) -> datetime:
    """Write a time as `Instant` does where it keeps no zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


@lru_cache(8)  # the lines of one append have one time
def _iso(moment: datetime) -> str:
    """Write a time as `Instant` does where it is text."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


@lru_cache(8)
def _zoned(moment: datetime) -> str:
    """Write a time as text that says its zone."""
    return moment.isoformat(" ", "microseconds")


def run(connection: Connection, sql: str) -> None:
    """Execute *sql*, which has no parameters and gives nothing."""
    _execute(connection, sql, None)


def begin(sql: str, connection: Connection) -> None:
    """Begin a transaction by *sql* where one is asked for."""
    if connection.get_execution_options().get(WRITES):
        _execute(connection, sql, None)


def can_copy(connection: Connection) -> bool:
    """Tell whether the driver may be handed lines past SQLAlchemy: on engines of ours."""
    return bool(connection.get_execution_options().get(DIRECT))


def copy(connection: Connection, sql: str, lines: Iterable[tuple[Any, ...]]) -> None:
    """Copy *lines*, of which the first values are times, by the driver's own way for many."""
    cursor: Any = connection.connection.cursor()
    try:
        with cursor.copy(sql) as copying:
            for moment, *values in lines:
                copying.write_row((_zoned(moment), *values))
    except connection.dialect.loaded_dbapi.Error as error:
        raise _failed(connection, cursor, error) from None
    finally:
        cursor.close()


def _execute(
    connection: Connection,
    sql: str,
    parameters: Any,
    *,
    fetch: Literal["fetchone", "fetchall"] | None = None,
    many: bool = False,
) -> Any:
    """Execute *sql* on the driver's own cursor; errors become `DriverFailed`, a lost connection leaves the pool.

    The cursor stays with the connection where it can: a new one of psycopg's learns again how to write each type, which
    is a tenth of a small append.
    """
    if not connection.get_execution_options().get(DIRECT):
        result = connection.exec_driver_sql(sql, parameters)
        return None if fetch is None else getattr(result, fetch)()
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
        return None if fetch is None else getattr(cursor, fetch)()
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
