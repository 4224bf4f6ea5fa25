"""The public models: what each column holds and refuses, on every database, through Core and the ORM."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Index, func, insert, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.schema import ColumnCollectionConstraint

from chatstore.backends.sql import migrations, models
from chatstore.backends.sql.models import JSONText, MessageRow, SessionRow, messages, sessions, states
from tests.sql.populated import THEN, message, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

ENDS_OF_TIME = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 10, 25, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)


@pytest.fixture
def connection(any_url: str, new_engine: Callable[..., Engine]) -> Iterator[Connection]:
    """Give a connection, in a transaction, to a migrated database."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.connect() as opened:
        yield opened
        opened.rollback()


def test_every_table_and_column_is_explained() -> None:
    """No table and no column is without a comment, and each has one of its own within its table."""
    for table in (sessions, messages, states):
        comments = [column.comment for column in table.columns]
        assert table.comment
        assert all(comments)
        assert len(set(comments)) == len(comments)


def test_names_fit_every_database() -> None:
    """Names of indexes and constraints are given, all different, and have 63 characters at most."""
    names = [str(part.name) for part in _keys()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"(ix|uq|ck|pk|fk)_chatstore_[a-z_]{1,52}", name) for name in names)


def test_every_index_key_fits_innodb() -> None:
    """Four bytes a character and eight a number or moment, no key comes over InnoDB's 3,072 bytes."""
    keys = [part.columns for part in _keys()]
    sizes = [sum(4 * (getattr(column.type, "length", None) or 2) for column in key) for key in keys]
    assert 0 < max(sizes) <= 3072


def _keys() -> list[Index | ColumnCollectionConstraint]:
    """Return every index and every constraint of the models."""
    found: list[Index | ColumnCollectionConstraint] = []
    for table in (sessions, messages, states):
        found += table.indexes
        found += [part for part in table.constraints if isinstance(part, ColumnCollectionConstraint)]
    return found


def test_ids_are_equal_only_if_their_bytes_are(connection: Connection) -> None:
    """Case, accents, trailing spaces, width and normal forms make different sessions, sorted by bytes."""
    ids = ["A", "a", "a ", "á", "a\u0301", "\uff41", "ß", "ss", "Z", "é" * 255, "🙂" * 255]
    connection.execute(insert(sessions), [session(one) for one in ids])
    found = connection.scalars(select(sessions.c.session_id).order_by(sessions.c.session_id)).all()
    assert found == sorted(ids, key=lambda one: one.encode())
    for one in ids:
        assert connection.scalars(
            select(sessions.c.session_id).where(sessions.c.session_id == one)
        ).all() == [one]


def test_moments_come_back_in_utc_to_the_microsecond(connection: Connection) -> None:
    """Whatever the zone of a moment, it comes back as aware UTC; the database compares moments rightly."""
    rows = [session(str(n), created_at=moment, expires_at=None) for n, moment in enumerate(ENDS_OF_TIME)]
    connection.execute(insert(sessions), rows)
    found = connection.scalars(select(sessions.c.created_at).order_by(sessions.c.session_id)).all()
    assert found == [moment.astimezone(UTC) for moment in ENDS_OF_TIME]
    assert {moment.tzinfo for moment in found} == {UTC}
    for moment in ENDS_OF_TIME:
        query = select(func.count()).select_from(sessions).where(sessions.c.created_at < moment)
        assert connection.scalar(query) == sum(other < moment for other in ENDS_OF_TIME)


def test_a_naive_moment_is_refused(connection: Connection) -> None:
    """A datetime without a zone names no moment and is not stored."""
    with pytest.raises(StatementError, match="naive datetime"):
        connection.execute(insert(sessions), [session("A", created_at=THEN.replace(tzinfo=None))])


def test_sqlite_understands_the_moments(sqlite_url: str, new_engine: Callable[..., Engine]) -> None:
    """On SQLite a moment is ISO text in UTC that its date functions read."""
    migrations.upgrade(sqlite_url)
    engine = new_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(insert(sessions), [session("A", created_at=ENDS_OF_TIME[1])])
        stored = connection.execute(
            text("SELECT created_at, date(created_at), typeof(created_at) FROM chatstore_sessions")
        )
        assert stored.one() == ("2026-10-25 00:30:00.000001", "2026-10-25", "text")


JSON_VALUES: list[Any] = [
    {},
    {"a": [1, 2.5, True, None, "é🙂\u2028"], "b": {"c": {}}},
    {"big": 2**53 + 1, "small": -(2**63), "float": 1e300, "zero": 0.1},
    {"quote": "\"'\\/\n\t", "percent": "%s %(x)s :x"},
]


