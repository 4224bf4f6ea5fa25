"""Large stores, made of a small one: what it says is said again and again, later and by others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import insert, select

from chatstore.backends.sql.models import messages, sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Table


class Original(NamedTuple):
    """The rows of sessions and their messages."""

    talks: list[dict[str, Any]]
    said: list[dict[str, Any]]


def read(connection: Connection, prefix: str) -> Original:
    """Read the sessions whose ids begin with *prefix*."""
    return Original(_rows(connection, sessions, prefix), _rows(connection, messages, prefix))


def _rows(connection: Connection, table: Table, prefix: str) -> list[dict[str, Any]]:
    """Return them without what a database numbers by itself."""
    found = connection.execute(select(table).where(table.c.session_id.startswith(prefix, autoescape=True)))
    return [{name: value for name, value in row.items() if name != "id"} for row in found.mappings()]


def write(
    connection: Connection, original: Original, number: int, owner: Callable[[str | None], str | None]
) -> None:
    """Say all of it once more, each message in a millisecond of its own, by whom *owner* makes of who said it."""
    begun = original.talks[0]["updated_at"] + timedelta(hours=number)
    step = timedelta(milliseconds=2)
    talks = [
        {
            **row,
            "session_id": f"{number}-{row['session_id']}",
            "user_id": owner(row["user_id"]),
            "updated_at": begun + step * place,
            "indexed_position": 0,
        }
        for place, row in enumerate(original.talks)
    ]
    said = [
        {**row, "session_id": f"{number}-{row['session_id']}", "created_at": begun + step * place}
        for place, row in enumerate(original.said)
    ]
    connection.execute(insert(sessions), talks)
    connection.execute(insert(messages), said)
