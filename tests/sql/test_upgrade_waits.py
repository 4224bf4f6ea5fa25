"""An upgrade that meets a lock: it says for whom it waits, gives up in time, and holds no application up meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import alembic.config
import pytest
from sqlalchemy import make_url

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import migrations
from chatstore.errors import StorageUnavailable
from tests import databases, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Seconds that the upgrade may wait, that giving up may take on top of it, and that an application is held up at most.
WAIT, MARGIN, HELD_UP = 3.0, 3.0, 1.0
OURS = "UPDATE chatstore_messages SET content = content WHERE session_id = 's' AND position = 1"
THEIRS = "UPDATE chatstore_messages SET content = content WHERE session_id = 's' AND position = 2"
SERVERS = [
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]


@contextlib.contextmanager
def outdated(kind: str) -> Iterator[str]:
    """Give the URL of a database with two messages, at the first revision."""
    with servers.fresh_database(kind) as url:
        migrations.upgrade(url)
        with chatstore.connect(url) as repository:
            repository.add_messages("s", [HumanMessage("1"), HumanMessage("2")])
        migrations.downgrade(url, "chatstore_0001")
        yield url


@contextlib.contextmanager
def long_transaction(url: str) -> Iterator[str]:
    """Hold what an application holds in a transaction that does not end; give what names it."""
    named = (
        make_url(url).update_query_dict({"application_name": "forgotten"})
        if "postgres" in url
        else make_url(url)
    )
    with databases.connection(named.render_as_string(hide_password=False)) as cursor:
        cursor.execute("SELECT pg_backend_pid()" if "postgres" in url else "SELECT connection_id()")
        number = cursor.fetchone()[0]
        cursor.execute("BEGIN")
        cursor.execute(OURS)
        try:
            yield f"pid {number} (forgotten" if "postgres" in url else f"connection {number} ("
        finally:
            cursor.execute("ROLLBACK")


@contextlib.contextmanager
def an_application(url: str) -> Iterator[list[float]]:
    """Write to another row all the time, and give how long each statement took, in seconds."""
    took: list[float] = []
    over = threading.Event()

    def work() -> None:
        with databases.connection(url) as cursor:
            while not over.is_set():
                began = time.monotonic()
                cursor.execute(THEIRS)
                took.append(time.monotonic() - began)
                over.wait(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("kind", SERVERS)
def test_it_gives_up_in_time_and_holds_nobody_up(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who holds the lock is named, in the log and in the error; afterwards the same upgrade succeeds."""
    caplog.set_level(logging.WARNING, "chatstore")
    with outdated(kind) as url:
        with long_transaction(url) as who, an_application(url) as took:
            began = time.monotonic()
            with pytest.raises(StorageUnavailable, match="end that transaction") as caught:
                migrations.upgrade(url, wait=WAIT)
            waited = time.monotonic() - began
        assert who in str(caught.value)
        assert any(who in line for line in caplog.messages), caplog.messages
        assert WAIT <= waited < WAIT + MARGIN
        assert len(took) > 10
        assert max(took) < HELD_UP, sorted(took)[-5:]
        assert migrations.HEAD == migrations.upgrade(url).after
        assert [] == migrations.check(url)


@pytest.mark.parametrize("kind", SERVERS)
def test_it_goes_on_when_the_lock_is_gone(kind: str) -> None:
    """What holds the lock ends while it is waited for: the upgrade succeeds without being run again."""
    outcome: list[Any] = []
    with outdated(kind) as url:
        with long_transaction(url):
            thread = threading.Thread(target=lambda: outcome.append(migrations.upgrade(url, wait=60)))
            thread.start()
            thread.join(2)
            assert thread.is_alive()
        thread.join(60)
        assert ("chatstore_0001", migrations.HEAD) in outcome


@pytest.mark.postgres
def test_in_a_callers_transaction_it_can_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """A host's env.py runs it in a transaction of its own: that stays usable, and its settings are as before."""
    from sqlalchemy import create_engine, text

    with outdated("postgres") as url, contextlib.ExitStack() as stack:
        engine = create_engine(url)
        stack.callback(engine.dispose)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE host (id integer)"))
            with long_transaction(url), pytest.raises(StorageUnavailable, match="forgotten"):
                migrations.upgrade(connection, wait=1)
            assert "0" == connection.scalar(text("SHOW lock_timeout"))
            assert migrations.HEAD == migrations.upgrade(connection).after
            assert "0" == connection.scalar(text("SHOW lock_timeout"))
        assert migrations.HEAD == migrations.current(url)


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """Take back what Alembic's command does to logging: its handler writes to a stream that ends with the test."""
    loggers = [logging.getLogger(name) for name in (None, "alembic", "sqlalchemy")]
    before = [(one.level, one.handlers[:]) for one in loggers]
    yield
    for one, (level, handlers) in zip(loggers, before, strict=True):
        one.setLevel(level)
        one.handlers[:] = handlers


@pytest.mark.usefixtures("logging_kept")
@pytest.mark.parametrize("kind", SERVERS)
def test_alembics_own_command(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``alembic -x wait=2 upgrade head`` waits as long, holds nobody up, and says the same."""
    (tmp_path / "alembic.ini").write_text(migrations.alembic_ini(), encoding="utf-8")
    with outdated(kind) as url:
        monkeypatch.setenv("CHATSTORE_URL", url)
        with long_transaction(url) as who, an_application(url) as took, pytest.raises(SystemExit):
            alembic.config.main(["-c", str(tmp_path / "alembic.ini"), "-x", "wait=2", "upgrade", "head"])
        assert who in capsys.readouterr().err
        assert max(took) < HELD_UP
        alembic.config.main(["-c", str(tmp_path / "alembic.ini"), "upgrade", "head"])
        assert migrations.HEAD == migrations.current(url)
