"""The full text of MySQL and MariaDB: a table of words with a FULLTEXT index.

Knows how the index is made, written and asked in boolean mode; refuses to know whose messages are looked for.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    not_,
    or_,
    text,
)

from chatstore import words
from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects.base import (
    MESSAGES,
    SEARCH_INDEX,
    SEARCH_TABLE,
    Asked,
    FullText,
    Indexing,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from chatstore.words import Query

_NOTE = (
    "search on MySQL and MariaDB needs innodb_ft_min_token_size to be 3 or less, which is its default, or words of one "
    "letter are not found"
)
# Tried on a bare table of MariaDB 10.11: one query in eight, in a row of inserts of 160 kB each.
_LATE = (
    "search over more than 20,000 messages may miss the newest for up to a second while InnoDB writes its full-text "
    "index; one user's chats are searched without it"
)
NOTES = (_NOTE, _LATE)
#: Terms of a query that the index is asked for, and that it counts.
_TERMS, _COUNTED = 64, 8


class _Fulltext(FullText):
    """A table of words with a FULLTEXT index."""

    may_be_few = True

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        found = connection.execute(
            text(
                "SELECT count(*) FROM information_schema.statistics WHERE table_name = :table "
                "AND index_name = :index AND table_schema = coalesce(:schema, database())"
            ),
            {"table": SEARCH_TABLE, "index": SEARCH_INDEX, "schema": schema},
        )
        return bool(found.scalar_one())

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        lines, on = qualify(here, SEARCH_TABLE, schema), qualify(here, MESSAGES, schema)
        return [
            (
                f"CREATE TABLE IF NOT EXISTS {lines} (message BIGINT NOT NULL PRIMARY KEY, "
                "words LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
                f"CONSTRAINT fk_chatstore_search_message FOREIGN KEY (message) REFERENCES {on} (id) ON DELETE CASCADE, "
                f"FULLTEXT INDEX {SEARCH_INDEX} (words)) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
            )
        ]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        return [f"DROP TABLE IF EXISTS {qualify(here, SEARCH_TABLE, schema)}"]

    def write(self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]) -> None:
        from sqlalchemy.dialects import mysql

        made = mysql.insert(self._table(schema))
        connection.execute(
            made.on_duplicate_key_update(words=made.inserted.words),
            [{"message": line.message, "words": f" {line.words} "} for line in lines],
        )

    def asks_for(self, query: Query, marks: Sequence[str]) -> str:
        """Write it for a search in boolean mode."""
        wanted = [part for term in query.wanted[:_TERMS] for part in _in_boolean_mode(term)]
        unwanted = [
            f"-{' -'.join(_in_boolean_mode(term)[:1])}" for term in query.unwanted[:_TERMS] if _exact(term)
        ]
        said = " ".join([*(f"+{part}" for part in wanted), *unwanted])
        return " ".join([*(f"+{mark}" for mark in marks), f"+(({said}) {words.MORE})"])

    def counts(self, query: Query) -> Sequence[str] | None:
        if len(query.wanted) > _COUNTED or any(
            len(term.words) > 1 or not words.is_exact(term) for term in query.wanted
        ):
            return None
        return [_padded(term) for term in query.wanted]

    def select(self, asked: Asked) -> sa.Select[Any]:
        from sqlalchemy.dialects import mysql

        search = self._table(asked.schema)
        matching = mysql.match(search.c.words, against=bindparam("asked", type_=Text())).in_boolean_mode()
        return self._newest(asked, search, matching)

    def select_few(self, asked: Asked, query: Query) -> sa.Select[Any]:
        """Read each line of words: InnoDB reads all that it has of each word, whoever else said it."""
        search = self._table(asked.schema)
        says = and_(*(_says(search.c.words, term) for term in query.wanted[:_TERMS]))
        for term in query.unwanted[:_TERMS]:
            if _exact(term):
                says = and_(says, not_(_says(search.c.words, term)))
        return self._newest(asked, search, or_(says, _has_more(search.c.words)))

    def _newest(self, asked: Asked, search: Any, matching: sa.ColumnElement[bool]) -> sa.Select[Any]:
        m = asked.messages.c
        newest = (m.created_at.desc(), m.session_id.desc(), m.position.desc())
        found = asked.found.where(m.id == search.c.message, matching)
        if asked.counted:
            times = reduce(operator.add, (_times(search.c.words, word) for word in said(asked.counted)))
            found = found.add_columns(case((_has_more(search.c.words), None), else_=times).label("times"))
        return found.order_by(*newest).limit(bindparam("n", type_=BigInteger()))

    def _table(self, schema: str | None) -> Any:
        columns = (Column("message", BigInteger, primary_key=True), Column("words", Text))
        return Table(SEARCH_TABLE, MetaData(), *columns, schema=schema)


def _exact(term: words.Term) -> bool:
    """Tell whether the index knows exactly what says *term*; else looking into the texts decides."""
    return words.is_exact(term) and not (term.begins and len(term.words) > 1)


def _in_boolean_mode(term: words.Term) -> list[str]:
    """Return what is asked for *term*: a phrase cannot end with the beginning of a word."""
    term = words.in_index(term)
    front, last = (term.words[:-1], f"{term.words[-1]}*") if term.begins else (term.words, None)
    return [part for part in (f'"{" ".join(front)}"' if front else None, last) if part]


def _says(column: sa.Column[Any], term: words.Term) -> sa.ColumnElement[bool]:
    return column.contains(_padded(term))


def _padded(term: words.Term) -> str:
    """Return what stands in a line that says *term*: its words between spaces."""
    term = words.in_index(term)
    return f" {' '.join(term.words)}" + ("" if term.begins else " ")


def _has_more(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    return column.contains(f" {words.MORE} ")


def _times(column: sa.Column[Any], word: Any) -> Any:
    """Return how often *word*, which is padded, stands in a line: by how much shorter that is without it."""
    apart = func.replace(column, " ", "  ")  # or the same word twice would share the space between
    shorter = func.length(apart) - func.length(func.replace(apart, word, ""))
    return func.round(shorter / func.length(word))


FULL_TEXT = _Fulltext()
