"""Numbers about conversations: questions that people ask, each as one statement over the tables and views.

A question knows its statement, which is run and also shown, so that a person can copy it and go on from there. The
views leave out expired sessions; what a fork copied is never counted. Refuses to know how an answer is drawn.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import (
    Boolean,
    Date,
    Integer,
    Numeric,
    String,
    Text,
    and_,
    case,
    column,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
)

from chatstore.backends.sql import models
from chatstore.backends.sql.browsing import look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from chatstore.arguments import Scope
    from chatstore.backends.sql.browsing import Look
    from chatstore.backends.sql.repository import SQLRepository
    from chatstore.backends.sql.statements import Statements

#: Lines of an answer about models, users and tools.
MOST: Final = 20
#: Upper ends of the groups of seconds and of messages; the last group has none.
SECONDS: Final = (1, 2, 5, 10, 20, 60, 300)
LENGTHS: Final = (2, 5, 10, 20, 50, 100)


class Period(NamedTuple):
    """What is counted: from *since* on, before *until*, of these owners."""

    since: datetime | None = None
    until: datetime | None = None
    tenant_id: str | None = None
    user_id: str | None = None


class Answer(NamedTuple):
    """The rows that a statement gave, the names of their columns, and the statement as it can be run."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    sql: str


def ask(repository: SQLRepository, question: str, period: Period) -> Answer | None:
    """Return the answer to *question*, a key of `QUESTIONS`; None where the database cannot say."""

    def read(c: Connection, q: Statements, call: Look) -> Answer | None:
        statement = QUESTIONS[question](_Asked(q, call.scope, period, call.now))
        if statement is None:
            return None
        result = c.execute(statement)
        written = str(statement.compile(dialect=c.dialect, compile_kwargs={"literal_binds": True}))
        lines = [line.rstrip() for line in written.splitlines()]
        return Answer(
            tuple(result.keys()),
            [tuple(map(_plain, row)) for row in result],
            "\n".join(lines).replace("%%", "%") + ";",
        )

    return look(repository, read)


