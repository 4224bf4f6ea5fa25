"""Bars, drawn as SVG on the server: upright ones for what has an order, lying ones for what has names.

Knows places and lengths; colours are classes of the style sheet. Refuses to know what is counted. Labels are escaped.
A plot is a picture of the table beside it, so it is hidden from readers of screens, who have the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Units of the drawing: it is as wide as the page lets it be.
WIDTH: Final = 420
_HEIGHT, _LEFT, _TOP, _FOOT = 190, 40, 8, 24
_LINE, _NAMES, _END = 23, 142, 44
#: Labels below upright bars.
_LABELS: Final = 8


class Bar(NamedTuple):
    """One bar: what it is called, and one number, or two that stand on each other."""

    label: str
    values: tuple[float, ...]

    @property
    def whole(self) -> float:
        """All of it."""
        return sum(self.values)


def upright(bars: Sequence[Bar]) -> Markup:
    """Draw *bars* side by side, in their order."""
    top = _round_up(max((bar.whole for bar in bars), default=0))
    inner, step = _HEIGHT - _TOP - _FOOT, (WIDTH - _LEFT) / max(len(bars), 1)
    wide = min(step * 0.74, 40)
    drawn = [_svg(_HEIGHT)]
    for part in range(5):
        y = _TOP + inner * (1 - part / 4)
        drawn.append(_tag("line", x1=_LEFT, x2=WIDTH, y1=y, y2=y, class_="rule" if part else "base"))
        drawn.append(_text(_LEFT - 8, y + 4, short(top * part / 4), "end"))
    every = -(-len(bars) // _LABELS) if bars else 1
    for place, bar in enumerate(bars):
        middle, y = _LEFT + step * (place + 0.5), _TOP + float(inner)
        for series, value in enumerate(bar.values):
            high = inner * value / top if top else 0
            y -= high
            if high:
                drawn.append(
                    _tag(
                        "rect", x=middle - wide / 2, y=y, width=wide, height=high, class_=f"bar s{series + 1}"
                    )
                )
        if place % every == 0:
            drawn.append(_text(middle, _HEIGHT - 6, bar.label, "middle"))
    return Markup("").join([*drawn, Markup("</svg>")])


def lying(bars: Sequence[Bar]) -> Markup:
    """Draw *bars* below each other, each with its name and its number."""
    longest = max((bar.whole for bar in bars), default=0)
    height = _LINE * max(len(bars), 1) + 4
    drawn = [_svg(height)]
    room = WIDTH - _NAMES - _END
    for place, bar in enumerate(bars):
        y, x = place * _LINE + 4, float(_NAMES)
        drawn.append(_text(_NAMES - 12, y + 12.5, _cut(bar.label), "end"))
        for series, value in enumerate(bar.values):
            wide = room * value / longest if longest else 0
            if wide:
                drawn.append(
                    _tag("rect", x=x, y=y, width=wide, height=_LINE - 8, class_=f"bar s{series + 1}")
                )
            x += wide
        drawn.append(_text(x + 8, y + 12.5, short(bar.whole), "start"))
    return Markup("").join([*drawn, Markup("</svg>")])


def short(number: float) -> str:
    """Return *number* in few characters: 950, 1.2k, 34k, 5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            part = number / size
            return f"{part:.1f}".rstrip("0").rstrip(".") + letter if part < 10 else f"{part:.0f}{letter}"  # noqa: PLR2004
    return f"{number:.1f}".rstrip("0").rstrip(".")


def _round_up(number: float) -> float:
    """Return the next number that four lines divide well."""
    if number <= 4:  # noqa: PLR2004 - below it, every line is a whole number
        return 4
    size = float("1" + "0" * (len(str(int(number))) - 1))
    return next(step * size for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if step * size >= number)


def _cut(label: str) -> str:
    return label if len(label) <= 20 else label[:19] + "…"  # noqa: PLR2004 - what fits beside the bars


def _svg(height: float) -> Markup:
    return Markup('<svg class="plot" viewBox="0 0 {} {}" aria-hidden="true" focusable="false">').format(
        WIDTH, height
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _tag(name: str, **attributes: object) -> Markup:
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_"), f"{value:.1f}" if isinstance(value, float) else value)
        for key, value in attributes.items()
    )
    return Markup("<{}{}/>").format(escape(name), written)
