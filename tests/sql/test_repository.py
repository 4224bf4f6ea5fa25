"""What is true of SQL repositories alone: units, engines of the caller, `using`, schema states, errors, forks.

Everything that any backend promises is in the contract suite.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import chatstore
from chatstore import AIMessage, HumanMessage, errors
from chatstore.backends.common import leases
from chatstore.backends.sql import appending, core, migrations
from chatstore.backends.sql.engine_factory import new_engine
from chatstore.backends.sql.fast_path import Compiled
from chatstore.backends.sql.lending import DIRECT, WRITES, Lent
from chatstore.backends.sql.repository import AsyncSQLRepository
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.backends.sql.repository import SQLRepository

KINDS = ["sqlite", "postgres", "mariadb"]
TURN = [HumanMessage("canary question"), AIMessage("canary answer")]


@contextmanager
def opened(url: str) -> Iterator[SQLRepository]:
    """Lend a repository, and see that it left no connection checked out."""
    repository: Any = chatstore.connect(url)
    try:
        yield repository
        assert repository._lease.lend(repository._user).engine.pool.checkedout() == 0
    finally:
        repository.close()


def checked_out(engine: Any) -> int:
    """Return how many connections of the engine's pool somebody holds."""
    return int(engine.pool.checkedout())


def dump(url: str) -> list[Any]:
    """Return every row of both tables."""
    engine = new_engine(url)
    try:
        with engine.connect() as connection:
            return [
                tuple(map(str, row))
                for table, order in (
                    ("chatstore_sessions", "session_id"),
                    ("chatstore_messages", "session_id, position"),
                )
                for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY {order}")
            ]
    finally:
        engine.dispose()


# ------------------------------------------------------------------------------------------------ units

