"""The engines behind SQL repositories: how they are made, shared, looked at once, and closed."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import core
from tests import servers

if TYPE_CHECKING:
    from pathlib import Path


def test_units_on_an_engine_in_autocommit_are_whole(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that was made with AUTOCOMMIT keeps no half of a unit."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    repository = chatstore.connect(engine)
    repository.add_messages("s", [HumanMessage("kept")])

    def broken(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(core, "_touch", broken)
        with pytest.raises(KeyboardInterrupt):
            repository.replace_messages("s", [HumanMessage("half")])
    assert ["kept"] == [message.content for message in repository.get_messages("s")]
    engine.dispose()


def test_the_schema_is_looked_at_once_for_each_engine(url: str) -> None:
    """A repository a request costs nothing more: the engine that was passed in was looked at."""
    engine = create_engine(url)
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
    chatstore.connect(engine).count_messages("s")
    before = len(seen)
    chatstore.connect(engine).count_messages("s")
    assert 1 == len(seen) - before
    engine.dispose()


def test_what_a_rollback_took_away_is_looked_at_again(tmp_path: Path) -> None:
    """Tables that were made inside the caller's transaction vanish with it, and are made again."""
    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    repository: Any = chatstore.connect(engine)
    with engine.connect() as connection:
        for _ in range(2):
            repository.using(connection).add_messages("s", [HumanMessage("gone")])
        connection.rollback()
    assert [1] == [found.position for found in repository.add_messages("s", [HumanMessage("kept")])]
    engine.dispose()


def test_an_asynchronous_file_is_as_private_and_durable_as_any(tmp_path: Path) -> None:
    """A URL that names aiosqlite means the same file: WAL, for its owner only, in threads of our own."""
    path = tmp_path / "new.db"

    async def turn() -> None:
        async with chatstore.connect_async(f"sqlite+aiosqlite:///{path}") as repository:
            await repository.add_messages("s", [HumanMessage("one")])

    asyncio.run(turn())
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    with sqlite3.connect(path) as raw:
        assert ("wal",) == raw.execute("PRAGMA journal_mode").fetchone()
    raw.close()


def test_the_last_close_is_the_last_though_a_history_awaited() -> None:
    """A history's asynchronous twin shares its repository's lease and count."""
    with servers.migrated_url("postgres") as url:
        repository: Any = chatstore.connect(url)

        async def turn() -> None:
            history = repository.history("s")
            await history.aadd_messages([HumanMessage("one")])
            await repository._lease.lend_awaiting(repository._user).engine.dispose()

        asyncio.run(turn())
        repository.close()
        assert 0 == repository._lease.users


def test_one_close_leaves_the_engine_of_others_alone() -> None:
    """Two asynchronous repositories of one loop share an engine; the second close disposes of it."""
    with servers.migrated_url("postgres") as url:

        async def turn() -> list[int]:
            one: Any = chatstore.connect_async(url)
            other: Any = chatstore.connect_async(url)
            counted = []
            for repository in (one, other):
                await repository.count_messages("s")
            for repository in (one, other):
                await repository.close()
                counted.append(len(one._lease._awaiting))
            return counted

        assert [1, 0] == asyncio.run(turn())
