"""The page of numbers: which questions, in what words, and as what kind of bars.

Knows questions and their words; refuses to know SQL (`chatstore.backends.sql.statistics`) and how bars are drawn.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.errors import StorageUnavailable
from chatstore.viewer import asking, plots
from chatstore.viewer.plots import Bar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from markupsafe import Markup

    from chatstore.viewer.source import Filters, Source

#: Days that are counted unless the address says otherwise, and those that it can say.
DAYS: Final = 30
CHOICES: Final = (7, 30, 90, 365)
#: Bars of models, users and tools; the table has more.
DRAWN: Final = 10
#: An en dash: from one number to another, and where there is nothing.
_TO: Final = "\u2013"
#: Seconds that each question may take.
PATIENCE: Final = 4.0
_LATE: Final = "This took too long: choose fewer days, or one user."
_MINUTE: Final = 60


class Figure(NamedTuple):
    """A question with its answer: a plot, the table of what it shows, and the SQL; *missing* says why there is none."""

    key: str
    title: str
    told: str
    plot: Markup | None = None
    legend: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []  # noqa: RUF012 - never changed
    sql: str | None = None
    missing: str | None = None


class _Question(NamedTuple):
    title: str
    told: str
    asks: str
    columns: tuple[str, ...]
    draw: Callable[[Sequence[tuple[Any, ...]]], Markup]
    legend: tuple[str, ...] = ()


def period(args: Mapping[str, str]) -> tuple[Filters, int | None]:
    """Read what is counted, and how many days that is where the address names them so."""
    wanted = asking.filters(args)
    if wanted.since is not None or wanted.until is not None:
        return wanted, None
    chosen = asking.position(args, "days") or DAYS
    days = min(max(chosen, 1), 3_660)
    return wanted._replace(since=datetime.now(UTC).date() - timedelta(days=days - 1)), days


def figures(source: Source, wanted: Filters) -> list[Figure]:
    """Answer every question for the days and the owner *wanted*."""
    sql = source.sql
    if sql is None:
        return _without_sql(source, wanted)
    from chatstore.backends.sql import statistics

    asked = statistics.Period(wanted.begin, wanted.end, wanted.tenant, wanted.user)
    soon = sql._copied(_deadline=PATIENCE)
    answers: dict[str, statistics.Answer | None] = {}
    late: set[str] = set()
    for name in dict.fromkeys(question.asks for question in QUESTIONS.values()):
        try:
            answers[name] = statistics.ask(soon, name, asked)
        except StorageUnavailable:  # one that takes too long must not take the others with it
            late.add(name)
    found = []
    for key, question in QUESTIONS.items():
        answer = answers.get(question.asks)
        made = _figure(key, question, None if answer is None else answer.rows, answer and answer.sql)
        found.append(made._replace(missing=_LATE) if question.asks in late else made)
    return found


def _without_sql(source: Source, wanted: Filters) -> list[Figure]:
    """Answer what `usage` counts on every backend, and say of the rest that it needs SQL."""
    found = []
    for key, question in QUESTIONS.items():
        by = _USAGE.get(question.asks)
        rows = None
        if by is not None and source.can("usage"):
            rows = _by_usage(source, wanted, by)
        found.append(_figure(key, question, rows, None))
    return found


def _by_usage(source: Source, wanted: Filters, by: str) -> list[tuple[Any, ...]]:
    counted = source.repository.usage(
        by=[by], user_id=wanted.user, tenant_id=wanted.tenant, since=wanted.begin, until=wanted.end
    )
    rows = [(getattr(row, by), row.messages, row.input_tokens, row.output_tokens) for row in counted]
    if by == "day":
        return rows
    named = [row for row in rows if by != "model" or row[0] is not None]
    return sorted(named, key=lambda row: -row[1])[:20]


def _figure(key: str, question: _Question, rows: Sequence[tuple[Any, ...]] | None, sql: str | None) -> Figure:
    made = Figure(
        key, question.title, question.told, legend=question.legend, columns=question.columns, sql=sql
    )
    if rows is None:
        return made._replace(missing="This needs a SQL database: SQLite, PostgreSQL, MariaDB or MySQL.")
    if not rows:
        return made._replace(missing="Nothing in these days.")
    if question.asks in _ENDS:
        rows = _ordered(rows, *_ENDS[question.asks])
    table = [tuple(_written(value) for value in row[: len(question.columns)]) for row in rows]
    return made._replace(plot=question.draw(rows), rows=table)


def _ordered(rows: Sequence[tuple[Any, ...]], unit: str, ends: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return groups in their order, those of nothing too, with a name for each; the last has no end."""
    counted = {None if row[0] is None else int(row[0]): row[1] for row in rows}
    named, begin = [], 0
    for end in ends:
        named.append((_span(begin, end, unit), counted.get(end, 0)))
        begin = end
    return [*named, (f"> {_unit(ends[-1], unit)}", counted.get(None, 0))]


