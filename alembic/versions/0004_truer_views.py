"""Let the views tell copies from what was said, whose a tool call is, and what became of it.

A fork's copies are no usage. Tool calls in content blocks (``tool_use``, with ``tool_result`` for an answer) are
calls like others. Columns are only added, at the end, so that what reads the views goes on; the tables stay as they
are, and an older release works on. On PostgreSQL the views have comments; the other databases keep none for a view.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chatstore.backends.sql.migration_steps import dialect, execute, qualified

revision = "chatstore_0004"
down_revision = "chatstore_0003"
branch_labels = None
depends_on = None

#: What each view shows: a sentence, and a meaning for each column. The page of the schema says the same.
COMMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "chatstore_transcript": (
        "A row is a message of a session that has not expired",
        {
            "session_id": "the session",
            "title": "its title",
            "tenant_id": "its tenant",
            "user_id": "its user",
            "position": "the place of the message; order by it",
            "created_at": "when it was stored",
            "role": "user, assistant, system, tool; for a chat message its own role, else the type",
            "name": "the name it carries, if any",
            "content": "what a person reads",
            "message_id": "its id",
            "tool_call_id": "the call it answers",
            "model": "the model that wrote it",
            "input_tokens": "tokens the model read for it",
            "output_tokens": "tokens the model wrote for it",
            "forked_from": "the session that this session is a fork of, if it is one",
            "is_copy": "true for what the fork copied from there; false for what was said here",
        },
    ),
    "chatstore_tool_calls": (
        "A row is a tool call in an assistant's message, with the first later message that answers it",
        {
            "session_id": "the session",
            "position": "the place of the message that calls",
            "tool_call_id": "the id of the call",
            "name": "the name of the tool",
            "arguments": "its arguments, as JSON",
            "result_position": "the place of the answer; null without one",
            "result": "what the tool answered",
            "tenant_id": "the tenant",
            "user_id": "the user",
            "called_at": "when the message that calls was stored",
            "answered_at": "when the answer was stored",
            "status": "ok, error, or unanswered",
            "model": "the model that called",
            "is_copy": "true for a call that a fork copied",
        },
    ),
    "chatstore_usage_daily": (
        "A row is a day in UTC, a model and an owner; what a fork copied is not counted",
        {
            "day": "the day the messages were stored",
            "tenant_id": "the tenant",
            "user_id": "the user",
            "model": "the model; null for messages no model wrote",
            "messages": "how many messages",
            "input_tokens": "tokens read, summed",
            "output_tokens": "tokens written, summed",
        },
    ),
}
#: The revision that made the views, with what has not changed about them.
before = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("0002_views.py"))))


def upgrade() -> None:
    """Put the new views in the place of the old; what depends on them stays."""
    name = dialect().name
    if name not in before.CREATE:
        return
    bodies = (_transcript(name), _tool_calls(name), _usage_daily(name))
    for view, body in zip(before.VIEWS, bodies, strict=True):
        if name == "sqlite":
            execute(f"DROP VIEW IF EXISTS {qualified(view)}")
        execute(f"{before.CREATE[name]} {qualified(view)} AS {body}")
    if name == "postgresql":
        _comment()


def downgrade() -> None:
    """Make the views again as they were; PostgreSQL refuses where something depends on them."""
    before.downgrade()
    before.upgrade()


def _comment() -> None:
    for view, (sentence, columns) in COMMENTS.items():
        execute(f"COMMENT ON VIEW {qualified(view)} IS {_text(sentence)}")
        for column, meaning in columns.items():
            execute(f"COMMENT ON COLUMN {qualified(view)}.{column} IS {_text(meaning)}")


def _text(comment: str) -> str:
    return "'" + comment.replace("'", "''") + "'"


def _transcript(name: str) -> str:
    """Return one line a message, with its session's title and owner, and where a copy came from."""
    return f"""
SELECT s.session_id, s.title, s.tenant_id, s.user_id, m.position, m.created_at,
    CASE m.type WHEN 'human' THEN 'user' WHEN 'ai' THEN 'assistant' WHEN 'system' THEN 'system'
        WHEN 'tool' THEN 'tool' WHEN 'function' THEN 'tool'
        WHEN 'chat' THEN coalesce({before._chat_role(name)}, m.type) ELSE m.type END AS role,
    m.name, m.content, m.message_id, m.tool_call_id, m.model, m.input_tokens, m.output_tokens,
    s.forked_from, {_is_copy(name)} AS is_copy
FROM {before._living(name)}"""  # noqa: S608 -- constants and quoted names, as below


