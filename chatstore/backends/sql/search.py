"""Full text per database: from words to hits.

This module knows how each index is asked, and what to do where there is none; it refuses to know how an index is
made (``search_objects.py``). Words are letters and digits only when they come here, so nothing in them is syntax.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, column, func, select, table, text, type_coerce
from sqlalchemy.dialects import mysql

from chatstore import arguments
from chatstore.backends import conversation as rules
from chatstore.backends.sql.search_objects import SEARCH_TABLE, WORDS_FUNCTION, search_index_exists
from chatstore.backends.sql.statements import between, parameters
from chatstore.messages import SearchHit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Select

    from chatstore.arguments import Scope, SearchFilter
    from chatstore.backends.sql.statements import Statements
    from chatstore.contract import Search

#: Matches that are ranked: the newest, where the database has to read each of them for that.
RANKED = 1000
#: InnoDB leaves these out of its index, and words outside of these lengths.
_STOPWORDS = frozenset(
    [
        "a",
        "about",
        "an",
        "are",
        "as",
        "at",
        "be",
        "by",
        "com",
        "de",
        "en",
        "for",
        "from",
        "how",
        "i",
        "in",
        "is",
        "it",
        "la",
        "of",
        "on",
        "or",
        "that",
        "the",
        "this",
        "to",
        "was",
        "what",
        "when",
        "where",
        "who",
        "will",
        "with",
        "und",
        "www",
    ]
)
_SHORTEST, _LONGEST = 3, 84


def search(c: Connection, q: Statements, call: Search) -> list[SearchHit]:
    """As `Repository.search`."""
    asked = parameters(call)
    indexed = q.traits.search != "scan" and search_index_exists(c, q.schema)
    if indexed and q.traits.search == "fts5":
        return _hits(c.execute(_fts5(q, call.scope, call.wanted), asked), call.wanted)
    if indexed and q.traits.search == "tsvector":
        return _hits(c.execute(_tsvector(q, call.scope, call.wanted), asked), call.wanted)
    known = [word for word in call.wanted.words if _in_fulltext(word)]
    if indexed and q.traits.search == "fulltext" and known:
        found = _fulltext(q, call.scope, call.wanted, known)
        lines = c.execute(found, asked).all()
        hits = _best(lines, call.wanted)
        if (
            len(lines) == RANKED and len(hits) < call.wanted.limit
        ):  # what the index does not know decides: look at all
            hits = _best(_scanned(c, q, found.order_by(None).limit(None), asked), call.wanted)
        return hits
    return scan(c, q, call)


def scan(c: Connection, q: Statements, call: Search) -> list[SearchHit]:
    """As `search`, without asking an index."""
    return _best(_scanned(c, q, _scan(q, call.scope, call.wanted), parameters(call)), call.wanted)


def _best(lines: Iterable[Any], wanted: SearchFilter) -> list[SearchHit]:
    best = heapq.nlargest(wanted.limit, _verified(lines, wanted), key=lambda line: (line[-1], line[5]))
    return _hits(best, wanted)


def _base(q: Statements, scope: Scope, wanted: SearchFilter, *rank: Any) -> Select[Any]:
    m = q.m.c
    columns = (
        m.session_id,
        m.position,
        m.message_id,
        m.type,
        type_coerce(m.content, Text),
        q.read(m.created_at),
    )
    statement = q.filtered(select(*columns, *rank), scope, wanted.tenant_id, wanted.user_id)
    if wanted.session_id is not None:
        statement = statement.where(m.session_id == wanted.session_id)
    if wanted.types is not None:
        statement = statement.where(m.type.in_(wanted.types))
    return between(statement, m.created_at, wanted.since, wanted.until)


def _fts5(q: Statements, scope: Scope, wanted: SearchFilter) -> Select[Any]:
    """Ask FTS5, whose query language quotes a literal word by double quotes."""
    fts = table(SEARCH_TABLE, column("rowid"), column("rank"), column(SEARCH_TABLE), schema=q.schema)
    query = " ".join(f'"{word}"' for word in wanted.words)
    statement = _base(q, scope, wanted, -fts.c.rank).where(
        fts.c.rowid == q.m.c.id, fts.c[SEARCH_TABLE].op("MATCH")(query)
    )
    return statement.order_by(fts.c.rank, q.m.c.id.desc()).limit(wanted.limit)


def _tsvector(q: Statements, scope: Scope, wanted: SearchFilter) -> Select[Any]:
    """Ask the GIN index first and for itself: beside a LIMIT the planner would walk the table instead."""
    words_of = getattr(getattr(func, q.schema), WORDS_FUNCTION) if q.schema else getattr(func, WORDS_FUNCTION)
    query = func.plainto_tsquery(text("'pg_catalog.simple'"), " ".join(wanted.words))
    hits = (
        select(q.m.c.id)
        .where(words_of(q.m.c.content).op("@@")(query))
        .cte("hits")
        .prefix_with("MATERIALIZED")
    )
    newest = (
        _base(q, scope, wanted)
        .join(hits, hits.c.id == q.m.c.id)
        .add_columns(q.m.c.id.label("id"))
        .order_by(q.m.c.id.desc())
        .limit(RANKED)
        .subquery("newest")
    )
    *shown, content, created_at, number = newest.c
    rank = func.ts_rank(words_of(content), query).label("rank")
    return select(*shown, content, created_at, rank).order_by(rank.desc(), number.desc()).limit(wanted.limit)


def _fulltext(q: Statements, scope: Scope, wanted: SearchFilter, known: Sequence[str]) -> Select[Any]:
    """Ask FULLTEXT for the words that can be in it; the caller looks for the others."""
    score = mysql.match(q.m.c.content, against=" ".join(f"+{word}" for word in known)).in_boolean_mode()
    return _base(q, scope, wanted).where(score).order_by(score.desc()).limit(RANKED)


def _in_fulltext(word: str) -> bool:
    return _SHORTEST <= len(word) <= _LONGEST and word not in _STOPWORDS


def _scan(q: Statements, scope: Scope, wanted: SearchFilter) -> Select[Any]:
    """Read what may hold the words; ``lower`` in a database may know ASCII only, so only such words narrow it."""
    statement = _base(q, scope, wanted)
    for word in wanted.words:
        if word.isascii():
            statement = statement.where(func.lower(q.m.c.content).contains(word, autoescape=True))
    return statement


def _scanned(c: Connection, q: Statements, scan: Select[Any], asked: dict[str, Any]) -> Iterator[Any]:
    """Yield what *scan* selects, the newest first, a page at a time: a cursor would need a transaction."""
    last = None
    while True:
        page = scan if last is None else scan.where(q.m.c.id < last)
        lines = c.execute(page.add_columns(q.m.c.id).order_by(q.m.c.id.desc()).limit(RANKED), asked).all()
        yield from (line[:-1] for line in lines)
        if len(lines) < RANKED:
            return
        last = lines[-1][-1]


def _verified(lines: Iterable[Any], wanted: SearchFilter) -> Iterator[tuple[Any, ...]]:
    """Keep the lines that hold all words as words, and add how often they do."""
    sought = set(wanted.words)
    for line in lines:
        words = arguments.WORD.findall((line[4] or "").lower())
        if sought <= set(words):
            yield (*line, float(sum(word in sought for word in words)))


def _hits(lines: Iterable[Any], wanted: SearchFilter) -> list[SearchHit]:
    return [
        SearchHit(
            session_id=session_id,
            position=position,
            message_id=message_id,
            type=type_,
            content=content or "",
            snippet=rules.snippet(content or "", wanted.words),
            rank=float(rank),
            created_at=created_at,
        )
        for session_id, position, message_id, type_, content, created_at, rank in lines
    ]
