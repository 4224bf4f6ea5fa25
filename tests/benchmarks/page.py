"""docs/reference/figures.md: what a run found, on what, and how to find it again.

Knows how the page looks; refuses to measure. No host names and no paths stand on it.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import textwrap
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, text

import chatstore
from tests import servers
from tests.benchmarks import raw_mariadb, raw_objects, raw_postgres, raw_redis, raw_sqlite, turns, ways
from tests.benchmarks.harness import Figure
from tests.benchmarks.stores import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

    from tests.benchmarks.harness import Size

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "figures.md"
#: What each subject found when it was measured last: `python -m tests.benchmarks [NAME] --write`.
MEASURED = Path(__file__).with_name("full_run.jsonl")
#: What the campaigns of a full run said: `CHATSTORE_RELIABILITY_REPORT=FILE python -m pytest -n0 tests/reliability`.
CAMPAIGNS = Path(__file__).parents[1] / "reliability" / "full_run.jsonl"
#: What the drivers' suite found: `CHATSTORE_DRIVERS_REPORT=FILE python -m pytest -n 2 tests/drivers`.
DRIVERS = Path(__file__).parents[1] / "drivers" / "full_run.json"
#: What the doors of frameworks did: `python -m tests.doors.full_run`.
DOORS = Path(__file__).parents[1] / "doors" / "full_run.jsonl"
LIBRARIES = (
    "SQLAlchemy",
    "psycopg",
    "PyMySQL",
    "aiomysql",
    "redis",
    "pydantic",
    "pydantic_core",
    "langchain-core",
    "langchain-community",
    "langchain-postgres",
)
BASELINES: tuple[ModuleType, ...] = (raw_postgres, raw_sqlite, raw_mariadb, raw_redis, raw_objects)
HEAD = (
    "| work | against | measured | half of the repetitions | limit | | a call, ours / theirs |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
#: Why a limit is missed, by the work and the beginning of what it is measured against.
WHY = {
    ('`connect("memory:")` and one append in a fresh interpreter', "`import pydantic`"): (
        "most of it is pydantic's own work for the first class that is defined, whatever is in it; the first line "
        "under *Reported* leaves that out."
    ),
    ("append a turn, PostgreSQL", "the same statement"): (
        "the statements take the server equally long. The rest is Python: checks, ids, records, a connection from "
        "the pool. A statement compiled once, cursors that are kept, autocommit and a pool without reset took away "
        "what could be; where no commit waits, the rest shows best."
    ),
    ("append a turn, PostgreSQL", "langchain-postgres"): (
        "it inserts two columns. It keeps no row of the session, no order among writers, no id by which a retry is "
        "known, and no search index; without ours the ratio is that under *Reported*."
    ),
    ("append a turn, MariaDB", "PyMySQL"): (
        "both send as many statements. Each value of the upsert asks whether the session may be seen, which makes it a "
        "third longer for the server; the rest is Python, which PyMySQL's own leaves little room for."
    ),
    ("read 10,000 messages, MariaDB", "PyMySQL and pydantic"): (
        "PyMySQL asks for its limit of time twice for each row, and what is left of a call changes."
    ),
    ("append a turn, Redis", "one raw Lua call"): (
        "both send one EVALSHA. The rest is Python, checks, ids and records, and is the more to be seen the faster "
        "server and network are; sending past redis-py's own repetitions and measurements already saves a quarter."
    ),
}
WHY |= {
    ("search one user's 1,000 of 1,000,000 for a common word, newest first, SQLite", "the full-text query"): (
        "what the query leaves is Python, half of it snippets and hits of the page."
    ),
    (
        "search one user's 1,000 of 1,000,000 for a common word, best first, PostgreSQL",
        "the full-text query",
    ): (
        "the query alone is one round trip and ranks by `ts_rank`; the order that is the same on every backend counts "
        "how often each word is said, and the page is read and marked in Python."
    ),
}
VERSION = {"postgres": "SHOW server_version", "mariadb": "SELECT VERSION()"}


def line(one: Figure) -> str:
    """Return the figure as a line of a table."""
    both = f"{_seconds(one.ours)} / {_seconds(one.theirs)}" if one.ours and one.theirs else ""
    limit = "" if one.limit is None else _value(one.limit, one.unit)
    spread = "" if one.low == one.high else f"{_value(one.low)} to {_value(one.high)}"
    measured = f"**{_value(one.value, one.unit)}**"
    return f"| {' | '.join((one.work, one.against, measured, spread, limit, verdict(one), both))} |"


def verdict(one: Figure) -> str:
    """Say whether the limit is met, and by how much."""
    if one.limit is None:
        return "reported"
    if not one.limit:
        return "met" if one.met else "**missed**"
    part = abs(1 - one.value / one.limit)
    return f"met, {part:.0%} below" if one.met else f"**missed by {part:.0%}**"


def _value(value: float, unit: str = "") -> str:
    digits = 0 if unit in {"modules", "turns/s"} or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    if 0 < abs(value) < 0.01:  # two digits would say nothing
        digits = 5
    return f"{value:,.{digits}f} {unit}".strip()


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def keep(found: Mapping[str, Sequence[Figure]], path: Path = MEASURED) -> None:
    """Keep what was found, by subject, in place of what these subjects had found before."""
    kept = _kept(path) if path.exists() else {}
    ran = _where()
    kept |= {subject: {"figures": figures, "ran": ran} for subject, figures in found.items()}
    lines = [json.dumps({"subject": name, **about}, ensure_ascii=False) for name, about in kept.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _kept(path: Path) -> dict[str, dict[str, Any]]:
    said = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        one["subject"]: {"figures": [Figure(*each) for each in one["figures"]], "ran": one["ran"]}
        for one in said
    }


def write(size: Size, path: Path = PAGE, measured: Path = MEASURED) -> None:
    """Write the page of what is kept."""
    kept = _kept(measured)
    every = [one for about in kept.values() for one in about["figures"]]
    limited = [one for one in every if one.limit is not None]
    reported = [one for one in every if one.limit is None]
    parts = [
        _intro(limited),
        "\n".join(("## Limits\n", *HEAD, *map(line, limited), *_reasons(limited))),
        "\n".join(("## Reported\n", *HEAD, *map(line, reported))),
        _campaigns(),
        _drivers(),
        _doors(),
        _examples(),
        _ways(),
        _again(kept),
        _method(size),
        _runs(kept),
        *_baselines(),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part.strip("\n") for part in parts) + "\n", encoding="utf-8")


def _intro(limited: Sequence[Figure]) -> str:
    missed = [one for one in limited if not one.met]
    met = f"{len(limited) - len(missed)} of {len(limited)}" if missed else f"All {len(limited)}"
    return f"""
