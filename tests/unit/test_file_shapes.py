"""Array files that this library did not write: JSON of any shape loads, anything else says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.backends.file import SESSION, FileRepository, SingleFileRepository
from chatstore.errors import CorruptRecord, StorageError
from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, SystemMessage

if TYPE_CHECKING:
    from pathlib import Path

    from chatstore.messages import Message

PAGE: list[dict[str, Any]] = [
    {"type": "human", "data": {"content": "Hello!", "additional_kwargs": {}, "example": False}},
    {"type": "ai", "data": {"content": "Hi ✓ 🙂", "additional_kwargs": {}, "example": False, "id": "a1"}},
    {"type": "developer", "data": {"content": "x", "odd": [1, {"deep": None}]}},
]
MESSAGES: list[Message] = [
    HumanMessage("Hello!"),
    AIMessage("Hi ✓ 🙂", id="a1"),
    OpaqueMessage(type="developer", data={"content": "x", "odd": [1, {"deep": None}]}),
]
LINES = b"[\n" + b",\n".join(json.dumps(element).encode() for element in PAGE) + b"\n]\n"
FULL: dict[str, bytes] = {
    "compact": json.dumps(PAGE, separators=(",", ":")).encode(),
    "as that framework writes it": json.dumps(PAGE).encode(),
    "indented by 2": json.dumps(PAGE, indent=2, ensure_ascii=False).encode(),
    "indented by 0": json.dumps(PAGE, indent=0).encode() + b"\n",
    "indented by tabs": json.dumps(PAGE, indent="\t").encode(),
    "with a byte order mark": BOM_UTF8 + json.dumps(PAGE).encode(),
    "with CRLF": json.dumps(PAGE, indent=2).replace("\n", "\r\n").encode(),
    "in lines": LINES,
    "in lines with CRLF": LINES.replace(b"\n", b"\r\n"),
    "in lines without the last line break": LINES[:-1],
    "in lines and with a byte order mark": BOM_UTF8 + LINES,
    "in lines with a comma behind the last": LINES.replace(b"\n]\n", b",\n]\n"),
    "in lines with a comma and space behind the last": LINES.replace(b"\n]\n", b" , \n\n]\n"),
    "with space around": b" \n\n" + json.dumps(PAGE).encode() + b"\n \n",
    "keys in another order": json.dumps([dict(reversed(element.items())) for element in PAGE]).encode(),
}
BARE: dict[str, bytes] = {
    "no bytes": b"",
    "a line break": b"\n",
    "brackets": b"[]",
    "brackets and a line break": b"[]\n",
    "brackets on lines": b"[\n]\n",
    "brackets and space": b" [ ]\r\n",
    "a byte order mark": BOM_UTF8,
}
NO_ARRAY: dict[str, bytes] = {
    "an object": b'{"messages": []}',
    "a number": b"3",
    "text": b"Human: Hello!\nAI: Hi\n",
    "UTF-16": json.dumps(PAGE).encode("utf-16"),
    "Latin-1": json.dumps([{"type": "human", "data": {"content": "Grüße"}}], ensure_ascii=False).encode(
        "latin-1"
    ),
    "a comma missing": json.dumps(PAGE).replace("}, {", "} {", 1).encode(),
    "a quote missing": json.dumps(PAGE).replace('"data"', '"data', 1).encode(),
    "a bracket too many": json.dumps(PAGE).encode() + b"]",
    "two arrays": json.dumps(PAGE).encode() * 2,
    "SQLite": b"SQLite format 3\0" + bytes(100),
    "only nesting": b"[" * 100_000,
    "a huge number": b'[{"type":"human","data":{"content":' + b"9" * 5000 + b"}}]",
}


def in_directory(folder: Path, data: bytes) -> FileRepository:
    """Put *data* into the place of the array of session s."""
    folder.mkdir(exist_ok=True)
    (folder / "s.json").write_bytes(data)
    return FileRepository(folder)


def contents(path: Path) -> list[Any]:
    """Return what a plain JSON reader finds."""
    found: list[Any] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize("name", FULL)
def test_every_shape_of_a_page_loads(tmp_path: Path, name: str) -> None:
    """Whatever its white space, a page's file loads; an append puts each element on a line, unchanged."""
    path = tmp_path / "our_conversation.txt"
    path.write_bytes(FULL[name])
    repository = SingleFileRepository(path)

    assert MESSAGES == repository.get_messages(SESSION)
    assert MESSAGES[1:] == repository.get_messages(SESSION, last=2)
    assert [1, 2, 3] == [record.position for record in repository.iter_records(SESSION)]
    assert "a1" == repository.get_message(SESSION, 2).message_id
    assert FULL[name] == path.read_bytes()

    repository.add_messages(SESSION, [HumanMessage("next")])

    assert [*MESSAGES, HumanMessage("next")] == repository.get_messages(SESSION)
    assert PAGE == contents(path)[:3]
    assert {"type", "data"} == set(contents(path)[3])
    assert 6 == len(path.read_bytes().splitlines())
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FULL)
def test_a_page_put_into_a_directory_is_a_session(tmp_path: Path, name: str) -> None:
    """An array without a session's file is a session of nobody, named like the file."""
    repository = in_directory(tmp_path / "chats", FULL[name])

    assert ["s"] == [session.session_id for session in repository.list_sessions().items]
    assert MESSAGES == repository.get_messages("s")
    before = repository.get_records("s")
    assert before == repository.get_records("s")
    assert 3 == repository.get_session("s").message_count
    assert repository.get_session("s").user_id is None

    added = repository.add_messages("s", [HumanMessage("next", id="n")])

    assert [*before, *added] == FileRepository(tmp_path / "chats").get_records("s")
    assert before.revision < added.revision == repository.get_session("s").revision
    assert [*PAGE, {**PAGE[0], "data": {**PAGE[0]["data"], "content": "next", "id": "n"}}] == [
        {"type": element["type"], "data": element["data"]}
        for element in contents(tmp_path / "chats" / "s.json")
    ]
    assert [added[0]] == repository.add_messages("s", [HumanMessage("next", id="n")])
    assert [before[1]] == repository.add_messages("s", [MESSAGES[1]])


