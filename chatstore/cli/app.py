"""The group of all commands, and how every error ends: in one line on stderr that says what to do.

This module knows exit codes (0 done, 1 failed, 2 wrong usage or refused, 130 interrupted,
141 the reader of its output went away); it refuses to know what
any command does.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from chatstore import __version__
from chatstore.cli.options import examples
from chatstore.cli.output import scrub
from chatstore.errors import ChatstoreError, SessionNotFound
from chatstore.schemes import schemes

if TYPE_CHECKING:
    from collections.abc import Callable

#: Shows the traceback of what should not have happened.
TRACEBACK = "CHATSTORE_TRACEBACK"
FAILED, INTERRUPTED = 1, 130
#: The exit code of a command whose output nobody reads any more: what a shell makes of SIGPIPE.
TORN: Final = 141
#: New objects between two looks of the garbage collector, which Python has look every 700: importing all that one
#: command needs makes fewer.
SELDOM: Final = 200_000
#: The module of each command, in the order of the list. It is imported when its own command runs, or for --help.
MODULES: Final = {
    "demo": "demo",
    "upgrade": "schema",
    "downgrade": "schema",
    "current": "schema",
    "check": "schema",
    "alembic-ini": "schema",
    "index": "index",
    "sessions": "reading",
    "show": "reading",
    "search": "reading",
    "append": "writing",
    "import": "import_export",
    "export": "import_export",
    "copy": "copy",
    "edit": "editing",
    "assign": "editing",
    "delete": "removal",
    "purge": "removal",
    "close-answers": "removal",
    "web": "web",
    "serve": "serve",
    "token": "serve",
    "doctor": "doctor",
}
#: Where a caller in Python is sent for the driver's error, which may show stored text.
_CAUSE = "its own error is this error's __cause__; look there"


class App(click.Group):
    """A click group that never shows a traceback, and never two lines where one will do."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line and exit."""
        run = partial(super().main, *args, **{**extra, "standalone_mode": False})
        if not standalone_mode:
            return run()
        _spare_collector()
        return run_guarded(run)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would end a torn pipe with exit code 1, which is for failures."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            ctx.exit(TORN)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the text, and which URLs there are here: other packages bring some."""
        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            known = ", ".join(f"{scheme}:" for scheme in schemes())
            formatter.write_text(f"A URL begins with {known} or with the name of another SQLAlchemy dialect.")

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of their subjects."""
        del ctx
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name, if there is one."""
        del ctx
        if cmd_name not in MODULES:
            return None
        commands: tuple[click.Command, ...] = import_module(f"chatstore.cli.{MODULES[cmd_name]}").COMMANDS
        return next(command for command in commands if command.name == cmd_name)


def _spare_collector() -> None:
    """Have the garbage collector look seldom while modules are imported, and at the end not at all.

    That is a quarter of the time of a command that reads one page: what is imported stays, and what stays is looked at
    again and again. Long work makes few cycles, and these are still collected.
    """
    gc.set_threshold(SELDOM, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def run_guarded(run: Callable[[], Any]) -> NoReturn:
    """Run *run* and exit with the int it returns, or 0; with one line on stderr where it fails."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # what a terminal cannot spell, it gets as an escape
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = run()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - nothing may leave this as a traceback
        _end(error)
    sys.exit(code if isinstance(code, int) else 0)


def _end(error: BaseException) -> NoReturn:
    """Say *error* in one line and exit."""
    code = FAILED
    match error:
        case SystemExit():
            # rich has made exit code 1 of a torn pipe
            sys.exit(TORN if isinstance(error.__context__, BrokenPipeError) else error.code)
        case click.exceptions.Exit():
            sys.exit(error.exit_code)
        case KeyboardInterrupt() | click.Abort():
            code, line = INTERRUPTED, "interrupted: look at what was done so far, then run the same again"
        case click.UsageError() if type(error).__name__ == "NoArgsIsHelpError":
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        case click.ClickException():
            code, line = error.exit_code, _advised(error)
        case ChatstoreError():
            line = _told(error)
        case BrokenPipeError():
            _drop_output()
            sys.exit(TORN)
        case OSError():
            line = _os_fault(error)
        case _ if os.environ.get(TRACEBACK):
            raise error
        case _:
            line = f"this {type(error).__name__} should not happen: run it with {TRACEBACK}=1 and report that"
    with suppress(OSError, ValueError):
        click.echo(f"chatstore: {scrub(line)}", err=True)
    sys.exit(code)


def _advised(error: click.ClickException) -> str:
    """Return click's message, and for wrong usage where to look."""
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} ({context.command_path} --help tells more)" if context else message


def _told(error: ChatstoreError) -> str:
    """Return what an error of ours says, with what to do about it here instead of in Python."""
    if os.environ.get(TRACEBACK):
        raise error
    if isinstance(error, SessionNotFound):
        return f"{str(error).rpartition(': ')[0]}: chatstore sessions lists those there are"
    return str(error).replace(_CAUSE, f"{TRACEBACK}=1 shows its own error")


def _os_fault(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or type(error).__name__}: check the path, its rights and the disk"


def _drop_output() -> None:
    """Point stdout nowhere, so that the interpreter's last flush meets no broken pipe."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "chatstore demo", "chatstore sessions --url sqlite:///chat.db", "chatstore show SESSION --last 10"
    ),
)
@click.version_option(__version__, message="chatstore %(version)s")
def main() -> None:
    """Keep the conversations of an LLM application in its own database.

    Begin with `chatstore demo`. --url, or CHATSTORE_URL in the environment, says where the conversations are. `copy`
    takes two such URLs as arguments, `alembic-ini` needs none.
    """
