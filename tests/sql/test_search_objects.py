"""The search index: appends leave it alone, searches and refreshes fill it, it can be taken away and comes back."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, delete, event, insert, make_url, select, text, update

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import migrations, models, search, search_objects
from chatstore.backends.sql.models import messages, sessions
from chatstore.backends.sql.search_objects import (
    create_search_index,
    drop_search_index,
    refresh_search_index,
    search_index_exists,
    unindexed,
)
from chatstore.errors import StorageError
from tests import servers
from tests.sql import populated
from tests.sql.populated import message, picture, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from chatstore import Repository


@pytest.fixture
def repository(url: str) -> Iterator[Repository]:
    """Give a repository on a migrated, empty database of each kind."""
    with chatstore.connect(url) as opened:
        yield opened


@pytest.fixture
def engine(url: str, new_engine: Callable[..., Engine]) -> Engine:
    """Give an engine on the same database."""
    return new_engine(url)


def says(*texts: str) -> list[HumanMessage]:
    """Return messages that say this."""
    return [HumanMessage(text) for text in texts]


def places(repository: Repository, query: str, **wanted: Any) -> list[tuple[str, int]]:
    """Return where a search finds something, in order."""
    return sorted((hit.session_id, hit.position) for hit in repository.search(query, limit=1000, **wanted))


def lacks(engine: Engine) -> tuple[int, int]:
    """Return how many sessions, and messages, the index lacks."""
    with engine.connect() as connection:
        return unindexed(connection)


def written(engine: Engine, *, index: bool) -> Callable[[], list[str]]:
    """Return a function that gives the statements sent until then, those about the index or all others."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return lambda: [one for one in sent if ("chatstore_search" in one or "indexed_position" in one) is index]


# ------------------------------------------------------------------------------------------------ appends and searches


def test_an_append_leaves_the_index_alone(repository: Repository, engine: Engine) -> None:
    """Appending, also in bulk or with known ids, writes nothing of the index, and there is no trigger."""
    repository.add_messages("s", says("plum"))
    places(repository, "plum")
    with engine.connect() as connection:
        words = "SELECT count(*) FROM chatstore_search"
        before = connection.scalar(text(words))
        connection.rollback()
        repository.add_messages("s", says("peach"))
        repository.add_messages("s", says(*["pear"] * 100))
        repository.add_messages("t", [HumanMessage("fig", id="f")])
        repository.add_messages("t", [HumanMessage("fig", id="f")])
        assert before == connection.scalar(text(words)) == 1
        triggers = {
            "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
            "postgresql": "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
            "mariadb": "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = database()",
        }
        assert connection.scalar(text(triggers[connection.dialect.name])) == 0
    assert (2, 102) == lacks(engine)


def test_a_search_indexes_what_it_is_about(repository: Repository, engine: Engine) -> None:
    """The sessions of its owner, or its session, and no other; then there is nothing left for the next search to do."""
    repository.scope(user_id="ada").add_messages("a", says("plum"))
    repository.scope(user_id="bob").add_messages("b", says("plum", "plum"))
    repository.add_messages("c", says("plum"))

    found = [places(repository, "plum", user_id="ada"), lacks(engine), places(repository, "plum", session_id="b"),
             lacks(engine), places(repository, "plum"), lacks(engine)]  # fmt: skip

    assert found == [
        [("a", 1)],
        (2, 3),
        [("b", 1), ("b", 2)],
        (1, 1),
        [("a", 1), ("b", 1), ("b", 2), ("c", 1)],
        (0, 0),
    ]


