"""What the figures rest on, as far as it can be counted: no clock decides here.

Wall-clock ratios are asserted by `python -m tests.benchmarks --check` alone.
"""

from __future__ import annotations

import itertools
import json
import platform
from contextlib import closing
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from psycopg import RawCursor
from sqlalchemy import create_engine, make_url, text

from tests import servers
from tests.benchmarks import counting, imports, page, raw_postgres, raw_sqlite, stores, turns, ways
from tests.benchmarks.harness import QUICK, Figure, Race, compared, each, race
from tests.benchmarks.peers import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chatstore.repository import Repository

LONG, SHORT = 2_000, 100
SVG = "{http://www.w3.org/2000/svg}"
_SESSION, _MESSAGES = "INSERT INTO chatstore_sessions", "INSERT INTO chatstore_messages"
#: What an append of a turn sends where nothing is new to the connection.
SENT = {
    "sqlite": ["BEGIN", _SESSION, _MESSAGES, _MESSAGES, "COMMIT"],
    "postgres": ["WITH counted"],
    "mariadb": ["START TRANSACTION", _SESSION, _MESSAGES, "COMMIT"],
}


@pytest.mark.parametrize("kind", stores.SQL)
def test_an_append_sends_what_it_must_and_no_more(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: an append of a turn is one statement on PostgreSQL, one short transaction elsewhere; always the same.

    SQLite tells a statement again after each of its triggers, whose own it tells as comments.
    """
    source = turns.turns()
    with (
        counting.statements(kind, monkeypatch) as sent,
        servers.migrated_url(kind) as url,
        stores.connected(url) as repository,
    ):
        for _ in range(3):
            repository.add_messages("s", next(source).messages)
        seen = []
        for _ in range(2):
            sent.clear()
            repository.add_messages("s", next(source).messages)
            seen.append(
                [
                    one
                    for one, _ in itertools.groupby(" ".join(one.split()) for one in sent if one[:2] != "--")
                ]
            )
            stores.fill(repository, f"more-{len(seen)}", 300)
    for one in seen:
        assert len(SENT[kind]) == len(one), one
        for begin, found in zip(SENT[kind], one, strict=True):
            assert begin == found[: len(begin)]


@pytest.fixture(params=("postgres", "mariadb"))
def filled(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a database with a long and a short session."""
    with servers.migrated_url(request.param) as url, stores.connected(url) as repository:
        _fill(repository)
        stores.settle(url)
        yield url


def _fill(repository: Repository) -> None:
    stores.fill(repository, "long", LONG)
    stores.fill(repository, "short", SHORT)


def _last(session_id: str) -> Callable[[Repository], object]:
    return lambda repository: repository.get_messages(session_id, last=20)


def test_servers_read_as_many_rows_for_the_last_messages_as_there_are(filled: str) -> None:
    """Law: the last 20 of a long session touch as many rows as the last 20 of a short one."""
    short, long = (counting.rows_read(filled, _last(session_id)) for session_id in ("short", "long"))
    assert short == long
    assert 20 <= long <= 45


def test_sqlite_does_as_much_for_the_last_messages_of_any_session() -> None:
    """Law: the last 20 of a long session take as many steps of SQLite's machine as the last 20 of a short one."""
    with (
        counting.sqlite_steps() as steps,
        servers.migrated_url("sqlite") as url,
        stores.connected(url) as repository,
    ):
        _fill(repository)
        _last("short")(repository)
        counted = []
        for session_id in ("short", "long"):
            steps[0] = 0
            _last(session_id)(repository)
            counted.append(steps[0])
    assert counted[0] == counted[1]
    assert 0 < counted[1] < 2_000


def test_a_file_is_read_and_written_at_its_end_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: appending to a long file, and reading its end, moves as many bytes as with a short one, blocks apart."""
    source, moved = turns.turns(), {}
    with stores.connected(f"file:{tmp_path}") as repository, counting.bytes_moved(monkeypatch) as counted:
        _fill(repository)
        for session_id in ("short", "long"):
            repository.add_messages(session_id, next(source).messages)
            counted[0] = 0
            _last(session_id)(repository)
            moved["read", session_id] = counted[0]
            counted[0] = 0
            repository.add_messages(session_id, next(source).messages)
            moved["append", session_id] = counted[0]
    block = 64 * 1024
    assert abs(moved["read", "long"] - moved["read", "short"]) < block, moved
    assert abs(moved["append", "long"] - moved["append", "short"]) < block, moved


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (imports.IMPORT, imports.HEAVY),
        (imports.MEMORY, imports.SQL_LIBRARIES),
        (imports.HISTORY, imports.SQL_LIBRARIES),
    ],
    ids=["import", "memory", "history"],
)
def test_what_is_not_used_is_not_loaded(code: str, unwanted: set[str]) -> None:
    """Law: heavy libraries load at their first use."""
    assert set() == imports.loaded(code) & unwanted


def test_alembic_is_not_loaded_for_a_current_file() -> None:
    """Law: an append to a SQLite file at head needs no migrations."""
    with servers.migrated_url("sqlite") as url:
        found = imports.loaded(imports.SQL, url)
    assert {"sqlalchemy"} == found & {"alembic", "sqlalchemy"}


# ------------------------------------------------------------------------------------------ the races themselves


def _rows(url: str, session_id: str) -> list[Any]:
    """Return what is stored of a session, but for ids and times, which nobody makes twice."""
    engine = create_engine(url)
    columns = (
        "position, id_generated, type, content, name, tool_call_id, model, input_tokens, output_tokens, source, "
        "CAST(payload AS TEXT), length(message_id)"
    )
    with engine.connect() as link:
        found = link.execute(
            text(f"SELECT {columns} FROM chatstore_messages WHERE session_id = :id ORDER BY position"),
            {"id": session_id},
        ).all()
        about = link.execute(
            text(
                "SELECT tenant_id, user_id, title, CAST(metadata AS TEXT), message_count, last_position, archived_at, "
                "expires_at, updated_at > created_at FROM chatstore_sessions WHERE session_id = :id"
            ),
            {"id": session_id},
        ).all()
    engine.dispose()
    return [*about, *found]


def test_the_sqlite_baseline_does_the_same_work() -> None:
    """Law: a race is fair: what `raw_sqlite` stores is what chatstore stores, column by column."""
    with servers.migrated_url("sqlite") as url, stores.connected(url) as repository:
        with closing(raw_sqlite.connected(make_url(url).database or "", "FULL")) as link:
            for turn, _ in zip(turns.turns(), range(10), strict=False):
                repository.add_messages("ours", turn.messages)
                raw_sqlite.append(link, "raw", turn.plain)
            assert repository.get_messages("ours") == raw_sqlite.read(link, "raw")
        assert _rows(url, "ours") == _rows(url, "raw")


def test_the_postgres_baselines_do_the_same_work() -> None:
    """Law: a race is fair: what `raw_postgres` stores is what chatstore stores, column by column."""
    many = turns.many(40)
    with servers.migrated_url("postgres") as url, stores.connected(url) as repository:
        with raw_postgres.connected(url) as link, RawCursor(link) as cursor:
            for turn, _ in zip(turns.turns(), range(10), strict=False):
                repository.add_messages("ours", turn.messages)
                raw_postgres.append(cursor, "raw", turn.plain)
            for _ in range(2):
                repository.add_messages("ours, many", many.messages)
                raw_postgres.bulk(cursor, "raw, many", many.plain)
            assert repository.get_messages("ours, many") == raw_postgres.read(cursor, "raw, many")
        assert _rows(url, "ours") == _rows(url, "raw")
        assert _rows(url, "ours, many") == _rows(url, "raw, many")


def test_sides_take_turns() -> None:
    """Law: after warming both, the sides alternate, and alternate who goes first."""
    order = ""

    def side(name: str) -> Callable[[], None]:
        def call() -> None:
            nonlocal order
            order += name

        return call

    race(each(side("a")), each(side("b")), bursts=3, calls=2, warm=1)
    assert "ab" + "aabb" + "bbaa" + "aabb" == order


def test_ratios_are_taken_within_a_repetition() -> None:
    """Law: one slow repetition moves neither the ratio of the others nor the median."""
    found = compared("work", "theirs", Race([2.0, 20.0, 2.0], [1.0, 10.0, 2.0]), 1.5)
    assert (2.0, False, 2.0, 2.0) == (found.value, found.met, found.ours, found.theirs)


@pytest.mark.parametrize(
    ("value", "limit", "verdict"),
    [
        (1.2, 1.5, "met, 20% below"),
        (1.8, 1.5, "**missed by 20%**"),
        (9.9, None, "reported"),
        (0, 0, "met"),
        (1, 0, "**missed**"),
    ],
)
def test_the_page_says_by_how_much(value: float, limit: float | None, verdict: str) -> None:
    """Law: each figure says whether its limit is met, and by how much."""
    assert verdict == page.verdict(Figure("work", "theirs", value, 1, 2, "x", limit, None, None))


def test_the_page_holds_the_baselines_and_no_host(tmp_path: Path) -> None:
    """Law: the source of each baseline stands on the page, and nothing on it names the machine."""
    one = Figure("work", "theirs", 1.2, 1.1, 1.3, "x", 1.5, 0.002, 0.001)
    for kind in ("postgres", "mariadb"):
        servers.obtain(kind)
    written = _page(tmp_path, {"appending": [one]})
    assert "| work | theirs | **1.20 x** | 1.10 to 1.30 | 1.50 x | met, 20% below | 2 ms / 1 ms |" in written
    assert "    " + raw_sqlite.UPSERT.splitlines()[1] in written
    assert "def bulk(cursor" in written
    assert platform.node() not in written
    assert str(page.PAGE.parents[2]) not in written


def _page(folder: Path, *runs: dict[str, list[Figure]]) -> str:
    """Return the page of what *runs* found, one after the other."""
    for found in runs:
        page.keep(found, folder / "run.jsonl")
    page.write(QUICK, folder / "figures.md", folder / "run.jsonl")
    return (folder / "figures.md").read_text(encoding="utf-8")


def test_what_is_measured_again_takes_its_own_place(tmp_path: Path) -> None:
    """Law: a subject that was measured by itself replaces what it had found, and nothing else."""
    one = Figure("one", "theirs", 1, 1, 1, "x", 1.5, None, None)
    two = one._replace(work="two")
    written = _page(
        tmp_path, {"appending": [one], "reading": [two]}, {"appending": [one._replace(value=1.25)]}
    )
    assert "| one | theirs | **1.25 x** |" in written
    assert "| two | theirs | **1.00 x** |" in written
    assert "| one | theirs | **1.00 x** |" not in written


def test_a_missed_limit_is_explained() -> None:
    """Law: every reason is about a figure of the page, and is told where its limit is missed, and only there."""
    limits = page.PAGE.read_text(encoding="utf-8").partition("\n## Reported\n")[0]
    for work, against in page.WHY:
        assert f"| {work} | {against}" in limits
        missed = Figure(work, against, 2, 2, 2, "x", 1, None, None)
        assert 1 == len([*page._reasons([missed])])
        assert [] == [*page._reasons([missed._replace(value=1)])]


def test_the_page_of_peers_shows_who_is_faster(tmp_path: Path) -> None:
    """Law: whoever is faster than chatstore stands left of it in the plot, others right; the table says by how much."""
    common = {"database": "sqlite", "work": "append", "low": 0.4, "high": 3.1, "scaled": False}
    ratios = {"chatstore": 1.0, "quick": 0.5, "slow": 30.0}
    results = [common | {"who": who, "seconds": ratio / 100, "ratio": ratio} for who, ratio in ratios.items()]
    about = {
        "date": "2026-01-01", "machine": "2 cores", "load": 0.1, "python": "3.11", "sqlite": "3.40", "seed": 1,
        "packages": {"quick": "1.0"}, "size": {"bursts": 1, "calls": 1, "rounds": 1},
    }  # fmt: skip
    report.write(tmp_path, {"about": about, "results": results})

    drawn = ET.parse(tmp_path / "peers-sqlite.svg").getroot()  # noqa: S314 - our own
    bars = [
        (float(bar.get("x", 0)), float(bar.get("width", 0)))
        for bar in drawn.iter(f"{SVG}rect")
        if bar.get("x")
    ]
    ours, quick, slow = bars
    assert quick[0] < ours[0] < quick[0] + quick[1] + 4
    assert ours[0] < slow[0] + 4 < slow[0] + slow[1]
    assert slow[1] > quick[1]
    page_of_peers = (tmp_path / "peers.md").read_text(encoding="utf-8")
    assert "| append | slow | 300 ms | 30.00 x | 0.40 to 3.10 |" in page_of_peers
    assert "| append | chatstore | 10 ms | 1 |  |" in page_of_peers
    assert results == json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))["results"]


@pytest.mark.parametrize("kind", ways.LIMITS)
def test_ways_are_short(kind: str, tmp_path: Path) -> None:
    """Law: what a message passes in the package stays as short as the page of figures says."""
    for way, limit in zip(ways.ways(ways.url_of(kind, tmp_path)), ways.LIMITS[kind], strict=True):
        assert all(way)
        assert limit is None or all(one <= most for one, most in zip(way, limit, strict=True)), way
