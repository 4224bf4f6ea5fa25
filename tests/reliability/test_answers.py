"""SIGKILL in the middle of a streamed answer: its text is there up to a moment before, once, and marked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest

import chatstore
from chatstore import codec
from chatstore.answers import FLUSH_SECONDS
from chatstore.arguments import utcnow
from tests.reliability.campaign import Campaign
from tests.reliability.places import ROOT, place
from tests.reliability.streamer import WORDS, word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore import MessageRecord

#: Killed in a run that is not short.
KILLS = 1000


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "file", "redis"])
def test_a_killed_answer_keeps_its_text_and_says_that_it_is_incomplete(kind: str) -> None:
    """1,000 kills: no text older than 250 ms and a write is missing, no answer is there twice or without a mark."""
    campaign = Campaign(f"SIGKILL in an answer, {kind}", KILLS)
    late = doubled = unmarked = whole = broken = 0
    oldest = slowest = 0.0
    with place(kind) as url, streaming(url) as process:
        for number in campaign.rounds():
            name, session = f"k{number}", f"s{number % 3}"
            lines, killed = cut(process, f"{session} {name}", campaign.random.uniform(0.02, 0.6))
            campaign.done += 1
            with chatstore.connect(url) as repository:
                records = repository.get_records(session)
                found = [one for one in records if one.message_id.startswith(f"{name}-")]
                begun, said, write = told(lines)
                slowest = max(slowest, write)
                doubled += doubles(found, begun)
                for answer in found[1::2]:
                    age = lost(answer, said.get(int(answer.message_id.split("-")[1]), []), killed)
                    # What is due is stored once it is written, and that is the storage's time.
                    late += age > FLUSH_SECONDS + slowest
                    oldest = max(oldest, age)
                    if len(answer.message.text) == WORDS * len(word(1)) and answer.state == "complete":
                        whole += 1
                    else:
                        broken += 1
                        unmarked += unseen(repository, session, answer)
                repository.clear(session)
    campaign.report(
        late=late,
        doubled=doubled,
        unmarked=unmarked,
        whole=whole,
        broken=broken,
        oldest_ms=round(1000 * oldest),
        slowest_write_ms=round(1000 * slowest),
    )
    assert (0, 0, 0) == (late, doubled, unmarked)
    assert broken > 0


class streaming:  # noqa: N801 - a context, used like a function
    """The process that makes the children, until the block ends."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.streamer", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


def cut(process: subprocess.Popen[str], order: str, after: float) -> tuple[list[str], float]:
    """Start a child, kill it *after* seconds of its first answer; return its lines, and when it was killed."""
    assert process.stdin is not None
    process.stdin.write(f"{order}\n")
    process.stdin.flush()
    lines, output = [], read(process)
    child = 0
    for line in output:
        lines.append(line)
        if line.startswith("child "):
            child = int(line.split()[1])
        if child and any(one.startswith("begun") for one in lines):
            break
    time.sleep(after)
    killed = time.monotonic()
    os.kill(child, signal.SIGKILL)
    for line in output:
        if line == "gone":
            break
        lines.append(line)
    return lines, killed


def read(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what the process and its child say."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.strip()


def told(lines: list[str]) -> tuple[int, dict[int, list[float]], float]:
    """Return how many answers were begun, when each word of each was said, and how long the slowest write took."""
    said: dict[int, list[float]] = {}
    slowest = 0.0
    for line in lines:
        what, *rest = line.split()
        if what == "said":
            said.setdefault(int(rest[0]), []).append(float(rest[2]))
            slowest = max(slowest, float(rest[3]))
    return sum(line.startswith("begun") for line in lines), said, slowest


def doubles(found: list[MessageRecord], begun: int) -> int:
    """Count what is there more often than once, or not as question and answer in turns."""
    ids = [one.message_id.split("-", 1)[1] for one in found]
    wanted = [f"{number}-{part}" for number in range(len(found) // 2) for part in "qa"]
    return (ids != wanted) + (len(found) // 2 not in {begun, begun + 1})


def lost(answer: MessageRecord, said: list[float], killed: float) -> float:
    """Return how old the first word was that is missing, in seconds; 0 if none is."""
    words = answer.message.text.split()
    assert [word(number).strip() for number in range(1, len(words) + 1)] == words
    missing = said[len(words) :]
    # The last word was said before it was appended, if it was.
    return max(0.0, killed - missing[0]) if missing else 0.0


def unseen(repository: chatstore.Repository, session: str, answer: MessageRecord) -> bool:
    """Tell whether an answer that broke off does not read as abandoned after a minute, or cannot be closed."""

    def later() -> object:
        return utcnow() + timedelta(seconds=61)

    with mock.patch.object(codec, "utcnow", later):
        seen = repository.get_message(session, answer.position)
    with mock.patch("chatstore.repository.ABANDONED_AFTER", timedelta(0)):
        closed = repository.close_answers()
    after = repository.get_message(session, answer.position)
    states = {(seen.state, seen.finish_reason), (after.state, after.finish_reason)}
    if answer.state == "complete":  # killed between its end and the word that said so
        return states != {("complete", None)}
    return (answer.state, closed, states) != ("streaming", 1, {("incomplete", "abandoned")})
