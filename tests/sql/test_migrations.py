"""The migrations and the models are one schema, and every step can be taken back."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, create_engine, event, text

from chatstore.backends.sql import migrations, models
from chatstore.backends.sql.search_objects import drop_search_index, search_index_exists
from chatstore.errors import Invalid, SchemaError, SchemaTooNew, StorageError, StorageUnavailable
from tests import servers
from tests.sql import populated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Engine

VIEWS = ("chatstore_transcript", "chatstore_tool_calls", "chatstore_usage_daily")
REVISIONS = (
    "chatstore_0001",
    "chatstore_0002",
    "chatstore_0003",
    "chatstore_0004",
    "chatstore_0005",
    "chatstore_0006",
    "chatstore_0007",
)


def walk(url: str, *revisions: str) -> dict[str, tuple[object, object]]:
    """Go up by *revisions* and back down; return each object that is not as it was there before."""
    engine = create_engine(url)
    pictures = []

    def look() -> dict[str, str]:
        with engine.connect() as connection:
            return populated.picture(connection)

    migrations.upgrade(url, revisions[0])
    for revision in revisions:
        migrations.upgrade(url, revision)
        pictures.append(look())
    wrong: dict[str, tuple[object, object]] = {}
    for revision, before in reversed(list(zip(revisions, pictures, strict=True))):
        migrations.downgrade(url, revision)
        after = look()
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name):
                wrong[f"{revision}: {name}"] = (before.get(name), after.get(name))
    engine.dispose()
    return wrong


def test_one_head_and_the_constant_is_it() -> None:
    """One history without branches ends at the revision that the models name, and is labelled for hosts."""
    script = ScriptDirectory.from_config(migrations.config())
    assert script.get_heads() == [models.HEAD]
    assert tuple(one.revision for one in reversed(list(script.walk_revisions()))) == REVISIONS
    assert {one.revision for one in script.walk_revisions() if one.branch_labels == {"chatstore"}} == set(
        REVISIONS
    )
    assert all(len(one.revision) <= 32 for one in script.walk_revisions())


def test_the_models_load_no_alembic() -> None:
    """A connection to a current database reads the head revision without loading Alembic."""
    program = "import sys, chatstore.backends.sql.models; print('alembic' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_alembic_has_what_is_used_of_its_inside() -> None:
    """The private names that a host's connection needs are there in this Alembic."""
    assert callable(ScriptDirectory._upgrade_revs)
    assert callable(ScriptDirectory._downgrade_revs)
    assert callable(Operations._install_proxy)


def test_the_schema_is_what_the_models_say(any_url: str) -> None:
    """Alembic finds no difference between a migrated database and the models."""
    assert migrations.upgrade(any_url) == (None, models.HEAD)
    assert migrations.check(any_url) == []
    assert migrations.current(any_url) == models.HEAD
    assert migrations.upgrade(any_url) == (models.HEAD, models.HEAD)


