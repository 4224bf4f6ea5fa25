"""Behind a pooler in transaction mode: nothing is prepared by name, nothing fails, nobody's rows are touched."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql.dialects import poolers, postgresql
from chatstore.backends.sql.migrations import HEAD
from chatstore.cli import main
from tests import databases, embedded, pooled, servers
from tests.proxy import FaultProxy
from tests.sql.upgrading import race

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres
#: A driver, and whether it awaits.
WAYS = [("psycopg", False), ("psycopg", True), ("asyncpg", True)]
NAMES = ["psycopg", "psycopg awaited", "asyncpg"]


@pytest.fixture
def direct() -> Iterator[str]:
    """Give the URL of a migrated database, straight to its server."""
    with servers.migrated_url("postgres") as url:
        yield url


@pytest.fixture
def behind(direct: str) -> Iterator[str]:
    """Give the URL of the same database behind a pooler."""
    with servers.pooled(direct) as url:
        yield url


def prepared(url: str, driver: str, *, awaits: bool) -> int:
    """Append and read often on one connection; return how many statements it has prepared by name then."""
    count = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%chatstore%'")
    if not awaits:
        with chatstore.connect(url) as repository:
            for number in range(10):
                repository.add_messages("s", [HumanMessage(str(number))])
            with repository._lease.lend(repository._user).engine.connect() as connection:  # type: ignore[attr-defined]
                return int(connection.execute(count).scalar_one())

    async def work() -> int:
        async with chatstore.connect_async(pooled.through(url, driver)) as repository:
            for number in range(10):
                await repository.add_messages("s", [HumanMessage(str(number))])
            single = repository._lease.lend_awaiting(repository._user).single  # type: ignore[attr-defined]
            async with single.connect() as connection:
                return int((await connection.execute(count)).scalar_one())

    return asyncio.run(work())


# ------------------------------------------------------------------------------------------------ what is known


@pytest.mark.parametrize(("driver", "awaits"), WAYS, ids=NAMES)
def test_a_direct_connection_prepares_by_name(direct: str, driver: str, awaits: bool) -> None:
    """Where the server sees the very socket we hold, what is repeated is planned once."""
    assert prepared(direct, driver, awaits=awaits) > 0


@pytest.mark.parametrize(("driver", "awaits"), WAYS, ids=NAMES)
def test_a_direct_connection_by_a_socket_file_prepares_by_name(
    direct: str, driver: str, awaits: bool
) -> None:
    """Where the server's parent listens at the socket file, too."""
    with databases.connection(direct) as cursor:
        cursor.execute("SHOW unix_socket_directories")
        folder = str(cursor.fetchone()[0]).split(",")[0].strip()
    at = make_url(direct).set(host=None, port=None)
    query = {"host": folder, "port": str(make_url(direct).port or 5432)}

    assert prepared(at.update_query_dict(query).render_as_string(), driver, awaits=awaits) > 0


@pytest.mark.parametrize(("driver", "awaits"), WAYS, ids=NAMES)
def test_behind_a_pooler_nothing_is_prepared_by_name(behind: str, driver: str, awaits: bool) -> None:
    """A name would be unknown, taken, or somebody else's on the next server connection."""
    assert 0 == prepared(behind, driver, awaits=awaits)


@pytest.mark.parametrize(("driver", "awaits"), WAYS, ids=NAMES)
def test_what_cannot_be_known_counts_as_a_pooler(direct: str, driver: str, awaits: bool) -> None:
    """Something in between that passes everything on, the number of the server process too, could be one."""
    at = make_url(direct)
    with FaultProxy(at.host or "127.0.0.1", at.port or 5432) as proxy:
        there = at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)

        assert 0 == prepared(there, driver, awaits=awaits)


