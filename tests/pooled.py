"""Applications that share a pooler, and what each finds of its own after every call.

Knows calls and what they must leave; refuses to know which pooler it is and how a driver speaks to it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

import chatstore
from chatstore import HumanMessage
from chatstore.errors import ChatstoreError

if TYPE_CHECKING:
    import random

#: Messages an application keeps in its session, about.
KEPT = 12
#: The calls of one round of `busy`.
CALLS = 4


def through(url: str, driver: str) -> str:
    """Return *url* for another *driver* of PostgreSQL."""
    return make_url(url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)


def named(url: str, application: str) -> str:
    """Return *url* for one application, so that two in one process do not share an engine."""
    at = make_url(url).update_query_dict({"application_name": application})
    return at.render_as_string(hide_password=False)


class Application:
    """One that edits a session of its own, and knows what must be in it: (position, text)."""

    def __init__(self, url: str, session: str, rng: random.Random) -> None:
        """Connect; nothing is sent yet."""
        self.repository = chatstore.connect(url)
        self.session, self.random = session, rng
        self.wanted: list[tuple[int, str]] = []
        self.last = 0
        #: What happened: calls, `failed` ones, and `wrong` ones that left other rows than they named.
        self.seen: Counter[str] = Counter()

    def call(self) -> None:
        """Do one thing and look at what is left, twice where something failed: an error must change nothing."""
        self.seen["calls"] += 1
        if len(self.wanted) < KEPT:
            step, left = self._append()
        else:
            step, left = self._remove()
        try:
            step()
            self.wanted = left
        except ChatstoreError:
            self.seen["failed"] += 1
        try:
            records = self.repository.get_records(self.session)
        except ChatstoreError:
            self.seen["failed"] += 1
            return
        found = [(record.position, record.message.content) for record in records]
        if found != self.wanted:
            self.seen["wrong"] += 1
        self.wanted = found  # type: ignore[assignment]
        self.last = max(self.last, records[-1].position if records else 0)

    def _append(self) -> tuple[Any, list[tuple[int, str]]]:
        texts = [f"{self.session} {self.seen['calls']} {number}" for number in range(KEPT)]
        messages = [HumanMessage(text) for text in texts]
        left = [*self.wanted, *enumerate(texts, self.last + 1)]
        return (lambda: self.repository.add_messages(self.session, messages)), left

    def _remove(self) -> tuple[Any, list[tuple[int, str]]]:
        at = self.random.randrange(len(self.wanted) // 2, len(self.wanted))
        position = self.wanted[at][0]
        if self.random.random() < 0.5:
            return (
                lambda: self.repository.delete_message(self.session, position),
                [*self.wanted[:at], *self.wanted[at + 1 :]],
            )
        return (lambda: self.repository.truncate(self.session, after=position)), self.wanted[: at + 1]


def take_turns(url: str, calls: int, rng: random.Random, part: str = "") -> Counter[str]:
    """Let two applications make *calls* calls in turn on a pooler that changes server connections all the time.

    A second *part* on the same database has sessions of its own.
    """
    both = [Application(named(url, name), name + part, rng) for name in ("one", "other")]
    for _ in range(calls // 2):
        for application in both:
            application.call()
    for application in both:
        application.repository.close()
    return both[0].seen + both[1].seen


def busy(url: str, threads: int, rounds: int) -> Counter[str]:
    """Make *threads* x *rounds* x `CALLS` calls at once with one repository; count them and those that fail."""
    seen: Counter[str] = Counter()
    with chatstore.connect(url) as repository:

        def work(number: int) -> None:
            for turn in range(rounds):
                for step in _round(repository, f"thread {number}", turn):
                    seen["calls"] += 1
                    try:
                        step()
                    except ChatstoreError:
                        seen["failed"] += 1

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    return seen


async def abusy(url: str, tasks: int, rounds: int) -> Counter[str]:
    """Do as `busy`, with tasks of one loop."""
    seen: Counter[str] = Counter()
    async with chatstore.connect_async(url) as repository:

        async def work(number: int) -> None:
            for turn in range(rounds):
                for step in _round(repository, f"task {number}", turn):
                    seen["calls"] += 1
                    try:
                        await step()
                    except ChatstoreError:
                        seen["failed"] += 1

        await asyncio.gather(*(work(number) for number in range(tasks)))
    return seen


def _round(repository: Any, session: str, turn: int) -> list[Any]:
    message = HumanMessage(f"{session} {turn}")
    return [
        lambda: repository.add_messages(session, [message]),
        lambda: repository.get_messages(session, last=20),
        lambda: repository.update_session(session, title=f"turn {turn}"),
        lambda: repository.list_sessions(limit=5),
    ]


def main(url: str, way: str, threads: str, rounds: str) -> None:
    """Be one process of the campaign, and print how many calls it made and how many of them failed."""
    size = int(threads), int(rounds)
    seen = busy(url, *size) if way == "sync" else asyncio.run(abusy(url, *size))
    print(seen["calls"], seen["failed"])


if __name__ == "__main__":
    main(*sys.argv[1:])
