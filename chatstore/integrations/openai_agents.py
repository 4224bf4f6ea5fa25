"""The OpenAI Agents SDK: `ChatstoreSession`, a conversation of any repository as the SDK's session.

This module knows the SDK's protocol for sessions, its count of tokens, and what its compaction asks of a store; what an
item says is known in `chatstore.integrations.responses`. Every item is kept as it came, under the name
``openai-agents`` in its message's native form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from chatstore.errors import Conflict
from chatstore.extras import not_installed
from chatstore.integrations.awaiting import Awaiting
from chatstore.integrations.responses import items_of, load, says
from chatstore.messages import AIMessage

try:
    from agents.memory.session_settings import SessionSettings, resolve_session_limit
except ImportError as error:
    raise not_installed("the OpenAI Agents SDK", "openai-agents") from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents import RunContextWrapper
    from agents.items import TResponseInputItem

    from chatstore.aio import AsyncRepository
    from chatstore.messages import Message
    from chatstore.records import Records
    from chatstore.repository import Repository

__all__ = ["ChatstoreSession"]

#: Under which name a message keeps the item that it was made of, and what its column `source` says.
SOURCE: Final = "openai-agents"
_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")
#: What each run had used when it stored items last: the SDK counts from the beginning of a run.
_counted: WeakKeyDictionary[Any, tuple[int, ...]] = WeakKeyDictionary()


class ChatstoreSession(Awaiting):
    """A session of a repository as one of the OpenAI Agents SDK: pass it to ``Runner.run(…, session=…)``.

    Any item comes back as it was stored, also around other sessions (`EncryptedSession`,
    `OpenAIResponsesCompactionSession`). What other frameworks stored in the session is read as the items that say the
    same. The tokens that a run used are stored with its answers.
    """

    def __init__(
        self,
        session_id: str,
        repository: Repository | AsyncRepository,
        *,
        session_settings: SessionSettings | None = None,
    ) -> None:
        """Work on session *session_id* of *repository*, which may be a scope; nothing is read or written yet.

        ``session_settings.limit`` is how many of the newest items a run gets, where it asks for no other number.
        """
        super().__init__(repository)
        self.session_id = session_id
        self.session_settings = session_settings or SessionSettings()

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> list[TResponseInputItem]:
        """Return the items, oldest first: the newest *limit* of them, or as the settings say; None is all.

        Raises `Invalid` for a negative limit, `CorruptRecord` for damaged records.
        """
        if wrapper is not None:
            _counted.setdefault(wrapper, _total(wrapper))
        window = wanted = resolve_session_limit(limit, self.session_settings)
        while True:
            read, items = await self._store._messages_as(_items, _item, self.session_id, last=window)
            if not wanted or window is None:
                return items
            # A message of another framework may be no item here, or several.
            if len(items) >= wanted or read < window:
                return items[-wanted:]
            window *= 2

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Append *items*, all or none and next to each other; the session is created if it is missing.

        What the run of *wrapper* used since it last stored items is counted to the last answer among them. Raises
        `InvalidMessage` for an item that is not JSON, with the path to what is not; then nothing is written.
        """
        messages = _loaded(items)
        answer = next((one for one in reversed(messages) if isinstance(one, AIMessage)), None)
        if wrapper is not None and answer is not None:
            total = _total(wrapper)
            used = [now - then for now, then in zip(total, _before(wrapper), strict=True)]
            answer.usage_metadata = dict(zip(_COUNTS, used, strict=True)) if any(used) else None
        await self._store.add_messages(self.session_id, messages)
        if wrapper is not None and answer is not None:
            _counted[wrapper] = total

    async def pop_item(
        self,
        *,
        wrapper: RunContextWrapper[Any] | None = None,  # noqa: ARG002 - the SDK's
    ) -> TResponseInputItem | None:
        """Delete the newest item and return it; None without items. No two callers get the same one."""
        while record := await self._store.pop_message(self.session_id):
            items: list[Any] = items_of(record.message, SOURCE)
            if len(items) > 1:  # an answer with calls, of another framework
                await self._store.add_messages(self.session_id, _loaded(items[:-1]))
            if items:
                return items[-1]
        return None

    async def clear_session(
        self,
        *,
        wrapper: RunContextWrapper[Any] | None = None,  # noqa: ARG002
    ) -> None:
        """Delete all items and keep the session."""
        await self._store.clear(self.session_id)

    # ---- what `OpenAIResponsesCompactionSession` looks for: names that are the SDK's own, not public

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Put *items* in the place of all others, in one transaction."""
        await self._store.replace_messages(self.session_id, _loaded(items))
        return True

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[TResponseInputItem], bool] | None = None
    ) -> Any:
        """Return the items with what puts others in the place of the last of them, if nobody wrote meanwhile.

        None for more than *limit* messages: then the SDK compacts nothing, and says so in its log.
        """
        from agents.memory import session as theirs

        snapshot = getattr(theirs, "_CompactionSnapshot", None)
        records: Records = await self._store.get_records(self.session_id, last=limit + 1)
        if snapshot is None or len(records) > limit:
            return None
        items: list[Any] = [item for record in records for item in items_of(record.message, SOURCE)]

        async def replace_suffix(start: int, output: list[TResponseInputItem]) -> bool:
            kept = _kept(records, start, prune_prefix)
            if kept is None:
                return False
            try:
                await self._store.replace_messages(
                    self.session_id, [*kept, *_loaded(output)], expected_revision=records.revision
                )
            except Conflict:
                return False
            return True

        return snapshot(items, complete=True, replace_suffix=replace_suffix)


def _kept(
    records: Records, start: int, prunes: Callable[[TResponseInputItem], bool] | None
) -> list[Message] | None:
    """Return the messages whose items stand before *start*, those at the head that *prunes* names left out.

    None where a message has items on both sides: it cannot be cut.
    """
    kept: list[Message] = []
    before = 0
    for record in records:
        if before >= start:
            break
        items: list[Any] = items_of(record.message, SOURCE)
        before += len(items)
        if kept or prunes is None or not all(map(prunes, items)):
            kept.append(record.message)
    return kept if before == start else None


def _items(messages: list[Any]) -> tuple[int, list[Any]]:
    """Return how many *messages* there are, and their items; some are items already."""
    items: list[Any] = []
    for message in messages:
        items += [message] if isinstance(message, dict) else items_of(message, SOURCE)
    return len(messages), items


def _item(type_: str, content: str, data: dict[str, Any]) -> Any:
    """Return the item that a stored message was made of, as `items_of` does; None where there is more to be seen."""
    item = data["native"].get(SOURCE) if "native" in data else None
    unedited = isinstance(item, dict) and says(item, type_) == data.get("content", content)
    return item if unedited else None


def _loaded(items: list[Any]) -> list[Message]:
    return [load(item, native={SOURCE: item}) for item in items]


def _total(wrapper: RunContextWrapper[Any]) -> tuple[int, ...]:
    return tuple(getattr(wrapper.usage, name) for name in _COUNTS)


def _before(wrapper: RunContextWrapper[Any]) -> tuple[int, ...]:
    """Return what a run had used when it stored items last; one that was resumed elsewhere, before its last request."""
    if wrapper not in _counted:
        newest = wrapper.usage.request_usage_entries[-1:]
        spent = [sum(getattr(request, name) for request in newest) for name in _COUNTS]
        return tuple(now - last for now, last in zip(_total(wrapper), spent, strict=True))
    return _counted[wrapper]