CHANGES: dict[str, Callable[[Any], Any]] = {
    "create": lambda r: r.create_session("expired", title="again"),
    "delete": lambda r: r.delete_session("s"),
    "update": lambda r: r.update_session("s", title="other"),
    "fork": lambda r: r.fork_session("s", "t"),
    "append": lambda r: r.add_messages("s", TURN),
    "append to new": lambda r: r.add_messages("n", TURN),
    "append known": lambda r: r.add_messages("s", [HumanMessage("one", id="1"), HumanMessage("two", id="2")]),
    "append expected": lambda r: r.add_messages("s", TURN, expected_revision=r.get_session("s").revision),
    "replace": lambda r: r.replace_messages("s", TURN),
    "load": lambda r: r.load_records("new", r.get_records("s")),
    "edit": lambda r: r.update_message("s", 1, AIMessage("edited")),
    "remove": lambda r: r.delete_message("s", 1),
    "pop": lambda r: r.pop_message("s"),
    "truncate": lambda r: r.truncate("s", after=1),
    "purge": lambda r: r.purge(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_fails_anywhere_leaves_nothing_of_it(url: str, change: str) -> None:
    """Whichever statement of an operation fails, what was stored before is all that is stored after."""
    with opened(url) as repository:
        repository.add_messages("s", [HumanMessage("one", id="1"), AIMessage("three"), AIMessage("four")])
        repository.add_messages("expired", TURN)
        repository.update_session("expired", expires_at=datetime.now(UTC) - timedelta(days=1))
        failures = 0
        while _fails_at(repository, url, CHANGES[change], failures + 1):
            failures += 1
        assert failures >= 1


def _fails_at(repository: SQLRepository, url: str, change: Callable[[Any], Any], number: int) -> bool:
    """Fail the *number*-th writing statement of *change*; tell whether there was one."""
    before, seen = dump(url), 0

    def fail(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE", "WITH")):
            seen += 1
            if seen == number:
                raise _Planted

    try:
        with heard(repository, fail):
            change(repository)
    except _Planted:
        assert dump(url) == before
        return True
    assert dump(url) != before
    return False


@contextmanager
def heard(repository: SQLRepository, listener: Callable[..., None]) -> Iterator[None]:
    """Call *listener* before every statement, those that go to the driver directly included."""
    engine = repository._lease.lend(repository._user).engine

    def overheard(direct: Callable[..., Any]) -> Callable[..., Any]:
        def run(statement: Compiled, connection: Any, given: Any) -> Any:
            if connection.get_execution_options().get(DIRECT):
                listener(connection, None, statement.sql)
            return direct(statement, connection, given)

        return run

    def begun(connection: Any) -> None:
        if connection.get_execution_options().get(WRITES):
            listener(connection, None, "BEGIN")

    event.listen(engine, "before_cursor_execute", listener)
    event.listen(engine, "begin", begun)
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name in ("first_row", "rows", "insert"):
                patched.setattr(Compiled, name, overheard(getattr(Compiled, name)))
            yield
    finally:
        event.remove(engine, "before_cursor_execute", listener)
        event.remove(engine, "begin", begun)


class _Planted(Exception):
    """A fault planted by a test."""


@pytest.mark.parametrize("condition", [False, True])
def test_an_append_is_one_statement_on_postgresql_and_few_elsewhere(url: str, condition: bool) -> None:
    """An append of a turn to a known session, also on a condition, sends as few statements as its database allows."""
    with opened(url) as repository:
        stored = repository.add_messages("s", TURN, metadata={"turn": 1})
        more: Any = {"expected_revision": stored.revision, "metadata": {"turn": 2}, "title": None}
        sent: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement.split(maxsplit=1)[0].upper())

        with heard(repository, note):
            repository.add_messages("s", TURN, **(more if condition else {}))
        assert {"turn": 1 + condition} == repository.get_session("s").metadata

    counting = "UPDATE" if condition else "INSERT"
    expected = {
        "postgresql": ["WITH"],
        "sqlite": ["BEGIN", counting, "INSERT"],
        "mariadb": ["BEGIN", "UPDATE", "SELECT", "INSERT"] if condition else ["BEGIN", "INSERT", "INSERT"],
    }
    assert expected[url.partition("+")[0].partition(":")[0]] == sent


# ------------------------------------------------------------------------------------------------ engines


HARD = [
    "tab\t, \\t",
    "line\r\n\\n",
    "\\.",
    "\\N",
    "",
    "null",
    "\\",
    "'quoted\"",
    "nul \0",
    "\ud800",
    "東京 🙂",
    "%s {} $1",
]


def test_many_messages_are_stored_as_few_are(url: str) -> None:
    """What goes to PostgreSQL by COPY: hard texts come back, known ids are known, and what fails leaves nothing."""
    many = [
        AIMessage(HARD[n % len(HARD)], id=f"m{n}", name=HARD[n % len(HARD)], usage_metadata=usage(n))
        for n in range(appending.COPIED + 5)
    ]
    with opened(url) as repository:
        first = repository.add_messages("s", many)
        assert many == repository.get_messages("s") == [record.message for record in first]
        assert list(range(1, len(many) + 1)) == [record.position for record in first]

        again = repository.add_messages("s", [HumanMessage("new"), *many])
        before = dump(url)
        with pytest.raises(errors.MessageConflict):
            repository.add_messages("s", [*many, HumanMessage("other", id="m7")])
        with pytest.raises(errors.MessageConflict):
            repository.add_messages("s", [*map(HumanMessage, HARD * 60), HumanMessage("other", id="m7")])

        assert [len(many) + 1, *range(1, len(many) + 1)] == [record.position for record in again]
        assert before == dump(url)
        assert len(many) + 1 == repository.count_messages("s")


def usage(number: int) -> Any:
    """Return what a model is said to have used, or nothing for every other."""
    counted = {"input_tokens": number, "output_tokens": 1, "total_tokens": number + 1}
    return counted if number % 2 else None


def test_nothing_is_done_to_an_engine_that_was_passed_in(url: str) -> None:
    """No event, pragma, isolation level or pool option: a passed-in engine is as it was, and stays open."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            before = _settings(connection)
        repository = chatstore.connect(engine)
        repository.add_messages("s", TURN)
        repository.get_messages("s")
        repository.close()

        with engine.connect() as connection:
            assert before == _settings(connection)
        assert checked_out(engine) == 0
    finally:
        engine.dispose()


def _settings(connection: Any) -> list[Any]:
    listeners = [
        len(list(getattr(target.dispatch, name)))
        for target, names in (
            (connection.engine, ("begin", "commit", "rollback", "before_cursor_execute", "engine_connect")),
            (connection.engine.pool, ("connect", "checkout", "checkin", "reset")),
        )
        for name in names
    ]
    found: list[Any] = [listeners, connection.get_isolation_level(), dict(connection.get_execution_options())]
    if connection.dialect.name == "sqlite":
        pragmas = ("foreign_keys", "synchronous", "busy_timeout")
        found += [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    return found


def test_a_hundred_histories_on_one_url_share_one_pool(url: str) -> None:
    """One engine for a URL, disposed of by the last close."""
    histories = [chatstore.SQLChatMessageHistory(f"s{number}", url) for number in range(100)]
    for history in histories:
        history.add_user_message("hello")
    repositories: list[Any] = [history.repository for history in histories]
    assert 1 == len({id(one._lease.lend(one._user).engine.pool) for one in repositories})

    for history in histories[1:]:
        history.close()
    assert 1 == len(histories[0].messages)
    histories[0].close()
    lease = repositories[0]._lease
    assert (False, 0) == (lease.is_open, lease.users)
    assert lease not in leases.in_use()


def test_a_forked_child_works_on_connections_of_its_own(url: str) -> None:
    """Parent and child append after a fork, and neither disturbs the other's connection."""
    with opened(url) as repository:
        repository.add_messages("s", TURN)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(10):
                    repository.add_messages("s", TURN)
                code = 0
            finally:
                os._exit(code)
        for _ in range(10):
            repository.add_messages("s", TURN)
        assert (child, 0) == os.waitpid(child, 0)
        assert 42 == repository.count_messages("s")


def test_one_asynchronous_repository_serves_loop_after_loop(url: str) -> None:
    """An asynchronous repository made from a URL has an engine for each running loop."""
    repository = chatstore.connect_async(url)

    async def turn() -> int:
        await repository.add_messages("s", TURN)
        found = await repository.count_messages("s")
        if isinstance(repository, AsyncSQLRepository):
            await repository._lease.lend_awaiting(repository._user).engine.dispose()
        return found

    assert [2, 4] == [asyncio.run(turn()), asyncio.run(turn())]
    asyncio.run(repository.close())


def test_what_a_dead_loop_left_is_in_nobodys_way(url: str) -> None:
    """What was closed in another loop than it was used in is forgotten: the next one looks at the schema itself."""
    repository = chatstore.connect_async(url)

    async def turn() -> None:
        await repository.add_messages("s", TURN)
        if isinstance(repository, AsyncSQLRepository):
            await repository._lease.lend_awaiting(repository._user).engine.dispose()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(turn())
    loop.close()
    asyncio.run(repository.close())
    lent: Any = getattr(repository, "_inner", repository)
    assert lent._lease not in leases.in_use()


# ------------------------------------------------------------------------------------------------ using


def test_using_joins_the_callers_transaction(url: str) -> None:
    """What is done inside is seen inside, commits with the caller, and vanishes with the caller's rollback."""
    engine = create_engine(url)
    try:
        with chatstore.connect(engine) as repository:
            with engine.connect() as connection:
                inside = repository.using(connection)
                inside.add_messages("s", TURN)
                assert 2 == inside.count_messages("s")
                connection.rollback()
            assert [] == repository.get_messages("s")
            with Session(engine) as session:
                repository.scope(user_id="u").using(session).add_messages("s", TURN)
                session.commit()
            assert 2 == repository.count_messages("s")
        assert checked_out(engine) == 0
    finally:
        engine.dispose()


def test_an_error_leaves_the_callers_transaction_usable(url: str) -> None:
    """Each change stands in a savepoint: after a refused one the caller goes on and commits the rest."""
    engine = create_engine(url)
    try:
        with chatstore.connect(engine) as repository, engine.begin() as connection:
            inside = repository.using(connection)
            inside.add_messages("s", [HumanMessage("one", id="1")])
            with pytest.raises(errors.MessageConflict):
                inside.add_messages("s", [HumanMessage("other", id="1"), HumanMessage("more")])
            with pytest.raises(errors.SessionExists):
                inside.create_session("s")
            inside.add_messages("s", [HumanMessage("two")])
        assert ["one", "two"] == [message.content for message in chatstore.connect(engine).get_messages("s")]
    finally:
        engine.dispose()


def test_using_works_with_asynchronous_sessions() -> None:
    """An AsyncSession is joined as an ORM Session is."""
    with servers.migrated_url("postgres") as url:

        async def run() -> tuple[int, int]:
            engine = create_async_engine(url)
            repository = chatstore.connect_async(engine)
            async with AsyncSession(engine) as session:
                await repository.using(session).add_messages("s", TURN)
                inside = await repository.using(session).count_messages("s")
                await session.rollback()
            after = await repository.count_messages("s")
            await engine.dispose()
            return inside, after

        assert (2, 0) == asyncio.run(run())


def test_a_deadlock_inside_is_marked_as_worth_repeating() -> None:
    """In a caller's transaction nothing is retried: the error says that the whole of it is worth repeating."""
    with servers.migrated_url("postgres") as url, opened(url) as repository:
        repository.add_messages("a", TURN)
        engine = create_engine(url, isolation_level="REPEATABLE READ")
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT count(*) FROM chatstore_sessions"))
                repository.add_messages("a", TURN)
                with pytest.raises(errors.StorageUnavailable) as caught:
                    chatstore.connect(engine).using(connection).add_messages("a", TURN)
        finally:
            engine.dispose()

        assert caught.value.retry_transaction


# ------------------------------------------------------------------------------------------------ schema states


def test_a_server_is_never_migrated_behind_its_back(postgres_url: str, mariadb_url: str) -> None:
    """An empty server database raises `SchemaMissing`, which ends with the command, and stays empty."""
    for url in (postgres_url, mariadb_url):
        with opened(url) as repository, pytest.raises(errors.SchemaMissing, match="run chatstore upgrade"):
            repository.get_messages("s")
        with opened(url) as repository, pytest.raises(errors.SchemaMissing):
            repository.add_messages("s", TURN)
        assert migrations.current(url) is None


def test_a_sqlite_file_is_migrated_only_if_it_is_new(sqlite_url: str) -> None:
    """A missing file is made, for its owner only; one with other tables is not touched."""
    with opened(sqlite_url) as repository:
        repository.add_messages("s", TURN)
    path = sqlite_url.removeprefix("sqlite:///")
    assert "0o600" == oct(os.stat(path).st_mode & 0o777)  # noqa: PTH116 - the mode is the point

    os.unlink(path)  # noqa: PTH108
    engine = new_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE hosts (id INTEGER)")
    engine.dispose()
    with opened(sqlite_url) as repository, pytest.raises(errors.SchemaMissing, match="upgrade"):
        repository.add_messages("s", TURN)


def test_an_older_schema_is_refused_with_the_command(url: str) -> None:
    """A database one revision back raises `SchemaOutdated`, before anything is written."""
    migrations.downgrade(url, "chatstore_0002")
    with opened(url) as repository, pytest.raises(errors.SchemaOutdated, match="run chatstore upgrade"):
        repository.add_messages("s", TURN)
    migrations.upgrade(url)


def test_a_newer_schema_that_still_fits_is_a_warning(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """In a rolling deploy the old release goes on working on the new schema, and says so once."""
    with (
        _newer(url, "ALTER TABLE chatstore_messages ADD COLUMN mood VARCHAR(10)"),
        opened(url) as repository,
        caplog.at_level(logging.WARNING, "chatstore"),
    ):
        repository.add_messages("s", TURN)
        repository.add_messages("s", TURN)
        assert 4 == repository.count_messages("s")
    assert 1 == len([record for record in caplog.records if record.name == "chatstore"])


def test_a_newer_schema_that_does_not_fit_is_refused(url: str) -> None:
    """A column we use is gone, or a new one must be filled: `SchemaTooNew`, before any write."""
    for change in (
        "ALTER TABLE chatstore_sessions RENAME COLUMN title TO headline",
        "ALTER TABLE chatstore_messages RENAME COLUMN model TO model_name",
    ):
        with (
            _newer(url, change),
            opened(url) as repository,
            pytest.raises(errors.SchemaTooNew, match="install"),
        ):
            repository.add_messages("s", TURN)


@contextmanager
def _newer(url: str, change: str) -> Iterator[None]:
    engine = new_engine(url)
    kept = [
        f"DROP VIEW IF EXISTS {name}"
        for name in ("chatstore_transcript", "chatstore_usage_daily", "chatstore_tool_calls")
    ]
    with engine.connect() as connection:
        for statement in (
            *kept,
            change,
            "UPDATE chatstore_alembic_version SET version_num = 'chatstore_9999'",
        ):
            connection.exec_driver_sql(statement)
    try:
        yield
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"UPDATE chatstore_alembic_version SET version_num = '{migrations.HEAD}'"
            )
            connection.exec_driver_sql(_undo(change))
        migrations.downgrade(url, "base")
        migrations.upgrade(url)
        engine.dispose()


def _undo(change: str) -> str:
    words = change.split()
    if words[3] == "ADD":
        return f"ALTER TABLE {words[2]} DROP COLUMN {words[5]}"
    return f"ALTER TABLE {words[2]} RENAME COLUMN {words[7]} TO {words[5]}"


# ------------------------------------------------------------------------------------------------ errors

BAD = {
    "postgresql://localhost:1/app": errors.StorageUnavailable,
    "mysql://root@localhost:1/app": errors.StorageUnavailable,
    "sqlite:////no/such/folder/chat.db": errors.StorageError,
    "sqlite:////tmp": errors.StorageError,
    "postgresql://postgres@127.0.0.1/nosuchdatabase": errors.StorageError,
    "nonsense": errors.Invalid,
    "nosuchdb://localhost/app": errors.Invalid,
    "oracle://u:hunter2@localhost/app": errors.MissingDependency,
    "sqlite:///x.db?synchronous=maybe": errors.Invalid,
}


@pytest.mark.parametrize("bad", BAD)
def test_a_wrong_url_gets_one_clear_error(bad: str) -> None:
    """Whatever is wrong with a URL: the error's class says what, its text what to do, and no password is in it."""
    with pytest.raises(BAD[bad]) as caught:
        chatstore.connect(bad).get_messages("s")

    assert ":" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_no_error_shows_what_was_said(url: str) -> None:
    """Whatever statement the database refuses, no message text is in the error that callers see, nor in its cause."""
    with opened(url) as repository:
        repository.add_messages("s", TURN)
        engine = repository._lease.lend(repository._user).engine
        with engine.connect() as connection:
            connection.exec_driver_sql("DROP VIEW IF EXISTS chatstore_transcript")
            connection.exec_driver_sql("ALTER TABLE chatstore_messages RENAME COLUMN source TO origin")
        with pytest.raises(errors.ChatstoreError) as caught:
            repository.add_messages("s", TURN)
        with engine.connect() as connection:
            connection.exec_driver_sql("ALTER TABLE chatstore_messages RENAME COLUMN origin TO source")
        migrations.downgrade(url, "base")
        migrations.upgrade(url)

    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert not isinstance(caught.value.__cause__, OperationalError)


def test_a_read_only_file_can_be_read_and_says_why_not_more(sqlite_url: str) -> None:
    """A read-only database answers readers, and tells writers that it is read-only."""
    with opened(sqlite_url) as repository:
        repository.add_messages("s", TURN)
    with opened(f"sqlite:///file:{sqlite_url.removeprefix('sqlite:///')}?mode=ro&uri=true") as repository:
        assert 2 == len(repository.get_messages("s"))
        with pytest.raises(errors.StorageError, match="read-only"):
            repository.add_messages("s", TURN)


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_there(sqlite_url: str) -> None:
    """A database that cannot grow refuses the message, names the disk, and keeps what was stored."""
    with opened(sqlite_url) as repository:
        repository.add_messages("s", TURN)
        with Lent(
            repository._lease.lend(repository._user).engine
        ) as connection:  # the one that the append will get
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(errors.StorageError, match="full"):
            repository.add_messages("s", [HumanMessage("x" * 1_000_000)])
        assert 2 == repository.count_messages("s")


def test_no_function_of_the_core_ends_a_transaction() -> None:
    """Who lends a connection ends its transaction: the operations themselves never do."""
    names = {name for function in vars(core).values() if callable(function) for name in _names(function)}
    assert set() == names & {"commit", "rollback", "begin", "begin_nested"}


def _names(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return () if code is None else code.co_names