# Figures

<!-- Written by python -m tests.benchmarks; do not edit. -->

What chatstore costs beside the fastest code that was found without it: on the same tables, at the same
durability, with the same indexes. A time says something about one machine; a ratio taken within one run says
the same thing elsewhere. {met} limits are met.
"""


def _reasons(limited: Sequence[Figure]) -> Iterator[str]:
    """Say of each limit that is missed what is known about it."""
    for one in limited:
        for beginning, reason in WHY.items():
            if not one.met and (one.work, one.against[: len(beginning[1])]) == beginning:
                yield "\n" + textwrap.fill(f"{one.work}, against {one.against}: {reason}", 116)


def _campaigns() -> str:
    said = [json.loads(line) for line in CAMPAIGNS.read_text(encoding="utf-8").splitlines()]
    return "\n".join(
        (
            """
## Nothing lost

What the campaigns of `tests/reliability` did when each last ran at full count; all ended with every acknowledged
message stored once, in order, and nothing else. `CHATSTORE_RELIABILITY_REPORT=FILE python -m pytest -n0
tests/reliability` repeats it; with `CHATSTORE_RELIABILITY_SECONDS=30` in the environment it is a short run.

| campaign | faults or rounds | counted | seconds | seed |
| --- | --- | --- | --- | --- |""",
            *map(_campaign, said),
        )
    )


def _drivers() -> str:
    said = json.loads(DRIVERS.read_text(encoding="utf-8"))
    tried = f"{said['drivers']} drivers against {said['faults']} faults"
    return f"""
## Drivers and faults

What `tests/drivers` found when it last ran whole: {tried}, waiting and
awaited. `CHATSTORE_DRIVERS_REPORT=FILE python -m pytest -n 2 tests/drivers`, with the extra `test-drivers`, repeats it.

