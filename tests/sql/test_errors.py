"""What goes wrong in a database is one clear error, tried again where that helps; none shows what it must not."""

from __future__ import annotations

import asyncio
import socket
import time
import traceback
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text

import chatstore
from chatstore import HumanMessage, errors
from chatstore.backends.sql.dialects import mysql
from chatstore.backends.sql.driver_errors import kind_of
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_driver_s_number_counts_before_its_sqlstate() -> None:
    """PyMySQL gives a lock timeout the sqlstate HY000, which says nothing: it is tried again all the same."""
    with servers.migrated_url("mariadb") as url:
        engine = create_engine(url, connect_args={"init_command": "SET innodb_lock_wait_timeout = 1"})
        repository = chatstore.connect(engine)
        repository.add_messages("s", [HumanMessage("one")])
        holder = engine.connect()
        holder.exec_driver_sql("SELECT * FROM chatstore_sessions FOR UPDATE")
        failures: list[str] = []

        def failed(context: Any) -> None:
            failures.append(kind_of(context.sqlalchemy_exception))
            holder.rollback()

        event.listen(engine, "handle_error", failed)
        assert [2] == [found.position for found in repository.add_messages("s", [HumanMessage("two")])]
        assert ["busy"] == failures
        holder.close()
        engine.dispose()


def test_a_refused_constraint_is_an_error_at_once_and_shows_no_content(url: str) -> None:
    """A constraint of the host's is no race: it is not tried again, and PostgreSQL's failing row is cut off."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite adds no constraint to a table that exists")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE chatstore_messages ADD CONSTRAINT nine CHECK (content <> 'canary text')"
        )
    tried: list[str] = []
    event.listen(engine, "handle_error", lambda context: tried.append(kind_of(context.sqlalchemy_exception)))
    message = HumanMessage("canary text")
    with pytest.raises(errors.StorageError) as refused:
        chatstore.connect(engine).add_messages("s", [message])
    shown = "".join(traceback.format_exception(refused.value))
    assert ["other"] == tried
    assert [errors.StorageError, True, False] == [
        type(refused.value),
        "nine" in shown,
        "canary text" in shown,
    ]
    engine.dispose()


def test_a_full_pool_is_named() -> None:
    """Who holds every connection hears of the pool, not of a busy database."""
    with servers.migrated_url("postgres") as url:
        engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
        repository = chatstore.connect(engine)
        with engine.connect(), pytest.raises(errors.StorageUnavailable, match="pool_size"):
            repository.count_messages("s")
        engine.dispose()


def test_a_socket_that_only_the_driver_knows_to_be_closed_costs_one_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver may meet a closed socket before libpq does: the call succeeds, on another connection."""
    broken: list[object] = []
    execute = psycopg.Cursor.execute

    def breaks_once(self: psycopg.Cursor[Any], *args: Any, **options: Any) -> Any:
        if not broken:
            broken.append(self.connection)
            raise psycopg.OperationalError("connection socket closed")
        assert broken[0] is not self.connection
        return execute(self, *args, **options)

    with servers.migrated_url("postgres") as url, chatstore.connect(url) as repository:
        calls: list[Callable[[], object]] = [
            lambda: repository.add_messages("s", [HumanMessage("said")]),
            lambda: repository.count_messages("s"),
            lambda: repository.truncate("s", after=1),
        ]
        calls[0]()
        monkeypatch.setattr(psycopg.Cursor, "execute", breaks_once)
        for call in calls:
            broken.clear()
            call()
            assert 1 == len(broken)
        assert ["said"] == [message.content for message in repository.get_messages("s")]


