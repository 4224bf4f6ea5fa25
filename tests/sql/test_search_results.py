"""What the index answers is what a scan answers: words said often and rarely, of which some may not be seen."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, update

import chatstore
from chatstore import AIMessage, HumanMessage
from chatstore.backends.sql import search
from chatstore.backends.sql.models import messages, sessions
from chatstore.backends.sql.search_objects import drop_search_index, refresh_search_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from chatstore import Repository

BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
#: What is searched for, and of how many messages in a hundred each word is one.
OFTEN, SELDOM, NEVER = "plum", "quince", "medlar"
SHARE = {OFTEN: 60, SELDOM: 3}
ABOUT: tuple[dict[str, Any], ...] = (
    {},
    {"user_id": "ada"},
    {"user_id": "bob"},
    {"types": ["ai"]},
    {"since": BEGUN + timedelta(minutes=2), "until": BEGUN + timedelta(minutes=4)},
    {"user_id": "ada", "types": ["human"], "until": BEGUN + timedelta(minutes=3)},
)


def fill(repository: Repository, chance: random.Random) -> None:
    """Store five minutes of messages, several in each second, by two users."""
    for number in range(60):
        said = [
            (AIMessage if chance.random() < 0.5 else HumanMessage)(
                " ".join(
                    word for word, share in SHARE.items() for _ in range(3) if chance.randrange(100) < share
                )
                or "apple"
            )
            for _ in range(10)
        ]
        user = chance.choice(["ada", "bob"]) if number < 50 else "bob"  # whose newest ones will be over
        repository.scope(user_id=user).add_messages(f"s{number:02}", said)


def spread(engine: Engine) -> None:
    """Give the messages their times, and let the newest sessions be over."""
    with engine.begin() as connection:
        for number in range(60):
            theirs = messages.c.session_id == f"s{number:02}"
            for half in (messages.c.position <= 5, messages.c.position > 5):
                moment = BEGUN + timedelta(seconds=5 * number + random.Random(number).randrange(2))
                connection.execute(update(messages).where(theirs, half).values(created_at=moment))
        over = sessions.c.session_id.between("s50", "s59")
        connection.execute(update(sessions).where(over).values(expires_at=BEGUN, indexed_position=0))


def answers(repository: Repository, query: str, order: Any) -> list[list[tuple[Any, ...]]]:
    """Return what a search finds in each case, in order."""
    return [
        [
            (hit.session_id, hit.position, hit.rank)
            for hit in repository.search(query, limit=limit, order=order, **about)
        ]
        for about in ABOUT
        for limit in (1, 7, 200)
    ]


@pytest.mark.parametrize(("walked", "equals"), [(None, search.EQUALS), (0, 1), (10**9, search.EQUALS)])
def test_as_a_scan(
    url: str,
    new_engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
    walked: int | None,
    equals: int,
) -> None:
    """In each order, also where the index is told that every word is said often, or none is, or more are as good."""
    monkeypatch.setattr(search, "EQUALS", equals)
    if walked is not None:
        monkeypatch.setattr(search, "WALKED", walked)
        monkeypatch.setattr(search, "LEAST", 0)
    engine = new_engine(url)
    with chatstore.connect(url) as repository:
        fill(repository, random.Random(7))
        spread(engine)
        refresh_search_index(engine.begin)
        asked = [
            (query, order)
            for query in (
                OFTEN,
                SELDOM,
                NEVER,
                f"{OFTEN} {SELDOM}",
                f'"{OFTEN} {OFTEN}"',
                f"{OFTEN} -{SELDOM}",
            )
            for order in ("newest", "best")
        ]
        indexed = [answers(repository, query, order) for query, order in asked]
        with engine.begin() as connection:
            drop_search_index(connection)
    with chatstore.connect(url) as repository:
        scanned = [answers(repository, query, order) for query, order in asked]
    assert any(any(one) for one in scanned)
    assert indexed == scanned


def test_a_line_of_the_index_that_is_missing_is_missed(url: str, new_engine: Callable[..., Engine]) -> None:
    """The comparison sees what the index says, not only the texts."""
    engine = new_engine(url)
    with chatstore.connect(url) as repository:
        repository.add_messages("s", [HumanMessage(OFTEN), HumanMessage(OFTEN)])
        refresh_search_index(engine.begin)
        with engine.begin() as connection:
            connection.execute(delete(_lines(connection)))
        assert repository.search(OFTEN) == []


def _lines(connection: Any) -> Any:
    from sqlalchemy import MetaData, Table

    return Table("chatstore_search", MetaData(), autoload_with=connection)
