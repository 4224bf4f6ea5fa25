"""`using`: an operation inside the caller's own transaction, on both sides and in every kind of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

import chatstore
from chatstore import HumanMessage, errors
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine


def test_using_awaits_on_a_sqlite_url(sqlite_url: str) -> None:
    """The threaded repository of a SQLite URL works inside an AsyncSession, and in its scope."""

    async def turn() -> list[int]:
        engine = create_async_engine(sqlite_url.replace("sqlite:", "sqlite+aiosqlite:"))
        async with chatstore.connect_async(sqlite_url) as repository:
            mine: Any = repository.scope(user_id="a")
            await mine.add_messages("s", [HumanMessage("one")])
            async with AsyncSession(engine) as session:
                await mine.using(session).add_messages("s", [HumanMessage("two")])
                inside = await mine.using(session).count_messages("s")
                await session.rollback()
            other = await repository.scope(user_id="b").count_messages("s")
            counted = [inside, await mine.count_messages("s"), other]
        await engine.dispose()
        return counted

    assert [2, 1, 0] == asyncio.run(turn())


def test_using_reads_what_is_committed_behind_an_old_snapshot(new_engine: Callable[..., Engine]) -> None:
    """In a transaction of MariaDB that has read before, a known id is known all the same."""
    with servers.migrated_url("mariadb") as url:
        engine = new_engine(url)
        repository: Any = chatstore.connect(engine)
        session = scoped_session(sessionmaker(engine))
        session.connection().exec_driver_sql("SELECT count(*) FROM chatstore_messages").all()
        with chatstore.connect(url) as other:
            other.add_messages("s", [HumanMessage("one", id="a")])
        inside = repository.using(session)
        both = inside.add_messages("s", [HumanMessage("one", id="a"), HumanMessage("two")])
        positions = [found.position for found in both]
        session.commit()
        session.remove()
        assert ([1, 2], 2) == (positions, repository.count_messages("s"))


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_connection_without_transactions_is_refused_by_using(kind: str) -> None:
    """In AUTOCOMMIT nothing could be taken back: the change is refused, and nothing is stored."""
    with servers.migrated_url(kind) as url, chatstore.connect(url) as repository:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with (
            engine.connect() as connection,
            pytest.raises(errors.Invalid, match="AUTOCOMMIT"),
        ):
            repository.using(connection).add_messages("s", [HumanMessage("Hello!")])
        engine.dispose()
        assert 0 == repository.count_messages("s")


def test_using_on_mariadb_counts_what_it_copied(new_engine: Callable[..., Engine]) -> None:
    """Not what the caller's transaction still sees of a session that somebody else has deleted since."""
    with servers.migrated_url("mariadb") as url, chatstore.connect(url) as other:
        other.add_messages("source", [HumanMessage("one")] * 3)
        other.add_messages("copy", [HumanMessage("old")] * 5)
        repository = chatstore.connect(new_engine(url))
        with new_engine(url).connect() as connection:
            mine = repository.using(connection)
            assert 3 == mine.count_messages("source")
            other.delete_session("copy")
            assert 3 == mine.fork_session("source", "copy").message_count
            connection.commit()
        assert (3, 3) == (other.get_session("copy").message_count, len(other.get_messages("copy")))


def test_using_says_that_the_whole_transaction_must_be_repeated(new_engine: Callable[..., Engine]) -> None:
    """On MariaDB an overlap cannot be found out in a transaction that cannot see what others have appended."""
    with servers.migrated_url("mariadb") as url, chatstore.connect(url) as other:
        other.add_messages("s", [HumanMessage("one")])
        repository = chatstore.connect(new_engine(url))
        with new_engine(url).connect() as connection:
            mine = repository.using(connection)
            mine.count_messages("s")
            other.add_messages("s", [HumanMessage("two")])
            tail = [HumanMessage("two"), HumanMessage("three")]
            with pytest.raises(errors.StorageUnavailable, match="roll this transaction back") as caught:
                mine.add_messages("s", tail, overlap=True)
            assert caught.value.retry_transaction
            connection.rollback()
            mine.add_messages("s", tail, overlap=True)
            connection.commit()
        assert ["one", "two", "three"] == [message.content for message in other.get_messages("s")]
