"""Histories by URLs whose driver only blocks or only awaits."""

from __future__ import annotations

import asyncio

import pytest

from chatstore.backends.sql import sides
from chatstore.errors import NotSupported
from chatstore.histories import SQLChatMessageHistory
from chatstore.messages import AIMessage, HumanMessage
from tests import servers

TURN = [HumanMessage("a"), AIMessage("b")]


async def _read(history: SQLChatMessageHistory) -> list[object]:
    async with history:
        return list(await history.aget_messages())


@pytest.mark.postgres
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg2", "psycopg"])
def test_one_object_serves_both_sides(driver: str) -> None:
    """Law: whichever driver the URL names, one history blocks and awaits where a driver for it is installed."""
    with servers.migrated_url("postgres") as url:
        history = SQLChatMessageHistory("s", url.replace("+psycopg:", f"+{driver}:"))
        history.add_messages(TURN)

        assert TURN == history.messages
        assert TURN == asyncio.run(_read(history))


@pytest.mark.postgres
def test_the_side_that_the_driver_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: where no driver of the other side is installed, the one side works, and the other says what to do."""
    monkeypatch.setattr(sides, "find_spec", lambda _: None)
    with servers.migrated_url("postgres") as url:
        blocking = SQLChatMessageHistory("s", url.replace("+psycopg:", "+psycopg2:"))
        blocking.add_messages(TURN)
        blocking.close()
        awaiting = SQLChatMessageHistory("s", url.replace("+psycopg:", "+asyncpg:"))
        with pytest.raises(NotSupported, match="await aget_messages"):
            _ = awaiting.messages
        assert TURN == asyncio.run(_read(awaiting))
