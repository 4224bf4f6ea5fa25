"""Named states, as plain functions of a Connection: the same as `chatstore.backends.sql.core` for its tables.

Whoever sets or deletes states locks them in the order of their ids, after the session if there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, select, update

from chatstore.arguments import Scope
from chatstore.backends.common import states as rules
from chatstore.backends.common.states import Stored
from chatstore.backends.sql.models import JSONText
from chatstore.ids import state_place

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from chatstore.backends.sql.statements import Statements
    from chatstore.contract import DeleteStates, GetStates, ListStates, NewStates, SetStates
    from chatstore.records import State


def get_states(c: Connection, q: Statements, call: GetStates) -> list[State]:
    """As `Repository.get_states`."""
    found = c.execute(select(q.t.c.state_key, *_columns(q)).where(_named(q, call))).all()
    return [
        rules.handed_out(call.scope, (call.namespace, key), Stored(*stored))
        for key, *stored in sorted(found, key=lambda row: row[0])
    ]


def iter_states(c: Connection, q: Statements, call: ListStates) -> list[State]:
    """As `Repository.iter_states`: at most *limit* behind *after*."""
    t = q.t.c
    conditions = [] if call.after is None else [t.state_id > call.after]
    for column, value in ((t.tenant_id, call.scope.tenant_id), (t.user_id, call.scope.user_id)):
        if value is not None:
            conditions.append(column == value)
    wanted = select(t.tenant_id, t.user_id, t.namespace, t.state_key, *_columns(q)).where(*conditions)
    found = c.execute(wanted.order_by(t.state_id).limit(call.limit)).all()
    return [
        rules.handed_out(Scope(tenant_id, user_id), (namespace, key), Stored(*stored))
        for tenant_id, user_id, namespace, key, *stored in found
    ]


def set_states(c: Connection, q: Statements, call: SetStates) -> list[State]:
    """As `Repository.set_states`."""
    return write(c, q, call.scope, call.states, call.now, call.expected_revision)


def delete_states(c: Connection, q: Statements, call: DeleteStates) -> int:
    """As `Repository.delete_states`."""
    if call.expected_revision is not None:
        (key,) = call.keys
        found = _locked(c, q, state_id(call.scope, call.namespace, key))
        if found is None:
            return 0
        rules.expect(key, found, call.expected_revision)
    return c.execute(delete(q.t).where(_named(q, call))).rowcount


def write(
    c: Connection, q: Statements, scope: Scope, new: NewStates, now: datetime, expected: int | None = None
) -> list[State]:
    """Set states of the owner *scope* and return them, in the order of *new*."""
    ids = {name: state_id(scope, *name) for name in new}
    done: dict[tuple[str, str], State] = {}
    for name in sorted(new, key=lambda name: ids[name]):
        done[name] = _set(c, q, scope, name, new[name], now, expected)
    return [done[name] for name in new]


def _set(
    c: Connection,
    q: Statements,
    scope: Scope,
    name: tuple[str, str],
    value: str,
    now: datetime,
    expected: int | None,
) -> State:
    namespace, key = name
    at, made = state_id(scope, namespace, key), rules.changed(key, None, value, now, None)
    owner = {"tenant_id": scope.tenant_id, "user_id": scope.user_id, "namespace": namespace, "state_key": key}
    found = _locked(c, q, at)
    upsert = q.dialect.upsert
    if found is None and expected in (None, 0) and upsert is not None and upsert.waits:
        # Two writers that find it missing must not both insert it: the second waits, then finds the first one's.
        c.execute(upsert.hold(q.t), {"state_id": at, **owner, **_values(made)})
        found = _locked(c, q, at)
        if found == made:
            return rules.handed_out(scope, name, made)
    changed = rules.changed(key, found, value, now, expected)
    if found is None:
        c.execute(insert(q.t), {"state_id": at, **owner, **_values(changed)})
    elif changed is not found:
        c.execute(update(q.t).where(q.t.c.state_id == at).values(_values(changed)))
    return rules.handed_out(scope, name, changed)


def state_id(scope: Scope, namespace: str, key: str) -> str:
    """Return the id of a state."""
    return state_place(scope.tenant_id, scope.user_id, namespace, key)


def _columns(q: Statements) -> list[ColumnElement[Any]]:
    """Return the columns of `Stored`, in its order."""
    return [q.dialect.read_json(q.t.c.value), q.t.c.revision, q.read(q.t.c.updated_at)]


def _values(stored: Stored) -> dict[str, Any]:
    return stored._asdict() | {"value": JSONText(stored.value)}


def _locked(c: Connection, q: Statements, at: str) -> Stored | None:
    """Hold the row of the state *at* against other writers, and return what is stored."""
    here = q.t.c.state_id == at
    statement = select(*_columns(q)).where(here)
    if q.dialect.locks_rows:
        statement = statement.with_for_update()
    else:
        c.execute(update(q.t).where(here).values(revision=q.t.c.revision))
    row = c.execute(statement).first()
    return None if row is None else Stored(*row)


def _named(q: Statements, call: GetStates) -> ColumnElement[bool]:
    """Tell which states *call* is about."""
    t = q.t.c
    owner = [
        column.is_(None) if value is None else column == value
        for column, value in ((t.tenant_id, call.scope.tenant_id), (t.user_id, call.scope.user_id))
    ]
    keys = [t.state_key.in_(call.keys)] if call.keys else []
    return and_(t.namespace == call.namespace, *owner, *keys)
