"""What people read through the views, with rows in the tables that try to break them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, inspect, text

from chatstore.backends.sql import migrations
from chatstore.backends.sql.models import messages, sessions
from tests.reference import schema
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
    '{"content": ["text", 3, null, [1], true]}',
    '{"content": [{"type": "tool_result"}, {"type": "text", "id": "c1"}]}',
    '{"tool_calls": {"a": 1}, "content": {"type": "tool_use"}}',
    json.dumps('{"content":[{"type":"tool_use","name":"\\u0000","id":"c9"}]}'),
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


TOOL_USE = [
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Zürich"}},
    {"type": "tool_use", "id": "t2", "name": "clock", "input": {}},
    {"type": "tool_use", "id": "t3", "name": "stock", "input": {"sku": "x"}},
    {"type": "tool_use", "id": "t4", "name": "stock", "input": {"sku": "y"}},
    {"type": "server_tool_use", "id": "t5", "name": "search", "input": {}},
    "tool_use",
]
TOOL_RESULTS = [
    {"type": "tool_result", "tool_use_id": "t1", "content": "12°"},
    {"type": "tool_result", "tool_use_id": "t3", "content": "no such part", "is_error": True},
    {
        "type": "tool_result",
        "tool_use_id": "t2",
        "content": [{"type": "text", "text": "noon"}],
        "is_error": False,
    },
    "tool_result",
    3,
]


def test_calls_in_content_blocks_are_calls(connection: Connection) -> None:
    """A `tool_use` block is a call, answered by a message or a `tool_result` block; one in both places is one call."""
    both = {
        "content": TOOL_USE[:2],
        "tool_calls": [{"name": "weather", "args": {"city": "Bern"}, "id": "t1"}],
    }
    said = [
        message("A", 1, type="ai", payload=json.dumps({"content": TOOL_USE, "tool_calls": []})),
        message("A", 2, type="human", payload=json.dumps({"content": "tool_result t1 t2 t3 t4"})),
        message("A", 3, type="human", payload=json.dumps({"content": TOOL_RESULTS})),
        message("A", 4, type="tool", content="17", tool_call_id="t4"),
        message("a", 5, type="ai", payload=json.dumps(both)),
        message("a", 6, type="human", payload=json.dumps({"content": {"type": "tool_use", "id": "t9"}})),
        message("a", 7, type="ai", payload=json.dumps({"content": {"type": "tool_use", "id": "t9"}})),
        message("a", 8, type="human", payload=json.dumps({"content": TOOL_USE[1:2]})),
    ]
    connection.execute(insert(messages), said)
    found = rows(
        connection,
        "SELECT session_id, position, tool_call_id, name, result_position, result, status, arguments "
        "FROM chatstore_tool_calls ORDER BY session_id = 'a', position, tool_call_id",
    )
    *_, (_, _, _, _, _, listed, _, _), _, _, _ = found
    assert [{"type": "text", "text": "noon"}] == json.loads(listed)
    assert [
        ("A", 1, "t1", "weather", 3, "12°", "ok", {"city": "Zürich"}),
        ("A", 1, "t2", "clock", 3, listed, "ok", {}),
        ("A", 1, "t3", "stock", 3, "no such part", "error", {"sku": "x"}),
        ("A", 1, "t4", "stock", 4, "17", "ok", {"sku": "y"}),
        ("a", 5, "t1", "weather", None, None, "unanswered", {"city": "Bern"}),
    ] == [(*rest, _value(arguments)) for *rest, arguments in found]


def test_a_call_says_whose_it_is_and_what_became_of_it(connection: Connection) -> None:
    """Owner, model, both times and a status: error for an answer that says so, ok for any other, else unanswered."""
    said = [
        message("A", 1, type="ai", model="m1", payload=json.dumps({"tool_calls": CALLS[:2]})),
        message("A", 2, type="tool", tool_call_id="c1", payload='{"status": "error"}'),
        message("A", 3, type="ai", payload='{"tool_calls": [{"name": "f", "args": {}, "id": "c3"}]}'),
        message("A", 4, type="tool", tool_call_id="c3", payload='{"status": "success"}'),
        message("A", 5, type="ai", payload='{"tool_calls": [{"name": "f", "args": {}, "id": "c4"}]}'),
        message("A", 6, type="tool", tool_call_id="c4", payload=json.dumps('{"status": "error"}')),
    ]
    connection.execute(insert(messages), said)
    found = rows(
        connection,
        "SELECT tool_call_id, tenant_id, user_id, model, status, called_at, answered_at FROM chatstore_tool_calls "
        "ORDER BY position, tool_call_id",
    )
    assert [
        ("c1", None, "ada", "m1", "error"),
        ("c2", None, "ada", "m1", "unanswered"),
        ("c3", None, "ada", None, "ok"),
        ("c4", None, "ada", None, "ok"),
    ] == [row[:5] for row in found]
    times = [[str(moment)[:26] for moment in row[5:]] for row in found]
    stored = "SELECT created_at FROM chatstore_messages WHERE session_id = 'A' ORDER BY position"
    at = [str(moment)[:26] for (moment,) in rows(connection, stored)]
    assert [[at[0], at[1]], [at[0], "None"], [at[2], at[3]], [at[4], at[5]]] == times


def test_copies_are_told_from_what_was_said(connection: Connection) -> None:
    """What a fork copied is marked in transcript and tool calls, with the source's id, and is no usage."""
    connection.execute(
        insert(sessions),
        [
            session("F", forked_from="A", forked_at=2),
            session("G", forked_from="gone", forked_at=0),
        ],
    )
    call = '{"tool_calls": [{"name": "f", "args": {}, "id": "c1"}]}'
    said = [
        message(name, position, type="ai", model="m", input_tokens=10, payload=call)
        for name, position in (("A", 1), ("A", 3), ("F", 1), ("F", 2), ("F", 3), ("G", 1))
    ]
    connection.execute(insert(messages), said)
    place = "SELECT session_id, position, is_copy FROM {} WHERE session_id IN ('A', 'F', 'G') "
    expected = [("A", 1, 0), ("A", 3, 0), ("F", 1, 1), ("F", 2, 1), ("F", 3, 0), ("G", 1, 0)]
    for view in ("chatstore_transcript", "chatstore_tool_calls"):
        found = rows(connection, place.format(view) + "ORDER BY session_id, position")
        assert expected == [(name, position, int(copy)) for name, position, copy in found]
        left = rows(
            connection, f"SELECT count(*) FROM {view} WHERE session_id IN ('A', 'F', 'G') AND NOT is_copy"
        )
        assert [(4,)] == left
    came = "SELECT DISTINCT session_id, forked_from FROM chatstore_transcript WHERE role = 'assistant'"
    assert {("A", None), ("F", "A"), ("G", "gone")} == set(rows(connection, came))
    spent = "SELECT messages, input_tokens FROM chatstore_usage_daily WHERE model = 'm'"
    assert [(4, 40)] == rows(connection, spent)


