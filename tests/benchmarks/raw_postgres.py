"""The PostgreSQL baseline: the fastest code found with plain `psycopg` on chatstore's own migrated tables.

Knows chatstore's columns and nothing of chatstore's code. It does the same work for each call: ids made,
payload encoded, session row made or counted on with `updated_at` and `revision`, all columns written, in one
statement, in autocommit, search index included. It leaves out what a raw user would: checks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from psycopg import RawCursor
from pydantic_core import to_json
from sqlalchemy import make_url

from tests.benchmarks import raw_objects

if TYPE_CHECKING:
    from tests.benchmarks.turns import Plain

APPEND = """
WITH counted AS (
  INSERT INTO chatstore_sessions AS s
    (session_id, metadata, message_count, last_position, revision, created_at, updated_at)
  VALUES ($1, '{}', 2, 2, $2, $3, $3)
  ON CONFLICT (session_id) DO UPDATE SET
    message_count = s.message_count + 2, last_position = s.last_position + 2, revision = s.revision + 1,
    updated_at = greatest(s.updated_at, excluded.updated_at)
  WHERE s.expires_at IS NULL OR s.expires_at > $3
  RETURNING session_id, last_position, revision
), added AS (
  INSERT INTO chatstore_messages
    (session_id, position, message_id, id_generated, type, content, model, input_tokens, output_tokens,
     payload, created_at)
  SELECT session_id, last_position - 2 + ord, message_id, true, type, content, model, read, written,
     payload, $3
  FROM counted, (VALUES
    (1, $4, $5, $6, $7, $8::int, $9::int, $10::json),
    (2, $11, $12, $13, $14, $15::int, $16::int, $17::json)
  ) AS new (ord, message_id, type, content, model, read, written, payload)
)
SELECT last_position, revision FROM counted
"""


def connected(url: str) -> psycopg.Connection[Any]:
    """Return a connection in autocommit; *url* is SQLAlchemy's."""
    parts = make_url(url)
    where: dict[str, Any] = {
        **parts.translate_connect_args(username="user", database="dbname"),
        **parts.query,
    }
    return psycopg.connect(**where, autocommit=True)


def append(cursor: RawCursor[Any], session_id: str, messages: list[Plain]) -> int:
    """Append two *messages* in one statement; return the last position."""
    now = datetime.now(UTC)
    values: list[Any] = [session_id, int(now.timestamp() * 1_000_000), now]
    for type_, content, rest, model, read, written in messages:
        payload = to_json(rest).decode() if rest else "{}"
        values += str(uuid4()), type_, content, model, read, written, payload
    cursor.execute(APPEND, values, prepare=True)
    found = cursor.fetchone()
    return int(found[0]) if found else 0


COUNT_ON = """
INSERT INTO chatstore_sessions AS s
  (session_id, metadata, message_count, last_position, revision, created_at, updated_at)
VALUES ($1, '{}', $2, $2, $3, $4, $4)
ON CONFLICT (session_id) DO UPDATE SET
  message_count = s.message_count + $2, last_position = s.last_position + $2, revision = s.revision + 1,
  updated_at = greatest(s.updated_at, excluded.updated_at)
WHERE s.expires_at IS NULL OR s.expires_at > $4
RETURNING last_position
"""
COPY = """
COPY chatstore_messages (session_id, position, message_id, id_generated, type, content, model, input_tokens,
  output_tokens, payload, created_at) FROM STDIN
"""
READ = """
SELECT type, content, payload::text, message_id, id_generated FROM chatstore_messages
WHERE session_id = $1 ORDER BY position
"""


def bulk(cursor: RawCursor[Any], session_id: str, messages: list[Plain]) -> int:
    """Append many *messages* in one transaction by COPY; return the last position."""
    now, size = datetime.now(UTC), len(messages)
    stamp = str(now)
    with cursor.connection.transaction():
        cursor.execute(COUNT_ON, (session_id, size, int(now.timestamp() * 1_000_000), now))
        found = cursor.fetchone()
        last = int(found[0]) if found else 0
        with cursor.copy(COPY) as copy:
            for at, (type_, content, rest, *numbers) in enumerate(messages, last - size + 1):
                payload = to_json(rest).decode() if rest else "{}"
                copy.write_row((session_id, at, str(uuid4()), "t", type_, content, *numbers, payload, stamp))
    return last


def read(cursor: RawCursor[Any], session_id: str) -> list[Any]:
    """Return all messages of a session."""
    return raw_objects.messages(cursor.execute(READ, (session_id,), prepare=True))
