"""What a list of conversations asks beyond the contract: both directions, last words, models, failed tool calls.

Knows the statements; `look` runs a function of a connection as the repository's own reads run, so that the engine, the
deadline, the errors and the scope are the same. Refuses to know who shows the answer.

No index answers which sessions have a model, a type or a failed call. So a page looks at `LOOKED` sessions at most,
newest first, and says how far it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from sqlalchemy import String as SQLString
from sqlalchemy import Text, and_, column, exists, func, literal, or_, select, table, type_coerce

from chatstore.arguments import utcnow
from chatstore.backends.sql import models
from chatstore.backends.sql.plans import Step
from chatstore.backends.sql.reading import parameters
from chatstore.backends.sql.rows import session_of
from chatstore.contract import Call
from chatstore.driving import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from chatstore.backends.sql.plans import Plan
    from chatstore.backends.sql.repository import SQLRepository
    from chatstore.backends.sql.statements import Statements
    from chatstore.messages import ChatSession
    from chatstore.paging import Keyset

R = TypeVar("R")
#: Sessions that a page looks at where no index helps, and how many in one statement.
LOOKED, AT_ONCE = 2_000, 500
#: Characters of the last message that are read.
WORDS: Final = 300


class Wanted(NamedTuple):
    """Which sessions to list; *until* is exclusive. *type*, *model* and *failed* are about any message of it."""

    tenant_id: str | None = None
    user_id: str | None = None
    archived: bool | None = False
    since: datetime | None = None
    until: datetime | None = None
    type: str | None = None
    model: str | None = None
    failed: bool = False

    @property
    def looks_inside(self) -> bool:
        """Tell whether messages decide, and not the session's own row."""
        return bool(self.type or self.model or self.failed)


class Part(NamedTuple):
    """A part of a list, newest first.

    *more* says that there is more in the direction asked for. *reached* is the last session that was looked at, where
    the looking ended before enough was found.
    """

    sessions: list[ChatSession]
    more: bool
    reached: Keyset | None = None


@dataclass(slots=True, eq=False, repr=False)
class Look(Call):
    """A read with a function of its own."""

    reads = repeatable = True


def look(repository: SQLRepository, function: Callable[[Connection, Statements, Look], R]) -> R:
    """Return what *function* reads, run as a read of *repository*'s own."""
    core = repository._core

    def operation(call: Look) -> Plan[R]:
        return attempts(Step(function, (core.q, call), unit=False), repeatable=True, writes=False)

    found: R = repository._call(cast("Any", operation), Look(repository._scope, utcnow()))
    return found


def list_sessions(
    repository: SQLRepository, wanted: Wanted, *, start: Keyset | None, newer: bool, limit: int
) -> Part:
    """Return at most *limit* sessions that are older than *start*, or *newer*, in both cases newest first."""

    def read(c: Connection, q: Statements, call: Look) -> Part:
        reader = _Reader(c, q, call, wanted, newer=newer)
        found = reader.inside(start, limit) if wanted.looks_inside else reader.plain(start, limit)
        return found._replace(sessions=found.sessions[::-1]) if newer else found

    return look(repository, read)


def last_words(repository: SQLRepository, sessions: Sequence[ChatSession]) -> dict[str, tuple[str, str]]:
    """Return the type of the last message of each of *sessions*, and how its text begins."""
    ids = [session.session_id for session in sessions if session.message_count]
    if not ids:
        return {}

    def read(c: Connection, q: Statements, call: Look) -> dict[str, tuple[str, str]]:
        m, newest = q.m, q.m.alias("newest")
        last = (
            select(func.max(newest.c.position))
            .where(newest.c.session_id == q.s.c.session_id)
            .scalar_subquery()
        )
        words = func.substr(type_coerce(m.c.content, Text), 1, WORDS)
        statement = (
            select(m.c.session_id, m.c.type, words)
            .select_from(q.s.join(m, and_(m.c.session_id == q.s.c.session_id, m.c.position == last)))
            .where(q.visible(call.scope), q.s.c.session_id.in_(ids))
        )
        return {sid: (kind, text or "") for sid, kind, text in c.execute(statement, parameters(call))}

    return look(repository, read)


