"""Every error chatstore raises, in one tree.

A driver's error is never raised itself: it is the ``__cause__`` of one of these. None of them contains the text of a
message, a password or a token.

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
    """There is no such session, or it is outside this scope."""


class MessageNotFound(NotFound):
    """The session has no message at this position or with this id."""


class Conflict(ChatstoreError):
    """The stored state is not the one the caller expected; nothing was written."""


class SessionExists(Conflict):
    """The session id is taken, perhaps by a session outside this scope."""


class MessageConflict(Conflict):
    """A message with this id is stored already, and its body differs."""


class Invalid(ChatstoreError, ValueError):
    """An argument is not valid; nothing was written."""


class InvalidSessionId(Invalid):
    """A session id is empty, too long, or has characters that are not allowed."""


class InvalidMessage(Invalid):
    """A message could not be read back equal to what was passed."""


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
    """The storage failed."""


class StorageUnavailable(StorageError):
    """The storage did not answer, or was too busy, within the deadline: 30 seconds unless `connect` is told otherwise.

    Nothing of this call was stored, unless it is an `OutcomeUnknown`. *retry_transaction* is true when the
    caller's own transaction failed for a passing reason (a deadlock, a serialization failure, a change of others' that
    it cannot see): roll it back and repeat all of it.
    """

    def __init__(self, message: str, *, retry_transaction: bool = False) -> None:
        """Keep whether the caller's transaction should be repeated."""
        super().__init__(message)
        self.retry_transaction = retry_transaction


class OutcomeUnknown(StorageUnavailable):
    """The connection broke, or nothing answered until the deadline, during a change: it may be stored or not."""


class PartialWrite(StorageError):
    """A batch larger than the backend's transaction failed half way; repeating the call completes it.

    *stored* is how many messages are stored, counted from the first. Messages without ids would get new ones and be
    stored twice: of these, pass only those after the first *stored*.
    """

    def __init__(self, message: str, *, stored: int) -> None:
        """Keep how many messages were stored."""
        super().__init__(message)
        self.stored = stored


class CorruptRecord(StorageError):
    """Stored records are damaged; *records* holds those of the same call that could be read.

    *positions* lists the damaged ones, in order. Both are empty where the error is about a single value.
    """

    def __init__(self, message: str, *, positions: Sequence[int] = (), records: Sequence[Any] = ()) -> None:
        """Keep the damaged positions, and what could be read beside them."""
        super().__init__(message)
        self.positions = tuple(positions)
        self.records = list(records)


class SchemaError(ChatstoreError):
    """The database's tables do not fit this release."""


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
