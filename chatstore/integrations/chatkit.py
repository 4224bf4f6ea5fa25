"""ChatKit: `ChatstoreStore`, threads, items and attachments of a ChatKit server, in a repository with named states.

This module knows ChatKit's store; what an item says is known in `chatstore.integrations.chatkit_items`. A thread is a
session, whose metadata keeps what the thread is beside; an item is kept as it came, under the name ``chatkit`` in its
message's native form. An attachment's description is a named state; its bytes are not kept here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from chatstore.errors import Conflict, MessageNotFound, NotFound, SessionExists
from chatstore.extras import not_installed
from chatstore.integrations.awaiting import Awaiting

try:
    from chatkit.store import NotFoundError, Store
    from chatkit.types import Attachment, Page, ThreadItem, ThreadMetadata
except ImportError as error:
    raise not_installed("ChatKit", "chatkit") from error

from pydantic import TypeAdapter

from chatstore.integrations.chatkit_items import SOURCE, item_of, said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chatstore.aio import AsyncRepository
    from chatstore.messages import ChatSession
    from chatstore.records import MessageRecord
    from chatstore.repository import Repository

__all__ = ["ChatstoreStore"]

_ATTACHMENTS: Final = "chatkit:attachments"
_ATTACHMENT: Final[TypeAdapter[Attachment]] = TypeAdapter(Attachment)
_FIELDS: Final = frozenset(ThreadMetadata.model_fields)
#: How far before a tool's answer its call is looked for.
_NEAR: Final = 20


class ChatstoreStore(Awaiting, Store[Any]):
    """A repository as the store of a ``ChatKitServer``: ``MyServer(ChatstoreStore(repository, owner=…))``.

    What is missing, or another owner's, raises ``NotFoundError`` of ChatKit. What other frameworks stored is read as
    items that say the same.
    """

    def __init__(
        self,
        repository: Repository | AsyncRepository,
        *,
        owner: Callable[[Any], str | Mapping[str, str]] | None = None,
    ) -> None:
        """Work on *repository*; *owner* says whose a request's context is: a user's id, or what `scope` takes.

        Without *owner* all requests see all that the repository sees.
        """
        super().__init__(repository)
        self._owner = owner

    def _in(self, context: Any) -> AsyncRepository:
        if self._owner is None:
            return self._store
        found = self._owner(context)
        return self._store.scope(**({"user_id": found} if isinstance(found, str) else found))

    # ---- threads

    async def load_thread(self, thread_id: str, context: Any) -> ThreadMetadata:
        """Return a thread without its items."""
        try:
            return _thread(await self._in(context).get_session(thread_id))
        except NotFound as error:
            raise NotFoundError(f"there is no thread {thread_id!r}") from error

    async def save_thread(self, thread: ThreadMetadata, context: Any) -> None:
        """Store what a thread is beside its items; it is created if it is missing."""
        store = self._in(context)
        kept = thread.model_dump(mode="json", include=set(_FIELDS - {"title"}))
        while True:
            try:
                session = await store.get_session(thread.id)
            except NotFound:
                revision, others = 0, {}
            else:
                revision, others = session.revision, session.metadata
            try:
                await store.add_messages(
                    thread.id,
                    [],
                    title=thread.title,
                    metadata={**others, SOURCE: kept},
                    expected_revision=revision,
                )
            except SessionExists as error:
                raise NotFoundError(f"there is no thread {thread.id!r}") from error
            except Conflict:  # somebody wrote in between
                continue
            return

    async def load_threads(
        self, limit: int, after: str | None, order: str, context: Any
    ) -> Page[ThreadMetadata]:
        """Return a page of threads by creation, *order* ``asc`` or ``desc``; *after* is that of the page before."""
        way: Any = "created_at" if order == "asc" else "-created_at"
        page = await self._in(context).list_sessions(order=way, limit=limit, cursor=after)
        threads = [_thread(session) for session in page.items]
        return Page(data=threads, has_more=page.next_cursor is not None, after=page.next_cursor)

    async def delete_thread(self, thread_id: str, context: Any) -> None:
        """Delete a thread with its items; nothing happens where there is none."""
        await self._in(context).delete_session(thread_id)

    # ---- items

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: Any
    ) -> Page[ThreadItem]:
        """Return a page of items in the order in which they were stored, *after* the item of this id."""
        store, down = self._in(context), order != "asc"
        try:
            place = None if after is None else (await store.get_message(thread_id, after)).position
        except NotFound as error:
            raise NotFoundError(f"there is no item {after!r} in {thread_id!r}") from error
        found: list[ThreadItem] = []
        while len(found) <= limit:
            if down:
                records = await store.get_records(thread_id, last=limit + 1, before=place)
            else:
                records = await store.get_records(thread_id, limit=limit + 1, after=place)
            items = [item for record in records if (item := await self._item(store, record)) is not None]
            found += reversed(items) if down else items
            if len(records) <= limit:
                break
            place = records[0 if down else -1].position
        shown = found[:limit]
        return Page(data=shown, has_more=len(found) > limit, after=shown[-1].id if shown else None)

    async def load_item(self, thread_id: str, item_id: str, context: Any) -> ThreadItem:
        """Return an item by its id."""
        store = self._in(context)
        with suppress(NotFound):
            item = await self._item(store, await store.get_message(thread_id, item_id))
            if item is not None:
                return item
        raise NotFoundError(f"there is no item {item_id!r} in {thread_id!r}")

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: Any) -> None:
        """Append *item*; one that is stored already is not stored again."""
        await self._in(context).add_messages(thread_id, said(item))

    async def save_item(self, thread_id: str, item: ThreadItem, context: Any) -> None:
        """Put *item* in the place of the one with its id, or append it."""
        store = self._in(context)
        first, *rest = said(item)
        try:
            await store.get_message(thread_id, item.id)
        except NotFound:
            await store.add_messages(thread_id, [first, *rest])
            return
        for message in (*rest, first):  # the item itself last: until then it is as it was
            try:
                await store.update_message(thread_id, cast("str", message.id), message)
            except MessageNotFound:
                await store.add_messages(thread_id, [message])

    async def delete_thread_item(self, thread_id: str, item_id: str, context: Any) -> None:
        """Delete an item, with what its tool answered; nothing happens where there is none."""
        store = self._in(context)
        for id_ in (f"{item_id}#output", item_id):
            with suppress(NotFound):
                await store.delete_message(thread_id, id_)

    async def _item(self, store: AsyncRepository, record: MessageRecord) -> ThreadItem | None:
        """Return the item that *record* holds, or one that says the same; None for a part of one, and for no item."""
        before: Sequence[MessageRecord] = ()
        if record.message.type == "tool" and SOURCE not in record.message.native:
            before = await store.get_records(record.session_id, before=record.position, last=_NEAR)
        return item_of(record, [one.message for one in before])

    # ---- attachments

    async def save_attachment(self, attachment: Attachment, context: Any) -> None:
        """Store what an attachment is, in the place of what was known of it."""
        await self._in(context).set_states(
            _ATTACHMENTS, {attachment.id: _ATTACHMENT.dump_python(attachment, mode="json")}
        )

    async def load_attachment(self, attachment_id: str, context: Any) -> Attachment:
        """Return what an attachment is."""
        found = await self._in(context).get_states(_ATTACHMENTS, attachment_id)
        if attachment_id not in found:
            raise NotFoundError(f"there is no attachment {attachment_id!r}")
        return _ATTACHMENT.validate_python(found[attachment_id].value)

    async def delete_attachment(self, attachment_id: str, context: Any) -> None:
        """Forget an attachment; nothing happens where there is none."""
        await self._in(context).delete_states(_ATTACHMENTS, attachment_id)


def _thread(session: ChatSession) -> ThreadMetadata:
    """Return the thread that *session* is, with its title as it is now."""
    kept = session.metadata.get(SOURCE)
    about = kept if isinstance(kept, dict) else {"id": session.session_id, "created_at": session.created_at}
    return ThreadMetadata.model_validate({**about, "title": session.title})
