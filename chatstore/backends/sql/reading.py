"""Reading sessions, or the messages of one: what is asked, bound and made of the answer.

This module knows how these statements are written and executes them; nothing here changes or locks anything.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, Text, bindparam, exists, select, type_coerce

from chatstore import codec
from chatstore.backends.common import rules
from chatstore.backends.sql.rows import DRAFT, row_of, session_of
from chatstore.backends.sql.statements import absent
from chatstore.codec import Draft, Row, record_of, records_of
from chatstore.contract import InSession
from chatstore.errors import CorruptRecord
from chatstore.failures import found_nowhere, missing, no_message
from chatstore.paging import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa
    from sqlalchemy import ColumnElement, Connection, Select

    from chatstore.arguments import Scope, Window
    from chatstore.backends.sql.execution import Prepared
    from chatstore.backends.sql.statements import Statements
    from chatstore.contract import Call, CountMessages, FindMessage, GetMessage, GetMessages, ListSessions
    from chatstore.messages import ChatSession, Message, MessageRecord, Records
    from chatstore.paging import Keyset

#: What of a draft a reader sees, besides its position: what a record is made of.
SEEN = (*DRAFT[:6], "finish_reason", "state", "updated_at")


def parameters(call: Call) -> dict[str, Any]:
    """Return the parameters of every statement about what *call* sees, in its session or in all of them."""
    made: dict[str, Any] = {"now": call.now}
    if isinstance(call, InSession):
        made["sid"] = call.session_id
    if call.scope.tenant_id is not None:
        made["tenant"] = call.scope.tenant_id
    if call.scope.user_id is not None:
        made["user"] = call.scope.user_id
    return made


# ------------------------------------------------------------------------------------------------ sessions


def get_session(c: Connection, q: Statements, call: InSession) -> ChatSession | None:
    """Return the session if *scope* sees it."""
    row = _session(q, call.scope, c.dialect).first_row(c, parameters(call))
    return None if row is None else session_of(row)


def _session(q: Statements, scope: Scope, here: sa.Dialect) -> Prepared:
    key = ("session", *map(absent, scope), here.driver)
    return q.built.get(key) or q.keep(key, select(*q.session_columns).where(q.one(scope)), here)


def count_messages(c: Connection, q: Statements, call: CountMessages) -> int:
    """As `Repository.count_messages`."""
    session = get_session(c, q, call)
    return session.message_count if session else 0


def list_sessions(c: Connection, q: Statements, call: ListSessions) -> list[ChatSession]:
    """As `Repository.list_sessions`: at most *limit* sessions behind *start*.

    A metadata filter is narrowed in the database as far as it can, and decided here.
    """
    start = call.start
    found: list[ChatSession] = []
    while True:
        statement = q.sessions(call, more=start is not None, here=c.dialect)
        page = [session_of(row) for row in statement.rows(c, _listed(call, start))]
        if not call.wanted.metadata:
            return page
        found += [session for session in page if rules.wanted(session, call.scope, call.wanted, call.now)]
        if len(found) >= call.limit or len(page) < call.limit:
            return found[: call.limit]
        start = place_of(page[-1], call.order)


def _listed(call: ListSessions, start: Keyset | None) -> dict[str, Any]:
    """Return the parameters of `Statements.sessions` for the page of *call* behind *start*."""
    wanted = call.wanted
    made = parameters(call) | {"n": call.limit}
    if wanted.tenant_id is not None:
        made["of_tenant"] = wanted.tenant_id
    if wanted.user_id is not None:
        made["of_user"] = wanted.user_id
    if wanted.updated_since is not None:
        made["since"] = wanted.updated_since
    if wanted.forked_from is not None:
        made["of_source"] = wanted.forked_from
    if start is not None:
        made["moment"], made["last_id"] = start
    return made


# ------------------------------------------------------------------------------------------------ messages


def get_messages(c: Connection, q: Statements, call: GetMessages) -> list[Message]:
    """As `Repository.get_messages`."""
    fetched = _messages(q, call, c.dialect).rows(c, _windowed(call))
    if call.window.last is not None:
        fetched = fetched[::-1]
    try:
        return codec.decode_all(fetched, call.form)
    except CorruptRecord:
        # Read again for an error that names the damaged ones and carries the others.
        return [record.message for record in get_records(c, q, call)]


def _messages(q: Statements, call: GetMessages, here: sa.Dialect) -> Prepared:
    """Select what a message is made of: type, content, payload, message_id, id_generated."""
    key = ("messages", *map(absent, (*call.scope, *call.window)), here.driver)
    return q.built.get(key) or q.keep(key, _select_messages(q, call), here)


def _select_messages(q: Statements, call: GetMessages) -> Select[Any]:
    m = q.m.c
    columns = [
        m.type,
        type_coerce(m.content, Text),
        q.payload,
        m.message_id,
        type_coerce(m.id_generated, Integer),  # as drivers give it: 1, or True
    ]
    return _within(q, select(*columns).where(_seen(q, call.scope)), call.window)


def _seen(q: Statements, scope: Scope) -> ColumnElement[bool]:
    """Ask whether *scope* sees the session.

    Not by a join: the planner would sort all messages where an index scan from one end is enough.
    """
    return exists(select(q.s.c.session_id).where(q.one(scope)))


def _within(q: Statements, statement: Select[Any], window: Window) -> Select[Any]:
    m = q.m.c
    statement = statement.where(m.session_id == bindparam("sid"))
    if window.after is not None:
        statement = statement.where(m.position > bindparam("after"))
    if window.before is not None:
        statement = statement.where(m.position < bindparam("before"))
    if window.last is not None:
        return statement.order_by(m.position.desc()).limit(bindparam("n", type_=BigInteger))
    statement = statement.order_by(m.position)
    return statement if window.limit is None else statement.limit(bindparam("n", type_=BigInteger))


def _windowed(call: GetMessages) -> dict[str, Any]:
    """Return the parameters of a statement about the messages that *call* wants."""
    made, window = parameters(call), call.window
    if window.after is not None:
        made["after"] = window.after
    if window.before is not None:
        made["before"] = window.before
    size = window.last if window.last is not None else window.limit
    if size is not None:
        made["n"] = size
    return made


# ------------------------------------------------------------------------------------------------ records


def get_records(c: Connection, q: Statements, call: GetMessages) -> Records:
    """As `Repository.get_records`."""
    fetched = _records(q, call, c.dialect).rows(c, _windowed(call))
    revision = fetched[0][0] if fetched else 0
    # The order of a subquery is no promise, and a session without messages is one line of nulls.
    lines = sorted((line for line in fetched if line[1] is not None), key=itemgetter(1))
    return records_of(call.session_id, [_seen_row_of(line[1:]) for line in lines], revision, call.form)


def _seen_row_of(row: Sequence[Any]) -> Row:
    """Return the row of a line that begins with its position and has what is in `SEEN`: to be read, not kept."""
    position, created_at, message_id, generated, type_, content, payload, reason, state, updated_at = row
    return Row(
        position,
        Draft(
            created_at,
            message_id,
            generated,
            type_,
            content or "",
            payload,
            finish_reason=reason,
            state=state,
            updated_at=updated_at,
        ),
    )


def _records(q: Statements, call: GetMessages, here: sa.Dialect) -> Prepared:
    """Select the session's revision beside each row inside the window; one line of nulls where there is none."""
    key = ("records", *map(absent, (*call.scope, *call.window)), here.driver)
    return q.built.get(key) or q.keep(key, _select_records(q, call), here)


