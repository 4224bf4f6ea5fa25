"""Sessions and records, read so that a damaged record or a session that has just gone stops nothing.

This module knows how to go on; what to say about it is for the command.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from chatstore.errors import CorruptRecord, InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chatstore.messages import Message, MessageRecord
    from chatstore.repository import Repository

CHUNK: Final = 500
PAGE: Final = 1000
#: How far the clocks of those who write may be apart.
_SKEW: Final = timedelta(minutes=5)


def read_whole_records(
    repository: Repository, session_id: str, damaged: list[str], *, last: int | None = None
) -> Iterator[MessageRecord]:
    """Yield the records that can be read, oldest first; where the others are goes into *damaged*."""
    after = 0
    while True:
        chosen: dict[str, Any] = {"after": after, "limit": CHUNK} if last is None else {"last": last}
        lost: tuple[int, ...] = ()
        try:
            part: list[MessageRecord] = repository.get_records(session_id, **chosen)
        except CorruptRecord as error:
            if not error.positions:
                raise
            part, lost = error.records, error.positions
        yield from part
        damaged += [f"{session_id!r} at {position}" for position in lost]
        if last is not None or len(part) + len(lost) < CHUNK:
            return
        after = max([*lost, *(record.position for record in part)])


def keep_writable(
    records: Iterable[MessageRecord], session_id: str, say: Callable[[Message], object], damaged: list[str]
) -> Iterator[MessageRecord]:
    """Yield the *records* whose message *say* does not refuse; where the others are goes into *damaged*."""
    for record in records:
        try:
            say(record.message)
        except InvalidMessage:
            damaged.append(f"{session_id!r} at {record.position}")
        else:
            yield record


def refuse_damage(damaged: list[str]) -> None:
    """Raise `CorruptRecord` that names the *damaged* records, if there are any."""
    if damaged:
        more = f" and {len(damaged) - 10} more" if len(damaged) > 10 else ""  # noqa: PLR2004 - enough to begin with
        named = ", ".join(damaged[:10]) + more
        msg = f"damaged records are left out ({named}): mend or delete them, then repeat this"
        raise CorruptRecord(msg)


def list_all_sessions(repository: Repository, *, user_id: str | None, tenant_id: str | None) -> list[str]:
    """Return the ids of all sessions, archived ones too, the one touched longest ago first.

    A session that is touched while the list is read moves to its front, so what moved is looked for again.
    """
    began = datetime.now(UTC) - _SKEW
    found: dict[str, None] = {}
    for since in (None, began):
        page, cursor = [], None
        while True:
            listed = repository.list_sessions(
                user_id=user_id,
                tenant_id=tenant_id,
                archived=None,
                updated_since=since,
                limit=PAGE,
                cursor=cursor,
            )
            page += [session.session_id for session in listed.items]
            if (cursor := listed.next_cursor) is None:
                break
        found.update(dict.fromkeys(reversed(page)))
    return list(found)
