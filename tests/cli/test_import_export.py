"""import and export: files of every kind in, the same out, and nothing half done."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.connect import connect
from chatstore.history import ChatMessageHistory
from chatstore.messages import HumanMessage

if TYPE_CHECKING:
    from tests.cli.conftest import Ran, Run

HI = {"role": "user", "content": "Hi"}
YO = {"role": "assistant", "content": "Yo"}


def write(name: str, value: Any) -> str:
    """Write *value* as a JSON file; return its name."""
    Path(name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return name


def files(ran: Ran) -> list[tuple[list[str], int, int]]:
    """Return the session ids and counts of each file."""
    told = json.loads(ran.out)["files"]
    return [(one["session_ids"], one["new_messages"], one["known_messages"]) for one in told]


# ------------------------------------------------------------------------------------------------ import


def test_sessions_are_named_after_the_file(cli: Run, sqlite_url: str) -> None:
    """One conversation has the file's name, several are numbered, their own ids come first."""
    one = write("one.json", [HI])
    many = write(
        "many.jsonl", "\n".join(json.dumps(each) for each in ({"messages": [HI]}, {"messages": [YO]}))
    )
    named = write("named.json", [{"messages": [HI], "session_id": "own"}, {"messages": [HI, YO]}])

    ran = cli("import", one, many, named, "--json", "--url", sqlite_url)

    assert [(["one"], 1, 0), (["many/1", "many/2"], 2, 0), (["own", "named/2"], 3, 0)] == files(ran)


def test_the_same_files_again_store_nothing(cli: Run, sqlite_url: str) -> None:
    """Everything is known; the sessions are as before."""
    write("many.json", [{"messages": [HI, HI]}, {"messages": [YO]}])
    cli("import", "many.json", "--url", sqlite_url)
    before = cli("export", "--all", "--url", sqlite_url).out

    ran = cli("import", "many.json", "--json", "--url", sqlite_url)

    assert [(["many/1", "many/2"], 0, 3)] == files(ran)
    assert before == cli("export", "--all", "--url", sqlite_url).out


def test_import_says_target_and_revisions(cli: Run, sqlite_url: str) -> None:
    """A new SQLite file is migrated, and that is said; a server's database has to be migrated first."""
    write("x.json", [HI])

    first, second = (cli("import", "x.json", "--url", sqlite_url).err for _ in range(2))

    assert f"target     {sqlite_url}\nrevision   none\nrevision   none -> chatstore_0007\n" == first
    assert "revision   chatstore_0007 (as before)" in second


def test_import_into_a_server_without_tables_is_refused(cli: Run, postgres_url: str) -> None:
    """Nothing is created behind a server's back."""
    write("x.json", [HI])

    ran = cli("import", "x.json", "--url", postgres_url)

    assert (1, 1) == (ran.code, len(ran.errors))
    assert "run chatstore upgrade" in ran.errors[0]


def test_options_choose_session_owner_and_names(cli: Run, sqlite_url: str) -> None:
    """--session, --prefix, --user and --tenant come before what the file says."""
    write("x.json", {"messages": [HI], "user_id": "ada", "session_id": "own"})
    write("y.json", [[HI], [YO]])

    cli("import", "x.json", "--session", "s", "--user", "kenji", "--tenant", "t", "--url", sqlite_url)
    cli("import", "y.json", "--prefix", "p", "--url", sqlite_url)

    sessions = json.loads(cli("sessions", "--json", "--url", sqlite_url).out)["sessions"]
    assert [("p/2", None, None), ("p/1", None, None), ("s", "kenji", "t")] == [
        (one["session_id"], one["user_id"], one["tenant_id"]) for one in sessions
    ]


def test_a_named_session_is_appended_to_once(cli: Run, sqlite_url: str) -> None:
    """--session on one that exists adds the file's messages behind it; repeating adds nothing."""
    cli("append", "s", "before", "--url", sqlite_url)
    write("x.json", [HI, YO])

    assert [(["s"], 2, 0)] == files(cli("import", "x.json", "--session", "s", "--json", "--url", sqlite_url))
    assert [(["s"], 0, 2)] == files(cli("import", "x.json", "--session", "s", "--json", "--url", sqlite_url))
    assert 3 == json.loads(cli("show", "s", "--json", "--url", sqlite_url).out)["session"]["message_count"]


