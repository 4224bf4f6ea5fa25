"""A new revision while applications of the release before it append: none of them notices."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

import chatstore
from chatstore import HumanMessage
from chatstore.backends.sql import migrations
from chatstore.errors import SchemaTooNew
from chatstore.migrations import upgrade
from tests import servers
from tests.operate.writing import writing

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("sqlite", "postgres", "mariadb")
#: Revisions as later releases might have them. They lock the sessions first, as an append does: the other way round,
#: each waits for the other, and on PostgreSQL the upgrade gives up as long as somebody appends without a pause.
#: What an older release writes must still be possible after the first.
WORKS_ON = """
def upgrade():
    op.add_column("chatstore_sessions", sa.Column("pinned", sa.Integer, nullable=False, server_default="0"))
    op.add_column("chatstore_messages", sa.Column("mood", sa.String(32)))
    op.create_index("ix_chatstore_messages_mood", "chatstore_messages", ["mood"])
"""
NEEDS_MORE = """
def upgrade():
    op.add_column("chatstore_sessions", sa.Column("pinned", sa.Integer))
    op.execute("UPDATE chatstore_sessions SET pinned = 0")
    with op.batch_alter_table("chatstore_sessions") as table:
        table.alter_column("pinned", existing_type=sa.Integer, nullable=False)
"""
#: The new release: the same package with one revision more, which brings a database to its own head.
UPGRADE = """
import sys
from pathlib import Path
from chatstore.backends.sql import migrations
migrations.script_location = lambda: Path(sys.argv[2])
print(*migrations.upgrade(sys.argv[1], "chatstore_9999"))
"""


def new_release(source: str, place: Path) -> Path:
    """Put a revision on top of a copy of the migrations; return the copy."""
    shutil.copytree(migrations.script_location(), place, ignore=shutil.ignore_patterns("__pycache__"))
    head = f'revision = "chatstore_9999"\ndown_revision = "{migrations.HEAD}"\nbranch_labels = depends_on = None\n'
    text = f"import sqlalchemy as sa\nfrom alembic import op\n{head}{source}"
    (place / "versions" / "9999_planted.py").write_text(text, encoding="utf-8")
    return place


def run_upgrade(url: str, place: Path) -> None:
    """Upgrade the database at *url* to the new release's revision, in a process of its own."""
    subprocess.run([sys.executable, "-c", UPGRADE, url, str(place)], check=True, timeout=100)


@pytest.mark.parametrize("kind", KINDS)
def test_old_code_appends_while_the_tables_are_upgraded(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every append of before, meanwhile and afterwards is stored; who connects then works on, with one warning."""
    place = new_release(WORKS_ON, tmp_path / "migrations")
    with servers.fresh_database(kind) as url:
        upgrade(url)
        with writing(url) as writers:
            run_upgrade(url, place)
            with writing(url) as late:
                pass

        assert [] == writers.errors + late.errors
        with chatstore.connect(url) as repository:
            repository.add_messages("again", [HumanMessage("Hello!")])
            for name, told in writers.stored.items():
                found = [message.content for message in repository.get_messages(name)]
                assert sorted(told + late.stored[name]) == sorted(found)
                assert [*range(1, len(found) + 1)] == [one.position for one in repository.iter_records(name)]
        [warning] = [one.message for one in caplog.records if "newer than this release" in one.message]
        assert "chatstore_9999" in warning


@pytest.mark.parametrize("kind", KINDS)
def test_old_code_writes_nothing_that_new_tables_cannot_take(kind: str, tmp_path: Path) -> None:
    """Where they ask for what it does not know, it says so before anything is written."""
    with servers.fresh_database(kind) as url:
        upgrade(url)
        run_upgrade(url, new_release(NEEDS_MORE, tmp_path / "migrations"))

        with (
            chatstore.connect(url) as repository,
            pytest.raises(SchemaTooNew, match=r"pinned.*install a newer chatstore-sql"),
        ):
            repository.add_messages("s", [HumanMessage("Hello!")])

        engine = create_engine(url)
        with engine.connect() as connection:
            assert 0 == connection.exec_driver_sql("SELECT count(*) FROM chatstore_sessions").scalar_one()
        engine.dispose()
