"""Full text: which messages are looked into, by way of the index or one after another, and what the index lacks.

Appending leaves a session behind in the index. A search first brings the sessions that it is about up to date
(`behind`, `refresh`), each under its row's lock, which is what keeps its position right among writers. What it may
not or cannot bring up to date, it reads (`unindexed`) before it asks the index (`indexed`): in this order nothing
falls between the two when somebody else refreshes. Whatever the index says, a message is a hit only if its text says
what was asked for (`chatstore.words`) and its session is visible now: the index may say too much, of a text or an
owner that has changed, and costs time then, not truth.

Knows what is selected and written; refuses to know how an index is asked, which a dialect does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Text, bindparam, cast, func, literal_column, select, type_coerce, update

from chatstore import words
from chatstore.backends.common import searching
from chatstore.backends.common.searching import Found
from chatstore.backends.sql import execution, models
from chatstore.backends.sql.dialects.base import SAMPLED, Asked, Indexing
from chatstore.backends.sql.reading import parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from chatstore.arguments import SearchFilter
    from chatstore.backends.sql.dialects.base import FullText
    from chatstore.backends.sql.execution import Prepared
    from chatstore.backends.sql.statements import Statements
    from chatstore.contract import Search

#: Messages that are indexed, and sessions that are locked for it, in one transaction.
INDEXED, LOCKED = 2_000, 500
#: Up to this many messages a search reads rather than indexing them first, which takes four times as long.
READ = 10_000
#: Up to this many messages of a session or an owner, a database that reads whole posting lists looks at each of these.
FEW = 20_000
#: Among so many of the newest messages, what a search needs is looked for without the index of words where it is said
#: often: at least as often as would find `LEAST` there.
WALKED, LEAST = 50_000, 100
#: So many more of the best are asked for: the last ones may be equally good.
EQUALS = 20
#: Messages that a scan fetches at a time.
PAGE = 1_000
#: What a better match has more of.
_WORTH = ("times", "created_at", "session_id", "position")

# ------------------------------------------------------------------------------------------------ what is found


#: Seconds for which a search waits for who writes to the same file, before it reads what it would have indexed.
WAIT = 0.1


def scan(c: Connection, q: Statements, call: Search) -> list[Found]:
    """Read every message that *call* is about."""
    return searching.newest(_read(c, q, call, _every, "scan"), call.wanted)


def unindexed(c: Connection, q: Statements, call: Search) -> list[Found]:
    """Read the messages that *call* is about and the index does not hold."""
    return searching.newest(_read(c, q, call, _behind_in, "unindexed"), call.wanted)


def indexed(c: Connection, q: Statements, call: Search) -> list[Found]:
    """Ask the index, for more and more of what it finds until enough of it is so."""
    full_text, wanted = _full_text(q), call.wanted
    asked = _asked(call) | {"asked": full_text.asks_for(wanted.query, _marks(call))}
    enough = size = searching.needed(wanted)
    while True:
        lines, ended = _newest(c, q, call, asked, size)
        found = list(_verified(lines, wanted))
        if len(found) >= enough or ended:
            return found
        size *= 8


def _newest(
    c: Connection, q: Statements, call: Search, asked: dict[str, Any], size: int
) -> tuple[Sequence[Any], bool]:
    """Return what *call* is about of the newest *size* that the index finds, and whether it finds no more."""
    asked = asked | {"n": size}
    finding = _finding(c, q, call, asked, 0) if size <= READ else None
    if finding is None:
        lines = _select(c, q, call, asked, 0).rows(c, asked)
        return lines, len(lines) < size
    ids = [number for (number,) in finding.rows(c, asked)]
    return [line[:-1] for line in _read_found(c, q, call, ids)], len(ids) < size


def if_indexed(c: Connection, q: Statements, call: Search) -> list[Found] | None:
    """Ask the index, or return None where it does not hold all of what *call* is about: the common case in one go."""
    return None if behind(c, q, call)[0] else best(c, q, call)


def best(c: Connection, q: Statements, call: Search) -> list[Found]:
    """As `indexed` where nothing was found beside it: have the index count, and read the best only."""
    full_text, wanted = _full_text(q), call.wanted
    counted = full_text.counts(wanted.query) if wanted.order == "best" else None
    if counted is None:
        return indexed(c, q, call)
    asked = _asked(call) | {"asked": full_text.asks_for(wanted.query, _marks(call))}
    asked |= {f"said_{number}": word for number, word in enumerate(counted)}
    asked |= {"n": searching.needed(wanted), "best": wanted.limit}
    lines: Sequence[Any] | None = _best_of_all(c, q, call, asked, len(counted))
    if lines is None:
        lines = _select(c, q, call, asked, len(counted)).rows(c, asked)
    found = list(_verified((line[:-1] for line in lines), wanted))
    # Where the index and a text differ, or a text is not all in the index, the texts decide.
    return found if [one.rank for one in found] == [line[-1] for line in lines] else indexed(c, q, call)


def _best_of_all(
    c: Connection, q: Statements, call: Search, asked: dict[str, Any], counted: int
) -> list[Any] | None:
    """Return the best of all that the index finds, with how often each says it; None where that is not sure."""
    finding = _finding(c, q, call, asked, counted) if _narrow(call) else None
    if finding is None:
        return None
    limit = call.wanted.limit
    best = finding.rows(c, asked | {"n": limit + EQUALS})
    if best and (best[0][-1] > asked["n"] or best[0][1] is None):  # the first: it does not hold a whole text
        return None
    # Of those that are as good and as old as the last one wanted, which one is wanted, session and position say.
    times = {line[0]: line[1] for line in best if line[1:3] >= best[:limit][-1][1:3]}
    lines = _read_found(c, q, call, list(times))
    # Where one may not be seen, another may be as good.
    if len(times) == limit + EQUALS or len(lines) < len(times):
        return None
    return [(*line[:-1], times[line[-1]]) for line in lines]


def _best_first(newest: Select[Any]) -> Select[Any]:
    """Select the best of these, those first that the index could not count."""
    found = newest.subquery("newest").c
    order = (found.times.is_not(None), *(found[name].desc() for name in _WORTH))
    return select(*found).order_by(*order).limit(bindparam("best", type_=BigInteger()))


def _select(c: Connection, q: Statements, call: Search, asked: dict[str, Any], counted: int) -> Prepared:
    full_text = _full_text(q)

    def about(*, often: bool = False) -> Asked:
        return Asked(_base(q, call), q.m, q.schema, counted, often=often)

    def finished(statement: Select[Any]) -> Select[Any]:
        return _best_first(statement) if counted else statement

    if full_text.may_be_few and _narrow(call):
        held = _prepared(c, q, call, "held", lambda: _held(q, call))
        if int(held.first_row(c, _asked(call))[0]) <= FEW:
            few = full_text.select_few(about(), call.wanted.query)
            return execution.ordinary(finished(few), c.dialect)
    often = _often(c, q, call, asked)
    return _prepared(
        c,
        q,
        call,
        f"indexed {counted} {often}",
        lambda: finished(full_text.select(about(often=often))),
    )


def _finding(
    c: Connection, q: Statements, call: Search, asked: dict[str, Any], counted: int
) -> Prepared | None:
    """Return what finds which messages say it, where that is quicker and all that *call* asks besides is an owner."""
    full_text = _full_text(q)
    if _filters(call):
        return None
    often = _often(c, q, call, asked)
    key = ("finding", counted, often, c.dialect.driver)

    def build() -> Prepared | None:
        statement = full_text.find(q.schema, counted, often=often)
        return None if statement is None else execution.prepare(statement, c.dialect)

    return q.once(key, build)


def _read_found(c: Connection, q: Statements, call: Search, ids: list[int]) -> Sequence[Any]:
    """Return the messages *ids* as far as *call* is about them, with their ids at the end."""
    if not ids:
        return []

    def build() -> Select[Any]:
        return _full_text(q).read(Asked(_base(q, call), q.m, q.schema))

    return _prepared(c, q, call, "found", build).rows(c, _asked(call) | {"ids": ids})


def _filters(call: Search) -> bool:
    """Tell whether *call* asks for more than an owner or a session."""
    wanted = call.wanted
    return (wanted.types, wanted.since, wanted.until) != (None, None, None)


def _often(c: Connection, q: Statements, call: Search, asked: dict[str, Any]) -> bool:
    return not _narrow(call) and _is_said_often(c, q, _full_text(q), asked, searching.needed(call.wanted))


def _is_said_often(
    c: Connection, q: Statements, full_text: FullText, asked: dict[str, Any], needed: int
) -> bool:
    """Tell whether so many of the newest say it that *needed* are found among the `WALKED` newest."""
    sample = full_text.sample(q.schema)
    if sample is None:
        return False
    counts = q.once(("sample", c.dialect.driver), lambda: execution.prepare(sample, c.dialect))
    return int(counts.first_row(c, {"asked": asked["asked"]})[0]) * WALKED >= max(needed, LEAST) * SAMPLED


def _held(q: Statements, call: Search) -> Select[Any]:
    """Count the messages of the sessions that *call* is about."""
    return select(func.coalesce(func.sum(q.s.c.message_count), 0)).where(*_sessions(q, call))


def _every(q: Statements, call: Search) -> Select[Any]:
    return _base(q, call)


def _behind_in(q: Statements, call: Search) -> Select[Any]:
    s = q.s.c
    return _base(q, call).where(s.last_position > s.indexed_position, q.m.c.position > s.indexed_position)


def _read(
    c: Connection, q: Statements, call: Search, build: Callable[[Statements, Search], Select[Any]], name: str
) -> Iterator[Found]:
    """Yield what matches of the messages that *build* selects, a page at a time: a cursor would need a transaction."""
    number = q.m.c.id
    statement = _prepared(
        c,
        q,
        call,
        name,
        lambda: (
            build(q, call)
            .add_columns(number)
            .where(number > bindparam("behind"))
            .order_by(number)
            .limit(literal_column(str(PAGE)))
        ),
    )
    last = 0
    while True:
        lines = statement.rows(c, _asked(call) | {"behind": last})
        yield from _verified((line[:-1] for line in lines), call.wanted)
        if len(lines) < PAGE:
            return
        last = lines[-1][-1]


def _prepared(
    c: Connection, q: Statements, call: Search, name: str, build: Callable[[], Select[Any]]
) -> Prepared:
    """Return what *build* makes, made once for what *call* asks; a list of types is written anew each time."""
    how = execution.prepare if call.wanted.types is None else execution.ordinary
    return q.once((name, *_shape(call), c.dialect.driver), lambda: how(build(), c.dialect))


def _verified(lines: Any, wanted: SearchFilter) -> Iterator[Found]:
    rank_of = wanted.query.ranking()
    for line in lines:
        content = line[3] or ""
        rank = rank_of(content)
        if rank is not None:
            created_at, session_id, position, _, message_id, type_, *owner = line
            yield Found(created_at, session_id, position, rank, message_id, type_, content, *owner)


def _base(q: Statements, call: Search) -> Select[Any]:
    """Select the messages that *call* is about, with their sessions."""
    m, s, wanted = q.m.c, q.s.c, call.wanted
    columns = (
        q.read(m.created_at),
        m.session_id,
        m.position,
        type_coerce(m.content, Text).label("content"),
        m.message_id,
        m.type,
        s.title,
        s.tenant_id,
        s.user_id,
    )
    statement = select(*columns).where(m.session_id == s.session_id, *_sessions(q, call))
    if wanted.types is not None:
        types: Any = bindparam("types", expanding=True, type_=models.ExactString(32))
        statement = statement.where(m.type.in_(types))
    for moment, name in ((wanted.since, "since"), (wanted.until, "until")):
        if moment is not None:
            at = bindparam(name, type_=models.Instant())
            statement = statement.where(m.created_at >= at if name == "since" else m.created_at < at)
    return statement


def _sessions(q: Statements, call: Search) -> list[ColumnElement[bool]]:
    """Tell which sessions *call* is about."""
    s, wanted = q.s.c, call.wanted
    conditions = [q.visible(call.scope)]
    for col, value, name in (
        (s.session_id, wanted.session_id, "only_session"),
        (s.tenant_id, wanted.tenant_id, "only_tenant"),
        (s.user_id, wanted.user_id, "only_user"),
    ):
        if value is not None:
            conditions.append(col == bindparam(name))
    return conditions


def _asked(call: Search) -> dict[str, Any]:
    wanted = call.wanted
    given = {
        "only_session": wanted.session_id,
        "only_tenant": wanted.tenant_id,
        "only_user": wanted.user_id,
        "types": wanted.types,
        "since": wanted.since,
        "until": wanted.until,
    }
    return parameters(call) | {name: value for name, value in given.items() if value is not None}


def _shape(call: Search) -> tuple[bool, ...]:
    scope, wanted = call.scope, call.wanted
    parts = (scope.tenant_id, scope.user_id, *wanted[1:7])
    return tuple(part is not None for part in parts)


def _marks(call: Search) -> list[str]:
    """Return the marks of the session and the owners that *call* is about."""
    scope, wanted = call.scope, call.wanted
    named = (
        ("s", wanted.session_id),
        *(("u", user) for user in (scope.user_id, wanted.user_id)),
        *(("t", tenant) for tenant in (scope.tenant_id, wanted.tenant_id)),
    )
    return list(dict.fromkeys(words.mark(kind, name) for kind, name in named if name is not None))


def _narrow(call: Search) -> bool:
    return bool(_marks(call))


def _full_text(q: Statements) -> FullText:
    full_text = q.dialect.full_text
    if full_text is None:
        raise LookupError(q.dialect.name)
    return full_text


# ------------------------------------------------------------------------------------------------ what is indexed


def has_index(c: Connection, q: Statements) -> bool:
    """Tell whether the index is there."""
    return q.dialect.full_text is not None and q.dialect.full_text.exists(c, q.schema)


def behind(c: Connection, q: Statements, call: Search) -> tuple[list[str], int]:
    """Return sessions that *call* is about and the index does not hold all of, at most `LOCKED`.

    With them comes how many messages it lacks of all there are, at most.
    """
    s = q.s.c
    some: Any = literal_column(str(LOCKED))
    first = _prepared(c, q, call, "behind", lambda: _lacking(q, call, s.session_id).limit(some))
    session_ids = [session_id for (session_id,) in first.rows(c, _asked(call))]
    if not session_ids:
        return [], 0
    missing = func.sum(s.last_position - s.indexed_position)
    counted = _prepared(c, q, call, "missing", lambda: _lacking(q, call, missing))
    return session_ids, int(counted.first_row(c, _asked(call))[0] or 0)


def _lacking(q: Statements, call: Search, what: ColumnElement[Any]) -> Select[Any]:
    """Select *what* of the sessions that *call* is about and the index does not hold all of."""
    s = q.s.c
    return select(what).where(s.last_position > s.indexed_position, *_sessions(q, call))


def behind_anywhere(c: Connection, q: Statements, after: str) -> list[str]:
    """Return sessions that the index does not hold all of, expired ones too, by their ids behind *after*."""
    s = q.s.c
    statement = select(s.session_id).where(s.last_position > s.indexed_position, s.session_id > after)
    return list(c.execute(statement.order_by(s.session_id).limit(LOCKED)).scalars())


def refresh(c: Connection, q: Statements, session_ids: Sequence[str]) -> int:
    """Index what is new in these sessions, at most `INDEXED` messages of it; return how many sessions got further.

    A session that somebody holds is left out: who reads must not wait for who writes.
    """
    states = _held_now(c, q, session_ids)
    if not states:
        return 0
    m, s = q.m.c, q.s.c
    ids: Any = bindparam("ids", expanding=True, type_=models.ExactString(255))
    new = (
        # The time as text: a driver may not read the last hours of 9999 in the session's zone.
        select(m.session_id, m.position, m.id, cast(m.created_at, Text), type_coerce(m.content, Text))
        .where(m.session_id == s.session_id, m.position > s.indexed_position, m.session_id.in_(ids))
        .order_by(m.session_id, m.position)
        .limit(INDEXED)
    )
    lines = c.execute(new, {"ids": sorted(states)}).all()
    if lines:
        marks = {session_id: _marks_of(session_id, *owner) for session_id, (owner, _) in states.items()}
        _full_text(q).write(
            c,
            q.schema,
            [
                Indexing(number, created_at, f"{marks[session_id]} {words.indexed(content or '')}")
                for session_id, _, number, created_at, content in lines
            ],
        )
    reached = {session_id: last for session_id, (_, last) in states.items()}
    if len(lines) == INDEXED:  # of the last one there may be more, and there are none of those behind it
        last_id, last_position = lines[-1][:2]
        reached = {session_id: last for session_id, last in reached.items() if session_id < last_id}
        reached[last_id] = last_position
    _store(c, q, reached)
    return len(reached)


def _held_now(
    c: Connection, q: Statements, session_ids: Sequence[str]
) -> dict[str, tuple[tuple[Any, Any], int]]:
    """Lock those of the sessions that are behind; return the owner and the last position of each."""
    s = q.s.c
    ids: Any = bindparam("ids", expanding=True, type_=models.ExactString(255))
    if not q.dialect.locks_rows:
        c.execute(
            update(q.s).where(s.session_id.in_(ids)).values(revision=s.revision), {"ids": list(session_ids)}
        )
    statement = (
        select(s.session_id, s.tenant_id, s.user_id, s.last_position)
        .where(s.session_id.in_(ids), s.last_position > s.indexed_position)
        .order_by(s.session_id)
    )
    if q.dialect.locks_rows:
        statement = statement.with_for_update(skip_locked=True)
    lines = c.execute(statement, {"ids": list(session_ids)}).all()
    return {session_id: ((tenant, user), last) for session_id, tenant, user, last in lines}


def _store(c: Connection, q: Statements, reached: dict[str, int]) -> None:
    s = q.s.c
    at: Any = bindparam("at")
    c.execute(
        update(q.s).where(s.session_id == bindparam("sid")).values(indexed_position=at),
        [{"sid": session_id, "at": position} for session_id, position in reached.items()],
    )


def _marks_of(session_id: str, tenant_id: str | None, user_id: str | None) -> str:
    named = (("s", session_id), ("t", tenant_id), ("u", user_id))
    return " ".join(words.mark(kind, name) for kind, name in named if name is not None)
