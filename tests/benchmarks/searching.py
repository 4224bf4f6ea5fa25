"""What search costs: in one user's chats as the store grows, against the raw query, and after many new messages."""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from chatstore import words
from chatstore.backends.sql.search_objects import refresh_search_index
from chatstore.messages import HumanMessage
from tests.benchmarks import copies, stores, turns
from tests.benchmarks.harness import compared, each, figure, race

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from sqlalchemy import Engine

    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Size

    Order = Literal["newest", "best"]

#: Messages of the user who searches, in sessions of that many, and characters of each.
THEIRS, IN_SESSION, LENGTH = 1_000, 20, 100
#: How many times as slow the search of one user may be in a store that is a hundred times as large.
GROWTH = {"sqlite": 1.5, "postgres": 1.5, "mariadb": 2.0}
#: New messages, and the milliseconds that the first search after them may take.
NEW, FIRST = 10_000, {"sqlite": 300.0, "postgres": 500.0, "mariadb": 1000.0}
#: How many times as long as the raw query for the same.
RAW_LIMIT = 3.0
USER, LAST = "searcher", 20
#: What a hit has, and whose session it is in.
_WANTED = (
    "m.session_id, m.position, m.message_id, m.type, m.content, m.created_at, s.title, s.tenant_id, s.user_id"
)
_SESSIONS = "JOIN chatstore_sessions s ON s.session_id = m.session_id"
RAW: dict[tuple[str, Order], str] = {
    ("sqlite", "newest"): """
        SELECT {wanted} FROM chatstore_search_words f
        JOIN chatstore_search e ON e.number = f.rowid JOIN chatstore_messages m ON m.id = e.message {sessions}
        WHERE f.chatstore_search_words MATCH '{mark} AND {word}' ORDER BY f.rowid DESC LIMIT 20""",
    ("sqlite", "best"): """
        SELECT {wanted} FROM chatstore_search_words f
        JOIN chatstore_search e ON e.number = f.rowid JOIN chatstore_messages m ON m.id = e.message {sessions}
        WHERE f.chatstore_search_words MATCH '{mark} AND {word}' ORDER BY f.rank LIMIT 20""",
    ("postgres", "newest"): """
        WITH f AS MATERIALIZED (SELECT message FROM chatstore_search WHERE words @@ '{mark} & {word}'::tsquery)
        SELECT {wanted} FROM f JOIN chatstore_messages m ON m.id = f.message {sessions}
        ORDER BY m.created_at DESC LIMIT 20""",
    ("postgres", "best"): """
        WITH f AS MATERIALIZED (SELECT message, ts_rank(words, '{word}'::tsquery) AS rank
            FROM chatstore_search WHERE words @@ '{mark} & {word}'::tsquery ORDER BY 2 DESC LIMIT 20)
        SELECT {wanted} FROM f JOIN chatstore_messages m ON m.id = f.message {sessions}
        ORDER BY f.rank DESC""",
    ("mariadb", "newest"): """
        SELECT {wanted} FROM chatstore_search f JOIN chatstore_messages m ON m.id = f.message {sessions}
        WHERE MATCH (f.words) AGAINST ('+{mark} +{word}' IN BOOLEAN MODE) ORDER BY m.created_at DESC LIMIT 20""",
    ("mariadb", "best"): """
        SELECT {wanted} FROM chatstore_search f JOIN chatstore_messages m ON m.id = f.message {sessions}
        WHERE MATCH (f.words) AGAINST ('+{mark} +{word}' IN BOOLEAN MODE)
        ORDER BY MATCH (f.words) AGAINST ('+{mark} +{word}' IN BOOLEAN MODE) DESC LIMIT 20""",
}


class Store(NamedTuple):
    """A database with messages of one user and of many others."""

    kind: str
    repository: Repository
    engine: Engine


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    small, large = size.long // 10, size.long * 10
    common, rare = _common_and_rare()
    for kind in stores.SQL:
        with _filled(kind, small) as little, _filled(kind, large) as much:
            for query, what in (
                (common, "a common word"),
                (rare, "a rare word"),
                ("nobody said this", "no hit"),
            ):
                for order in ORDERS if query == common else ORDERS[:1]:
                    yield _growth(size, little, much, query, f"{what}, {order} first", order)
            for order in ORDERS:
                yield _against_raw(size, much, common, order)
            yield _after_many(size, little, common)


