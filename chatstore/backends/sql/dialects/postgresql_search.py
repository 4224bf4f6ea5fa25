"""The full text of PostgreSQL: a table of `tsvector`, with a GIN index, and one by time.

Knows how the index is made, written and asked by a `tsquery`; refuses to know whose messages are looked for.
"""

from __future__ import annotations

import operator
from functools import cache, lru_cache, reduce
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    Table,
    Text,
    any_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    text,
)

from chatstore import words
from chatstore.backends.sql.ddl import qualify
from chatstore.backends.sql.dialects.base import (
    MESSAGES,
    SAMPLED,
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

#: Terms of a query that the index is asked for, and that it counts.
_TERMS, _COUNTED = 64, 8
#: The index of full text by time.
_BY_TIME = "ix_chatstore_search_time"
#: The sum of the inverse squares of all numbers, by which the server divides its ranks.
_ALL = 1.64493406685


class _Words(FullText):
    """A table of `tsvector`, with a GIN index, and one by time."""

    def exists(self, connection: sa.Connection, schema: str | None) -> bool:
        name = qualify(connection.dialect, SEARCH_INDEX, schema)
        return bool(connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}))

    def creation(self, here: sa.Dialect, schema: str | None) -> list[str]:
        lines, on = qualify(here, SEARCH_TABLE, schema), qualify(here, MESSAGES, schema)
        return [
            (
                f"CREATE TABLE IF NOT EXISTS {lines} (message BIGINT NOT NULL PRIMARY KEY "
                f"REFERENCES {on} (id) ON DELETE CASCADE, created_at TIMESTAMPTZ NOT NULL, "
                "words TSVECTOR NOT NULL)"
            ),
            f"CREATE INDEX IF NOT EXISTS {SEARCH_INDEX} ON {lines} USING gin (words)",
            f"CREATE INDEX IF NOT EXISTS {_BY_TIME} ON {lines} (created_at)",
        ]

    def removal(self, here: sa.Dialect, schema: str | None) -> list[str]:
        return [f"DROP TABLE IF EXISTS {qualify(here, SEARCH_TABLE, schema)}"]

    def write(self, connection: sa.Connection, schema: str | None, lines: Sequence[Indexing]) -> None:
        """Hand over all lines at once, as arrays in text, which are read faster than JSON and suit every driver."""
        from sqlalchemy.dialects import postgresql

        search = self._table(schema)
        ids = cast(bindparam("ids", type_=Text()), postgresql.ARRAY(BigInteger))
        times = cast(bindparam("times", type_=Text()), postgresql.ARRAY(_moment()))
        vectors = func.string_to_array(bindparam("vectors", type_=Text()), func.chr(10))
        columns = (column("message", BigInteger), column("created_at", _moment()), column("words", Text))
        new = func.unnest(ids, times, vectors).table_valued(*columns, name="new").render_derived()
        source = select(new.c.message, new.c.created_at, cast(new.c.words, postgresql.TSVECTOR))
        made = postgresql.insert(search).from_select(["message", "created_at", "words"], source)
        again = {name: made.excluded[name] for name in ("created_at", "words")}
        connection.execute(
            made.on_conflict_do_update(index_elements=["message"], set_=again),
            {
                "ids": f"{{{','.join(str(line.message) for line in lines)}}}",
                "times": f"{{{','.join(str(line.created_at) for line in lines)}}}",
                "vectors": "\n".join(_vector(line.words) for line in lines),
            },
        )

    def asks_for(self, query: Query, marks: Sequence[str]) -> str:
        """Write a `tsquery`."""
        wanted = [_in_tsquery(term) for term in query.wanted[:_TERMS]]
        unwanted = [f"!({_in_tsquery(term)})" for term in query.unwanted[:_TERMS] if words.is_exact(term)]
        return " & ".join([*marks, f"(({' & '.join(wanted + unwanted)}) | {words.MORE})"])

    def counts(self, query: Query) -> Sequence[str] | None:
        if len(query.wanted) > _COUNTED or not all(_is_counted(term) for term in query.wanted):
            return None
        return [words.in_index(term).words[0] for term in query.wanted]

    def sample(self, schema: str | None) -> sa.Select[Any]:
        search = self._table(schema).c
        newest = select(search.words).order_by(search.created_at.desc()).limit(literal_column(str(SAMPLED)))
        lines = newest.subquery("newest")
        return select(func.count()).select_from(lines).where(_says(lines.c.words))

    def find(self, schema: str | None, counted: int, *, often: bool) -> sa.Select[Any]:
        """By itself: the planner, which plans it anew for each query, plans one table in a third of the time."""
        hits = self._hits(schema, counted, often=often)
        size = bindparam("n", type_=BigInteger())
        if counted:
            found = select(hits.c.message, hits.c.times, hits.c.created_at, _count(hits))
            return found.order_by(hits.c.times.desc(), hits.c.created_at.desc()).limit(size)
        return select(hits.c.message).order_by(hits.c.created_at.desc()).fetch(size, with_ties=True)

    def read(self, asked: Asked) -> sa.Select[Any]:
        from sqlalchemy.dialects import postgresql

        number = asked.messages.c.id
        ids: Any = bindparam("ids", type_=postgresql.ARRAY(BigInteger))
        return asked.found.add_columns(number).where(number == any_(ids))

    def select(self, asked: Asked) -> sa.Select[Any]:
        m = asked.messages.c
        hits = self._hits(asked.schema, asked.counted, often=asked.often)
        newest = (hits.c.created_at.desc(), m.session_id.desc(), m.position.desc())
        found = asked.found.where(m.id == hits.c.message).order_by(*newest)
        found = found.add_columns(hits.c.times) if asked.counted else found
        return found.limit(bindparam("n", type_=BigInteger()))

    def _hits(self, schema: str | None, counted: int, *, often: bool) -> Any:
        search = self._table(schema).c
        hits: Any = select(search.message, search.created_at)
        if counted:
            times = [_times(search.words, word) for word in said(counted)]
            more = search.words.op("@@")(cast(words.MORE, _tsquery()))
            hits = hits.add_columns(case((more, None), else_=reduce(operator.add, times)).label("times"))
        if often:  # as a function, it is nothing that GIN could be asked for
            return hits.where(func.ts_match_vq(search.words, _asked())).subquery("hits")
        # By itself: beside a LIMIT the planner would walk through another index instead.
        return hits.where(_says(search.words)).cte("hits").prefix_with("MATERIALIZED")

    def _table(self, schema: str | None) -> Any:
        from sqlalchemy.dialects import postgresql

        columns = (
            Column("message", BigInteger, primary_key=True),
            Column("created_at", _moment()),
            Column("words", postgresql.TSVECTOR),
        )
        return Table(SEARCH_TABLE, MetaData(), *columns, schema=schema)


