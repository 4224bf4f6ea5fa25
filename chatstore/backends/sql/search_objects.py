"""The full-text index of each database: whether it is there, how it is made and taken away.

Knows the objects behind search: an FTS5 table kept by triggers on SQLite, a function and a GIN index on
PostgreSQL, a FULLTEXT index on MySQL and MariaDB; elsewhere there is none and search scans. Refuses to know
how a search is asked: ``search.py`` does. The index is optional: an append costs less without it, so
``chatstore index drop`` takes it away, and everything here may be repeated.

What is indexed everywhere: words, that is runs of letters and digits, whatever their case; accents count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from chatstore.backends.sql.ddl import qualify, verbatim

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect

TABLE = "chatstore_messages"
#: The index on PostgreSQL, MySQL and MariaDB.
SEARCH_INDEX = "ix_chatstore_messages_words"
#: The FTS5 table on SQLite; its rowid is the message's ``id``.
SEARCH_TABLE = "chatstore_messages_fts"
#: What FTS5 keeps behind it.
SEARCH_TABLES = (
    SEARCH_TABLE,
    *(f"{SEARCH_TABLE}_{part}" for part in ("data", "idx", "content", "docsize", "config")),
)
SEARCH_TRIGGERS = tuple(f"{SEARCH_TABLE}_{event}" for event in ("insert", "delete", "update"))
#: The function on PostgreSQL: content in, tsvector out; ``chatstore_words(content)`` is what the index holds.
WORDS_FUNCTION = "chatstore_words"
#: A tsvector ends at 1 MB. A character takes at most four bytes, so this many can never reach it, whatever
# they are.
WORDS_CHARACTERS = 262_000


def search_index_exists(connection: Connection, schema: str | None = None) -> bool:
    """Tell whether the search index of this database is whole."""
    dialect = connection.dialect
    if dialect.name == "sqlite":
        within = f"{qualify(dialect, schema, None)}." if schema else ""
        found = connection.exec_driver_sql(
            f"SELECT count(*) FROM {within}sqlite_master WHERE name IN (?, ?, ?, ?)",  # noqa: S608 -- quoted
            (SEARCH_TABLE, *SEARCH_TRIGGERS),
        )
        return bool(found.scalar_one() == 1 + len(SEARCH_TRIGGERS))
    if dialect.name == "postgresql":
        name = qualify(dialect, SEARCH_INDEX, schema)
        return bool(connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}))
    if dialect.name in {"mysql", "mariadb"}:
        found = connection.execute(
            text(
                "SELECT count(*) FROM information_schema.statistics WHERE table_name = :table "
                "AND index_name = :index AND table_schema = coalesce(:schema, database())"
            ),
            {"table": TABLE, "index": SEARCH_INDEX, "schema": schema},
        )
        return bool(found.scalar_one())
    return False


def can_index(connection: Connection) -> bool:
    """Tell whether this database can have a search index: some builds of SQLite lack FTS5."""
    if connection.dialect.name == "sqlite":
        return "fts5" in connection.exec_driver_sql("PRAGMA module_list").scalars().all()
    return connection.dialect.name in {"postgresql", "mysql", "mariadb"}


def create_search_index(connection: Connection, schema: str | None = None) -> bool:
    """Create the search index over all that is stored; False where this database can have none.

    Nothing happens where it is whole already. PostgreSQL and the MySQL family hold appends back meanwhile.
    """
    if not can_index(connection):
        return False
    if not search_index_exists(connection, schema):
        for statement in creation(connection.dialect, schema):
            connection.execute(verbatim(statement))
    return True


def drop_search_index(connection: Connection, schema: str | None = None) -> None:
    """Take the search index away; nothing happens where there is none."""
    mysql = connection.dialect.name in {"mysql", "mariadb"}
    if not mysql or search_index_exists(connection, schema):  # MySQL has no DROP INDEX IF EXISTS
        for statement in removal(connection.dialect, schema):
            connection.execute(verbatim(statement))


def creation(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that create the search index of *dialect*; none where it has no full text."""
    make = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql}.get(
        dialect.name
    )
    return make(dialect, schema) if make else []


def removal(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that take the search index of *dialect* away."""
    if dialect.name == "sqlite":
        triggers = [f"DROP TRIGGER IF EXISTS {qualify(dialect, name, schema)}" for name in SEARCH_TRIGGERS]
        return [*triggers, f"DROP TABLE IF EXISTS {qualify(dialect, SEARCH_TABLE, schema)}"]
    if dialect.name == "postgresql":
        return [
            f"DROP INDEX IF EXISTS {qualify(dialect, SEARCH_INDEX, schema)}",
            f"DROP FUNCTION IF EXISTS {qualify(dialect, WORDS_FUNCTION, schema)}(text)",
        ]
    if dialect.name in {"mysql", "mariadb"}:
        # FORCE rebuilds the table without the hidden column that the index needed
        return [f"ALTER TABLE {qualify(dialect, TABLE, schema)} DROP INDEX {SEARCH_INDEX}, FORCE"]
    return []


def triggers(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the statements that create SQLite's triggers, which keep the FTS5 table in step.

    A trigger's body names tables of its own database only, without a schema.
    """
    into = f"INSERT INTO {SEARCH_TABLE}"
    add = f"{into}(rowid, content) VALUES (new.id, new.content);"
    remove = f"{into}({SEARCH_TABLE}, rowid, content) VALUES ('delete', old.id, old.content);"
    events = {
        "insert": ("INSERT", add),
        "delete": ("DELETE", remove),
        "update": ("UPDATE OF content", remove + " " + add),
    }
    return [
        f"CREATE TRIGGER IF NOT EXISTS {qualify(dialect, f'{SEARCH_TABLE}_{name}', schema)} "
        f"AFTER {event} ON {TABLE} BEGIN {body} END"
        for name, (event, body) in events.items()
    ]


def _sqlite(dialect: Dialect, schema: str | None) -> list[str]:
    table = qualify(dialect, SEARCH_TABLE, schema)
    tokens = "unicode61 remove_diacritics 0"
    settings = f"content, content='{TABLE}', content_rowid='id', tokenize=\"{tokens}\""
    return [
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5({settings})",
        *triggers(dialect, schema),
        f"INSERT INTO {table}({SEARCH_TABLE}) VALUES ('rebuild')",  # noqa: S608 -- constants
    ]


def _postgresql(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the function and its index; letters are what ICU says, where there is ICU."""
    function = qualify(dialect, WORDS_FUNCTION, schema)
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
    on = qualify(dialect, TABLE, schema)
    return [
        f"DO $do$ BEGIN IF {has_icu} THEN {known}; ELSE {plain}; END IF; END $do$",
        f"CREATE INDEX IF NOT EXISTS {SEARCH_INDEX} ON {on} USING gin ({function}(content))",
    ]


def _mysql(dialect: Dialect, schema: str | None) -> list[str]:
    """Return the index, by a copy of the table: made in place a second time, it knows no old row."""
    on = qualify(dialect, TABLE, schema)
    return [f"ALTER TABLE {on} ADD FULLTEXT INDEX {SEARCH_INDEX} (content), ALGORITHM=COPY"]
