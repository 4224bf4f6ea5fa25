"""Whether a long session is as fast as a short one, and what search takes in it."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from chatstore.backends.sql.dialects import dialect_for
from chatstore.backends.sql.engine_factory import new_engine
from chatstore.backends.sql.repository import SQLRepository
from chatstore.messages import HumanMessage
from tests.benchmarks import stores, turns
from tests.benchmarks.harness import compared, each, race

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.repository import Repository
    from tests.benchmarks.harness import Figure, Side, Size

#: Messages in the short sessions of a database, and of a folder.
SHORT, SHORT_FILE = 100, 10
#: A word that three messages say.
RARE = "quincunx"
LAST = 20


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in stores.SQL:
        with stores.migrated(kind) as url, stores.connected(url) as repository:
            _sessions(repository, size.long, SHORT, size.bursts)
            stores.settle(url)
            yield _last(size, kind, repository, size.long, SHORT)
            yield _append(size, kind, repository, (size.long, SHORT), size.calls)
            with _scanning(url) as scanning:
                yield from _search(size, kind, repository, scanning)
    with stores.migrated("file") as url, stores.connected(url) as repository:
        _sessions(repository, size.long_file, SHORT_FILE, size.bursts)
        yield _append(size, "file", repository, (size.long_file, SHORT_FILE), 5)
    with stores.migrated("file") as url, stores.connected(url) as repository:
        _sessions(repository, size.long, SHORT, 1)
        yield _last(size, "file", repository, size.long, SHORT)


def _sessions(repository: Repository, long: int, short: int, count: int) -> None:
    """Make one long session, and *count* short ones, so that they stay short while they are appended to."""
    for number in range(count + 1):
        stores.fill(repository, f"short-{number}", short)
    stores.fill(repository, "long", long)
    for number in range(3):
        repository.add_messages("found", [HumanMessage(f"the {RARE} is number {number}")])


def _append(size: Size, kind: str, repository: Repository, lengths: tuple[int, int], calls: int) -> Figure:
    """Append to the long session, and to a short one that is another in each burst."""
    source, bursts = turns.turns(), itertools.count()

    def adding(session_id: str) -> Side:
        return each(lambda: repository.add_messages(session_id, next(source).messages))

    def adding_to_the_next(calls: int) -> list[float]:
        return adding(f"short-{next(bursts) % (size.bursts + 1)}")(calls)

    outcome = race(
        adding("long"),
        adding_to_the_next,
        bursts=size.bursts,
        calls=calls,
        warm=10,
    )
    long, short = lengths
    work = f"append at {long:,} messages in the session, {stores.NAMES[kind]}"
    return compared(work, f"append at {short}", outcome, 1.2)


def _last(size: Size, kind: str, repository: Repository, long: int, short: int) -> Figure:
    for session_id in ("long", "short-0"):
        if len(repository.get_messages(session_id, last=LAST)) != LAST:
            msg = f"{session_id} should give its last {LAST}"
            raise AssertionError(msg)
    outcome = race(
        each(lambda: repository.get_messages("long", last=LAST)),
        each(lambda: repository.get_messages("short-0", last=LAST)),
        bursts=size.bursts,
        calls=size.calls,
        warm=20,
    )
    return compared(f"last {LAST} of {long:,}, {stores.NAMES[kind]}", f"last {LAST} of {short}", outcome, 1.1)


@contextmanager
def _scanning(url: str) -> Iterator[Repository]:
    """Give a repository that acts as if there were no search index."""
    engine = new_engine(url)
    repository = SQLRepository(engine, dialect=replace(dialect_for(engine.dialect.name), full_text=None))
    try:
        yield repository
    finally:
        repository.close()
        engine.dispose()


def _search(size: Size, kind: str, indexed: Repository, scanning: Repository) -> Iterator[Figure]:
    said = turns.many(2).messages[1].text.split()
    common = next(
        word for word in said if word.isascii() and len(word) > 3
    )  # FULLTEXT leaves out shorter ones
    for word, how_many in ((RARE, "3 messages"), (common, "many messages")):
        hits = [len(repository.search(word, limit=LAST)) for repository in (indexed, scanning)]
        if hits[0] != hits[1] or not hits[0]:
            msg = f"index and scan find {hits}"
            raise AssertionError(msg)
        outcome = race(
            each(partial(indexed.search, word, limit=LAST)),
            each(partial(scanning.search, word, limit=LAST)),
            bursts=max(3, size.rounds // 3),
            calls=1,
            warm=1,
        )
        work = f"search {size.long:,} messages for a word of {how_many}, {stores.NAMES[kind]}"
        yield compared(work, "a scan", outcome, None)
