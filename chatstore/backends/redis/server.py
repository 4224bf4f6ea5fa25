"""How the operations reach Redis: running a script on a session, and reading a session.

This module packs what `lua/head.lua` unpacks, and raises the errors that a script's refusals mean. On a cluster, where
scripts cannot reach the lists of sessions, it updates the lists after each change.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chatstore.backends.redis import scripts
from chatstore.backends.redis.durability import judge_durability
from chatstore.backends.redis.layout import (
    FIELDS,
    format_position,
    format_score,
    format_time,
    parse_session,
    to_text,
)
from chatstore.backends.redis.steps import Many, Run, Settings
from chatstore.driving import attempts, outcome_unknown
from chatstore.failures import missing, out_of_order, stale, taken
from chatstore.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from chatstore.arguments import Window
    from chatstore.backends.redis.layout import Keys
    from chatstore.backends.redis.scripts import Script
    from chatstore.backends.redis.session_lists import SessionLists
    from chatstore.contract import AskDurability, InSession
    from chatstore.errors import ChatstoreError
    from chatstore.records import ChatSession, Durability

#: How long after a session expired the server itself deletes its keys.
SWEPT_AFTER = timedelta(hours=1)
#: How often plain commands try to read a session that keeps changing, before a script reads it.
TRIES = 3
_MILLISECOND = timedelta(milliseconds=1)
_MOST = 2**62
_REFUSALS = frozenset({"missing", "taken", "stale", "order", "repeated"})


class Server:
    """Runs scripts and reads sessions under one key prefix.

    *ttl* is the number of seconds after which a session expires if nothing is added to it. *guarded* means that the
    client may repeat commands by itself; then a change that must not run twice leaves a mark in Redis.
    """

    def __init__(self, keys: Keys, lists: SessionLists, *, ttl: int | None, guarded: bool) -> None:
        """Use the sessions named by *keys*, which are listed in *lists*."""
        self.keys = keys
        self.lists = lists
        self.ttl = ttl
        self.guarded = guarded

    def find_expiry(self, now: datetime) -> datetime | None:
        """Return when a session expires if something is added to it now; None for never."""
        return None if self.ttl is None else now + timedelta(seconds=self.ttl)

    # ---- changes

    def run(
        self,
        script: Script,
        call: InSession,
        args: Sequence[Any] = (),
        *,
        expected: int | None = None,
        expires_at: datetime | None = None,
        rows: int = 0,
        numbered: bool = False,
        after: int | None = None,
        own: Sequence[tuple[str, str | None]] = (),
        asked: bool = False,
        repeatable: bool | None = None,
    ) -> Generator[Any, Any, tuple[str, list[Any]]]:
        """Run *script* on the session of *call*; return the first word of its answer and what the script says after it.

        *expected* is the revision that the session must have. *rows* is the number of messages in *args*; with
        *numbered* their positions follow there. An append deletes what is behind position *after* first, and puts
        *own*, fields of the session, in place. *asked*: a deletion is of a session that is seen. *repeatable* None: as
        *call* is. A script that refuses raises `SessionNotFound`, `SessionExists`, `Conflict` or
        `OutcomeUnknown`.
        """
        scope, now, session_id = call.scope, call.now, call.session_id
        repeatable = call.repeatable if repeatable is None else repeatable
        keys: tuple[str, ...] = self.keys.of(session_id)
        if self.guarded and not repeatable:
            keys = (*keys, f"{keys[0]}:once:{new_id()}")
        sweep: Any = ""
        if expires_at is not None:
            sweep = (max(expires_at - now, timedelta()) + SWEPT_AFTER) // _MILLISECOND
        words = (
            f"{format_time(now)}\n{format_score(now)}\n{scope.tenant_id or ''}\n{scope.user_id or ''}\n"
            f"{'' if self.lists.apart else self.keys.index}\n{session_id}\n{'' if expected is None else expected}\n"
            f"{'' if expires_at is None else format_time(expires_at)}\n{sweep}\n{rows}\n{'1' if numbered else ''}\n"
            f"{'' if after is None else format_position(after)}\n{2 * len(own)}\n{'1' if asked else ''}\n"
        )
        args = [
            *args,
            *(part for name, value in own for part in (name, "=" + value if value is not None else "")),
        ]
        word, *answer = yield from attempts(
            Run(script, keys, (words, *args), not repeatable), repeatable=repeatable, writes=True
        )
        word = to_text(word)
        if word == "enter":  # a session that is in no list would be lost there if this process died now
            yield from self.lists.enter(session_id, now, *scope)
            word, *answer = yield from attempts(
                Run(script, keys, (f"{words}1", *args), not repeatable), repeatable=repeatable, writes=True
            )
            word = to_text(word)
        if word in _REFUSALS:
            raise _make_error(word, answer, session_id, expected)
        if word == "done":
            owner = answer.pop(0)
            if owner:  # the script could not reach the lists
                yield from self.lists.move(session_id, owner)
        return word, answer

    # ---- reads

    def read_session(self, session_id: str) -> Generator[Any, Any, ChatSession | None]:
        """Return the session, expired or not."""
        command = ("HMGET", self.keys.of(session_id)[0], *FIELDS)
        (values,) = yield from attempts(Many([command]), repeatable=True)
        return parse_session(session_id, values)

    def read(
        self, session_id: str, window: Window
    ) -> Generator[Any, Any, tuple[ChatSession | None, list[Any]]]:
        """Return the session, expired or not, and the members inside *window*, all as of one moment.

        This uses plain commands, because Lua takes several times as long for many messages and blocks the server
        meanwhile. The answers belong together if the revision is the same before and after; if it keeps changing, a
        script reads both at once. With ``last``, the newest members come first.
        """
        session_key, messages, _ = self.keys.of(session_id)
        low = "-" if window.after is None else f"[{format_position(window.after)}\v"
        high = "+" if window.before is None else f"({format_position(window.before)}"
        count = window.limit if window.last is None else window.last
        size = 0 if window.empty else -1 if count is None else min(count, _MOST)
        ranged = ("ZRANGEBYLEX", low, high) if window.last is None else ("ZREVRANGEBYLEX", high, low)
        about = ("HMGET", session_key, *FIELDS)
        command = (ranged[0], messages, *ranged[1:], "LIMIT", 0, size)
        step = Many([about, command, ("HGET", session_key, "revision")])
        for _ in range(TRIES):
            values, members, after = yield from attempts(step, repeatable=True)
            if values[FIELDS.index("revision")] == after:
                return parse_session(session_id, values), members
        args = (*ranged, size, *FIELDS)
        values, members = yield from attempts(
            Run(scripts.SNAPSHOT, (session_key, messages), args), repeatable=True
        )
        return parse_session(session_id, values), members

    def durability(self, _call: AskDurability) -> Generator[Any, Any, Durability]:
        """Return what the server keeps when it stops; of several, the least."""
        servers = yield from attempts(Settings(), repeatable=True)
        return judge_durability(servers)


def _make_error(word: str, rest: Sequence[Any], session_id: str, expected: int | None) -> ChatstoreError:
    """Make the error for a script that refused with *word*."""
    if word == "stale":
        return stale(session_id, expected or 0, int(rest[0]))
    if word == "order":
        return out_of_order(session_id, int(rest[0]), int(rest[1]))
    if word == "repeated":
        return outcome_unknown()
    return taken(session_id) if word == "taken" else missing(session_id)