def test_more_than_one_transaction_holds(
    repository: Repository, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many sessions, and many messages in one, are indexed in several transactions, each of them whole."""
    monkeypatch.setattr(search, "INDEXED", 7)
    monkeypatch.setattr(search, "LOCKED", 4)
    monkeypatch.setattr(search, "READ", 0)
    for number in range(10):
        repository.add_messages(f"s{number}", says(*["plum"] * (number * 3 % 11)) or says("plum"))
    repository.delete_message("s9", 5)
    due = places(repository, "plum", session_id="s9")

    assert [5 not in [position for _, position in due], 4] == [True, len(due)]
    assert sum(repository.count_messages(f"s{number}") for number in range(10)) == len(
        places(repository, "plum")
    )
    assert (0, 0) == lacks(engine)


def test_no_search_waits_until_much_is_indexed(
    repository: Repository, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each indexes some and reads the rest, finds all of it, and leaves less to the next one; more is indexed first."""
    monkeypatch.setattr(search, "INDEXED", 5)
    monkeypatch.setattr(search, "READ", 10)
    for number in range(10):
        repository.add_messages(f"s{number:02}", says("plum", "peach", "plum"))
    due = [(f"s{number:02}", position) for number in range(10) for position in (1, 3)]
    left: list[int] = []

    while not left or left[-1]:
        assert due == places(repository, "plum")
        left.append(lacks(engine)[1])

    assert [10, 5, 0] == left


def test_the_index_counts_as_the_texts_do(
    repository: Repository, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best first: by what PostgreSQL and MariaDB count, next to each other or not, up to where an index counts."""
    counts = [1, 2, 3, 5, 17, 100, 251, 252, 253]
    repository.add_messages("apart", says(*("plum, peach; " * count for count in counts)))
    repository.add_messages("beside", says(*("plum " * count + "peach plums" for count in counts)))
    due = {("apart", place): 2.0 * count for place, count in enumerate(counts, 1)}
    due |= {("beside", place): 1.0 + count for place, count in enumerate(counts, 1)}
    places(repository, "plum")
    if engine.dialect.name != "sqlite":
        monkeypatch.delattr(search, "indexed")  # what would read all of them

    hits = repository.search("plum peach", limit=50)

    ranked = [(hit.rank, hit.created_at, hit.session_id, hit.position) for hit in hits]
    assert due == {(hit.session_id, hit.position): hit.rank for hit in hits}
    assert sorted(ranked, reverse=True) == ranked
    assert hits[:2] == repository.search("plum peach", limit=2)


def test_what_an_index_cannot_count_is_read(repository: Repository) -> None:
    """A text that says a word more often than an index counts is ranked by the text, as are its neighbours then."""
    repository.add_messages("s", says("plum " * 2, "plum " * 300, "plum " * 400, "plum"))

    for _ in range(2):
        assert [(3, 400.0), (2, 300.0), (1, 2.0)] == [
            (hit.position, hit.rank) for hit in repository.search("plum", limit=3)
        ]


def test_what_other_programs_write(repository: Repository, engine: Engine) -> None:
    """Rows that they insert are found, what they delete is not, and what they change is after they say so."""
    repository.scope(user_id="ada").add_messages("A", says("plum", "peach"))
    assert [("A", 1)] == places(repository, "plum")
    with engine.begin() as connection:
        connection.execute(insert(messages), [message("A", 3, content="plum jam")])
        connection.execute(update(sessions).values(last_position=3, message_count=3))
        connection.execute(insert(sessions), [session("B", last_position=1, message_count=1)])
        connection.execute(insert(messages), [message("B", 1, content="plum tree")])
    assert [("A", 1), ("A", 3), ("B", 1)] == places(repository, "plum", user_id="ada")
    with engine.begin() as connection:
        connection.execute(delete(messages).where(messages.c.content == "plum"))
        again = update(sessions).where(sessions.c.session_id == "A").values(user_id="bob", indexed_position=0)
        connection.execute(again)
        connection.execute(update(messages).where(messages.c.content == "peach").values(content="cherry"))
    assert [("B", 1)] == places(repository, "plum", user_id="ada")
    assert ([("A", 2)], []) == (places(repository, "cherry", user_id="bob"), places(repository, "peach"))


def test_an_index_that_says_too_much_is_not_believed(repository: Repository, engine: Engine) -> None:
    """Where another program changed owner or text and nobody told the index, nothing wrong is found."""
    repository.scope(user_id="ada").add_messages("A", says("plum"))
    repository.scope(user_id="ada").add_messages("B", says("plum"))
    assert 2 == len(places(repository, "plum", user_id="ada"))
    with engine.begin() as connection:
        connection.execute(update(sessions).where(sessions.c.session_id == "A").values(user_id="bob"))
        connection.execute(update(messages).where(messages.c.session_id == "B").values(content="peach"))

    assert [] == places(repository, "plum", user_id="ada")
    assert [] == places(repository.scope(user_id="ada"), "plum")
    assert [("A", 1)] == places(repository, "plum")


def test_an_id_that_is_given_again(repository: Repository) -> None:
    """SQLite gives a deleted message's id to the next one: it has the words of the next one only."""
    for number in range(5):
        repository.add_messages("s", says(f"plum{number} same"))
        assert [("s", number + 1)] == places(repository, "same")
        assert [("s", number + 1)] == places(repository, f"same plum{number} -plum{number - 1}")
        repository.pop_message("s")


def test_expired_and_purged_sessions(repository: Repository, engine: Engine) -> None:
    """They are not found; a refresh indexes them like others, and what is purged leaves no words behind."""
    from datetime import UTC, datetime, timedelta

    repository.add_messages("s", says("plum"))
    repository.update_session("s", expires_at=datetime.now(UTC) - timedelta(hours=1))
    refresh_search_index(engine.begin)
    assert ((0, 0), []) == (lacks(engine), places(repository, "plum"))
    assert 1 == repository.purge().sessions
    repository.add_messages("s", says("peach"))
    assert ([], [("s", 1)]) == (places(repository, "plum"), places(repository, "peach"))
    if engine.dialect.name != "sqlite":
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM chatstore_search")) == 1


# ------------------------------------------------------------------------------------------------ where it cannot write


def test_a_search_inside_a_transaction(repository: Repository, engine: Engine) -> None:
    """It finds what the transaction has written, edited and removed, and writes nothing of its own."""
    repository.add_messages("s", says("plum", "plum", "plum jam"))
    places(repository, "plum")
    repository.add_messages("s", says("plum tree"))
    with engine.connect() as connection:
        inside = repository.using(connection)
        assert [1, 2, 3, 4] == [position for _, position in places(inside, "plum")]
        inside.add_messages("s", says("plum cake"))
        inside.update_message("s", 1, HumanMessage("peach"))
        inside.delete_message("s", 2)
        inside.update_session("s", user_id="ada")
        sent = written(engine, index=True)
        assert [("s", 3), ("s", 4), ("s", 5)] == places(inside, "plum", user_id="ada")
        assert [("s", 1)] == places(inside, "peach")
        assert [] == [one for one in sent() if not one.lstrip().startswith("SELECT") and "WITH" not in one]
        connection.rollback()
    assert [1, 2, 3, 4] == [position for _, position in places(repository, "plum")]


def test_a_search_does_not_wait_for_a_writer(repository: Repository, engine: Engine) -> None:
    """While somebody holds a session, a search finds what is committed in it, and indexes the others."""
    repository.add_messages("s", says("plum"))
    repository.add_messages("t", says("plum"))
    if engine.dialect.name == "sqlite":
        pytest.skip("on SQLite a writer holds the whole file, and no reader")
    with engine.connect() as connection:
        repository.using(connection).add_messages("s", says("plum"))
        assert [("s", 1), ("t", 1)] == places(repository, "plum")
        assert (1, 1) == lacks(engine)
        connection.rollback()
    assert [("s", 1), ("t", 1)] == places(repository, "plum")


def test_a_database_that_is_only_read(url: str, repository: Repository, engine: Engine) -> None:
    """What is indexed and what is not yet are both found, and nothing is written."""
    repository.add_messages("s", says("plum", "peach"))
    places(repository, "plum")
    repository.add_messages("s", says("plum jam"))
    with _read_only(url) as reading:
        for _ in range(2):
            assert [("s", 1), ("s", 3)] == places(reading, "plum")
            assert [("s", 2)] == places(reading, "peach", order="newest")
        with pytest.raises(StorageError):
            reading.add_messages("s", says("no"))
    assert (1, 1) == lacks(engine)


@contextlib.contextmanager
def _read_only(url: str) -> Iterator[Repository]:
    """Give a repository that may not write, as each database forbids it."""
    if url.startswith("sqlite"):
        engine = create_engine(f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true")
    else:
        engine = create_engine(url)
        say = (
            "SET default_transaction_read_only = on"
            if url.startswith("postgresql")
            else "SET SESSION TRANSACTION READ ONLY"
        )

        @event.listens_for(engine, "connect")
        def forbid(link: Any, _record: object) -> None:
            with link.cursor() as cursor:
                cursor.execute(say)
            link.commit()

    with chatstore.connect(engine) as repository:
        yield repository
    engine.dispose()


# ------------------------------------------------------------------------------------------------ refreshing


def test_many_refreshers_at_once(repository: Repository, engine: Engine, url: str) -> None:
    """Refreshers, searches and appends at once: in the end each message is indexed, once, and is found."""
    stop = threading.Event()
    wrong: list[object] = []

    def work(number: int) -> None:
        with contextlib.closing(chatstore.connect(url)) as mine:
            for step in range(12):
                try:
                    if number % 3 == 0:
                        mine.add_messages(f"s{step % 3}", says("plum", "peach"))
                    elif number % 3 == 1:
                        found = places(mine, "plum")
                        stored = [mine.count_messages(f"s{place}") for place in range(3)]
                        if len(found) * 2 > sum(stored):
                            wrong.append((found, stored))
                    else:
                        refresh_search_index(_transactions(url, stop))
                except Exception as error:  # noqa: BLE001 -- told below
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong
    refresh_search_index(_transactions(url, stop))
    assert (0, 0) == lacks(engine)
    assert 24 == len(places(repository, "plum")) == len(places(repository, "peach"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM chatstore_search")) == 48


def _transactions(url: str, _stop: threading.Event) -> Callable[[], Any]:
    """Return what lends a transaction on *url*, as the command does."""
    from chatstore.cli.target import Target

    return lambda: Target(url, None, True).connection(write=True)


@pytest.mark.parametrize("statement", range(1, 6))
def test_an_interrupted_refresh(
    statement: int, repository: Repository, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before any of its statements, it has done a transaction or not: everything is found, and it goes on."""

    class StoppedError(BaseException):
        pass

    monkeypatch.setattr(search, "INDEXED", 3)
    repository.add_messages("s", says(*["plum"] * 5))
    repository.add_messages("t", says(*["plum"] * 5))
    left = [statement + 4]

    def stop(_link: object, _cursor: object, sent: str, *_rest: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise StoppedError

    event.listen(engine, "before_cursor_execute", stop)
    with pytest.raises(StoppedError):
        refresh_search_index(engine.begin)
    event.remove(engine, "before_cursor_execute", stop)

    assert 10 == len(places(repository, "plum"))
    refresh_search_index(engine.begin)
    assert ((0, 0), 10) == (lacks(engine), len(places(repository, "plum")))


def test_a_refresh_without_the_lock_loses_messages(
    repository: Repository, url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: without holding the session, a refresh says that it indexed what it did not."""
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer, whom nothing can overtake")
    repository.add_messages("s", says("plum"))

    def append_between(*_args: object) -> dict[str, Any]:
        with engine.begin() as connection:  # a writer whose message comes in between, and commits later
            held = connection.execute(select(sessions.c.last_position).where(sessions.c.session_id == "s"))
            last = held.scalar_one() + 1
        return {"s": ((None, None), last)}

    monkeypatch.setattr(search, "_held_now", append_between)
    with engine.begin() as connection:
        search.refresh(connection, repository._core.q, ["s"])  # type: ignore[attr-defined]
    monkeypatch.undo()
    repository.add_messages("s", says("plum jam"))

    assert [("s", 1)] == places(repository, "plum")  # and not 2, which is what the lock is for


def test_an_owner_that_is_not_checked_again_is_seen(
    repository: Repository, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: a search that believes the index's marks shows one user the words of another."""
    repository.scope(user_id="ada").add_messages("s", says("plum"))
    assert 1 == len(places(repository, "plum", user_id="ada"))
    with engine.begin() as connection:
        connection.execute(update(sessions).values(user_id="bob"))
    assert [] == places(repository, "plum", user_id="ada")
    monkeypatch.setattr(search, "_sessions", lambda q, call: [q.visible(call.scope)])
    repository._core.q.built.clear()  # type: ignore[attr-defined]
    if engine.dialect.name == "mariadb":
        monkeypatch.setattr(search, "FEW", -1)

    assert [("s", 1)] == places(repository, "plum", user_id="ada")


# ------------------------------------------------------------------------------------------------ the index itself


def test_the_index_goes_and_comes_back(url: str, repository: Repository, engine: Engine) -> None:
    """Dropped, it leaves nothing behind and everything is found; created again, it is filled again."""
    repository.add_messages("s", says("plum"))
    assert [("s", 1)] == places(repository, "plum")
    with engine.connect() as connection:
        with_index = picture(connection)
    for _ in range(2):
        with engine.begin() as connection:
            drop_search_index(connection)
        with engine.connect() as connection:
            assert not search_index_exists(connection)
    repository.add_messages("s", says("plum jam"))
    assert [("s", 1), ("s", 2)] == places(repository, "plum")
    for _ in range(2):
        with engine.begin() as connection:
            assert create_search_index(connection)
    assert (1, 2) == lacks(engine)
    with chatstore.connect(url) as other:
        assert [("s", 1), ("s", 2)] == places(other, "plum")
    with engine.connect() as connection:
        assert picture(connection) == with_index
    assert (0, 0) == lacks(engine)
    assert [("s", 1), ("s", 2)] == places(repository, "plum")


def test_migrations_go_on_without_the_index(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """A database whose index was dropped goes down and up, differs in nothing, and gets it back."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.begin() as connection:
        drop_search_index(connection)
    assert migrations.check(any_url) == []
    assert migrations.downgrade(any_url, "chatstore_0002") == (models.HEAD, "chatstore_0002")
    assert migrations.upgrade(any_url) == ("chatstore_0002", models.HEAD)
    with engine.connect() as connection:
        assert search_index_exists(connection)


def test_everything_is_found_after_a_migration(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """What an older release stored and indexed is found by the new one, and the other way round."""
    migrations.upgrade(any_url, "chatstore_0004")
    engine = new_engine(any_url)
    with engine.begin() as connection:
        populated.fill(connection, 200)
    migrations.upgrade(any_url)
    with chatstore.connect(any_url) as repository:
        assert 200 == len(places(repository, "needle"))
        repository.add_messages("s0", says("needle and thread"))
        assert [("s0", 51)] == places(repository, "needle thread")
    migrations.downgrade(any_url, "chatstore_0004")
    old = {
        "sqlite": "SELECT count(*) FROM chatstore_messages_fts WHERE chatstore_messages_fts MATCH 'needle'",
        "postgresql": "SELECT count(*) FROM chatstore_messages "
        "WHERE chatstore_words(content) @@ plainto_tsquery('simple', 'needle')",
        "mariadb": "SELECT count(*) FROM chatstore_messages WHERE MATCH (content) AGAINST ('needle')",
    }
    with engine.connect() as connection:
        assert connection.scalar(text(old[connection.dialect.name])) == 201


def test_a_sqlite_without_fts5_is_migrated_without_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, new_engine: Callable[..., Engine]
) -> None:
    """No revision fails where the SQLite library lacks full text; there is no index then, and search scans."""
    monkeypatch.setattr(search_objects, "can_index", lambda _connection: False)
    assert migrations.upgrade(sqlite_url) == (None, models.HEAD)
    engine = new_engine(sqlite_url)
    with engine.connect() as connection:
        assert not search_index_exists(connection)
        assert not create_search_index(connection)
    with chatstore.connect(sqlite_url) as repository:
        repository.add_messages("s", says("plum"))
        assert [("s", 1)] == places(repository, "plum")
    assert migrations.downgrade(sqlite_url, "base") == (models.HEAD, None)


def test_messages_of_one_moment_cost_no_more(sqlite_url: str, new_engine: Callable[..., Engine]) -> None:
    """Copies have the times of what they were copied from: few statements give all their numbers, the newest last."""
    assert migrations.upgrade(sqlite_url)
    engine = new_engine(sqlite_url)
    with chatstore.connect(sqlite_url) as repository:
        repository.add_messages("s", says(*(f"plum {number}" for number in range(150))))
        repository.add_messages("s", says(*(f"plum {number}" for number in range(150))))
        records = repository.get_records("s")
        sent: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
        for copy in range(8):
            repository.load_records(f"copy {copy}", records)
            refresh_search_index(engine.begin)
        assert 8 * 300 > 4 * len(sent)
    with engine.connect() as connection:
        counts = text("SELECT count(DISTINCT number), count(DISTINCT message) FROM chatstore_search")
        assert (2_700, 2_700) == tuple(connection.execute(counts).one())
        later = text(
            "SELECT count(*) FROM chatstore_search a JOIN chatstore_messages m ON m.id = a.message "
            "JOIN chatstore_search b ON b.number < a.number JOIN chatstore_messages n ON n.id = b.message "
            "WHERE n.created_at > m.created_at"
        )
        assert 0 == connection.scalar(later)


def test_a_refresh_makes_the_index_quicker_to_read(
    sqlite_url: str, new_engine: Callable[..., Engine]
) -> None:
    """Searches write one part after the other, and read each of them; a refresh merges them, when that is worth it."""
    assert migrations.upgrade(sqlite_url)
    engine = new_engine(sqlite_url)

    def parts() -> int:
        with engine.connect() as connection:
            counted = text("SELECT count(DISTINCT segid) FROM chatstore_search_words_idx")
            return int(connection.scalar(counted) or 0)

    many = [f"plum {number}" for number in range(3_000)]
    with chatstore.connect(sqlite_url) as repository:
        for number in range(3):
            repository.add_messages(f"s{number}", says(*many[1_000 * number : 1_000 * (number + 1)]))
            assert 1 == len(repository.search(f"{1_000 * number}"))
        assert 3 == parts()
        refresh_search_index(engine.begin)
        assert 1 == parts()
        assert [1, 1, 1000] == [len(repository.search(query, limit=1_000)) for query in ("7", "2999", "plum")]
        repository.add_messages("s", says("quince"))
        refresh_search_index(engine.begin)
        assert 2 == parts()
        assert [("s", 1)] == places(repository, "quince")


@pytest.mark.parametrize(
    "letters", ["abcdefghij0123", "一二三四五六七八九十", "\U00020000\U00020001\U00020002", "İIiı"]
)
def test_no_text_is_too_large_for_an_index(letters: str, repository: Repository) -> None:
    """A text of megabytes, of whatever letters, is indexed as far as the database takes it, and found by all of it."""
    words = " ".join(
        f"{letters[number % len(letters)] * (number % 30 + 1)}{number}" for number in range(10_000)
    )
    repository.add_messages("s", says(f"first {words} last"))

    assert (
        [("s", 1)]
        == places(repository, "first last")
        == places(repository, '"9999 last"' if "一" in letters else "last")
    )


def test_search_finds_what_stands_behind_a_thousand_matches(repository: Repository) -> None:
    """However many messages an index takes for matches, those that are some are found."""
    repository.add_messages("s", says("the gamma xy needle"))
    repository.add_messages("s", says(*(f"gamma gamma gamma {number}" for number in range(1500))))

    assert [1] == [hit.position for hit in repository.search("gamma xy")]
    assert [1501] == [hit.position for hit in repository.search("gamma", limit=1)]
    repository.add_messages("s", says("gamma delta"))
    with_index = [hit.position for hit in repository.search('"delta" gamma', order="newest")]
    assert [1502] == with_index


@pytest.mark.postgres
def test_a_dump_of_the_tables_alone_is_whole(postgres_url: str) -> None:
    """`pg_dump -t 'chatstore_*'` has the search index, too, and what is restored goes on."""
    if shutil.which("pg_dump") is None or shutil.which("psql") is None:
        pytest.skip("pg_dump and psql are not on PATH: install PostgreSQL's client")
    migrations.upgrade(postgres_url)
    with chatstore.connect(postgres_url) as repository:
        repository.add_messages("s", says("hello world"))
        assert [("s", 1)] == places(repository, "hello")
    dump = subprocess.run(
        ["pg_dump", "--no-owner", "--table=chatstore_*", _plain(postgres_url)],
        check=True,
        capture_output=True,
    ).stdout

    with servers.fresh_database("postgres") as url:
        done = subprocess.run(["psql", "--quiet", _plain(url)], input=dump, check=True, capture_output=True)
        assert b"ERROR" not in done.stderr
        assert migrations.check(url) == []
        with chatstore.connect(url) as repository:
            repository.add_messages("s", says("hello again"))
            assert [("s", 1), ("s", 2)] == places(repository, "hello")


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _note_places(repository: Repository, found: list[list[tuple[str, int]]]) -> None:
    found.append(places(repository, "plum"))


def test_a_search_in_a_file_does_not_wait_for_who_writes(
    sqlite_url: str, new_engine: Callable[..., Engine]
) -> None:
    """Neither for another process nor for another thread: it reads what it would have indexed; others can read, too."""
    with chatstore.connect(sqlite_url) as repository:
        repository.add_messages("s", says("plum"))
        places(repository, "plum")
        repository.add_messages("s", says("plum"))
        for write in (new_engine(sqlite_url), repository._lease.lend(repository._user).engine):  # type: ignore[attr-defined]
            with write.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                began, found = time.monotonic(), list[list[tuple[str, int]]]()
                look = partial(_note_places, repository, found)
                threads = [threading.Thread(target=look) for _ in range(6)]
                for thread in threads:
                    thread.start()
                assert 2 == len(repository.get_messages("s"))
                for thread in threads:
                    thread.join(60)
                assert [[("s", 1), ("s", 2)]] * 6 == found
                assert time.monotonic() - began < 10  # of the thirty seconds that a call may take
                connection.exec_driver_sql("ROLLBACK")


def test_an_index_that_is_made_anew_hides_nothing(
    url: str, repository: Repository, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches meanwhile, between whose looking and asking the index may go and come back, find what is there."""
    repository.add_messages("s", says(*["plum"] * 20))
    due = [("s", position) for position in range(1, 21)]
    assert due == places(repository, "plum")
    ended, wrong, searches = threading.Event(), list[Any](), list[int]()

    def look() -> None:
        while not ended.is_set():
            found = places(repository, "plum")
            searches.append(len(found))
            if found != due:
                wrong.append(found)

    monkeypatch.setattr(search_objects, "PAUSE", 0.3)
    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        search_objects.renew_search_index(engine.begin)
        refresh_search_index(engine.begin)
    ended.set()
    for thread in threads:
        thread.join(60)
    assert [] == wrong
    assert len(searches) > 10
    assert (0, 0) == lacks(engine)