class _Reader:
    """Reads a list in one direction."""

    def __init__(self, c: Connection, q: Statements, call: Look, wanted: Wanted, *, newer: bool) -> None:
        self.c, self.q, self.call, self.wanted, self.newer = c, q, call, wanted, newer

    def plain(self, start: Keyset | None, limit: int) -> Part:
        """Return the sessions behind *start*: an index has them in this order."""
        statement = self._behind(select(*self.q.session_columns), start).limit(limit + 1)
        found = [session_of(row) for row in self.c.execute(statement, parameters(self.call))]
        return Part(found[:limit], len(found) > limit)

    def inside(self, start: Keyset | None, limit: int) -> Part:
        """Return those sessions behind *start* whose messages are as wanted, of the next `LOOKED`."""
        fits = and_(*self._inside()).label("fits")
        found: list[ChatSession] = []
        for _ in range(LOOKED // AT_ONCE):
            statement = self._behind(select(fits, *self.q.session_columns), start).limit(AT_ONCE)
            rows = self.c.execute(statement, parameters(self.call)).all()
            for row in rows:
                if row[0]:
                    found.append(session_of(row[1:]))
                    if len(found) > limit:
                        return Part(found[:limit], more=True)
            if len(rows) < AT_ONCE:
                return Part(found, more=False)
            last = session_of(rows[-1][1:])
            start = last.updated_at, last.session_id
        return Part(found, more=True, reached=start)

    def _behind(self, statement: Select[Any], start: Keyset | None) -> Select[Any]:
        s = self.q.s.c
        statement = statement.where(self.q.visible(self.call.scope), *self._conditions())
        if start is not None:
            moment = literal(start[0], models.Instant())
            if self.newer:
                further = or_(s.updated_at > moment, and_(s.updated_at == moment, s.session_id > start[1]))
                statement = statement.where(s.updated_at >= moment, further)
            else:
                further = or_(s.updated_at < moment, and_(s.updated_at == moment, s.session_id < start[1]))
                statement = statement.where(s.updated_at <= moment, further)
        if self.newer:
            return statement.order_by(s.updated_at, s.session_id)
        return statement.order_by(s.updated_at.desc(), s.session_id.desc())

    def _conditions(self) -> list[ColumnElement[bool]]:
        s, wanted = self.q.s.c, self.wanted
        conditions: list[ColumnElement[bool]] = []
        if wanted.tenant_id is not None:
            conditions.append(s.tenant_id == wanted.tenant_id)
        if wanted.user_id is not None:
            conditions.append(s.user_id == wanted.user_id)
        if wanted.archived is not None:
            conditions.append(s.archived_at.is_not(None) if wanted.archived else s.archived_at.is_(None))
        if wanted.since is not None:
            conditions.append(s.updated_at >= literal(wanted.since, models.Instant()))
        if wanted.until is not None:
            conditions.append(s.updated_at < literal(wanted.until, models.Instant()))
        return conditions

    def _inside(self) -> list[ColumnElement[bool]]:
        s, m, wanted = self.q.s, self.q.m, self.wanted
        conditions: list[ColumnElement[bool]] = []
        for col, value in ((m.c.type, wanted.type), (m.c.model, wanted.model)):
            if value is not None:
                said = select(1).where(m.c.session_id == s.c.session_id, col == value)
                conditions.append(exists(said.correlate(s)))
        if wanted.failed:
            names = ("session_id", "status")
            calls = table(
                "chatstore_tool_calls", *(column(name, SQLString()) for name in names), schema=self.q.schema
            )
            failed = select(1).where(calls.c.session_id == s.c.session_id, calls.c.status == "error")
            conditions.append(exists(failed.correlate(s)))
        return conditions
