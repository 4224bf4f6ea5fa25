"""The commands between all kinds of places, and killed at any moment: repeated, everything is there once."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chatstore.cli import main
from chatstore.cli.tolerant_reading import list_all_sessions
from chatstore.connect import connect
from tests.reliability.places import place
from tests.sources import planting
from tests.sources.filling import fill, told
from tests.sources.shapes import MESSAGES, RAW, human_element

ROOT = Path(__file__).parents[2]
KINDS = ("file", "sqlite", "postgres", "mariadb")
SERVICES = ("redis", "dynamodb", "cosmosdb")
#: Every two of the first four; each service on both sides, of one of these and of the next service.
PAIRS = [
    *itertools.product(KINDS, KINDS),
    *(pair for service in SERVICES for pair in ((service, "sqlite"), ("file", service))),
    *itertools.pairwise((*SERVICES, "redis")),
]
SEED = 20261125


def command(*words: str) -> Any:
    """Run the command line in this process."""
    return CliRunner().invoke(main, words, catch_exceptions=False)


def killed(chance: random.Random, path: Path, *words: str) -> bool:
    """Start the command line, kill it at some moment after it made *path*; tell whether it was still at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chatstore", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.2))  # the moment of the kill is what varies
    process.kill()
    return process.wait(60) == -signal.SIGKILL


def options(plant: planting.Plant) -> list[str]:
    """Return the arguments that read *plant*."""
    named = [(f"--{name.replace('_', '-')}", value) for name, value in plant.options.items()]
    return ["--from", plant.kind, plant.source, *(word for pair in named for word in pair)]


def test_every_source_arrives_by_the_command(plant: Any, tmp_path: Path) -> None:
    """Each source by its options, into SQLite: the messages are equal, and both places are named."""
    plant.add(plant.session("one"), RAW)

    url = f"sqlite:///{tmp_path}/new.db"
    ran = command("import", *options(plant), "--url", url)

    assert 0 == ran.exit_code, ran.stderr
    assert f"1 session, {len(RAW)} messages new, 0 known" in ran.stdout
    assert "source     " in ran.stderr
    assert f"target     {url}" in ran.stderr
    with connect(url) as repository:
        assert MESSAGES == repository.get_messages(plant.session("one"))


@pytest.mark.timeout(900)
def test_an_import_that_is_killed_and_repeated(tmp_path: Path) -> None:
    """20 imports of a Redis list are killed and repeated: all is the same as after one in one go."""
    print(f"seed {SEED}")
    chance, interrupted = random.Random(SEED), 0
    with planting.planted("redis-list") as plant:
        for number in range(4):
            plant.add(f"s{number}", [human_element(f"{number} {chance.random()}") for _ in range(900)])
        words = ["import", *options(plant), "--url"]
        assert 0 == command(*words, f"sqlite:///{tmp_path}/whole.db").exit_code
        expected = imported(tmp_path / "whole.db")
        for number in range(20):
            path, url = tmp_path / f"{number}.db", f"sqlite:///{tmp_path}/{number}.db"
            interrupted += killed(chance, path, *words, url)
            done = command(*words, url)
            assert 0 == done.exit_code, done.stderr
            assert expected == imported(path)
    assert interrupted >= 10


def imported(path: Path) -> dict[str, Any]:
    """Return the messages of all sessions, with their ids and positions; times are those of the import."""
    with connect(f"sqlite:///{path}") as repository:
        return {
            session_id: [record[:3] for record in repository.iter_records(session_id)]
            for session_id in list_all_sessions(repository, user_id=None, tenant_id=None)
        }


@pytest.mark.timeout(900)
def test_a_copy_that_is_killed_and_repeated(tmp_path: Path) -> None:
    """Ten copies into files are killed and repeated: all is the same as in the source."""
    print(f"seed {SEED}")
    chance, interrupted = random.Random(SEED), 0
    with connect(f"sqlite:///{tmp_path}/old.db") as repository:
        fill(repository, long=1203)
        expected = told(repository)
    path, words = tmp_path / "copy", ["copy", f"sqlite:///{tmp_path}/old.db", f"file:{tmp_path}/copy"]
    for _ in range(10):
        interrupted += killed(chance, path, *words)
        done = command(*words)
        assert 0 == done.exit_code, done.stderr
        with connect(f"file:{path}") as repository:
            assert expected == told(repository)
        shutil.rmtree(path)
    assert interrupted >= 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_everything_is_copied_between_any_two(source: str, target: str) -> None:
    """Messages, positions, ids, times and the sessions' own data are equal; the second copy finds all known."""
    long = 403 if "dynamodb" in (source, target) else 1203  # its emulator looks through all for each page
    with place(source) as old, place(target) as new:
        with connect(old) as repository:
            fill(repository, long=long)
            expected = told(repository)

        first, again = (command("copy", old, new, "--json") for _ in range(2))

        assert (0, 0) == (first.exit_code, again.exit_code), first.stderr + again.stderr
        for url in (new, old):
            with connect(url) as repository:
                assert expected == told(repository)
    counts = [json.loads(ran.stdout) for ran in (first, again)]
    messages = sum(len(records) for _, _, records in expected.values())
    assert [(messages, 0), (0, messages)] == [(one["new_messages"], one["known_messages"]) for one in counts]
    compared = counts[0]["compared"]
    assert set(expected) == {one["session_id"] for one in compared}
    assert {"same"} == {one["state"] for one in compared}
    assert {64} == {len(one["sha256"]) for one in compared}
