"""How pages are made: templates, the files beside them, and how values are written.

Knows Jinja2, which escapes every value; refuses to know requests.
"""

from __future__ import annotations

import re
from datetime import timedelta
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from chatstore.viewer import asking, prose

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_KINDS: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
#: Characters of a text, and of what a tool is told or says, before the rest is behind a link.
TEXT_CUT, CODE_CUT = 6_000, 3_000


_MARKS: Final = re.compile(r"\*\*|__|`+|^#+ |^\|?(?:[ :]*-{3,}[ :]*\|?)+$", re.MULTILINE)


class File(NamedTuple):
    """A file that pages use."""

    data: bytes
    kind: str
    digest: str


class Looks:
    """The templates, ready."""

    def __init__(self, title: str) -> None:
        """Load everything; *title* stands at the top of every page."""
        self.files = {
            one.name: File(one.read_bytes(), _KINDS[one.name.rpartition(".")[2]], _digest(one.read_bytes()))
            for one in (files("chatstore.viewer") / "static").iterdir()
            if one.name.rpartition(".")[2] in _KINDS
        }
        self._jinja = Environment(
            loader=PackageLoader("chatstore.viewer"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters |= {
            "moment": moment,
            "machine": lambda value: value.isoformat(),
            "number": lambda value: f"{value:,}",
            "seconds": seconds,
            "prose": prose.render,
            "kind": lambda part: type(part).__name__,
            "beginning": beginning,
            "gist": gist,
            "plain": plain,
            "marked": marked,
        }
        self._jinja.globals |= {
            "title": title,
            "address": asking.address,
            "static": lambda name: f"static/{name}?v={self.files[name].digest}",
            "TYPES": asking.TYPES,
            "ARCHIVED": asking.ARCHIVED,
            "WORDS": asking.WORDS,
            "without": lambda told, name, kept: (
                {key: value for key, value in told.items() if key != name} | kept
            ),
            "TEXT_CUT": TEXT_CUT,
            "CODE_CUT": CODE_CUT,
        }

    def page(self, template: str, **given: Any) -> str:
        """Return a whole page."""
        return self._jinja.get_template(template).render(**given)

    def macro(self, template: str, name: str) -> Any:
        """Return a macro, which gives a part of a page."""
        return getattr(self._jinja.get_template(template).module, name)


def moment(value: datetime) -> str:
    """Return a time to the minute, in UTC."""
    return f"{value:%Y-%m-%d %H:%M}"


def seconds(value: timedelta) -> str:
    """Return how long something took, in two units at most: 0.4 s, 20 s, 2 min 5 s, 3 h 20 min, 2 d 4 h."""
    whole = value / timedelta(seconds=1)
    if whole < 10:  # noqa: PLR2004 - a tenth counts while there are few
        return f"{whole:.1f} s".replace(".0 s", " s")
    for size, unit, part, smaller in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = int(whole % size // part)
            return f"{int(whole // size)} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole:.0f} s"


def beginning(text: str, length: int) -> str:
    """Return the beginning of *text*, at the end of a line where there is one near."""
    if len(text) <= length:
        return text
    cut = text.rfind("\n", length - length // 5, length)
    return text[: cut if cut > 0 else length]


def gist(text: str) -> str:
    """Return the beginning of what a tool is told or says, in one line."""
    line = " ".join(text[:400].split()).removeprefix("{ ").removesuffix(" }")
    return line if len(line) <= 120 else f"{line[:119]}…"  # noqa: PLR2004 - wider than it is shown


def plain(text: str) -> str:
    """Return *text* in one line, without the marks of markdown that a reader would trip over."""
    return " ".join(_MARKS.sub("", text).split())


def marked(text: str, places: Iterable[tuple[int, int]]) -> Markup:
    """Return *text* with these places marked."""
    made, at = Markup(), 0
    for start, end in places:
        made += escape(text[at:start]) + Markup("<mark>{}</mark>").format(text[start:end])
        at = end
    return made + escape(text[at:])


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:12]