def test_stdin_wants_a_name(cli: Run, sqlite_url: str) -> None:
    """A dash reads stdin; ids have to come from somewhere."""
    text = json.dumps([HI])

    assert 2 == cli("import", "-", "--url", sqlite_url, input=text).code
    ran = cli("import", "-", "--prefix", "p", "--json", "--url", sqlite_url, input=text)
    assert [(["p"], 1, 0)] == files(ran)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("{", "not JSON"),
        ("[NaN]", "NaN"),
        ('[{"role": "user", "content": NaN}]', "NaN"),
        ('[{"x": 1}]', "--format"),
        ('[{"type": "tool", "data": {"content": "x"}}]', "tool_call_id"),
        ('{"messages": [{"role": "user", "content": "x"}], "session_id": "a\\u0007b"}', "session id"),
        ('{"messages": [{"role": "user", "content": "x"}], "user_id": " x"}', "user_id"),
        ('{"messages": [{"role": "user", "content": "x"}], "m": "\\u0000"}', "metadata"),
    ],
)
def test_a_wrong_file_is_one_line_and_stores_nothing(
    content: str, said: str, cli: Run, sqlite_url: str
) -> None:
    """The file, the place and what to do are named; no session appears."""
    write("x.json", content)

    ran = cli("import", "x.json", "--url", sqlite_url)

    assert (1, 1) == (ran.code, len(ran.errors))
    assert "x.json" in ran.errors[0]
    assert said in ran.errors[0]
    with connect(sqlite_url) as repository:
        assert [] == repository.list_sessions().items


def test_a_fault_in_the_middle_can_be_mended_and_repeated(cli: Run, sqlite_url: str) -> None:
    """What stands before the fault is stored and said; the mended file is completed, not doubled."""
    lines = [json.dumps({"messages": [HI, YO]}) for _ in range(3)]
    write("x.jsonl", "\n".join([*lines, "broken"]))

    ran = cli("import", "x.jsonl", "--url", sqlite_url)
    write("x.jsonl", "\n".join([*lines, lines[0]]))

    assert 1 == ran.code
    assert "line 4" in ran.errors[0]
    assert "3 conversations before it stored" in ran.errors[0]
    assert [(4, 2, 6)] == [
        (len(ids), new, known)
        for ids, new, known in files(cli("import", "x.jsonl", "--json", "--url", sqlite_url))
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["x.json", "y.json", "--session", "s"],
        ["y.json", "--session", "s"],
        ["missing.json"],
        ["x.json", "missing.json"],
    ],
    ids=["two files for one session", "two conversations for one session", "no file", "one file missing"],
)
def test_a_refused_import_stores_nothing(arguments: list[str], cli: Run, sqlite_url: str) -> None:
    """What can be seen beforehand is refused before anything is written."""
    write("x.json", [HI])
    write("y.json", [[HI], [YO]])

    ran = cli("import", *arguments, "--url", sqlite_url)

    assert ran.code in (1, 2)
    assert 1 == len(ran.errors)
    with connect(sqlite_url) as repository:
        assert [] == repository.list_sessions().items


def test_two_files_of_one_name_are_not_mixed(cli: Run, sqlite_url: str) -> None:
    """Another file's conversation under a taken name is refused and says how to go on."""
    for name, content in (("a", [HI]), ("b", [YO])):
        Path(name).mkdir()
        write(f"{name}/chat.json", content)

    assert 0 == cli("import", "a/chat.json", "--url", sqlite_url).code
    ran = cli("import", "b/chat.json", "--url", sqlite_url)

    assert 1 == ran.code
    assert 1 == json.loads(cli("show", "chat", "--json", "--url", sqlite_url).out)["session"]["message_count"]


# ------------------------------------------------------------------------------------------------ export


def test_a_session_is_a_file_of_the_page(filled: str, cli: Run) -> None:
    """The page's history opens what was exported, and holds the same messages."""
    from chatstore.histories import FileChatMessageHistory

    ran = cli("export", "ada-lights", "-o", "lights.json", "--url", filled)

    assert (0, "") == (ran.code, ran.out)
    assert "exported   1 session, 5 messages to lights.json" in ran.err
    with connect(filled) as repository:
        assert repository.get_messages("ada-lights") == FileChatMessageHistory("lights.json").messages


