"""Several processes upgrade one database at once: all succeed, one of them does it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, func, select, text

from chatstore.backends.sql import migrations
from chatstore.backends.sql.dialects import dialect_for, migrating, postgresql
from chatstore.backends.sql.dialects.migrating import in_autocommit
from chatstore.errors import SchemaError, StorageUnavailable
from tests import servers
from tests.sql.upgrading import race

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

HEAD = migrations.HEAD


@pytest.mark.wide
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_eight_processes_upgrade_one_database(kind: str) -> None:
    """Two rounds of eight: every process succeeds, exactly one found nothing there, all end at the head."""
    for _ in range(2):
        with servers.fresh_database(kind) as url:
            answers = race(url)
            assert sorted(answers) == sorted([f"None {HEAD}"] + [f"{HEAD} {HEAD}"] * 7)
            assert migrations.check(url) == []


def test_a_waiter_holds_no_transaction(postgres_url: str, new_engine: Callable[..., Engine]) -> None:
    """Who waits for the lock has no snapshot: an index that is built concurrently need not wait for it."""
    engine = new_engine(postgres_url, isolation_level="AUTOCOMMIT")
    outcome: list[object] = []
    waiter = threading.Thread(target=lambda: outcome.append(migrations.upgrade(postgres_url)))
    asked = threading.Event()
    with engine.connect() as holder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrating, "_POLL_SECONDS", 0.001)
        patch.setattr(postgresql, "func", _Telling(asked))
        holder.execute(select(func.pg_advisory_lock(postgresql._LOCK)))
        holder.execute(text("CREATE TABLE host (id integer)"))
        waiter.start()
        assert asked.wait(30)
        holder.execute(text("SET statement_timeout = '20s'"))
        holder.execute(text("CREATE INDEX CONCURRENTLY ix_host ON host (id)"))
        assert outcome == []
        holder.execute(select(func.pg_advisory_unlock(postgresql._LOCK)))
        waiter.join(30)
    assert outcome == [(None, HEAD)]


class _Telling:
    """SQL functions that tell when one is asked for the second time: the first answer was no."""

    def __init__(self, asked: threading.Event) -> None:
        self._asked, self._count = asked, 0

    def __getattr__(self, name: str) -> Any:
        self._count += 1
        if self._count > 1:
            self._asked.set()
        return getattr(func, name)


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_a_waiter_gives_up_with_advice(
    kind: str, monkeypatch: pytest.MonkeyPatch, new_engine: Callable[..., Engine]
) -> None:
    """Somebody else's migration that does not end is one error with advice, not an endless wait."""
    monkeypatch.setattr(migrating, "WAIT_SECONDS", 0.2)
    with servers.fresh_database(kind) as url:
        engine = new_engine(url, **({"connect_args": {"timeout": 0}} if kind == "sqlite" else {}))
        with (
            engine.connect() as holder,
            dialect_for(holder.dialect.name).alone(holder, None, migrating.Waiting()),
        ):
            other = new_engine(url, **({"connect_args": {"timeout": 0.1}} if kind == "sqlite" else {}))
            with (
                other.connect() as connection,
                pytest.raises(StorageUnavailable, match="wait for it or end it"),
            ):
                migrations.upgrade(connection)
        assert migrations.upgrade(url) == (None, HEAD)


def test_a_connection_of_ones_own(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """On a connection that has begun nothing the upgrade is committed; its settings are as before."""
    engine = new_engine(any_url)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            connection.commit()
        assert migrations.upgrade(connection) == (None, HEAD)
        assert not connection.in_transaction()
        connection.rollback()
        assert migrations.current(connection) == HEAD
        if engine.dialect.name == "sqlite":
            switches = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("foreign_keys", "legacy_alter_table")
            ]
            assert switches == [1, 0]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_callers_transaction_is_the_callers(kind: str, new_engine: Callable[..., Engine]) -> None:
    """In a transaction the caller's rollback takes the upgrade back, and its commit keeps it."""
    with servers.fresh_database(kind) as url:
        engine = new_engine(url)
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE host (id INTEGER)"))
            connection.execute(text("INSERT INTO host VALUES (1)"))
            assert migrations.upgrade(connection) == (None, HEAD)
            assert connection.in_transaction()
            connection.rollback()
            assert migrations.current(connection) is None
            connection.rollback()
            with connection.begin():
                migrations.upgrade(connection)
        assert migrations.current(url) == HEAD


@pytest.mark.mariadb
def test_a_callers_old_snapshot_does_not_deceive(mariadb_url: str, new_engine: Callable[..., Engine]) -> None:
    """On MariaDB a transaction that read before somebody else's upgrade sees that it is done."""
    engine = new_engine(mariadb_url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE host (id INTEGER) ENGINE=InnoDB"))
        migrations.upgrade(mariadb_url, "chatstore_0001")
        connection.execute(text("SELECT * FROM host")).all()
        connection.execute(text("SELECT * FROM chatstore_alembic_version")).all()
        migrations.upgrade(mariadb_url)
        migrations.upgrade(connection)
        assert migrations.current(connection) == HEAD
    assert migrations.check(mariadb_url) == []


def test_sqlite_refuses_to_alter_tables_with_foreign_keys_on(
    sqlite_url: str, new_engine: Callable[..., Engine]
) -> None:
    """In a caller's transaction foreign keys stay on, and a copied table would lose its children."""
    migrations.upgrade(sqlite_url, "chatstore_0001")
    engine = new_engine(sqlite_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        with pytest.raises(SchemaError, match="has not begun one"):
            migrations.upgrade(connection)


@pytest.mark.postgres
def test_autocommit_is_left_for_an_upgrade(postgres_url: str, new_engine: Callable[..., Engine]) -> None:
    """Without a transaction there is no lock and no way back: such a connection has one meanwhile."""
    engine = new_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert migrations.upgrade(connection) == (None, HEAD)
        assert in_autocommit(connection)
    assert migrations.current(postgres_url) == HEAD


def test_a_listener_that_begins_too_early(sqlite_url: str, new_engine: Callable[..., Engine]) -> None:
    """A host whose engine begins every transaction itself, as SQLAlchemy documents it, is upgraded too."""
    engine = new_engine(sqlite_url)

    @event.listens_for(engine, "connect")
    def connected(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]
        connection.execute("PRAGMA foreign_keys=ON")  # type: ignore[attr-defined]

    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with engine.connect() as connection:
        assert migrations.upgrade(connection) == (None, HEAD)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
