"""What people see: text that cannot harm a terminal, tables, progress; and JSON for programs.

This module knows terminals; it refuses to know what is shown. Stored text is never trusted: every control
character (C0, C1, escapes, marks that turn the direction of text) is shown as an escape, and markup stays
text.
"""

from __future__ import annotations

import re
import sys
import threading
from contextlib import contextmanager
from decimal import Decimal
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from rich.console import Console
    from rich.text import Text

#: Seconds that work may take before a bar shows.
PATIENCE: Final = 1.0
#: Columns where output goes into a file or a pipe: nothing is cut there.
WIDE: Final = 200
_HARMFUL: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
#: What joins emoji into one; at a cut there is nothing to join.
_JOINER: Final = "\u200d"
_SECRET: Final = re.compile(r"([?&;][^=\s&;]*(?:pass|pwd|secret|token)[^=\s&;]*=)[^&;\s]*", re.IGNORECASE)


def shown(text: str) -> str:
    r"""Return *text* with its control characters as escapes (``\x1b``); line breaks stay."""
    return _HARMFUL.sub(_escaped, text.replace("\r\n", "\n").replace("\t", "    "))


def line(text: str) -> str:
    """Return *text* as `shown`, in one line: line breaks become ``↵``."""
    return shown(text).replace("\n", "↵")


def scrub(text: str) -> str:
    """Return *text*, an error of any origin, without passwords of URLs, in one line."""
    text = re.sub(r"://(?!user:password@)\S*@", "://***@", " ".join(text.split()))
    return line(_SECRET.sub(r"\1***", text))


def cut(text: str, width: int) -> str:
    """Return at most *width* characters of *text*, with ``…`` where something is missing."""
    return text if len(text) <= width else text[: width - 1] + "…"


def fit(text: str, width: int, *, middle: bool = False) -> str:
    """Return *text* in at most *width* columns of a terminal; ``…`` stands for the end, or the *middle*."""
    if width_of(text) <= width:
        return text
    tail = (width - 1) // 2 if middle else 0
    return f"{_take(text, width - 1 - tail).rstrip(_JOINER)}…{_take(text[::-1], tail)[::-1].lstrip(_JOINER)}"


def _take(text: str, width: int) -> str:
    """Return as much of the beginning of *text* as fits into *width* columns."""
    taken = text[:width]
    while width_of(taken) > width:
        taken = taken[:-1]
    return taken


def width_of(text: str) -> int:
    """Return how many columns of a terminal *text* takes: two for a CJK character, none for an accent by itself."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def terminal_width() -> int | None:
    """Return how wide the terminal is, or None where the output goes elsewhere."""
    return get_terminal_size().columns if sys.stdout.isatty() else None


def counted(number: int, word: str) -> str:
    """Return a number with its word: 1 message, 2,000 messages."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def moment(value: datetime | None) -> str:
    """Return a time to the second, in UTC."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def note(text: str) -> None:
    """Say *text* on stderr, beside the output."""
    click.echo(line(text), err=True)


def say(text: str) -> None:
    """Print a line of our own."""
    click.echo(shown(text))


def as_json(value: Any) -> None:
    """Print *value* as indented JSON in UTF-8, free of control characters."""
    import json

    from chatstore.formats.writing import escape_hazards

    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain, allow_nan=False)
    try:
        click.echo(escape_hazards(text).encode())
    except UnicodeEncodeError:  # a lone surrogate
        click.echo(json.dumps(value, indent=2, default=_plain, allow_nan=False).encode())


def values(record: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return these attributes of *record*, for `as_json`."""
    return {name: getattr(record, name) for name in names}


def console(*, err: bool = False) -> Console:
    """Return a console that takes no text for markup, and cuts nothing where nobody watches."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)


def styled(*parts: tuple[str, str]) -> Text:
    """Return text of (*text*, *style*) parts, made harmless."""
    from rich.text import Text

    made = Text()
    for text, style in parts:
        made.append(shown(text), style=style)
    return made


def table(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print *rows* under the column *names*; numbers are aligned on the right, texts fold where there is no room."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    cells, to = [list(row) for row in rows], console()
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for place, name in enumerate(names):
        numbers = all(isinstance(row[place], int | float | Decimal | None) for row in cells)
        made.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        made.add_row(*(styled((line(_written(cell)), "")) for cell in row))
    if to.is_terminal:
        to.print(made)
        return
    with to.capture() as captured:
        to.print(made)
    click.echo("\n".join(one.rstrip() for one in captured.get().splitlines()))


def _written(cell: Any) -> str:
    return "" if cell is None else f"{cell:,}" if type(cell) is int else str(cell)


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Lend a function that is told of steps done; a bar shows on a terminal after a second."""
    if not sys.stderr.isatty():
        yield lambda _steps: None
        return
    bar = _Bar(label, total)
    patience = threading.Timer(PATIENCE, bar.show)
    patience.daemon = True
    patience.start()
    try:
        yield bar.step
    finally:
        patience.cancel()
        patience.join()
        bar.stop()


class _Bar:
    """A bar that is drawn from `show` on; before it, which is all that short work sees, nothing is imported."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total, self.done = label, total, 0
        self._shown: Any = None

    def show(self) -> None:
        """Draw the bar from now on."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        # Without a total the count shows once something is counted: many tasks have nothing to count.
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
        )
        shown = Progress(*columns, console=console(err=True), transient=True)
        shown.add_task(self.label, total=self.total, completed=self.done, done=self._counted())
        shown.start()
        self._shown = shown
        self.step(0)  # what was counted meanwhile

    def step(self, steps: int) -> None:
        """Count what was done."""
        self.done += steps
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=self.done, done=self._counted())

    def stop(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown.stop()

    def _counted(self) -> str:
        if self.total is not None:
            return f"{self.done:,}/{self.total:,}"
        return f"{self.done:,}" if self.done else ""


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "_asdict"):
        return value._asdict()
    msg = f"{type(value).__name__} is not JSON"
    raise TypeError(msg)
