"""Files that end too early: cut back to the last whole message, and nothing that was cut is thrown away."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from chatstore.backends.file import SESSION, FileRepository, SingleFileRepository
from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatstore.messages import Message
    from chatstore.repository import Repository

MESSAGES: list[Message] = [
    HumanMessage("one"),
    AIMessage("two: ] } \n , {"),
    HumanMessage("three ✓ \ud83d", id="3"),
    AIMessage("four", additional_kwargs={"type": [{"type": "x"}]}),
    HumanMessage('five "type":'),
    AIMessage("six 🙂"),
]
KINDS: dict[str, Callable[[Path], tuple[Repository, str]]] = {
    "directory": lambda folder: (FileRepository(folder / "chats"), "s"),
    "page": lambda folder: (SingleFileRepository(folder / "page.json"), SESSION),
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk a thousand times."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)


def made(folder: Path, kind: str, size: int) -> tuple[Path, list[int]]:
    """Store the messages, *size* in one call; return the file, and where each element ends."""
    folder.mkdir()
    repository, session_id = KINDS[kind](folder)
    for first in range(0, len(MESSAGES), size):
        repository.add_messages(session_id, MESSAGES[first : first + size])
    (path,) = folder.rglob("*.json")
    ends, end = [], 2
    for line in path.read_bytes().split(b"\n")[1:-2]:
        ends.append(end + len(line.removesuffix(b",")))
        end += len(line) + 1
    return path, ends


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_whole_messages_survive_any_cut(tmp_path: Path, kind: str, size: int) -> None:
    """Cut at every byte of its last three messages, a file gives every whole one, and takes the next."""
    template, ends = made(tmp_path / "whole", kind, size)
    data = template.read_bytes()
    for cut in range(ends[2], len(data)):
        shutil.copytree(tmp_path / "whole", tmp_path / str(cut))
        path = tmp_path / str(cut) / template.relative_to(tmp_path / "whole")
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        repository, session_id = KINDS[kind](tmp_path / str(cut))

        assert MESSAGES[:whole] == repository.get_messages(session_id)
        assert whole == repository.count_messages(session_id)
        assert whole == len(json.loads(path.read_bytes()))
        (record,) = repository.add_messages(session_id, [HumanMessage("next")])

        assert [*MESSAGES[:whole], HumanMessage("next")] == repository.get_messages(session_id)
        assert record == repository.get_message(session_id, record.position)
        torn, kept = data[ends[whole - 1] : cut], path.with_name(f"{path.name}.torn")
        assert (torn + b"\n" if torn.strip(b",\n]") else b"") == (kept.read_bytes() if kept.exists() else b"")
        assert not kept.exists() or 0o600 == kept.stat().st_mode & 0o777
    print(f"{len(data) - ends[2]} cuts")


def test_positions_that_were_torn_off_are_not_reused(tmp_path: Path) -> None:
    """Whoever saw the message that was torn off, and asks for what came after it, sees the next one."""
    path, ends = made(tmp_path / "chats", "directory", 1)
    repository = FileRepository(tmp_path / "chats" / "chats")
    seen = repository.get_records("s")
    path.write_bytes(path.read_bytes()[: ends[-1] - 20])

    assert seen.revision < repository.get_session("s").revision
    (added,) = repository.add_messages("s", [HumanMessage("next")])

    assert [added] == repository.get_records("s", after=seen[-1].position)


def test_a_reader_mends_the_file_for_everyone(tmp_path: Path) -> None:
    """After the first look by this library, other programs find JSON again."""
    path, ends = made(tmp_path / "chats", "directory", 2)
    path.write_bytes(path.read_bytes()[: ends[-1] - 20])
    repository = FileRepository(tmp_path / "chats" / "chats")

    repository.get_session("s")

    assert [message.content for message in MESSAGES[:5]] == [
        element["data"]["content"] for element in json.loads(path.read_text())
    ]


def test_what_is_torn_is_erased_with_the_session(tmp_path: Path) -> None:
    """Deleting or clearing a session leaves no torn text behind."""
    erasing: list[Callable[[FileRepository, str], object]] = [
        FileRepository.delete_session,
        FileRepository.clear,
    ]
    for number, erase in enumerate(erasing):
        path, ends = made(tmp_path / str(number), "directory", 1)
        path.write_bytes(path.read_bytes()[: ends[-1] - 20])
        repository = FileRepository(path.parent)
        repository.get_session("s")
        assert path.with_name("s.json.torn").exists()

        erase(repository, "s")

        assert [] == [found for found in path.parent.glob("s.*") if b"six" in found.read_bytes()]
        assert not path.with_name("s.json.torn").exists()


def test_a_torn_file_that_cannot_be_mended_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written, a reader leaves the file as it is and sees every whole message."""
    path, ends = made(tmp_path / "chats", "directory", 1)
    path.write_bytes(path.read_bytes()[: ends[-1] - 20])

    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.pwrite", fail)

    assert MESSAGES[:5] == FileRepository(path.parent).get_messages("s")