def test_a_server_that_does_not_answer_the_question_is_used_all_the_same(
    direct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other databases speak PostgreSQL's protocol and know less: there nothing is prepared, and nothing fails."""
    monkeypatch.setattr(poolers, "_ASK", "SELECT no_such_function()")

    assert 0 == prepared(direct, "psycopg", awaits=False)


@pytest.mark.parametrize(("driver", "awaits"), WAYS, ids=NAMES)
def test_an_interrupt_while_asking_leaves_no_connection(
    direct: str, driver: str, awaits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that nobody has been lent yet is closed by who made it."""

    class Interrupted(BaseException):
        pass

    def interrupted(_made: object) -> Any:
        raise Interrupted

    monkeypatch.setattr(poolers, "_asked", interrupted)

    with pytest.raises(Interrupted):
        prepared(direct, driver, awaits=awaits)
    embedded.wait_until(lambda: databases.open_connections(direct) == 0, 10, "the connection is closed")


# ------------------------------------------------------------------------------------------------ what works


@pytest.mark.parametrize(("driver", "awaits"), WAYS, ids=NAMES)
def test_one_application_after_the_other(behind: str, driver: str, awaits: bool) -> None:
    """What the first leaves on the server connections hinders no later one: 0 calls of 160 fail, each time."""
    there = pooled.through(behind, driver)
    for _ in range(3):
        seen = asyncio.run(pooled.abusy(there, 8, 5)) if awaits else pooled.busy(there, 8, 5)

        assert Counter(calls=8 * 5 * pooled.CALLS) == seen


def test_two_applications_touch_only_their_own_rows(behind: str) -> None:
    """Deletes and truncates of two applications, whose server connections change all the time, hit what they name."""
    assert Counter(calls=200) == pooled.take_turns(behind, 200, random.Random(7))


def test_migrations_go_through_a_pooler(postgres_url: str) -> None:
    """`chatstore upgrade` and `downgrade` work; several at once wait, because their lock is the transaction's."""
    with servers.pooled(postgres_url) as url:
        up = _typed("upgrade", "--url", url)
        down = _typed("downgrade", "base", "--yes", "--url", url)
        answers = race(url, 4)

    assert (None, HEAD, HEAD, None) == (up["before"], up["after"], down["before"], down["after"])
    assert [f"None {HEAD}", *[f"{HEAD} {HEAD}"] * 3] == sorted(answers)


def _typed(*words: str) -> Any:
    done = CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------------------ planted faults


def test_names_are_what_fails(behind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls with statements prepared by name fail, so that the tests above can."""
    by_name = {"prepare_threshold": 0}
    monkeypatch.setitem(poolers.UNNAMED, "psycopg", by_name)
    monkeypatch.setitem(postgresql.CONNECT_ARGS, "psycopg", by_name)

    assert pooled.take_turns(behind, 40, random.Random(7))["failed"] > 0
    assert pooled.busy(behind, 8, 5)["failed"] > 0


def test_rows_that_a_call_did_not_name_are_seen(direct: str) -> None:
    """A delete that runs as a truncate, as somebody else's statement would, is counted as wrong."""
    application = pooled.Application(direct, "s", random.Random(7))
    repository = application.repository
    repository.delete_message = lambda session, key: repository.truncate(session, after=key)  # type: ignore[method-assign,assignment,arg-type]
    for _ in range(40):
        application.call()
    repository.close()

    assert application.seen["wrong"] > 0


# ------------------------------------------------------------------------------------------------ engines passed in


@pytest.mark.parametrize("asynchronous", [False, True], ids=["psycopg", "asyncpg"])
@pytest.mark.parametrize("told", [False, True], ids=["as it comes", "told to prepare nothing"])
@pytest.mark.parametrize("between", [False, True], ids=["direct", "behind a pooler"])
def test_an_engine_that_prepares_behind_a_pooler_is_warned_of(
    direct: str, between: bool, told: bool, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An engine stays as it was passed in; the first call says what to pass, where it is seen to matter."""
    driver = "asyncpg" if asynchronous else "psycopg"
    options = {"connect_args": poolers.UNNAMED[driver]} if told else {}
    with servers.pooled(direct) as behind, caplog.at_level(logging.WARNING, "chatstore"):
        url = pooled.through(behind if between else direct, driver)
        if asynchronous:
            asyncio.run(_count_twice(url, options))
        else:
            engine = create_engine(url, **options)
            chatstore.connect(engine).count_messages("s")
            chatstore.connect(engine).count_messages("s")
            engine.dispose()

    said = [record.getMessage() for record in caplog.records]
    assert int(between and not told) == len(said)
    assert all(name in one for one in said for name in poolers.UNNAMED[driver])


async def _count_twice(url: str, options: Any) -> None:
    engine = create_async_engine(url, **options)
    try:
        for _ in range(2):
            # A name may be taken already; the warning comes first.
            await asyncio.gather(chatstore.connect_async(engine).count_messages("s"), return_exceptions=True)
    finally:
        await engine.dispose()
