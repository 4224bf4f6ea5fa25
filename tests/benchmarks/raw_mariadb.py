"""The MariaDB baseline: the fastest code found with plain PyMySQL on chatstore's own migrated tables.

Knows chatstore's columns and nothing of chatstore's code. It does the same work for each call: ids made, payload
encoded, session row made or counted on, all columns written, in one transaction. It leaves out what a raw user would:
checks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pymysql
from pydantic_core import to_json
from sqlalchemy import make_url

from tests.benchmarks import raw_objects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymysql.connections import Connection

    from tests.benchmarks.turns import Plain

COUNT_ON = """
INSERT INTO chatstore_sessions
  (session_id, metadata, message_count, last_position, revision, created_at, updated_at)
VALUES (%(sid)s, '{}', %(n)s, %(n)s, %(rev)s, %(now)s, %(now)s)
ON DUPLICATE KEY UPDATE
  message_count = message_count + %(n)s, last_position = last_position + %(n)s, revision = revision + 1,
  updated_at = greatest(updated_at, VALUES(updated_at))
RETURNING last_position
"""
INSERT = """
INSERT INTO chatstore_messages
  (session_id, position, message_id, id_generated, type, content, model, input_tokens, output_tokens,
   payload, created_at)
VALUES (%s, %s, %s, 1, %s, %s, %s, %s, %s, %s, %s)
"""
READ = """
SELECT type, content, payload, message_id, id_generated FROM chatstore_messages
WHERE session_id = %s ORDER BY position
"""


def connected(url: str) -> Connection[Any]:
    """Return a connection; *url* is SQLAlchemy's."""
    where = make_url(url).translate_connect_args(username="user", database="database")
    return pymysql.connect(**where, charset="utf8mb4")


def append(link: Connection[Any], session_id: str, messages: list[Plain]) -> int:
    """Append *messages* in one transaction; return the last position."""
    now, size = datetime.now(UTC), len(messages)
    stamp = now.replace(tzinfo=None)
    counted = {"sid": session_id, "n": size, "rev": int(now.timestamp() * 1_000_000), "now": stamp}
    with link.cursor() as cursor:
        link.begin()
        cursor.execute(COUNT_ON, counted)
        [last] = cursor.fetchone()
        cursor.executemany(INSERT, _rows(session_id, last - size, messages, stamp))
        link.commit()
    return int(last)


def _rows(session_id: str, position: int, messages: list[Plain], now: datetime) -> Iterable[tuple[Any, ...]]:
    for type_, content, rest, model, read, written in messages:
        position += 1
        payload = to_json(rest).decode() if rest else "{}"
        yield session_id, position, str(uuid4()), type_, content, model, read, written, payload, now


def read(link: Connection[Any], session_id: str) -> list[Any]:
    """Return all messages of a session."""
    with link.cursor() as cursor:
        cursor.execute(READ, (session_id,))
        found = raw_objects.messages(cursor.fetchall())
    link.commit()
    return found
