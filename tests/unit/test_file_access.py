"""Who may see the files, what stands in their way, and what is said then."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from chatstore import deadlines
from chatstore.backends.file import SESSION, FileRepository, SingleFileRepository, filesystem
from chatstore.errors import NotSupported, StorageUnavailable
from chatstore.messages import HumanMessage
from tests.others import NOBODY, someone_else

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = HumanMessage("a secret")


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """Whatever the umask, files are 0600 and new directories 0700; a directory that exists stays as it is."""
    before = os.umask(0)
    try:
        repository = FileRepository(tmp_path / "new" / "chats")
        repository.add_messages("s", [MESSAGE])
        repository.add_messages("s", [MESSAGE])
        repository.update_message("s", 1, HumanMessage("edited"))
        SingleFileRepository(tmp_path / "page.json").add_messages(SESSION, [MESSAGE])
        shared = tmp_path / "shared"
        shared.mkdir(0o755)
        FileRepository(shared).add_messages("s", [MESSAGE])
    finally:
        os.umask(before)

    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert {0o600} == modes
    assert 0o700 == (tmp_path / "new" / "chats").stat().st_mode & 0o777
    assert 0o755 == shared.stat().st_mode & 0o777


def test_a_page_keeps_the_mode_it_had(tmp_path: Path) -> None:
    """A file that others may read is still theirs to read after it was written anew."""
    path = tmp_path / "page.json"
    path.write_text("[]")
    path.chmod(0o640)

    SingleFileRepository(path).add_messages(SESSION, [MESSAGE])

    assert 0o640 == path.stat().st_mode & 0o777


@pytest.mark.parametrize("kind", ["directory", "link", "dangling link", "fifo"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    """A directory, a symbolic link or a FIFO in a file's place is an error; nothing is followed."""
    target = tmp_path / "target.json"
    target.write_text("[]")
    for path in (tmp_path / "page.json", tmp_path / "chats" / "s.json"):
        path.parent.mkdir(exist_ok=True)
        if kind == "directory":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to(target if kind == "link" else tmp_path / "missing")
    page, directory = SingleFileRepository(tmp_path / "page.json"), FileRepository(tmp_path / "chats")

    for call in (
        lambda: page.get_messages(SESSION),
        lambda: page.add_messages(SESSION, [MESSAGE]),
        lambda: directory.get_messages("s"),
        lambda: directory.add_messages("s", [MESSAGE]),
    ):
        with pytest.raises(
            StorageUnavailable, match=r"(page|s)\.json cannot be used \(.*\): .*(move|name|choose) "
        ):
            call()
    assert [] == directory.list_sessions().items
    assert "[]" == target.read_text()
    assert not (tmp_path / "missing").exists()


def test_a_link_in_the_place_of_a_sessions_own_file_is_refused(tmp_path: Path) -> None:
    """Also the small file, the torn one and a draft left by a crash are never written through a link."""
    target = tmp_path / "target"
    target.write_text("kept")
    repository = FileRepository(tmp_path / "chats")
    repository.add_messages("s", [MESSAGE])
    (tmp_path / "chats" / "s.session.tmp").symlink_to(target)
    repository.update_session("s", title="t")
    assert "t" == repository.get_session("s").title
    (tmp_path / "chats" / "s.session").unlink()
    (tmp_path / "chats" / "s.session").symlink_to(target)

    with pytest.raises(StorageUnavailable, match="symbolic links are not followed"):
        repository.update_session("s", title="u")
    assert "kept" == target.read_text()


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    """The error says that a directory belongs there."""
    (tmp_path / "chats").write_text("x")
    repository = FileRepository(tmp_path / "chats")

    for call in (
        lambda: repository.add_messages("s", [MESSAGE]),
        lambda: repository.get_messages("s"),
        repository.list_sessions,
    ):
        with pytest.raises(StorageUnavailable, match="a directory belongs there"):
            call()


def test_a_page_in_a_missing_directory(tmp_path: Path) -> None:
    """It reads as empty; writing says which directory to create."""
    repository = SingleFileRepository(tmp_path / "missing" / "page.json")

    assert [] == repository.get_messages(SESSION)
    with pytest.raises(StorageUnavailable, match="create the directory first"):
        repository.add_messages(SESSION, [MESSAGE])


def test_reading_makes_nothing(tmp_path: Path) -> None:
    """Looking at what is not there leaves no file and no directory."""
    repository, page = FileRepository(tmp_path / "chats"), SingleFileRepository(tmp_path / "page.json")

    assert [] == repository.get_messages("s") == page.get_messages(SESSION)
    assert [] == repository.list_sessions().items
    assert [] == list(tmp_path.iterdir())
    repository.clear("s")
    page.clear(SESSION)
    assert repository.pop_message("s") is page.pop_message(SESSION) is None
    assert not repository.delete_session("s")

    assert [] == [path for path in tmp_path.rglob("*") if path.suffix in {".json", ".session"}]


