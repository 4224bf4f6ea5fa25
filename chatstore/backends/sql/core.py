"""The operations as plain functions of a Connection, synchronous, written once.

This module knows what each operation does inside one transaction; those of one statement are in `reading`, and the
short way of an append in `appending`. It refuses to know who lends the connection, commits, retries or awaits. Every
function that writes touches the session's row first: whoever holds that row is the only writer of the session.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from chatstore.arguments import NewSession
from chatstore.backends.common import rules
from chatstore.backends.sql import rows, states
from chatstore.backends.sql.appending import check_sizes
from chatstore.backends.sql.reading import parameters
from chatstore.backends.sql.rows import row_of, session_of
from chatstore.codec import Appended, Row, record_of, same_body
from chatstore.contract import BeginAnswer
from chatstore.failures import another_body, missing, no_message, out_of_order, stale, taken
from chatstore.messages import PurgeReport
from chatstore.records import SESSION_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from chatstore.backends.sql.statements import Statements
    from chatstore.codec import Draft
    from chatstore.contract import (
        AddMessages,
        AskDurability,
        CloseAnswers,
        CreateSession,
        DeleteMessage,
        DeleteSession,
        ForkSession,
        InSession,
        LoadRecords,
        PopMessage,
        Purge,
        ReplaceMessages,
        Truncate,
        UpdateMessage,
        UpdateSession,
        Usage,
    )
    from chatstore.messages import ChatSession, Durability, MessageRecord, UsageRow

#: Ids or sessions in one statement.
MANY = 500
#: From so many messages on, copying them saves more than the three more round trips take.
COPIED = 500


# ------------------------------------------------------------------------------------------------ finding and locking


def locked(c: Connection, q: Statements, session_id: str) -> ChatSession | None:
    """Hold the session's row against other writers and return it, whoever owns it, expired or not."""
    if not q.dialect.locks_rows:
        c.execute(q.touch_to_lock, {"sid": session_id})
    row = c.execute(q.locked, {"sid": session_id}).first()
    return None if row is None else session_of(row)


def _seen(c: Connection, q: Statements, call: InSession) -> ChatSession:
    session = locked(c, q, call.session_id)
    if session is None or not rules.visible(session, call.scope, call.now):
        raise missing(call.session_id)
    return session


def _vacate(c: Connection, q: Statements, session: ChatSession, now: datetime) -> None:
    """Make the id free: an expired session goes, any other raises `SessionExists`."""
    if not rules.expired(session, now):
        raise taken(session.session_id)
    _drop(c, q, session.session_id)


def _drop(c: Connection, q: Statements, session_id: str) -> None:
    c.execute(q.delete_from, {"sid": session_id, "after": 0})
    c.execute(q.delete_session, {"sid": session_id})


def _insert(c: Connection, q: Statements, session: ChatSession) -> ChatSession:
    c.execute(q.insert_session, rows.session_values(session))
    return session


def _claimed(c: Connection, q: Statements, made: ChatSession) -> ChatSession:
    """Insert *made* and return it, or return the locked session that has its id already.

    Two callers that find the id free must not both insert it: the second waits, then finds the first one's.
    """
    if q.make_session is not None:
        c.execute(q.make_session, rows.session_values(made))
    session = locked(c, q, made.session_id)
    if session is None:
        return _insert(c, q, made)
    return made if session == made else session


def _claim(c: Connection, q: Statements, made: ChatSession, now: datetime) -> None:
    """Insert *made* where its id is free, or that of an expired session; else raise `SessionExists`."""
    session = _claimed(c, q, made)
    if session is not made:
        _vacate(c, q, session, now)
        _insert(c, q, made)


def _store(c: Connection, q: Statements, session: ChatSession, changes: Mapping[str, Any]) -> None:
    c.execute(q.update_session.values({name: changes[name] for name in changes}), {"sid": session.session_id})


def _touch(c: Connection, q: Statements, session: ChatSession, now: datetime, **changes: Any) -> int:
    """Count a change of the session's messages; return the new revision."""
    revision = session.revision + 1
    updated_at = max(session.updated_at, now)
    _store(c, q, session, {**changes, "revision": revision, "updated_at": updated_at})
    return revision


