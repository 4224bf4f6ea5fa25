"""Reading a session to its end, page by page, and what is left out on the way.

Both repositories read so; this module refuses to know how a page is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.arguments import check_natural
from chatstore.codec import CHUNK
from chatstore.failures import corrupt
from chatstore.records import COMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatstore.errors import CorruptRecord
    from chatstore.messages import Message, MessageRecord


class Walk:
    """Where `iter_records` stands in a session, and what it could not read on its way."""

    def __init__(self, session_id: str, after: int | None) -> None:
        """Begin after position *after*."""
        self.session_id = session_id
        self.position = 0 if after is None else check_natural(after, "after")
        self.more = True
        self._damaged: list[int] = []

    def step(self, part: Sequence[MessageRecord], lost: Sequence[int] = ()) -> Sequence[MessageRecord]:
        """Move past *part* and the damaged positions *lost* in it; return *part*."""
        self._damaged += lost
        self.more = len(part) + len(lost) >= CHUNK
        self.position = max([self.position, *lost[-1:], *(record.position for record in part[-1:])])
        return part

    def passed(self, error: CorruptRecord) -> Sequence[MessageRecord]:
        """Move past the positions that *error* names, and return its records; raise an error about anything else."""
        if not error.positions:
            raise error
        return self.step(error.records, error.positions)

    def end(self) -> None:
        """Raise `CorruptRecord` if any record was damaged."""
        if self._damaged:
            raise corrupt(self.session_id, self._damaged, others="were yielded")


def whole(records: Iterable[MessageRecord]) -> list[Message]:
    """Return the messages of *records* without the answers that are streaming or incomplete."""
    return [record.message for record in records if record.state in (None, COMPLETE)]
