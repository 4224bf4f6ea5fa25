"""Fixtures of the schema's tests: each database in turn, and migrations with a planted revision on top."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine

from chatstore.backends.sql import migrations
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def any_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a new, empty database, of each kind in turn."""
    with servers.fresh_database(request.param) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a migrated, empty database of each kind."""
    with servers.migrated_url(request.param) as found:
        yield found


@pytest.fixture
def new_engine() -> Iterator[Callable[..., Engine]]:
    """Give SQLAlchemy's `create_engine`; what it makes is disposed of at the end, however the test ends."""
    with contextlib.ExitStack() as stack:

        def make(url: str, **options: Any) -> Engine:
            engine = create_engine(url, **options)
            stack.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Give a function that puts one revision, by its source, on top of a copy of the migrations."""

    def put(source: str) -> str:
        place = tmp_path / "migrations"
        shutil.copytree(migrations.script_location(), place, ignore=shutil.ignore_patterns("__pycache__"))
        head = f'revision = "chatstore_9999"\ndown_revision = "{migrations.HEAD}"\n'
        text = f"from __future__ import annotations\n{head}branch_labels = depends_on = None\n{source}"
        (place / "versions" / "9999_planted.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(migrations, "script_location", lambda: place)
        return "chatstore_9999"

    return put
