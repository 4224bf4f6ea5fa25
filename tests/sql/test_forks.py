"""SQLite and forks: no open connection of ours crosses one, and where one had to, the child says so."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import weakref
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, make_url

import chatstore
from chatstore import HumanMessage, errors, forks
from chatstore.backends.sql.dialects import waiting
from chatstore.backends.sql.lending import Lent
from chatstore.backends.sql.visits import connected
from chatstore.forks import this_thread
from tests import servers
from tests.forked import in_child, until_a_fork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from chatstore.backends.sql.repository import SQLRepository

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
X = [HumanMessage("x")]


@pytest.fixture
def url() -> Iterator[str]:
    """Give a migrated, empty SQLite file."""
    with servers.migrated_url("sqlite") as found:
        yield found


def path_of(url: str) -> Path:
    """Return the file of a URL."""
    return Path(str(make_url(url).database))


def descriptors(url: str) -> int:
    """Count the descriptors that this process has of the file."""
    wanted, found = path_of(url).stat(), 0
    for descriptor in range(3, 256):
        try:
            found += os.path.samestat(wanted, os.fstat(descriptor))
        except OSError:
            continue
    return found


def connect(url: str) -> SQLRepository:
    """Return a repository that has been used."""
    repository: SQLRepository = chatstore.connect(url)  # type: ignore[assignment]
    repository.add_messages("s", X)
    return repository


def test_what_a_child_stores_stays_when_the_parent_closes(url: str) -> None:
    """The child writes, the parent closes, the child writes on: all of it is there."""
    repository = connect(url)
    half, closed = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for number in range(20):
                repository.add_messages("s", [HumanMessage(str(number))])
                if number == 10:
                    os.write(half[1], b".")
                    os.read(closed[0], 1)
        finally:
            os._exit(0)
    os.close(half[1])
    os.read(half[0], 1)
    repository.close()
    os.write(closed[1], b".")
    os.waitpid(child, 0)
    for descriptor in (half[0], *closed):
        os.close(descriptor)
    with chatstore.connect(url) as other:
        assert 21 == other.count_messages("s")


def test_no_descriptor_of_the_file_crosses(url: str) -> None:
    """Idle connections are closed before a fork, also one that its pool has lost; both sides open anew."""
    repository = connect(url)
    lost = repository._lease.lend(repository._user).engine.raw_connection()
    lost.detach()  # its pool knows nothing of it any more
    assert descriptors(url) > 0
    assert "0" == in_child(lambda: descriptors(url))
    assert "1" == in_child(lambda: repository.add_messages("s", X) and repository.count_messages("s") - 1)
    repository.add_messages("s", X)
    assert 3 == repository.count_messages("s")
    repository.close()


def test_a_child_refuses_a_file_whose_connection_it_was_given(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where a call did not end in time, the child refuses the file by any name, and no other; the parent works on."""
    repository = connect(url)
    link, copy = tmp_path / "link.db", tmp_path / "copy.db"
    link.symlink_to(path_of(url))
    inside, end = Event(), Event()

    def hang() -> None:
        with this_thread.undivided, repository._lease.lend(repository._user).engine.connect():
            inside.set()
            end.wait(30)

    thread = Thread(target=hang)
    thread.start()
    assert inside.wait(30)
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    refused = f"StorageError: this process was forked while {path_of(url)} was in use"
    assert refused in in_child(lambda: repository.add_messages("s", X))
    linked = in_child(lambda: chatstore.connect(f"sqlite:///{link}").count_messages("s"))
    assert f"StorageError: this process was forked while {link} was in use" in linked
    assert "1" == in_child(lambda: len(connect(f"sqlite:///{copy}").get_messages("s")))
    assert "1" == in_child(lambda: len(connect("sqlite://").get_messages("s")))
    end.set()
    thread.join()
    repository.add_messages("s", X)
    assert "2" == in_child(lambda: repository.count_messages("s"))
    repository.close()