ORDERS: tuple[Order, ...] = ("newest", "best")


def _common_and_rare() -> tuple[str, str]:
    """Return a word that many messages say, and one that few do."""
    said = Counter(word for text in _texts() for word in set(words.words_of(text)) if word.isascii())
    by_count = sorted(said, key=lambda word: (said[word], word))
    return by_count[-1], next(word for word in by_count if said[word] > 2)


def _texts() -> list[str]:
    return [message.text[:LENGTH] for message in turns.many(THEIRS).messages]


@contextlib.contextmanager
def _filled(kind: str, size: int) -> Iterator[Store]:
    """Give a store of *size* messages: one user's thousand, and a thousand of each of the others."""
    with stores.migrated(kind) as url, stores.connected(url) as repository:
        engine = stores.writing(url)
        said = _texts()
        mine = repository.scope(user_id=USER)
        for start in range(0, THEIRS, IN_SESSION):
            mine.add_messages(f"mine-{start}", map(HumanMessage, said[start : start + IN_SESSION]))
        with engine.begin() as connection:
            original = copies.read(connection, "mine-")
        for copy in range(1, size // THEIRS):
            with engine.begin() as connection:
                copies.write(connection, original, copy, partial(_other, copy))
        refresh_search_index(engine.begin)
        stores.settle(url)
        yield Store(kind, repository, engine)
        engine.dispose()


def _other(number: int, _user: str | None) -> str:
    return f"user-{number}"


def _growth(size: Size, little: Store, much: Store, query: str, what: str, order: Order) -> Figure:
    sides = [
        partial(one.repository.search, query, user_id=USER, limit=LAST, order=order) for one in (much, little)
    ]
    hits = [[(hit.session_id, hit.position) for hit in side()] for side in sides]
    if hits[0] != hits[1] or bool(hits[0]) is what.startswith("no"):
        msg = f"{what}: {len(hits[0])} and {len(hits[1])} hits"
        raise AssertionError(msg)
    outcome = race(each(sides[0]), each(sides[1]), bursts=size.rounds, calls=size.calls, warm=5)
    store = f"{size.long * 10:,} messages in the store"
    work = f"search one user's {THEIRS:,} for {what}; {store}, {stores.NAMES[little.kind]}"
    return compared(work, f"{size.long // 10:,} in the store", outcome, GROWTH[little.kind])


def _against_raw(size: Size, store: Store, query: str, order: Order) -> Figure:
    """Race the search with the query by itself, on the same index, over a connection that is there."""
    mark, word = words.mark("u", USER), words.in_index(words.parse(query).wanted[0]).words[0]
    sql = RAW[store.kind, order].format(mark=mark, word=word, wanted=_WANTED, sessions=_SESSIONS)
    with store.engine.connect() as connection:
        raw = connection.connection.cursor()

        def ask() -> list[object]:
            raw.execute(sql)
            return list(raw.fetchall())

        if len(ask()) != LAST:
            msg = f"the raw query finds {len(ask())}"
            raise AssertionError(msg)
        search = partial(store.repository.search, query, user_id=USER, limit=LAST, order=order)
        outcome = race(each(search), each(ask), bursts=size.rounds, calls=size.calls, warm=5)
    work = f"search one user's {THEIRS:,} of {size.long * 10:,} for a common word, {order} first"
    return compared(f"{work}, {stores.NAMES[store.kind]}", "the full-text query alone", outcome, RAW_LIMIT)


def _after_many(size: Size, store: Store, query: str) -> Figure:
    """Time the first search after many new messages, each time of another user; they are as long as people's are."""
    mine, times, new = store.repository, [], turns.many(size.bulk).messages
    for number in count():
        if number == max(3, size.rounds // 3):
            break
        user = mine.scope(user_id=f"new-{number}")
        for start in range(0, size.bulk, 100):
            user.add_messages(f"new-{number}-{start}", new[start : start + 100])
        started = perf_counter()
        user.search(query, limit=LAST)
        times.append((perf_counter() - started) * 1_000)
    work = f"the first search after {size.bulk:,} new messages of 500 characters, {stores.NAMES[store.kind]}"
    return figure(work, "", times, "ms", FIRST[store.kind])
