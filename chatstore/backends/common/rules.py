"""A session held in memory, and what each operation does to it: plain, in order, without any I/O.

`whole_sessions` makes a backend of such sessions, `chatstore.backends.memory` keeps them in a dictionary and
`chatstore.backends.file` in files. This module knows every rule of the contract for one session and is the place to
read them; it refuses to know where a session is kept. A method that changes something does all its checks first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from chatstore import arguments
from chatstore.arguments import EVERYBODY, Scope, microseconds
from chatstore.codec import Appended, Row, record_of, same_body
from chatstore.contract import WriteAnswer
from chatstore.errors import InvalidMessage
from chatstore.failures import another_body, closed, no_message, out_of_order, stale
from chatstore.messages import ChatSession, MessageRecord, UsageRow
from chatstore.paging import place_of
from chatstore.records import ABANDONED, COMPLETE, INCOMPLETE, STREAMING
from chatstore.strictjson import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from chatstore.arguments import NewSession, PurgeRule, UsageFilter, Window
    from chatstore.codec import Draft
    from chatstore.contract import CloseAnswers, UpdateMessage, UpdateSession
    from chatstore.paging import Keyset, SessionFilter
    from chatstore.records import SessionOrder

#: No changes of a session's own data.
NOTHING: Final[Mapping[str, Any]] = {}


def fresh(new: NewSession, now: datetime) -> ChatSession:
    """Return the data of a session that begins *now*; its revision begins at that time, so it never repeats one."""
    return ChatSession(
        session_id=new.session_id,
        tenant_id=new.owner.tenant_id,
        user_id=new.owner.user_id,
        title=new.title,
        metadata=new.metadata,
        message_count=0,
        last_position=0,
        revision=microseconds(now),
        forked_from=None,
        forked_at=None,
        created_at=now,
        updated_at=now,
        archived_at=None,
        expires_at=new.expires_at,
    )


def begun(session: ChatSession, loaded: Sequence[Row]) -> datetime:
    """Return when *session* began, if *loaded* comes next: with its first message, where that was elsewhere before.

    A fork's copies are the messages of another session.
    """
    if not loaded or session.last_position > (session.forked_at or 0):
        return session.created_at
    return min(session.created_at, loaded[0].draft.created_at)


def expired(session: ChatSession, now: datetime) -> bool:
    """Tell whether *session* looks missing since its ``expires_at``."""
    return session.expires_at is not None and session.expires_at <= now


def visible(session: ChatSession | None, scope: Scope, now: datetime) -> bool:
    """Tell whether *scope* sees this session now."""
    if session is None or (session.expires_at is not None and session.expires_at <= now):
        return False
    return scope == EVERYBODY or scope.sees(session.tenant_id, session.user_id)


def purged(session: ChatSession, scope: Scope, rule: PurgeRule, now: datetime) -> bool:
    """Tell whether *rule* deletes *session*, expired or not."""
    return (
        scope.sees(session.tenant_id, session.user_id)
        and (rule.updated_before is None or session.updated_at < rule.updated_before)
        and (not rule.archived_only or session.archived_at is not None)
        and (not rule.expired_only or expired(session, now))
    )


def changed(session: ChatSession, call: UpdateSession) -> ChatSession:
    """Return *session* after `update_session`; the very same object where nothing differs."""
    values, now = dict(call.changes), call.now
    if "archived" in values:
        archive = values.pop("archived")
        values["archived_at"] = (session.archived_at or now) if archive else None
    if call.only_unset:
        # Metadata that nobody has set is an empty object.
        values = {name: value for name, value in values.items() if getattr(session, name) in (None, {})}
    values = differing(session, values)
    if not values:
        return session
    updated_at = max(session.updated_at, now) if call.touch else session.updated_at
    return replace(session, **values, revision=session.revision + 1, updated_at=updated_at)


def differing(session: ChatSession, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of *values* that *session* has otherwise."""
    return {name: value for name, value in values.items() if not _unchanged(getattr(session, name), value)}


def _unchanged(old: object, new: object) -> bool:
    """Tell whether two values are the same; 1, 1.0 and True in metadata are not."""
    return old == new and (not isinstance(new, dict) or canonical(old) == canonical(new))


def handed_out(session: ChatSession) -> ChatSession:
    """Return *session* with metadata of its own: what the caller does to it changes nothing that is kept."""
    return replace(session, metadata=deepcopy(session.metadata))