def test_views_have_comments_where_a_database_keeps_them(
    postgres_url: str, new_engine: Callable[..., Engine]
) -> None:
    """On PostgreSQL each view and each of its columns says what it is, as the page of the schema does."""
    migrations.upgrade(postgres_url)
    with new_engine(postgres_url).connect() as begun:
        inspector = inspect(begun)
        found = {
            view: (
                inspector.get_table_comment(view)["text"],
                {column["name"]: column["comment"] for column in inspector.get_columns(view)},
            )
            for view in inspector.get_view_names()
        }
    assert schema.VIEWS == found


def test_what_reads_a_view_outlives_the_new_views(
    postgres_url: str, new_engine: Callable[..., Engine]
) -> None:
    """Somebody's own view on ours keeps working through the upgrade: columns are only added."""
    migrations.upgrade(postgres_url, "chatstore_0003")
    engine = new_engine(postgres_url)
    with engine.begin() as begun:
        begun.execute(
            text(
                "CREATE VIEW mine AS SELECT t.*, u.messages FROM chatstore_transcript t, chatstore_usage_daily u"
            )
        )
    migrations.upgrade(postgres_url)
    with engine.begin() as begun:
        assert [] == rows(begun, "SELECT * FROM mine")


def test_no_row_breaks_a_view(connection: Connection) -> None:
    """Every hostile payload can lie in the table: the views answer for all other rows, and count this one."""
    hostile = [*HOSTILE, *(["{broken", ""] if connection.dialect.name == "sqlite" else [])]
    said = [message("A", n, type=kind, payload=p) for n, p in enumerate(hostile, 10) for kind in ("ai",)]
    said += [message("A", n + 100, type="chat", payload=p) for n, p in enumerate(hostile)]
    said += [
        message("A", n + 200, payload=p) for n, p in enumerate(hostile)
    ]  # may be asked for a tool's answer
    said += [message("A", n + 300, type="tool", tool_call_id="x", payload=p) for n, p in enumerate(hostile)]
    said += [message("A", 2, type="ai", payload='{"content": [{"type": "tool_use", "id": "none"}]}')]
    said += [message("A", 1, type="ai", payload=json.dumps({"tool_calls": [*ODD_CALLS, *CALLS]}))]
    connection.execute(insert(messages), said)
    assert rows(connection, "SELECT count(*) FROM chatstore_transcript") == [(len(said) + 1,)]
    assert rows(connection, "SELECT sum(messages) FROM chatstore_usage_daily") == [(len(said) + 1,)]
    found = rows(connection, "SELECT position, tool_call_id, arguments FROM chatstore_tool_calls")
    assert {position for position, _, _ in found} == {1, 2}
    assert len(found) == len(ODD_CALLS) + len(CALLS) + 1
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
