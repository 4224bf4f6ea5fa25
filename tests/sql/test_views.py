"""What people read through the views, with rows in the tables that try to break them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text

from chatstore.backends.sql import migrations
from chatstore.backends.sql.models import messages, sessions
from tests.sql.populated import THEN, message, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

CALLS = [
    {"name": "weather", "args": {"city": "Zürich", "days": [1, 2.5]}, "id": "c1", "type": "tool_call"},
    {"name": "clock", "args": {}, "id": "c2", "type": "tool_call"},
    {"name": "clock", "args": {}, "id": "c1", "type": "tool_call"},
]
HOSTILE = [
    json.dumps('{"tool_calls":[{"name":"\\u0000","id":"c9"}]}'),  # the marked form
    '{"tool_calls": {"name": "no list"}}',
    '{"tool_calls": "text"}',
    '{"tool_calls": null}',
    '{"tool_calls": ["text", 3, null, [1], true]}',
    '{"tool_calls": []}',
    '"text"',
    "[1]",
    "null",
    "3",
]
ODD_CALLS = [
    {"args": "text"},
    {"name": "f", "args": [1], "id": "x"},
    {"name": {"a": 1}, "args": 5, "id": 7},
    {},
]


@pytest.fixture
def connection(any_url: str, new_engine: Callable[..., Engine]) -> Iterator[Connection]:
    """Give a connection to a migrated database with two living sessions and one that has expired."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.begin() as begun:
        soon = datetime.now(UTC) + timedelta(hours=1)
        rows = [
            session("A"),
            session("a", user_id=None, title=None, expires_at=soon),
            session("x", expires_at=THEN),
        ]
        begun.execute(insert(sessions), rows)
        begun.execute(insert(messages), [message("x", 1), message("a", 1, content="")])
        yield begun


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query as tuples."""
    return [tuple(row) for row in connection.execute(text(query))]


def test_the_transcript_reads_like_a_conversation(connection: Connection) -> None:
    """One line a message, with the role people know; expired sessions are left out; case counts."""
    said = [
        message("A", 1, type="system", content="Be kind."),
        message("A", 2, content="Hi"),
        message("A", 3, type="ai", content="", model="m1"),
        message("A", 4, type="tool", content="12°", tool_call_id="c1", name="weather"),
        message("A", 5, type="function", content="old"),
        message("A", 6, type="chat", payload='{"role": "developer"}'),
        message("A", 7, type="chat", payload='"{}"'),
        message("A", 8, type="from_tomorrow"),
    ]
    connection.execute(insert(messages), said)
    assert rows(
        connection,
        "SELECT session_id, title, user_id, position, role, name, content, tool_call_id, model "
        "FROM chatstore_transcript ORDER BY session_id = 'a', position",
    ) == [
        ("A", "Title", "ada", 1, "system", None, "Be kind.", None, None),
        ("A", "Title", "ada", 2, "user", None, "Hi", None, None),
        ("A", "Title", "ada", 3, "assistant", None, "", None, "m1"),
        ("A", "Title", "ada", 4, "tool", "weather", "12°", "c1", None),
        ("A", "Title", "ada", 5, "tool", None, "old", None, None),
        ("A", "Title", "ada", 6, "developer", None, "Hello!", None, None),
        ("A", "Title", "ada", 7, "chat", None, "Hello!", None, None),
        ("A", "Title", "ada", 8, "from_tomorrow", None, "Hello!", None, None),
        ("a", None, None, 1, "user", None, "", None, None),
    ]
    assert rows(connection, "SELECT count(*) FROM chatstore_transcript WHERE role = 'user'") == [(2,)]


def test_each_tool_call_is_a_row_with_its_result(connection: Connection) -> None:
    """A call meets the first later message of its session that answers it; one without an answer stays."""
    said = [
        message("A", 1, type="tool", content="too early", tool_call_id="c1"),
        message("A", 2, type="ai", payload=json.dumps({"tool_calls": CALLS}, ensure_ascii=False)),
        message("A", 3, type="tool", content="12°", tool_call_id="c1"),
        message("A", 4, type="tool", content="later", tool_call_id="c1"),
        message("A", 5, type="tool", content="case", tool_call_id="C2"),
        message("a", 2, type="tool", content="elsewhere", tool_call_id="c2"),
        message("x", 2, type="ai", payload=json.dumps({"tool_calls": CALLS})),
    ]
    connection.execute(insert(messages), said)
    found = rows(
        connection,
        "SELECT session_id, position, tool_call_id, name, result_position, result FROM chatstore_tool_calls "
        "ORDER BY name DESC, tool_call_id",
    )
    assert found == [
        ("A", 2, "c1", "weather", 3, "12°"),
        ("A", 2, "c1", "clock", 3, "12°"),
        ("A", 2, "c2", "clock", None, None),
    ]
    [(arguments,)] = rows(connection, "SELECT arguments FROM chatstore_tool_calls WHERE name = 'weather'")
    assert _value(arguments) == CALLS[0]["args"]


def test_no_row_breaks_a_view(connection: Connection) -> None:
    """Every hostile payload can lie in the table: the views answer for all other rows, and count this one."""
    hostile = [*HOSTILE, *(["{broken", ""] if connection.dialect.name == "sqlite" else [])]
    said = [message("A", n, type=kind, payload=p) for n, p in enumerate(hostile, 10) for kind in ("ai",)]
    said += [message("A", n + 100, type="chat", payload=p) for n, p in enumerate(hostile)]
    said += [message("A", 1, type="ai", payload=json.dumps({"tool_calls": [*ODD_CALLS, *CALLS]}))]
    connection.execute(insert(messages), said)
    assert rows(connection, "SELECT count(*) FROM chatstore_transcript") == [(len(said) + 1,)]
    assert rows(connection, "SELECT sum(messages) FROM chatstore_usage_daily") == [(len(said) + 1,)]
    found = rows(connection, "SELECT position, tool_call_id, arguments FROM chatstore_tool_calls")
    assert {position for position, _, _ in found} == {1}
    assert len(found) == len(ODD_CALLS) + len(CALLS)
    by_id = {str(call): _value(arguments) for _, call, arguments in found if call is not None}
    assert by_id["x"] == [1]
    assert by_id["7"] == 5


def test_usage_adds_up_by_day_model_and_owner(connection: Connection) -> None:
    """Days are UTC days, sums do not overflow, a message without tokens counts as a message."""
    many = 2**31 - 1
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    said = [
        message("A", 1, type="ai", model="m", input_tokens=many, output_tokens=1),
        message("A", 2, type="ai", model="m", input_tokens=many, output_tokens=None),
        message("A", 3, type="ai", model="M", input_tokens=1, output_tokens=1),
        message("A", 4, type="ai", model="m", input_tokens=5, output_tokens=5, created_at=midnight),
        message("A", 5, type="ai", model="m", created_at=midnight - timedelta(microseconds=1)),
        message("x", 2, type="ai", model="m", input_tokens=1000),
    ]
    connection.execute(insert(messages), said)
    found = rows(
        connection,
        "SELECT day, user_id, model, messages, input_tokens, output_tokens FROM chatstore_usage_daily",
    )
    assert sorted((str(_day(day)), *rest) for day, *rest in found if rest[1] is not None) == [
        ("2026-03-04", "ada", "M", 1, 1, 1),
        ("2026-03-04", "ada", "m", 3, 2 * many, 1),
        ("2026-03-05", "ada", "m", 1, 5, 5),
    ]
    assert [(str(_day(day)), *rest) for day, *rest in found if rest[1] is None] == [
        ("2026-03-04", None, None, 1, 0, 0)
    ]


def _value(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored


def _day(day: date | str) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day
