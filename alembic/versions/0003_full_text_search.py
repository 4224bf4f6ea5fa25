"""Create the search index, where the database has full text.

It stands beside the messages, and every append writes to it; ``chatstore_0006`` takes it away again. Complete in
itself, as what makes it no longer stands in the library.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import sqlalchemy as sa
from alembic import op

from chatstore.backends.sql import search_objects
from chatstore.backends.sql.migration_steps import dialect, execute, offline, qualified, schema

revision = "chatstore_0003"
down_revision = "chatstore_0002"
branch_labels = None
depends_on = None

#: The FTS5 table of SQLite, and what keeps it in step.
FTS = "chatstore_messages_fts"
TRIGGERS = {
    "insert": ("INSERT", True, False),
    "delete": ("DELETE", False, True),
    "update": ("UPDATE OF content", True, True),
}
#: The index of the others, and the function behind it on PostgreSQL.
INDEX, FUNCTION = "ix_chatstore_messages_words", "chatstore_words"
#: A tsvector ends at 1 MB; a character takes at most four bytes.
CHARACTERS = 262_000


def upgrade() -> None:
    """Index what is stored; appends wait meanwhile on PostgreSQL, MySQL and MariaDB."""
    make = CREATE.get(dialect().name)
    if make is None or (not offline() and (not search_objects.can_index(op.get_bind()) or _exists())):
        return
    for statement in make():
        execute(statement)


def downgrade() -> None:
    """Drop the index; nothing is lost."""
    if dialect().name not in CREATE or (
        dialect().name in {"mysql", "mariadb"} and not offline() and not _exists()
    ):
        return
    for statement in DROP[dialect().name]():
        execute(statement)


def _exists() -> bool:
    """Tell whether the index is whole; only the MySQL family cannot be told to make or drop it once."""
    if dialect().name not in {"mysql", "mariadb"}:
        return False
    found = op.get_bind().execute(
        sa.text(
            "SELECT count(*) FROM information_schema.statistics WHERE table_name = 'chatstore_messages' "
            "AND index_name = :index AND table_schema = coalesce(:schema, database())"
        ),
        {"index": INDEX, "schema": schema()},
    )
    return bool(found.scalar_one())


def _create_sqlite() -> list[str]:
    settings = "content, content='chatstore_messages', content_rowid='id'"
    tokens = "unicode61 remove_diacritics 0"
    add = f"INSERT INTO {FTS}(rowid, content) VALUES (new.id, new.content);"  # noqa: S608 -- constants
    remove = f"INSERT INTO {FTS}({FTS}, rowid, content) VALUES ('delete', old.id, old.content);"  # noqa: S608
    triggers = [
        f"CREATE TRIGGER IF NOT EXISTS {qualified(f'{FTS}_{name}')} AFTER {event} ON chatstore_messages "
        f"BEGIN {' '.join([remove] * removes + [add] * adds)} END"
        for name, (event, adds, removes) in TRIGGERS.items()
    ]
    return [
        f'CREATE VIRTUAL TABLE IF NOT EXISTS {qualified(FTS)} USING fts5({settings}, tokenize="{tokens}")',
        *triggers,
        f"INSERT INTO {qualified(FTS)}({FTS}) VALUES ('rebuild')",  # noqa: S608 -- constants
    ]


def _drop_sqlite() -> list[str]:
    triggers = [f"DROP TRIGGER IF EXISTS {qualified(f'{FTS}_{name}')}" for name in TRIGGERS]
    return [*triggers, f"DROP TABLE IF EXISTS {qualified(FTS)}"]


def _create_postgresql() -> list[str]:
    """Return the function and its index; letters are what ICU says, where it knows the database's encoding."""
    function = qualified(FUNCTION)
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
        make + body.format(limit=CHARACTERS, collate=collate) + " $words$"
        for collate in ("", ' COLLATE pg_catalog."und-x-icu"')
    )
    on = qualified("chatstore_messages")
    # a mark that does not stand in the body: the name of a schema may be anything
    mark = next(mark for number in count(1) if (mark := f"$words{number}$") not in known)
    return [
        f"DO {mark} BEGIN {known}; EXCEPTION WHEN undefined_object THEN {plain}; END {mark}",
        f"CREATE INDEX IF NOT EXISTS {INDEX} ON {on} USING gin ({function}(content))",
    ]


def _drop_postgresql() -> list[str]:
    return [
        f"DROP INDEX IF EXISTS {qualified(INDEX)}",
        f"DROP FUNCTION IF EXISTS {qualified(FUNCTION)}(text)",
    ]


def _create_mysql() -> list[str]:
    """Return the index, by a copy of the table: made in place a second time, it knows no old row."""
    return [
        f"ALTER TABLE {qualified('chatstore_messages')} ADD FULLTEXT INDEX {INDEX} (content), ALGORITHM=COPY"
    ]


def _drop_mysql() -> list[str]:
    # FORCE rebuilds the table without the hidden column that the index needed
    return [f"ALTER TABLE {qualified('chatstore_messages')} DROP INDEX {INDEX}, FORCE"]


CREATE: dict[str, Any] = {
    "sqlite": _create_sqlite,
    "postgresql": _create_postgresql,
    "mysql": _create_mysql,
    "mariadb": _create_mysql,
}
DROP: dict[str, Any] = {
    "sqlite": _drop_sqlite,
    "postgresql": _drop_postgresql,
    "mysql": _drop_mysql,
    "mariadb": _drop_mysql,
}
