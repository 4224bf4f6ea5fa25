"""MySQL and MariaDB: what chatstore does there in its own way.

Knows their types and collations, their drivers' errors, their full text (a FULLTEXT index that knows some words only)
and their named locks; refuses to know sessions and messages beyond the columns it is handed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Text, func, select, text, type_coerce
from sqlalchemy.exc import SQLAlchemyError

from chatstore.backends.sql.ddl import qualify
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
from chatstore.backends.sql.dialects.migrating import poll, transaction
from chatstore.messages import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import sqlalchemy as sa
    from sqlalchemy.types import TypeEngine

    from chatstore.arguments import SearchFilter

_SYNC, _AWAITING = "pymysql", "aiomysql"
_CODES: dict[int, Kind] = {
    1062: "duplicate", 1048: "other", 1451: "other", 1452: "other", 3819: "other", 4025: "other",
    1213: "busy", 1305: "busy", 1205: "busy", 1020: "busy", 1180: "busy", 1047: "busy",
    1290: "readonly", 1792: "readonly", 1836: "readonly", 1146: "no_table", 1054: "no_table",
    1021: "full", 1114: "full", 1153: "too_large", 1406: "too_large", 1045: "refused", 1044: "refused", 1049: "refused",
    1142: "refused", 1040: "lost", 1053: "lost", 2002: "lost", 2003: "lost", 2006: "lost", 2013: "lost", 2014: "lost",
}  # fmt: skip
_NOTE = (
    "search on MySQL and MariaDB scans for queries of short words and stopwords only: the FULLTEXT index leaves out "
    "words under innodb_ft_min_token_size (3), and holds snake_case as one word, which snake or case does not find, "
    "and what is written with combining marks or mathematical letters as the database splits it"
)
#: InnoDB leaves these out of its index, and words outside of these lengths.
_STOPWORDS = frozenset((
    "a", "about", "an", "are", "as", "at", "be", "by", "com", "de", "en", "for", "from", "how", "i", "in", "is", "it",
    "la", "of", "on", "or", "that", "the", "this", "to", "was", "what", "when", "where", "who", "will", "with", "und",
    "www",
))  # fmt: skip
_SHORTEST, _LONGEST = 3, 84
#: Bytes of a statement left for everything but a message's content and payload.
_AROUND = 16_384
_ESCAPED = "\0\n\r\x1a\"'\\"


async def _connected_in_time(*args: Any, **options: Any) -> Any:
    """Connect by aiomysql, whose own limit ends before the greeting of the server."""
    import asyncio

    import aiomysql

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await aiomysql.connect(*args, **options)
    except TimeoutError:
        raise aiomysql.OperationalError(2003, f"no greeting within {CONNECT_SECONDS} s") from None


#: InnoDB waits for a lock for 50 s. aiomysql cannot be told a limit for statements: who awaits may set one of their
#: own, by `asyncio.timeout`.
CONNECT_ARGS: Mapping[str, Mapping[str, Any]] = {
    _SYNC: {"connect_timeout": CONNECT_SECONDS, "read_timeout": 120, "write_timeout": 120},
    _AWAITING: {"async_creator_fn": _connected_in_time},
}


class _Upsert(Upsert):
    """ON DUPLICATE KEY UPDATE, which has no condition and gives nothing back."""

    returns: ClassVar[bool] = False

    def hold(self, table: sa.Table) -> Any:
        return self.insert(table).on_duplicate_key_update(revision=table.c.revision)

    def count(
        self,
        table: sa.Table,
        first: Mapping[str, Any],
        counted: Callable[[Any], dict[str, Any]],
        seen: sa.ColumnElement[bool],
    ) -> Any:
        """Have each value decide for itself whether the session is *seen*; the caller reads the row back."""
        made = self.insert(table).values(**first)
        set_ = {name: func.if_(seen, value, table.c[name]) for name, value in counted(made.inserted).items()}
        return made.on_duplicate_key_update(list(set_.items()))


class _Fulltext(FullText):
    """A FULLTEXT index, which finds candidates."""

    answers = False
    #: InnoDB shows it what is committed only.
    sees_own_writes = False
    #: There is no DROP INDEX IF EXISTS.
    drops_once = True

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        found = connection.execute(
            text(
                "SELECT count(*) FROM information_schema.statistics WHERE table_name = :table "
                "AND index_name = :index AND table_schema = coalesce(:schema, database())"
            ),
            {"table": MESSAGES, "index": SEARCH_INDEX, "schema": schema},
        )
        return bool(found.scalar_one())

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        """Return the index, by a copy of the table: made in place a second time, it knows no old row."""
        on = qualify(here, MESSAGES, schema)
        return [f"ALTER TABLE {on} ADD FULLTEXT INDEX {SEARCH_INDEX} (content), ALGORITHM=COPY"]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        # FORCE rebuilds the table without the hidden column that the index needed
        return [f"ALTER TABLE {qualify(here, MESSAGES, schema)} DROP INDEX {SEARCH_INDEX}, FORCE"]

    def select(
        self,
        found: sa.Select[Any],
        messages: sa.Table,
        wanted: SearchFilter,
        schema: str | None,  # noqa: ARG002
    ) -> sa.Select[Any] | None:
        """Ask for the words that can be in the index; the caller looks for the others."""
        from sqlalchemy.dialects import mysql

        known = [f"+{word}" for word in wanted.words if _is_indexed(word)]
        if not known:
            return None
        score = mysql.match(messages.c.content, against=" ".join(known)).in_boolean_mode()
        return found.where(score).order_by(score.desc()).limit(RANKED)


def _is_indexed(word: str) -> bool:
    return _SHORTEST <= len(word) <= _LONGEST and word not in _STOPWORDS


@dataclass(frozen=True, kw_only=True)
class _MySQL(Dialect):
    """Both servers, by PyMySQL or aiomysql; SQLAlchemy's dialect says which one it is."""

    # ---- URLs and engines

    def complete(self, url: sa.URL, *, asynchronous: bool) -> sa.URL:
        """Mean PyMySQL, or aiomysql when *asynchronous*; these two stand for each other."""
        name, _, driver = url.drivername.partition("+")
        if driver in {"", _SYNC, _AWAITING}:
            url = url.set(drivername=f"{name}+{_AWAITING if asynchronous else _SYNC}")
        return url if "charset" in url.query else url.update_query_dict({"charset": "utf8mb4"})

    # ---- errors

    def error_kind(self, error: Any) -> Kind | None:
        """Read the number; PyMySQL's errors have a SQLSTATE too, which says less."""
        args = getattr(error, "args", ())
        return _CODES.get(args[0]) if args and isinstance(args[0], int) else None

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
    def alone(self, connection: sa.Connection, schema: str | None) -> Iterator[None]:
        """Take a named lock; the server frees it when the connection ends, however it ends."""
        ours = not connection.in_transaction()
        database = schema or connection.scalar(select(func.database()))
        name = "chatstore:" + hashlib.sha256(str(database).encode()).hexdigest()[:40]
        poll(lambda: connection.scalar(select(func.get_lock(name, 0))) == 1)
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
    full_text=_Fulltext(),
    narrow_metadata=_narrow_metadata,
    notes=(_NOTE,),
    begin="START TRANSACTION",
    autocommitting=frozenset(CONNECT_ARGS),
    isolation="REPEATABLE READ",
    reads_snapshot=True,
    connect_args=CONNECT_ARGS,
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
