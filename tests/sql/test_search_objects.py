"""The search index: it follows every write, can be taken away, and no text breaks it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, insert, text, update

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import migrations, models, search_objects
from chatstore.backends.sql.models import messages, sessions
from chatstore.backends.sql.search_objects import (
    create_search_index,
    drop_search_index,
    search_index_exists,
)
from tests.sql.populated import message, picture, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

QUERIES = {
    "sqlite": "SELECT rowid FROM chatstore_messages_fts "
    "WHERE chatstore_messages_fts MATCH '\"' || :word || '\"' ORDER BY 1",
    "postgresql": "SELECT id FROM chatstore_messages WHERE chatstore_words(content) @@ "
    "plainto_tsquery('simple', lower(:word COLLATE \"und-x-icu\")) ORDER BY 1",
    "mariadb": "SELECT id FROM chatstore_messages WHERE MATCH (content) AGAINST (concat('+\"', :word, '\"') "
    "IN BOOLEAN MODE) ORDER BY 1",
}


@pytest.fixture
def connection(any_url: str, new_engine: Callable[..., Engine]) -> Iterator[Connection]:
    """Give a connection to a migrated database with one empty session."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.connect() as opened:
        opened.execute(insert(sessions), [session("A")])
        opened.commit()
        yield opened
        opened.rollback()


def say(connection: Connection, *contents: str | None) -> None:
    """Store messages with these contents, committed, since InnoDB indexes words at the commit."""
    taken = connection.execute(text("SELECT coalesce(max(position), 0) FROM chatstore_messages")).scalar_one()
    rows = [message("A", taken + number, content=content) for number, content in enumerate(contents, 1)]
    connection.execute(insert(messages), rows)
    connection.commit()


def find(connection: Connection, word: str) -> list[str]:
    """Return the contents that the index finds for one word."""
    found = connection.execute(text(QUERIES[connection.dialect.name]), {"word": word}).scalars().all()
    return [
        connection.execute(
            text("SELECT content FROM chatstore_messages WHERE id = :id"), {"id": one}
        ).scalar_one()
        for one in found
    ]


def test_words_are_found_whatever_their_case_but_not_their_accents(connection: Connection) -> None:
    """Runs of letters and digits are words on every database: whole, in any script, accents counting."""
    said = [
        "The Café in GRÜNHEIDE",
        "a cafe",
        "ПРИВЕТ мир2026",
        "snake_case, hyphen-ated",
        "punctuation: (bracket).",
    ]
    say(connection, *said)
    assert find(connection, "CAFÉ") == said[:1]
    assert find(connection, "cafe") == said[1:2]
    assert find(connection, "grünheide") == said[:1]
    assert find(connection, "привет") == said[2:3]
    assert find(connection, "МИР2026") == said[2:3]
    assert find(connection, "ated") == said[3:4]
    assert find(connection, "bracket") == said[4:5]
    assert find(connection, "brack") == []


def test_the_index_follows_every_write(connection: Connection) -> None:
    """Inserts, updates of the content or of another column, deletes and cascades leave the index right."""
    say(connection, "alphaword", "betaword", None)
    connection.execute(update(messages).where(messages.c.position == 1).values(content="gammaword"))
    connection.execute(update(messages).where(messages.c.position == 2).values(model="m"))
    connection.commit()
    assert find(connection, "alphaword") == []
    assert find(connection, "gammaword") == ["gammaword"]
    assert find(connection, "betaword") == ["betaword"]
    if connection.dialect.name == "sqlite":
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    connection.execute(delete(sessions))
    connection.commit()
    assert connection.scalar(text("SELECT count(*) FROM chatstore_messages")) == 0
    assert find(connection, "betaword") == []
    if connection.dialect.name == "sqlite":
        check = (
            "INSERT INTO chatstore_messages_fts(chatstore_messages_fts, rank) VALUES ('integrity-check', 1)"
        )
        connection.execute(text(check))


def test_the_index_goes_and_comes_back(connection: Connection) -> None:
    """Dropped, it leaves nothing behind and writes go on; created again, it knows those too."""
    with_index = picture(connection)
    say(connection, "before")
    for _ in range(2):
        drop_search_index(connection)
        assert not search_index_exists(connection)
    connection.commit()
    say(connection, "meanwhile")
    for _ in range(2):
        assert create_search_index(connection)
        assert search_index_exists(connection)
    connection.commit()
    assert picture(connection) == with_index
    assert find(connection, "before") + find(connection, "meanwhile") == ["before", "meanwhile"]