def test_a_silent_server_does_not_hold_who_awaits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts a connection and says nothing ends in an error, with aiomysql too."""
    monkeypatch.setattr(mysql, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def ask() -> None:
            port = silent.getsockname()[1]
            async with chatstore.connect_async(f"mariadb://root@127.0.0.1:{port}/x") as repository:
                with pytest.raises(errors.StorageUnavailable, match="cannot be reached"):
                    await repository.count_messages("s")

        asyncio.run(asyncio.wait_for(ask(), 30))


def test_no_part_of_a_url_is_shown() -> None:
    """What stands where a port should be may be half a password."""
    with pytest.raises(errors.Invalid) as refused:
        chatstore.connect("postgresql://user@host:canary/database")
    chain = [refused.value, refused.value.__cause__, refused.value.__context__]
    assert [] == [error for error in chain if "canary" in str(error)]


@pytest.mark.parametrize("wrong", ["sqlite://chat.db", "sqlite://folder/chat.db"])
def test_two_slashes_are_told_from_three(wrong: str) -> None:
    """The commonest wrong URL of SQLite is refused at once, with the right one."""
    with pytest.raises(errors.Invalid, match=r"sqlite:///chat\.db"):
        chatstore.connect(wrong)


def test_drivers_of_the_other_kind_are_named() -> None:
    """A driver that awaits is for connect_async, one that does not for connect; both say so at once."""
    with pytest.raises(errors.Invalid, match="connect_async"):
        chatstore.connect("postgresql+asyncpg://localhost/none")
    with pytest.raises(errors.Invalid, match="does not await"):
        chatstore.connect_async("postgresql+psycopg2://localhost/none")


def test_what_is_no_database_is_told_from_a_refusal(tmp_path: Path) -> None:
    """A text file, and a damaged database, are named as what they are."""
    other, damaged = tmp_path / "notes.txt", tmp_path / "chat.db"
    other.write_text("no database" * 100)
    with (
        chatstore.connect(f"sqlite:///{other}") as repository,
        pytest.raises(errors.StorageError, match="no SQLite database"),
    ):
        repository.count_messages("s")
    with chatstore.connect(f"sqlite:///{damaged}") as repository:
        repository.add_messages("s", [HumanMessage("x" * 9000) for _ in range(20)])
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with (
        chatstore.connect(f"sqlite:///{damaged}") as repository,
        pytest.raises(errors.StorageError, match="damaged"),
    ):
        repository.get_messages("s")


def test_iter_records_passes_over_what_is_damaged(url: str) -> None:
    """Damaged records hide no other, however many there are, and are named together at the end."""
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage(str(number)) for number in range(1, 1201)])
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE chatstore_messages SET payload = '[1]' WHERE position IN (10, 700)")
            )
        engine.dispose()
        seen: list[int] = []
        with pytest.raises(errors.CorruptRecord) as caught:
            seen.extend(record.position for record in repository.iter_records("s"))
        assert [number for number in range(1, 1201) if number not in (10, 700)] == seen
        assert (10, 700) == caught.value.positions

        async def awaited() -> None:
            again: list[int] = []
            async with repository._asynchronous() as twin:
                with pytest.raises(errors.CorruptRecord) as caught:
                    again.extend([record.position async for record in twin.iter_records("s")])
            assert (10, 700) == caught.value.positions

        asyncio.run(awaited())


def test_asyncpg_has_lost_a_connection_that_the_server_ended() -> None:
    """Between the server's last word and the end of the connection asyncpg speaks of its own states, not of that."""
    other = list[Exception]()

    async def work(url: str, killer: psycopg.Connection) -> int:
        done, until = 0, time.monotonic() + 3
        async with chatstore.connect_async(url.replace("+psycopg", "+asyncpg")) as repository:

            async def append(number: int) -> None:
                nonlocal done
                while time.monotonic() < until:
                    try:
                        await repository.add_messages(f"s{number}", [HumanMessage("one")])
                        done += 1
                    except errors.StorageUnavailable:
                        continue
                    except errors.ChatstoreError as error:
                        other.append(error)

            async def kill() -> None:
                while time.monotonic() < until:
                    await asyncio.to_thread(killer.execute, _END_SOME)
                    await asyncio.sleep(0.04)

            await asyncio.gather(*map(append, range(5)), kill())
        return done

    with servers.migrated_url("postgres") as url:
        plain = url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as killer:
            assert asyncio.run(work(url, killer)) > 20
    assert [] == other


_END_SOME = """
    SELECT pg_terminate_backend(pid) FROM (
        SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        ORDER BY random() LIMIT 3
    ) picked
"""
