"""Create the views people read: the transcript, the tool calls, the usage by day.

They leave expired sessions out, and no row can break them: a payload in the marked form (a JSON string), tool
calls that are no list, arguments that are no object, or, on SQLite, a payload that is no JSON at all. For
SQLite, PostgreSQL, MariaDB and MySQL; elsewhere nobody has tried them, so there are none.
"""

from __future__ import annotations

from typing import Any

from chatstore.backends.sql.migration_steps import dialect, execute, has_table, qualified

revision = "chatstore_0002"
down_revision = "chatstore_0001"
branch_labels = None
depends_on = None

VIEWS = ("chatstore_transcript", "chatstore_tool_calls", "chatstore_usage_daily")
CREATE = {
    "sqlite": "CREATE VIEW IF NOT EXISTS",
    "postgresql": "CREATE OR REPLACE VIEW",
    "mysql": "CREATE OR REPLACE SQL SECURITY DEFINER VIEW",
    "mariadb": "CREATE OR REPLACE SQL SECURITY DEFINER VIEW",
}
NOW = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "postgresql": "statement_timestamp()",
    "mysql": "utc_timestamp(6)",
    "mariadb": "utc_timestamp(6)",
}


def upgrade() -> None:
    """Create three views, unless they are there: those of a later revision have more columns, which must not go."""
    if (name := dialect().name) in CREATE:
        for view, body in zip(VIEWS, (_transcript(name), _tool_calls(name), _usage_daily(name)), strict=True):
            if has_table(view):
                continue
            execute(f"{CREATE[name]} {qualified(view)} AS {body}")


def downgrade() -> None:
    """Drop the views; no data is in them."""
    if dialect().name in CREATE:
        for view in reversed(VIEWS):
            execute(f"DROP VIEW IF EXISTS {qualified(view)}")


def _transcript(name: str) -> str:
    """Return one line a message, with its session's title and owner."""
    return f"""
SELECT s.session_id, s.title, s.tenant_id, s.user_id, m.position, m.created_at,
    CASE m.type WHEN 'human' THEN 'user' WHEN 'ai' THEN 'assistant' WHEN 'system' THEN 'system'
        WHEN 'tool' THEN 'tool' WHEN 'function' THEN 'tool'
        WHEN 'chat' THEN coalesce({_chat_role(name)}, m.type) ELSE m.type END AS role,
    m.name, m.content, m.message_id, m.tool_call_id, m.model, m.input_tokens, m.output_tokens
FROM {_living(name)}"""  # noqa: S608 -- constants and quoted names, as below


def _usage_daily(name: str) -> str:
    """Return messages and tokens by day (UTC), model and owner."""
    day = "date(m.created_at)"
    if name == "postgresql":
        day = "CAST(m.created_at AT TIME ZONE 'UTC' AS date)"
    whole = "CAST(coalesce(sum({}), 0) AS {}) AS {}"
    number = {"mysql": "SIGNED", "mariadb": "SIGNED"}.get(name, "BIGINT")
    tokens = ", ".join(
        whole.format(f"m.{column}", number, column) for column in ("input_tokens", "output_tokens")
    )
    return f"""
SELECT {day} AS day, s.tenant_id, s.user_id, m.model, count(*) AS messages, {tokens}
FROM {_living(name)}
GROUP BY {day}, s.tenant_id, s.user_id, m.model"""  # noqa: S608


def _tool_calls(name: str) -> str:
    """Return one row a tool call, with the first later message that answers it; arguments are JSON."""
    call = _calls(name)

    def answer(column: str) -> str:
        return f"""
        SELECT r.{column} FROM {_table("chatstore_messages")} r
        WHERE r.session_id = m.session_id AND r.position > m.position AND r.tool_call_id = {call["id"]}
        ORDER BY r.position LIMIT 1"""  # noqa: S608

    return f"""
SELECT m.session_id, m.position, {call["id"]} AS tool_call_id, {call["name"]} AS name,
    {call["args"]} AS arguments,
    ({answer("position")}) AS result_position,
    ({answer("content")}) AS result
FROM {_table("chatstore_sessions")} s
    JOIN {_table("chatstore_messages")} m ON m.session_id = s.session_id
    {call["join"]}
WHERE m.type = 'ai' AND {call["whole"]} AND {_alive(name)}"""  # noqa: S608


def _calls(name: str) -> dict[str, str]:
    """Return how the tool calls of one payload become rows, and what is read from each."""
    if name == "sqlite":
        whole = "CASE c.type WHEN 'object' THEN c.value END"
        return {
            "join": "JOIN json_each(CASE WHEN json_valid(m.payload) THEN CASE "
            "json_type(m.payload, '$.tool_calls') WHEN 'array' THEN m.payload END END, '$.tool_calls') c",
            "id": f"json_extract({whole}, '$.id')",
            "name": f"json_extract({whole}, '$.name')",
            "args": f"CASE WHEN json_type({whole}, '$.args') IS NOT NULL "
            f"THEN json_quote(json_extract({whole}, '$.args')) END",
            "whole": "c.type = 'object'",
        }
    if name == "postgresql":
        return {
            "join": "CROSS JOIN LATERAL json_array_elements(CASE json_typeof(m.payload -> 'tool_calls') "
            "WHEN 'array' THEN m.payload -> 'tool_calls' END) AS c(call)",
            "id": "(c.call ->> 'id')",
            "name": "(c.call ->> 'name')",
            "args": "(c.call -> 'args')",
            "whole": "json_typeof(c.call) = 'object'",
        }
    here: Any = dialect()
    text = f"CHARACTER SET utf8mb4 COLLATE {'utf8mb4_nopad_bin' if here.is_mariadb else 'utf8mb4_0900_bin'}"
    return {
        "join": "JOIN JSON_TABLE(CASE json_type(json_extract(m.payload, '$.tool_calls')) WHEN 'ARRAY' "
        "THEN m.payload ELSE '{}' END, '$.tool_calls[*]' COLUMNS (item JSON PATH '$', "
        f"tool_call_id VARCHAR(255) {text} PATH '$.id' NULL ON EMPTY NULL ON ERROR, "
        f"name VARCHAR(255) {text} PATH '$.name' NULL ON EMPTY NULL ON ERROR)) c",
        "id": "c.tool_call_id",
        "name": "c.name",
        "args": "json_extract(c.item, '$.args')",
        "whole": "json_type(c.item) = 'OBJECT'",
    }


def _chat_role(name: str) -> str:
    """Return the role that a message of type chat says itself."""
    if name == "sqlite":
        return "CASE WHEN json_valid(m.payload) THEN json_extract(m.payload, '$.role') END"
    if name == "postgresql":
        return "m.payload ->> 'role'"
    return "json_unquote(json_extract(m.payload, '$.role'))"


def _living(name: str) -> str:
    return (
        f"{_table('chatstore_sessions')} s JOIN {_table('chatstore_messages')} m "
        f"ON m.session_id = s.session_id WHERE {_alive(name)}"
    )


def _table(name: str) -> str:
    """Return a table as a view names it: SQLite's know their own file only, whatever it is attached as."""
    return name if dialect().name == "sqlite" else qualified(name)


def _alive(name: str) -> str:
    return f"(s.expires_at IS NULL OR s.expires_at > {NOW[name]})"
