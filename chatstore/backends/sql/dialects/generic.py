"""Databases that work in the plain ways: any that SQLAlchemy has a dialect for, and three whose types are known.

Knows how CockroachDB, Oracle and SQL Server spell the column types; refuses to know shortcuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, func

from chatstore.backends.sql.dialects import mysql as mysql_dialect
from chatstore.backends.sql.dialects import poolers
from chatstore.backends.sql.dialects import postgresql as postgresql_dialect
from chatstore.backends.sql.dialects.base import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

#: Many databases are reached by the drivers of the usual ones.
_CONNECT_ARGS: Mapping[str, Mapping[str, Any]] = {
    **postgresql_dialect.CONNECT_ARGS,
    **mysql_dialect.CONNECT_ARGS,
}


@dataclass(frozen=True, kw_only=True)
class _CockroachDB(Dialect):
    """Speaks like PostgreSQL where types are concerned."""

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import postgresql

        return postgresql.JSONB() if binary else postgresql.JSON()

    def read_json(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return cast(col, Text).label(None)

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        return super().day(func.timezone("UTC", moment))

    def warn(self, connection: sa.Connection) -> None:
        poolers.warn_of_names(connection)


@dataclass(frozen=True, kw_only=True)
class _Oracle(Dialect):
    def moment(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import oracle

        return oracle.TIMESTAMP()

    def long_text(self, here: sa.Dialect) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import oracle

        return oracle.CLOB()


@dataclass(frozen=True, kw_only=True)
class _SQLServer(Dialect):
    def moment(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import mssql

        return mssql.DATETIME2(6)  # type: ignore[no-untyped-call]

    def long_text(self, here: sa.Dialect) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import mssql

        return mssql.NVARCHAR(None)

    def exact_string(self, here: sa.Dialect, length: int | None) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import mssql

        return mssql.NVARCHAR(length, collation="Latin1_General_100_BIN2")


def of(name: str) -> Dialect:
    """Return the dialect of a database about which nothing is known but that SQLAlchemy can speak to it."""
    return Dialect(name=name, connect_args=_CONNECT_ARGS)


COCKROACHDB = _CockroachDB(
    name="cockroachdb",
    autocommitting=postgresql_dialect.AUTOCOMMITTING,
    connect_args=_CONNECT_ARGS,
    has_zones=True,
    decodes_json=True,
)
ORACLE = _Oracle(name="oracle")
SQLSERVER = _SQLServer(name="mssql", default_schema="dbo")