def test_create_all_makes_the_same_tables(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """The models create by themselves what the revisions create, views and search index apart."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.begin() as connection:
        drop_search_index(connection, None)
        for view in VIEWS:
            connection.execute(text(f"DROP VIEW {view}"))
        migrated = populated.picture(connection)
        models.Base.metadata.drop_all(connection)
        models.Base.metadata.create_all(connection)
        created = populated.picture(connection)
    assert _sorted_columns(created) == _sorted_columns(migrated)


def _sorted_columns(picture: dict[str, str]) -> dict[str, list[str]]:
    return {name: sorted(part.strip(" ,()\n") for part in sql.split(",")) for name, sql in picture.items()}


def test_a_model_column_without_a_revision_is_seen(sqlite_url: str) -> None:
    """A column that only the models have makes `check` speak."""
    migrations.upgrade(sqlite_url)
    planted: Column[Any] = Column("planted", Integer)
    models.messages.append_column(planted)
    try:
        differences = migrations.check(sqlite_url)
    finally:
        models.messages._columns.remove(planted)
    assert [difference[0] for difference in differences] == ["add_column"]
    assert migrations.check(sqlite_url) == []


def test_every_step_can_be_taken_back(any_url: str) -> None:
    """Down to a revision, the database has exactly the objects that it had there on the way up."""
    assert walk(any_url, *REVISIONS) == {}


def test_a_downgrade_that_forgets_an_index_is_caught(any_url: str, plant: Callable[[str], str]) -> None:
    """The same walk over a revision whose downgrade leaves its index behind names that index."""
    revision = plant(
        "from chatstore.backends.sql.migration_steps import create_index\n"
        "def upgrade(): create_index('ix_planted', 'chatstore_messages', ['model'])\n"
        "def downgrade(): pass\n"
    )
    wrong = walk(any_url, *REVISIONS, revision)
    assert wrong
    assert any("ix_planted" in f"{name} {what}" for name, what in wrong.items())


def test_rows_survive_every_way(any_url: str, new_engine: Callable[..., Engine]) -> None:
    """Down to the tables and up again: every row is the same, and search finds it again."""
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.begin() as connection:
        populated.fill(connection, 200)
        before = populated.digest(connection)
    assert migrations.downgrade(any_url, "chatstore_0001") == (models.HEAD, "chatstore_0001")
    assert migrations.upgrade(any_url) == ("chatstore_0001", models.HEAD)
    with engine.connect() as connection:
        assert populated.digest(connection) == before
        assert search_index_exists(connection)
        assert connection.scalar(text("SELECT count(*) FROM chatstore_transcript")) == 200
    assert migrations.downgrade(any_url, "base") == (models.HEAD, None)
    assert migrations.current(any_url) is None


TRIGGER = """
CREATE TRIGGER hosts_own AFTER DELETE ON chatstore_messages
BEGIN UPDATE chatstore_sessions SET title = 'deleted' WHERE session_id = old.session_id; END
"""
ALTER_BOTH = """
import sqlalchemy as sa
from chatstore.backends.sql.migration_steps import altering

def upgrade():
    for table in ("chatstore_sessions", "chatstore_messages"):
        with altering(table) as batch:
            batch.add_column(sa.Column("planted", sa.String(20), nullable=False, server_default="x"))
            batch.create_index("ix_planted_" + table, ["planted"])
            batch.alter_column("planted", existing_type=sa.String(20), type_=sa.String(40),
                               existing_nullable=False, existing_server_default="x")

def downgrade():
    for table in ("chatstore_messages", "chatstore_sessions"):
        with altering(table) as batch:
            batch.drop_index("ix_planted_" + table)
            batch.drop_column("planted")
"""


def test_ten_thousand_messages_survive_an_altered_table(
    any_url: str, plant: Callable[[str], str], new_engine: Callable[..., Engine]
) -> None:
    """Altering both tables (on SQLite a copy of each) and back leaves every row, view, trigger and search index."""
    revision = plant(ALTER_BOTH)
    migrations.upgrade(any_url)
    engine = new_engine(any_url)
    with engine.begin() as connection:
        populated.fill(connection, 10_000)
        if any_url.startswith("sqlite"):
            connection.execute(text(TRIGGER))
        before, shape = populated.digest(connection), populated.picture(connection)
    for move in (migrations.upgrade, migrations.downgrade):
        move(any_url, revision if move is migrations.upgrade else models.HEAD)
        with engine.begin() as connection:
            assert populated.digest(connection) == before
            assert search_index_exists(connection)
            assert connection.scalar(text("SELECT count(*) FROM chatstore_transcript")) == 10_000
    with engine.connect() as connection:
        assert sorted(populated.picture(connection)) == sorted(shape)
        if any_url.startswith("sqlite"):
            connection.execute(text("DELETE FROM chatstore_messages WHERE session_id = 's7'"))
            titles = text("SELECT session_id FROM chatstore_sessions WHERE title = 'deleted'")
            assert connection.execute(titles).scalars().all() == ["s7"]
    assert migrations.check(any_url) == []


@pytest.mark.wide  # a statement more each time, up to all of them
@pytest.mark.timeout(600)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.mariadb
def test_a_rerun_after_a_kill_converges(direction: str, new_engine: Callable[..., Engine]) -> None:
    """MariaDB cannot roll DDL back: killed before any statement, the same call again ends right."""

    class KilledError(BaseException):
        pass

    with servers.fresh_database("mariadb") as url:
        migrations.upgrade(url)
        engine = new_engine(url)
        with engine.connect() as connection:
            whole = populated.picture(connection)
        survived, k = False, 0
        while not survived:
            k += 1
            (migrations.downgrade(url, "base") if direction == "up" else migrations.upgrade(url))
            left = k

            def kill(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
                nonlocal left
                if statement.split(maxsplit=1)[0].upper() in {
                    "CREATE",
                    "DROP",
                    "ALTER",
                    "INSERT",
                    "UPDATE",
                    "DELETE",
                }:
                    left -= 1
                    if not left:
                        raise KilledError

            event.listen(engine, "before_cursor_execute", kill)
            try:
                with engine.connect() as connection:
                    if direction == "up":
                        migrations.upgrade(connection)
                    else:
                        migrations.downgrade(connection, "base")
                survived = True
            except KilledError:
                pass
            finally:
                event.remove(engine, "before_cursor_execute", kill)
            if direction == "up":
                migrations.upgrade(url)
            else:
                migrations.downgrade(url, "base")
            with engine.connect() as connection:
                expected = whole if direction == "up" else {models.VERSION_TABLE: whole[models.VERSION_TABLE]}
                assert (k, populated.picture(connection)) == (k, expected)
        assert k >= 10


def test_a_failing_step_leaves_nothing(
    plant: Callable[[str], str], new_engine: Callable[..., Engine]
) -> None:
    """Where DDL can be rolled back, a migration that fails half way has not happened, on SQLite too."""
    revision = plant(
        "from alembic import op\n"
        "from chatstore.backends.sql.migration_steps import create_index\n"
        "def upgrade():\n"
        "    create_index('ix_planted', 'chatstore_messages', ['model'])\n"
        "    op.execute('SELECT * FROM nowhere')\n"
    )
    for kind in ("sqlite", "postgres"):
        with servers.fresh_database(kind) as url:
            engine = new_engine(url)
            with pytest.raises((SchemaError, StorageUnavailable)):
                migrations.upgrade(url, revision)
            with engine.connect() as connection:
                assert populated.picture(connection) == {}


def test_leftovers_of_a_batch_are_removed(
    sqlite_url: str, plant: Callable[[str], str], new_engine: Callable[..., Engine]
) -> None:
    """A copy that an interrupted tool left behind does not stop the next migration."""
    migrations.upgrade(sqlite_url)
    engine = new_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE _alembic_tmp_chatstore_messages (id INTEGER)"))
        connection.execute(text("CREATE TABLE _alembic_tmp_of_somebody_else (id INTEGER)"))
    migrations.upgrade(sqlite_url, plant(ALTER_BOTH))
    with engine.connect() as connection:
        names = [name for name in populated.picture(connection) if "_alembic_tmp" in name]
    assert names == ["table _alembic_tmp_of_somebody_else"]


def test_orphans_of_a_host_do_not_stop_a_migration(
    sqlite_url: str, plant: Callable[[str], str], new_engine: Callable[..., Engine]
) -> None:
    """Messages without a session, left where foreign keys were never on, are neither lost nor in the way."""
    migrations.upgrade(sqlite_url)
    engine = new_engine(sqlite_url)
    with engine.begin() as connection:
        populated.fill(connection, 50)
        connection.execute(text("DELETE FROM chatstore_sessions"))
    migrations.upgrade(sqlite_url, plant(ALTER_BOTH))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM chatstore_messages")) == 50


def test_a_migration_that_orphans_messages_is_undone(
    sqlite_url: str, plant: Callable[[str], str], new_engine: Callable[..., Engine]
) -> None:
    """With foreign keys off, a revision that loses sessions is found out and rolled back."""
    migrations.upgrade(sqlite_url)
    engine = new_engine(sqlite_url)
    with engine.begin() as connection:
        populated.fill(connection, 50)
    revision = plant("from alembic import op\ndef upgrade(): op.execute('DELETE FROM chatstore_sessions')\n")
    with pytest.raises(SchemaError, match="50 messages without their session"):
        migrations.upgrade(sqlite_url, revision)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM chatstore_sessions")) == 1
    assert migrations.current(sqlite_url) == models.HEAD


def test_a_newer_database_is_refused(
    any_url: str, plant: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older release leaves alone what a newer one has migrated, and names what to install."""
    migrations.upgrade(any_url, plant("def upgrade(): pass\ndef downgrade(): pass\n"))
    monkeypatch.undo()  # back to the migrations without the planted one
    with pytest.raises(SchemaTooNew, match="chatstore_9999"):
        migrations.upgrade(any_url)
    with pytest.raises(SchemaTooNew, match="chatstore_9999"):
        migrations.downgrade(any_url, "base")
    assert migrations.current(any_url) == "chatstore_9999"


def test_reading_creates_nothing(tmp_path: Path) -> None:
    """Asking a SQLite file that is not there for its revision or its differences leaves it not there."""
    url = f"sqlite:///{tmp_path}/missing.db"
    assert migrations.current(url) is None
    assert {difference[0] for difference in migrations.check(url)} == {"add_table", "add_index"}
    assert list(tmp_path.iterdir()) == []


def test_an_engine_is_a_target(sqlite_url: str, new_engine: Callable[..., Engine]) -> None:
    """An engine is migrated as its URL is, and stays open; what is neither is refused in a sentence."""
    engine = new_engine(sqlite_url)

    assert migrations.upgrade(engine) == (None, models.HEAD)
    assert migrations.current(engine) == models.HEAD
    assert migrations.check(engine) == []
    assert migrations.downgrade(engine, "base") == (models.HEAD, None)
    with pytest.raises(Invalid, match="pass one of these"):
        migrations.upgrade(object())  # type: ignore[arg-type]


def test_a_new_file_is_its_owners(tmp_path: Path) -> None:
    """The database file that an upgrade creates is readable for its owner only."""
    migrations.upgrade(f"sqlite:///{tmp_path}/new.db")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_cannot_be_done_says_what_to_do(tmp_path: Path, sqlite_url: str) -> None:
    """Each wrong target and revision is one error of ours, with advice, and no driver's."""
    with pytest.raises(StorageUnavailable, match="check that its folder is there"):
        migrations.upgrade(f"sqlite:///{tmp_path}/nowhere/chat.db")
    with pytest.raises(StorageError, match="check the URL"):
        migrations.upgrade("postgresql://nobody:secret@127.0.0.1:5432/no_such_database")
    with pytest.raises(StorageUnavailable, match="check that it runs"):
        migrations.upgrade("postgresql://127.0.0.1:1/none")
    with pytest.raises(SchemaError, match="name a revision"):
        migrations.downgrade(sqlite_url, "no_such_revision")
    (tmp_path / "text.db").write_text("this is no database, and long enough to tell" * 100, encoding="utf-8")
    with pytest.raises((SchemaError, StorageError)):
        migrations.upgrade(f"sqlite:///{tmp_path}/text.db")
