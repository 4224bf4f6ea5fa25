"""How a session is read from its documents, and never half of what one write stored.

This module knows generations and windows; it refuses to know what is written.

The header is read first, and only positions up to its last one count: a commit that is in progress is not seen. If
others have dropped the messages in the meantime, and may be sweeping them, all is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.arguments import Window
from chatstore.backends.common import rules
from chatstore.backends.common.documents.steps import Known, Look, Lost, Read
from chatstore.backends.common.rules import SessionState
from chatstore.failures import no_message

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from chatstore.backends.common.documents.header import Header
    from chatstore.codec import Row
    from chatstore.contract import InSession


def seen(call: InSession) -> Generator[Any, Any, Header | None]:
    """Return the header of the session of *call*, if its scope sees it."""
    header: Header | None = yield Look(call.session_id)
    return header if header is not None and rules.visible(header.session, call.scope, call.now) else None


def snapshot(call: InSession, window: Window) -> Generator[Any, Any, SessionState | None]:
    """Return the session with its rows in *window*, as of one moment; raise `Lost` if they moved meanwhile."""
    header = yield from seen(call)
    if header is None or header.session is None:
        return None
    rows = yield from rows_in(call.session_id, header, window)
    if not window.empty and not header.certain(window, rows):
        later = yield Look(call.session_id)
        if later is None or later.parts != header.parts:
            raise Lost
    return SessionState(header.session, rows)


def rows_in(session_id: str, header: Header, window: Window) -> Generator[Any, Any, list[Row]]:
    """Return the rows of *header* in *window*, oldest first."""
    if window.empty:
        return []
    newest, wanted = window.last is not None, window.limit if window.last is None else window.last
    rows: list[Row] = []
    ranges = header.ranges(window)
    for part in reversed(ranges) if newest else ranges:
        left = None if wanted is None else wanted - len(rows)
        if left == 0:
            break
        rows += yield Read(session_id, part.generation, part.after, part.last, left, newest)
    return rows[::-1] if newest else rows


def row_at(session_id: str, header: Header, key: int | str) -> Generator[Any, Any, tuple[str, Row]]:
    """Return the generation and the row of a position or id. Raises `MessageNotFound`."""
    if isinstance(key, str):
        for generation, row in (yield Known(session_id, header.generations, [key])):
            if header.holds(generation, row.position):
                return generation, row
        raise no_message(session_id, key)
    at = Window(after=key - 1, before=key + 1) if key else Window(limit=0)
    rows = yield from rows_in(session_id, header, at)
    if not rows:
        raise no_message(session_id, key)
    return header.generation_of(key), rows[0]


def known_in(session_id: str, header: Header, ids: Sequence[str]) -> Generator[Any, Any, list[Row]]:
    """Return the reachable rows with one of *ids*, oldest first."""
    found = yield Known(session_id, header.generations, ids)
    return sorted(row for generation, row in found if header.holds(generation, row.position))
