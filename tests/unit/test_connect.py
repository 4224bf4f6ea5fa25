"""`connect` and `connect_async`: which URL means what, nothing before the first use, and errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

import chatstore
from chatstore import HumanMessage, connect, connect_async
from chatstore.aio import AsyncRepository
from chatstore.errors import ChatstoreError, Invalid, MissingDependency
from chatstore.histories import PostgresChatMessageHistory
from chatstore.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

SAID = [HumanMessage(content="x")]
URLS = {
    "memory:": "MemoryRepository",
    "file:chats": "FileRepository",
    "file:///nowhere/at/all": "FileRepository",
    "sqlite://": "SQLRepository",
    "sqlite:///chat.db": "SQLRepository",
    "sqlite:////nowhere/at/all/chat.db": "SQLRepository",
    "postgresql://app:secret@nowhere.invalid/app": "SQLRepository",
    "postgres://app:secret@nowhere.invalid/app": "SQLRepository",
    "postgresql+psycopg2://nowhere.invalid/app": "SQLRepository",
    "mysql://app:secret@nowhere.invalid/app": "SQLRepository",
    "mariadb://app:secret@nowhere.invalid/app": "SQLRepository",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any look-up of a host and any socket fail the test."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("connecting must not touch the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("url", URLS)
def test_a_url_means_a_backend_and_does_nothing(here: Path, url: str) -> None:
    """Connecting makes a repository and nothing else: no file, no folder, no look at the network."""
    with connect(url) as repository:
        assert URLS[url] == type(repository).__name__
        assert isinstance(repository, Repository)
    repository = connect(make_url(url)) if "sql" in url else connect(url)
    repository.close()
    assert [] == os.listdir(here)  # noqa: PTH208 - names are enough


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("url", [url for url in URLS if "psycopg2" not in url])
def test_the_same_url_awaited(here: Path, url: str) -> None:
    """The same URLs do for `connect_async`, whatever the driver in them is for."""

    async def talk() -> AsyncRepository:
        async with connect_async(url) as repository:
            return repository

    assert isinstance(asyncio.run(talk()), AsyncRepository)
    assert [] == os.listdir(here)  # noqa: PTH208


def test_one_program_with_another_url(here: Path) -> None:
    """Only the URL changes: the same lines run on memory, on files and on a database."""
    for url in ("memory:", "file:chats", f"file:{here}/more", "sqlite:///chat.db", "sqlite://"):
        with connect(url) as repository:
            repository.add_messages("s", SAID)
            assert SAID == repository.get_messages("s")
            assert ["s"] == [session.session_id for session in repository.list_sessions().items]


def test_none_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL, `CHATSTORE_URL` is read at the call."""
    monkeypatch.setenv("CHATSTORE_URL", "memory:")
    with connect() as repository:
        assert "MemoryRepository" == type(repository).__name__
    assert "AsyncMemoryRepository" == type(connect_async(None)).__name__


