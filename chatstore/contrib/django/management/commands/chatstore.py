"""``manage.py chatstore …``: the command line of chatstore, on the project's database."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError

from chatstore.connect import ENVIRONMENT
from chatstore.contrib.django.addresses import url_of
from chatstore.contrib.django.repositories import DjangoRepository
from chatstore.extras import not_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What is another command's here, and what to type instead.
_REFUSED: Final = {
    "downgrade": "Django keeps a record of migrations: run manage.py migrate chatstore NAME, where zero takes all away",
    "demo": "it would leave its samples in the project's database: run chatstore demo",
}


class Command(BaseCommand):
    """Pass everything on to `chatstore`, which is told the database by its environment."""

    help = "Look after the chats in this project's database: sessions, show, search, export, purge, doctor and more."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Run ``manage.py chatstore …``, and exit as `chatstore` does."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for option in ("--settings", "--pythonpath", "--database"):
            parser.add_argument(option)
        mine: list[str] = []
        rest = list(argv[2:])
        while rest and rest[0].partition("=")[0] in {"--settings", "--pythonpath", "--database"}:
            taken = 1 if "=" in rest[0] else 2
            mine, rest = mine + rest[:taken], rest[taken:]
        try:
            self._run(rest, parser.parse_args(mine).database)
        except CommandError as error:
            self.stderr.write(f"chatstore: {error}")
            sys.exit(error.returncode)

    def add_arguments(self, parser: Any) -> None:
        """Take everything, for ``call_command("chatstore", "sessions", "--json")``."""
        parser.add_argument("--database")
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *_: Any, **options: Any) -> None:
        """Run it from a program: it raises SystemExit only for a failure."""
        try:
            self._run(options["words"], options["database"])
        except SystemExit as ended:
            if ended.code:
                raise

    def _run(self, words: Sequence[str], alias: str | None) -> None:
        command = next((word for word in words if not word.startswith("-")), "")
        if command in _REFUSED:
            raise CommandError(_REFUSED[command], returncode=2)
        try:
            from chatstore.cli.app import main
        except ImportError as error:
            raise CommandError(str(not_installed("the command line", "cli"))) from error
        with _told(url_of(DjangoRepository(alias).alias)):
            main.main(list(words), prog_name=f"{os.path.basename(sys.argv[0])} chatstore")  # noqa: PTH119 - text


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Set the environment for a while: a password does not belong among arguments."""
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENVIRONMENT]
        else:
            os.environ[ENVIRONMENT] = before