def wanted(session: ChatSession, scope: Scope, chosen: SessionFilter, now: datetime) -> bool:
    """Tell whether a list with filter *chosen* shows *session*."""
    return (
        visible(session, scope, now)
        and Scope(chosen.tenant_id, chosen.user_id).sees(session.tenant_id, session.user_id)
        and chosen.archived in (None, session.archived_at is not None)
        and (chosen.updated_since is None or session.updated_at >= chosen.updated_since)
        and chosen.forked_from in (None, session.forked_from)
        and all(
            key in session.metadata and _equal(session.metadata[key], value) for key, value in chosen.metadata
        )
    )


def sort_sessions(
    found: Iterable[ChatSession], order: SessionOrder, start: Keyset | None, limit: int | None
) -> list[ChatSession]:
    """Return the first *limit* (None: all) of the sessions *found* that come behind *start* in *order*."""
    down = order.startswith("-")
    keyed = [(place_of(session, order), session) for session in found]
    if start is not None:
        keyed = [one for one in keyed if (one[0] < start if down else one[0] > start)]
    keyed.sort(key=lambda one: one[0], reverse=down)
    return [session for _, session in keyed[:limit]]


def _equal(left: object, right: object) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


@dataclass(slots=True)
class SessionState:
    """A session's data and its rows, oldest first.

    Appending adds to `rows` in place; every other change makes a new list. So a conversation that is kept stays as
    it was whenever a change of one that was `opened` from it is broken off, but for rows behind its ``message_count``.
    """

    session: ChatSession
    rows: list[Row] = field(default_factory=list)
    _ids: dict[str, Row] | None = None

    def opened(self) -> SessionState:
        """Return the same conversation to change, without what a broken-off append left behind the rows."""
        count = self.session.message_count
        if len(self.rows) > count:
            self._ids = None
            del self.rows[count:]
        return SessionState(self.session, self.rows, self._ids or self.ids())

    def ids(self) -> dict[str, Row]:
        """Return the rows by message id."""
        if self._ids is None:
            self._ids = {row.draft.message_id: row for row in self.rows}
        return self._ids

    # ---- reading

    def window(self, window: Window) -> Sequence[Row]:
        """Return the rows inside *window*, oldest first."""
        if window.empty:
            return []
        low = 0 if window.after is None else bisect_right(self.rows, window.after, key=_position)
        high = (
            len(self.rows) if window.before is None else bisect_left(self.rows, window.before, key=_position)
        )
        if window.last is not None:
            low = max(low, high - window.last)
        elif window.limit is not None:
            high = min(high, low + window.limit)
        return self.rows[low:high]

    def row(self, key: int | str) -> Row:
        """Return the row at a position (int) or with a message id (str). Raises `MessageNotFound`."""
        found: Row | None
        if isinstance(key, str):
            found = self.ids().get(key)
        else:
            place = bisect_left(self.rows, key, key=_position)
            found = self.rows[place] if place < len(self.rows) and self.rows[place].position == key else None
        if found is None:
            raise no_message(self.session.session_id, key)
        return found

    def expect(self, revision: int | None) -> None:
        """Raise `Conflict` unless the session is at *revision* (None: any)."""
        if revision is not None and revision != self.session.revision:
            raise stale(self.session.session_id, revision, self.session.revision)

    def known(self, drafts: Sequence[Draft]) -> dict[str, Row]:
        """Return the rows of those *drafts* whose id is stored; raise `MessageConflict` for another body."""
        ids = self._ids or self.ids()
        found = {}
        for draft in drafts:
            row = ids.get(draft.message_id)
            if row is None:
                continue
            if not same_body(draft, row.draft):
                raise another_body(self.session.session_id, draft.message_id)
            found[draft.message_id] = row
        return found

    def repeats(self, drafts: Sequence[Draft], revision: int | None) -> bool:
        """Tell whether an append of *drafts* on condition of *revision* was done before, with all that it brought."""
        moved_on = bool(drafts) and revision not in (None, self.session.revision)
        return moved_on and len(self.known(drafts)) == len(drafts)

    # ---- writing

    def append(
        self,
        drafts: Sequence[Draft],
        revision: int | None,
        now: datetime,
        *,
        after: int | None = None,
        changes: Mapping[str, Any] = NOTHING,
    ) -> Appended:
        """Store what is new of *drafts* in one piece behind the last position ever used, and *changes* with it.

        With *after*, the rows behind that position go first, unless all drafts are known.
        """
        known = self.known(drafts)
        if len(known) < len(drafts) or not drafts:
            if revision is not None:
                self.expect(revision)
            if after is not None:
                self._cut(after)
                known = self.known(drafts)
        elif self.repeats(drafts, revision):
            changes = NOTHING
        changed = differing(self.session, changes) if changes else NOTHING
        rows, position = [], self.session.last_position
        for draft in drafts:
            row = known.get(draft.message_id)
            if row is None:
                position += 1
                row = Row(position, draft)
                self._push(row)
            rows.append(row)
        if position > self.session.last_position or changed:
            self._touch(now, last_position=position, **changed)
        return Appended(self.session.revision, rows)

    def load(self, rows: Sequence[Row], now: datetime) -> int:
        """Store what is new of *rows* at their own positions; return how many."""
        known = self.known([row.draft for row in rows])
        new = [row for row in rows if row.draft.message_id not in known]
        if new and new[0].position <= self.session.last_position:
            raise out_of_order(self.session.session_id, new[0].position, self.session.last_position)
        began = begun(self.session, new)
        for row in new:
            self._push(row)
        if new:
            self._touch(now, last_position=new[-1].position, created_at=began)
        return len(new)

    def edit(self, call: UpdateMessage) -> MessageRecord:
        """Give a stored row the body that *call* brings; its position, id and time stay."""
        row = self.row(call.key)
        edited = row._replace(draft=edited_draft(call, row.draft))
        self.expect(call.expected_revision)
        if edited.draft is not row.draft:
            self._put(bisect_left(self.rows, row.position, key=_position), edited)
            self._touch(call.now)
        return record_of(self.session.session_id, edited)

    def remove(self, row: Row, now: datetime) -> None:
        """Delete *row*; its id is forgotten, its position is never used again."""
        self._put(bisect_left(self.rows, row.position, key=_position))
        self._touch(now)

    def truncate(self, after: int, now: datetime) -> bool:
        """Delete the rows behind position *after*; tell whether there were any."""
        if not self._cut(after):
            return False
        self._touch(now)
        return True

    def replace(self, drafts: Sequence[Draft], revision: int | None, now: datetime) -> Appended:
        """Store *drafts* in the place of all rows, at new positions."""
        self.expect(revision)
        self.rows, self._ids = [], None
        first = self.session.last_position + 1
        self.rows = [Row(position, draft) for position, draft in enumerate(drafts, first)]
        self._touch(now, last_position=self.session.last_position + len(drafts))
        return Appended(self.session.revision, list(self.rows))

    def fork(self, new_session_id: str, through: int | None, scope: Scope, now: datetime) -> SessionState:
        """Return a new conversation with the rows up to *through*, owned by *scope* or the source's owner."""
        last = self.session.last_position if through is None else min(through, self.session.last_position)
        rows = [copied(row) for row in self.rows[: bisect_right(self.rows, last, key=_position)]]
        session = replace(
            self.session,
            session_id=new_session_id,
            tenant_id=scope.tenant_id or self.session.tenant_id,
            user_id=scope.user_id or self.session.user_id,
            message_count=len(rows),
            last_position=last,
            revision=microseconds(now),
            forked_from=self.session.session_id,
            forked_at=last,
            created_at=now,
            updated_at=now,
            archived_at=None,
            expires_at=None,
        )
        return SessionState(session, rows)

    def _cut(self, after: int) -> bool:
        """Take away the rows behind position *after*; tell whether there were any."""
        place = bisect_right(self.rows, after, key=_position)
        if place == len(self.rows):
            return False
        self.rows, self._ids = self.rows[:place], None
        return True

    def _put(self, place: int, *rows: Row) -> None:
        """Put *rows* in the place of the one at *place*."""
        self.rows, self._ids = [*self.rows[:place], *rows, *self.rows[place + 1 :]], None

    def _push(self, row: Row) -> None:
        self.rows.append(row)
        if self._ids is not None:
            self._ids[row.draft.message_id] = row

    def _touch(self, now: datetime, **changes: Any) -> None:
        self.session = replace(
            self.session,
            **changes,
            message_count=len(self.rows),
            revision=self.session.revision + 1,
            updated_at=max(self.session.updated_at, now),
        )