def _writable(
    c: Connection, q: Statements, call: InSession, expected: int | None = None
) -> tuple[ChatSession, int | None]:
    """Return the locked session, made where it is missing, and the revision still to be expected of it."""
    made = rules.fresh(NewSession(call.session_id, call.scope, None, {}, None), call.now)
    session = _claimed(c, q, made)
    if session is not made:
        if rules.visible(session, call.scope, call.now):
            return session, expected
        _vacate(c, q, session, call.now)
        _insert(c, q, made)
    if expected:
        raise stale(call.session_id, expected, 0)
    return made, None


def _expect(session: ChatSession, revision: int | None) -> None:
    if revision is not None and revision != session.revision:
        raise stale(session.session_id, revision, session.revision)


# ------------------------------------------------------------------------------------------------ sessions


def create_session(c: Connection, q: Statements, call: CreateSession) -> ChatSession:
    """As `Repository.create_session`."""
    made = rules.fresh(call.new, call.now)
    _claim(c, q, made, call.now)
    return made


def update_session(c: Connection, q: Statements, call: UpdateSession) -> ChatSession:
    """As `Repository.update_session`."""
    session = _seen(c, q, call)
    _expect(session, call.expected_revision)
    changed = rules.changed(session, call)
    if changed is not session:
        # By identity: {"a": 1} and {"a": True} are equal for Python.
        names = [name for name in SESSION_FIELDS if getattr(changed, name) is not getattr(session, name)]
        again = {"indexed_position": 0} if {"tenant_id", "user_id"} & set(names) else {}
        _store(c, q, session, again | {name: getattr(changed, name) for name in names})
    return changed


def delete_session(c: Connection, q: Statements, call: DeleteSession) -> bool:
    """As `Repository.delete_session`."""
    session = locked(c, q, call.session_id)
    if session is None or not rules.visible(session, call.scope, call.now):
        return False
    _expect(session, call.expected_revision)
    _drop(c, q, call.session_id)
    return True


def fork_session(c: Connection, q: Statements, call: ForkSession) -> ChatSession:
    """As `Repository.fork_session`."""
    source = _seen(c, q, call)
    copy = rules.SessionState(source).fork(call.new_session_id, call.through, call.scope, call.now).session
    _claim(c, q, copy, call.now)
    # Not counted by a SELECT, which in a caller's transaction may read what the session of this id was before.
    copied = c.execute(
        q.copy_messages(),
        {"sid": call.session_id, "new": call.new_session_id, "through": copy.last_position},
        execution_options={"preserve_rowcount": True},
    ).rowcount
    if copied < 0:  # the driver does not tell
        there = select(func.count()).select_from(q.m).where(q.m.c.session_id == call.new_session_id)
        copied = c.execute(there).scalar_one()
    _store(c, q, copy, {"message_count": copied})
    found = locked(c, q, call.new_session_id)
    return copy if found is None else found


# ------------------------------------------------------------------------------------------------ append and load


def append_checked(c: Connection, q: Statements, call: AddMessages) -> Appended:
    """Append under the session's lock, looking every id up first."""
    check_sizes(c, q, call.drafts)
    session, expected = _writable(c, q, call, call.expected_revision)
    known = _known(c, q, call.session_id, call.drafts)
    changes = rules.differing(session, call.changes)
    if len(known) == len(call.drafts):
        revision = session.revision
        if not call.drafts:
            _expect(session, expected)
        again = expected not in (None, revision)
        if call.states and not again:
            states.write(c, q, call.scope, call.states, call.now)
        if changes and not again:
            revision = _touch(c, q, session, call.now, **changes)
        return Appended(revision, [known[draft.message_id] for draft in call.drafts])
    _expect(session, expected)
    if call.states:
        states.write(c, q, call.scope, call.states, call.now)
    if isinstance(call, BeginAnswer) and call.after is not None:
        gone = c.execute(q.delete_from, {"sid": call.session_id, "after": call.after}).rowcount
        session = replace(session, message_count=session.message_count - gone)
        known = {message_id: row for message_id, row in known.items() if row.position <= call.after}
    stored, position = [], session.last_position
    for draft in call.drafts:
        row = known.get(draft.message_id)
        if row is None:
            position += 1
            row = Row(position, draft)
        stored.append(row)
    new = [row for row in stored if row.draft.message_id not in known]
    return Appended(_write(c, q, session, new, call.now, **changes), stored)


