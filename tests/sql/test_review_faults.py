"""Faults a review found in SQL repositories, each as the law it broke.

Knows SQLite, PostgreSQL and MariaDB through `servers`; refuses to know how an operation is carried out, but where two
writers must meet at one moment.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import stat
import traceback
from datetime import UTC, date, datetime
from threading import Thread
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

import chatstore
from chatstore import HumanMessage, errors
from chatstore.backends.sql import core, dialects
from chatstore.backends.sql.dialects import kind_of
from chatstore.records import MessageRecord
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

LAST = datetime.max.replace(tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a migrated, empty database of each kind."""
    with servers.migrated_url(request.param) as found:
        yield found


def record(content: str, position: int, name: str, created_at: datetime) -> MessageRecord:
    """Make a record to load."""
    return MessageRecord(HumanMessage(content, id=name), position, name, created_at, "s")


# ------------------------------------------------------------------------------------------------ values


def test_metadata_that_python_calls_equal_is_stored(url: str) -> None:
    """A change from 1 to True is a change, and is what is read afterwards."""
    with chatstore.connect(url) as repository:
        repository.create_session("s", metadata={"a": 1})
        told = repository.update_session("s", metadata={"a": True}).metadata["a"]
        assert [True, True] == [told, repository.get_session("s").metadata["a"]]
        assert repository.get_session("s").metadata["a"] is True


def test_large_floats_in_metadata_come_back_equal(url: str) -> None:
    """JSONB writes 1e23 as 10**23, another number; it comes back equal all the same, and is found."""
    given = {"x": 1e23, "y": 1e300, "z": -1e16, "small": 1e-300}
    with chatstore.connect(url) as repository:
        repository.create_session("s", metadata=given)
        assert given == repository.get_session("s").metadata
        assert ["s"] == [found.session_id for found in repository.list_sessions(metadata={"x": 1e23}).items]


def test_windows_take_any_natural_number(url: str) -> None:
    """A limit over 32 and over 64 bits is no error."""
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("one"), HumanMessage("two")])
        for many in (2**31, 2**40, 2**63, 2**70):
            assert 2 == len(repository.get_messages("s", limit=many))
            assert 2 == len(repository.get_records("s", last=many))


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_the_edges_of_time_are_read_in_any_session_zone(zone: str) -> None:
    """PostgreSQL speaks the session's zone, in which the last hours of 9999 are the year 10000."""
    with servers.migrated_url("postgres") as url:
        engine = create_engine(url, connect_args={"options": f"-c timezone={zone}"})
        repository = chatstore.connect(engine)
        repository.create_session("s", expires_at=LAST)
        repository.load_records("s", [record("first", 1, "a", FIRST), record("last", 2, "b", LAST)])
        assert [FIRST, LAST] == [found.created_at for found in repository.get_records("s")]
        assert [FIRST] == [hit.created_at for hit in repository.search("first")]
        assert [LAST] == [found.expires_at for found in repository.list_sessions().items]
        engine.dispose()


def test_the_last_microsecond_has_a_day(url: str) -> None:
    """SQLite's date functions round up, and have no answer for the end of the last year."""
    with chatstore.connect(url) as repository:
        repository.load_records("s", [record("first", 1, "a", FIRST), record("last", 2, "b", LAST)])
        assert [date.min, date.max] == [row.day for row in repository.usage(by=("day",))]


# ------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize("content", ["x" * 17_000_000, "'\n" * 5_000_000])
def test_a_message_over_the_servers_packet_is_refused_before_it_is_sent(content: str) -> None:
    """The limit is the server's max_allowed_packet, the size what escaping makes of the message."""
    with servers.migrated_url("mariadb") as url, chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("kept")])
        for write in (repository.add_messages, repository.replace_messages):
            with pytest.raises(errors.MessageTooLarge) as refused:
                write("s", [HumanMessage(content)])
            assert refused.value.size > refused.value.limit > 1_000_000
        assert ["kept"] == [message.content for message in repository.get_messages("s")]


def test_the_largest_message_that_is_not_refused_is_stored() -> None:
    """Limit and size are exact enough: what the check lets through, the server takes."""
    with servers.migrated_url("mariadb") as url, chatstore.connect(url) as repository:
        with pytest.raises(errors.MessageTooLarge) as refused:
            repository.add_messages("s", [HumanMessage("x" * 17_000_000)])
        largest = HumanMessage("x" * (refused.value.limit - 2))  # beside it a payload of two braces
        repository.add_messages("s", [largest])
        assert [largest] == repository.get_messages("s")


# ------------------------------------------------------------------------------------------------ two at once


