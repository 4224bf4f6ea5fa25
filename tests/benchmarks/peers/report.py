"""What a run found, as a page with a table for each database, as plots, and as JSON.

Knows results as `measured` gives them; refuses to know how they came about.
"""

from __future__ import annotations

import json
import math
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
WIDTH, LABEL, BAR, GAP = 760, 250, 16, 6
OURS, THEIRS, TEXT, GRID = "#2a6f97", "#b9c3cc", "#3b4650", "#dfe4e8"


def line(one: dict[str, Any]) -> str:
    """Return a result as a line of a table."""
    ratio = f"{one['ratio']:,.2f} x" if one["who"] != "chatstore" else "1"
    spread = f"{one['low']:,.2f} to {one['high']:,.2f}" if one["who"] != "chatstore" else ""
    return f"| {one['work']} | {one['who']} | {_time(one)} | {ratio} | {spread} |"


def _time(one: dict[str, Any]) -> str:
    seconds = one["seconds"]
    told = f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"
    return f"{told} *" if one["scaled"] else told


def write(folder: Path, found: dict[str, Any]) -> None:
    """Write ``peers.json``, ``peers.md`` and a plot for each database into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    for kind, name in NAMES.items():
        results = [one for one in found["results"] if one["database"] == kind]
        (folder / f"peers-{kind}.svg").write_text(plot(name, results), encoding="utf-8")
    (folder / "peers.md").write_text(page(found), encoding="utf-8")


def page(found: dict[str, Any]) -> str:
    """Return the page."""
    about, size = found["about"], found["about"]["size"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    parts = [
        """# Beside other libraries

<!-- Written by python -m tests.benchmarks.peers; do not edit. -->

What the same work takes with the libraries that people use for it, each as it comes, on a database of its own, in one
run. A ratio says how many times as long as chatstore, whose search, ids, positions and revisions are included. A time
says something about one machine, a ratio taken in one run much the same on another. Results as JSON:
[peers.json](peers.json).
"""
    ]
    for kind, name in NAMES.items():
        results = [one for one in found["results"] if one["database"] == kind]
        parts.append(f"## {name}\n\n![Times the time of chatstore on {name}](peers-{kind}.svg)\n")
        parts.append(
            "\n".join(
                (
                    "| work | with | a call | of chatstore's | all rounds |",
                    "| --- | --- | --- | --- | --- |",
                    *map(line, results),
                    "",
                )
            )
        )
    parts.append(
        f"""\\* It has no call for many, or none for so many: a smaller number was stored and the time multiplied.

## How it is measured

All are opened at once, each with tables of its own making, and run in short bursts, in turns; a ratio is taken inside a
round. Messages are those of [Figures](figures.md) (seed {about["seed"]}), in each library's own classes, made before
the clock starts. Commits wait for the disk everywhere; SQLite files are in WAL with `synchronous=FULL`. What is
asynchronous runs in one loop, one call after the other. LangChain's histories and LlamaIndex have no way to read the
last messages alone, so theirs are cut from all. Lists are those of Google ADK and Agno, which have users; ADK's gives
all sessions. None of them has full-text search.

They do not do the same. openai-agents reads plain dictionaries, the others objects. langchain-community,
langchain-postgres, openai-agents and LlamaIndex have no id by which an append that is repeated is known. Google ADK
checks on each event that nobody else has written meanwhile.

`pip install -e '.[postgres,langchain]' -r tests/benchmarks/peers/requirements.txt`, in an environment of its own, then
`python -m tests.benchmarks.peers`, writes this page; `--quick` measures less, in two minutes, and writes nothing.

{about["date"]}, Python {about["python"]}, SQLite {about["sqlite"]}; {packages}; {about["machine"]}, load average at the
end {about["load"]}; {size["bursts"]} bursts of {size["calls"]} calls, {size["rounds"]} of one where it is thousands of
messages.
"""
    )
    return "\n".join(parts)


def plot(title: str, results: list[dict[str, Any]]) -> str:
    """Return bars for each work, on one logarithmic scale of how many times chatstore's time."""
    low = min([0.5, *(one["ratio"] for one in results)])
    high = max([10.0, *(one["ratio"] for one in results)])
    span = WIDTH - LABEL - 70

    def at(ratio: float) -> float:
        return LABEL + span * math.log(ratio / low) / math.log(high / low)

    y, drawn = 46.0, []
    for work, group in groupby(results, key=itemgetter("work")):
        drawn.append(_text(8, y + 4, escape(work), weight="600"))
        y += 12
        for one in group:
            ours = one["who"] == "chatstore"
            start, end = sorted((at(1), at(one["ratio"])))
            if ours:
                start, end = at(1) - 2, at(1) + 2
            drawn.append(
                f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(end - start, 2):.1f}" height="{BAR}" rx="2" '
                f'fill="{OURS if ours else THEIRS}"/>'
            )
            told = _time(one) if ours else f"{one['ratio']:,.1f} x"
            drawn.append(_text(LABEL - 8, y + 12, escape(one["who"]), anchor="end"))
            drawn.append(_text(max(end, at(1)) + 6, y + 12, told))
            y += BAR + GAP
        y += 14
    marks = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    grid = [
        f'<line x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="34" y2="{y:.0f}" stroke="{GRID}"/>'
        + _text(at(mark), y + 14, f"{mark:g} x", anchor="middle")
        for mark in marks
    ]
    head = _text(8, 20, f"Times the time of chatstore, {title}; left of 1 x is faster", weight="600", size=14)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 24:.0f}" width="{WIDTH}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join((head, *grid, *drawn)) + "\n</svg>\n"
    )


def _text(
    x: float, y: float, said: str, *, anchor: str = "start", weight: str = "400", size: int = 12
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-weight="{weight}" font-size="{size}">{said}</text>'