def _is_copy(name: str) -> str:
    return f"coalesce(m.position <= s.forked_at, {'false' if name == 'postgresql' else '0'})"


def _usage_daily(name: str) -> str:
    """Return messages and tokens by day (UTC), model and owner; copies are none."""
    day = "CAST(m.created_at AT TIME ZONE 'UTC' AS date)" if name == "postgresql" else "date(m.created_at)"
    number = "SIGNED" if name in {"mysql", "mariadb"} else "BIGINT"
    tokens = ", ".join(
        f"CAST(coalesce(sum(m.{column}), 0) AS {number}) AS {column}"
        for column in ("input_tokens", "output_tokens")
    )
    return f"""
SELECT {day} AS day, s.tenant_id, s.user_id, m.model, count(*) AS messages, {tokens}
FROM {before._living(name)} AND m.position > coalesce(s.forked_at, 0)
GROUP BY {day}, s.tenant_id, s.user_id, m.model"""  # noqa: S608


def _tool_calls(name: str) -> str:
    """Return one row a tool call, with the first later message that answers it; arguments are JSON."""
    call, messages = _calls(name), before._table("chatstore_messages")
    later = f"""
            SELECT a.position FROM {messages} a WHERE a.session_id = m.session_id AND a.position > m.position"""  # noqa: S608
    return f"""
SELECT m.session_id, m.position, {call["id"]} AS tool_call_id, {call["name"]} AS name,
    {call["args"]} AS arguments, r.position AS result_position,
    CASE WHEN r.tool_call_id = {call["id"]} THEN r.content ELSE {_answer(name, "r", "content")} END AS result,
    s.tenant_id, s.user_id, m.created_at AS called_at, r.created_at AS answered_at,
    CASE WHEN r.position IS NULL THEN 'unanswered'
        WHEN r.tool_call_id = {call["id"]} THEN CASE {call["status"]} WHEN 'error' THEN 'error' ELSE 'ok' END
        WHEN {_answer(name, "r", "is_error")} = {"1" if name == "sqlite" else "'true'"} THEN 'error'
        ELSE 'ok' END AS status,
    m.model, {_is_copy(name)} AS is_copy
FROM {before._table("chatstore_sessions")} s
    JOIN {messages} m ON m.session_id = s.session_id
    {call["join"]}
    LEFT JOIN {messages} r ON r.session_id = m.session_id AND r.position = CASE
        WHEN {call["listed"]} THEN ({later} AND a.tool_call_id = {call["id"]} ORDER BY a.position LIMIT 1)
        ELSE ({later} AND (a.tool_call_id = {call["id"]} OR {_answer(name, "a", "tool_use_id")} IS NOT NULL)
            ORDER BY a.position LIMIT 1) END
WHERE m.type = 'ai' AND {call["whole"]} AND {before._alive(name)}"""  # noqa: S608


