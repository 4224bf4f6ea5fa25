"""PostgreSQL: what chatstore does there in its own way.

Knows its types, its drivers' errors, its full text (a function and a GIN index) and its advisory locks; refuses to
know sessions and messages beyond the columns it is handed. ``poolers.py`` knows what stands before a server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text, bindparam, cast, func, literal_column, select, text

from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects import poolers
from chatstore.backends.sql.dialects.base import (
    CONNECT_SECONDS,
    MESSAGES,
    RANKED,
    SEARCH_INDEX,
    Dialect,
    FullText,
    Kind,
    Upsert,
    insert_by,
)
from chatstore.backends.sql.dialects.migrating import begun, in_autocommit, poll
from chatstore.errors import SchemaError
from chatstore.messages import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

    from chatstore.arguments import SearchFilter

#: The function behind the index: content in, tsvector out; ``chatstore_words(content)`` is what the index holds.
WORDS_FUNCTION = "chatstore_words"
#: A tsvector ends at 1 MB. A character takes at most four bytes, so this many can never reach it, whatever
#: they are.
WORDS_CHARACTERS = 262_000
#: The drivers whose connections are put in autocommit.
AUTOCOMMITTING = frozenset({"psycopg"})
_PATIENCE = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000, "keepalives_idle": 30}
CONNECT_ARGS: dict[str, Mapping[str, Any]] = {
    **poolers.UNNAMED,
    "psycopg": _PATIENCE | poolers.UNNAMED["psycopg"],
    "psycopg2": _PATIENCE,
}
#: The advisory lock of migrations, a number of our own; such locks are per database.
_LOCK = int.from_bytes(hashlib.sha256(b"chatstore migrations").digest()[:8], signed=True)
_STATES: dict[str, Kind] = {
    "23505": "duplicate", "23P01": "other", "23502": "other", "23503": "other", "23514": "other",
    "40001": "busy", "40P01": "busy", "55P03": "busy",
    "25006": "readonly", "42P01": "no_table", "42703": "no_table", "3F000": "no_table",
    "53100": "full", "54000": "too_large", "28P01": "refused", "28000": "refused", "3D000": "refused",
    "42501": "refused",
    "57P01": "lost", "57P02": "lost", "57P03": "lost", "53300": "lost",
}  # fmt: skip
_NOTE = (
    "search on PostgreSQL looks at the first 262,000 characters of a message, and at words of up to 2,046 bytes that "
    "its parser takes for words (a circled digit is none)"
)


class _Words(FullText):
    """A GIN index on the words of the content."""

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        name = qualify(connection.dialect, SEARCH_INDEX, schema)
        return bool(connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}))

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the function and its index; letters are what ICU says, where there is ICU."""
        function = qualify(here, WORDS_FUNCTION, schema)
        body = (
            "SELECT pg_catalog.to_tsvector('pg_catalog.simple'::pg_catalog.regconfig, pg_catalog.left("
            "pg_catalog.regexp_replace(pg_catalog.lower(pg_catalog.left(value, {limit}){collate}), "
            "'[^[:alnum:]]+', ' ', 'g'), {limit}))"
        )
        make = (
            f"CREATE OR REPLACE FUNCTION {function}(value text) RETURNS tsvector "
            "LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $words$ "
        )
        plain, known = (
            make + body.format(limit=WORDS_CHARACTERS, collate=collate) + " $words$"
            for collate in ("", ' COLLATE pg_catalog."und-x-icu"')
        )
        has_icu = "EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collname = 'und-x-icu')"
        on = qualify(here, MESSAGES, schema)
        return [
            f"DO $do$ BEGIN IF {has_icu} THEN {known}; ELSE {plain}; END IF; END $do$",
            f"CREATE INDEX IF NOT EXISTS {SEARCH_INDEX} ON {on} USING gin ({function}(content))",
        ]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        return [
            f"DROP INDEX IF EXISTS {qualify(here, SEARCH_INDEX, schema)}",
            f"DROP FUNCTION IF EXISTS {qualify(here, WORDS_FUNCTION, schema)}(text)",
        ]

    def select(
        self, found: sa.Select[Any], messages: sa.Table, wanted: SearchFilter, schema: str | None
    ) -> sa.Select[Any]:
        """Ask the GIN index first and for itself: beside a LIMIT the planner would walk the table instead."""
        words_of = getattr(getattr(func, schema) if schema else func, WORDS_FUNCTION)
        query = func.plainto_tsquery(text("'pg_catalog.simple'"), " ".join(wanted.words))
        hits = (
            select(messages.c.id)
            .where(words_of(messages.c.content).op("@@")(query))
            .cte("hits")
            .prefix_with("MATERIALIZED")
        )
        newest = (
            found.join(hits, hits.c.id == messages.c.id)
            .add_columns(messages.c.id.label("id"))
            .order_by(messages.c.id.desc())
            .limit(RANKED)
            .subquery("newest")
        )
        *shown, content, created_at, number = newest.c
        rank = func.ts_rank(words_of(content), query).label("rank")
        best = select(*shown, content, created_at, rank).order_by(rank.desc(), number.desc())
        return best.limit(wanted.limit)


