"""PostgreSQL: what chatstore does there in its own way.

Knows its types, its drivers' errors and its advisory locks; refuses to know sessions and messages beyond the columns
it is handed. ``postgresql_search.py`` has its full text, and ``poolers.py`` knows what stands before a server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    Text,
    bindparam,
    cast,
    extract,
    func,
    literal_column,
    select,
    text,
)

from chatstore.backends.sql.dialects import options, poolers
from chatstore.backends.sql.dialects.base import (
    CONNECT_SECONDS,
    Dialect,
    Kind,
    Upsert,
    insert_by,
)
from chatstore.backends.sql.dialects.migrating import LOCK_SECONDS, Waiting, begun, in_autocommit
from chatstore.backends.sql.dialects.postgresql_search import FULL_TEXT
from chatstore.errors import Invalid, SchemaError
from chatstore.records import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

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
    "42501": "rights", "53300": "limit", "53400": "limit", "57014": "timeout", "25P04": "timeout",
    "22P05": "encoding", "22021": "encoding",
    "57P01": "lost", "57P02": "lost", "57P03": "lost", "57P05": "lost", "25P03": "lost",
}  # fmt: skip
#: What is said at the door, where psycopg and psycopg2 have no SQLSTATE; the first part that is in it counts.
_AT_THE_DOOR: dict[str, Kind] = {
    "invalid connection option": "option", "for connection option": "option", "invalid sslmode": "option",
    "unrecognized configuration parameter": "option", "invalid value for parameter": "option",
    "no encryption": "tls", "not support ssl": "tls", "refuses ssl": "tls", "rejected ssl": "tls", "ssl error": "tls",
    "certificate": "tls", "too many connections": "limit", "too many clients": "limit", "connection slots": "limit",
    "permission denied for database": "rights", "authentication failed": "refused", "no password": "refused",
    "pg_hba.conf": "refused", "not permitted": "refused", "does not exist": "refused",
}  # fmt: skip


class _PostgreSQL(Dialect):
    """PostgreSQL by psycopg, psycopg2 or asyncpg."""

    # ---- URLs and engines

    def complete(self, url: sa.URL, *, asynchronous: bool) -> sa.URL:  # noqa: ARG002
        """Mean psycopg 3 where no driver is named, in both worlds."""
        return url if "+" in url.drivername else url.set(drivername=f"{self.name}+psycopg")

    def end(self, driver: Any) -> None:
        if hasattr(driver, "pgconn"):  # psycopg's own `close` is awaited
            driver.pgconn.finish()
        else:
            driver.terminate()

    def translated(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """Translate libpq's options; every engine of ours speaks UTF-8, whatever the URL or the database says."""
        return options.for_postgresql(url)

    def prepare_engine(self, engine: sa.Engine, url: sa.URL) -> None:  # noqa: ARG002
        poolers.prepare_where_direct(engine)

    def limit(self, connection: sa.Connection, seconds: float) -> None:
        """Tell the server of a connection that is known to stay with it when to give a statement up.

        Behind a pooler it would be told on behalf of the next client, too. A lower limit of the role or the database
        stays.
        """
        if connection.connection.info.get(poolers.DIRECT):
            poolers.limit(connection, seconds)

    def look_at(self, connection: sa.Connection) -> None:
        """Refuse an engine that does not speak UTF-8: what it cannot say it could not read either."""
        spoken = connection.exec_driver_sql("SHOW client_encoding").scalar()
        spoken = spoken.decode() if isinstance(spoken, bytes) else str(spoken)
        if spoken.upper().replace("-", "") not in {"UTF8", "UNICODE"}:
            msg = (
                f"this engine speaks {spoken} with the database, which cannot hold every text: pass one that speaks "
                "UTF8, such as create_engine(…, connect_args={'client_encoding': 'utf8'})"
            )
            raise Invalid(msg)
        poolers.warn_of_names(connection)

    def lent(self, kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Have JSON objects that may come as text; ask for no extension."""
        from chatstore.backends.sql.dialects import lent

        return {"colspecs": lent.documents(kind)}, {"use_native_hstore": False}

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:
        """Read the SQLSTATE; a refusal at the door from its text, since libpq has no code for that."""
        args = getattr(error, "args", ())
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if args and isinstance(args[0], dict):  # pg8000 hands on what the server sent
            state = args[0].get("C")
        if isinstance(state, str) and not (args and isinstance(args[0], int)):
            said = str(error)
            if state == "28000" and "no encryption" in said:
                return "tls"
            known: Kind | None = "lost" if state.startswith("08") else _STATES.get(state)
            if known is not None:
                return known
        text = str(error).lower()
        if state in {"42704", "22023"} or _is_a_refusal(text):
            return next((kind for part, kind in _AT_THE_DOOR.items() if part in text), None)
        return None

    def lost(self, error: Any) -> bool:
        """Tell whether psycopg met a broken socket: it has no code then, and libpq may not have noticed yet.

        SQLAlchemy asks the connection whether it is closed, which is still denied at that moment. asyncpg, in that
        moment, cannot leave the state of the statement before, which it says as a fault of its own.
        """
        if type(error).__name__ == "InternalClientError":
            return "cannot switch to state" in str(error)
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

    def hour(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return super().hour(func.timezone("UTC", moment))

    def seconds_between(
        self, begin: sa.ColumnElement[Any], end: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[Any]:
        return extract("epoch", end - begin)

    def rows_of(self, document: Any, columns: list[Any]) -> Any:
        from sqlalchemy.dialects import postgresql

        rows = func.json_to_recordset(cast(document, postgresql.JSON))
        return rows.table_valued(*columns, name="new").render_derived(with_types=True)

    def copying(self, here: sa.Dialect, table: sa.Table, names: Sequence[str]) -> str | None:
        if here.driver not in AUTOCOMMITTING or here.is_async:
            return None
        quoted = here.identifier_preparer
        columns = ", ".join(map(quoted.quote, names))
        return f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"

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
    def alone(
        self,
        connection: sa.Connection,
        schema: str | None,  # noqa: ARG002
        waiting: Waiting,
    ) -> Iterator[None]:
        """Take the lock for the transaction; it ends with it, after a crash and behind a pooler too."""
        ours = not connection.in_transaction()

        def attempt() -> bool:
            taken = bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))))
            if ours and not taken:
                connection.rollback()
            return taken

        with _leaving_autocommit(connection):
            waiting.poll(attempt, lambda: _told(connection, _MIGRATING, ends=ours))
            with begun(connection) if ours else contextlib.nullcontext():
                yield

    @contextlib.contextmanager
    def briefly(self, connection: sa.Connection) -> Iterator[None]:
        """Set lock_timeout for what follows; in a caller's transaction behind a savepoint, so that it can go on."""
        before = connection.scalar(select(func.current_setting("lock_timeout")))
        with connection.begin_nested():
            connection.scalar(
                select(func.set_config("lock_timeout", f"{1000 * LOCK_SECONDS:.0f}ms", text("true")))
            )
            yield
            connection.scalar(select(func.set_config("lock_timeout", before, text("true"))))

    def holders(self, connection: sa.Connection) -> str:
        return _told(connection, _HOLDING, ends=not connection.in_transaction())


_WHO = (
    "SELECT a.pid, a.application_name, a.usename, a.state, "
    "cast(extract(epoch FROM clock_timestamp() - min(a.xact_start)) AS integer) FROM pg_catalog.pg_locks l "
    "JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation "
    "WHERE l.granted AND a.pid <> pg_catalog.pg_backend_pid() AND a.datname = pg_catalog.current_database() AND {} "
    "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC NULLS LAST LIMIT 3"
)
_HOLDING = _WHO.format("left(c.relname, 9) = 'chatstore'")
_MIGRATING = _WHO.format(
    f"l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid = {_LOCK % 2**64 >> 32} "
    f"AND l.objid = {_LOCK % 2**32}"
)


def _told(connection: sa.Connection, query: str, *, ends: bool) -> str:
    """Say what *query* finds: process, application, user, state and age of the transaction; no statement's text."""
    found = connection.exec_driver_sql(query).all()
    if ends:
        connection.rollback()
    said = [
        f"pid {pid} ({', '.join(part for part in (name, f'user {user}', state) if part)}"
        f"{'' if age is None else f', for {age} s'})"
        for pid, name, user, state, age in found
    ]
    return " and ".join(said) or "another connection"


def _is_a_refusal(text: str) -> bool:
    """Tell whether *text* is what was said instead of a connection."""
    return any(
        part in text for part in ("fatal:", "connection to server", "ssl", "certificate", "connection option")
    )


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
    full_text=FULL_TEXT,
    narrow_metadata=_narrow_metadata,
    autocommitting=AUTOCOMMITTING,
    connect_args=CONNECT_ARGS,
    has_zones=True,
    decodes_json=True,
    creates_schema=True,
)
