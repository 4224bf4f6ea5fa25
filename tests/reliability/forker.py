"""Processes that fork: a parent that has used its repository, its child, and a third one that writes.

Run as ``python -m tests.reliability.forker URL [PLANTED]``; each line on standard input is a round, NUMBER WAY TURNS
THIRD. Every append that was acknowledged is a line on standard output, every error too, and ``over`` ends a round.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

import chatstore
from tests.reliability.worker import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore import Repository

#: Seconds after which somebody hangs.
SECONDS = 90


class Round:
    """What the processes of a round know: where to write, and where to say so."""

    def __init__(self, url: str, number: int, turns: int, said: int) -> None:
        """Write to a session of this round's, and say so on the descriptor *said*."""
        self.url, self.session, self.turns, self.said = url, f"round {number}", turns, said

    def say(self, *words: object) -> None:
        """Say a line; a pipe takes it whole."""
        os.write(self.said, (" ".join(map(str, words)).replace("\n", " | ")[:3000] + "\n").encode())

    def append(self, repository: Repository, name: str, first: int, last: int) -> None:
        """Append turns, and say where each was stored."""
        for number in range(first, last):
            records = repository.add_messages(self.session, turn(name, number))
            self.say(name, number, *(record.position for record in records))

    @contextmanager
    def telling(self, name: str) -> Iterator[None]:
        """Say what went wrong."""
        try:
            yield
        except BaseException:  # noqa: BLE001 - passed on to the judge
            self.say("failed", name, traceback.format_exc()[-2500:])

    def forked(self, name: str, work: Callable[[], None]) -> int:
        """Do *work* in a child, which ends at once then."""
        child = os.fork()
        if child == 0:
            with self.telling(name):
                work()
            os._exit(0)
        return child


class Pair:
    """A parent and a child that take turns: the child writes, the parent acts, the child writes on."""

    def __init__(self, around: Round) -> None:
        """Make the pipes."""
        self.around = around
        self._half, self._acted = os.pipe(), os.pipe()

    def child(self, repository: Repository, name: str = "child") -> None:
        """Write the one half, wait until the parent has acted or ended, and write the other."""
        os.close(self._acted[1])
        half = self.around.turns // 2
        self.around.append(repository, name, 0, half)
        os.write(self._half[1], b".")
        os.read(self._acted[0], 1)
        self.around.append(repository, name, half, self.around.turns)

    def wait(self) -> None:
        """Wait for the child's half."""
        os.close(self._half[1])
        os.read(self._half[0], 1)

    def acted(self) -> None:
        """Let the child go on; the end of this process does it too."""
        os.close(self._acted[1])


# ------------------------------------------------------------------------------------------------ what parents do


def closes(around: Round, repository: Repository) -> None:
    """Close the repository while the child writes."""
    pair = Pair(around)
    around.forked("child", lambda: pair.child(repository))
    pair.wait()
    repository.close()
    pair.acted()


def ends(around: Round, repository: Repository) -> None:
    """Come to the end, as an interpreter does, without closing anything."""
    pair = Pair(around)
    around.forked("child", lambda: pair.child(repository))
    pair.wait()


def vanishes(around: Round, repository: Repository) -> None:
    """End at once."""
    ends(around, repository)
    os._exit(0)


def writes(around: Round, repository: Repository) -> None:
    """Write at the same time as the child, and close."""
    around.forked("child", lambda: around.append(repository, "child", 0, around.turns))
    around.append(repository, "parent", 0, around.turns)
    repository.close()


def daemonizes(around: Round, repository: Repository) -> None:
    """Have the child of a child go on, after both that were before it have ended."""
    pair = Pair(around)

    def between() -> None:
        os.setsid()
        around.forked("daemon", lambda: pair.child(repository, "daemon"))

    os.waitpid(around.forked("between", between), 0)
    pair.wait()


def preloads(around: Round, repository: Repository) -> None:
    """Fork workers, as servers do, and close what was loaded before."""
    for name in ("worker1", "worker2", "worker3"):
        around.forked(name, lambda name=name: around.append(repository, name, 0, around.turns))  # type: ignore[misc]
    repository.close()


def multiplies(around: Round, repository: Repository) -> None:
    """Start a process of multiprocessing, and close while it writes."""
    pair = Pair(around)

    def work() -> None:
        with around.telling("child"):
            pair.child(repository)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    pair.wait()
    repository.close()
    pair.acted()
    process.join()


def executes(around: Round, repository: Repository) -> None:
    """Start a program, with a function that writes before it begins."""

    def before() -> None:
        with around.telling("child"):
            around.append(repository, "child", 0, around.turns)

    def run() -> None:
        subprocess.run(["true"], preexec_fn=before, check=True)

    thread = threading.Thread(target=run)
    thread.start()
    around.append(repository, "parent", 0, around.turns)
    thread.join()
    repository.close()


