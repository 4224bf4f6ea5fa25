"""Statements, pure: what is asked in, statement out.

This module knows the tables, and what is asked of them in a transaction or across sessions; it refuses to execute
anything. `rows` binds values and reads results, `core` executes. `reading`, `appending` and `search` write their own,
on the tables and conditions here.
"""

from __future__ import annotations

from functools import cached_property, partial
from operator import is_
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    MetaData,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
    update,
)

from chatstore.backends.common import rules
from chatstore.backends.sql import execution, models
from chatstore.backends.sql.rows import DRAFT
from chatstore.records import INCOMPLETE, SESSION_FIELDS, STREAMING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import sqlalchemy as sa
    from sqlalchemy import ColumnElement, Select, Table
    from sqlalchemy.sql.dml import Delete, Insert, Update

    from chatstore.arguments import PurgeRule, Scope, UsageFilter
    from chatstore.backends.sql.dialects import Dialect
    from chatstore.backends.sql.execution import Prepared
    from chatstore.contract import ListSessions

S = TypeVar("S")


class Statements:
    """Every statement for one kind of database and one schema; each is built once."""

    def __init__(self, dialect: Dialect, schema: str | None) -> None:
        """Take the tables of *schema* (None: the connection's default)."""
        metadata = MetaData()
        self.dialect = dialect
        #: Whether an append is one statement.
        self.appends_at_once = dialect.upsert is not None and dialect.upsert.with_messages
        self.schema = schema
        #: Whether the search index was there when somebody looked last.
        self.has_index = False
        self.s: Table = models.sessions.to_metadata(metadata, schema=cast("str", schema))
        self.t: Table = models.states.to_metadata(metadata, schema=cast("str", schema))
        self.m: Table = models.messages.to_metadata(metadata, schema=cast("str", schema))
        #: What was built already, by what decides how it is written.
        self.built: dict[Any, Any] = {}

    # ---- conditions

    def visible(self, scope: Scope) -> ColumnElement[bool]:
        """Tell which sessions *scope* sees at ``:now``."""
        conditions: list[ColumnElement[bool]] = [
            or_(self.s.c.expires_at.is_(None), self.s.c.expires_at > at_now())
        ]
        if scope.tenant_id is not None:
            conditions.append(self.s.c.tenant_id == bindparam("tenant"))
        if scope.user_id is not None:
            conditions.append(self.s.c.user_id == bindparam("user"))
        return and_(*conditions)

    def one(self, scope: Scope) -> ColumnElement[bool]:
        """Tell which session is ``:sid``, if *scope* sees it."""
        return and_(self.s.c.session_id == bindparam("sid"), self.visible(scope))

    def once(self, key: tuple[Any, ...], build: Callable[[], S]) -> S:
        """Return what *build* makes, made once for *key*."""
        made: S | None = self.built.get(key)
        if made is None:
            made = self.built[key] = build()
        return made

    def keep(self, key: tuple[Any, ...], statement: Any, here: sa.Dialect) -> Prepared:
        """Prepare *statement*, keep it in `built` under *key*, and return it."""
        made: Prepared = self.built.setdefault(key, execution.prepare(statement, here))
        return made

    # ---- sessions

    @cached_property
    def session_columns(self) -> list[ColumnElement[Any]]:
        """The columns of a session, in the order of `ChatSession`."""
        return [self.read(self.s.c[name]) for name in SESSION_FIELDS]

    @cached_property
    def locked(self) -> Select[Any]:
        """Select the session's row, whoever owns it, and hold it against other writers where FOR UPDATE can."""
        statement = select(*self.session_columns).where(self.s.c.session_id == bindparam("sid"))
        return statement.with_for_update() if self.dialect.locks_rows else statement

    @cached_property
    def touch_to_lock(self) -> Update:
        """Write the session's row without changing it, which holds it on every database."""
        return (
            update(self.s).where(self.s.c.session_id == bindparam("sid")).values(revision=self.s.c.revision)
        )

    @cached_property
    def make_session(self) -> Insert | None:
        """Insert a session from its values, unless there is one, which is waited for; None where none waits."""
        upsert = self.dialect.upsert
        return upsert.hold(self.s) if upsert is not None and upsert.waits else None

    @cached_property
    def insert_session(self) -> Insert:
        """Insert a session from its values."""
        return insert(self.s)

    @cached_property
    def update_session(self) -> Update:
        """Update the session ``:sid`` with the values given."""
        return update(self.s).where(self.s.c.session_id == bindparam("sid"))

    def indexed_before(self, position: int) -> ColumnElement[int]:
        """Return up to where a session is indexed whose message at *position* has changed."""
        indexed = self.s.c.indexed_position
        return case((indexed < position, indexed), else_=position - 1)

    @cached_property
    def delete_session(self) -> Delete:
        """Delete the session's row; its messages first, since a cascade may be off."""
        return delete(self.s).where(self.s.c.session_id == bindparam("sid"))

    def sessions(self, call: ListSessions, *, more: bool, here: sa.Dialect) -> Prepared:
        """Select ``:n`` sessions in the order of *call*; *more*: behind (``:moment``, ``:last_id``)."""
        scope, wanted = call.scope, call.wanted
        if wanted.metadata:  # whose keys are part of the statement
            return execution.ordinary(self._sessions(call, more=more), here)
        filters = (
            wanted.tenant_id is None,
            wanted.user_id is None,
            wanted.forked_from is None,
            wanted.archived,
        )
        key = (
            "sessions",
            *map(absent, scope),
            *filters,
            wanted.updated_since is None,
            more,
            call.order,
            here.driver,
        )
        return self.once(key, lambda: execution.prepare(self._sessions(call, more=more), here))

    def _sessions(self, call: ListSessions, *, more: bool) -> Select[Any]:
        s, scope, wanted = self.s.c, call.scope, call.wanted
        down, sorted_by = call.order.startswith("-"), s[call.order.removeprefix("-")]
        statement = select(*self.session_columns).where(self.visible(scope))
        if wanted.tenant_id is not None:
            statement = statement.where(s.tenant_id == bindparam("of_tenant"))
        if wanted.user_id is not None:
            statement = statement.where(s.user_id == bindparam("of_user"))
        if wanted.forked_from is not None:
            statement = statement.where(s.forked_from == bindparam("of_source"))
        if wanted.archived is not None:
            statement = statement.where(
                s.archived_at.is_not(None) if wanted.archived else s.archived_at.is_(None)
            )
        if wanted.updated_since is not None:
            statement = statement.where(s.updated_at >= bindparam("since"))
        if wanted.metadata and self.dialect.narrow_metadata is not None:  # the caller checks every row again
            statement = statement.where(self.dialect.narrow_metadata(s.metadata, dict(wanted.metadata)))
        if more:
            moment = bindparam("moment", type_=sorted_by.type)
            last_id: Any = bindparam("last_id")
            behind = s.session_id < last_id if down else s.session_id > last_id
            later = sorted_by < moment if down else sorted_by > moment
            # The first condition is implied by the second; it is what an index scan can begin at.
            statement = statement.where(
                sorted_by <= moment if down else sorted_by >= moment,
                or_(later, and_(sorted_by == moment, behind)),
            )
        size = bindparam("n", type_=BigInteger)
        places = [place.desc() if down else place for place in (sorted_by, s.session_id)]
        return statement.order_by(*places).limit(size)

    # ---- messages: reading

    @cached_property
    def payload(self) -> ColumnElement[Any]:
        """The payload as JSON text."""
        return self.dialect.read_json(self.m.c.payload)

    def read(self, col: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column as it is read."""
        return self.dialect.read_moment(col) if isinstance(col.type, models.Instant) else col

    @cached_property
    def row_columns(self) -> list[ColumnElement[Any]]:
        """The columns of a message, in the order that `rows.row_of` reads."""
        plain = {
            "payload": self.payload.label("payload"),
            "content": type_coerce(self.m.c.content, Text).label("content"),
        }
        return [self.m.c.position, *(plain.get(name, self.read(self.m.c[name])) for name in DRAFT)]

    def row(self, key: int | str) -> Select[Any]:
        """Select one row of ``:sid`` by its ``:key``, a position or a message id, visible or not."""
        return self.once(("row", type(key)), lambda: self._fresh(self.any_row(key)))

    def any_row(self, key: int | str) -> Select[Any]:
        """Select it without any lock."""
        what = self.m.c.position if isinstance(key, int) else self.m.c.message_id
        return select(*self.row_columns).where(
            self.m.c.session_id == bindparam("sid"), what == bindparam("key")
        )

    def unattended(self, scope: Scope) -> Select[Any]:
        """Select session and message id of answers that are streaming and were not written to since ``:since``."""
        m = self.m.c
        # Not a parameter: a planner must see that the index of these rows will do.
        streaming = m.state == literal_column(f"'{STREAMING}'")
        statement = select(m.session_id, m.message_id).select_from(
            self.m.join(self.s, self.s.c.session_id == m.session_id)
        )
        since = bindparam("since", type_=models.Instant())
        return statement.where(streaming, m.updated_at <= since, self.visible(scope))

    @cached_property
    def newest(self) -> Select[Any]:
        """Select the newest row of ``:sid``."""
        statement = select(*self.row_columns).where(self.m.c.session_id == bindparam("sid"))
        return self._fresh(statement.order_by(self.m.c.position.desc()).limit(1))

    @cached_property
    def known(self) -> Select[Any]:
        """Select the rows of ``:sid`` whose message id is in ``:ids``."""
        ids: Any = bindparam("ids", expanding=True)
        return self._fresh(
            select(*self.row_columns).where(
                self.m.c.session_id == bindparam("sid"), self.m.c.message_id.in_(ids)
            )
        )

    def _fresh(self, statement: Select[Any]) -> Select[Any]:
        """Read what is committed now, not what the caller's transaction saw at its start (MySQL's default)."""
        locking = self.dialect.locks_rows and self.dialect.reads_snapshot
        return statement.with_for_update() if locking else statement

    # ---- messages: writing

    @cached_property
    def insert_messages(self) -> Insert:
        """Insert messages from their values (`message_values`)."""
        return insert(self.m)

    @cached_property
    def update_message(self) -> Update:
        """Update one message's body."""
        where = and_(self.m.c.session_id == bindparam("sid"), self.m.c.position == bindparam("at"))
        return update(self.m).where(where)

    @cached_property
    def delete_from(self) -> Delete:
        """Delete the messages of ``:sid`` behind position ``:after``."""
        return delete(self.m).where(
            self.m.c.session_id == bindparam("sid"), self.m.c.position > bindparam("after")
        )

    @cached_property
    def delete_at(self) -> Delete:
        """Delete the message of ``:sid`` at position ``:at``."""
        return delete(self.m).where(
            self.m.c.session_id == bindparam("sid"), self.m.c.position == bindparam("at")
        )

    def copy_messages(self) -> Insert:
        """Copy the messages of ``:sid`` up to position ``:through`` into the session ``:new``."""
        names = ["session_id", "position", *DRAFT]
        # As `rules.copied`: nobody writes to the copy of an answer that is streaming.
        streaming = self.m.c.state == STREAMING
        changed = {"state": INCOMPLETE, "finish_reason": rules.FORKED}
        source = select(
            bindparam("new", type_=models.ExactString(255)).label("session_id"),
            *(
                case((streaming, changed[name]), else_=self.m.c[name]) if name in changed else self.m.c[name]
                for name in names[1:]
            ),
        ).where(self.m.c.session_id == bindparam("sid"), self.m.c.position <= bindparam("through"))
        return insert(self.m).from_select(names, source.order_by(self.m.c.position))

    # ---- across sessions

    def usage(self, scope: Scope, wanted: UsageFilter) -> Select[Any]:
        """Select counts and sums by the keys of *wanted*; a day is three numbers."""
        m, s = self.m.c, self.s.c
        day = self.dialect.day(m.created_at)
        columns: dict[str, list[Any]] = {
            "day": day,
            "model": [m.model],
            "user_id": [s.user_id],
            "tenant_id": [s.tenant_id],
        }
        columns["session_id"] = [m.session_id]
        keys = [col for name in wanted.by for col in columns[name]]
        sums = [
            func.count(),
            func.sum(func.coalesce(m.input_tokens, 0)),
            func.sum(func.coalesce(m.output_tokens, 0)),
        ]
        statement = self.filtered(select(*keys, *sums), scope, wanted.tenant_id, wanted.user_id)
        statement = between(statement, m.created_at, wanted.since, wanted.until)
        statement = statement.where(m.position > func.coalesce(s.forked_at, 0))  # no copies of a fork
        return statement.group_by(*keys) if keys else statement

    def filtered(
        self, statement: Select[Any], scope: Scope, tenant_id: str | None, user_id: str | None
    ) -> Select[Any]:
        """Join messages to the sessions that *scope* and these owners leave visible."""
        joined = statement.select_from(self.m.join(self.s, self.s.c.session_id == self.m.c.session_id))
        joined = joined.where(self.visible(scope))
        for col, value in ((self.s.c.tenant_id, tenant_id), (self.s.c.user_id, user_id)):
            if value is not None:
                joined = joined.where(col == value)
        return joined

    def purged(self, scope: Scope, rule: PurgeRule, now: datetime) -> ColumnElement[bool]:
        """Tell which sessions *rule* deletes, expired ones included."""
        s = self.s.c
        conditions: list[ColumnElement[bool]] = []
        if scope.tenant_id is not None:
            conditions.append(s.tenant_id == scope.tenant_id)
        if scope.user_id is not None:
            conditions.append(s.user_id == scope.user_id)
        if rule.updated_before is not None:
            conditions.append(s.updated_at < rule.updated_before)
        if rule.archived_only:
            conditions.append(s.archived_at.is_not(None))
        if rule.expired_only:
            conditions.append(s.expires_at <= now)
        return and_(true(), *conditions)


def between(statement: Select[Any], col: Any, since: datetime | None, until: datetime | None) -> Select[Any]:
    """Narrow to *since* (inclusive) until *until* (exclusive)."""
    if since is not None:
        statement = statement.where(col >= since)
    if until is not None:
        statement = statement.where(col < until)
    return statement


def at_now() -> Any:
    """Return the parameter of the time of the call."""
    return bindparam("now", type_=models.Instant())


#: Tells whether a value is None: what of a scope or a window decides how a statement is written.
absent: Callable[[object], bool] = partial(is_, None)