@pytest.mark.parametrize("name", BARE)
def test_a_bare_file_is_empty(tmp_path: Path, name: str) -> None:
    """Nothing, or a pair of brackets, is a conversation without messages."""
    path = tmp_path / "page.json"
    path.write_bytes(BARE[name])
    page, directory = SingleFileRepository(path), in_directory(tmp_path / "chats", BARE[name])

    assert [] == page.get_messages(SESSION) == directory.get_messages("s")
    assert 0 == page.count_messages(SESSION) == directory.count_messages("s")
    page.add_messages(SESSION, [HumanMessage("next")])
    directory.add_messages("s", [HumanMessage("next")])

    assert [HumanMessage("next")] == page.get_messages(SESSION) == directory.get_messages("s")
    assert 1 == len(contents(path)) == len(contents(tmp_path / "chats" / "s.json"))


@pytest.mark.parametrize("name", NO_ARRAY)
def test_what_is_no_array_is_refused(tmp_path: Path, name: str) -> None:
    """The error names the file and says what to do; nothing is written, also not by an append."""
    path = tmp_path / "page.json"
    path.write_bytes(NO_ARRAY[name])
    page, directory = SingleFileRepository(path), in_directory(tmp_path / "chats", NO_ARRAY[name])

    for call in (
        lambda: page.get_messages(SESSION),
        lambda: page.add_messages(SESSION, [HumanMessage("x")]),
        lambda: directory.get_messages("s"),
        lambda: directory.add_messages("s", [HumanMessage("x")]),
    ):
        with pytest.raises(StorageError, match=r"(page|s)\.json .*: .*") as caught:
            call()
        assert "Hello" not in str(caught.value)
    assert NO_ARRAY[name] == path.read_bytes() == (tmp_path / "chats" / "s.json").read_bytes()
    assert [] == directory.list_sessions().items


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_a_page_that_another_program_tore_keeps_its_whole_messages(tmp_path: Path, cut: int) -> None:
    """That framework writes the file anew each time; killed, it leaves a part of it."""
    data, path = json.dumps(PAGE[:2]).encode()[:-cut], tmp_path / "page.json"
    path.write_bytes(data)
    repository = SingleFileRepository(path)
    whole = MESSAGES[: 2 if cut == 1 else 1]

    assert whole == repository.get_messages(SESSION)
    repository.add_messages(SESSION, [HumanMessage("next")])

    assert [*whole, HumanMessage("next")] == repository.get_messages(SESSION)
    torn = data[data.index(b'{"type": "ai"') :] + b"\n" if cut > 1 else b""
    assert torn == ((tmp_path / "page.json.torn").read_bytes() if cut > 1 else b"")


