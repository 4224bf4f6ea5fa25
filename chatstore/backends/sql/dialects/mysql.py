"""MySQL and MariaDB: what chatstore does there in its own way.

Knows their types and collations, their drivers' errors and their named locks; refuses to know sessions and messages
beyond the columns it is handed. `mysql_search` has their full text.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Text,
    event,
    func,
    select,
    text,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.dialects import options, waiting
from chatstore.backends.sql.dialects.base import (
    CONNECT_SECONDS,
    Dialect,
    Kind,
    Upsert,
    insert_by,
)
from chatstore.backends.sql.dialects.migrating import LOCK_SECONDS, Waiting, transaction
from chatstore.backends.sql.dialects.mysql_search import FULL_TEXT, NOTES
from chatstore.errors import Invalid, StorageError
from chatstore.forks import this_thread
from chatstore.records import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine


_SYNC, _AWAITING = "pymysql", "aiomysql"
_CODES: dict[int, Kind] = {
    1062: "duplicate", 1048: "other", 1451: "other", 1452: "other", 3819: "other", 4025: "other",
    1213: "busy", 1305: "busy", 1205: "busy", 1020: "busy", 1180: "busy", 1047: "busy",
    1290: "readonly", 1792: "readonly", 1836: "readonly", 1146: "no_table", 1054: "no_table",
    1021: "full", 1114: "full", 1153: "too_large", 1406: "too_large",
    1045: "refused", 1049: "refused", 1130: "refused", 1251: "refused", 1275: "refused", 1698: "refused",
    1820: "refused", 1862: "refused", 2058: "refused", 2059: "refused", 2061: "refused",
    1044: "rights", 1142: "rights", 1143: "rights", 1227: "rights", 1370: "rights",
    1040: "limit", 1203: "limit", 1226: "limit", 1317: "timeout", 1969: "timeout", 3024: "timeout",
    2026: "tls", 3159: "tls", 1300: "encoding", 1366: "encoding", 1267: "encoding", 3988: "encoding",
    1115: "option", 1193: "option", 1231: "option",
    1053: "lost", 1158: "lost", 1159: "lost", 1160: "lost", 1161: "lost", 1927: "lost", 2002: "lost", 2003: "lost",
    2005: "lost", 2006: "lost", 2013: "lost", 2014: "lost", 2055: "lost", 4031: "lost",
}  # fmt: skip
#: Bytes of a statement left for everything but a message's content and payload.
_AROUND = 16_384
_ESCAPED = "\0\n\r\x1a\"'\\"


def _in_time(module: str) -> Callable[..., Any]:
    """Return how to connect by a driver that awaits, whose own limit ends before the greeting of the server."""

    async def connect(*args: Any, **options: Any) -> Any:
        import asyncio

        driver = import_module(module)
        seconds = options.get("connect_timeout") or CONNECT_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await driver.connect(*args, **options)
        except TimeoutError:
            raise driver.OperationalError(2003, f"no greeting within {seconds} s") from None

    return connect


#: For what runs outside of calls, which have a deadline. InnoDB waits for a lock for 50 s.
_WAITING: Mapping[str, Any] = {"connect_timeout": CONNECT_SECONDS, "read_timeout": 120, "write_timeout": 120}
CONNECT_ARGS: Mapping[str, Mapping[str, Any]] = {
    _SYNC: _WAITING,
    _AWAITING: {"async_creator_fn": _in_time("aiomysql")},
}
_MORE_ARGS: Mapping[str, Mapping[str, Any]] = {
    "mysqldb": {"connect_timeout": CONNECT_SECONDS},
    "mysqlconnector": _WAITING,
    "asyncmy": {"async_creator_fn": _in_time("asyncmy")},
}


class _Upsert(Upsert):
    """ON DUPLICATE KEY UPDATE, which has no condition."""

    def hold(self, table: sa.Table) -> Any:
        return self.insert(table).on_duplicate_key_update(revision=table.c.revision)

    def count(
        self,
        table: sa.Table,
        first: Mapping[str, Any],
        counted: Callable[[Any], dict[str, Any]],
        seen: sa.ColumnElement[bool],
    ) -> Any:
        """Have each value decide for itself whether the session is *seen*."""
        made = self.insert(table).values(**first)
        set_ = {name: func.if_(seen, value, table.c[name]) for name, value in counted(made.inserted).items()}
        return made.on_duplicate_key_update(list(set_.items()))

    def given(self, table: sa.Table, seen: sa.ColumnElement[bool]) -> tuple[Any, ...]:
        return func.if_(seen, table.c.last_position, None), table.c.revision


class _MySQL(Dialect):
    """Both servers, by PyMySQL or aiomysql; SQLAlchemy's dialect says which one it is."""

    # ---- URLs and engines

    def complete(self, url: sa.URL, *, asynchronous: bool) -> sa.URL:
        """Mean PyMySQL, or aiomysql when *asynchronous*; these two stand for each other."""
        name, _, driver = url.drivername.partition("+")
        if driver in {"", _SYNC, _AWAITING}:
            url = url.set(drivername=f"{name}+{_AWAITING if asynchronous else _SYNC}")
        return url if "charset" in url.query else url.update_query_dict({"charset": "utf8mb4"})

    def end(self, driver: Any) -> None:
        driver.close()

    def translated(self, url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
        """Translate what is said of TLS; every engine of ours speaks utf8mb4, whatever the URL says."""
        return options.for_mysql(url)

    def prepare_engine(self, engine: sa.Engine, url: sa.URL) -> None:
        """Have connecting end in time, and in TLS where *url* asks for it: drivers do without, if need be."""
        if engine.dialect.driver in _GREETED:
            event.listen(engine, "do_connect", _greeted_in_time)
        if url.get_driver_name() in options.NATIVE and options.tls_mode(url) in options.ENFORCED:
            event.listen(engine, "connect", _refuse_plain)

    def look_at(self, connection: sa.Connection) -> None:
        """Refuse an engine that does not speak utf8mb4: it writes question marks where the server's mode is lax."""
        found = connection.exec_driver_sql("SELECT @@character_set_client, @@character_set_connection").one()
        spoken = next((str(name) for name in found if name != "utf8mb4"), None)
        if spoken is not None:
            msg = (
                f"this engine speaks {spoken} with the database, which cannot hold every text: pass one that speaks "
                "utf8mb4, as with ?charset=utf8mb4 in its URL"
            )
            raise Invalid(msg)

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:
        """Read the number; a SQLSTATE, which PyMySQL's errors have too, says less."""
        args = getattr(error, "args", ())
        number = getattr(error, "errno", None) if hasattr(error, "sqlstate") else None
        if not isinstance(number, int) or number < 0:
            number = args[0] if args and isinstance(args[0], int) else None
        said = str(error).lower()
        if number in {2003, 2005, 2013, 2055} and "certificate" in said:
            return "tls"
        if (
            "'cryptography' package is required" in said
        ):  # how MySQL 8 asks for a password, where there is no TLS
            return "refused"
        if "operation timed out" in said:  # mysql-connector's own patience, under the number of the server's
            return "lost"
        return None if isinstance(error, OSError) else _CODES.get(number or 0)

    def limit(self, connection: sa.Connection, seconds: float) -> None:
        """Tell the server when to give up a statement, or waiting for a lock."""
        from chatstore.backends.sql import execution  # which knows the dialects

        execution.run(connection, _limits(connection.dialect, seconds))
        connection.rollback()  # of what SQLAlchemy begins by itself, but for drivers that begin explicitly

    # ---- column types

    def moment(self) -> TypeEngine[Any]:
        from sqlalchemy.dialects import mysql

        return mysql.DATETIME(fsp=6)

    def long_text(self, here: sa.Dialect) -> TypeEngine[Any]:
        from sqlalchemy.dialects import mysql

        return mysql.LONGTEXT(collation=_collation(here, exact=False))

    def exact_string(self, here: sa.Dialect, length: int | None) -> TypeEngine[Any]:
        from sqlalchemy.dialects import mysql

        return mysql.VARCHAR(length, collation=_collation(here, exact=True))

    def json(self, here: sa.Dialect, *, binary: bool) -> TypeEngine[Any]:  # noqa: ARG002
        from sqlalchemy.dialects import mysql

        return mysql.LONGTEXT(collation="utf8mb4_bin")

    # ---- columns in statements

    def seconds_between(
        self, begin: sa.ColumnElement[Any], end: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[Any]:
        return func.timestampdiff(text("MICROSECOND"), begin, end) / 1_000_000

    # ---- limits and promises

    def measured(self, connection: sa.Connection, *texts: str) -> tuple[int, int, str]:
        size, _, advice = super().measured(connection, *texts)
        size += sum(text.count(mark) for text in texts for mark in _ESCAPED)
        packet = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
        return size, packet - _AROUND, f"{advice}, or raise the server's max_allowed_packet"

    def durability(self, connection: sa.Connection) -> Durability:
        flush = str(connection.exec_driver_sql("SELECT @@innodb_flush_log_at_trx_commit").scalar())
        return Durability(
            "machine" if flush == "1" else "process", f"InnoDB, innodb_flush_log_at_trx_commit={flush} of 1"
        )

    # ---- migrations

    @contextlib.contextmanager
    def alone(self, connection: sa.Connection, schema: str | None, waiting: Waiting) -> Iterator[None]:
        """Take a named lock; the server frees it when the connection ends, however it ends."""
        ours = not connection.in_transaction()
        database = schema or connection.scalar(select(func.database()))
        name = "chatstore:" + hashlib.sha256(str(database).encode()).hexdigest()[:40]
        waiting.poll(
            lambda: connection.scalar(select(func.get_lock(name, 0))) == 1,
            lambda: f"connection {connection.scalar(select(func.is_used_lock(name)))}",
        )
        try:
            # A snapshot from before the lock would show an old version table, and a version that is written but
            # not committed would be invisible to the next in line. A change of a table commits here in any case.
            connection.rollback() if ours else connection.exec_driver_sql("COMMIT")
            with transaction(connection):
                yield
            if not ours:
                connection.exec_driver_sql("COMMIT")
        finally:
            with contextlib.suppress(SQLAlchemyError):  # the connection is gone, and with it the lock
                connection.scalar(select(func.release_lock(name)))
                if ours:
                    connection.rollback()

    @contextlib.contextmanager
    def briefly(self, connection: sa.Connection) -> Iterator[None]:
        """Set the limits for locks to a second, the least that there is, and have a watch that ends waits earlier."""
        names = ", ".join(f"@@SESSION.{name}" for name in _LOCK_LIMITS)
        before = connection.exec_driver_sql(f"SELECT {names}").one()
        number = int(connection.scalar(select(func.connection_id())) or 0)
        _set(connection, [1] * len(_LOCK_LIMITS))
        over = threading.Event()
        watch = threading.Thread(target=_end_waits, args=(connection.engine, number, over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join(1)
            with contextlib.suppress(SQLAlchemyError):  # the connection is gone
                _set(connection, before)

    def holders(self, connection: sa.Connection) -> str:
        """Name the connections to this database, those first whose transactions are the oldest."""
        ours = not connection.in_transaction()
        try:
            found = connection.exec_driver_sql(_HOLDING).all()
        except SQLAlchemyError:  # without the right PROCESS, InnoDB's transactions are not shown
            found = connection.exec_driver_sql(_CONNECTED).all()
        if ours:
            connection.rollback()
        said = [
            f"connection {number} (user {user}, {str(command).lower()}"
            f"{'' if age is None else f', in a transaction for {age} s'})"
            for number, user, command, age in found
        ]
        return " or ".join(said) or "another connection"


_WATCH_SECONDS = 0.05
_LOCK_LIMITS = ("lock_wait_timeout", "innodb_lock_wait_timeout")
_CONNECTED = (
    "SELECT id, user, command, NULL FROM information_schema.processlist "
    "WHERE db = database() AND id <> connection_id() ORDER BY time DESC LIMIT 3"
)
_HOLDING = (
    "SELECT p.id, p.user, p.command, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) "
    "FROM information_schema.processlist p LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id "
    "WHERE p.db = database() AND p.id <> connection_id() "
    "ORDER BY t.trx_started IS NULL, t.trx_started, p.time DESC LIMIT 3"
)


def _end_waits(engine: sa.Engine, number: int, over: threading.Event) -> None:
    """End what connection *number* waits for in the queue for a table, before a second of that is full.

    Without a connection for this, or the right to it, the server's own limit has to do.
    """
    asked = (
        f"SELECT count(*) FROM information_schema.processlist WHERE id = {number} "  # noqa: S608 - a number
        "AND state = 'Waiting for table metadata lock'"
    )
    since: float | None = None
    with (
        contextlib.suppress(SQLAlchemyError),
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as link,
    ):
        while not over.wait(_WATCH_SECONDS):
            now = time.monotonic()
            since = (since or now) if link.exec_driver_sql(asked).scalar() else None
            if since is not None and now - since >= 2 * LOCK_SECONDS:
                link.exec_driver_sql(f"KILL QUERY {number}")
                since = None


def _set(connection: sa.Connection, seconds: Any) -> None:
    limits = (f"{name} = {value:d}" for name, value in zip(_LOCK_LIMITS, seconds, strict=True))
    connection.exec_driver_sql(f"SET {', '.join(limits)}")


def _limits(here: Any, seconds: float) -> str:
    """Return the statement that sets the limits; lower ones of the server, the user or the URL stay, and are kept.

    MySQL has a limit of time for reads only.
    """
    name, value, number = (
        ("max_statement_time", f"{seconds:g}", "DECIMAL(20, 6)")
        if here.is_mariadb
        else ("max_execution_time", f"{1000 * seconds:.0f}", "UNSIGNED")
    )
    before = {
        one: f"CAST(COALESCE(@chatstore_{one}, @@SESSION.{one}) AS {kind})"
        for one, kind in ((name, number), *((lock, "UNSIGNED") for lock in _LOCK_LIMITS))
    }
    kept = (f"@chatstore_{one} = {told}" for one, told in before.items())
    locks = (f"{one} = LEAST({before[one]}, {max(1, math.ceil(seconds))})" for one in _LOCK_LIMITS)
    statements = f"{name} = IF({before[name]} > 0 AND {before[name]} < {value}, {before[name]}, {value})"
    return f"SET {', '.join([*kept, statements, *locks])}"


#: Drivers whose limit for connecting ends before the greeting of the server, and where the limit of a read is kept.
_GREETED = {"pymysql": "_read_timeout", "mysqlconnector": "_read_timeout"}


def _greeted_in_time(dialect: sa.Dialect, _record: object, arguments: Any, options: Any) -> Any:
    """Connect with the limit of connecting for every read; afterwards reads may take what they may."""
    patience = options.get("read_timeout")
    with this_thread.undivided:  # a forked child would find TLS's own locks held, and hang
        first = {**options, "read_timeout": options.get("connect_timeout", CONNECT_SECONDS)}
        made = waiting.connect(dialect, arguments, first)
    setattr(made, _GREETED[dialect.driver], patience)
    return made


def _refuse_plain(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        if not cursor.fetchone()[1]:
            raise StorageError(
                "the database server has no TLS, and the URL asks for it: switch it on there, or take the option out "
                "of the URL if nobody can listen in"
            )
    finally:
        cursor.close()


def _collation(here: Any, *, exact: bool) -> str:
    """Name a collation that neither pads nor folds accents: MySQL and MariaDB call them differently."""
    if exact:
        return "utf8mb4_nopad_bin" if here.is_mariadb else "utf8mb4_0900_bin"
    return "utf8mb4_uca1400_nopad_as_ci" if here.is_mariadb else "utf8mb4_0900_as_ci"


def _narrow_metadata(metadata: sa.Column[Any], wanted: dict[str, Any]) -> sa.ColumnElement[bool]:
    return func.json_contains(type_coerce(metadata, Text), json.dumps(wanted, ensure_ascii=False)) == 1


_NAMES = ("mysql", "mariadb")
MYSQL = _MySQL(
    name=_NAMES[0],
    aliases=_NAMES[1:],
    upsert=_Upsert(insert_by("mysql"), waits=True),
    locks_rows=True,
    full_text=FULL_TEXT,
    narrow_metadata=_narrow_metadata,
    notes=NOTES,
    begin="START TRANSACTION",
    autocommitting=frozenset(CONNECT_ARGS),
    isolation="REPEATABLE READ",
    reads_snapshot=True,
    connect_args={**CONNECT_ARGS, **_MORE_ARGS},
    checks_json=True,
    table_options={
        f"{name}_{option}": value
        for name in _NAMES
        for option, value in (
            ("engine", "InnoDB"),
            ("charset", "utf8mb4"),
            ("row_format", "DYNAMIC"),  # index keys of 3,072 bytes, whatever the server's default
        )
    },
)
