"""Poolers in transaction mode: no call fails, and none touches a row that it did not name."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests import pooled, servers
from tests.reliability.campaign import Campaign
from tests.reliability.places import ROOT, place

PROCESSES = 3
THREADS = 8
#: Calls between two looks at the clock.
PART = 250


@pytest.mark.parametrize(("driver", "way"), [("psycopg", "sync"), ("psycopg", "async"), ("asyncpg", "async")])
def test_processes_come_one_after_the_other(driver: str, way: str) -> None:
    """3 processes x 8 threads or tasks x 30 rounds x 4 calls: what one leaves on the servers hinders none after it."""
    campaign = Campaign(f"3 processes behind a pooler, {driver} {way}", PROCESSES)
    rounds = campaign.size(30, 3)
    calls = failed = 0
    with place("postgres") as url, servers.pooled(url) as behind:
        there = pooled.through(behind, driver)
        for _ in range(PROCESSES):
            done = subprocess.run(
                [sys.executable, "-m", "tests.pooled", there, way, str(THREADS), str(rounds)],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
            )
            made, refused = map(int, done.stdout.split())
            calls, failed = calls + made, failed + refused
            campaign.done += 1

    assert (PROCESSES * THREADS * rounds * pooled.CALLS, 0) == (calls, failed)
    campaign.report(calls=calls, failed=failed)


def test_two_applications_share_a_pooler() -> None:
    """10,000 calls of two applications in turn, on ever other server connections: all hit what they name."""
    campaign = Campaign("two applications on one pooler", 10_000)
    seen: Counter[str] = Counter()
    with place("postgres") as url, servers.pooled(url) as behind:
        for number in campaign.rounds():
            seen += pooled.take_turns(behind, PART, campaign.random, str(number))
            campaign.done = seen["calls"]

    assert Counter(calls=campaign.done) == seen
    campaign.report(failed=seen["failed"], wrong=seen["wrong"])