def _position(row: Row) -> int:
    return row.position


#: Why an answer is incomplete that was still streaming when its session was forked: nobody writes to the copy.
FORKED = "forked"


def copied(row: Row) -> Row:
    """Return *row* as a fork has it."""
    if row.draft.state != STREAMING:
        return row
    return row._replace(draft=row.draft._replace(state=INCOMPLETE, finish_reason=FORKED))


def edited_draft(call: UpdateMessage, stored: Draft) -> Draft:
    """Return what *call* makes of *stored*, whose id and time stay; the very same object if nothing differs.

    An edit makes a whole message of an answer, whatever its state. Raises `InvalidMessage` for a draft with another
    id, `Conflict` for the writer of an answer that somebody else has ended or edited.
    """
    if isinstance(call, WriteAnswer):
        return _answered(call, stored)
    new = _in_place_of(call.session_id, stored, call.draft)
    if same_body(new, stored):
        return stored
    return new._replace(
        state=stored.state and COMPLETE,
        updated_at=call.now,
        first_token_at=stored.first_token_at,
        last_token_at=stored.last_token_at,
    )


def _answered(call: WriteAnswer, stored: Draft) -> Draft:
    abandoned = stored.state == INCOMPLETE and stored.finish_reason == ABANDONED
    streaming = stored.state == STREAMING
    if call.untouched_since is not None:
        if not streaming or (stored.updated_at or stored.created_at) > call.untouched_since:
            return stored
        return stored._replace(state=INCOMPLETE, finish_reason=ABANDONED)
    new = _in_place_of(call.session_id, stored, call.draft)
    if streaming or abandoned:  # a writer that was only slow takes its answer up again
        return new._replace(updated_at=call.now)
    if (stored.state, stored.finish_reason) == (new.state, new.finish_reason) and same_body(new, stored):
        return stored
    raise closed(call.session_id, stored.message_id)


