"""Options that several commands share: times as people write them, owners, JSON output.

This module knows how options are written; it refuses to know what they do.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from chatstore.arguments import check_owner_id
from chatstore.cli.target import Refused
from chatstore.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    ParamType = click.ParamType[datetime]
else:
    ParamType = click.ParamType  # generic for type checkers, and since click 8.4 at all

_AGO: Final = re.compile(r"(\d{1,5})(s|m|h|d|w)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class When(ParamType):
    """A moment: a date or time in ISO form (UTC where it names no zone), or how long ago: 7d, 12h."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, aware."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(str(value).strip()):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(str(value))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail("write a time such as 2026-11-23, 2026-11-23T14:30Z, 7d or 12h", param, ctx)


WHEN: Final = When()

#: How WHEN is explained.
TIMES: Final = "for example 2026-11-23, 2026-11-23T14:30Z, 7d or 12h (ago)"
LIMIT: Final = click.IntRange(1, 1000)

json_option: Final = click.option("--json", "json_", is_flag=True, help="Print JSON, for programs.")
YES: Final = click.option("--yes", is_flag=True, help="Do not ask.")


def examples(*lines: str) -> str:
    """Return what stands below a command's options: lines that can be typed as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def owner_options(help_: str, *, prefix: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``--user`` and ``--tenant``; *help_* says what they do there, with {} for the word.

    With *prefix* ``to-`` they are ``--to-user`` and ``--to-tenant``.
    One that is given and empty, as by a variable of a script that is not set, is refused: it must not mean everybody.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for word in ("tenant", "user"):
            option = click.option(f"--{prefix}{word}", metavar="ID", callback=_owner, help=help_.format(word))
            command = option(command)
        return command

    return decorate


def _owner(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    try:
        return check_owner_id(value, option.opts[0])
    except Invalid as error:
        raise Refused(str(error)) from None
