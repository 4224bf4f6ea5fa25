"""The command line as a whole: how it starts, how every error ends, and what it never does."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.cli.output import scrub
from chatstore.errors import StorageError
from tests.cli.conftest import execute
from tests.others import someone_else

if TYPE_CHECKING:
    from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
LIBRARIES = ("alembic", "asyncio", "pydantic", "rich", "sqlalchemy")
#: What a command on a SQLite file has no use for, unless it is the command's own business.
NEEDLESS = {
    "alembic",
    "sqlalchemy.orm",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.oracle",
    "sqlalchemy.dialects.mssql",
    "rich.markdown",
    "rich.table",
    "rich.progress",
    "chatstore.cli.copy",
    "chatstore.cli.demo",
    "chatstore.cli.doctor",
    "chatstore.cli.index",
    "chatstore.backends.sql.orm",
    "chatstore.backends.file",
    "chatstore.backends.redis",
}
#: What Alembic loads whatever the database, where tables are compared.
ALEMBICS = {
    "alembic",
    "sqlalchemy.dialects.mssql",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.oracle",
    "sqlalchemy.dialects.postgresql",
}
#: Modules that such a command loads at most, Python's own and those of a `sitecustomize` included.
MOST = 640
READING = ["sessions", "show x", "search x", "export x", "export --all", "current", "check", "doctor"]
CHOSEN = ["upgrade", "downgrade base", "index create", "index drop", "import x.json", "delete x", "purge"]


def python(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run *program* in a fresh interpreter."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", program]
    typed = '[{"role": "user", "content": "Hi"}]'
    return subprocess.run(
        command, cwd=folder, env=env, input=typed, capture_output=True, text=True, check=False
    )


# ------------------------------------------------------------------------------------------------ starting


def test_help_loads_no_heavy_library(folder: Path) -> None:
    """`chatstore --help` shows every command without SQLAlchemy, pydantic or rich."""
    run = python(
        "import sys\nfrom chatstore.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {LIBRARIES!r} if name in sys.modules], file=sys.stderr)",
        folder,
    )

    assert "[]\n" == run.stderr
    assert "  demo  " in run.stdout


@pytest.mark.parametrize(
    ("command", "needless"),
    [
        ("sessions", NEEDLESS | {"rich.console"}),
        ("show ada-chain", NEEDLESS),
        ("search chain", NEEDLESS),
        ("delete ada-chain --yes", NEEDLESS | {"rich", "rich.console"}),
        ("purge --yes", NEEDLESS | {"rich", "rich.console"}),
        ("import - --session new", NEEDLESS | {"rich", "rich.console"}),
        ("append ada-chain Hello", NEEDLESS | {"rich", "rich.console"}),
        ("export --all", NEEDLESS | {"rich", "rich.console"}),
        ("current", NEEDLESS | {"rich", "pydantic"}),
        ("check", (NEEDLESS - ALEMBICS) | {"rich", "pydantic"}),
        ("doctor", (NEEDLESS - ALEMBICS - {"chatstore.cli.doctor"}) | {"rich"}),
    ],
)
def test_a_command_on_a_sqlite_file_loads_what_it_needs(
    command: str, needless: set[str], filled: str, folder: Path
) -> None:
    """Nothing of other databases, of the ORM, of migrations or of other commands is paid for on every call.

    What is loaded is most of a command's time; it is counted here, since a clock would measure the machine.
    """
    run = python(
        "import sys\nfrom chatstore.cli import main\n"
        f"try:\n    main({[*command.split(), '--url', filled]!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(sorted({needless!r} & sys.modules.keys()), len(sys.modules) < {MOST}, file=sys.stderr)",
        folder,
    )

    assert "[] True" == run.stderr.splitlines()[-1]


def test_every_command_is_found_by_its_name() -> None:
    """The table of modules names each command of these modules, and no other."""
    from importlib import import_module

    from chatstore.cli.app import MODULES

    homes = {module: import_module(f"chatstore.cli.{module}").COMMANDS for module in MODULES.values()}

    assert {one.name: module for module, found in homes.items() for one in found} == MODULES


COMPLETE = """
eval "$(_CHATSTORE_COMPLETE=bash_source chatstore)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_chatstore_completion chatstore
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("se", ["sessions", "search", "serve"]),
        ("sessions --f", ["--full"]),
        ("append --role u", ["user"]),
        ("index c", ["create"]),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, found: list[str], folder: Path) -> None:
    """The line of the reference page, in a real shell, has the Tab key find what there is."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not on PATH: install it")
    program = folder / "bin" / "chatstore"
    program.parent.mkdir()
    run = "import sys; from chatstore.cli import main; sys.argv[0] = 'chatstore'; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{run}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}

    done = subprocess.run(
        [bash, "--norc", "-c", COMPLETE, "bash", "chatstore", *words.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", found) == (done.returncode, done.stderr, done.stdout.split())


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_there_is_one_line_with_the_command_to_type(missing: str, folder: Path) -> None:
    """Where click or rich is not installed, the program says how to install them."""
    run = python(
        "import importlib.util as util\nfind = util.find_spec\n"
        f"util.find_spec = lambda name, *more: None if name == {missing!r} else find(name, *more)\n"
        "from chatstore.cli import main\nmain()",
        folder,
    )

    assert 1 == run.returncode
    assert run.stderr == (
        f"chatstore: the command line is not installed: {sys.executable} -m pip install "
        "'click>=8.1' 'rich>=13.7'\n"
    )


def test_the_module_is_the_command(process: Run) -> None:
    """`python -m chatstore` is the same program."""
    from chatstore import __version__

    assert (0, f"chatstore {__version__}\n", "") == process("--version")


def test_without_a_command_the_help_is_shown(cli: Run) -> None:
    """Nothing to do is wrong usage; whoever types it sees what there is."""
    ran = cli()

    assert 2 == ran.code
    assert "doctor" in ran.err
    assert [] == ran.errors


# ------------------------------------------------------------------------------------------------ which storage


@pytest.mark.parametrize("command", READING)
def test_reading_says_the_default_and_creates_nothing(command: str, cli: Run, folder: Path) -> None:
    """Without a URL the default is named; where it is missing, that is an error and no file appears."""
    ran = cli(*command.split())

    assert 1 == ran.code
    assert "using sqlite:///chatstore.db" in ran.err
    assert "there is nothing at sqlite:///chatstore.db" in ran.out + ran.err
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("command", READING)
def test_reading_a_missing_folder_creates_nothing(command: str, cli: Run, folder: Path) -> None:
    """The same for `file:`; commands for databases refuse it."""
    ran = cli(*command.split(), "--url", "file:chats")

    assert (2 if command in {"current", "check"} else 1) == ran.code
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("command", READING)
def test_reading_changes_no_foreign_file(command: str, cli: Run, folder: Path) -> None:
    """A SQLite file without tables of ours is left as it is, byte for byte."""
    for content in (b"", b"something else"):
        Path("other.db").write_bytes(content)

        ran = cli(*command.split(), "--url", "sqlite:///other.db")

        assert 1 == ran.code
        assert content == Path("other.db").read_bytes()
        assert ["other.db"] == [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("command", CHOSEN)
def test_what_changes_a_storage_wants_it_named(command: str, cli: Run, folder: Path) -> None:
    """Without a URL these refuse, with exit code 2, and say what to pass."""
    Path("x.json").write_text("[]")

    ran = cli(*command.split())

    assert 2 == ran.code
    assert 1 == len(ran.errors)
    assert "pass --url, or set CHATSTORE_URL" in ran.err
    assert ["x.json"] == [path.name for path in folder.iterdir()]


def test_the_option_comes_before_the_environment(cli: Run) -> None:
    """CHATSTORE_URL names the storage where no option does."""
    cli("append", "s", "here", CHATSTORE_URL="sqlite:///a.db")
    cli("append", "s", "there", "--url", "sqlite:///b.db", CHATSTORE_URL="sqlite:///a.db")

    assert (
        1
        == json.loads(cli("sessions", "--json", CHATSTORE_URL="sqlite:///a.db").out)["sessions"][0][
            "message_count"
        ]
    )
    assert "there" in cli("show", "s", "--url", "sqlite:///b.db").out


@pytest.mark.parametrize("command", ["upgrade", "downgrade base --yes", "current", "check", "index drop"])
@pytest.mark.parametrize("url", ["memory:", "file:chats"])
def test_commands_for_databases_refuse_others(command: str, url: str, cli: Run, folder: Path) -> None:
    """A storage without tables is refused with exit code 2, and a database is asked for."""
    ran = cli(*command.split(), "--url", url)

    assert 2 == ran.code
    assert "name a SQL database" in ran.errors[0]
    assert [] == list(folder.iterdir())


# ------------------------------------------------------------------------------------------------ passwords

SECRETS = [
    "postgresql://app:s3cret@127.0.0.1:1/db",
    "postgresql://app:p%40s3cret:/@ü@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=app&password=s3cret",
    "mysql://app:s3cret@127.0.0.1:1/db?ssl_key_password=s3cret",
    "mariadb://app:s3cret@127.0.0.1:1/db",
    "nonsense://app:s3cret@127.0.0.1/db",
    "postgresql://app:s3cret@[broken/db",
    "app:s3cret@127.0.0.1",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize(
    "command", ["doctor", "upgrade", "purge", "import x.json", "sessions --json", "append s t"]
)
def test_a_password_is_never_printed(url: str, command: str, cli: Run, folder: Path) -> None:
    """Whatever fails, and whatever the URL is, no part of the password appears; the error is one line."""
    Path("x.json").write_text("[]")

    ran = cli(*command.split(), "--url", url)

    assert 1 == ran.code
    assert "s3cret" not in ran.out + ran.err
    assert 1 == len(ran.errors) or command == "doctor"


def test_a_password_in_the_wrong_place_is_not_repeated(cli: Run) -> None:
    """Usage errors repeat what was typed; a URL in it loses its password first."""
    ran = cli("sessions", "postgresql://app:s3@cret@127.0.0.1/db", "--url", "memory:")

    assert 2 == ran.code
    assert "s3" not in ran.err.replace("://***@", "")
    assert "cret" not in ran.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see postgresql://a:b@c/d now", "see postgresql://***@c/d now"),
        ("x://a:b@c@d/e", "x://***@d/e"),
        ("x://h/d?a=1&password=b&c=2", "x://h/d?a=1&password=***&c=2"),
        ("two\nlines", "two lines"),
        ("an \x1b[31mescape", "an \\x1b[31mescape"),
    ],
)
def test_errors_are_scrubbed(text: str, shown: str) -> None:
    """Errors are one line, without passwords and control characters."""
    assert shown == scrub(text)


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["bogus"], 2, "No such command"),
        (["sessions", "--bogus"], 2, "--help tells more"),
        (["show"], 2, "SESSION"),
        (["sessions", "--since", "yesterday"], 2, "7d or 12h"),
        (["sessions", "--limit", "0"], 2, "--limit"),
        (["sessions", "--cursor", "x", "--url", "memory:"], 1, "next_cursor"),
        (["append", " x", "t", "--url", "memory:"], 1, "session id"),
        (["append", "s", "t", "--id", "\x1b", "--url", "memory:"], 1, "message id"),
        (["show", "s", "--url", "memory:"], 1, "there is no session 's'"),
        (["sessions", "--url", "nonsense"], 1, "not a database URL"),
        (["sessions", "--url", "sqlite:////"], 1, "is a folder"),
        (["upgrade", "--url", "sqlite:///no/such/folder/x.db"], 1, "folder"),
        (["append", "s", "t", "--url", "sqlite:///no/such/folder/x.db"], 1, "create its folder"),
        (["sessions", "--url", "postgresql://127.0.0.1:1/x"], 1, "cannot be reached"),
        (["export", "--url", "memory:"], 2, "a SESSION, or --all"),
        (["export", "s", "--all", "--url", "memory:"], 2, "a SESSION, or --all"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(args: list[str], code: int, said: str, cli: Run) -> None:
    """1 is failure, 2 is wrong usage; stdout stays empty."""
    ran = cli(*args)

    assert (code, "") == (ran.code, ran.out)
    assert 1 == len(ran.errors)
    assert said in ran.errors[0]
    assert "Traceback" not in ran.err


def test_what_should_not_happen_is_one_line_too(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug shows its class, not a traceback; a variable brings the traceback back."""
    from chatstore.cli import target

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret text")

    monkeypatch.setattr(target.Target, "must_exist", broken)

    assert (1, "") == cli("sessions", "--url", "memory:")[:2]
    assert "ZeroDivisionError" in cli("sessions", "--url", "memory:").errors[0]
    assert "secret text" not in cli("sessions", "--url", "memory:").err
    with pytest.raises(ZeroDivisionError):
        cli("sessions", "--url", "memory:", CHATSTORE_TRACEBACK="1")