def test_migrations_go_on_without_the_index(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """A database whose index was dropped goes down and up, differs in nothing, and gets it back."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.begin() as connection:
        drop_search_index(connection)
    assert migrations.check(any_url) == []
    assert migrations.downgrade(any_url, "chatstore_0002") == (models.HEAD, "chatstore_0002")
    with engine.begin() as connection:
        create_search_index(connection)
    assert migrations.upgrade(any_url) == ("chatstore_0002", models.HEAD)
    with engine.connect() as connection:
        assert search_index_exists(connection)


def test_a_sqlite_without_fts5_is_migrated_without_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, new_engine: Callable[..., Engine]
) -> None:
    """The revision does not fail where the SQLite library lacks full text; there is no index then."""
    monkeypatch.setattr(search_objects, "can_index", lambda _connection: False)
    assert migrations.upgrade(sqlite_url) == (None, models.HEAD)
    engine = new_engine(sqlite_url)
    with engine.connect() as connection:
        assert not search_index_exists(connection)
        assert not create_search_index(connection)
    assert migrations.downgrade(sqlite_url, "base") == (models.HEAD, None)


def _alphabet(start: int, count: int) -> str:
    return "".join(map(chr, range(start, start + count)))


@pytest.mark.parametrize(
    ("letters", "longest"),
    [
        pytest.param("abcdefghijklmnopqrstuvwxyz0123456789", 8, id="ascii"),
        pytest.param(_alphabet(0x4E00, 20_000), 1, id="cjk"),
        pytest.param(_alphabet(0x20000, 40_000), 1, id="four bytes, one letter"),
        pytest.param(_alphabet(0x20000, 40_000), 12, id="four bytes, long words"),
        pytest.param("İIiı", 9, id="letters that grow in lower case"),
    ],
)
@pytest.mark.postgres
def test_ten_megabytes_of_words_never_reach_the_limit_of_a_tsvector(
    postgres_url: str, letters: str, longest: int, new_engine: Callable[..., Engine]
) -> None:
    """A tsvector ends at 1 MB; whatever the words, 10 MB of them are stored and their beginning is found."""
    migrations.upgrade(postgres_url)
    chance = random.Random(11)
    length = 10_000_000 // len(letters[:1].encode())
    drawn = "".join(chance.choices(letters, k=length))
    step = longest + 1
    content = "firstword " + " ".join(
        drawn[at : at + chance.randint(1, longest)] for at in range(0, length, step)
    )
    engine = new_engine(postgres_url)
    with engine.connect() as connection:
        connection.execute(insert(sessions), [session("A")])
        say(connection, content[:10_000_000], "a\u0301 " * 1000, "x" * 1_000_000)
        assert len(find(connection, "firstword")) == 1


@pytest.mark.postgres
def test_the_cut_is_where_the_limit_is(postgres_url: str, new_engine: Callable[..., Engine]) -> None:
    """The densest words there are, all different, fill a tsvector almost to its limit and not over it."""
    migrations.upgrade(postgres_url)
    words = (
        f"{chr(0x20000 + n % 40_000) * 5}{chr(0x20000 + n // 40_000)}{chr(0x4E00 + n % 20_000)}"
        for n in range(99_999)
    )
    engine = new_engine(postgres_url)
    with engine.connect() as connection:
        size = connection.scalar(
            text("SELECT octet_length(tsvectorsend(chatstore_words(:content)))"), {"content": " ".join(words)}
        )
    assert 0.99 * 2**20 < size < 2**20


@pytest.mark.parametrize("query", ["gamma xy", "gamma the"])
def test_search_finds_what_stands_behind_a_thousand_matches(url: str, query: str) -> None:
    """A word that an index leaves out is looked for in every message that the others find."""
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage("the gamma xy needle")])
        repository.add_messages("s", [HumanMessage(f"gamma gamma gamma {number}") for number in range(1500)])
        assert [1] == [hit.position for hit in repository.search(query)]
