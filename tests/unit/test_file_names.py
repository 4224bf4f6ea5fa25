"""File names of hostile session ids: each its own, inside the directory, on every file system."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from chatstore.backends.file import FileRepository
from chatstore.backends.file.names import LONGEST, file_name, session_id_of
from chatstore.codec import id_fault
from chatstore.messages import HumanMessage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SEED = 20230701
CHOSEN = [
    "a", "A", "é", "e\u0301", "É", ".", "..", "...", "../x", "../../etc/passwd", "/etc/passwd",
    "//x", "x/../y", "C:\\x", "\\\\host\\share", "a/b", "a\\b", "a%2fb", "%2e%2e", "%", "%%", "%41",
    "~", "~root", "-rf", "--help", "-", ".hidden", ".locks", ".locks/00", "x.json", "x.session",
    "x.json.torn", "x.json.tmp", "con", "CON", "nul", "aux", "com1", "lpt9", "con.txt", "NUL.json",
    "a b", "a;b", "$(x)", "`x`", "*", "?", "[a]", "{a}", "|", "<x>", "'", '"', "a" * 255, "A" * 255,
    "🙂" * 255, "🙂" * 254 + "x", "a" * 200, "a" * 201, "\u202eabc", "\u200b", "ſ", "K", "K", "ß",
    "ẞ", "ﬁ", "fi", "ı", "I", "İ", "i",
]  # fmt: skip


def hostile_ids() -> list[str]:
    """Return the chosen ids and as many random ones as make 500."""
    chance = random.Random(SEED)
    alphabet = "aA.%/\\~-_ :*é🙂İ\u0301"
    found = dict.fromkeys(CHOSEN)
    while len(found) < 500:
        text = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 255))).strip()
        if id_fault(text) is None:
            found[text] = None
    return list(found)


def test_names_are_injective_and_plain() -> None:
    """500 hostile ids have 500 names, also where case is ignored, harmless and of bounded length."""
    names = {session_id: file_name(session_id) for session_id in hostile_ids()}

    assert 500 == len({name.casefold() for name in names.values()})
    for session_id, name in names.items():
        assert re.fullmatch(r"[a-z0-9_%][a-z0-9_%~-]*", name), session_id
        assert len(name) <= LONGEST
        assert session_id_of(name) == (None if "~" in name else session_id)


def test_a_name_that_no_id_has_is_no_session() -> None:
    """Names in another spelling are not taken for the session they remind of."""
    for name in ("A", "%41%", "%4", "%61", "%C3%A9", "%c3", "a b", "", "%00", "%20x"):
        assert session_id_of(name) is None, name


def test_hostile_ids_stay_in_their_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each id is a session of its own, found again by a list, and nothing outside the directory changes."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    (tmp_path / "secret").write_text("secret")
    repository = FileRepository(tmp_path / "a" / "chats")
    for number, session_id in enumerate(hostile_ids()):
        repository.add_messages(session_id, [HumanMessage(str(number))])

    again = FileRepository(tmp_path / "a" / "chats")

    assert sorted(hostile_ids()) == sorted(item.session_id for item in again.list_sessions(limit=1000).items)
    for number, session_id in enumerate(hostile_ids()):
        assert [HumanMessage(str(number))] == again.get_messages(session_id)
    assert {"secret", "a"} == {path.name for path in tmp_path.iterdir()}
    assert ["chats"] == [path.name for path in (tmp_path / "a").iterdir()]
    assert 1000 == len([path for path in (tmp_path / "a" / "chats").iterdir() if path.is_file()])