def threads(around: Round, repository: Repository) -> None:
    """Fork twice while two threads write."""
    writers = [
        threading.Thread(target=_told, args=(around, repository, f"thread{number}")) for number in range(2)
    ]
    for writer in writers:
        writer.start()
    for name in ("child1", "child2"):
        around.forked(name, lambda name=name: around.append(repository, name, 0, around.turns))  # type: ignore[misc]
    for writer in writers:
        writer.join()


def _told(around: Round, repository: Repository, name: str) -> None:
    with around.telling(name):
        around.append(repository, name, 0, around.turns)


def awaits(around: Round, repository: Repository) -> None:
    """Fork while a loop writes, in threads of ours or on sockets of its own; the child has a loop too."""
    shared = chatstore.connect_async(around.url)

    async def append(name: str) -> None:
        with around.telling(name):
            for number in range(around.turns):
                records = await shared.add_messages(around.session, turn(name, number))
                around.say(name, number, *(record.position for record in records))

    async def parent() -> None:
        tasks = [asyncio.create_task(append(f"task{number}")) for number in range(2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(around.forked, "child", child)
        await asyncio.gather(*tasks)
        await shared.close()

    def child() -> None:
        around.append(repository, "blocking", 0, around.turns // 2)
        asyncio.run(append("child"))

    asyncio.run(parent())


def reads(around: Round, repository: Repository) -> None:
    """Fork half way through an iteration over records, with which both go on."""
    records = repository.iter_records(around.session)
    seen = [next(records).position]

    def child() -> None:
        seen.extend(record.position for record in records)
        around.append(repository, "child", 0, around.turns)
        if seen[:4] != [1, 2, 3, 4]:
            around.say("failed", "child", f"read the positions {seen}")

    around.forked("child", child)
    around.append(repository, "parent", 0, around.turns)
    seen.extend(record.position for record in records)
    if seen[:4] != [1, 2, 3, 4]:
        around.say("failed", "parent", f"read the positions {seen}")


#: The ways, and how many forks each is.
WAYS: dict[str, tuple[Callable[[Round, Repository], None], int]] = {
    "closes": (closes, 1),
    "ends": (ends, 1),
    "vanishes": (vanishes, 1),
    "writes": (writes, 1),
    "daemonizes": (daemonizes, 2),
    "preloads": (preloads, 3),
    "multiplies": (multiplies, 1),
    "executes": (executes, 1),
    "threads": (threads, 2),
    "awaits": (awaits, 1),
    "reads": (reads, 1),
}


# ------------------------------------------------------------------------------------------------ rounds


def third(around: Round) -> None:
    """Write beside the others, over several connections one after the other."""
    for number in range(around.turns):
        with chatstore.connect(around.url) as repository:
            around.append(repository, "third", number, number + 1)


def parent(around: Round, way: str) -> None:
    """Use a repository, then fork in this way."""
    with around.telling("parent"):
        repository = chatstore.connect(around.url)
        around.append(repository, "before", 0, 2)
        WAYS[way][0](around, repository)


def main(url: str, planted: str) -> None:
    """Carry out rounds; a forked parent returns from here, to end as an interpreter does."""
    chatstore.connect(url).close()  # loads what the forked processes need; this one uses nothing
    if planted:
        _plant(planted)
    while line := sys.stdin.readline():
        number, way, turns, beside = line.split()
        heard, said = os.pipe()
        around = Round(url, int(number), int(turns), said)
        forked = os.fork()
        if forked == 0:
            os.close(heard)
            parent(around, way)
            return
        children = [forked] + ([around.forked("third", lambda: third(around))] if beside == "1" else [])  # noqa: B023
        os.close(said)
        _relay(heard)
        os.close(heard)
        for child in children:
            os.waitpid(child, 0)
        print("over", flush=True)


def _plant(planted: str) -> None:
    """Take away what closes connections before a fork, and, if all is *crossing*, what refuses those that crossed."""
    from chatstore import forks
    from chatstore.backends.sql.dialects import crossing

    forks._closing.clear()
    if planted == "crossing":
        crossing._crossings.refuse = lambda _: None  # type: ignore[method-assign, assignment]


def _relay(heard: int) -> None:
    """Pass on what the processes of a round say, until the last of them has ended."""
    while True:
        if not select.select([heard], [], [], SECONDS)[0]:
            print("failed everybody hangs", flush=True)
            return
        part = os.read(heard, 65536)
        if not part:
            return
        os.write(1, part)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
