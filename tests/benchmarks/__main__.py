"""`python -m tests.benchmarks`: measure, print, and write the page."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING

from tests.benchmarks import (
    appending,
    concurrency,
    imports,
    in_documents,
    in_redis,
    long_sessions,
    page,
    reading,
    searching,
    serving,
    streaming,
    viewing,
)
from tests.benchmarks.harness import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.benchmarks.harness import Figure, Size

SUBJECTS: dict[str, Callable[[Size], Iterator[Figure]]] = {
    "imports": imports.figures,
    "appending": appending.figures,
    "reading": reading.figures,
    "long_sessions": long_sessions.figures,
    "searching": searching.figures,
    "concurrency": concurrency.figures,
    "streaming": streaming.figures,
    "serving": serving.figures,
    "viewing": viewing.figures,
    "in_redis": in_redis.figures,
    "in_documents": in_documents.figures,
}
#: What the figures of LangChain's histories need; the `test` extra has neither.
if all(importlib.util.find_spec(name) for name in ("langchain_community", "langchain_postgres")):
    from tests.benchmarks import langchain_histories

    SUBJECTS["langchain"] = langchain_histories.figures


#: What fills stores for minutes, and is left out by ``--quick`` unless it is named.
LONG = frozenset({"searching", "viewing"})


def main() -> int:
    """Measure what is asked for; 1 where ``--check`` finds a limit missed."""
    asked = _arguments()
    size = QUICK if asked.quick else FULL
    if asked.long:
        size = size._replace(long=asked.long)
    found: dict[str, list[Figure]] = {}
    for name in asked.subjects or [name for name in SUBJECTS if not (asked.quick and name in LONG)]:
        found[name] = []
        for one in SUBJECTS[name](size):
            found[name].append(one)
            print(page.line(one), flush=True)
    if asked.write or not (asked.subjects or asked.quick):
        page.keep(found)
        page.write(size)
        print(f"written: {page.PAGE}", file=sys.stderr)
    missed = [one.work for figures in found.values() for one in figures if not one.met]
    print(f"missed: {'; '.join(missed) or 'nothing'}", file=sys.stderr)
    return 1 if missed and asked.check else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add(
        "--long",
        type=int,
        metavar="N",
        help=f"messages of the large stores  [default: {FULL.long:,}]",
    )
    add("subjects", nargs="*", metavar="SUBJECT", help=f"any of {', '.join(SUBJECTS)}; else all of them")
    add("--check", action="store_true", help="exit with 1 where a limit is missed")
    add("--quick", action="store_true", help="small sizes of all but searching and viewing; writes nothing")
    add(
        "--write",
        action="store_true",
        help="keep what was measured, and write the page; always where all was",
    )
    asked = parser.parse_args()
    if unknown := set(asked.subjects) - set(SUBJECTS):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