def _count(lines: Any) -> Any:
    return select(func.count()).select_from(lines).scalar_subquery()


def _moment() -> Any:
    from sqlalchemy.dialects import postgresql

    return postgresql.TIMESTAMP(timezone=True)


def _tsquery() -> Any:
    from sqlalchemy.dialects import postgresql

    return postgresql.TSQUERY


def _asked() -> Any:
    return cast(bindparam("asked", type_=Text()), _tsquery())


def _says(vector: Any) -> Any:
    return vector.op("@@")(_asked())


def _vector(written: str) -> str:
    """Write words as a `tsvector` with their places, which takes the server half as long as to find them in a text."""
    said = tuple(written.split(" "))
    return _places(len(said)) % said


@lru_cache(1_000)
def _places(size: int) -> str:
    return " ".join(f"%s:{place}" for place in range(1, size + 1))


def _is_counted(term: words.Term) -> bool:
    return len(term.words) == 1 and not term.begins and words.is_exact(term)


def _times(vector: Any, word: Any) -> Any:
    """Return how often *word* stands in *vector*: the server tells it by the rank alone, which grows with it.

    It is a sum of inverse squares, https://www.postgresql.org/docs/current/textsearch-controls.html says no more than
    that it counts; a test compares it. What the index counted is compared with the text in any case.
    """
    from sqlalchemy.dialects import postgresql

    rank = func.ts_rank(vector, cast(word, _tsquery()))
    return func.width_bucket(cast(rank, postgresql.DOUBLE_PRECISION), literal_column(_steps()))


@cache
def _steps() -> str:
    """Return what ranks lie between, of a word that stands there once, twice, …, so that there are as many below."""
    ranks = accumulate(0.1 / (place * place) / _ALL for place in range(1, words.MOST_TIMES + 2))
    between = (f"{(low + high) / 2:.9f}" for low, high in pairwise((0.0, *ranks)))
    return f"'{{{','.join(between)}}}'::float8[]"


def _in_tsquery(term: words.Term) -> str:
    term = words.in_index(term)
    return " <-> ".join([*term.words[:-1], term.words[-1] + (":*" if term.begins else "")])


FULL_TEXT = _Words()
