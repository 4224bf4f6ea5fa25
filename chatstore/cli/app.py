"""The group of all commands, and how every error ends: in one line on stderr that says what to do.

This module knows exit codes (0 done, 1 failed, 2 wrong usage or refused, 130 interrupted,
141 the reader of its output went away); it refuses to know what
any command does.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from chatstore import __version__
from chatstore.cli import copy, demo, doctor, import_export, index, reading, removal, schema, writing
from chatstore.cli.demo import TORN
from chatstore.cli.output import scrubbed
from chatstore.errors import ChatstoreError, SessionNotFound
from chatstore.schemes import schemes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Shows the traceback of what should not have happened.
TRACEBACK = "CHATSTORE_TRACEBACK"
FAILED, INTERRUPTED = 1, 130
#: Where a caller in Python is sent for the driver's error, which may show stored text.
_CAUSE = "its own error is this error's __cause__; look there"


class App(click.Group):
    """A click group that never shows a traceback, and never two lines where one will do."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line and exit."""
        run = partial(super().main, *args, **{**extra, "standalone_mode": False})
        return guarded(run) if standalone_mode else run()

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
        """List the commands in the order of their subjects, as they were added."""
        del ctx
        return list(self.commands)


def guarded(run: Callable[[], Any]) -> NoReturn:
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
        click.echo(f"chatstore: {scrubbed(line)}", err=True)
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


def _commands() -> Iterator[click.Command]:
    for module in (demo, schema, index, reading, writing, import_export, copy, removal, doctor):
        yield from module.COMMANDS


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="chatstore %(version)s")
def main() -> None:
    """Keep the conversations of an LLM application in its own database.

    Begin with `chatstore demo`. Every command takes --url, or reads CHATSTORE_URL.
    """


for _command in _commands():
    main.add_command(_command)