def _calls(name: str) -> dict[str, str]:
    """Return how the calls of one payload become rows, and what is read from each.

    They are the payload's ``tool_calls``; where there are none, the blocks of its content that are a ``tool_use``.
    """
    if name == "sqlite":
        whole = "CASE c.type WHEN 'object' THEN c.value END"
        listed = "json_array_length(m.payload, '$.tool_calls') > 0"  # of an array, that is
        args = f"json_extract({whole}, CASE WHEN {listed} THEN '$.args' ELSE '$.input' END)"
        return {
            "listed": listed,
            "join": "JOIN json_each(CASE WHEN json_valid(m.payload) THEN CASE "
            f"WHEN {listed} THEN json_extract(m.payload, '$.tool_calls') "
            "WHEN json_type(m.payload, '$.content') = 'array' THEN json_extract(m.payload, '$.content') END END) c",
            "id": f"json_extract({whole}, '$.id')",
            "name": f"json_extract({whole}, '$.name')",
            "args": f"CASE WHEN json_type({whole}, CASE WHEN {listed} THEN '$.args' ELSE '$.input' END) IS NOT NULL "
            f"THEN json_quote({args}) END",
            "status": "CASE WHEN json_valid(r.payload) THEN json_extract(r.payload, '$.status') END",
            "whole": f"c.type = 'object' AND ({listed} OR json_extract({whole}, '$.type') = 'tool_use')",
        }
    if name == "postgresql":
        listed = (
            "CASE json_typeof(m.payload -> 'tool_calls') WHEN 'array' "
            "THEN json_array_length(m.payload -> 'tool_calls') > 0 ELSE false END"
        )
        return {
            "listed": listed,
            "join": f"CROSS JOIN LATERAL json_array_elements(CASE WHEN {listed} THEN m.payload -> 'tool_calls' "
            "WHEN json_typeof(m.payload -> 'content') = 'array' THEN m.payload -> 'content' END) AS c(call)",
            "id": "(c.call ->> 'id')",
            "name": "(c.call ->> 'name')",
            "args": f"CASE WHEN {listed} THEN c.call -> 'args' ELSE c.call -> 'input' END",
            "status": "r.payload ->> 'status'",
            "whole": f"json_typeof(c.call) = 'object' AND ({listed} OR c.call ->> 'type' = 'tool_use')",
        }
    listed = (
        "coalesce(json_type(json_extract(m.payload, '$.tool_calls')) = 'ARRAY' "
        "AND json_length(m.payload, '$.tool_calls') > 0, 0)"
    )
    return {
        "listed": listed,
        "join": f"JOIN JSON_TABLE(CASE WHEN {listed} THEN json_extract(m.payload, '$.tool_calls') "
        "WHEN json_type(json_extract(m.payload, '$.content')) = 'ARRAY' THEN json_extract(m.payload, '$.content') "
        f"ELSE json_array() END, '$[*]' COLUMNS (item JSON PATH '$', {_texts('type', 'id', 'name')})) c",
        "id": "c.id",
        "name": "c.name",
        "args": f"CASE WHEN {listed} THEN json_extract(c.item, '$.args') ELSE json_extract(c.item, '$.input') END",
        "status": "json_unquote(json_extract(r.payload, '$.status'))",
        "whole": f"json_type(c.item) = 'OBJECT' AND ({listed} OR c.type = 'tool_use')",
    }


def _answer(name: str, message: str, key: str) -> str:
    """Return what the first ``tool_result`` block of *message* (an alias) that answers the call has under *key*."""
    call = _calls(name)["id"]
    if name == "sqlite":
        whole = "CASE b.type WHEN 'object' THEN b.value END"
        return f"""(
        SELECT json_extract({whole}, '$.{key}') FROM json_each(
            CASE WHEN {message}.type = 'human' AND json_valid({message}.payload) THEN CASE
            json_type({message}.payload, '$.content') WHEN 'array' THEN {message}.payload END END, '$.content') b
        WHERE json_extract({whole}, '$.type') = 'tool_result' AND json_extract({whole}, '$.tool_use_id') = {call}
        LIMIT 1)"""  # noqa: S608
    if name == "postgresql":
        return f"""(
        SELECT b.block ->> '{key}' FROM json_array_elements(
            CASE WHEN {message}.type = 'human' THEN CASE json_typeof({message}.payload -> 'content')
            WHEN 'array' THEN {message}.payload -> 'content' END END) AS b(block)
        WHERE b.block ->> 'type' = 'tool_result' AND b.block ->> 'tool_use_id' = {call}
        LIMIT 1)"""  # noqa: S608
    return f"""(
        SELECT json_unquote(json_extract(b.item, '$.{key}')) FROM JSON_TABLE(
            CASE WHEN {message}.type = 'human' AND json_type(json_extract({message}.payload, '$.content')) = 'ARRAY'
            THEN json_extract({message}.payload, '$.content') ELSE json_array() END,
            '$[*]' COLUMNS (item JSON PATH '$', {_texts("type", "tool_use_id")})) b
        WHERE b.type = 'tool_result' AND b.tool_use_id = {call}
        LIMIT 1)"""  # noqa: S608


def _texts(*keys: str) -> str:
    """Return columns of a JSON_TABLE that compare byte for byte, as the tables' own do."""
    here: Any = dialect()
    text = f"CHARACTER SET utf8mb4 COLLATE {'utf8mb4_nopad_bin' if here.is_mariadb else 'utf8mb4_0900_bin'}"
    return ", ".join(f"{key} VARCHAR(255) {text} PATH '$.{key}' NULL ON EMPTY NULL ON ERROR" for key in keys)
