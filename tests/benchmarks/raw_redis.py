"""The Redis baseline: one Lua call by plain redis-py that makes the same writes as an append of chatstore's.

Knows chatstore's keys and nothing of chatstore's code. It does the same work for each call: ids made, payload
encoded, the same fields of the session counted on, the same rows, ids and index entry written, by one EVALSHA. It
leaves out what a raw user would: scopes, expiry, known ids, positions beyond a double, checks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha1
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic_core import to_json

from tests.benchmarks import raw_objects

if TYPE_CHECKING:
    from tests.benchmarks.turns import Plain

APPEND = """
local now, score = ARGV[1], ARGV[2]
local last = redis.call('HINCRBY', KEYS[1], 'last_position', 2)
local count = redis.call('HINCRBY', KEYS[1], 'message_count', 2)
if count == 2 then
  redis.call('HSET', KEYS[1], 'revision', score, 'created_at', now, 'metadata', '{}')
end
local revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('HSET', KEYS[1], 'updated_at', now)
local one, two = string.format('%019.0f', last - 1), string.format('%019.0f', last)
redis.call('ZADD', KEYS[2], 0, one .. '\\n' .. ARGV[5], 0, two .. '\\n' .. ARGV[7])
redis.call('HSET', KEYS[3], ARGV[4], one, ARGV[6], two)
redis.call('ZADD', KEYS[4], score, ARGV[3])
return {last, revision}
"""
DIGEST = sha1(APPEND.encode()).hexdigest()  # noqa: S324 - Redis names scripts so


def keys(prefix: str, session_id: str) -> list[str]:
    """Return the keys of a session, and that of the index."""
    parts = ("session", "messages", "ids")
    return [*(f"{prefix}{{{session_id}}}:{part}" for part in parts), f"{prefix}sessions"]


def append(client: Any, prefix: str, session_id: str, messages: list[Plain]) -> int:
    """Append two *messages* in one call of a script the server knows; return the last position."""
    now = datetime.now(UTC)
    stamp = now.isoformat(timespec="microseconds")
    values: list[Any] = [stamp, int(now.timestamp() * 1_000_000), session_id]
    for type_, content, rest, model, read, written in messages:
        message_id, payload = str(uuid4()), to_json(rest).decode() if rest else "{}"
        about = '{"id_generated":true}'
        if model is not None or read is not None:
            known = {"model": model, "input_tokens": read, "output_tokens": written, "id_generated": True}
            about = to_json({name: value for name, value in known.items() if value is not None}).decode()
        values += message_id, f"{message_id}\n{stamp}\n{about}\n{type_}\n{payload}\n{content}"
    answer = client.execute_command("EVALSHA", DIGEST, 4, *keys(prefix, session_id), *values)
    return int(answer[0])


def read(client: Any, prefix: str, session_id: str) -> list[Any]:
    """Return all messages of a session."""
    rows = client.zrange(keys(prefix, session_id)[1], 0, -1)
    parts = (row.decode().split("\n", 6) for row in rows)
    return raw_objects.messages(
        (type_, content, payload, message_id, "id_generated" in about)
        for _, message_id, _, about, type_, payload, content in parts
    )
