"""The page of the schema: tables and columns from the models and their comments, views with what they show.

What the columns of the views mean stands in the revision that made them; a test compares their names with a migrated
database. Refuses to know types by itself: each dialect is asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from alembic.script import ScriptDirectory
from sqlalchemy import URL
from sqlalchemy.schema import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

from chatstore.backends.sql import migrations, models
from chatstore.backends.sql.dialects.base import SEARCH_INDEX, SEARCH_TABLE
from chatstore.backends.sql.dialects.sqlite_search import SEARCH_WORDS

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

INTRODUCTION = f"""\
# Schema

<!-- written by `python -m tests.reference` from chatstore/backends/sql/models.py -->

Three tables and three views, made by [migrations](../how-to/alembic-upgrade.md) and by nothing else. This is
revision `{models.HEAD}`; the table `{models.VERSION_TABLE}` says at which one a database is. Comments stand
in the database too, where it has them: PostgreSQL for views as well.

Ids and other names are compared byte for byte on every database: `A` and `a` are two sessions. Times are in
UTC with microseconds: `timestamptz` on PostgreSQL, without a zone on MariaDB and MySQL, on SQLite as text
that its date functions understand."""
AFTERWARDS = """\
## Reading `payload`

`payload` is everything that `type`, `content` and `message_id` do not hold: tool calls, usage, metadata of
the response, content that is a list of blocks. It is `{}` for a plain message. `name`, `tool_call_id`,
`model` and the tokens are copies of what it holds, because people filter on them; they are null where there
is nothing, or more than fits.

Where a database could not hold a value as it is (a NUL character, a lone surrogate, nesting of more than 30
levels, an integer of more than 308 digits), the payload is a JSON *string* whose text is the object, in
ASCII. JSON operators find nothing in it and do not fail. `content` then has the readable text, with
`\\ufffd` in the place of what cannot be stored."""
#: What the views show, from the revision that made them last.
VIEWS: dict[str, tuple[str, dict[str, str]]] = (
    ScriptDirectory.from_config(migrations.config()).get_revision("chatstore_0005").module.COMMENTS
)
BY_TIME = "`created_at`, when its message was stored, with the index `ix_chatstore_search_time`"
SEARCH = f"""\
## Full text

| database | what there is |
| --- | --- |
| PostgreSQL | the table `{SEARCH_TABLE}`: `words` is a `tsvector` with the GIN index `{SEARCH_INDEX}`, and {BY_TIME} |
| MariaDB, MySQL | the table `{SEARCH_TABLE}`: `words` is text with the FULLTEXT index `{SEARCH_INDEX}` |
| SQLite | the FTS5 table `{SEARCH_WORDS}`, whose `rowid` is the `number` in the table `{SEARCH_TABLE}` |
| any other | nothing: search reads every message |

The `message` in it is `chatstore_messages.id`. The words are chatstore's own, in letters and digits of ASCII, with
marks of the session and its owner among them; [Search](../explanation/search.md) explains them. Appends do not write
here. A search adds what is new, and so does `chatstore index refresh`: `chatstore_sessions.indexed_position` says
how far each session is.

Another program may insert messages, if it counts `last_position` on. Where one changes the `content` of a message, or
the owner of a session, it sets `indexed_position` of the session to 0 in the same transaction, so that all of it is
indexed again; what it deletes is found no more.

The index is optional: `chatstore index drop` takes it away, and `chatstore index create` brings it back."""
DRIVERS = {"PostgreSQL": "postgresql+psycopg", "MariaDB, MySQL": "mariadb+pymysql", "SQLite": "sqlite"}
DIALECTS: dict[str, Any] = {name: URL.create(driver).get_dialect()() for name, driver in DRIVERS.items()}


def page() -> str:
    """Return the page."""
    tables = [_table(models.sessions), _table(models.messages), _table(models.states)]
    return "\n\n".join([INTRODUCTION, *tables, AFTERWARDS, *map(_view, VIEWS), SEARCH]) + "\n"


def _table(table: Table) -> str:
    head = f"| column | {' | '.join(DIALECTS)} | null | meaning |"
    rows = [_row(column) for column in table.columns]
    return "\n".join(
        [
            f"## `{table.name}`",
            "",
            f"{table.comment}.",
            "",
            head,
            "|" + " --- |" * 6,
            *rows,
            "",
            *_constraints(table),
        ]
    )


def _row(column: Column[object]) -> str:
    types = (column.type.compile(dialect) for dialect in DIALECTS.values())
    shown = " | ".join(f"`{re.sub(' (?:COLLATE|CHARACTER SET) .*', '', one)}`" for one in types)
    return f"| `{column.name}` | {shown} | {'yes' if column.nullable else ''} | {column.comment} |"


def _constraints(table: Table) -> list[str]:
    lines = [f"- Primary key: {_names(table.primary_key.columns.keys())}"]
    for one in sorted(table.constraints, key=lambda one: str(one.name)):
        if isinstance(one, UniqueConstraint):
            lines.append(f"- Unique: {_names(one.columns.keys())}")
        elif isinstance(one, ForeignKeyConstraint):
            where = ", ".join(f"`{key.target_fullname}`" for key in one.elements)
            rule = f"on delete {str(one.ondelete).lower()}"
            lines.append(f"- Foreign key: {_names(one.columns.keys())} to {where}, {rule}")
        elif isinstance(one, CheckConstraint):
            lines.append(f"- On MariaDB and MySQL only: `{one.sqltext}`")
    indexes = sorted(table.indexes, key=lambda one: str(one.name))
    return lines + [f"- Index `{one.name}`: {_names(one.columns.keys())}" for one in indexes]


def _names(keys: list[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _view(name: str) -> str:
    sentence, columns = VIEWS[name]
    rows = [f"| `{column}` | {meaning} |" for column, meaning in columns.items()]
    return "\n".join(
        [f"## View `{name}`", "", f"{sentence}.", "", "| column | meaning |", "| --- | --- |", *rows]
    )
