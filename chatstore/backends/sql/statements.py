"""Statements, pure: what is asked in, statement out.

This module knows the tables and how each way of appending is written; it refuses to execute anything. `rows` binds
values and reads results, `core` executes, `search` has the statements of full text.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    MetaData,
    Text,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
    update,
    values,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy import column as named_column

from chatstore.arguments import EVERYTHING, Scope
from chatstore.backends.common import rules
from chatstore.backends.sql import execution, models
from chatstore.backends.sql.rows import DRAFT, LINE, SEEN, SENT, SESSION, SMALL_BATCH
from chatstore.records import INCOMPLETE, STREAMING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import sqlalchemy as sa
    from sqlalchemy import ColumnElement, Select, Table
    from sqlalchemy.sql.dml import Delete, Insert, Update
    from sqlalchemy.sql.elements import KeyedColumnElement

    from chatstore.arguments import PurgeRule, UsageFilter, Window
    from chatstore.backends.sql.dialects import Dialect
    from chatstore.backends.sql.dialects.base import Upsert
    from chatstore.backends.sql.execution import Prepared
    from chatstore.contract import AddMessages, ListSessions

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
        self._built: dict[Any, Any] = {}

    # ---- conditions

    def visible(self, scope: Scope) -> ColumnElement[bool]:
        """Tell which sessions *scope* sees at ``:now``."""
        conditions: list[ColumnElement[bool]] = [
            or_(self.s.c.expires_at.is_(None), self.s.c.expires_at > _now())
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
        made: S | None = self._built.get(key)
        if made is None:
            made = self._built[key] = build()
        return made

    # ---- sessions

    @cached_property
    def session_columns(self) -> list[ColumnElement[Any]]:
        """The columns of a session, in the order of `ChatSession`."""
        return [self.read(self.s.c[name]) for name in SESSION]

    def session(self, scope: Scope, here: sa.Dialect) -> Prepared:
        """Select one session that *scope* sees."""
        key = ("session", *_shape(scope), here.driver)
        return self.once(
            key, lambda: execution.prepare(select(*self.session_columns).where(self.one(scope)), here)
        )

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
            *_shape(scope),
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
    def _row_columns(self) -> list[ColumnElement[Any]]:
        plain = {
            "payload": self.payload.label("payload"),
            "content": type_coerce(self.m.c.content, Text).label("content"),
        }
        return [self.m.c.position, *(plain.get(name, self.read(self.m.c[name])) for name in DRAFT)]

    def messages(self, scope: Scope, window: Window, here: sa.Dialect) -> Prepared:
        """Select what a message is made of: type, content, payload, message_id, id_generated."""
        key = ("messages", *_shape(scope, window), here.driver)
        return self.once(key, lambda: execution.prepare(self._messages(scope, window), here))

    def _messages(self, scope: Scope, window: Window) -> Select[Any]:
        m = self.m.c
        columns = [
            m.type,
            type_coerce(m.content, Text),
            self.payload,
            m.message_id,
            self.dialect.read_flag(m.id_generated),
        ]
        # Not a join: the planner would sort all messages where an index scan from one end is enough.
        seen = exists(select(self.s.c.session_id).where(self.one(scope)))
        return self._within(select(*columns).where(seen), window)

    def records(self, scope: Scope, window: Window, here: sa.Dialect) -> Prepared:
        """Select the session's revision beside each row inside *window*; one line of nulls where there is none."""
        key = ("records", *_shape(scope, window), here.driver)
        return self.once(key, lambda: execution.prepare(self._records(scope, window), here))

    def _records(self, scope: Scope, window: Window) -> Select[Any]:
        inner = self._within(select(self.m.c.session_id, *self._row_columns), window).subquery("r")
        columns = [inner.c[name] for name in ("position", *SEEN)]
        return (
            select(self.s.c.revision, *columns)
            .select_from(self.s.outerjoin(inner, inner.c.session_id == self.s.c.session_id))
            .where(self.one(scope))
        )

    def _within(self, statement: Select[Any], window: Window) -> Select[Any]:
        m = self.m.c
        statement = statement.where(m.session_id == bindparam("sid"))
        if window.after is not None:
            statement = statement.where(m.position > bindparam("after"))
        if window.before is not None:
            statement = statement.where(m.position < bindparam("before"))
        if window.last is not None:
            return statement.order_by(m.position.desc()).limit(bindparam("n", type_=BigInteger))
        statement = statement.order_by(m.position)
        return statement if window.limit is None else statement.limit(bindparam("n", type_=BigInteger))

    def row(self, key: int | str) -> Select[Any]:
        """Select one row of ``:sid`` by its ``:key``, a position or a message id, visible or not."""
        return self.once(("row", type(key)), lambda: self._fresh(self._row(key)))

    def visible_row(self, scope: Scope, key: int | str, here: sa.Dialect) -> Prepared:
        """Select the row of `row` if *scope* sees its session."""
        seen = exists(select(self.s.c.session_id).where(self.one(scope)))
        return self.once(
            ("visible_row", *_shape(scope), type(key), here.driver),
            lambda: execution.prepare(self._row(key).where(seen), here),
        )

    def _row(self, key: int | str) -> Select[Any]:
        what = self.m.c.position if isinstance(key, int) else self.m.c.message_id
        return select(*self._row_columns).where(
            self.m.c.session_id == bindparam("sid"), what == bindparam("key")
        )

    def found(self, scope: Scope, here: sa.Dialect) -> Prepared:
        """Select the session and the row of the message with the id ``:key`` that `visible` sees, the first made."""
        joined = self.m.join(self.s, self.s.c.session_id == self.m.c.session_id)
        statement = select(self.m.c.session_id, *self._row_columns).select_from(joined)
        statement = statement.where(self.m.c.message_id == bindparam("key"), self.visible(scope))
        statement = statement.order_by(self.s.c.created_at, self.s.c.session_id).limit(1)
        return self.once(("found", *_shape(scope), here.driver), lambda: execution.prepare(statement, here))

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
        statement = select(*self._row_columns).where(self.m.c.session_id == bindparam("sid"))
        return self._fresh(statement.order_by(self.m.c.position.desc()).limit(1))

    @cached_property
    def known(self) -> Select[Any]:
        """Select the rows of ``:sid`` whose message id is in ``:ids``."""
        ids: Any = bindparam("ids", expanding=True)
        return self._fresh(
            select(*self._row_columns).where(
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

    # ---- append: the session's counter row and the messages

    def upsert(self, scope: Scope) -> Any:
        """Create the session, or count ``:n`` messages onto it if *scope* sees it, in one statement."""
        return self.once(("upsert", *_shape(scope)), lambda: self._upsert(scope))

    def _upsert(self, scope: Scope) -> Any:
        first = {
            "session_id": bindparam("sid"),
            "tenant_id": bindparam("tenant"),
            "user_id": bindparam("user"),
            "metadata": bindparam("meta"),
            "message_count": bindparam("n"),
            "last_position": bindparam("n"),
            "revision": bindparam("rev"),
            "created_at": _now(),
            "updated_at": _now(),
        }
        upsert = cast("Upsert", self.dialect.upsert)  # who asks has looked
        return upsert.count(self.s, first, self._counted, self.visible(scope))

    def _counted(self, new: Any) -> dict[str, Any]:
        s = self.s.c
        return {
            "message_count": s.message_count + bindparam("n"),
            "last_position": s.last_position + bindparam("n"),
            "revision": s.revision + 1,
            "updated_at": case((s.updated_at < new.updated_at, new.updated_at), else_=s.updated_at),
        }

    def counting(self, call: AddMessages, here: sa.Dialect) -> Prepared:
        """`upsert` or `count_on`, giving one row (last_position, revision), or none where nothing was written."""
        key = ("counting", *_counted_by(call), here.driver)
        return self.once(key, lambda: execution.prepare(self._counting(call), here))

    def _counting(self, call: AddMessages) -> Any:
        if call.expected_revision is None:
            return self._upsert(call.scope)
        return self.count_on(call).returning(self.s.c.last_position, self.s.c.revision)

    def insert_many(self, here: sa.Dialect) -> Prepared:
        """`insert_messages`, for `lines`."""
        return self.once(("insert_many", here.driver), lambda: self._insert_many(here))

    def copying(self, here: sa.Dialect) -> str | None:
        """Return what copies `lines` faster than `insert_many` stores them; None where nothing does."""
        key = ("copying", here.driver)
        return self.once(key, lambda: self.dialect.copying(here, self.m, LINE))

    def _insert_many(self, here: sa.Dialect) -> Prepared:
        upsert = self.dialect.upsert
        past = execution.prepare is not execution.ordinary
        if (
            not past or upsert is None or not upsert.returns
        ):  # whose drivers may not take the values as they are
            types = {name: self.m.c[name].type for name in LINE} | {"payload": Text()}  # JSON already
            made = {name: bindparam(f"new_{name}", type_=kind) for name, kind in types.items()}
            return execution.ordinary(insert(self.m).values(made), here, [bind.key for bind in made.values()])
        return execution.prepare(self.insert_messages, here, LINE)

    def count_on(self, call: AddMessages) -> Update:
        """Count ``:n`` messages onto the session that *call* sees, at ``:expected`` if it expects a revision."""
        return self.once(("count_on", *_counted_by(call)), lambda: self._count_on(call))

    def _count_on(self, call: AddMessages) -> Update:
        s = self.s.c
        counted = {
            "message_count": s.message_count + bindparam("n"),
            "last_position": s.last_position + bindparam("n"),
            "revision": s.revision + 1,
            "updated_at": case((s.updated_at < _now(), _now()), else_=s.updated_at),
        }
        given: dict[str, Any] = {name: bindparam(f"set_{name}") for name in call.changes}
        seen = self.one(call.scope)
        if call.expected_revision is not None:
            seen = and_(seen, s.revision == bindparam("expected"))
        return update(self.s).where(seen).values(counted | given)

    def append_at_once(self, call: AddMessages, here: sa.Dialect) -> Prepared:
        """Count the session on and insert the messages of *call* in one statement; both or neither.

        Gives one row (last_position, revision), or none where the session is not in scope or not at the revision
        expected: no id is looked up, a known one is a unique violation that undoes all of it, the counter included.
        """
        size = len(call.drafts)
        rows = 0 if size > SMALL_BATCH else size
        key = ("append", *_counted_by(call), rows, here.driver)
        return self.once(key, lambda: execution.prepare(self._append_at_once(call, rows), here))

    def _append_at_once(self, call: AddMessages, rows: int) -> Any:
        counted = self._counting(call).returning(self.s.c.session_id).cte("counted")
        new: Any = self._value_rows(rows) if rows else self._recordset()
        position = counted.c.last_position - bindparam("n") + new.c.ord
        body = [self._typed(new.c[name], self.m.c[name].type) for name in SENT]
        source = select(counted.c.session_id, position, *body, _now())
        names = ["session_id", "position", *SENT, "created_at"]
        added = insert(self.m).from_select(names, source.select_from(counted.join(new, true()))).cte("added")
        return select(counted.c.last_position, counted.c.revision).add_cte(added)

    def _value_rows(self, size: int) -> Any:
        columns = [named_column("ord", Integer), *(named_column(name, _plain(name)) for name in SENT)]
        rows = [
            (
                literal_column(str(number + 1)),
                *(bindparam(f"{name}_{number}", type_=_plain(name)) for name in SENT),
            )
            for number in range(size)
        ]
        return values(*columns, name="new").data(rows).alias("new")

    def _recordset(self) -> Any:
        columns = [named_column("ord", Integer), *(named_column(name, _plain(name)) for name in SENT)]
        return self.dialect.rows_of(bindparam("rows", type_=Text()), columns)

    def _typed(self, col: KeyedColumnElement[Any], kind: Any) -> Any:
        """Cast what a VALUES list or a recordset may have left as text."""
        return sql_cast(col, kind) if isinstance(kind, Integer | Boolean | models.JSONDocument) else col

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


def _plain(name: str) -> Any:
    """Return the type in which a column's value is sent: its own where that is plain, else text."""
    kind = models.messages.c[name].type
    return type(kind)() if isinstance(kind, Integer | Boolean) else Text()


def _now() -> Any:
    return bindparam("now", type_=models.Instant())


def _counted_by(call: AddMessages) -> tuple[Any, ...]:
    """Return what of *call* decides how its session is counted on."""
    return (*_shape(call.scope), call.expected_revision is not None, *call.changes)


def _shape(scope: Scope, window: Window = EVERYTHING) -> tuple[bool, ...]:
    """Return what of *scope* and *window* decides how a statement is written."""
    return (
        scope.tenant_id is not None,
        scope.user_id is not None,
        window.last is not None,
        window.after is not None,
        window.before is not None,
        window.limit is not None,
    )