def load_records(c: Connection, q: Statements, call: LoadRecords) -> int:
    """As `Repository.load_records`, for one chunk."""
    check_sizes(c, q, [row.draft for row in call.rows])
    session, _ = _writable(c, q, call)
    known = _known(c, q, call.session_id, [row.draft for row in call.rows])
    new = [row for row in call.rows if row.draft.message_id not in known]
    if new and new[0].position <= session.last_position:
        raise out_of_order(call.session_id, new[0].position, session.last_position)
    if new:
        _write(c, q, session, new, call.now, created_at=rules.begun(session, new))
    return len(new)


def replace_messages(c: Connection, q: Statements, call: ReplaceMessages) -> Appended:
    """As `Repository.replace_messages`."""
    check_sizes(c, q, call.drafts)
    session, expected = _writable(c, q, call, call.expected_revision)
    _expect(session, expected)
    c.execute(q.delete_from, {"sid": call.session_id, "after": 0})
    stored = [Row(position, draft) for position, draft in enumerate(call.drafts, session.last_position + 1)]
    if stored:
        c.execute(q.insert_messages, rows.message_values(call.session_id, stored))
    last = session.last_position + len(stored)
    return Appended(_touch(c, q, session, call.now, message_count=len(stored), last_position=last), stored)


def _write(
    c: Connection, q: Statements, session: ChatSession, new: Sequence[Row], now: datetime, **changes: Any
) -> int:
    c.execute(q.insert_messages, rows.message_values(session.session_id, new))
    count, last = session.message_count + len(new), new[-1].position
    return _touch(c, q, session, now, message_count=count, last_position=last, **changes)


def _known(c: Connection, q: Statements, session_id: str, drafts: Sequence[Draft]) -> dict[str, Row]:
    """Return the rows of those *drafts* whose id is stored; raise `MessageConflict` for another body."""
    stored: dict[str, Row] = {}
    for ids in _chunks([draft.message_id for draft in drafts], MANY):
        found = c.execute(q.known, {"sid": session_id, "ids": ids})
        stored.update((row.draft.message_id, row) for row in map(row_of, found))
    for draft in drafts if stored else ():
        row = stored.get(draft.message_id)
        if row is not None and not same_body(draft, row.draft):
            raise another_body(session_id, draft.message_id)
    return stored


# ------------------------------------------------------------------------------------------------ reading


def _row(c: Connection, q: Statements, session_id: str, key: int | str) -> Row:
    row = c.execute(q.row(key), {"sid": session_id, "key": key}).first()
    if row is None:
        raise no_message(session_id, key)
    return row_of(row)


# ------------------------------------------------------------------------------------------------ changing messages


def update_message(c: Connection, q: Statements, call: UpdateMessage) -> MessageRecord:
    """As `Repository.update_message`."""
    check_sizes(c, q, [call.draft])
    session = _seen(c, q, call)
    row = _row(c, q, call.session_id, call.key)
    edited = row._replace(draft=rules.edited_draft(call, row.draft))
    _expect(session, call.expected_revision)
    if edited.draft is not row.draft:
        values = rows.message_values(call.session_id, [edited])[0]
        del values["session_id"], values["position"]
        c.execute(q.update_message.values(values), {"sid": call.session_id, "at": row.position})
        _touch(c, q, session, call.now, indexed_position=q.indexed_before(row.position))
    return record_of(call.session_id, edited)


def delete_message(c: Connection, q: Statements, call: DeleteMessage) -> None:
    """As `Repository.delete_message`."""
    session = _seen(c, q, call)
    row = _row(c, q, call.session_id, call.key)
    c.execute(q.delete_at, {"sid": call.session_id, "at": row.position})
    _touch(c, q, session, call.now, message_count=session.message_count - 1)


