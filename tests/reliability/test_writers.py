"""Many writers on one session: every turn once, whole, in order, and seen by a reader that follows."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

import chatstore
from chatstore import HumanMessage
from tests.reliability.campaign import Campaign
from tests.reliability.places import go, place, worker
from tests.reliability.worker import turn

PROCESSES = 8
SECONDS = 1500


SERVICES = ("redis", "redis-cluster", "dynamodb", "cosmosdb")


@pytest.mark.parametrize("kind", ["sqlite", "file", "postgres", "mariadb", *SERVICES])
def test_eight_processes_append_to_one_session(kind: str) -> None:
    """8 processes x 100 turns (the services: 200): none lost, doubled, refused or torn; a tailing reader sees all."""
    campaign = Campaign(f"8 processes, one session, {kind}", PROCESSES)
    turns = campaign.size(200 if kind in SERVICES else 100, 10)
    with place(kind) as url:
        processes = [worker("append", url, "shared", f"p{number}", turns) for number in range(PROCESSES)]
        tail = _Tail(url)
        for process in processes:
            go(process)
        try:
            said = [process.communicate(timeout=SECONDS)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()  # none is left behind if one hangs
        failed = [text for process, text in zip(processes, said, strict=True) if process.returncode]
        seen = tail.finish(2 * PROCESSES * turns)
        with chatstore.connect(url) as repository:
            stored = repository.get_records("shared")
            session = repository.get_session("shared")
    campaign.done = PROCESSES

    assert failed == []
    wanted = sorted(
        message.id or ""
        for number in range(PROCESSES)
        for at in range(turns)
        for message in turn(f"p{number}", at)
    )
    assert sorted(record.message_id for record in stored) == wanted
    positions = [record.position for record in stored]
    assert all(left < right for left, right in pairwise(positions))
    assert all(_answers(left, right) for left, right in zip(stored[::2], stored[1::2], strict=True))
    assert seen == [(record.position, record.message_id) for record in stored]
    assert (session.message_count, session.last_position) == (len(stored), positions[-1])
    campaign.report(turns=PROCESSES * turns, stored=len(stored), followed=len(seen))


def _answers(question: Any, answer: Any) -> bool:
    """Tell whether two neighbours are one turn: the answer stands right behind its question."""
    same = question.message_id.removesuffix("-q") == answer.message_id.removesuffix("-a")
    return bool(same and answer.position == question.position + 1)


class _Tail(threading.Thread):
    """A reader that follows the session by its last position."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.seen, self.wanted = url, [], 1 << 60
        self.until = time.monotonic() + SECONDS
        self.start()

    def run(self) -> None:
        with chatstore.connect(self.url) as repository:
            while len(self.seen) < self.wanted and time.monotonic() < self.until:
                after = self.seen[-1][0] if self.seen else 0
                self.seen += [
                    (one.position, one.message_id) for one in repository.get_records("shared", after=after)
                ]

    seen: list[tuple[int, str]]

    def finish(self, wanted: int) -> list[tuple[int, str]]:
        self.wanted = wanted
        self.until = time.monotonic() + 30
        self.join()
        return self.seen


@pytest.mark.parametrize("kind", ["postgres", "mariadb", "sqlite", "redis", "redis-cluster", "dynamodb"])
def test_overlapping_ids_from_eight_threads(kind: str) -> None:
    """1,600 calls with ids that overlap: each returns all its records, no gap, counters right, one body an id."""
    campaign = Campaign(f"overlapping ids, {kind}", 1600)
    calls = campaign.size(200, 15)
    with place(kind) as url, chatstore.connect(url) as repository:
        repository.count_messages("shared")

        def work(number: int) -> int:
            rng = Campaign(f"overlap {kind} {number}", 1).random
            for call in range(calls):
                first = max(0, call * 3 + rng.randrange(-4, 5))
                ids = [f"m{first + step}" for step in range(rng.randrange(1, 6))]
                records = repository.add_messages(
                    "shared", [HumanMessage(f"body of {name}", id=name) for name in ids]
                )
                assert [record.message_id for record in records] == ids
                assert [record.message.content for record in records] == [f"body of {name}" for name in ids]
            return calls

        with ThreadPoolExecutor(8) as pool:
            campaign.done = sum(pool.map(work, range(8)))
        stored = repository.get_records("shared")
        session = repository.get_session("shared")

    assert [record.position for record in stored] == list(range(1, len(stored) + 1))
    assert (session.message_count, session.last_position) == (len(stored), len(stored))
    assert len({record.message_id for record in stored}) == len(stored)
    campaign.report(calls=campaign.done, stored=len(stored))