| figure | found | limit |
| --- | --- | --- |
| cells run | {said["cells"]} | |
| that ended in a bare exception or a wrong class, or did not name the cause | {said["wrong"]} | 0 |
| cells that cannot be, each with its reason in `tests/drivers/faults.py` | {said["cannot_be"]} | |
"""


def _examples() -> str:
    from tests.contrib.counting import glue
    from tests.contrib.frameworks import FRAMEWORKS
    from tests.contrib.server import written

    lines = []
    for name, framework in FRAMEWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            written(framework.page, Path(folder))
            source = (Path(folder) / framework.application).read_text(encoding="utf-8")
        found = len(source.splitlines()), framework.lines, len(glue(source)), framework.glue
        lines.append(f"| {name} | {' | '.join(map(str, found))} |")
    return "\n".join(
        (
            """
## Applications of web frameworks

Lines of the complete applications in `docs/how-to`, and how many of them are there because of chats
(`pytest tests/contrib/test_examples.py`, which runs them too):

| application | lines | limit | about chats | limit |
| --- | --- | --- | --- | --- |""",
            *lines,
        )
    )


def _ways() -> str:
    lines = []
    for kind, limits in ways.LIMITS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = ways.ways(ways.url_of(kind, Path(folder)))
        cells = [
            ", ".join(map(str, way)) if way else ""
            for pair in zip(found, limits, strict=True)
            for way in pair
        ]
        lines.append(f"| {NAMES[kind]} | {' | '.join(cells)} |")
    return "\n".join(
        (
            """
## How far a message goes

Calls of chatstore's own functions, files they are in, and moves from one file to another, in a repository that was
used (`python -m pytest tests/benchmarks/test_smoke.py` holds the limits):

| where | append a message | limit | read the newest three | limit |
| --- | --- | --- | --- | --- |""",
            *lines,
            f"""
The package has {ways.lines():,} lines without the contract suite, the doors of frameworks and the viewer, where
{ways.MOST_LINES:,} were wanted: **missed by {ways.lines() / ways.MOST_LINES - 1:.0%}**. They were wanted before there
was search beside the messages, streamed answers, named states, deadlines, and reading from other stores and formats.
What stood twice is gone; to come near it, one of these would have to go.""",
        )
    )


def _doors() -> str:
    said = [json.loads(line) for line in DOORS.read_text(encoding="utf-8").splitlines()]
    costs, campaigns = (
        [one for one in said if (one["what"] == "costs") is is_cost] for is_cost in (True, False)
    )
    return "\n".join(
        (
            """
## Through the doors of frameworks

A turn, the newest 20 messages and all of them, stored or read through a door: how many times as long as by the
repository's own methods, and as by the SQL store that the framework has itself, if it has one. A door makes the
framework's own objects, which the repository does not. Limits: 1.3 for an append, of the repository's; 1.0, of the
framework's.

| door | append, of `add_messages` | of its own | newest 20, of its own | all, of its own | a turn by the door |
| --- | --- | --- | --- | --- | --- |""",
            *map(_cost, costs),
            """
Eight processes on one conversation, and processes killed two hundred times while they write, through each door:

| door | campaign | turns acknowledged | lost | doubled | torn |
| --- | --- | --- | --- | --- | --- |""",
            *map(_through, campaigns),
            "\n`python -m tests.doors.full_run`, where the frameworks are installed, repeats both.",
        )
    )


def _cost(said: dict[str, Any]) -> str:
    against = said["door against"]
    cells = [against["append"]["add_messages"]]
    cells += [against[what].get("their own", "") for what in ("append", "newest 20", "all")]
    shown = [f"{one:.2f} x" if one else "" for one in cells]
    turn = f"{said['milliseconds']['append']['door']:.2f} ms"
    return f"| `{said['door']}`, {NAMES[said['on']]} | {' | '.join(shown)} | {turn} |"


def _through(said: dict[str, Any]) -> str:
    wrong = " | ".join(str(len(said[name])) for name in ("lost", "doubled", "torn"))
    what = {"kills": "200 kills", "crowd": "8 processes"}[said["what"]]
    return f"| `{said['door']}`, {NAMES[said['on']]} | {what} | {said['acknowledged']:,} | {wrong} |"


def _campaign(said: dict[str, Any]) -> str:
    name, seed, faults, seconds = (said.pop(key) for key in ("campaign", "seed", "faults", "seconds"))
    counted = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in said.items())
    return f"| {name} | {faults:,} | {counted} | {seconds:,} | {seed} |"


def _again(found: Iterable[str]) -> str:
    subjects = ", ".join(f"`{name}`" for name in found)
    return f"""