@pytest.mark.parametrize("made", [connect, connect_async])
@pytest.mark.parametrize("value", [None, ""])
def test_no_url_is_an_error(
    made: Callable[[], object], value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no fallback: without a URL, or with an empty one, the error names what to set."""
    if value is not None:
        monkeypatch.setenv("CHATSTORE_URL", value)
    with pytest.raises(Invalid, match="CHATSTORE_URL"):
        made()


@pytest.mark.parametrize(
    "target",
    ["nonsense", "://", "sqlite", "postgresql", "nosuch://user:hunter2@host/db", "sqlite+nosuch:///x.db", "file:",
     "http://user:hunter2@host/", "postgresql://user:hunter2@host:port/db", 5, b"memory:", object(), ["memory:"],
     Path("chat.db")],
    ids=lambda target: target if isinstance(target, str) else type(target).__name__,
)  # fmt: skip
@pytest.mark.parametrize("made", [connect, connect_async])
def test_a_wrong_target_says_what_to_do(made: Callable[[Any], Any], target: Any, here: Path) -> None:
    """Whatever is no URL and no engine raises one clear error, at the latest at the first use, without the password."""
    with pytest.raises(ChatstoreError) as caught:
        _used(made(target))

    assert "hunter2" not in str(caught.value) + repr(caught.value)
    assert ": " in str(caught.value)
    assert [] == os.listdir(here)  # noqa: PTH208


def _used(repository: Any) -> None:
    """Use a repository of either kind for the first time."""
    answer = repository.get_messages("s")
    if not isinstance(repository, Repository):
        asyncio.run(answer)


@pytest.mark.parametrize(
    ("module", "url", "package"),
    [
        ("psycopg", "postgresql://host/db", r"'psycopg\[binary\]>="),
        ("pymysql", "mysql://host/db", "'PyMySQL>="),
    ],
)
def test_a_missing_driver_names_the_command(
    module: str, url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is not installed raises `MissingDependency` with the pip command."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingDependency, match=f"pip install {package}"):
        _used(connect(url))


def test_memory_is_private() -> None:
    """Each `memory:` repository, and each SQLite database in memory, has a store of its own."""
    for url in ("memory:", "sqlite://"):
        with connect(url) as one, connect(url) as two:
            one.add_messages("s", SAID)
            assert [] == two.get_messages("s")


def test_repositories_on_one_url_share_an_engine(here: Path) -> None:
    """They share engine and pool; closing one leaves the others working, and the URL can be connected again."""
    one, two = connect("sqlite:///chat.db"), connect("sqlite:///chat.db")
    one.add_messages("s", SAID)
    one.close()
    one.close()

    assert SAID == two.get_messages("s")
    two.close()
    with connect("sqlite:///chat.db") as three:
        assert SAID == three.get_messages("s")
    assert (here / "chat.db").exists()


def test_an_engine_is_used_and_left_open(here: Path) -> None:
    """A repository over an engine that was passed in never closes it, synchronous or in threads."""
    engine = create_engine("sqlite:///chat.db")
    with connect(engine) as repository:
        repository.add_messages("s", SAID)
        assert 0 == engine.pool.checkedout()  # type: ignore[attr-defined]

    async def read() -> Any:
        async with connect_async(engine) as other:
            return await other.get_messages("s")

    assert SAID == asyncio.run(read())
    pool = engine.pool
    with engine.connect() as connection:
        assert 1 == connection.execute(text("SELECT count(*) FROM chatstore_messages")).scalar()
    assert engine.pool is pool
    engine.dispose()
    assert (here / "chat.db").exists()


@pytest.mark.usefixtures("here")
def test_an_asynchronous_engine_is_awaited() -> None:
    """`connect` refuses an AsyncEngine and says where it belongs; `connect_async` takes it and leaves it open."""

    async def talk() -> Any:
        engine = create_async_engine("sqlite+aiosqlite:///chat.db")
        with pytest.raises(Invalid, match="connect_async"):
            connect(engine)
        async with connect_async(engine) as repository:
            await repository.add_messages("s", SAID)
        async with engine.connect() as connection:
            count = (await connection.execute(text("SELECT count(*) FROM chatstore_messages"))).scalar()
        await engine.dispose()
        return count

    assert 1 == asyncio.run(talk())


@pytest.mark.parametrize("url", ["file:chats", "file:./chats", "file:{here}/chats", "file://{here}/chats"])
def test_a_file_url_names_a_directory(here: Path, url: str) -> None:
    """Relative to the working directory, or absolute with or without the two slashes of a URL."""
    with connect(url.format(here=here)) as repository:
        repository.add_messages("s", SAID)

    assert ["chats"] == os.listdir(here)  # noqa: PTH208


def test_the_public_names_are_the_functions() -> None:
    """`chatstore.connect` is the function, whoever imports the module of that name first."""
    assert chatstore.connect is connect
    assert callable(chatstore.connect_async)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://h/d", "memory:", "file:chats", ""])
def test_a_history_of_postgres_is_in_postgres(url: str) -> None:
    """Another database's URL is a mistake, and the class that takes it is named."""
    with pytest.raises(Invalid, match="SQLChatMessageHistory"):
        PostgresChatMessageHistory("s", url)


def test_a_closed_repository_opens_anew_and_is_closed_again(sqlite_url: str) -> None:
    """Used after its close it works; the next close ends what that opened, and nobody else's engine."""
    one = connect(sqlite_url)
    one.history("s").add_user_message("before")
    one.close()

    one.history("s").add_user_message("after")
    assert one._lease.is_open  # type: ignore[attr-defined]
    one.close()
    assert not one._lease.is_open  # type: ignore[attr-defined]
    with connect(sqlite_url) as other:
        one.close()

        assert 2 == other.count_messages("s")
        assert 1 == other._lease.users  # type: ignore[attr-defined]
    assert (False, 0) == (one._lease.is_open, one._lease.users)  # type: ignore[attr-defined]
