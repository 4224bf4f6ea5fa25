"""The operations on a session as a whole: create, read, update, delete, fork."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatstore.arguments import Scope, Window
from chatstore.backends.common import rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.layout import (
    FIELDS,
    format_field,
    pack_row,
    pack_session,
    parse_row,
    parse_session,
)
from chatstore.contract import InSession
from chatstore.failures import missing

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from chatstore.backends.redis.server import Server
    from chatstore.contract import CountMessages, CreateSession, DeleteSession, ForkSession, UpdateSession
    from chatstore.records import ChatSession

_LAST = 2**63 - 2


class Sessions:
    """The operations of the contract on one session as a whole."""

    def __init__(self, server: Server) -> None:
        """Read from and write to *server*."""
        self.server = server

    def create_session(self, call: CreateSession) -> Generator[Any, Any, ChatSession]:
        new = call.new
        if new.expires_at is None:
            new = new._replace(expires_at=self.server.find_expiry(call.now))
        return (yield from self._put(call, rules.fresh(new, call.now), ()))

    def get_session(self, call: InSession) -> Generator[Any, Any, ChatSession | None]:
        found = yield from self.server.read_session(call.session_id)
        return found if rules.visible(found, call.scope, call.now) else None

    def count_messages(self, call: CountMessages) -> Generator[Any, Any, int]:
        found = yield from self.get_session(call)
        return found.message_count if found else 0

    def update_session(self, call: UpdateSession) -> Generator[Any, Any, ChatSession]:
        values = dict(call.changes)
        if "archived" in values:
            values["archived_at"] = call.now if values.pop("archived") else None
        lists = self.server.lists
        if (
            lists.apart
            and ("user_id" in values or "tenant_id" in values)
            and (yield from self.get_session(call)) is not None
        ):
            yield from lists.enter(call.session_id, call.now, values.get("tenant_id"), values.get("user_id"))
        args: list[Any] = [len(FIELDS), *FIELDS, "1" if call.only_unset else "", "1" if call.touch else ""]
        for name, value in values.items():
            stored = format_field(name, value)
            args += [name, "0" if stored is None else "1", stored or ""]
        _, (found,) = yield from self.server.run(
            scripts.UPDATE,
            call,
            args,
            expected=call.expected_revision,
            expires_at=values.get("expires_at"),
        )
        changed = parse_session(call.session_id, found)
        if changed is None:
            raise missing(call.session_id)
        return changed

    def delete_session(self, call: DeleteSession) -> Generator[Any, Any, bool]:
        expected = call.expected_revision
        word, answer = yield from self.server.run(scripts.DELETE, call, expected=expected, asked=True)
        if word == "none":
            return False
        yield from self.server.lists.leave(call.session_id, answer[0])
        return True

    def fork_session(self, call: ForkSession) -> Generator[Any, Any, ChatSession]:
        """Read the source as of one moment, then write the copy: a cluster may keep them on different servers."""
        before = None if call.through is None else min(call.through, _LAST) + 1
        source, members = yield from self.server.read(call.session_id, Window(before=before))
        if source is None or not rules.visible(source, call.scope, call.now):
            raise missing(call.session_id)
        rows = [parse_row(one) for one in members]
        copy = rules.SessionState(source, rows).fork(call.new_session_id, call.through, call.scope, call.now)
        members = [
            member if copied is row else pack_row(copied)
            for member, row, copied in zip(members, rows, copy.rows, strict=True)
        ]
        return (
            yield from self._put(
                call, replace(copy.session, expires_at=self.server.find_expiry(call.now)), members
            )
        )

    def _put(
        self, call: CreateSession | ForkSession, session: ChatSession, members: Sequence[Any]
    ) -> Generator[Any, Any, ChatSession]:
        """Create *session* with *members* in one script; raise `SessionExists` if the id is taken."""
        session_id = session.session_id
        if self.server.lists.apart:
            yield from self.server.lists.enter(session_id, call.now, session.tenant_id, session.user_id)
        yield from self.server.run(
            scripts.CREATE,
            InSession(Scope(), call.now, session_id),
            [*members, *pack_session(session)],
            expires_at=session.expires_at,
            rows=len(members),
        )
        return rules.handed_out(session)
