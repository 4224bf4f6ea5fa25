"""The SQLite baseline: the fastest code found with plain `sqlite3` on chatstore's own migrated tables.

Knows chatstore's columns and nothing of chatstore's code. It does the same work for each call: ids made,
payload encoded, session row made or counted on with `updated_at` and `revision`, all columns written, one
transaction at the same durability, search triggers included. It leaves out what a raw user would: checks.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic_core import to_json

from tests.benchmarks import raw_objects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.benchmarks.turns import Plain

UPSERT = """
INSERT INTO chatstore_sessions
  (session_id, metadata, message_count, last_position, revision, created_at, updated_at)
VALUES (?1, '{}', ?2, ?2, ?3, ?4, ?4)
ON CONFLICT (session_id) DO UPDATE SET
  message_count = message_count + ?2, last_position = last_position + ?2, revision = revision + 1,
  updated_at = max(updated_at, ?4)
WHERE expires_at IS NULL OR expires_at > ?4
RETURNING last_position
"""
INSERT = """
INSERT INTO chatstore_messages
  (session_id, position, message_id, id_generated, type, content, model, input_tokens, output_tokens,
   payload, created_at)
VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)
"""


def connected(path: str, synchronous: str) -> sqlite3.Connection:
    """Return a connection set up as chatstore sets up its own."""
    link = sqlite3.connect(path, isolation_level=None)
    link.execute("PRAGMA foreign_keys=ON")
    link.execute("PRAGMA journal_mode=WAL")
    link.execute(f"PRAGMA synchronous={synchronous}")
    return link


def append(link: sqlite3.Connection, session_id: str, messages: list[Plain]) -> int:
    """Append *messages* in one transaction; return the last position."""
    moment = datetime.now(UTC)
    now = moment.replace(tzinfo=None).isoformat(" ", "microseconds")
    size = len(messages)
    link.execute("BEGIN IMMEDIATE")
    revision = int(moment.timestamp() * 1_000_000)
    last: int = link.execute(UPSERT, (session_id, size, revision, now)).fetchall()[0][0]
    link.executemany(INSERT, _rows(session_id, last - size, messages, now))
    link.execute("COMMIT")
    return last


def _rows(session_id: str, position: int, messages: list[Plain], now: str) -> Iterable[tuple[object, ...]]:
    for type_, content, rest, model, read, written in messages:
        position += 1
        payload = to_json(rest).decode() if rest else "{}"
        yield session_id, position, str(uuid4()), type_, content, model, read, written, payload, now


READ = """
SELECT type, content, payload, message_id, id_generated FROM chatstore_messages
WHERE session_id = ? ORDER BY position
"""


def read(link: sqlite3.Connection, session_id: str) -> list[Any]:
    """Return all messages of a session."""
    return raw_objects.messages(link.execute(READ, (session_id,)))