def pop_message(c: Connection, q: Statements, call: PopMessage) -> MessageRecord | None:
    """As `Repository.pop_message`."""
    session = locked(c, q, call.session_id)
    if session is None or not rules.visible(session, call.scope, call.now):
        return None
    row = c.execute(q.newest, {"sid": call.session_id}).first()
    if row is None:
        return None
    record = record_of(call.session_id, row_of(row))
    c.execute(q.delete_at, {"sid": call.session_id, "at": record.position})
    _touch(c, q, session, call.now, message_count=session.message_count - 1)
    return record


def truncate(c: Connection, q: Statements, call: Truncate) -> None:
    """As `Repository.truncate`."""
    session = locked(c, q, call.session_id)
    if session is None or not rules.visible(session, call.scope, call.now):
        return
    gone = c.execute(q.delete_from, {"sid": call.session_id, "after": call.after}).rowcount
    if gone:
        _touch(c, q, session, call.now, message_count=session.message_count - gone)


# ------------------------------------------------------------------------------------------------ across sessions


def usage(c: Connection, q: Statements, call: Usage) -> list[UsageRow]:
    """As `Repository.usage`."""
    fetched = c.execute(q.usage(call.scope, call.wanted), parameters(call)).all()
    counted = []
    for line in fetched:
        values, sums = iter(line[:-3]), [int(number or 0) for number in line[-3:]]
        key = [
            date(*(int(part) for part in islice(values, 3))) if name == "day" else next(values)
            for name in call.wanted.by
        ]
        if sums[0]:
            counted.append(rules.usage_row(call.wanted.by, key, *sums))
    return sorted(counted, key=lambda row: rules.usage_order([getattr(row, name) for name in call.wanted.by]))


def purge_counts(c: Connection, q: Statements, call: Purge) -> PurgeReport:
    """Count what `purge` would delete."""
    what = select(func.count(), func.coalesce(func.sum(q.s.c.message_count), 0)).where(
        q.purged(call.scope, call.rule, call.now)
    )
    sessions, lost = c.execute(what).one()
    return PurgeReport(sessions=int(sessions), messages=int(lost), dry_run=True)


def purge_some(c: Connection, q: Statements, call: Purge) -> tuple[int, int]:
    """Delete up to `MANY` of the sessions *rule* names; return how many, and how many messages."""
    what = (
        select(q.s.c.session_id)
        .where(q.purged(call.scope, call.rule, call.now))
        .order_by(q.s.c.session_id)
        .limit(MANY)
    )
    sessions = lost = 0
    for session_id in list(c.execute(what).scalars()):
        session = locked(c, q, session_id)
        # Somebody may have written to it, or deleted it, since it was listed. Not asked of the database: MySQL
        # would answer from the snapshot that the list was read from.
        if session is None or not rules.purged(session, call.scope, call.rule, call.now):
            continue
        _drop(c, q, session_id)
        sessions, lost = sessions + 1, lost + session.message_count
    return sessions, lost


def unattended(c: Connection, q: Statements, call: CloseAnswers) -> list[tuple[str, str]]:
    """Return session and message id of each answer that *call* names."""
    asked = parameters(call) | {"since": call.untouched_since}
    return [(session_id, message_id) for session_id, message_id in c.execute(q.unattended(call.scope), asked)]


def close_answer(c: Connection, q: Statements, call: CloseAnswers, session_id: str, message_id: str) -> bool:
    """Close one of these answers, unless somebody was faster; tell whether it was closed."""
    session = locked(c, q, session_id)
    row = c.execute(q.row(message_id), {"sid": session_id, "key": message_id}).first()
    if session is None or row is None:
        return False
    before = row_of(row)
    if not rules.unattended(before.draft, call.untouched_since):
        return False
    update_message(c, q, rules.closing(call, session_id, before.draft))
    return True


def durability(c: Connection, q: Statements, _call: AskDurability) -> Durability:
    """As `Repository.durability`: read from the server."""
    return q.dialect.durability(c)


def _chunks(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(ids)
    while part := list(islice(iterator, size)):
        yield part
