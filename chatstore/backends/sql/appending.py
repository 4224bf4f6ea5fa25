"""Appending without looking an id up: what is sent, how it is written, and the order of both.

The session's counter row goes first, so that whoever holds it is the only writer of the session; then the messages, in
the same statement where the database can. A known id is a unique violation, which undoes all of it, the counter
included: `chatstore.backends.sql.core` then looks at what is stored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    Boolean,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    insert,
    literal_column,
    select,
    true,
    update,
    values,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy import column as named_column

from chatstore.arguments import microseconds
from chatstore.backends.sql import column_types, execution, models, states
from chatstore.backends.sql.dialects.base import UNMEASURED
from chatstore.backends.sql.reading import get_session, parameters
from chatstore.backends.sql.rows import DRAFT
from chatstore.backends.sql.statements import absent, at_now
from chatstore.codec import LATER, Appended, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import sqlalchemy as sa
    from sqlalchemy import Connection
    from sqlalchemy.sql.dml import Update
    from sqlalchemy.sql.elements import KeyedColumnElement

    from chatstore.backends.sql.dialects.base import Upsert
    from chatstore.backends.sql.execution import Prepared
    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Draft
    from chatstore.contract import AddMessages

#: From so many messages on, copying them saves more than the three more round trips take.
COPIED = 500
#: Up to this many messages, one VALUES list of parameters is faster than one JSON document of them.
SMALL_BATCH = 8
#: What is sent of each draft: all but its time, the first field, which is the append's, and what comes later.
SENT = tuple(name for name in DRAFT[1:] if name not in LATER)
#: What an append that is more than one statement sends of each message, as `_lines` puts it.
LINE = ("created_at", "session_id", "position", *SENT)

_EMPTY = models.JSONText("{}")
_NUMBERED = [[f"{name}_{number}" for name in SENT] for number in range(SMALL_BATCH)]


def append_once(c: Connection, q: Statements, call: AddMessages) -> Appended | None:
    """Append without looking any id up; None where no session of this id is in scope, at the revision expected."""
    check_sizes(c, q, call.drafts)
    size = len(call.drafts)
    copying = _copying(q, c.dialect) if size >= COPIED and execution.can_copy(c) else None
    at_once = q.appends_at_once and copying is None
    row = _append_at_once(c, q, call) if at_once else _count_on(c, q, call)
    if row is None:
        return None
    last, revision = row
    stored = [Row(position, draft) for position, draft in enumerate(call.drafts, last - size + 1)]
    if copying is not None:
        execution.copy(c, copying, _lines(call.session_id, stored))
    elif not at_once:
        _insert_many(q, c.dialect).insert(c, _lines(call.session_id, stored))
    if call.states:
        states.write(c, q, call.scope, call.states, call.now)
    return Appended(revision, stored)


def check_sizes(c: Connection, q: Statements, drafts: Iterable[Draft]) -> None:
    """Raise `MessageTooLarge` before anything is sent."""
    for draft in drafts:
        if len(draft.content) + len(draft.payload) > UNMEASURED:
            q.dialect.check_size(c, draft.content, draft.payload)


# ------------------------------------------------------------------------------------------------ the counter row


def _count_on(c: Connection, q: Statements, call: AddMessages) -> Sequence[Any] | None:
    """Make room for the messages of *call*; return (last_position, revision), or None as `append_once`."""
    upsert = q.dialect.upsert
    if upsert is not None and _gives_back(call, c.dialect):
        key = ("counting", *_kind(call), c.dialect.driver)
        counting = q.built.get(key) or q.keep(key, _counting(q, call), c.dialect)
        row: Sequence[Any] | None = counting.first_row(c, _counted(call))
        return None if row is None or row[0] is None else row
    if upsert is not None and call.expected_revision is None:
        c.execute(q.once(("upsert", *_kind(call)), lambda: _upsert(q, call)), _counted(call))
    else:
        counting = q.once(("count_on", *_kind(call)), lambda: _update(q, call))
        if c.execute(counting, _counted_on(call)).rowcount != 1:
            return None
    session = get_session(c, q, call)
    return None if session is None else (session.last_position, session.revision)


def _gives_back(call: AddMessages, here: sa.Dialect) -> bool:
    """Tell whether the statement of `_counting` can have RETURNING; else the row is read afterwards."""
    return here.insert_returning if call.expected_revision is None else here.update_returning


def _kind(call: AddMessages) -> tuple[Any, ...]:
    """Return what of *call* decides how its session is counted on."""
    return (*map(absent, call.scope), call.expected_revision is None, *call.changes)


def _counting(q: Statements, call: AddMessages) -> Any:
    """Count on, giving one row (last_position, revision), or none where nothing was written."""
    if call.expected_revision is None:
        upsert = cast("Upsert", q.dialect.upsert)  # who asks has looked
        return _upsert(q, call).returning(*upsert.given(q.s, q.visible(call.scope)))
    return _update(q, call).returning(q.s.c.last_position, q.s.c.revision)


def _upsert(q: Statements, call: AddMessages) -> Any:
    """Create the session, or count ``:n`` messages onto it if the scope sees it, in one statement."""
    s = q.s.c
    first = {
        "session_id": bindparam("sid"),
        "tenant_id": bindparam("tenant"),
        "user_id": bindparam("user"),
        "metadata": bindparam("meta"),
        "message_count": bindparam("n"),
        "last_position": bindparam("n"),
        "revision": bindparam("rev"),
        "created_at": at_now(),
        "updated_at": at_now(),
    }

    def counted(new: Any) -> dict[str, Any]:
        return {
            "message_count": s.message_count + bindparam("n"),
            "last_position": s.last_position + bindparam("n"),
            "revision": s.revision + 1,
            "updated_at": case((s.updated_at < new.updated_at, new.updated_at), else_=s.updated_at),
        }

    upsert = cast("Upsert", q.dialect.upsert)  # who asks has looked
    return upsert.count(q.s, first, counted, q.visible(call.scope))


def _update(q: Statements, call: AddMessages) -> Update:
    """Count ``:n`` messages onto the session that *call* sees, at ``:expected`` if it expects a revision."""
    s = q.s.c
    counted = {
        "message_count": s.message_count + bindparam("n"),
        "last_position": s.last_position + bindparam("n"),
        "revision": s.revision + 1,
        "updated_at": case((s.updated_at < at_now(), at_now()), else_=s.updated_at),
    }
    given: dict[str, Any] = {name: bindparam(f"set_{name}") for name in call.changes}
    seen = q.one(call.scope)
    if call.expected_revision is not None:
        seen = and_(seen, s.revision == bindparam("expected"))
    return update(q.s).where(seen).values(counted | given)


def _counted(call: AddMessages) -> dict[str, Any]:
    """Return the parameters of `_counting`, which makes room for the messages of *call*."""
    if call.expected_revision is not None:
        return _counted_on(call)
    return {
        "sid": call.session_id,
        "tenant": call.scope.tenant_id,
        "user": call.scope.user_id,
        "meta": _EMPTY,
        "n": len(call.drafts),
        "rev": microseconds(call.now),
        "now": call.now,
    }


def _counted_on(call: AddMessages) -> dict[str, Any]:
    """Return the parameters of `_update`."""
    made = parameters(call) | {"n": len(call.drafts)}
    if call.expected_revision is not None:
        made["expected"] = call.expected_revision
    for name, value in call.changes.items():
        made[f"set_{name}"] = (
            models.JSONText(column_types.encode(value)) if isinstance(value, dict) else value
        )
    return made


# ------------------------------------------------------------------------------------------------ then the messages


def _lines(session_id: str, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Return what `_insert_many` stores of *rows*, which are new."""
    return [(draft[0], session_id, position, *draft[1 : -len(LATER)]) for position, draft in rows]