def test_a_torn_pipe_ends_in_silence(filled: str, folder: Path) -> None:
    """Whoever reads the output may stop reading: no error, no traceback, the code of SIGPIPE."""
    for command in ("export --all", "search chain --json", "show ada-brakes", "demo --keep new.db"):
        url = [] if command.startswith("demo") else ["--url", filled]
        with subprocess.Popen(
            [sys.executable, "-m", "chatstore", *command.split(), *url],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as run:
            assert run.stdout
            assert run.stderr
            run.stdout.close()

            assert b"" == run.stderr.read()
            assert 141 == run.wait(60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_an_interrupt_is_one_line(folder: Path) -> None:
    """Ctrl-C while the program waits for stdin ends it with one line, and nothing is stored."""
    with subprocess.Popen(
        [sys.executable, "-m", "chatstore", "append", "s", "-"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - one thread
    ) as run:
        assert run.stderr
        assert "using sqlite:///chatstore.db" in run.stderr.readline()  # said before stdin is read
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)

    assert 130 == run.returncode
    assert [True] == [line.startswith("chatstore: interrupted: ") for line in err.splitlines() if line]
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("command", ["show nope", "export nope", "delete nope --yes"])
def test_a_session_that_is_missing_can_be_looked_for(command: str, filled: str, cli: Run) -> None:
    """Nobody who mistyped an id wants to create it: the hint is the list."""
    ran = cli(*command.split(), "--url", filled)

    assert ["chatstore: there is no session 'nope': chatstore sessions lists those there are"] == ran.errors


@pytest.mark.parametrize("command", ["sessions", "append s t", "upgrade", "doctor", "demo"])
@pytest.mark.parametrize("url", ["", " "])
def test_an_empty_url_is_not_another_storage(command: str, url: str, cli: Run, folder: Path) -> None:
    """An unset variable of a script names nothing, and never the default or CHATSTORE_URL."""
    ran = cli(*command.split(), "--url", url, CHATSTORE_URL="sqlite:///mine.db")

    assert (2, "") == (ran.code, ran.out)
    assert "--url is empty" in ran.errors[0]
    assert [] == list(folder.iterdir())


def test_a_drivers_error_is_shown_on_request(filled: str, cli: Run) -> None:
    """What a driver says may hold stored text: the line names the variable that shows it, not a __cause__."""
    execute(
        filled,
        "CREATE TRIGGER no BEFORE INSERT ON chatstore_messages BEGIN SELECT RAISE(ABORT, 'secret'); END",
    )

    ran = cli("append", "s", "t", "--url", filled)

    assert (1, True) == (ran.code, "CHATSTORE_TRACEBACK=1" in ran.errors[0])
    assert "__cause__" not in ran.err
    assert "secret" not in ran.err
    with pytest.raises(StorageError) as caught:
        cli("append", "s", "t", "--url", filled, CHATSTORE_TRACEBACK="1")
    assert "secret" in str(caught.value.__cause__)


def test_a_path_that_will_not_do_is_told_once(cli: Run) -> None:
    """A file in the place of a folder is named itself, not what the store would have made in it."""
    Path("afile").touch()

    ran = cli("append", "s", "t", "--url", "file:afile")

    assert 1 == ran.code
    assert "/afile cannot be used (Not a directory): a directory belongs there" in ran.errors[0]
    assert ".locks" not in ran.err


def test_a_folder_that_is_there_need_not_be_created(cli: Run, open_folder: Path) -> None:
    """Where rights are missing, the advice is about rights."""
    open_folder.chmod(0o555)

    with someone_else():
        ran = cli("append", "s", "t", "--url", f"sqlite:///{open_folder}/chat.db")

    assert 1 == ran.code
    assert "give this user the right to write in its folder" in ran.errors[0]
