"""Every error chatstore raises, in one tree.

This module knows names and what each error means to a caller; it refuses to know which backend or driver raised it.
Driver errors never escape bare: they are the ``__cause__`` of one of these. No message text, password or token
stands in any of them.

::

    ChatstoreError
    ├── NotFound (LookupError)
    │   ├── SessionNotFound
    │   └── MessageNotFound
    ├── Conflict
    │   ├── SessionExists
    │   └── MessageConflict
    ├── Invalid (ValueError)
    │   ├── InvalidSessionId
    │   ├── InvalidMessage
    │   ├── InvalidCursor
    │   └── MessageTooLarge
    ├── StorageError
    │   ├── StorageUnavailable
    │   │   └── OutcomeUnknown
    │   ├── PartialWrite
    │   └── CorruptRecord
    ├── SchemaError
    │   ├── SchemaMissing
    │   ├── SchemaOutdated
    │   └── SchemaTooNew
    ├── NotSupported
    └── MissingDependency (ImportError)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChatstoreError(Exception):
    """Anything chatstore raises on purpose."""


class NotFound(ChatstoreError, LookupError):
    """Something that was asked for by name is not there."""


class SessionNotFound(NotFound):
    """There is no such session, or none that this scope may see."""


class MessageNotFound(NotFound):
    """The session has no message at this position or with this id."""


class Conflict(ChatstoreError):
    """The stored state is not the one the caller expected; nothing was written."""


class SessionExists(Conflict):
    """The session id is taken, perhaps by an owner this scope may not see."""


class MessageConflict(Conflict):
    """The message id is stored already with another body."""


class Invalid(ChatstoreError, ValueError):
    """An argument cannot be what the caller meant; nothing was written."""


class InvalidSessionId(Invalid):
    """A session id is empty, too long, or has characters an id cannot have."""


class InvalidMessage(Invalid):
    """A message cannot be stored so that it comes back equal."""


class InvalidCursor(Invalid):
    """A cursor is malformed, or was made for other filters."""


class MessageTooLarge(Invalid):
    """A message is larger than the backend can hold; nothing was sent.

    *limit* and *size* are bytes.
    """

    def __init__(self, message: str, *, limit: int, size: int) -> None:
        """Keep *limit* and *size* for callers that split or shorten."""
        super().__init__(message)
        self.limit = limit
        self.size = size


class StorageError(ChatstoreError):
    """The place where conversations are kept failed."""


class StorageUnavailable(StorageError):
    """The storage did not answer, or was too busy, within the deadline; nothing of this call was stored.

    *retry_transaction* is true when the caller's own transaction failed for a passing reason (a deadlock, a
    serialization failure) and the whole of it is worth repeating.
    """

    def __init__(self, message: str, *, retry_transaction: bool = False) -> None:
        """Mark whether repeating the caller's transaction makes sense."""
        super().__init__(message)
        self.retry_transaction = retry_transaction


class OutcomeUnknown(StorageUnavailable):
    """The connection broke while committing something that cannot be repeated safely: look before you repeat it."""


class PartialWrite(StorageError):
    """A batch larger than the backend's transaction failed half way; the same call again completes it.

    *stored* is the number of messages that are stored, from the first. What the call makes itself, ids of messages
    that came without one, it would make anew: of such messages pass those behind *stored*.
    """

    def __init__(self, message: str, *, stored: int) -> None:
        """Keep how many messages made it."""
        super().__init__(message)
        self.stored = stored


class CorruptRecord(StorageError):
    """Stored records cannot be read; *records* holds those of the same call that can.

    *positions* names the damaged ones, in order; both are empty where the error is about one value.
    """

    def __init__(self, message: str, *, positions: Sequence[int] = (), records: Sequence[Any] = ()) -> None:
        """Keep the damaged positions, and what could be read beside them."""
        super().__init__(message)
        self.positions = tuple(positions)
        self.records = list(records)


class SchemaError(ChatstoreError):
    """The database's tables are not what this release works on."""


class SchemaMissing(SchemaError):
    """The database has no chatstore tables."""


class SchemaOutdated(SchemaError):
    """The database is at an older revision than this release needs."""


class SchemaTooNew(SchemaError):
    """The database is at a newer revision, and this release cannot work on it safely."""


class NotSupported(ChatstoreError):
    """The backend cannot do this; the message names those that can."""


class MissingDependency(ChatstoreError, ImportError):
    """An optional package is not installed; the message has the pip command."""