def test_a_damaged_line_is_reported_by_its_position(tmp_path: Path) -> None:
    """A line that does not parse is named, hides no other, survives appends, and can be mended."""
    repository = FileRepository(tmp_path / "chats")
    kept = repository.add_messages(
        "s", [HumanMessage(f"m{number}", id=f"i{number}") for number in range(1, 8)]
    )
    path = tmp_path / "chats" / "s.json"
    damaged = path.read_bytes().replace(b'"content":"m3"', b'"content":m3"').replace(b'"m5"', b'"m\xff5"')
    path.write_bytes(damaged)

    with pytest.raises(CorruptRecord) as caught:
        repository.get_messages("s")
    assert (3, 5) == caught.value.positions
    assert [record for record in kept if record.position not in {3, 5}] == caught.value.records
    assert kept[-2:] == repository.get_records("s", last=2)
    with pytest.raises(CorruptRecord):
        repository.get_message("s", 3)
    assert 7 == repository.count_messages("s")
    added = repository.add_messages("s", [HumanMessage("m8", id="i8")])
    assert damaged[:-3] == path.read_bytes()[: len(damaged) - 3]

    repository.update_message("s", 3, HumanMessage("mended"))
    repository.delete_message("s", 5)

    expected = ["m1", "m2", "mended", "m4", "m6", "m7", "m8"]
    assert expected == [message.content for message in repository.get_messages("s")]
    assert [1, 2, 3, 4, 6, 7, 8] == [record.position for record in repository.get_records("s")]
    assert added[0] == repository.get_records("s")[-1]
    assert 7 == repository.count_messages("s")
    assert [kept[0]] == repository.add_messages("s", [HumanMessage("m1", id="i1")])


@pytest.mark.parametrize(
    "line", [b"3", b"null", b'"text"', b"[]", b"{}", b'{"type": "human"}', b'{"type":3,"data":{}}']
)
def test_an_element_that_is_no_message_is_reported(tmp_path: Path, line: bytes) -> None:
    """JSON that is no message, put in by hand, is a damaged record, and stays in the file as it is."""
    path = tmp_path / "page.json"
    path.write_bytes(b'[{"type":"human","data":{"content":"a"}},' + line + b"]")
    repository, directory = SingleFileRepository(path), in_directory(tmp_path / "chats", path.read_bytes())

    for found, session_id in ((repository, SESSION), (directory, "s")):
        with pytest.raises(CorruptRecord) as caught:
            found.get_messages(session_id)
        assert (2,) == caught.value.positions
        found.add_messages(session_id, [HumanMessage("b")])
        with pytest.raises(CorruptRecord) as caught:
            found.get_messages(session_id)
        assert [HumanMessage("a"), HumanMessage("b")] == [record.message for record in caught.value.records]
    assert json.loads(line) == contents(path)[1]
    repository.delete_message(SESSION, 2)
    assert [HumanMessage("a"), HumanMessage("b")] == repository.get_messages(SESSION)


