"""What pages of the viewer cost: from a request to the last byte, at 100,000 sessions and a million messages.

A page is asked for as a server would ask, without a network: HTTP on the loopback interface adds the same to each.
"""

from __future__ import annotations

import contextlib
import re
from html import unescape
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from werkzeug.test import Client

from chatstore.backends.sql.search_objects import refresh_search_index
from chatstore.messages import AIMessage, HumanMessage
from chatstore.viewer import Viewer
from chatstore.viewer.pages import LINES
from tests.benchmarks import copies, stores, turns
from tests.benchmarks.harness import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.harness import Size

#: Milliseconds to the last byte; kilobytes of a page; megabytes that a thousand pages may leave behind.
LIMIT, LARGEST, GROWTH = 100.0, 100.0, 20.0
#: Messages of a session that is copied again and again; and of the long one.
IN_SESSION = 10
PAGES = 1_000


class Store(NamedTuple):
    """A database full of conversations, and a client of its viewer."""

    kind: str
    client: Client
    many: int
    long: int


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in ("sqlite", "postgres"):
        with _filled(kind, size.long, size.bulk) as store:
            yield from _times(size, store)
        if kind == "sqlite":
            with _filled(kind, size.long // 100, size.bulk // 10) as small:
                yield _memory(small)


@contextlib.contextmanager
def _filled(kind: str, count: int, long: int) -> Iterator[Store]:
    """Give a store of *count* sessions of ten messages each, and one of *long* messages."""
    with stores.migrated(kind) as url, stores.connected(url) as repository:
        said = [message.text[:200] for message in turns.many(1_000).messages]
        talk = [HumanMessage, AIMessage] * (IN_SESSION // 2)
        for number in range(100):
            texts = said[number * IN_SESSION : (number + 1) * IN_SESSION]
            repository.create_session(f"0-{number}", user_id=f"user-{number}", title=texts[0][:40])
            repository.add_messages(
                f"0-{number}", [make(line) for make, line in zip(talk, texts, strict=True)]
            )
        engine = stores.writing(url)
        with engine.begin() as connection:
            original = copies.read(connection, "0-")
            for copy in range(1, count // 100):
                copies.write(connection, original, copy, lambda user: user)
        repository.create_session("long", user_id="user-7")
        stores.fill(repository, "long", long)
        refresh_search_index(engine.begin)
        stores.settle(url)
        engine.dispose()
        yield Store(kind, Client(Viewer(repository, rate=None)), count, long)


def _times(size: Size, store: Store) -> Iterator[Figure]:
    """Measure the pages of one store, and how large the largest of them is."""
    many, name = store.many, stores.NAMES[store.kind]
    deep = _deep(store.client, min(PAGES, many // LINES - 1))
    common, rare = _words()
    asked = {
        f"list of {many:,} sessions, page 1": "/",
        f"list of {many:,} sessions, page {min(PAGES, many // LINES - 1):,}": deep,
        f"list of {many:,} sessions, of one user": "/?user=user-7",
        f"list of {many:,} sessions, a model that nobody used": "/?model=none",
        f"conversation of {store.long:,} messages, its end": "/session?id=long",
        f"conversation of {store.long:,} messages, its middle": f"/session?id=long&at={store.long // 2}",
        f"search in {many * IN_SESSION:,} messages, a rare word, newest first": f"/search?q={rare}",
        f"search in {many * IN_SESSION:,} messages, a common word, newest first": f"/search?q={common}",
        f"search in {many * IN_SESSION:,} messages, a rare word, best first": f"/search?q={rare}&order=best",
        f"search in {many * IN_SESSION:,} messages, a common word, best first": f"/search?q={common}&order=best",
    }
    largest = 0
    for work, path in asked.items():
        times = []
        for _ in range(size.calls + 2):
            started = perf_counter()
            answer = store.client.get(path)
            data = answer.data
            times.append((perf_counter() - started) * 1000)
            if answer.status_code != 200:
                msg = f"{path}: {answer.status}"
                raise AssertionError(msg)
            largest = max(largest, len(data))
        times = sorted(times[2:])
        low, middle, high = (times[len(times) * part // 4] for part in (1, 2, 3))
        limit = None if "nobody" in work else LIMIT
        yield Figure(f"{work}, {name}", "to the last byte", middle, low, high, "ms", limit, None, None)
    yield Figure(
        f"largest of these pages, {name}", "without pictures", largest / 1000, largest / 1000, largest / 1000, "kB",
        LARGEST, None, None,
    )  # fmt: skip


def _deep(client: Client, page: int) -> str:
    """Walk to a page of the list, as a reader would; return its address."""
    path = "/"
    for _ in range(page - 1):
        found = re.search(r'<a href="([^"]+)" rel="next">', client.get(path).text)
        if found is None:
            raise AssertionError(path)
        path = urljoin("/", unescape(found[1]))
    return path


def _words() -> tuple[str, str]:
    """Return a word that many messages say, and one that few do."""
    said = [
        word
        for message in turns.many(1_000).messages
        for word in message.text[:200].lower().split()
        if word.isalpha()
    ]
    by_count = sorted(set(said), key=lambda word: (said.count(word), word))
    return by_count[-1], by_count[0]


def _memory(store: Store) -> Figure:
    """Read a thousand pages of all kinds; what the process holds afterwards, more than after a hundred."""
    paths = ["/", "/session?id=long", "/session?id=0-1", "/search?q=a", "/numbers", "/session?id=long&at=50"]
    for number in range(100):
        store.client.get(paths[number % len(paths)])
    before = _resident()
    for number in range(PAGES):
        store.client.get(paths[number % len(paths)])
    grown = max(0.0, _resident() - before)
    work = f"memory after {PAGES:,} pages, {stores.NAMES[store.kind]}"
    return Figure(work, "after the first hundred", grown, grown, grown, "MB more", GROWTH, None, None)


def _resident() -> float:
    """Return the memory of this process, in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000
