"""One of ``DATABASES`` as chatstore sees it: SQLAlchemy's statements, executed on Django's own connection.

This module knows Django's connections, transactions and errors. It refuses to know what is stored.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import Error, connections, transaction
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from chatstore.backends.sql import core
from chatstore.backends.sql.borrowing import borrowing_engine, learn
from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.plans import SQLCore, unit
from chatstore.backends.sql.statements import Statements
from chatstore.errors import NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

#: SQLAlchemy's names for Django's databases, by `vendor`.
_NAMES = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql"}
_databases: dict[tuple[str, ...], Database] = {}


def database(alias: str) -> Database:
    """Return what stands for ``DATABASES[alias]``: another one for a test run, whose database is another."""
    settings = connections[alias].settings_dict
    key = (alias, *(str(settings.get(name) or "") for name in ("ENGINE", "HOST", "PORT", "NAME")))
    found = _databases.get(key)
    if found is None:
        found = _databases.setdefault(key, Database(alias))
    return found


class _Inside(SQLCore):
    """The operations inside a transaction of Django's; an answer may begin there, and is written when it has ended."""

    def __init__(self, q: Statements) -> None:
        """Work on the tables of *q*."""
        super().__init__(q, inside=True)
        self.capabilities = SQLCore(q).capabilities

    begin_answer = unit(core.append_checked)  # type: ignore[assignment]


class Database:
    """A database of Django's, and the operations on it."""

    def __init__(self, alias: str) -> None:
        """Connect to nothing yet. Raises `NotSupported` for a database that chatstore has no tables for."""
        django = connections[alias]
        if django.vendor not in _NAMES:
            msg = (
                f"DATABASES[{alias!r}] is {django.display_name}, for which chatstore has no tables under Django: use "
                "SQLite, PostgreSQL, MariaDB or MySQL, by a router where it is another one than the application's"
            )
            raise NotSupported(msg)
        self.alias = alias
        self.embedded = django.vendor == "sqlite"
        #: Whether its tables were found as this release needs them.
        self.ready = False
        self._learnt = False
        self.engine = borrowing_engine(
            URL.create(drivername(django)), django.Database, lambda: _Lent(connections[alias])
        )
        statements = Statements(dialect_for(self.engine.dialect.name), None)
        self.alone, self.inside = SQLCore(statements), _Inside(statements)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction of the application's is open in this thread."""
        django = connections[self.alias]
        # Not `get_autocommit`, which connects: a server that is down is met where it is asked.
        commits = django.settings_dict["AUTOCOMMIT"] if django.connection is None else django.autocommit
        return django.in_atomic_block or not commits

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend Django's connection of this thread; what happens in it is part of Django's transaction, if one is open.

        Errors are SQLAlchemy's, also those that Django meets when it begins or ends a transaction.
        """
        try:
            if not self._learnt:
                learn(self.engine)
                self._learnt = True
            with self.engine.connect() as connection:
                yield connection
        except connections[self.alias].Database.Error as error:  # met outside of a statement
            raise DBAPIError(None, None, error) from None

    @contextlib.contextmanager
    def unit(self) -> Iterator[None]:
        """Be in a transaction, or in a savepoint of the one that is open."""
        django = connections[self.alias]
        at_once = self.embedded and not self.in_transaction
        try:
            with (
                _writing(django) if at_once else contextlib.nullcontext(),
                transaction.atomic(using=self.alias),
            ):
                yield
        except Error as error:
            orig = _driver_error(django, error)
            if orig is None:
                raise
            raise DBAPIError(None, None, orig) from None

    def leave(self) -> None:
        """Have Django connect anew where an error has shown that its connection is broken."""
        if not self.in_transaction:
            connections[self.alias].close_if_unusable_or_obsolete()


def drivername(django: Any) -> str:
    """Name SQLAlchemy's dialect for the driver that Django uses."""
    if django.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        return "postgresql+psycopg" if is_psycopg3 else "postgresql+psycopg2"
    if django.vendor == "mysql":
        return "mysql+mysqldb" if django.Database.__name__ == "MySQLdb" else "mysql+pymysql"
    return _NAMES[django.vendor]


@contextlib.contextmanager
def _writing(django: Any) -> Iterator[None]:
    """Have the next transaction on SQLite begin with the lock of a writer: a later one is not waited for."""
    django.ensure_connection()  # which sets the mode
    mode, django.transaction_mode = django.transaction_mode, "IMMEDIATE"
    try:
        yield
    finally:
        django.transaction_mode = mode


class _Lent:
    """Django's connection, as a driver's: its cursors are Django's, whose errors are the driver's again.

    So each statement is seen by what the application hangs onto its connections: the log, `assertNumQueries`,
    `execute_wrapper`, and tests that must not touch a database.
    """

    def __init__(self, django: Any) -> None:
        """Lend the connection *django*."""
        self._django = django

    def cursor(self, *_: Any, **__: Any) -> _Cursor:
        """Open a cursor, and the connection where it is not open."""
        with _drivers_own(self._django):
            return _Cursor(self._django)

    def __getattr__(self, name: str) -> Any:
        with _drivers_own(self._django):
            self._django.ensure_connection()
        return getattr(self._django.connection, name)


class _Cursor:
    """A cursor of Django's that raises the driver's errors."""

    def __init__(self, django: Any) -> None:
        """Open it."""
        self._django, self._cursor = django, django.cursor()

    def execute(self, sql: str, parameters: Any = None) -> Any:
        """Execute *sql*, which is written for the driver."""
        if self._django.vendor != "sqlite":
            return self.__getattr__("execute")(sql, parameters)
        if not parameters:
            return self.__getattr__("execute")(sql)
        return self.__getattr__("execute")(_marked(sql), parameters)

    def executemany(self, sql: str, parameters: Any) -> Any:
        """Execute *sql* once for each of *parameters*."""
        return self.__getattr__("executemany")(
            _marked(sql) if self._django.vendor == "sqlite" else sql, parameters
        )

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cursor, name)
        if name not in _TALKING:
            return found

        def talk(*given: Any, **more: Any) -> Any:
            with _drivers_own(self._django):
                return found(*given, **more)

        return talk


#: What of a cursor hears of the server.
_TALKING = frozenset({"execute", "executemany", "fetchone", "fetchmany", "fetchall", "nextset", "close"})


#: A literal or a name in quotes, in which nothing is a mark; a mark; and what Django would take for one.
_MARK = re.compile(r"""'[^']*'|"[^"]*"|\?|%""")


@lru_cache(500)
def _marked(sql: str) -> str:
    """Write the marks of SQLite's driver as Django's cursor takes them, which turns them back."""
    return _MARK.sub(lambda found: "%s" if found[0] == "?" else found[0].replace("%", "%%"), sql)


@contextlib.contextmanager
def _drivers_own(django: Any) -> Iterator[None]:
    """Raise a driver's error as it was before Django wrapped it; what is Django's own stays as it is."""
    try:
        yield
    except Error as error:
        orig = _driver_error(django, error)
        if orig is None:
            raise
        raise orig from None


def _driver_error(django: Any, error: Error) -> BaseException | None:
    """Return what Django made *error* of; None for an error of Django's own."""
    if isinstance(error, transaction.TransactionManagementError):
        return None
    made_of = (error.__cause__, error.__context__)
    return next((one for one in made_of if isinstance(one, django.Database.Error)), None)


__all__ = ["Database", "database", "drivername"]
