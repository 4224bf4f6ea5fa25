"""Storage of Strands Agents: `ChatstoreStorage`, bytes by their keys, as its snapshots are.

This module knows the framework's storage, and nothing of what is in it: neither other frameworks nor searches read it.
"""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from strands.storage import Storage
from strands.types.exceptions import StorageError

from chatstore.errors import ChatstoreError, Invalid
from chatstore.repository import Repository

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

_BLOBS: Final = "strands:storage"
#: The same keys without what they hold, for lists: a key is here before its bytes are there, and longer.
_KEYS: Final = "strands:storage:keys"


class ChatstoreStorage(Storage):
    """Named states as a ``Storage``, the bytes of each key in one of its own: pass it to ``SnapshotSessionManager``.

    What fails raises the framework's ``StorageError``.
    """

    def __init__(self, repository: Repository) -> None:
        """Work on *repository*, which may be a scope; nothing is read or written yet."""
        self.repository = blocking(repository)

    async def write(self, key: str, data: bytes) -> None:
        """Store *data* under *key*, in the place of what was there."""
        value: Any = {"base64": base64.b64encode(data).decode()}
        if b"\0" not in data:
            with suppress(UnicodeDecodeError):
                value = data.decode()
        await _threaded(self.repository.set_states, _KEYS, {key: None})
        await _threaded(self.repository.set_states, _BLOBS, {key: value})

    async def read(self, key: str) -> bytes | None:
        """Return the bytes under *key*; None without."""
        for state in (await _threaded(self.repository.get_states, _BLOBS, key)).values():
            text = isinstance(state.value, str)
            return state.value.encode() if text else base64.b64decode(state.value["base64"])
        return None

    async def delete(self, key: str) -> None:
        """Delete what is under *key*; nothing happens where there is nothing."""
        await _threaded(self.repository.delete_states, _BLOBS, key)
        await _threaded(self.repository.delete_states, _KEYS, key)

    async def list(self, query: str = "") -> builtins.list[str]:
        """Return the keys that begin with *query*, sorted."""
        found = await _threaded(self.repository.get_states, _KEYS)
        return sorted(key for key in found if key.startswith(query))


async def _threaded(call: Callable[..., Any], *args: Any) -> Any:
    """Do *call* in a thread: the framework saves by loops that end at once, and would leave connections in them."""
    try:
        return await asyncio.to_thread(call, *args)
    except ChatstoreError as error:
        raise StorageError(str(error)) from error


def blocking(repository: Any) -> Repository:
    """Return *repository* if it blocks; else raise `Invalid`."""
    if not isinstance(repository, Repository):
        raise Invalid(
            "Strands Agents needs a repository that blocks: pass one of connect, not of connect_async"
        )
    return repository