def _plain(value: Any) -> Any:
    """Return a number as Python's own: sums are decimals on some databases."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


class _Asked:
    """The views, and what narrows them to the period and to what the scope sees."""

    def __init__(self, q: Statements, scope: Scope, period: Period, now: datetime) -> None:
        self.q, self.scope, self.period, self.now = q, scope, period, now
        owner = {"tenant_id": String(), "user_id": String()}
        self.usage = self._view(
            "chatstore_usage_daily",
            day=Date(),
            model=String(),
            messages=Integer(),
            input_tokens=Integer(),
            output_tokens=Integer(),
            **owner,
        )
        self.calls = self._view(
            "chatstore_tool_calls",
            name=Text(),
            status=Text(),
            called_at=models.Instant(),
            is_copy=Boolean(),
            **owner,
        )
        self.said = self._view(
            "chatstore_transcript",
            session_id=String(),
            position=Integer(),
            role=Text(),
            content=Text(),
            created_at=models.Instant(),
            is_copy=Boolean(),
            **owner,
        )

    def _view(self, name: str, /, **columns: Any) -> Any:
        view = table(name, *(column(key, kind) for key, kind in columns.items()), schema=self.q.schema)
        return view.alias(name.removeprefix("chatstore_")[0])

    def owned(self, view: Any) -> list[ColumnElement[bool]]:
        """Return the conditions on the owner."""
        return [
            view.c[name] == value
            for name in ("tenant_id", "user_id")
            for value in dict.fromkeys((getattr(self.scope, name), getattr(self.period, name)))
            if value is not None
        ]

    def within(self, moment: ColumnElement[Any], *, days: bool = False) -> list[ColumnElement[bool]]:
        """Return the conditions on the time."""
        conditions: list[ColumnElement[bool]] = []
        for end, value in (("since", self.period.since), ("until", self.period.until)):
            if value is not None:
                at = literal(value.date(), Date()) if days else literal(value, models.Instant())
                conditions.append(moment >= at if end == "since" else moment < at)
        return conditions


def _by_day(asked: _Asked) -> Select[Any]:
    v = asked.usage.c
    statement = select(v.day, *_sums(asked)).where(*asked.owned(asked.usage), *asked.within(v.day, days=True))
    return statement.group_by(v.day).order_by(v.day)


def _sums(asked: _Asked) -> list[ColumnElement[Any]]:
    v = asked.usage.c
    return [
        func.sum(v.messages).label("messages"),
        func.sum(v.input_tokens).label("input_tokens"),
        func.sum(v.output_tokens).label("output_tokens"),
    ]


def _by_model(asked: _Asked) -> Select[Any]:
    v = asked.usage.c
    statement = select(v.model, *_sums(asked)).where(
        v.model.is_not(None), *asked.owned(asked.usage), *asked.within(v.day, days=True)
    )
    return statement.group_by(v.model).order_by(literal_column("messages").desc(), v.model).limit(MOST)


def _by_user(asked: _Asked) -> Select[Any]:
    v = asked.usage.c
    statement = select(v.user_id, *_sums(asked)).where(
        *asked.owned(asked.usage), *asked.within(v.day, days=True)
    )
    return statement.group_by(v.user_id).order_by(literal_column("messages").desc(), v.user_id).limit(MOST)


def _by_tool(asked: _Asked) -> Select[Any]:
    v = asked.calls.c
    failed = func.sum(case((v.status == "error", 1), else_=0))
    return (
        select(
            v.name,
            func.count().label("calls"),
            failed.label("failed"),
            func.sum(case((v.status == "unanswered", 1), else_=0)).label("unanswered"),
            func.round(failed * literal_column("100.0") / func.count(), 1, type_=Numeric()).label(
                "failed_percent"
            ),
        )
        .select_from(asked.calls)
        .where(not_(v.is_copy), *asked.owned(asked.calls), *asked.within(v.called_at))
        .group_by(v.name)
        .order_by(literal_column("calls").desc(), v.name)
        .limit(MOST)
    )


def _answer_times(asked: _Asked) -> Select[Any] | None:
    v = asked.said.c
    window = {"partition_by": v.session_id, "order_by": v.position}
    said = (
        select(
            v.role,
            v.created_at,
            func.lead(v.role).over(**window).label("next_role"),
            func.lead(v.created_at).over(**window).label("next_at"),
        )
        .where(
            or_(v.role == "user", v.role == "assistant"),
            v.content != "",
            not_(v.is_copy),
            *asked.owned(asked.said),
            *asked.within(v.created_at),
        )
        .subquery("said")
    )
    seconds = asked.q.dialect.seconds_between(said.c.created_at, said.c.next_at)
    if seconds is None:
        return None
    waits = (
        select(seconds.label("seconds"))
        .where(and_(said.c.role == "user", said.c.next_role == "assistant"))
        .subquery("waits")
    )
    return _grouped(waits.c.seconds, SECONDS, "up_to_seconds", "answers").select_from(waits)


def _by_hour(asked: _Asked) -> Select[Any]:
    v = asked.said.c
    hours = (
        select(asked.q.dialect.hour(v.created_at).label("hour"))
        .where(v.role == "user", not_(v.is_copy), *asked.owned(asked.said), *asked.within(v.created_at))
        .subquery("asked")
    )
    return (
        select(hours.c.hour, func.count().label("questions"))
        .select_from(hours)
        .group_by(hours.c.hour)
        .order_by(hours.c.hour)
    )


def _by_length(asked: _Asked) -> Select[Any]:
    s = asked.q.s.alias("s")
    alive = or_(s.c.expires_at.is_(None), s.c.expires_at > literal(asked.now, models.Instant()))
    statement = _grouped(s.c.message_count, LENGTHS, "up_to_messages", "conversations").select_from(s)
    return statement.where(s.c.message_count > 0, alive, *asked.owned(s), *asked.within(s.c.created_at))


def _grouped(value: ColumnElement[Any], ends: Sequence[int], name: str, counted: str) -> Select[Any]:
    """Count by groups of *value* up to each of *ends*; the last group has null for an end."""
    group = case(*((value <= end, end) for end in ends)).label(name)
    return (
        select(group, func.count().label(counted))
        .group_by(literal_column(name))
        .order_by(literal_column(name))
    )


#: Each question, and its statement.
QUESTIONS: Final[dict[str, Callable[[_Asked], Select[Any] | None]]] = {
    "days": _by_day,
    "models": _by_model,
    "users": _by_user,
    "tools": _by_tool,
    "waits": _answer_times,
    "hours": _by_hour,
    "lengths": _by_length,
}
