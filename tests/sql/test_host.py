"""Beside a host's own Alembic: two histories in one database, and neither sees the other's tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import alembic.op
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from chatstore.backends.sql import migrations, models
from chatstore.backends.sql.search_objects import (
    create_search_index,
    drop_search_index,
    search_index_exists,
)
from chatstore.connect import connect
from chatstore.messages import HumanMessage
from tests.sql import populated, scripts
from tests.sql.comparing import differences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

ENV = """
from alembic import context
from sqlalchemy import create_engine
from chatstore.backends.sql import migrations

config = context.config
engine = create_engine(config.attributes["url"])
with engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=config.attributes["metadata"], **config.attributes["options"]
    )
    with context.begin_transaction():
        context.run_migrations()
    if config.attributes["also_chatstore"]:
        migrations.upgrade(connection)
engine.dispose()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = "host1", None, None, None

def upgrade():
    op.create_table(
        "host_users", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50))
    )
    op.create_index("ix_host_users_name", "host_users", ["name"])

def downgrade():
    op.drop_table("host_users")
"""


def host(place: Path, url: str, *, also_chatstore: bool = False, **options: Any) -> Config:
    """Write the migrations of an application with one table into *place*; return the configuration."""
    (place / "versions").mkdir(parents=True, exist_ok=True)
    (place / "env.py").write_text(ENV, encoding="utf-8")
    (place / "versions" / "host1.py").write_text(REVISION, encoding="utf-8")
    metadata = MetaData()
    users = Table("host_users", metadata, Column("id", Integer, primary_key=True), Column("name", String(50)))
    Index("ix_host_users_name", users.c.name)
    config = Config()
    config.set_main_option("script_location", str(place))
    config.attributes.update(url=url, metadata=metadata, options=options, also_chatstore=also_chatstore)
    return config


@pytest.mark.parametrize("first", ["host", "chatstore"])
def test_two_histories_leave_each_other_alone(any_url: str, tmp_path: Path, first: str) -> None:
    """Whoever migrates first, both are at their heads, and autogenerate finds nothing in either direction."""
    config = host(tmp_path, any_url, include_name=migrations.ignore)
    if first == "chatstore":
        migrations.upgrade(any_url)
    command.upgrade(config, "head")
    migrations.upgrade(any_url)
    assert differences(config) == []
    assert migrations.check(any_url) == []
    migrations.downgrade(any_url, "base")
    assert differences(config) == []


def test_the_filter_is_needed_and_blinds_nobody(any_url: str, tmp_path: Path) -> None:
    """Without it the host would drop our tables; with it the host still sees its own table go."""
    config = host(tmp_path, any_url)
    command.upgrade(config, "head")
    migrations.upgrade(any_url)
    assert "remove_table" in differences(config)
    config.attributes["options"] = {"include_name": migrations.ignore}
    config.attributes["metadata"] = MetaData()
    assert differences(config) == ["remove_index", "remove_table"]


def test_one_command_for_both(any_url: str, tmp_path: Path, new_engine: Callable[..., Engine]) -> None:
    """`upgrade(connection)` as the last line of a host's env.py brings both to their heads."""
    config = host(tmp_path, any_url, also_chatstore=True, include_name=migrations.ignore)
    for _ in range(2):
        command.upgrade(config, "head")
        assert migrations.current(any_url) == models.HEAD
    with new_engine(any_url).connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "host1"
    config.attributes["also_chatstore"] = False
    assert differences(config) == []
    assert migrations.check(any_url) == []


def test_a_revision_of_the_host_may_upgrade_us(any_url: str, tmp_path: Path) -> None:
    """Called in the middle of a host's revision, the upgrade gives the host its `op` back."""
    config = host(tmp_path, any_url, include_name=migrations.ignore)
    nested = REVISION.replace(
        "    op.create_index",
        "    from chatstore.backends.sql.migrations import upgrade as chat\n"
        "    op.get_context().config.attributes['moved'] = chat(op.get_bind())\n    op.create_index",
    )
    (tmp_path / "versions" / "host1.py").write_text(nested, encoding="utf-8")
    command.upgrade(config, "head")
    assert config.attributes["moved"] == (None, models.HEAD)
    assert differences(config) == []
    assert not hasattr(alembic.op, "_proxy") or alembic.op._proxy is None


