"""What one more word costs an application that streams an answer: the time of `append`, where no write is due."""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from tests.benchmarks import stores
from tests.benchmarks.harness import each, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.harness import Figure, Size

WORD = "word "
LIMIT = 10.0


def figures(size: Size) -> Iterator[Figure]:
    """Measure."""
    for kind in stores.SQL:
        with contextlib.ExitStack() as opened:
            repository = opened.enter_context(stores.connected(opened.enter_context(stores.migrated(kind))))
            answer = opened.enter_context(repository.begin_answer("streamed"))
            side = each(lambda: answer.append(WORD))  # noqa: B023 - called in this round
            side(size.calls)
            values = [1e6 * statistics.median(side(size.calls)) for _ in range(size.bursts)]
        work = f"append a word to an answer that streams, {stores.NAMES[kind]}"
        yield figure(work, "nothing: the caller's time", values, "µs", LIMIT)