def test_a_session_edited_by_hand_keeps_its_order(tmp_path: Path) -> None:
    """Lines taken out, put in without our keys, or moved: positions still grow, and nothing is lost."""
    repository = FileRepository(tmp_path / "chats")
    before = repository.add_messages("s", [HumanMessage(f"m{number}") for number in range(5)])
    path = tmp_path / "chats" / "s.json"
    lines = path.read_text().splitlines()
    inserted = '{"type": "system", "data": {"content": "by hand"}}'
    path.write_text("\n".join([*lines[:2], lines[4], inserted + ",", lines[2], lines[5], lines[6]]))
    os.utime(path, ns=(0, 2_000 * before.revision))

    found = repository.get_records("s")

    assert ["m0", "m3", "by hand", "m1", "m4"] == [record.message.content for record in found]
    assert sorted({record.position for record in found}) == [record.position for record in found]
    assert SystemMessage("by hand") == found[2].message
    assert found.revision > before.revision
    added = repository.add_messages("s", [HumanMessage("next")])
    assert [*found, *added] == repository.get_records("s")


def test_a_damaged_session_file_hides_nothing_else(tmp_path: Path) -> None:
    """A session whose own file is damaged says so; others are listed, and its messages can be had back."""
    repository = FileRepository(tmp_path / "chats")
    repository.add_messages("good", [HumanMessage("x")])
    kept = repository.add_messages("bad", [HumanMessage("y")])
    (tmp_path / "chats" / "bad.session").write_text('{"session_id": "good"}')

    assert ["good"] == [session.session_id for session in repository.list_sessions().items]
    with pytest.raises(CorruptRecord, match=r"bad\.session .* delete it"):
        repository.add_messages("bad", [HumanMessage("z")])
    (tmp_path / "chats" / "bad.session").unlink()

    assert kept == repository.get_records("bad")


def test_an_array_from_a_backup_counts(tmp_path: Path) -> None:
    """An array put back after the session was cleared is what the session holds again."""
    repository = FileRepository(tmp_path / "chats")
    records = repository.add_messages("s", [HumanMessage("a"), HumanMessage("b")])
    path = tmp_path / "chats" / "s.json"
    backup, times = path.read_bytes(), path.stat()
    repository.clear("s")
    assert [] == FileRepository(tmp_path / "chats").get_messages("s")
    path.write_bytes(backup)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert records == repository.get_records("s")
    (added,) = repository.add_messages("s", [HumanMessage("c")])
    assert [*records, added] == repository.get_records("s")


def test_a_copy_of_an_array_is_a_session(tmp_path: Path) -> None:
    """An array copied under another name brings its messages along, and goes its own way."""
    repository = FileRepository(tmp_path / "chats")
    records = repository.add_messages("s", [HumanMessage("a", id="i")])
    shutil.copy(tmp_path / "chats" / "s.json", tmp_path / "chats" / "copy.json")

    assert [record._replace(session_id="copy") for record in records] == repository.get_records("copy")
    repository.add_messages("copy", [HumanMessage("b")])

    assert (1, 2) == (repository.count_messages("s"), repository.count_messages("copy"))


def test_not_a_number_is_kept(tmp_path: Path) -> None:
    """That framework writes NaN, which is no JSON: it loads, and an append leaves the element as it was."""
    path = tmp_path / "page.json"
    path.write_bytes(b'[{"type":"ai","data":{"content":"a","response_metadata":{"logprob":NaN}}}]')
    repository = SingleFileRepository(path)

    (message,) = repository.get_messages(SESSION)
    repository.add_messages(SESSION, [HumanMessage("b")])

    assert isinstance(message, AIMessage)
    assert "nan" == str(message.response_metadata["logprob"])
    assert b'"logprob":NaN' in path.read_bytes()


def test_a_comma_by_hand_and_a_damaged_line_are_both_survived(tmp_path: Path) -> None:
    """What can be read stays so when something is appended behind a comma that should not be there."""
    path = tmp_path / "page.json"
    lines = LINES.splitlines()
    path.write_bytes(b"\n".join([*lines[:2], b"{damaged},", lines[3] + b",", b"]\n"]))
    repository = SingleFileRepository(path)
    repository.add_messages(SESSION, [HumanMessage("next")])
    with pytest.raises(CorruptRecord) as caught:
        repository.get_messages(SESSION)
    assert [2] == list(caught.value.positions)
    assert [MESSAGES[0], MESSAGES[2], HumanMessage("next")] == [
        record.message for record in caught.value.records
    ]
