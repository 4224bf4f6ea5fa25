"""Forks of a process that has used its repository: nothing that was acknowledged is missing, nothing is refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

import chatstore
from tests.reliability.campaign import Campaign
from tests.reliability.forker import WAYS
from tests.reliability.places import ROOT, place
from tests.reliability.worker import turn

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("kind", ["sqlite", "file", "postgres", "mariadb", "redis"])
def test_a_fork_loses_nothing(kind: str) -> None:
    """500 forks: what parents, children and others were told is stored is there once, in order; indexes are whole."""
    campaign = Campaign(f"forks, {kind}", 500)
    turns = campaign.size(6, 4)
    acknowledged = stored = 0
    with place(kind) as url, _forker(url) as forker:
        for number in campaign.rounds():
            way, beside = list(WAYS)[number % len(WAYS)], campaign.random.random() < 0.5
            faults, said, found = _round(forker, url, number, way, turns, beside=beside)
            assert faults == []
            acknowledged, stored = acknowledged + said, stored + found
            campaign.done += WAYS[way][1]
    campaign.report(acknowledged=acknowledged, stored=stored)


@pytest.mark.parametrize(("planted", "finds"), [("crossing", "is missing"), ("refused", "was forked while")])
def test_the_campaign_finds_connections_that_cross(planted: str, finds: str) -> None:
    """Where nothing closes connections before a fork, turns are lost; where children refuse them, that is seen."""
    with place("sqlite") as url, _forker(url, planted) as forker:
        found = [
            fault
            for number, way in enumerate(["closes", "ends"])
            for fault in _round(forker, url, number, way, 10, beside=False)[0]
        ]
    assert any(finds in fault for fault in found), found


@contextmanager
def _forker(url: str, planted: str = "") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.forker", url, planted],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as forker:
        try:
            yield forker
        finally:
            assert forker.stdin is not None
            forker.stdin.close()


def _round(
    forker: subprocess.Popen[str], url: str, number: int, way: str, turns: int, *, beside: bool
) -> tuple[list[str], int, int]:
    """Run a round; return what is wrong, how many messages were acknowledged, and how many are stored."""
    assert forker.stdin is not None
    assert forker.stdout is not None
    forker.stdin.write(f"{number} {way} {turns} {int(beside)}\n")
    forker.stdin.flush()
    lines = list(iter(forker.stdout.readline, "over\n"))
    faults = [f"{way}: {line.strip()}" for line in lines if line.startswith("failed")]
    acknowledged = {
        (message.id, int(position))
        for line in lines
        if not line.startswith("failed")
        for name, at, *positions in [line.split()]
        for message, position in zip(turn(name, int(at)), positions, strict=True)
    }
    with chatstore.connect(url) as repository:
        records = repository.get_records(f"round {number}")
        last = repository.get_session(f"round {number}").last_position
    found = [(record.message_id, record.position) for record in records]
    faults += [f"{way}: {one} is missing" for one in sorted(acknowledged - set(found), key=str)]
    faults += [f"{way}: {one} was not acknowledged" for one in found if one not in acknowledged]
    if [position for _, position in found] != list(range(1, last + 1)):
        faults.append(f"{way}: the positions are {[position for _, position in found]}, the last is {last}")
    faults += _damages(url)
    return faults, len(acknowledged), len(found)


def _damages(url: str) -> list[str]:
    if not url.startswith("sqlite"):
        return []
    with closing(sqlite3.connect(str(make_url(url).database))) as connection:
        return [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
