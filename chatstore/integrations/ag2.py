"""AG2: `ChatstoreStorage`, the history of each stream over any repository.

This module knows the framework's storage; what an event says is known in `chatstore.integrations.ag2_events`. A stream
is the session of its id as text; an event is a message, kept as it came, under the name ``ag2`` in its native form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatstore.extras import not_installed
from chatstore.integrations.awaiting import Awaiting

try:
    from ag2.annotations import Context  # noqa: TC002 - the framework reads the annotations of what it calls
    from ag2.events import BaseEvent  # noqa: TC002
    from ag2.history import Storage
except ImportError as error:
    raise not_installed("AG2", "ag2") from error

from chatstore.integrations.ag2_events import events_of, said, said_together

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ChatstoreStorage"]


class ChatstoreStorage(Awaiting, Storage):
    """The sessions of a repository as a ``Storage`` of AG2: ``MemoryStream(ChatstoreStorage(repository), id=…)``.

    What another framework stored in a session is read as the events that say the same.
    """

    async def save_event(self, event: BaseEvent, context: Context) -> None:
        """Append *event* to the history of its stream, which is created if it is missing.

        Raises `InvalidMessage` for an event that is not JSON in the framework's own form, with the path to what is not.
        """
        await self._store.add_messages(str(context.stream.id), [said(event)])

    async def get_history(self, stream_id: Any) -> list[BaseEvent]:
        """Return all events of a stream, oldest first; an event whose class is gone is an ``UnknownEvent``."""
        return events_of(await self._store.get_records(str(stream_id)))

    async def set_history(self, stream_id: Any, events: Iterable[BaseEvent]) -> None:
        """Put *events* in the place of all that are stored, in one transaction."""
        await self._store.replace_messages(str(stream_id), said_together(events))

    async def drop_history(self, stream_id: Any) -> None:
        """Delete a stream's session; nothing happens where there is none."""
        await self._store.delete_session(str(stream_id))