def _copying(q: Statements, here: sa.Dialect) -> str | None:
    """Return what copies `_lines` faster than `_insert_many` stores them; None where nothing does."""
    return q.once(("copying", here.driver), lambda: q.dialect.copying(here, q.m, LINE))


def _insert_many(q: Statements, here: sa.Dialect) -> Prepared:
    key = ("insert_many", here.driver)
    return q.built.get(key) or q.built.setdefault(key, _prepare_insert(q, here))  # type: ignore[no-any-return]


def _prepare_insert(q: Statements, here: sa.Dialect) -> Prepared:
    upsert = q.dialect.upsert
    past = execution.prepare is not execution.ordinary
    # Drivers of the others may not take the values as they are.
    if not past or upsert is None or not here.insert_returning:
        types = {name: q.m.c[name].type for name in LINE} | {"payload": Text()}  # JSON already
        made = {name: bindparam(f"new_{name}", type_=kind) for name, kind in types.items()}
        return execution.ordinary(insert(q.m).values(made), here, [bind.key for bind in made.values()])
    return execution.prepare(q.insert_messages, here, LINE)


# ------------------------------------------------------------------------------------------------ both at once


def _append_at_once(c: Connection, q: Statements, call: AddMessages) -> Sequence[Any] | None:
    """Count the session on and insert the messages of *call* in one statement; both or neither.

    Returns (last_position, revision), or None as `append_once`.
    """
    size = len(call.drafts)
    rows = 0 if size > SMALL_BATCH else size
    key = ("append", *_kind(call), rows, c.dialect.driver)
    statement = q.built.get(key) or q.keep(key, _all_at_once(q, call, rows), c.dialect)
    return statement.first_row(c, _sent_at_once(call))  # type: ignore[no-any-return]


