"""A session's own data: made, read, changed, deleted, copied.

This module knows the scripts on a session as a whole; it refuses to know what is done to its messages.
"""

from __future__ import annotations

from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any, NoReturn

from chatstore.arguments import Scope, Window
from chatstore.backends import conversation as rules
from chatstore.backends.redis import scripts
from chatstore.backends.redis.across import Across
from chatstore.backends.redis.attempts import attempts
from chatstore.backends.redis.layout import FIELDS, hash_of, row_of, session_of, stored_field, text
from chatstore.core import missing, stale, taken

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime

    from chatstore.arguments import NewSession
    from chatstore.messages import ChatSession

_LAST = 2**63 - 2


class Sessions(Across):
    """The operations of the contract on one session as a whole."""

    def create(self, scope: Scope, new: NewSession, now: datetime) -> Generator[Any, Any, ChatSession]:
        del scope  # the new session's owner is inside it already
        if new.expires_at is None:
            new = new._replace(expires_at=self._expiry(now))
        return (yield from self._put(rules.fresh(new, now), (), now))

    def get(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, ChatSession | None]:
        found = yield from self._session(session_id)
        return found if rules.visible(found, scope, now) else None

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
        if self.index.apart and ("user_id" in values or "tenant_id" in values):
            entry = self.index.entered(session_id, now, values.get("tenant_id"), values.get("user_id"))
            if (yield from self.get(scope, session_id, now)) is not None:
                yield from attempts(entry)
        sweep = self._sweep(values.get("expires_at"), now)
        args: list[Any] = [number(expected_revision), sweep, len(FIELDS), *FIELDS]
        for name, value in values.items():
            stored = stored_field(name, value)
            args += [name, "0" if stored is None else "1", stored or ""]
        word, *rest = yield from self._change(scripts.UPDATE, scope, session_id, now, args, once=True)
        if word != "done":
            refuse(word, rest, session_id, expected_revision)
        changed = _session_of(session_id, rest[1])
        if text(rest[0]):
            yield from self._moved(session_id, changed.updated_at, changed.tenant_id, changed.user_id)
        return changed

    def delete(self, scope: Scope, session_id: str, now: datetime) -> Generator[Any, Any, bool]:
        word, *rest = yield from self._change(scripts.DELETE, scope, session_id, now, [""], once=True)
        if word == "done":
            yield from self._gone(session_id, rest[1])
        return bool(word == "done")

    def fork(
        self, scope: Scope, session_id: str, new_session_id: str, through: int | None, now: datetime
    ) -> Generator[Any, Any, ChatSession]:
        """Read the source as it is at one moment, then write the copy: they may live on different servers."""
        before = None if through is None else min(through, _LAST) + 1
        source, members = yield from self._snapshot(session_id, Window(before=before))
        if source is None or not rules.visible(source, scope, now):
            raise missing(session_id)
        rows = [row_of(one) for one in members]
        copy = rules.Conversation(source, rows).fork(new_session_id, through, scope, now).session
        copy = replaced(copy, expires_at=self._expiry(now))
        return (yield from self._put(copy, members, now))

    def _put(
        self, session: ChatSession, members: Sequence[Any], now: datetime
    ) -> Generator[Any, Any, ChatSession]:
        """Make *session* with these messages in one piece; raise `SessionExists` if the id is taken."""
        owner = (session.tenant_id, session.user_id)
        if self.index.apart:
            yield from attempts(self.index.entered(session.session_id, now, *owner))
        fields = hash_of(session)
        args = [self._sweep(session.expires_at, now), len(fields), *fields, *members]
        word, *_ = yield from self._change(scripts.CREATE, Scope(), session.session_id, now, args, once=True)
        if word != "done":
            raise taken(session.session_id)
        yield from self._moved(session.session_id, session.updated_at, *owner)
        return rules.handed_out(session)


def refuse(word: str, rest: Sequence[Any], session_id: str, expected_revision: int | None) -> NoReturn:
    """Raise what a script means by refusing."""
    if word == "stale":
        raise stale(session_id, expected_revision or 0, int(rest[0]))
    raise taken(session_id) if word == "taken" else missing(session_id)


def number(revision: int | None) -> str:
    """Return an expected revision as a script takes it."""
    return "" if revision is None else str(revision)


def _session_of(session_id: str, values: Sequence[Any]) -> ChatSession:
    found = session_of(session_id, values)
    if found is None:
        raise missing(session_id)
    return found
