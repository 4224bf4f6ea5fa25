"""What a caller hears of a driver's error, by what `driver_errors.kind_of` says that it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatstore import deadlines
from chatstore.backends.sql.driver_errors import cause_of, kind_of, said_by
from chatstore.driving import Failed
from chatstore.errors import (
    ChatstoreError,
    Invalid,
    InvalidMessage,
    SchemaMissing,
    StorageError,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

    from chatstore.backends.sql.dialects.base import Kind

#: Seconds by which clocks may differ about whether the deadline has passed.
_ABOUT = 0.1
_ADVICE: dict[Kind, tuple[type[ChatstoreError], str]] = {
    "busy": (
        StorageUnavailable,
        "the database stayed busy, as it does where somebody holds a lock: end that, or repeat the call later",
    ),
    "exhausted": (
        StorageUnavailable,
        "every connection of the engine's pool stayed in use: close what holds them, or raise its pool_size",
    ),
    "duplicate": (StorageUnavailable, "another writer made the same row at the same moment: repeat the call"),
    "lost": (
        StorageUnavailable,
        "the database cannot be reached ({said}): check that it runs, and the URL's host and port",
    ),
    "limit": (
        StorageUnavailable,
        "the database takes no more connections ({said}): close some, or raise that limit",
    ),
    "timeout": (
        StorageUnavailable,
        "the database ended a statement ({said}): repeat the call later, or raise the limit of its time",
    ),
    "readonly": (StorageError, "the database is read-only: make it writable, or connect to the primary"),
    "no_table": (
        SchemaMissing,
        "a chatstore table or column is missing: run chatstore upgrade on this database",
    ),
    "full": (StorageError, "the disk of the database is full: free some space, then repeat the call"),
    "too_large": (
        StorageError,
        "the database refuses a value of this size: shorten the message, or raise the server's limit",
    ),
    "refused": (
        StorageError,
        "the database refuses access ({said}): check the URL's user, password, path and database name",
    ),
    "rights": (
        StorageError,
        "the database denies this user a right ({said}): grant it, or connect as a user who has it",
    ),
    "tls": (
        StorageError,
        "driver and database agree on no TLS connection ({said}): check sslmode, sslrootcert or ssl_ca in the URL",
    ),
    "encoding": (
        InvalidMessage,
        "the database's encoding cannot hold a character of this text: leave it out, or use a database in UTF-8",
    ),
    "option": (
        Invalid,
        "the database or its driver refuses an option of the URL ({said}): take it out, or correct it",
    ),
    "no_database": (
        StorageError,
        "the file is no SQLite database: check the URL's path, or move that file away",
    ),
    "damaged": (
        StorageError,
        "the SQLite file is damaged: restore it from a backup, or save what can be read with sqlite3's .recover",
    ),
    "other": (
        StorageError,
        "the database refused a statement: its own error is this error's __cause__; look there",
    ),
}


def make_failed(error: SQLAlchemyError, *, ambiguous: bool = False, inside: bool = False) -> Failed:
    """Return what to raise for *error*; only a connection that broke leaves open what was done.

    *inside*: it ended a transaction of the caller's, so that nothing but the whole of it can be tried again.
    """
    kind = kind_of(error)
    cls, advice = _ADVICE[kind]
    told: ChatstoreError = cls(advice.replace("{said}", said_by(error)))
    if kind == "timeout" and deadlines.is_over(-_ABOUT):  # ours, not a lower one of the server's
        told = deadlines.passed("a statement ran, or waited for a lock,")
    if inside and kind in {"busy", "duplicate"}:
        told = StorageUnavailable(
            "the caller's transaction lost against another one: roll it back and repeat the whole of it",
            retry_transaction=True,
        )
    # Not the SQLAlchemy error but the driver's: the former may show a statement's parameters, message text included.
    return Failed(kind, told, cause_of(error), ambiguous=ambiguous and kind == "lost")