def test_a_file_in_the_place_of_one_that_crossed_is_another(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is refused is the file, not its name."""
    repository = connect(url)
    repository.close()
    shutil.copy(path_of(url), tmp_path / "copy.db")

    def replaced() -> int:
        (tmp_path / "copy.db").replace(path_of(url))
        return repository.count_messages("s")

    held = repository._lease.lend(repository._user).engine.connect()
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    with this_thread.undivided, held:
        assert "1" == in_child(replaced)
    repository.close()


def test_a_fork_waits_for_a_migration(url: str) -> None:
    """Another thread migrates a file: a fork waits until that is over, and parent and child work on it."""
    inside = Event()

    def migrate() -> None:
        with connected(url, create=True):
            until_a_fork(inside)

    thread = Thread(target=migrate)
    thread.start()
    assert inside.wait(30)
    assert "1" == in_child(lambda: connect(url).count_messages("s"))
    thread.join()


def test_a_call_of_another_thread_ends_before_a_fork(url: str) -> None:
    """Threads that append all the time hold no fork up, and each child stores what it is asked to."""
    repository, going, ends = connect(url), Event(), Event()
    stored = [0, 0]

    def append(number: int) -> None:
        while not ends.is_set():
            stored[number] += len(repository.add_messages(f"t{number}", X))
            going.set()

    threads = [Thread(target=append, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    assert going.wait(30)
    said = [in_child(lambda: len(repository.add_messages("s", X))) for _ in range(5)]
    ends.set()
    for thread in threads:
        thread.join()
    assert ["1"] * 5 == said
    assert [6, *stored] == [repository.count_messages(name) for name in ("s", "t0", "t1")]
    repository.close()


def test_a_child_is_told_of_an_engine_that_was_passed_in(url: str) -> None:
    """An engine of the caller's that brings its connections to the child is warned of; a disposed one is not."""
    engine = create_engine(url)
    repository = chatstore.connect(engine)
    repository.add_messages("s", X)
    told = list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    with closing(handler):
        logging.getLogger("chatstore").addHandler(handler)
        warned = in_child(lambda: told)
        engine.dispose()
        quiet = in_child(lambda: told)
        logging.getLogger("chatstore").removeHandler(handler)
    assert f"has connections to {path_of(url)} from before this process was forked" in warned
    assert "call engine.dispose() before the fork" in warned
    assert "[]" == quiet
    engine.dispose()


def test_an_engine_that_was_in_use_before_has_crossed_nothing(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that used its engine before it passed it in is not told of a fork that never was."""
    engine = create_engine(url)
    with engine.connect():
        pass
    with caplog.at_level(logging.WARNING):
        assert 0 == chatstore.connect(engine).count_messages("s")
    assert [] == caplog.records
    engine.dispose()


@pytest.fixture(params=["postgres", "mariadb"])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a migrated, empty database of a server."""
    with servers.migrated_url(request.param) as found:
        yield found


def test_a_child_neither_uses_nor_collects_connections_to_a_server(server_url: str) -> None:
    """The child has a connection of its own; the parent's stays whole there, since collecting it might end it."""
    repository = connect(server_url)
    with Lent(repository._lease.lend(repository._user).engine) as lent:
        connection: Any = weakref.ref(lent.connection.driver_connection)

    def kept() -> bool:
        repository.add_messages("s", X)
        gc.collect()
        return connection() is not None and _backend(repository) != ours

    ours = _backend(repository)
    assert "True" == in_child(kept)
    assert ours == _backend(repository)
    assert 2 == repository.count_messages("s")
    repository.close()


def _backend(repository: SQLRepository) -> int:
    """Return the server's number of the connection that the pool lends."""
    asked = (
        "pg_backend_pid"
        if repository._lease.lend(repository._user).engine.dialect.name == "postgresql"
        else "connection_id"
    )
    with Lent(repository._lease.lend(repository._user).engine) as connection:
        return int(connection.exec_driver_sql(f"SELECT {asked}()").scalar_one())


def test_a_child_looks_at_the_server_by_itself(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy looks at a server over the first connection; a child does not build on another thread's half of it."""
    repository = chatstore.connect(server_url)
    dialect = repository._lease.lend(repository._user).engine.dialect  # type: ignore[attr-defined]
    inside, look = Event(), dialect.initialize

    def slowly(connection: Connection) -> None:
        until_a_fork(inside)
        look(connection)

    monkeypatch.setattr(dialect, "initialize", slowly)
    thread = Thread(target=repository.add_messages, args=("s", X))
    thread.start()
    assert inside.wait(30)
    assert "1" == in_child(lambda: len(repository.add_messages("child's", X)))
    thread.join()
    assert [1, 1] == [repository.count_messages(name) for name in ("s", "child's")]
    repository.close()


def test_a_child_begins_without_what_a_memory_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where connections of one process share a database in memory by its name."""
    monkeypatch.setattr(forks, "PATIENCE", 1)
    repository = connect("sqlite:///file:shared?mode=memory&cache=shared&uri=true")
    assert "1" == in_child(lambda: repository.add_messages("s", X) and repository.count_messages("s"))
    assert 1 == repository.count_messages("s")
    repository.close()


def test_what_crossed_is_left_alone_when_the_child_forks(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was given a connection never closes it, not even to fork: that would touch the file."""
    repository = connect(url)

    def child() -> str:
        monkeypatch.undo()
        with pytest.raises(errors.StorageError, match="was forked while"):
            repository.count_messages("s")
        return in_child(lambda: descriptors(url))

    monkeypatch.setattr(forks, "_closing", [])  # as where something forks that does not run Python's handlers
    assert "1" == in_child(child)
    repository.close()


def test_a_fork_waits_for_a_connection_that_is_being_made(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers make TLS's contexts then, whose locks nobody would give back in a child."""
    repository, made = chatstore.connect(server_url), list[str]()
    inside, really = Event(), waiting.connect

    def slowly(*args: Any, **options: Any) -> Any:
        until_a_fork(inside)
        made.append("connected")
        return really(*args, **options)

    monkeypatch.setattr(waiting, "connect", slowly)
    thread = Thread(target=repository.add_messages, args=("s", X))
    thread.start()
    assert inside.wait(30)
    assert "['connected']" == in_child(lambda: made)
    monkeypatch.undo()
    thread.join()
    assert 1 == repository.count_messages("s")
    repository.close()


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