def unattended(draft: Draft, since: datetime) -> bool:
    """Tell whether *draft* is an answer that is streaming and was not written to after *since*."""
    return draft.state == STREAMING and (draft.updated_at or draft.created_at) <= since


def closing(call: CloseAnswers, session_id: str, draft: Draft) -> WriteAnswer:
    """Return the call that closes the abandoned answer *draft*."""
    return WriteAnswer(EVERYBODY, call.now, session_id, draft.message_id, draft, None, call.untouched_since)


def _in_place_of(session_id: str, stored: Draft, new: Draft) -> Draft:
    if not new.id_generated and new.message_id != stored.message_id:
        msg = (
            f"the new message brings the id {new.message_id!r}, the stored one in session {session_id!r} has another: "
            "leave the id out, or delete the message and add the new one"
        )
        raise InvalidMessage(msg)
    return new._replace(
        message_id=stored.message_id,
        id_generated=stored.id_generated,
        created_at=stored.created_at,
    )


# ------------------------------------------------------------------------------------------------ usage


def usage(conversations: Iterable[SessionState], chosen: UsageFilter) -> list[UsageRow]:
    """Return messages and tokens summed by the keys of *chosen*, in the order of the keys; a fork's copies are none."""
    sums: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for conversation, draft in _counted(conversations, chosen):
        values = {
            "day": arguments.day_of(draft.created_at),
            "model": draft.model,
            "user_id": conversation.session.user_id,
            "tenant_id": conversation.session.tenant_id,
            "session_id": conversation.session.session_id,
        }
        total = sums[tuple(values[key] for key in chosen.by)]
        total[0] += 1
        total[1] += draft.input_tokens or 0
        total[2] += draft.output_tokens or 0
    if not chosen.by and not sums:
        return []
    return [usage_row(chosen.by, key, *sums[key]) for key in sorted(sums, key=usage_order)]


def usage_row(
    by: Sequence[str], key: Sequence[Any], messages: int, input_tokens: int, output_tokens: int
) -> UsageRow:
    """Return one row of `usage`; keys that are not in *by* are None."""
    named = dict.fromkeys(arguments.USAGE_KEYS) | dict(zip(by, key, strict=True))
    return UsageRow(**named, messages=messages, input_tokens=input_tokens, output_tokens=output_tokens)


def usage_order(key: Sequence[Any]) -> list[tuple[bool, Any]]:
    """Return what rows of `usage` are sorted by: their keys, None last."""
    return [(value is None, value if value is not None else "") for value in key]


def _counted(
    conversations: Iterable[SessionState], chosen: UsageFilter
) -> Iterator[tuple[SessionState, Draft]]:
    """Yield what was said in a session itself: no model was called for what a fork copied."""
    for conversation in conversations:
        copied = conversation.session.forked_at or 0
        for row in conversation.rows:
            if (
                row.position > copied
                and (chosen.since is None or row.draft.created_at >= chosen.since)
                and (chosen.until is None or row.draft.created_at < chosen.until)
            ):
                yield conversation, row.draft
