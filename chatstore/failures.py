"""The errors that every backend raises alike: one function for each, which makes it and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore.errors import (
    Conflict,
    CorruptRecord,
    MessageConflict,
    MessageNotFound,
    PartialWrite,
    SessionExists,
    SessionNotFound,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatstore.records import MessageRecord


def missing(session_id: str) -> SessionNotFound:
    """Make the error for a session that does not exist, or is outside the scope."""
    return SessionNotFound(f"there is no session {session_id!r}: create it, or append to it, first")


def taken(session_id: str) -> SessionExists:
    """Make the error for an id that is in use; it tells nothing about the owner."""
    return SessionExists(f"the session id {session_id!r} is taken: choose another one")


def no_message(session_id: str, key: int | str) -> MessageNotFound:
    """Make the error for a position or id the session does not have."""
    what = f"position {key}" if isinstance(key, int) else f"id {key!r}"
    return MessageNotFound(f"session {session_id!r} has no message with {what}: list them with get_records")


def found_nowhere(message_id: str) -> MessageNotFound:
    """Make the error for a message id that no session has, or none in the scope."""
    return MessageNotFound(f"no session has a message with id {message_id!r}: list them with get_records")


def stale_state(key: str, expected: int, actual: int) -> Conflict:
    """Make the error for a revision that is no longer the state's."""
    return Conflict(
        f"the state {key!r} is at revision {actual}, not {expected}: read it again, then decide"
        if actual
        else f"the state {key!r} does not exist, but revision {expected} was expected: expect 0 to make it"
    )


def stale(session_id: str, expected: int, actual: int) -> Conflict:
    """Make the error for a revision that is no longer the session's."""
    return Conflict(
        f"session {session_id!r} is at revision {actual}, not {expected}: read it again, then decide"
        if actual
        else f"session {session_id!r} does not exist, but revision {expected} was expected: create it first"
    )


def contended(session_id: str, *, inside: bool) -> StorageUnavailable:
    """Make the error for a change that others were faster than at every attempt, perhaps *inside* a transaction."""
    again = "roll this transaction back, and repeat all of it" if inside else "repeat the call later"
    return StorageUnavailable(
        f"others wrote to session {session_id!r} at every attempt: {again}", retry_transaction=inside
    )


def another_body(session_id: str, message_id: str) -> MessageConflict:
    """Make the error for a known message id with a new body."""
    return MessageConflict(
        f"session {session_id!r} has a message with id {message_id!r} and a different body: "
        "use update_message to change it, or a new id"
    )


def closed(session_id: str, message_id: str) -> Conflict:
    """Make the error for an answer that somebody else has ended or edited while it was streaming."""
    return Conflict(
        f"the answer {message_id!r} in session {session_id!r} was ended or edited by somebody else: "
        "stop streaming, and read it with get_message"
    )


def out_of_order(session_id: str, position: int, last: int) -> Conflict:
    """Make the error for a loaded record that would not come after all others."""
    return Conflict(
        f"position {position} of session {session_id!r} is not above {last}, the last one used: "
        "load records in order, or into another session"
    )


def partly(session_id: str, stored: int) -> PartialWrite:
    """Make the error for a batch of which only the first *stored* messages could be written."""
    return PartialWrite(
        f"the first {stored} messages for session {session_id!r} are stored, the others are not: repeat the same call "
        f"if its messages have ids, otherwise pass those from number {stored + 1} on",
        stored=stored,
    )


def corrupt(
    session_id: str,
    positions: Sequence[int],
    records: Sequence[MessageRecord] = (),
    *,
    others: str = "are in this error's .records",
) -> CorruptRecord:
    """Make the error that names damaged records, and carries the *others* or says where they are."""
    named = ", ".join(map(str, positions[:10])) + (", …" if len(positions) > 10 else "")  # noqa: PLR2004 - enough to see
    return CorruptRecord(
        f"session {session_id!r} has damaged records at position {named}: the others {others}; "
        "repair the damaged ones with update_message or delete_message",
        positions=positions,
        records=records,
    )
