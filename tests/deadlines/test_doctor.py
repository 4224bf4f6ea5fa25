"""``chatstore doctor`` answers within five seconds, whatever hangs, and says what it could not look at."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from chatstore.cli import main
from tests.deadlines import hanging

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.deadlines.hanging import Storage

SECONDS = 5.0
#: What hangs, and one of the things that cannot be looked at then; None where all can.
PLACES = [
    pytest.param(hanging.sqlite_writer, None, id="sqlite writer"),
    pytest.param(
        partial(hanging.locked_tables, "postgres", ""),
        "the tables",
        id="postgres",
        marks=pytest.mark.postgres,
    ),
    pytest.param(
        partial(hanging.locked_tables, "mariadb", ""), "the tables", id="mariadb", marks=pytest.mark.mariadb
    ),
    pytest.param(
        partial(hanging.silent_database, "postgres", ""),
        "the server",
        id="postgres silent",
        marks=pytest.mark.postgres,
    ),
    pytest.param(
        partial(hanging.silent_database, "mariadb", ""),
        "the server",
        id="mariadb silent",
        marks=pytest.mark.mariadb,
    ),
    pytest.param(hanging.stopped_redis, "durability and limits", id="redis", marks=pytest.mark.redis),
    pytest.param(hanging.silent_dynamodb, "the sessions", id="dynamodb", marks=pytest.mark.dynamodb),
]


@pytest.mark.parametrize(("place", "unseen"), PLACES)
def test_it_answers_in_time(place: Callable[[], AbstractContextManager[Storage]], unseen: str | None) -> None:
    """From the command to its answer; what Python takes to start is its own."""
    with place() as storage, storage.hang():
        began = time.monotonic()
        done = CliRunner().invoke(main, ["doctor", "--json", "--url", storage.url])
        took = time.monotonic() - began
    found = json.loads(done.output)
    assert took < SECONDS, (took, found["unseen"])
    if unseen is None:
        assert [] == found["unseen"]
        assert found["ok"]
        return
    assert unseen in found["unseen"]
    assert unseen in found["error"]
    assert found["error"] in found["advice"]
    assert 1 == done.exit_code