def test_json_comes_back_equal(connection: Connection) -> None:
    """Documents come back as they went in, numbers to the last digit, given as value or as text."""
    rows = [session("A", metadata=JSON_VALUES[1])]
    connection.execute(insert(sessions), rows)
    given = [message("A", n, payload=json.dumps(value)) for n, value in enumerate(JSON_VALUES)]
    given += [message("A", n + 100) | {"payload": value} for n, value in enumerate(JSON_VALUES)]
    for row in given:
        connection.execute(insert(messages), [row])
    assert connection.scalar(select(sessions.c.metadata)) == JSON_VALUES[1]
    assert (
        connection.scalars(select(messages.c.payload).order_by(messages.c.position)).all() == JSON_VALUES * 2
    )


def test_json_is_strict(connection: Connection) -> None:
    """What is no JSON, or what the database would choke on later, is refused before it is stored."""
    connection.execute(insert(sessions), [session("A")])
    for value in (float("nan"), float("inf"), "\0", "\ud800", object()):
        with pytest.raises(StatementError):
            connection.execute(insert(messages), [message("A", 1) | {"payload": {"value": value}}])
    assert connection.scalar(select(func.count()).select_from(messages)) == 0


def test_the_marked_form_reads_as_its_text(connection: Connection) -> None:
    """A payload that is a JSON string reads as that str everywhere, and is written back the same."""
    connection.execute(insert(sessions), [session("A")])
    marked = '{"content":"\\u0000"}'
    connection.execute(insert(messages), [message("A", 1, payload=json.dumps(marked))])
    read = connection.scalar(select(messages.c.payload))
    connection.execute(insert(messages), [message("A", 2) | {"payload": read}])
    assert connection.scalars(select(messages.c.payload).order_by(messages.c.position)).all() == [
        marked,
        marked,
    ]


@pytest.mark.mariadb
def test_mariadb_refuses_what_is_no_json(mariadb_url: str, new_engine: Callable[..., Engine]) -> None:
    """Payloads and metadata are text there, but not any text."""
    migrations.upgrade(mariadb_url)
    engine = new_engine(mariadb_url)
    with engine.connect() as connection:
        connection.execute(insert(sessions), [session("A")])
        for statement, row in (
            (insert(messages), message("A", 1, payload="{")),
            (insert(sessions), session("B", metadata=JSONText(""))),
        ):
            with pytest.raises(SQLAlchemyError, match="_json"):
                connection.execute(statement, [row])


def test_a_content_of_ten_megabytes_and_an_empty_one(connection: Connection) -> None:
    """Long text has no limit of 64 kB, and '' is ''; a null content, as Oracle stores '', reads as '' too."""
    long = "é🙂x" * 1_500_000
    connection.execute(insert(sessions), [session("A", title=None)])
    for position, content in enumerate((long, "", None), 1):
        connection.execute(insert(messages), [message("A", position, content=content)])
    found = connection.scalars(select(messages.c.content).order_by(messages.c.position)).all()
    assert found == [long, "", ""]
    assert connection.scalar(select(sessions.c.title)) is None


def test_a_position_and_an_id_are_taken_once(connection: Connection) -> None:
    """Within a session no position and no message id is stored twice; in another one both are free."""
    connection.execute(insert(sessions), [session("A"), session("B")])
    connection.execute(insert(messages), [message("A", 1), message("B", 1, message_id="A-1")])
    for row in (message("A", 1, message_id="other"), message("A", 2, message_id="A-1")):
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(insert(messages), [row])
    connection.execute(insert(messages), [message("A", 2, message_id="a-1")])


def test_the_orm_reads_and_deletes_conversations(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """A host's ORM walks from a session to its messages and back, filters in JSON, and deletes both."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with Session(engine) as orm:
        rows = [
            MessageRow(**_attributes(message("A", n, type="ai", payload=json.dumps({"name": f"b{n}"}))))
            for n in (3, 1, 2)
        ]
        orm.add(SessionRow(**_attributes(session("A")), messages=rows))
        orm.commit()
        found = orm.scalars(select(SessionRow).where(SessionRow.session_id == "A")).one()
        assert [row.position for row in found.messages] == [1, 2, 3]
        assert found.messages[0].session is found
        assert found.messages[0].payload == {"name": "b1"}
        assert found.session_metadata == {"tags": ["a", "é"]}
        named = select(MessageRow.position).where(MessageRow.payload["name"].as_string() == "b2")
        assert orm.scalars(named).all() == [2]
        found.session_metadata = {"tags": []}
        orm.commit()
        assert found.session_metadata == {"tags": []}
        orm.delete(found)
        orm.commit()
        assert orm.scalar(select(func.count()).select_from(SessionRow)) == 0
        if engine.dialect.name != "sqlite":  # a host's SQLite has foreign keys off unless it switches them on
            assert orm.scalar(select(func.count()).select_from(MessageRow)) == 0


def test_the_metadata_attribute_is_free() -> None:
    """`metadata` stays SQLAlchemy's own on the classes; the column is reached as `session_metadata`."""
    assert SessionRow.metadata is models.Base.metadata
    assert SessionRow.session_metadata.property.columns[0] is sessions.c.metadata


def _attributes(row: dict[str, Any]) -> dict[str, Any]:
    return {("session_metadata" if name == "metadata" else name): value for name, value in row.items()}