## Measure it again

`python -m tests.benchmarks`, in a checkout with the `test` extra, measures everything and writes this
page. `python -m tests.benchmarks NAME` measures one subject and prints it: {subjects}.
With `--write` it takes the place of what that subject had found before.
`langchain` needs langchain-community and langchain-postgres beside the extras `test` and `langchain`, and is left out
without them. `--check` exits with 1 where a limit is missed; `--quick` takes small sizes,
without searching and viewing, to see that the rest runs. Servers are found as the tests find them:
`CHATSTORE_TEST_POSTGRES_URL`, `CHATSTORE_TEST_MYSQL_URL` and
`CHATSTORE_TEST_REDIS_URL` in the environment, else a local one, else one that is started for the run.
"""


def _method(size: Size) -> str:
    return f"""
## How it is measured

Both sides run in one process in short bursts, in turns, so that whatever slows the machine slows both:
{size.bursts} bursts of {size.calls} calls on each side, or {size.rounds} single calls where one call is thousands
of messages. The time of a burst is the median of its calls; a ratio is taken inside one repetition; the figure
is the median of the ratios, and half of them lie between the two numbers beside it. The garbage collector is
on; what lived before a burst is not its work. Both sides are warm. After a race against a raw driver, what both
stored is read back and compared. Fresh interpreters are timed by the processor, from start to end.

The messages are turns: about 200 characters from a human, about 800 from a model with usage and response
metadata, every eighth turn with two tool calls, unicode among the words (seed {turns.SEED}). The search index is
there on both sides wherever nothing else is said. Short sessions are many, so that they stay short while they
are appended to; long ones are made by appending, and servers then bring their statistics up to date.

DynamoDB and Cosmos DB are counted, not timed: an emulator and a fake stand in for them, which look through all of a
session for any part of it. What a read asks for, and how many bytes come back, is the same on the services.
"""


def _runs(kept: Mapping[str, Mapping[str, Any]]) -> str:
    subjects: dict[str, list[str]] = {}
    for name, about in kept.items():
        subjects.setdefault(about["ran"], []).append(f"`{name}`")
    runs = (f"{', '.join(names)}:\n\n{ran}" for ran, names in subjects.items())
    return "\n\n".join(("## What it ran on", *runs))


def _where() -> str:
    libraries = ", ".join(
        f"{name} {version(name)}" for name in LIBRARIES if find_spec(name.lower().replace("-", "_"))
    )
    ours = f"chatstore {chatstore.__version__}, Python {platform.python_version()}"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    load = f"; load average at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"""
- {datetime.now(UTC):%Y-%m-%d}: {ours}, {libraries}
- SQLite {sqlite3.sqlite_version}, {_server("postgres")}, {_server("mariadb")}, {_redis()}
- {machine}; one fdatasync takes {_fdatasync() * 1e3:.2f} ms{load}
""".strip()


def _server(kind: str) -> str:
    engine = create_engine(servers.server(kind))
    with engine.connect() as link:
        said = str(link.execute(text(VERSION[kind])).scalar())
    engine.dispose()
    return f"{NAMES[kind]} {said.partition(' ')[0].partition('-')[0]}"


def _redis() -> str:
    import redis

    with redis.Redis.from_url(servers.server("redis")) as client:
        return f"Redis {client.info('server')['redis_version']}"


def _fdatasync(times: int = 50) -> float:
    with tempfile.TemporaryFile() as file:
        taken = []
        for _ in range(times):
            file.write(b"x" * 2_000)
            file.flush()
            started = perf_counter()
            os.fdatasync(file.fileno())
            taken.append(perf_counter() - started)
    return statistics.median(taken)


def _baselines() -> list[str]:
    parts = ["## The baselines\n\nEach is the fastest code that was found; a faster one is a welcome change."]
    for module in BASELINES:
        name = module.__name__.removeprefix("tests.benchmarks.")
        parts.append(f"### {name}\n\n{textwrap.indent(inspect.getsource(module).rstrip(), '    ')}")
    return parts
