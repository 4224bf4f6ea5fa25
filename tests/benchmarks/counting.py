"""What a call costs in things that can be counted: statements sent, rows and bytes read.

Knows where each driver sends a statement and where each database keeps count. Refuses to know a clock: what is
counted here is the same on a busy machine.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import Pool

import chatstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

#: Rows read from the table of messages so far, by this transaction or session.
ROWS = {
    "postgresql": (
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
        "WHERE relname = 'chatstore_messages'"
    ),
    "mariadb": (
        "SELECT sum(variable_value) FROM information_schema.session_status "
        "WHERE variable_name LIKE 'handler\\_read\\_%' AND variable_name NOT LIKE '%tmp%'"
    ),
}


@contextlib.contextmanager
def statements(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give the list that grows by every statement that connections made in this context send."""
    sent: list[str] = []
    if kind == "sqlite":
        with _on_connect(lambda link: link.set_trace_callback(sent.append)):
            yield sent
        return
    with monkeypatch.context() as patch:
        for owner, name in _DOORS[kind]:
            patch.setattr(owner, name, _noted(getattr(owner, name), sent))
        yield sent


_DOORS: dict[str, list[tuple[type, str]]] = {
    "postgres": [(psycopg.Cursor, "execute"), (psycopg.Cursor, "executemany")],
    "mariadb": [(pymysql.connections.Connection, "_execute_command")],
}


def _noted(send: Callable[..., Any], sent: list[str]) -> Callable[..., Any]:
    def noting(self: Any, *args: Any, **options: Any) -> Any:
        statement = next((one for one in args if isinstance(one, str | bytes | bytearray)), "")
        sent.append(statement if isinstance(statement, str) else statement.decode("utf-8", "replace"))
        return send(self, *args, **options)

    return noting


@contextlib.contextmanager
def _on_connect(prepare: Callable[[Any], None]) -> Iterator[None]:
    def connected(link: Any, _record: object) -> None:
        prepare(link)

    event.listen(Pool, "connect", connected)
    try:
        yield
    finally:
        event.remove(Pool, "connect", connected)


@contextlib.contextmanager
def sqlite_steps() -> Iterator[list[int]]:
    """Give a list of one number: the instructions SQLite has run for connections made in this context."""
    steps = [0]

    def count() -> None:
        steps[0] += 1

    with _on_connect(lambda link: link.set_progress_handler(count, 1)):
        yield steps


def rows_read(url: str, read: Callable[[chatstore.Repository], object]) -> int:
    """Return how many rows of messages PostgreSQL or MariaDB reads for *read*, in one transaction."""
    engine = create_engine(url)
    with engine.connect() as link, contextlib.closing(chatstore.connect(engine)) as repository:
        inside = repository.using(link)
        inside.get_session("long")  # the schema is looked at, and the statement of the count is warm
        before, nothing = _rows(link), _rows(link)
        read(inside)
        found = _rows(link) - nothing - (nothing - before)
    engine.dispose()
    return found


def _rows(link: Connection) -> int:
    return int(link.execute(text(ROWS[link.dialect.name])).scalar() or 0)


@contextlib.contextmanager
def bytes_moved(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give a list of one number: the bytes read and written at a place of a file in this context."""
    moved, pread, pwrite = [0], os.pread, os.pwrite

    def read(descriptor: int, size: int, offset: int) -> bytes:
        part = pread(descriptor, size, offset)
        moved[0] += len(part)
        return part

    def write(descriptor: int, data: bytes, offset: int) -> int:
        size = pwrite(descriptor, data, offset)
        moved[0] += size
        return size

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", read)
        patch.setattr(os, "pwrite", write)
        yield moved