@dataclass(frozen=True, kw_only=True)
class _PostgreSQL(Dialect):
    """PostgreSQL by psycopg, psycopg2 or asyncpg."""

    # ---- URLs and engines

    def complete(self, url: sa.URL, *, asynchronous: bool) -> sa.URL:  # noqa: ARG002
        """Mean psycopg 3 where no driver is named, in both worlds."""
        return url if "+" in url.drivername else url.set(drivername=f"{self.name}+psycopg")

    def prepare_engine(self, engine: sa.Engine) -> None:
        poolers.prepare_where_direct(engine)

    def warn(self, connection: sa.Connection) -> None:
        poolers.warn_of_names(connection)

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:
        """Read the SQLSTATE; a refusal at the door from its text, since psycopg has no code for that."""
        args = getattr(error, "args", ())
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        known: Kind | None = None
        if isinstance(state, str) and not (args and isinstance(args[0], int)):
            known = "lost" if state.startswith("08") else _STATES.get(state)
        if known is not None:
            return known
        said = str(error)
        told = ("does not exist", "authentication failed", "no pg_hba.conf entry", "not permitted")
        return "refused" if "FATAL:" in said and any(part in said for part in told) else None

    def lost(self, error: Any) -> bool:
        """Tell whether psycopg met a broken socket: it has no code then, and libpq may not have noticed yet.

        SQLAlchemy asks the connection whether it is closed, which is still denied at that moment.
        """
        return (
            type(error).__module__.partition(".")[0] == "psycopg"
            and any(base.__name__ == "OperationalError" for base in type(error).__mro__)
            and error.sqlstate is None
        )

    def without_data(self, text: str) -> str:
        """Cut off the failing row, and the text around a fault in JSON."""
        return re.split(r"\n(?:DETAIL: +Failing row|CONTEXT:)", text, maxsplit=1)[0]

    # ---- column types

    def exact_string(self, here: sa.Dialect, length: int | None) -> TypeEngine[Any]:  # noqa: ARG002
        return String(length, collation="C")

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import postgresql

        return postgresql.JSONB() if binary else postgresql.JSON()

    # ---- columns in statements

    def read_moment(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Read it in UTC: a driver cannot hold a time outside the years of the session's own zone."""
        return func.timezone(literal_column("'UTC'"), col, type_=col.type).label(col.name)

    def read_json(self, col: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return cast(col, Text).label(None)

    def day(self, moment: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
        return super().day(func.timezone("UTC", moment))

    def rows_of(self, document: Any, columns: list[Any]) -> Any:
        from sqlalchemy.dialects import postgresql

        rows = func.json_to_recordset(cast(document, postgresql.JSON))
        return rows.table_valued(*columns, name="new").render_derived(with_types=True)

    # ---- promises

    def durability(self, connection: sa.Connection) -> Durability:
        commit, sync = (
            str(connection.exec_driver_sql(f"SHOW {what}").scalar())
            for what in ("synchronous_commit", "fsync")
        )
        safe = sync == "on" and commit != "off"
        return Durability(
            "machine" if safe else "process", f"PostgreSQL, synchronous_commit={commit}, fsync={sync}"
        )

    # ---- migrations

    @contextlib.contextmanager
    def alone(self, connection: sa.Connection, schema: str | None) -> Iterator[None]:  # noqa: ARG002
        """Take the lock for the transaction; it ends with it, after a crash and behind a pooler too."""
        ours = not connection.in_transaction()

        def attempt() -> bool:
            taken = bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))))
            if ours and not taken:
                connection.rollback()
            return taken

        with _leaving_autocommit(connection):
            poll(attempt)
            with begun(connection) if ours else contextlib.nullcontext():
                yield


@contextlib.contextmanager
def _leaving_autocommit(connection: sa.Connection) -> Iterator[None]:
    """Give a connection in AUTOCOMMIT real transactions meanwhile."""
    if not in_autocommit(connection):
        yield
        return
    if connection.in_transaction():
        raise SchemaError(
            "a migration needs a transaction, and in AUTOCOMMIT what was begun is none: pass a connection that has "
            "not begun one, or one that is not in AUTOCOMMIT"
        )
    connection.execution_options(isolation_level=connection.default_isolation_level)
    try:
        yield
    finally:
        connection.execution_options(isolation_level="AUTOCOMMIT")


def _narrow_metadata(metadata: sa.Column[Any], wanted: dict[str, Any]) -> sa.ColumnElement[bool]:
    from sqlalchemy.dialects import postgresql

    document = json.dumps(wanted, ensure_ascii=False)
    return metadata.op("@>")(cast(bindparam(None, document, Text()), postgresql.JSONB))


POSTGRESQL = _PostgreSQL(
    name="postgresql",
    aliases=("postgres",),
    upsert=Upsert(insert_by("postgresql"), with_messages=True, waits=True),
    locks_rows=True,
    full_text=_Words(),
    narrow_metadata=_narrow_metadata,
    notes=(_NOTE,),
    autocommitting=AUTOCOMMITTING,
    connect_args=CONNECT_ARGS,
    has_zones=True,
    decodes_json=True,
    creates_schema=True,
)
