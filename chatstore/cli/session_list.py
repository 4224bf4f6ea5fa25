"""The list of sessions as people see it: titles first, as wide as the terminal and never wider.

This module knows columns, and which of them gives way first; it refuses to know where sessions come from. It
draws its lines itself, because a list is what is asked for most often, and rich takes 60 ms to load.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from chatstore.cli.output import fit, line, moment, note, terminal_width, width_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from chatstore.messages import ChatSession

_GAP: Final = 2
_WHOLE: Final = 10_000
#: From much room to little: what a session's id may take, an owner's, and what is left for the title at least.
_STEPS: Final = (
    (_WHOLE, _WHOLE, _WHOLE),
    (_WHOLE, _WHOLE, 24),
    (_WHOLE, 16, 24),
    (13, 16, 20),
    (9, 10, 12),
)
#: Which columns a narrow terminal does without, in this order.
_DROPPED: Final = ("archived (UTC)", "tenant", "messages", "user", "updated (UTC)", "title")


def show(found: Sequence[ChatSession], *, full: bool, known: Collection[str] = ()) -> None:
    """Print the sessions. Nothing is shortened if *full*, or where the output is not a terminal.

    Columns that are *known* beforehand, because all sessions were asked for by them, are left out; empty ones too.
    """
    width = None if full else terminal_width()
    columns = {
        name: cells
        for name, cells in _columns(found, short=width is not None).items()
        if name == "session" or (name not in known and any(cells))
    }
    widths = _lay_out(columns, width or _WHOLE)
    click.secho(_join(widths, widths), bold=True)
    click.echo("─" * (sum(widths.values()) + _GAP * (len(widths) - 1)))
    for row in zip(*(columns[name] for name in widths), strict=True):
        click.echo(_join(widths, row))
    if any(width_of(cell) > widths["session"] for cell in columns["session"]):
        note("ids are shortened: --full shows them whole")


def _columns(found: Sequence[ChatSession], *, short: bool) -> dict[str, list[str]]:
    written = _day if short else moment
    return {
        "title": [line(one.title or "") for one in found],
        "session": [line(one.session_id) for one in found],
        "user": [line(one.user_id or "") for one in found],
        "tenant": [line(one.tenant_id or "") for one in found],
        "messages": [f"{one.message_count:,}" for one in found],
        "updated (UTC)": [written(one.updated_at) for one in found],
        "archived (UTC)": [written(one.archived_at) for one in found],
    }


def _day(value: datetime | None) -> str:
    """Return a time as short as a list can do with: the hour for today, the date for every other day."""
    if value is None:
        return ""
    return f"today {value:%H:%M}" if value.date() == datetime.now(UTC).date() else f"{value:%Y-%m-%d}"


def _lay_out(columns: dict[str, list[str]], width: int) -> dict[str, int]:
    """Return the columns to show, each with its width; together they are at most *width* wide."""
    natural = {name: max(map(width_of, (name, *cells))) for name, cells in columns.items()}
    for dropped in (None, *_DROPPED):
        natural.pop(str(dropped), None)
        for session, owner, title in _STEPS:
            most = {"session": session, "user": owner, "tenant": owner, "title": title}
            widths = {name: min(wide, most.get(name, wide)) for name, wide in natural.items()}
            spare = width - sum(widths.values()) - _GAP * (len(widths) - 1)
            if spare >= 0:
                grows = "title" if "title" in widths else "session"
                return widths | {grows: min(natural[grows], widths[grows] + spare)}
    return {"session": min(natural["session"], width)}


def _join(widths: dict[str, int], cells: Iterable[str]) -> str:
    """Return a line of the list: numbers on the right of their column, titles cut at the end, ids in the middle."""
    parts = []
    for (name, width), cell in zip(widths.items(), cells, strict=True):
        text = fit(cell, width, middle=name != "title")
        space = " " * (width - width_of(text))
        parts.append(space + text if name == "messages" else text + space)
    return (" " * _GAP).join(parts).rstrip()
