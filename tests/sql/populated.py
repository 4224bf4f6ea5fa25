"""Conversations in the tables, a digest of every row, and a picture of every object of a database.

Knows the tables through the public models only, and each database's catalogue; the repository has no part in
this, so that the schema is tested by itself.
"""

from __future__ import annotations

import hashlib
import random
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, text

from chatstore.backends.sql.models import JSONText, messages, sessions

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

THEN = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
#: The columns that revisions after the first one have added: as they are by default in what is stored here.
ADDED = {
    sessions: {"indexed_position"},
    messages: {"finish_reason", "state", "updated_at", "first_token_at", "last_token_at"},
}
WORDS = ("Ada", "straße", "日本語", "emoji 🙂", "naïve", "'; DROP TABLE", "100%", ":colon", "\\", '"', "\n")


def session(session_id: str, **changes: Any) -> dict[str, Any]:
    """Return a row of the sessions."""
    row = dict.fromkeys(_first(sessions)) | {
        "session_id": session_id,
        "user_id": "ada",
        "title": "Title",
        "metadata": {"tags": ["a", "é"]},
        "message_count": 0,
        "last_position": 0,
        "revision": 1_772_600_767_890_123,
        "created_at": THEN,
        "updated_at": THEN,
    }
    return row | changes


def message(session_id: str, position: int, **changes: Any) -> dict[str, Any]:
    """Return a row of the messages; *payload* is JSON text."""
    row = dict.fromkeys(_first(messages)) | {
        "session_id": session_id,
        "position": position,
        "message_id": f"{session_id}-{position}",
        "id_generated": True,
        "type": "human",
        "content": "Hello!",
        "payload": "{}",
        "created_at": THEN + timedelta(microseconds=position),
    }
    row |= changes
    row["payload"] = JSONText(row["payload"])
    del row["id"]
    return row


def _first(table: Table) -> list[str]:
    """Name the columns of a table that the first revision made."""
    return [column.name for column in table.columns if column.name not in ADDED[table]]


def fill(connection: Connection, count: int, *, seed: int = 7) -> None:
    """Store *count* messages in sessions of fifty, every type and awkward text among them."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        kind = chance.choice(("human", "ai", "tool", "system", "chat", "strange"))
        words = " ".join(chance.choices(WORDS, k=5))
        payload = chance.choice(("{}", '{"tool_calls": [{"name": "f", "args": {}, "id": "1"}]}', '"{}"'))
        changes = {
            "type": kind,
            "content": f"needle {words}",
            "payload": payload,
            "model": chance.choice((None, "M")),
        }
        rows.append(message(f"s{number // 50}", number % 50 + 1, **changes))
    names = dict.fromkeys(row["session_id"] for row in rows)
    connection.execute(
        insert(sessions), [session(name, message_count=50, last_position=50) for name in names]
    )
    for start in range(0, len(rows), 1000):
        connection.execute(insert(messages), rows[start : start + 1000])


def digest(connection: Connection) -> str:
    """Return a digest of every row of both tables: what each column of the first revision holds, in a fixed order."""
    total = hashlib.sha256()
    for table, order in ((sessions, sessions.c.session_id), (messages, messages.c.id)):
        for row in connection.execute(select(*(table.c[name] for name in _first(table))).order_by(order)):
            total.update(repr(tuple(row)).encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def picture(connection: Connection) -> dict[str, str]:
    """Return the definition of every object of the database by its name, the version table's included."""
    name = connection.dialect.name
    if name == "sqlite":
        rows = connection.execute(text("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master"))
        # the text of a table that was altered differs in white space and quotes only
        return {key: re.sub(r"[\s\"]+", " ", sql) for key, sql in rows}
    if name == "postgresql":
        return dict(map(tuple, connection.execute(text(_POSTGRESQL))))
    names = connection.execute(text("SHOW TABLES")).scalars().all()
    shown = {key: connection.execute(text(f"SHOW CREATE TABLE `{key}`")).one()[1] for key in names}
    return {key: re.sub(r" AUTO_INCREMENT=\d+", "", sql) for key, sql in shown.items()}


_POSTGRESQL = """
SELECT 'column ' || table_name || '.' || column_name,
    concat_ws(' ', ordinal_position, data_type, is_nullable, collation_name, column_default, is_identity)
    FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'view ' || viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'constraint ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'function ' || proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'comment ' || c.relname || '.' || d.objsubid, d.description
    FROM pg_description d JOIN pg_class c ON c.oid = d.objoid WHERE c.relnamespace = 'public'::regnamespace
""".replace("::", r"\:\:")
