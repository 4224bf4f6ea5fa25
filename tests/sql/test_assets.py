"""A database file of each schema that was ever made, as it lay on a disk: it is upgraded, and then used.

``python -m tests.sql.make_asset`` adds the file of the newest revision; a file that is here is never made again.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import migrations, models
from tests.sql import make_asset, populated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

REVISIONS = sorted(path.stem for path in make_asset.FOLDER.glob("*.db"))


def test_there_is_a_file_of_this_schema() -> None:
    """Whoever adds a revision adds a file of it, which the next revision will be tested on."""
    assert REVISIONS[-1] == models.HEAD


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_old_file_is_upgraded_and_used(
    revision: str, tmp_path: Path, new_engine: Callable[..., Engine]
) -> None:
    """Every row is what it was, the messages are found, and the conversation goes on."""
    path = shutil.copyfile(make_asset.FOLDER / f"{revision}.db", tmp_path / "chat.db")
    with new_engine(f"sqlite:///{path}").connect() as connection:
        assert make_asset.DIGEST == populated.digest(connection)
    migrations.upgrade(f"sqlite:///{path}")
    with new_engine(f"sqlite:///{path}").connect() as connection:
        assert make_asset.DIGEST == populated.digest(connection)
    with chatstore.connect(f"sqlite:///{path}") as repository:
        assert make_asset.MESSAGES == len(repository.search("needle", limit=1000))
        last = repository.add_messages("s0", [HumanMessage("still here")])[-1]
        assert (51, "still here") == (last.position, repository.get_messages("s0", last=1)[0].content)
