"""Databases that work in the plain ways: any that SQLAlchemy has a dialect for, and three whose types are known.

Knows how CockroachDB, Oracle and SQL Server spell the column types; refuses to know shortcuts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, func

from chatstore.backends.sql.dialects import mysql as mysql_dialect
from chatstore.backends.sql.dialects import poolers
from chatstore.backends.sql.dialects import postgresql as postgresql_dialect
from chatstore.backends.sql.dialects.base import Dialect
from chatstore.errors import NotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

#: Many databases are reached by the drivers of the usual ones.
_CONNECT_ARGS: Mapping[str, Mapping[str, Any]] = {
    **postgresql_dialect.CONNECT_ARGS,
    **mysql_dialect.CONNECT_ARGS,
}


class _CockroachDB(Dialect):
    """Speaks like PostgreSQL where types are concerned."""

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import postgresql

        return postgresql.JSONB() if binary else postgresql.JSON()

    def read_json(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return cast(col, Text).label(None)

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        return super().day(func.timezone("UTC", moment))

    def hour(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return super().hour(func.timezone("UTC", moment))

    def look_at(self, connection: sa.Connection) -> None:
        poolers.warn_of_names(connection)


class _Oracle(Dialect):
    def moment(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import oracle

        return oracle.TIMESTAMP()

    def long_text(self, here: sa.Dialect) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import oracle

        return oracle.CLOB()


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


#: Databases that SQLAlchemy knows and that cannot keep the contract, and why.
_LACKING: Mapping[str, str] = {
    "duckdb": "it deletes nothing by cascade, and its writers fail instead of waiting for each other",
    "bigquery": "it keeps no id unique",
    "snowflake": "it keeps no id unique",
    "redshift": "it keeps no id unique",
    "databricks": "it keeps no id unique",
    "clickhouse": "it keeps no id unique and has no transactions",
    "clickhousedb": "it keeps no id unique and has no transactions",
    "trino": "it keeps no id unique",
    "awsathena": "it keeps no id unique and has no transactions",
    "hive": "it keeps no id unique and has no transactions",
}


class _Other(Dialect):
    def refuse(self, url: sa.URL) -> None:  # noqa: ARG002
        if self.name in _LACKING:
            msg = (
                f"{self.name} cannot keep what chatstore promises, since {_LACKING[self.name]}: keep conversations in "
                "sqlite, postgresql, mysql or mariadb"
            )
            raise NotSupported(msg)


def of(name: str) -> Dialect:
    """Return the dialect of a database about which nothing is known but that SQLAlchemy can speak to it."""
    return _Other(name=name, connect_args=_CONNECT_ARGS)


COCKROACHDB = _CockroachDB(
    name="cockroachdb",
    autocommitting=postgresql_dialect.AUTOCOMMITTING,
    connect_args=_CONNECT_ARGS,
    has_zones=True,
    decodes_json=True,
)
ORACLE = _Oracle(name="oracle")
SQLSERVER = _SQLServer(name="mssql", default_schema="dbo")