@pytest.mark.parametrize("name", ["langchain", "openai"])
def test_one_session_goes_out_and_in_again(name: str, filled: str, cli: Run, sqlite_url: str) -> None:
    """Exported and imported, the messages are equal; in OpenAI's format, what that API knows of them."""
    Path("out.json").write_text(
        cli("export", "ada-brakes", "--format", name, "--url", filled).out, encoding="utf-8"
    )
    cli("import", "out.json", "--session", "copy", "--url", filled)

    again = cli("export", "copy", "--format", name, "--url", filled)

    assert Path("out.json").read_text(encoding="utf-8") == again.out


def test_the_old_name_of_a_format_is_accepted(filled: str, cli: Run) -> None:
    """Scripts that say --format page go on; --help shows the name of today alone."""
    old, new = (
        cli("export", "ada-brakes", "--format", name, "--url", filled).out for name in ("page", "langchain")
    )
    Path("old.json").write_text(old, encoding="utf-8")

    assert old == new
    assert 0 == cli("import", "old.json", "--format", "page", "--url", "sqlite:///new.db").code
    assert ["[langchain|openai]"] == re.findall(r"\[\w+\|openai\]", cli("export", "--help").out)
    assert ["[auto|langchain|openai]"] == re.findall(r"\[auto\|.+?\]", cli("import", "--help").out)


def test_a_store_goes_out_and_in_again(filled: str, cli: Run) -> None:
    """--all restores owners, titles, metadata, archive, positions, ids and times, in the same order."""
    with connect(filled) as repository:
        repository.update_session("ada-brakes", archived=True)
        repository.delete_message("ada-brakes", 2)
        repository.add_messages("ada-chain", [HumanMessage("later", id="m1")])
    cli("export", "--all", "-o", "all.jsonl", "--url", filled)

    ran = cli("import", "all.jsonl", "--url", "sqlite:///copy.db")

    assert 0 == ran.code
    assert Path("all.jsonl").read_text(encoding="utf-8") == _normal(
        Path("all.jsonl").read_text(encoding="utf-8"),
        cli("export", "--all", "--url", "sqlite:///copy.db").out,
    )
    with connect(filled) as old, connect("sqlite:///copy.db") as new:
        for session in old.list_sessions(archived=None).items:
            twin = new.get_session(session.session_id)
            names = ("user_id", "tenant_id", "title", "metadata", "message_count", "last_position")
            assert [getattr(session, name) for name in names] == [getattr(twin, name) for name in names]
            assert (session.archived_at is None) == (twin.archived_at is None)
            assert list(old.iter_records(session.session_id)) == list(new.iter_records(session.session_id))


def _normal(expected: str, text: str) -> str:
    """Return *text* with the time of archiving that *expected* has: it is the copy's own."""
    lines = [json.loads(line) for line in text.splitlines()]
    times = {one["session_id"]: one.get("archived_at") for one in map(json.loads, expected.splitlines())}
    for line, raw in zip(lines, text.splitlines(), strict=True):
        if "archived_at" in line:
            text = text.replace(raw, raw.replace(line["archived_at"], times[line["session_id"]]))
    order = [one["session_id"] for one in map(json.loads, expected.splitlines())]
    by_id = {json.loads(raw)["session_id"]: raw for raw in text.splitlines()}
    return "".join(f"{by_id[session_id]}\n" for session_id in order)


def test_all_of_one_owner(filled: str, cli: Run) -> None:
    """--user and --tenant choose sessions; the one touched longest ago comes first."""
    lines = cli("export", "--all", "--user", "ada", "--format", "openai", "--url", filled).out.splitlines()

    assert ["ada-brakes", "ada-lights", "ada-chain"] == [json.loads(line)["session_id"] for line in lines]
    assert 2 == cli("export", "ada-brakes", "--user", "ada", "--url", filled).code


