"""The operations on the messages of a session: the arguments of each script, and what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.backends.common import rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.layout import (
    extract_body,
    format_field,
    format_position,
    pack_draft,
    pack_row,
    parse_row,
)
from chatstore.codec import Appended, Row, messages_of, record_of, records_of, same_body
from chatstore.contract import AddMessages, BeginAnswer
from chatstore.errors import StorageUnavailable
from chatstore.failures import another_body, no_message, stale

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from chatstore.backends.redis.server import Server
    from chatstore.codec import Draft
    from chatstore.contract import (
        DeleteMessage,
        GetMessage,
        GetMessages,
        GetRecords,
        LoadRecords,
        PopMessage,
        ReplaceMessages,
        Truncate,
        UpdateMessage,
    )
    from chatstore.messages import Message
    from chatstore.records import MessageRecord, Records

#: How often an edit is tried while others edit the same message.
CONTENDED = 50


class Messages:
    """The operations of the contract on the messages of one session."""

    def __init__(self, server: Server) -> None:
        """Read from and write to *server*."""
        self.server = server

    def add_messages(self, call: AddMessages, positions: Sequence[int] = ()) -> Generator[Any, Any, Appended]:
        """Append the drafts of *call*, at *positions* if these are given."""
        rows = [pack_draft(draft) for draft in call.drafts]
        own = [(name, format_field(name, value)) for name, value in call.changes.items()]
        args, expires_at = [*rows, *map(format_position, positions)], self.server.find_expiry(call.now)
        while True:
            word, answer = yield from self.server.run(
                scripts.APPEND,
                call,
                args,
                expected=call.expected_revision,
                expires_at=expires_at,
                rows=len(rows),
                numbered=bool(positions),
                after=call.after if isinstance(call, BeginAnswer) else None,
                own=own,
            )
            if word == "done":
                break
            # The bytes differ, but the messages may be equal: JSON with its keys in another order.
            args += _accept_bodies(call.session_id, call.drafts, answer[0])
        revision, (first, *stored) = answer
        known, position = _parse_known(stored) if stored else {}, int(first or 0)
        done = []
        for place, draft in enumerate(call.drafts):
            if place in known:
                done.append(known[place])
                continue
            done.append(Row(positions[place] if positions else position, draft))
            position += 1
        return Appended(int(revision), done)

    def load_records(self, call: LoadRecords) -> Generator[Any, Any, int]:
        drafts, positions = [row.draft for row in call.rows], [row.position for row in call.rows]
        append = AddMessages(call.scope, call.now, call.session_id, drafts, None)
        done = yield from self.add_messages(append, positions)
        return sum(stored.draft is row.draft for stored, row in zip(done.rows, call.rows, strict=True))

    def replace_messages(self, call: ReplaceMessages) -> Generator[Any, Any, Appended]:
        _, (revision, first) = yield from self.server.run(
            scripts.REPLACE,
            call,
            [pack_draft(draft) for draft in call.drafts],
            expected=call.expected_revision,
            expires_at=self.server.find_expiry(call.now),
            rows=len(call.drafts),
        )
        return Appended(
            int(revision), [Row(position, draft) for position, draft in enumerate(call.drafts, int(first))]
        )

    def get_messages(self, call: GetMessages) -> Generator[Any, Any, list[Message]]:
        _, rows = yield from self._read_window(call)
        return messages_of(call.session_id, rows)

    def get_records(self, call: GetRecords) -> Generator[Any, Any, Records]:
        revision, rows = yield from self._read_window(call)
        return records_of(call.session_id, rows, revision)

    def get_message(self, call: GetMessage) -> Generator[Any, Any, MessageRecord]:
        _, found = yield from self._read_one(call)
        return record_of(call.session_id, parse_row(found))

    def update_message(self, call: UpdateMessage) -> Generator[Any, Any, MessageRecord]:
        """Replace exactly the row that was read; if somebody else changed it first, read again."""
        for _ in range(CONTENDED):
            revision, found = yield from self._read_one(call)
            row = parse_row(found)
            edited = row._replace(draft=rules.edited_draft(call, row.draft))
            if call.expected_revision is not None and call.expected_revision != revision:
                raise stale(call.session_id, call.expected_revision, revision)
            if edited.draft is row.draft:
                return record_of(call.session_id, row)
            args = [found, pack_row(edited)]
            word, _ = yield from self.server.run(
                scripts.EDIT,
                call,
                args,
                expected=call.expected_revision,
            )
            if word == "done":
                return record_of(call.session_id, edited)
        msg = f"a message of session {call.session_id!r} was edited by others at every attempt: repeat the call later"
        raise StorageUnavailable(msg)

    def delete_message(self, call: DeleteMessage) -> Generator[Any, Any, None]:
        word, _ = yield from self.server.run(scripts.REMOVE, call, _pack_key(call.key))
        if word == "none":
            raise no_message(call.session_id, call.key)

    def pop_message(self, call: PopMessage) -> Generator[Any, Any, MessageRecord | None]:
        word, answer = yield from self.server.run(scripts.POP, call)
        return record_of(call.session_id, parse_row(answer[0])) if word == "done" else None

    def truncate(self, call: Truncate) -> Generator[Any, Any, None]:
        yield from self.server.run(scripts.TRUNCATE, call, [format_position(call.after)])

    # ---- reading

    def _read_one(self, call: GetMessage | UpdateMessage) -> Generator[Any, Any, tuple[int, Any]]:
        """Return the session's revision, and the member that *key* names."""
        word, answer = yield from self.server.run(scripts.MESSAGE, call, _pack_key(call.key))
        if word == "none":
            raise no_message(call.session_id, call.key)
        return int(answer[0]), answer[1]

    def _read_window(self, call: GetMessages) -> Generator[Any, Any, tuple[int, list[Row]]]:
        """Return the session's revision, and the rows inside *window*, oldest first."""
        session, found = yield from self.server.read(call.session_id, call.window)
        if session is None or not rules.visible(session, call.scope, call.now):
            return 0, []
        rows = [parse_row(one) for one in found]
        if call.window.last is not None:
            rows.reverse()
        return session.revision, rows


def _accept_bodies(session_id: str, drafts: Sequence[Draft], answer: Sequence[Any]) -> list[Any]:
    """Return the stored bodies that equal their drafts, as `append.lua` takes them; raise if one differs."""
    pairs: list[Any] = []
    for place, stored in _parse_known(answer).items():
        if not same_body(drafts[place], stored.draft):
            raise another_body(session_id, stored.draft.message_id)
        pairs += [place + 1, extract_body(pack_draft(stored.draft))]
    return pairs


def _parse_known(answer: Sequence[Any]) -> dict[int, Row]:
    """Return the stored rows of an answer, by the index of the draft with the same id."""
    return {int(answer[i]) - 1: parse_row(answer[i + 1]) for i in range(0, len(answer), 2)}


def _pack_key(key: int | str) -> list[str]:
    return ["id", key] if isinstance(key, str) else ["position", format_position(key)]