def test_a_read_only_directory_is_read(open_folder: Path) -> None:
    """Whoever may only read reads, lists and counts; a write says what to do and changes nothing."""
    repository = FileRepository(open_folder / "chats")
    repository.add_messages("s", [MESSAGE])
    page = SingleFileRepository(open_folder / "page.json")
    page.add_messages(SESSION, [MESSAGE])
    for path in open_folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    open_folder.chmod(0o555)

    with someone_else():
        assert [MESSAGE] == repository.get_messages("s") == page.get_messages(SESSION)
        assert 1 == len(repository.list_sessions().items)
        for call in (
            lambda: repository.add_messages("s", [MESSAGE]),
            lambda: repository.add_messages("t", [MESSAGE]),
            lambda: repository.delete_session("s"),
            lambda: page.add_messages(SESSION, [MESSAGE]),
            lambda: page.clear(SESSION),
        ):
            with pytest.raises(StorageUnavailable, match="give this user access, or choose another place"):
                call()
    assert [MESSAGE] == repository.get_messages("s") == page.get_messages(SESSION)
    for path in [open_folder, *open_folder.rglob("*")]:
        path.chmod(0o700)


def test_a_write_that_changes_nothing_needs_no_permission(open_folder: Path) -> None:
    """What is stored already is answered from a file that may only be read; what is new is refused, and says why."""
    repository, page = FileRepository(open_folder / "chats"), SingleFileRepository(open_folder / "page.json")
    known, new = HumanMessage("known", id="m"), HumanMessage("new", id="n")
    for found, session_id in ((repository, "s"), (page, SESSION)):
        found.add_messages(session_id, [known])
    for path in open_folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o444)

    with someone_else():
        for found, session_id in ((repository, "s"), (page, SESSION)):
            assert [known] == [record.message for record in found.add_messages(session_id, [known])]
            with pytest.raises(StorageUnavailable, match=r"\.json cannot be used .*: give this user access"):
                found.add_messages(session_id, [new])
            assert [known] == found.get_messages(session_id)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_writes_is_the_owners(open_folder: Path) -> None:
    """After an operator looked and wrote as root, the application goes on in its own directory."""
    (open_folder / "chats").mkdir()
    for path in (open_folder, open_folder / "chats"):
        os.chown(path, NOBODY, NOBODY)
    repository, page = FileRepository(open_folder / "chats"), SingleFileRepository(open_folder / "page.json")
    for root in (True, False, True):
        if root:
            repository.add_messages("s", [MESSAGE])
            repository.update_session("s", title="by root")
            page.add_messages(SESSION, [MESSAGE])
            continue
        with someone_else():
            repository.add_messages("s", [MESSAGE])
            repository.update_message("s", 1, HumanMessage("edited"))
            page.add_messages(SESSION, [MESSAGE])

    assert 3 == repository.count_messages("s") == page.count_messages(SESSION)
    assert {NOBODY} == {path.stat().st_uid for path in open_folder.rglob("*")}


def test_an_unreadable_directory(open_folder: Path) -> None:
    """Without access, every call says so, and none says that there is nothing."""
    repository = FileRepository(open_folder / "chats")
    repository.add_messages("s", [MESSAGE])
    (open_folder / "chats").chmod(0)

    with someone_else():
        for call in (lambda: repository.get_messages("s"), repository.list_sessions):
            with pytest.raises(StorageUnavailable, match="give this user access"):
                call()
    (open_folder / "chats").chmod(0o700)


def test_a_limit_on_file_sizes_costs_the_message_only(tmp_path: Path) -> None:
    """A write that the system cuts short is taken back: the file stays what it was, and smaller ones fit."""
    repository, page = FileRepository(tmp_path / "chats"), SingleFileRepository(tmp_path / "page.json")
    for found, session_id in ((repository, "s"), (page, SESSION)):
        found.add_messages(session_id, [MESSAGE])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        for found, session_id in ((repository, "s"), (page, SESSION)):
            with pytest.raises(StorageUnavailable, match="raise the limit on file sizes"):
                found.add_messages(session_id, [MESSAGE, HumanMessage("x" * 50_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    for found, session_id in ((repository, "s"), (page, SESSION)):
        found.add_messages(session_id, [MESSAGE])
        assert [MESSAGE, MESSAGE] == found.get_messages(session_id)


def test_a_lock_that_is_never_given_back_ends_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller waits for others who write, and not for ever."""
    path = tmp_path / "page.json"
    repository = SingleFileRepository(path)
    repository.add_messages(SESSION, [MESSAGE])
    held = filesystem.acquire(str(path), os.O_RDONLY, write=True)
    monkeypatch.setattr(deadlines, "DEFAULT", 0.05)

    for call in (
        lambda: repository.get_messages(SESSION),
        lambda: repository.add_messages(SESSION, [MESSAGE]),
    ):
        with pytest.raises(StorageUnavailable, match=r"locked for 0\.05 s, the deadline: end what hangs"):
            call()
    assert held is not None
    filesystem.release(held)
    assert [MESSAGE] == repository.get_messages(SESSION)


def test_a_system_without_locks_is_told_about_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no POSIX locks, the error names what works there."""
    monkeypatch.setattr(filesystem, "fcntl", None)

    with pytest.raises(NotSupported, match="sqlite:///"):
        FileRepository(tmp_path)
    with pytest.raises(NotSupported, match="sqlite:///"):
        SingleFileRepository(tmp_path / "page.json")