def test_a_failed_export_leaves_the_old_file(filled: str, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced when all of it is written, and nothing is left behind."""
    from chatstore.formats import writing

    write("out.json", "old")

    def broken(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_array", broken)
    ran = cli("export", "ada-chain", "-o", "out.json", "--url", filled)

    assert (1, "old") == (ran.code, Path("out.json").read_text())
    assert ["out.json"] == [path.name for path in Path().iterdir()]


def test_a_missing_session_makes_no_file(filled: str, cli: Run) -> None:
    """An export of nothing is an error and creates nothing."""
    ran = cli("export", "nobody", "-o", "out.json", "--url", filled)

    assert 1 == ran.code
    assert [] == list(Path().iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/null")
def test_a_device_is_written_to_and_not_replaced(filled: str, cli: Run) -> None:
    """`-o /dev/null` leaves the device what it is."""
    assert 0 == cli("export", "--all", "-o", "/dev/null", "--url", filled).code
    assert Path("/dev/null").is_char_device()


def test_a_memory_store_reads_a_file_for_nothing(cli: Run) -> None:
    """Importing into memory: is a way to see whether a file can be imported."""
    write("x.json", [HI, YO])

    assert [(["x"], 2, 0)] == files(cli("import", "x.json", "--json", "--url", "memory:"))


def test_the_history_of_an_import_is_the_pages(cli: Run, sqlite_url: str) -> None:
    """What was imported from OpenAI's format reads like any history."""
    write("x.json", [HI, YO])
    cli("import", "x.json", "--url", sqlite_url)

    with connect(sqlite_url) as repository:
        assert "Human: Hi\nAI: Yo" == str(ChatMessageHistory(repository, "x"))


@pytest.mark.parametrize("command", ["export s", "export --all", "show s", "show s --json"])
def test_what_is_no_json_is_named_and_the_rest_goes_out(command: str, cli: Run) -> None:
    """A NaN that somebody wrote into a file is left out, with its session and position, and the exit code is 1."""
    with connect("file:chats") as repository:
        repository.add_messages("s", [HumanMessage("one"), HumanMessage("two"), HumanMessage("three")])
        repository.add_messages("t", [HumanMessage("four")])
    path = Path("chats/s.json")
    path.write_text(
        path.read_text().replace('"content":"two","additional_kwargs":{}', '"content":"two","x":NaN')
    )

    ran = cli(*command.split(), "--url", "file:chats")

    assert 1 == ran.code
    assert [
        "chatstore: damaged records are left out ('s' at 2): mend or delete them, then repeat this"
    ] == ran.errors
    assert [True, False, True] == [word in ran.out for word in ("one", "two", "three")]
    assert ("--all" in command) == ("four" in ran.out)


def test_a_folder_that_is_missing_is_told_by_the_path_that_was_given(filled: str, cli: Run) -> None:
    """The file that would have been written first is nobody's business."""
    ran = cli("export", "--all", "-o", "no/such/x.jsonl", "--url", filled)

    assert 1 == ran.code
    assert ran.errors[0].startswith("chatstore: no/such/x.jsonl: No such file or directory")


def test_large_numbers_are_written_alike(cli: Run, sqlite_url: str) -> None:
    """What was known and what is new have their thousands apart."""
    write("x.json", [HI] * 1200)

    first, second = (cli("import", "x.json", "--url", sqlite_url).out for _ in range(2))

    assert "1,200 messages new, 0 known" in first
    assert "0 messages new, 1,200 known" in second


@pytest.mark.parametrize("command", ["export s", "export --all", "export --all --format openai"])
def test_what_json_cannot_say_is_named_and_the_rest_goes_out(command: str, cli: Run, sqlite_url: str) -> None:
    """Two surrogates that every reader would join can be stored, but not be exported as they are."""
    with connect(sqlite_url) as repository:
        repository.add_messages(
            "s", [HumanMessage("one"), HumanMessage("\ud83d\ude00"), HumanMessage("three")]
        )
        repository.add_messages("t", [HumanMessage("four")])

    ran = cli(*command.split(), "--url", sqlite_url)

    assert 1 == ran.code
    assert "left out ('s' at 2)" in ran.errors[0]
    assert [True, True] == [word in ran.out for word in ("one", "three")]
    assert ("--all" in command) == ("four" in ran.out)
