"""Let answers stream: how far a message is, when its text came, when it was changed, and why the model ended.

Columns are only added, and may be null: an older release works on, and nothing that is stored is written again. The
transcript shows them, at its end; an answer whose process died reads as incomplete there, too.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import sqlalchemy as sa

from chatstore.backends.sql.migration_steps import (
    add_column,
    create_index,
    dialect,
    drop_column,
    drop_index,
    execute,
    qualified,
)

revision = "chatstore_0005"
down_revision = "chatstore_0004"
branch_labels = None
depends_on = None

TABLE, VIEW, INDEX = "chatstore_messages", "chatstore_transcript", "ix_chatstore_messages_state"
#: The revisions that made the tables, and the views as they were.
tables = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("0001_sessions_and_messages.py"))))
before = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("0004_truer_views.py"))))
#: A moment ago: what nobody has written to since then has no writer any more.
A_MINUTE_AGO = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 minute')",
    "postgresql": "statement_timestamp() - interval '1 minute'",
    "mysql": "utc_timestamp(6) - INTERVAL 1 MINUTE",
    "mariadb": "utc_timestamp(6) - INTERVAL 1 MINUTE",
}
#: As in revision 4: a sentence, and a meaning for each column.
COMMENTS: dict[str, tuple[str, dict[str, str]]] = {
    **before.COMMENTS,
    VIEW: (
        before.COMMENTS[VIEW][0],
        before.COMMENTS[VIEW][1]
        | {
            "state": "complete; of an answer that was streamed also streaming, or incomplete",
            "finish_reason": "why the model ended, or why the answer is incomplete",
            "first_token_at": "when the first text of a streamed answer came",
            "last_token_at": "when the last text of it came",
            "updated_at": "when the message was last changed; created_at, if never",
        },
    ),
}


def upgrade() -> None:
    """Add the columns, the index of what is streaming, and the transcript with them."""
    for column in _columns():
        add_column(TABLE, column)
    few = sa.text("state = 'streaming'")
    create_index(INDEX, TABLE, ["state"], postgresql_where=few, sqlite_where=few)
    name = dialect().name
    if name not in before.before.CREATE:
        return
    if name == "sqlite":
        execute(f"DROP VIEW IF EXISTS {qualified(VIEW)}")
    execute(f"{before.before.CREATE[name]} {qualified(VIEW)} AS {_transcript(name)}")
    if name == "postgresql":
        for added in ("state", "finish_reason", "first_token_at", "last_token_at", "updated_at"):
            meaning = before._text(COMMENTS[VIEW][1][added])
            execute(f"COMMENT ON COLUMN {qualified(VIEW)}.{added} IS {meaning}")


def downgrade() -> None:
    """Take all of it away: what was streamed stays, as a message like others."""
    if dialect().name in before.before.CREATE:
        execute(f"DROP VIEW IF EXISTS {qualified(VIEW)}")
        before.upgrade()
    drop_index(INDEX, TABLE)
    for column in reversed(_columns()):
        drop_column(TABLE, column.name)


def _columns() -> list[sa.Column[object]]:
    return [
        tables._perhaps(
            "finish_reason",
            tables._exact(255),
            "Why the model ended, as it says: a copy; of an incomplete answer, why it is incomplete",
        ),
        tables._perhaps(
            "state",
            tables._exact(16),
            "Of an answer that was streamed: streaming, complete, incomplete; null for all others",
        ),
        tables._perhaps("updated_at", tables._instant(), "When it was last changed, in UTC; null is never"),
        tables._perhaps(
            "first_token_at", tables._instant(), "When the first text of a streamed answer came, in UTC"
        ),
        tables._perhaps(
            "last_token_at", tables._instant(), "When the last text of a streamed answer came, in UTC"
        ),
    ]


def _transcript(name: str) -> str:
    """Return one line a message, as before, and how far it is."""
    return f"""
SELECT s.session_id, s.title, s.tenant_id, s.user_id, m.position, m.created_at,
    CASE m.type WHEN 'human' THEN 'user' WHEN 'ai' THEN 'assistant' WHEN 'system' THEN 'system'
        WHEN 'tool' THEN 'tool' WHEN 'function' THEN 'tool'
        WHEN 'chat' THEN coalesce({before.before._chat_role(name)}, m.type) ELSE m.type END AS role,
    m.name, m.content, m.message_id, m.tool_call_id, m.model, m.input_tokens, m.output_tokens,
    s.forked_from, {before._is_copy(name)} AS is_copy,
    CASE WHEN {_abandoned(name)} THEN 'incomplete' ELSE coalesce(m.state, 'complete') END AS state,
    CASE WHEN {_abandoned(name)} THEN 'abandoned' ELSE m.finish_reason END AS finish_reason,
    m.first_token_at, m.last_token_at, coalesce(m.updated_at, m.created_at) AS updated_at
FROM {before.before._living(name)}"""  # noqa: S608 -- constants and quoted names


def _abandoned(name: str) -> str:
    return f"m.state = 'streaming' AND m.updated_at <= {A_MINUTE_AGO[name]}"
