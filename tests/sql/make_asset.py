"""Make the database file of the newest schema, for `test_assets`: once, when a revision is released.

Knows which rows are in it; refuses to write over a file that exists.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from sqlalchemy import create_engine

from chatstore.backends.sql import migrations, models
from tests.sql import populated

FOLDER = Path(__file__).parent / "assets"
MESSAGES = 100
#: Of the rows in every file, as `populated.digest` makes it.
DIGEST = "9d4a80eb46af02649501d4621325512c2c1fc16b3913b4dd6cf1919f92d8e104"


def make(revision: str) -> Path:
    """Write the file of *revision* and return its path."""
    path = FOLDER / f"{revision}.db"
    path.touch(exist_ok=False)
    migrations.upgrade(f"sqlite:///{path}", revision)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        populated.fill(connection, MESSAGES)
    with contextlib.closing(engine.raw_connection()) as raw:
        raw.driver_connection.execute("VACUUM")  # type: ignore[union-attr]
    engine.dispose()
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{make(models.HEAD)}\n")