def _span(begin: int, end: int, unit: str) -> str:
    if unit == "s":
        return f"≤ {_unit(end, unit)}"
    return f"{begin + 1}" if begin + 1 == end else f"{begin + 1}{_TO}{end}"


def _unit(value: int, unit: str) -> str:
    if unit != "s":
        return str(value)
    return f"{value // _MINUTE} min" if value >= _MINUTE else f"{value} s"


def _written(value: Any) -> str:
    if value is None:
        return _TO
    if isinstance(value, str):
        return value
    return str(value) if not isinstance(value, int | float) else f"{value:,}".removesuffix(".0")


def _days(rows: Sequence[tuple[Any, ...]], *places: int) -> Markup:
    """Draw days side by side, those without a message too, up to where there are too many for bars."""
    by_day = {_as_day(row[0]): row for row in rows}
    first, last = min(by_day), max(by_day)
    whole = [first + timedelta(days=step) for step in range((last - first).days + 1)]
    step = -(-len(whole) // 120)
    bars = []
    for start in range(0, len(whole), step):
        days = [by_day[day] for day in whole[start : start + step] if day in by_day]
        bars.append(Bar(f"{whole[start]:%d %b}", tuple(sum(float(row[at]) for row in days) for at in places)))
    return plots.upright(bars)


def _as_day(value: Any) -> Any:
    return datetime.fromisoformat(value).date() if isinstance(value, str) else value


def _messages_by_day(rows: Sequence[tuple[Any, ...]]) -> Markup:
    return _days(rows, 1)


def _tokens_by_day(rows: Sequence[tuple[Any, ...]]) -> Markup:
    return _days(rows, 2, 3)


def _named(rows: Sequence[tuple[Any, ...]]) -> Markup:
    return plots.lying([Bar(_written(row[0]), (float(row[1]),)) for row in rows[:DRAWN]])


def _tools(rows: Sequence[tuple[Any, ...]]) -> Markup:
    return plots.lying(
        [Bar(_written(row[0]), (float(row[1] - row[2]), float(row[2]))) for row in rows[:DRAWN]]
    )


def _groups(rows: Sequence[tuple[Any, ...]]) -> Markup:
    return plots.upright([Bar(str(row[0]).removeprefix("≤ "), (float(row[1]),)) for row in rows])


def _hours(rows: Sequence[tuple[Any, ...]]) -> Markup:
    counted = {int(row[0]): float(row[1]) for row in rows}
    return plots.upright([Bar(f"{hour:02}", (counted.get(hour, 0.0),)) for hour in range(24)])


_TOKENS: Final = ("messages", "tokens read", "tokens written")
QUESTIONS: Final = {
    "messages": _Question(
        "Messages by day",
        "Every stored message, on the day it came, in UTC.",
        "days",
        ("day", *_TOKENS),
        _messages_by_day,
    ),
    "tokens": _Question(
        "Tokens by day",
        "What the models read and wrote.",
        "days",
        ("day", *_TOKENS),
        _tokens_by_day,
        ("read", "written"),
    ),
    "waits": _Question(
        "Waiting for an answer",
        "From a question to the assistant's next words, up to:",
        "waits",
        ("waited", "answers"),
        _groups,
    ),
    "hours": _Question(
        "Busiest hours",
        "Messages of users by the hour of the day, in UTC.",
        "hours",
        ("hour", "messages"),
        _hours,
    ),
    "lengths": _Question(
        "Lengths",
        "Conversations that began in these days, by their messages.",
        "lengths",
        ("messages", "conversations"),
        _groups,
    ),
    "models": _Question(
        "Models", "Answers by the model that wrote them.", "models", ("model", *_TOKENS), _named
    ),
    "users": _Question(
        "Users", "Messages in the conversations of each user.", "users", ("user", *_TOKENS), _named
    ),
    "tools": _Question(
        "Tools",
        "Calls of each tool, and how many failed.",
        "tools",
        ("tool", "calls", "failed", "unanswered", "failed, %"),
        _tools,
        ("answered", "failed"),
    ),
}
_USAGE: Final = {"days": "day", "models": "model", "users": "user_id"}
_ENDS: Final = {"waits": ("s", (1, 2, 5, 10, 20, 60, 300)), "lengths": ("", (2, 5, 10, 20, 50, 100))}