def test_purge_spares_what_was_written_since_it_looked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL would answer from the snapshot that the list of sessions was read from."""
    if url.startswith("sqlite"):
        pytest.skip("a unit of SQLite holds the whole file from its beginning")
    with chatstore.connect(url) as repository, chatstore.connect(url) as other:
        repository.create_session("s")
        cut, locked = datetime.now(UTC), core.locked
        writer = Thread(target=lambda: other.add_messages("s", [HumanMessage("new")]))

        def late(*given: Any) -> Any:
            if writer.ident is None:
                writer.start()
                writer.join()
            return locked(*given)

        monkeypatch.setattr(core, "locked", late)
        assert (0, 0) == repository.purge(updated_before=cut)[:2]
        assert ["new"] == [message.content for message in repository.get_messages("s")]


def test_get_message_never_shows_the_session_that_came_after(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is deleted and made again while it runs, an owner sees his own message or none."""
    with chatstore.connect(url) as repository:
        repository.scope(user_id="a").add_messages("s", [HumanMessage("of a")])
        found = core.get_session

        def overtaken(*given: Any) -> Any:
            seen = found(*given)
            monkeypatch.setattr(core, "get_session", found)
            repository.delete_session("s")
            repository.scope(user_id="b").add_messages("s", [HumanMessage("of b")])
            return seen

        monkeypatch.setattr(core, "get_session", overtaken)
        assert "of a" == repository.scope(user_id="a").get_message("s", 1).message.content


# ------------------------------------------------------------------------------------------------ errors


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


def test_no_part_of_a_url_is_shown() -> None:
    """What stands where a port should be may be half a password."""
    with pytest.raises(errors.Invalid) as refused:
        chatstore.connect("postgresql://user@host:canary/database")
    chain = [refused.value, refused.value.__cause__, refused.value.__context__]
    assert [] == [error for error in chain if "canary" in str(error)]


# ------------------------------------------------------------------------------------------------ engines


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


def test_drivers_of_the_other_kind_are_named() -> None:
    """A driver that awaits is for connect_async, one that does not for connect; both say so at once."""
    with pytest.raises(errors.Invalid, match="connect_async"):
        chatstore.connect("postgresql+asyncpg://localhost/none")
    with pytest.raises(errors.Invalid, match="does not await"):
        chatstore.connect_async("postgresql+psycopg2://localhost/none")


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


# ------------------------------------------------------------------------------------------------ closing and forking


def test_the_last_close_is_the_last_though_a_history_awaited() -> None:
    """A history's asynchronous twin shares its repository's place and count."""
    with servers.migrated_url("postgres") as url:
        repository: Any = chatstore.connect(url)

        async def turn() -> None:
            history = repository.history("s")
            await history.aadd_messages([HumanMessage("one")])
            await repository._place.async_engines()[0].dispose()

        asyncio.run(turn())
        repository.close()
        assert 0 == repository._place.users


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
                counted.append(len(one._place._async_engines))
            return counted

        assert [1, 0] == asyncio.run(turn())


def test_a_forked_child_begins_its_own_memory_database() -> None:
    """A connection in memory is a database; the child's is new, and is made ready at its first use."""
    with chatstore.connect("sqlite://") as repository:
        repository.add_messages("s", [HumanMessage("the parent's")])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = (
                    repository.count_messages("s")
                    + len(repository.add_messages("s", [HumanMessage("x")]))
                    - 1
                )
            finally:
                os._exit(code)
        assert (child, 0) == os.waitpid(child, 0)
        assert 1 == repository.count_messages("s")


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


@pytest.mark.parametrize("query", ["gamma xy", "gamma the"])
def test_search_finds_what_stands_behind_a_thousand_matches(url: str, query: str) -> None:
    """A word that an index leaves out is looked for in every message that the others find."""
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("the gamma xy needle")])
        repository.add_messages("s", [HumanMessage(f"gamma gamma gamma {number}") for number in range(1500)])
        assert [1] == [hit.position for hit in repository.search(query)]


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


@pytest.mark.parametrize("wrong", ["sqlite://chat.db", "sqlite://folder/chat.db"])
def test_two_slashes_are_told_from_three(wrong: str) -> None:
    """The commonest wrong URL of SQLite is refused at once, with the right one."""
    with pytest.raises(errors.Invalid, match=r"sqlite:///chat\.db"):
        chatstore.connect(wrong)


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


def test_a_silent_server_does_not_hold_who_awaits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts a connection and says nothing ends in an error, with aiomysql too."""
    monkeypatch.setattr(dialects, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def ask() -> None:
            port = silent.getsockname()[1]
            async with chatstore.connect_async(f"mariadb://root@127.0.0.1:{port}/x") as repository:
                with pytest.raises(errors.StorageUnavailable, match="cannot be reached"):
                    await repository.count_messages("s")

        asyncio.run(asyncio.wait_for(ask(), 30))