def test_one_history(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host may list our revisions beside its own and go to all heads with one command."""
    config = host(tmp_path, sqlite_url, include_name=migrations.ignore)
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{tmp_path}/versions\n{migrations.version_location()}")
    command.upgrade(config, "heads")
    assert migrations.check(sqlite_url) == []
    command.downgrade(config, "chatstore@base")
    assert [difference[0] for difference in migrations.check(sqlite_url)][:1] == ["add_table"]


def test_through_an_asynchronous_connection(sqlite_url: str) -> None:
    """`AsyncConnection.run_sync(upgrade)` upgrades; so does the URL of an asynchronous driver."""

    async def main() -> tuple[object, object]:
        engine = create_async_engine(make_url(sqlite_url).set(drivername="sqlite+aiosqlite"))
        async with engine.connect() as connection:
            moved = await connection.run_sync(migrations.upgrade)
        async with engine.connect() as connection:
            found = await connection.run_sync(search_index_exists)
        await engine.dispose()
        return moved, found

    assert asyncio.run(main()) == ((None, models.HEAD), True)
    asynchronous = sqlite_url.replace("sqlite:", "sqlite+aiosqlite:")
    assert migrations.downgrade(asynchronous, "base") == (models.HEAD, None)
    assert migrations.upgrade(asynchronous) == (None, models.HEAD)


@pytest.mark.postgres
def test_a_schema_of_ones_own_on_postgresql(postgres_url: str, new_engine: Callable[..., Engine]) -> None:
    """With `schema=` every object is in that schema, which is created; two schemas do not meet."""
    names = ("tenant one", "Tenant2")
    for name in names:
        assert migrations.upgrade(postgres_url, schema=name) == (None, models.HEAD)
        assert migrations.current(postgres_url, schema=name) == models.HEAD
        assert migrations.check(postgres_url, schema=name) == []
    assert migrations.current(postgres_url) is None
    with new_engine(postgres_url).connect() as connection:
        assert populated.picture(connection) == {}
        for name in names:
            assert search_index_exists(connection, name)
            found = inspect(connection)
            tables = {*models.Base.metadata.tables, models.VERSION_TABLE, "chatstore_search"}
            assert set(found.get_table_names(schema=name)) == tables
            assert len(found.get_view_names(schema=name)) == 3
            placed = connection.execution_options(schema_translate_map={None: name})
            populated.fill(placed, 50)
            count = text(f'SELECT count(*) FROM "{name}".chatstore_transcript')
            assert connection.scalar(count) == 50
            connection.execute(text(f'SELECT * FROM "{name}".chatstore_tool_calls')).all()
    assert migrations.downgrade(postgres_url, "base", schema=names[0]) == (models.HEAD, None)
    assert migrations.check(postgres_url, schema=names[1]) == []
    assert migrations.upgrade(postgres_url, schema="public") == (None, models.HEAD)
    assert migrations.check(postgres_url, schema="public") == migrations.check(postgres_url) == []


#: Names that PostgreSQL allows: capitals, its own words, and every sign that means something to SQL or to a driver.
SCHEMAS = [
    "Chat", "user", "order", "chat_", "0", "a.b", "My chats", 'so-"called"', "it's", "per%cent", "a%%b%(c)s", "x:y",
    ":name", "semi;colon", "back\\slash", "back\\:slash", "$1", "a$words$b", "a$words1$b", "[x]", "{x}", "--", "/*",
    "naïve😀", "ж" * 31,
]  # fmt: skip


@pytest.mark.wide
@pytest.mark.postgres
def test_a_schema_may_have_any_name_on_postgresql(
    postgres_url: str, new_engine: Callable[..., Engine]
) -> None:
    """Migrations, appends, searches by the index, comparisons and scripts work in a schema of any name, quoted."""
    for name in SCHEMAS:
        assert migrations.upgrade(postgres_url, schema=name) == (None, models.HEAD), name
        assert migrations.check(postgres_url, schema=name) == [], name
        with connect(postgres_url, schema=name) as repository, new_engine(postgres_url).begin() as connection:
            repository.add_messages("s", [HumanMessage("hello world")])
            assert search_index_exists(connection, name), name
            assert [hit.session_id for hit in repository.search("hello")] == ["s"], name
            assert ("s", 1) == (
                repository.fork_session("s", "t").forked_from,
                repository.usage()[0].messages,
            ), name
        with new_engine(postgres_url).begin() as connection:
            drop_search_index(connection, name)
            assert not search_index_exists(connection, name), name
            assert create_search_index(connection, name), name
        assert migrations.downgrade(postgres_url, "base", schema=name) == (models.HEAD, None), name


@pytest.mark.wide
@pytest.mark.postgres
def test_a_script_makes_a_schema_of_any_name(postgres_url: str) -> None:
    """What is written offline, run as it is, makes the schema and everything in it."""
    for name in SCHEMAS:
        scripts.executed(postgres_url, migrations.upgrade_sql(postgres_url, schema=name))
        assert migrations.check(postgres_url, schema=name) == [], name
        with connect(postgres_url, schema=name) as repository:
            repository.add_messages("s", [HumanMessage("hello world")])
            assert [hit.session_id for hit in repository.search("hello")] == ["s"], name


@pytest.mark.mariadb
def test_another_database_as_schema_on_mariadb(mariadb_url: str, new_engine: Callable[..., Engine]) -> None:
    """On the MySQL family a schema is another database, which must be there."""
    other = f"{make_url(mariadb_url).database}_b"
    with new_engine(mariadb_url).connect() as connection:
        connection.execute(text(f"CREATE DATABASE `{other}`"))
        try:
            assert migrations.upgrade(mariadb_url, schema=other) == (None, models.HEAD)
            assert migrations.check(mariadb_url, schema=other) == []
            assert populated.picture(connection) == {}
            assert search_index_exists(connection, other)
            assert migrations.downgrade(mariadb_url, "base", schema=other) == (models.HEAD, None)
        finally:
            connection.rollback()
            connection.execute(text(f"DROP DATABASE `{other}`"))


def test_an_attached_file_as_schema_on_sqlite(
    sqlite_url: str, tmp_path: Path, new_engine: Callable[..., Engine]
) -> None:
    """On SQLite a schema is an attached file; opened by itself it is a whole database."""
    with new_engine(sqlite_url).connect() as connection:
        connection.exec_driver_sql(f"ATTACH '{tmp_path}/chats.db' AS \"my chats\"")
        connection.commit()
        assert migrations.upgrade(connection, schema="my chats") == (None, models.HEAD)
        assert migrations.check(connection, schema="my chats") == []
        assert populated.picture(connection) == {}
    url = f"sqlite:///{tmp_path}/chats.db"
    assert migrations.current(url) == models.HEAD
    with new_engine(url).begin() as connection:
        populated.fill(connection, 50)
        assert connection.scalar(text("SELECT count(*) FROM chatstore_transcript")) == 50
        connection.execute(text("SELECT * FROM chatstore_tool_calls")).all()
        assert search_index_exists(connection)
    assert migrations.check(url) == []
