"""The operations on a session as a whole: create, read, update, delete, fork."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatstore.arguments import Scope, Window
from chatstore.backends import conversation as rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.layout import FIELDS, format_field, pack_session, parse_row, parse_session
from chatstore.failures import missing

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime

    from chatstore.arguments import NewSession
    from chatstore.backends.redis.server import Server
    from chatstore.records import ChatSession

_LAST = 2**63 - 2


class Sessions:
    """The operations of the contract on one session as a whole."""

    def __init__(self, server: Server) -> None:
        """Read from and write to *server*."""
        self.server = server

    def create(self, new: NewSession, now: datetime) -> Generator[Any, Any, ChatSession]:
        if new.expires_at is None:
            new = new._replace(expires_at=self.server.find_expiry(now))
        return (yield from self._put(rules.fresh(new, now), (), now))

    def get(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, ChatSession | None]:
        found = yield from self.server.read_session(session_id)
        return found if rules.visible(found, scope, now) else None

    def count(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, int]:
        found = yield from self.get(scope, session_id, now)
        return found.message_count if found else 0

    def update(
        self,
        scope: Scope,
        session_id: str,
        changes: Mapping[str, Any],
        expected_revision: int | None,
        now: datetime,
    ) -> Generator[Any, Any, ChatSession]:
        values = dict(changes)
        if "archived" in values:
            values["archived_at"] = now if values.pop("archived") else None
        lists = self.server.lists
        if (
            lists.apart
            and ("user_id" in values or "tenant_id" in values)
            and (yield from self.get(scope, session_id, now)) is not None
        ):
            yield from lists.enter(session_id, now, values.get("tenant_id"), values.get("user_id"))
        args: list[Any] = [len(FIELDS), *FIELDS]
        for name, value in values.items():
            stored = format_field(name, value)
            args += [name, "0" if stored is None else "1", stored or ""]
        _, (found,) = yield from self.server.run(
            scripts.UPDATE,
            scope,
            session_id,
            now,
            args,
            expected=expected_revision,
            expires_at=values.get("expires_at"),
            once=True,
        )
        changed = parse_session(session_id, found)
        if changed is None:
            raise missing(session_id)
        return changed

    def delete(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, bool]:
        word, answer = yield from self.server.run(scripts.DELETE, scope, session_id, now, once=True)
        if word == "none":
            return False
        yield from self.server.lists.leave(session_id, answer[0])
        return True

    def fork(
        self, scope: Scope, session_id: str, new_session_id: str, through: int | None, now: datetime
    ) -> Generator[Any, Any, ChatSession]:
        """Read the source as of one moment, then write the copy: a cluster may keep them on different servers."""
        before = None if through is None else min(through, _LAST) + 1
        source, members = yield from self.server.read(session_id, Window(before=before))
        if source is None or not rules.visible(source, scope, now):
            raise missing(session_id)
        rows = [parse_row(one) for one in members]
        copy = rules.Conversation(source, rows).fork(new_session_id, through, scope, now).session
        return (yield from self._put(replace(copy, expires_at=self.server.find_expiry(now)), members, now))

    def _put(
        self, session: ChatSession, members: Sequence[Any], now: datetime
    ) -> Generator[Any, Any, ChatSession]:
        """Create *session* with *members* in one script; raise `SessionExists` if the id is taken."""
        session_id = session.session_id
        if self.server.lists.apart:
            yield from self.server.lists.enter(session_id, now, session.tenant_id, session.user_id)
        yield from self.server.run(
            scripts.CREATE,
            Scope(),
            session_id,
            now,
            [*members, *pack_session(session)],
            expires_at=session.expires_at,
            rows=len(members),
            once=True,
        )
        return rules.handed_out(session)
