"""SIGKILL in the middle of appends: nothing that was acknowledged is missing, and what is there can be read."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import chatstore
from tests.reliability.campaign import Campaign
from tests.reliability.places import place, worker
from tests.reliability.worker import turn


@pytest.mark.parametrize("kind", ["sqlite", "file", "redis", "redis-cluster"])
def test_a_killed_process_loses_nothing_it_acknowledged(kind: str) -> None:
    """100 kills: every acknowledged turn is stored, every turn is whole, and a file is still JSON."""
    campaign = Campaign(f"SIGKILL, {kind}", 100)
    acknowledged = stored = 0
    with place(kind) as url:
        for number in campaign.rounds():
            name, session = f"k{number}", f"session {number % 3}"
            process = worker("forever", url, session, name, 1_000_000)
            # The moment of the kill is what varies; the first one is late, since a short run may have no other.
            time.sleep(campaign.random.uniform(0.01, 0.3) if number else 2)
            process.kill()
            lines = process.communicate(timeout=60)[0].splitlines()
            campaign.done += 1
            said = [line.split() for line in lines if len(line.split()) == 3]
            acknowledged += len(said)
            stored += _check(url, session, name, {int(at): (int(q), int(a)) for at, q, a in said})
            if kind == "file":
                _all_json(url)
    assert acknowledged > 0
    campaign.report(acknowledged=acknowledged, stored=stored)


def _check(url: str, session: str, name: str, said: dict[int, tuple[int, int]]) -> int:
    with chatstore.connect(url) as repository:
        mine = [
            record for record in repository.get_records(session) if record.message_id.startswith(f"{name}-")
        ]
        found = {record.message_id: record for record in mine}
        for number, positions in said.items():
            for message, position in zip(turn(name, number), positions, strict=True):
                record = found[message.id or ""]
                assert (record.message, record.position) == (message, position)
        assert len(mine) in {2 * len(said), 2 * len(said) + 2}
        repository.add_messages(session, turn(f"after {name}", 0))
        repository.clear(session) if len(mine) > 2000 else None
    return len(mine)


def _all_json(url: str) -> None:
    for path in Path(url.removeprefix("file:")).rglob("*.json"):
        json.loads(path.read_bytes())
