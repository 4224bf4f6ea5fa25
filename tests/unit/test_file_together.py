"""Several at once on the same files: threads, processes, forked children, other programs, and kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatstore.backends.file import SESSION, FileRepository, SingleFileRepository, filesystem
from chatstore.errors import StorageUnavailable
from chatstore.histories import FileChatMessageHistory
from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from chatstore.repository import Repository

ROOT = Path(__file__).parents[2]
SEED = 7
#: Opens what is named, and appends turns; says on its output which ones were acknowledged.
WRITER = """
import sys
from chatstore.backends.file import FileRepository, SingleFileRepository, SESSION
from chatstore.messages import AIMessage, HumanMessage
path, name, turns, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
repository = SingleFileRepository(path) if path.endswith(".json") else FileRepository(path)
print("ready", flush=True)
for number in range(turns):
    question = HumanMessage(f"{name} {number} q", id=f"{name}-{number}")
    repository.add_messages(SESSION, [question, AIMessage(f"{name} {number} a" + " " * length)])
    print(number, flush=True)
"""


def writer(path: Path, name: str, turns: int, length: int = 0) -> subprocess.Popen[str]:
    """Start a process that appends *turns* turns, whose answers have *length* more characters."""
    command = [sys.executable, "-c", WRITER, str(path), name, str(turns), str(length)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def opened(path: Path) -> Repository:
    """Return a repository over *path* that knows nothing yet."""
    return SingleFileRepository(path) if path.suffix == ".json" else FileRepository(path)


def whole_turns(contents: list[str]) -> list[str]:
    """Return the names of the turns in *contents*, each of which is followed by its answer."""
    questions, answers = contents[::2], contents[1::2]
    assert [question[:-2] for question in questions] == [answer.rstrip()[:-2] for answer in answers]
    return [question[:-2] for question in questions]


@pytest.mark.parametrize("name", ["chats", "page.json"])
def test_processes_append_to_one_session(tmp_path: Path, name: str) -> None:
    """Of 4 processes with 25 turns each nothing is lost, doubled or torn; a reader sees all, in order."""
    writers = [writer(tmp_path / name, f"w{number}", 25) for number in range(4)]
    reader, seen, positions = opened(tmp_path / name), list[str](), [0]
    until = time.monotonic() + 60
    while len(seen) < 200 and time.monotonic() < until:
        for record in reader.get_records(SESSION, after=positions[-1]):
            positions.append(record.position)
            seen.append(str(record.message.content))
    assert {0} == {process.wait(60) for process in writers}
    for process in writers:
        process.communicate()

    assert list(range(201)) == positions
    assert seen == [message.content for message in opened(tmp_path / name).get_messages(SESSION)]
    turns = whole_turns(seen)
    assert sorted(turns) == sorted(f"w{number} {turn}" for number in range(4) for turn in range(25))
    for number in range(4):
        assert [f"w{number} {turn}" for turn in range(25)] == [
            turn for turn in turns if turn[:2] == f"w{number}"
        ]


@pytest.mark.parametrize("name", ["chats", "page.json"])
def test_threads_append_to_one_session(tmp_path: Path, name: str) -> None:
    """8 threads, with a repository of their own or one for all: every turn is stored once, in one piece."""
    shared = opened(tmp_path / name)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        repository = shared if number % 2 else opened(tmp_path / name)
        barrier.wait()
        for turn in range(10):
            repository.add_messages(
                SESSION, [HumanMessage(f"{number} {turn} q"), AIMessage(f"{number} {turn} a")]
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    turns = whole_turns([str(message.content) for message in shared.get_messages(SESSION)])
    assert sorted(turns) == sorted(f"{number} {turn}" for number in range(8) for turn in range(10))


@pytest.mark.parametrize("name", ["chats", "page.json"])
def test_overlapping_ids_are_stored_once(tmp_path: Path, name: str) -> None:
    """Threads that append the same messages all get the same records back."""
    batch = [HumanMessage(f"m{number}", id=f"i{number}") for number in range(20)]

    def work(number: int) -> list[tuple[int, str]]:
        found = opened(tmp_path / name).add_messages(SESSION, batch[number : number + 10])
        return [(record.position, record.message_id) for record in found]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, list(range(10)) * 3))

    stored = opened(tmp_path / name).get_records(SESSION)
    places = {record.message_id: record.position for record in stored}
    assert 19 == len(places) == len(stored)
    for number, answer in zip(list(range(10)) * 3, answers, strict=True):
        assert [(places[f"i{each}"], f"i{each}") for each in range(number, number + 10)] == answer


@pytest.mark.parametrize(("name", "length"), [("chats", 0), ("chats", 20_000), ("page.json", 20_000)])
def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path, name: str, length: int) -> None:
    """SIGKILL at any moment: every acknowledged turn is there, whole; the file is JSON."""
    print(f"seed {SEED}")
    chance, acknowledged = random.Random(SEED), list[str]()
    for kill in range(8):
        process = writer(tmp_path / name, f"k{kill}", 10_000, length)
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert "ready\n" == next(lines)
        for _ in range(chance.randint(1, 30)):
            acknowledged.append(f"k{kill} {next(lines).strip()}")
        process.send_signal(signal.SIGKILL)
        acknowledged += [f"k{kill} {line.strip()}" for line in lines if line.endswith("\n")]
        process.communicate()

        turns = whole_turns(
            [str(message.content) for message in opened(tmp_path / name).get_messages(SESSION)]
        )
        assert set(acknowledged) <= set(turns)
        assert len(turns) == len(set(turns)) <= len(acknowledged) + kill + 1
        (path,) = tmp_path.rglob("*.json")
        assert 2 * len(turns) == len(json.loads(path.read_bytes()))
    print(f"8 kills, {len(acknowledged)} acknowledged turns")


def test_another_program_may_write_the_page_anew(tmp_path: Path) -> None:
    """What that framework does (read all, write all) is seen at once, whatever was known before."""
    path = tmp_path / "page.json"
    repository = SingleFileRepository(path)
    repository.add_messages(SESSION, [HumanMessage("a", id="1"), AIMessage("b")])
    elements = json.loads(path.read_text())
    path.write_text(json.dumps([*elements, {"type": "human", "data": {"content": "c", "id": "2"}}]))

    assert ["a", "b", "c"] == [message.content for message in repository.get_messages(SESSION)]
    (known,) = repository.add_messages(SESSION, [HumanMessage("c", id="2")])
    assert 3 == known.position
    repository.add_messages(SESSION, [HumanMessage("d")])
    path.write_text(json.dumps(json.loads(path.read_text())[1:]))
    (again,) = repository.add_messages(SESSION, [HumanMessage("a", id="1")])

    assert 4 == again.position
    assert ["b", "c", "d", "a"] == [message.content for message in repository.get_messages(SESSION)]


@pytest.mark.parametrize("replaced", [True, False])
@pytest.mark.parametrize("name", ["chats", "page.json"])
def test_what_another_program_writes_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, replaced: bool
) -> None:
    """A program without locks that changes the file while a call works on it costs the call, not what it wrote."""
    path = tmp_path / name
    repository = opened(path)
    repository.add_messages(SESSION, [HumanMessage("a"), HumanMessage("b")])
    array = path if path.suffix else path / f"{SESSION}.json"
    foreign = array.read_bytes().replace(b'"b"', b'"by another"')
    read = os.pread

    def meddle(descriptor: int, size: int, start: int) -> bytes:
        monkeypatch.undo()
        found = read(descriptor, size, start)
        target = tmp_path / "new" if replaced else array
        target.write_bytes(foreign)
        target.rename(array)
        return found

    monkeypatch.setattr("os.pread", meddle)
    with pytest.raises(StorageUnavailable, match=r"changed by another program .*: repeat the call"):
        repository.add_messages(SESSION, [HumanMessage("c")])

    assert foreign == array.read_bytes()
    repository.add_messages(SESSION, [HumanMessage("c")])
    assert ["a", "by another", "c"] == [message.content for message in repository.get_messages(SESSION)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_holds_no_lock_of_its_parent(tmp_path: Path) -> None:
    """A lock that is held during the fork stays the parent's alone; the child waits for it."""
    repository = FileRepository(tmp_path / "chats")
    repository.add_messages("s", [HumanMessage("parent")])
    (path,) = (tmp_path / "chats" / ".locks").iterdir()
    held = filesystem.acquire(str(path), os.O_RDONLY, write=True)
    assert held is not None
    child = os.fork()
    if child == 0:
        try:
            os.fstat(held.descriptor)
        except OSError:
            repository.add_messages("s", [HumanMessage("child")])
            os._exit(0)
        os._exit(1)
    filesystem.release(held)

    assert 0 == os.waitpid(child, 0)[1]

    assert ["parent", "child"] == [message.content for message in repository.get_messages("s")]


def test_a_history_over_a_file_serves_both_worlds(tmp_path: Path) -> None:
    """One history object appends and reads with and without await."""
    history = FileChatMessageHistory(tmp_path / "our_conversation.txt")
    history.add_user_message("Hello!")

    async def answer() -> int:
        await history.aadd_messages([AIMessage("Hello there!")])
        return len(await history.aget_messages())

    assert 2 == asyncio.run(answer())
    assert [HumanMessage("Hello!"), AIMessage("Hello there!")] == history.messages
    history.close()