def _all_at_once(q: Statements, call: AddMessages, rows: int) -> Any:
    counted = _counting(q, call).returning(q.s.c.session_id).cte("counted")
    new: Any = _value_rows(rows) if rows else _recordset(q)
    position = counted.c.last_position - bindparam("n") + new.c.ord
    body = [_typed(new.c[name], q.m.c[name].type) for name in SENT]
    source = select(counted.c.session_id, position, *body, at_now())
    names = ["session_id", "position", *SENT, "created_at"]
    added = insert(q.m).from_select(names, source.select_from(counted.join(new, true()))).cte("added")
    return select(counted.c.last_position, counted.c.revision).add_cte(added)


def _value_rows(size: int) -> Any:
    columns = [named_column("ord", Integer), *(named_column(name, _plain(name)) for name in SENT)]
    rows = [
        (
            literal_column(str(number + 1)),
            *(bindparam(f"{name}_{number}", type_=_plain(name)) for name in SENT),
        )
        for number in range(size)
    ]
    return values(*columns, name="new").data(rows).alias("new")


def _recordset(q: Statements) -> Any:
    columns = [named_column("ord", Integer), *(named_column(name, _plain(name)) for name in SENT)]
    return q.dialect.rows_of(bindparam("rows", type_=Text()), columns)


def _typed(col: KeyedColumnElement[Any], kind: Any) -> Any:
    """Cast what a VALUES list or a recordset may have left as text."""
    return sql_cast(col, kind) if isinstance(kind, Integer | Boolean | models.JSONDocument) else col


def _plain(name: str) -> Any:
    """Return the type in which a column's value is sent: its own where that is plain, else text."""
    kind = models.messages.c[name].type
    return type(kind)() if isinstance(kind, Integer | Boolean) else Text()


def _sent_at_once(call: AddMessages) -> dict[str, Any]:
    """Return the parameters of `_all_at_once`, for drafts made at the time of *call*."""
    made = _counted(call)
    if len(call.drafts) > SMALL_BATCH:
        rows = (dict(zip(SENT, _sent(draft), strict=True)) for draft in call.drafts)
        numbered = [{**row, "ord": number} for number, row in enumerate(rows, 1)]
        made["rows"] = json.dumps(numbered, ensure_ascii=False)
        return made
    for names, draft in zip(_NUMBERED, call.drafts, strict=False):
        made.update(zip(names, _sent(draft), strict=True))
    return made


def _sent(draft: Draft) -> Sequence[Any]:
    return draft[1 : -len(LATER)]