def _select_records(q: Statements, call: GetMessages) -> Select[Any]:
    inner = _within(q, select(q.m.c.session_id, *q.row_columns), call.window).subquery("r")
    columns = [inner.c[name] for name in ("position", *SEEN)]
    return (
        select(q.s.c.revision, *columns)
        .select_from(q.s.outerjoin(inner, inner.c.session_id == q.s.c.session_id))
        .where(q.one(call.scope))
    )


def get_message(c: Connection, q: Statements, call: GetMessage) -> MessageRecord:
    """As `Repository.get_message`."""
    # In one statement: between two, the session could be deleted and made again by another owner.
    key = ("visible_row", *map(absent, call.scope), type(call.key), c.dialect.driver)
    selected = q.built.get(key) or q.keep(key, q.any_row(call.key).where(_seen(q, call.scope)), c.dialect)
    row = selected.first_row(c, parameters(call) | {"key": call.key})
    if row is not None:
        return record_of(call.session_id, row_of(row))
    raise (
        missing(call.session_id) if get_session(c, q, call) is None else no_message(call.session_id, call.key)
    )


def find_message(c: Connection, q: Statements, call: FindMessage) -> MessageRecord:
    """As `Repository.find_message`."""
    key = ("found", *map(absent, call.scope), c.dialect.driver)
    selected = q.built.get(key) or q.keep(key, _select_found(q, call.scope), c.dialect)
    row = selected.first_row(c, parameters(call) | {"key": call.message_id})
    if row is None:
        raise found_nowhere(call.message_id)
    return record_of(row[0], row_of(row[1:]))


def _select_found(q: Statements, scope: Scope) -> Select[Any]:
    """Select session and row of the message with the id ``:key`` in what *scope* sees, of several the first made."""
    joined = q.m.join(q.s, q.s.c.session_id == q.m.c.session_id)
    statement = select(q.m.c.session_id, *q.row_columns).select_from(joined)
    statement = statement.where(q.m.c.message_id == bindparam("key"), q.visible(scope))
    return statement.order_by(q.s.c.created_at, q.s.c.session_id).limit(1)
