"""The full text of SQLite: an FTS5 table of words without their text, and a table that says whose they are.

Knows how the index is made, written, merged and asked; refuses to know whose messages are looked for.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, Text, bindparam, column, func, insert, select, table

from chatstore import words
from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects.base import MESSAGES, SEARCH_TABLE, Asked, FullText, Indexing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

    from chatstore.words import Query

#: The FTS5 table.
SEARCH_WORDS = f"{SEARCH_TABLE}_words"
_EPOCH, _MILLISECOND = datetime(1, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
#: Numbers that each millisecond has.
_NUMBERS = 1 << 14
#: Pages of the index that are merged in one transaction.
_PAGES = 200
#: Terms of a query that the index is asked for.
_TERMS = 64


class _FTS5(FullText):
    """A virtual table of words without their text, and a table that says whose they are.

    A message's words stand under a number that is never given twice, while SQLite gives a deleted message's id to the
    next one. What is indexed again gets a new number, and the old one belongs to nobody. Numbers grow with the time of
    the message, so that the newest are found first, without looking at the others.
    """

    #: What FTS5 keeps behind it, too.
    tables = (
        SEARCH_TABLE,
        SEARCH_WORDS,
        *(f"{SEARCH_WORDS}_{part}" for part in ("data", "idx", "docsize", "config")),
    )

    def is_possible(self, connection: sa.Connection) -> bool:
        """Tell whether this build of SQLite has FTS5."""
        return "fts5" in connection.exec_driver_sql("PRAGMA module_list").scalars().all()

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        found = connection.exec_driver_sql(
            f"SELECT count(*) FROM {within(connection, schema)}sqlite_master WHERE name IN (?, ?)",  # noqa: S608 -- quoted
            (SEARCH_TABLE, SEARCH_WORDS),
        )
        return bool(found.scalar_one() == len((SEARCH_TABLE, SEARCH_WORDS)))

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        numbers, fts = (qualify(here, name, schema) for name in (SEARCH_TABLE, SEARCH_WORDS))
        return [
            (
                f"CREATE TABLE IF NOT EXISTS {numbers} (number INTEGER NOT NULL PRIMARY KEY, "
                f"message INTEGER NOT NULL UNIQUE REFERENCES {MESSAGES} (id) ON DELETE CASCADE)"
            ),
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {fts} USING fts5(words, content='', tokenize='ascii')",
        ]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        return [
            f"DROP TABLE IF EXISTS {qualify(here, name, schema)}" for name in (SEARCH_WORDS, SEARCH_TABLE)
        ]

    def write(self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]) -> None:
        from chatstore.backends.sql import execution  # which knows the dialects

        numbers, fts = self._tables(schema)
        # FTS5 writes a part of its index whenever a number is not higher than the one before.
        numbered = sorted(self._numbered(connection, schema, lines))
        belongs = insert(numbers).prefix_with("OR REPLACE")
        execution.prepare(belongs, connection.dialect, ("number", "message")).insert(
            connection, [(number, line.message) for number, line in numbered]
        )
        execution.prepare(insert(fts), connection.dialect, ("rowid", "words")).insert(
            connection, [(number, line.words) for number, line in numbered]
        )

    def _numbered(
        self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]
    ) -> Iterator[tuple[int, Indexing]]:
        """Give each of *lines* a number that no other had, in the order of their times, then their own."""
        numbers = table(f"{SEARCH_WORDS}_docsize", column("id"), schema=schema).c.id
        first = {moment: _first_number(moment) for moment in {line.created_at for line in lines}}
        wanted, last = [], -1
        for line in sorted(lines, key=lambda line: first[line.created_at]):
            last = max(last + 1, first[line.created_at])
            wanted.append((last, line))
        each = func.json_each(json.dumps([number for number, _ in wanted])).table_valued("value")
        if connection.scalar(select(numbers).where(numbers.in_(select(each.c.value))).limit(1)) is None:
            yield from wanted
            return
        last = -1
        for number, together in groupby(
            (line for _, line in wanted), key=lambda line: first[line.created_at]
        ):
            given = [*together]
            free = self._free(connection, numbers, max(last + 1, number), len(given))
            for last, line in enumerate(given, free):
                yield last, line

    def _free(self, connection: sa.Connection, numbers: Any, start: int, count: int) -> int:
        """Return from where on *count* numbers are free: behind all of the millisecond of *start*."""
        while True:
            end = max((start | (_NUMBERS - 1)) + 1, start + count)
            taken = connection.scalar(select(func.max(numbers)).where(numbers >= start, numbers < end))
            if taken is None:
                return start
            start = taken + 1

    def tidy(self, connection: sa.Connection, schema: str | None, *, begun: bool) -> bool:
        """Merge the parts of the index, which each search reads: all into one, once the others make up a tenth of all.

        FTS5 does so with a few pages at a time, from a negative number on (https://sqlite.org/fts5.html#the_merge_command).
        """
        _, fts = self._tables(schema)
        if not begun:
            parts = table(f"{SEARCH_WORDS}_idx", column("segid"), schema=schema)
            sizes = connection.scalars(select(func.count()).select_from(parts).group_by(parts.c.segid)).all()
            if 10 * (sum(sizes) - max(sizes, default=0)) <= sum(sizes):
                return False
        changes = select(func.total_changes())
        before = connection.scalar(changes) or 0
        merge = insert(fts).values({SEARCH_WORDS: "merge", "rank": _PAGES if begun else -_PAGES})
        connection.execute(merge)
        return (connection.scalar(changes) or 0) - before > 1

    def asks_for(self, query: Query, marks: Sequence[str]) -> str:
        """Write it in FTS5's language, in which words of letters and digits are words."""
        wanted = [_in_fts5(term) for term in query.wanted[:_TERMS]]
        said = f"({' AND '.join(wanted)})"
        if unwanted := [_in_fts5(term) for term in query.unwanted[:_TERMS] if words.is_exact(term)]:
            said = f"({said} NOT ({' OR '.join(unwanted)}))"
        return " AND ".join([*(f'"{mark}"' for mark in marks), f'({said} OR "{words.MORE}")'])

    def select(self, asked: Asked) -> sa.Select[Any]:
        """Narrow it by FTS5, which tells no count without its text."""
        numbers, fts = self._tables(asked.schema)
        matching = fts.c[SEARCH_WORDS].op("MATCH")(bindparam("asked", type_=Text()))
        narrowed = (matching, numbers.c.number == fts.c.rowid, asked.messages.c.id == numbers.c.message)
        return (
            asked.found.where(*narrowed).order_by(fts.c.rowid.desc()).limit(bindparam("n", type_=Integer()))
        )

    def _tables(self, schema: str | None) -> tuple[Any, Any]:
        numbers = table(SEARCH_TABLE, column("number"), column("message"), schema=schema)
        columns: list[Any] = [column(name) for name in ("rowid", "words", "rank", SEARCH_WORDS)]
        return numbers, table(SEARCH_WORDS, *columns, schema=schema)


def _in_fts5(term: words.Term) -> str:
    term = words.in_index(term)
    return f'"{" ".join(term.words)}"{"*" if term.begins else ""}'


def _first_number(moment: datetime | str) -> int:
    """Return the first of the numbers of a millisecond."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    moment = moment.replace(tzinfo=UTC)
    return int((moment - _EPOCH) / _MILLISECOND) * _NUMBERS


def within(connection: sa.Connection, schema: str | None) -> str:
    """Return the prefix of what lies in *schema*."""
    return f"{qualify(connection.dialect, schema, None)}." if schema else ""


FULL_TEXT = _FTS5()
