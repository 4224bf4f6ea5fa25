"""Which index a statement reads, where an index is of some rows only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

import chatstore

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from chatstore import Repository

SESSIONS = "ix_chatstore_sessions_"
ASKED: dict[str, tuple[Callable[[Repository], object], str]] = {
    "a user's": (lambda repository: repository.list_sessions(user_id="ada"), "user_id_updated_at_session_id"),
    "a tenant's": (
        lambda repository: repository.scope(tenant_id="acme").list_sessions(),
        "tenant_id_updated_at_session_id",
    ),
    "what is over": (lambda repository: repository.purge(dry_run=True), "expires_at"),
}


@pytest.mark.parametrize("what", ASKED)
def test_it_reads_the_index(url: str, new_engine: Callable[..., Engine], what: str) -> None:
    """A list of somebody's, or of what is over, where most sessions are nobody's and last for ever."""
    engine = new_engine(url)
    sent: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append((args[2], args[3])))
    ask, index = ASKED[what]
    repository = chatstore.connect(engine)
    for number in range(200):
        repository.create_session(f"s{number}")
    later = datetime.now(UTC) + timedelta(days=1)
    repository.create_session("theirs", user_id="ada", tenant_id="acme", expires_at=later)
    sent.clear()
    ask(repository)
    asked = [one for one in sent if "chatstore_sessions" in one[0]]

    with engine.connect() as connection:
        plans = [plan(connection, *one) for one in asked]

    assert any(SESSIONS + index in one for one in plans), plans


def plan(connection: Connection, statement: str, parameters: Any) -> str:
    """Return how the database carries out *statement*."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET enable_seqscan = off"))
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    lines = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(str(tuple(line)) for line in lines)
