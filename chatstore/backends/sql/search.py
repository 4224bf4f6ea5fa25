"""Full text: from words to hits.

This module knows what is selected and what to do where there is no index; it refuses to know how an index is asked,
which a dialect does. Words are letters and digits only when they come here, so nothing in them is syntax.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, func, select, type_coerce

from chatstore import arguments
from chatstore.backends.common import rules
from chatstore.backends.sql.dialects.base import RANKED
from chatstore.backends.sql.statements import between, parameters
from chatstore.messages import SearchHit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Select

    from chatstore.arguments import Scope, SearchFilter
    from chatstore.backends.sql.statements import Statements
    from chatstore.contract import Search


def search(c: Connection, q: Statements, call: Search) -> list[SearchHit]:
    """As `Repository.search`."""
    full_text, wanted = q.dialect.full_text, call.wanted
    if full_text is None or not full_text.exists(c, q.schema):
        return scan(c, q, call)
    found = full_text.select(_base(q, call.scope, wanted), q.m, wanted, q.schema)
    if found is None:
        return scan(c, q, call)
    asked = parameters(call)
    if full_text.answers:
        return _hits(c.execute(found, asked), wanted)
    lines = c.execute(found, asked).all()
    hits = _best(lines, wanted)
    if len(lines) == RANKED and len(hits) < wanted.limit:
        # What the index does not know decides: look at all.
        hits = _best(_scanned(c, q, found.order_by(None).limit(None), asked), wanted)
    return hits


def scan(c: Connection, q: Statements, call: Search) -> list[SearchHit]:
    """As `search`, without asking an index."""
    return _best(_scanned(c, q, _scan(q, call.scope, call.wanted), parameters(call)), call.wanted)


def _best(lines: Iterable[Any], wanted: SearchFilter) -> list[SearchHit]:
    best = heapq.nlargest(wanted.limit, _verified(lines, wanted), key=lambda line: (line[-1], line[5]))
    return _hits(best, wanted)


def _base(q: Statements, scope: Scope, wanted: SearchFilter) -> Select[Any]:
    m = q.m.c
    columns = (
        m.session_id,
        m.position,
        m.message_id,
        m.type,
        type_coerce(m.content, Text),
        q.read(m.created_at),
    )
    statement = q.filtered(select(*columns), scope, wanted.tenant_id, wanted.user_id)
    if wanted.session_id is not None:
        statement = statement.where(m.session_id == wanted.session_id)
    if wanted.types is not None:
        statement = statement.where(m.type.in_(wanted.types))
    return between(statement, m.created_at, wanted.since, wanted.until)


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
