"""`add_to(context)` in a host's env.py: an upgrade of the host's brings ours along, whatever its settings, or fails."""

from __future__ import annotations

import io
import shutil
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alembic
import pytest
from alembic import command, context
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, inspect, text
from sqlalchemy.schema import CreateSchema

from chatstore.backends.sql import models
from chatstore.migrations import HEAD, add_to, add_to_config, check, current, downgrade, ignore, upgrade
from tests.sql.comparing import differences
from tests.sql.scripts import executed

if TYPE_CHECKING:
    from collections.abc import Callable

ENV = """
from alembic import context
from sqlalchemy import create_engine
import chatstore.migrations

config = context.config
given = config.attributes
if "added" in given:
    chatstore.migrations.add_to(context, **given["added"])

def offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), target_metadata=given["metadata"],
        literal_binds=True, **given["options"])
    with context.begin_transaction():
        context.run_migrations()

def online():
    engine = create_engine(config.get_main_option("sqlalchemy.url"), **given["engine"])
    try:
        with engine.connect() as connection:
            given["run"](context, connection)
    finally:
        engine.dispose()

offline() if context.is_offline_mode() else online()
"""
REVISION = """
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = "{name}", {before!r}, None, None

def upgrade():
    op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True))

def downgrade():
    op.drop_table("{name}")
"""
AT_ONCE = {"transaction_per_migration": False}
EACH = {"transaction_per_migration": True}
#: How a host may have set its transactions; the tests of all of them are `wide`.
SETTINGS = {
    "default": AT_ONCE,
    "each": EACH,
    "ddl": {"transactional_ddl": True},
    "no-ddl": {"transactional_ddl": False},
    "each-no-ddl": EACH | {"transactional_ddl": False},
}
WIDE = [pytest.param(name, marks=[pytest.mark.wide] if "ddl" in name else []) for name in SETTINGS]


class Host:
    """An application with two revisions, and an env.py that calls `add_to` from the second command on."""

    def __init__(self, place: Path, url: str) -> None:
        """Write the host's files; nothing is run."""
        self.url, self.place = url, place
        (place / "versions").mkdir()
        (place / "env.py").write_text(ENV, encoding="utf-8")
        shutil.copy(Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako", place)
        for name, before in (("host1", None), ("host2", "host1")):
            source = REVISION.format(name=name, before=before)
            (place / "versions" / f"{name}.py").write_text(source, encoding="utf-8")
        self.written = io.StringIO()
        self.config = Config(output_buffer=self.written)
        self.config.set_main_option("script_location", str(place))
        self.config.set_main_option("path_separator", "os")
        self.config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        metadata = MetaData()
        for name in ("host1", "host2"):
            Table(name, metadata, Column("id", Integer, primary_key=True))
        self.config.attributes.update(
            added={}, metadata=metadata, options={}, engine={}, run=self.run_as_templates_do
        )

    @property
    def given(self) -> dict[str, Any]:
        """What env.py is told."""
        return self.config.attributes

    def configure(self, context: Any, connection: Any) -> None:
        """Call `context.configure` as env.py does online."""
        metadata, options = self.given["metadata"], self.given["options"]
        context.configure(connection=connection, target_metadata=metadata, **options)

    def run_as_templates_do(self, context: Any, connection: Any) -> None:
        """Run the migrations as every template of Alembic's does."""
        self.configure(context, connection)
        with context.begin_transaction():
            context.run_migrations()

    def revision(self) -> str | None:
        """Return where the host's own history is."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            there = inspect(connection).has_table("alembic_version")
            found = connection.scalar(text("SELECT version_num FROM alembic_version")) if there else None
        engine.dispose()
        return found

    def script(self, revision: str = "head") -> str:
        """Return what `alembic upgrade REVISION --sql` prints."""
        self.written = self.config.output_buffer = io.StringIO()
        command.upgrade(self.config, revision, sql=True)
        return self.written.getvalue()


@pytest.fixture
def host(any_url: str, tmp_path: Path) -> Host:
    """Give a host on each kind of database in turn."""
    return Host(tmp_path, any_url)


@pytest.fixture
def small_host(sqlite_url: str, tmp_path: Path) -> Host:
    """Give a host on SQLite."""
    return Host(tmp_path, sqlite_url)


@pytest.mark.parametrize("at_head", [False, True], ids=["new", "at-head"])
@pytest.mark.parametrize("settings", WIDE)
def test_an_upgrade_brings_ours_along(host: Host, settings: str, *, at_head: bool) -> None:
    """Whatever the transactions, with something to migrate or nothing, ours is stored; then `check` is clean."""
    host.given["options"] = SETTINGS[settings]
    if at_head:
        added = host.given.pop("added")
        command.upgrade(host.config, "head")
        host.given["added"] = added
    assert current(host.url) is None
    for _ in range(2):
        command.upgrade(host.config, "head")
        assert (current(host.url), host.revision()) == (HEAD, "host2")
    assert check(host.url) == differences(host.config) == []


@pytest.mark.wide
@pytest.mark.parametrize("isolation", ["AUTOCOMMIT", "SERIALIZABLE"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_an_engine_with_a_level_of_its_own(host: Host, settings: str, isolation: str) -> None:
    """In AUTOCOMMIT ours is stored as well, in a transaction of its own where the database has them."""
    host.given.update(engine={"isolation_level": isolation}, options=SETTINGS[settings])
    for _ in range(2):
        command.upgrade(host.config, "head")
        assert (current(host.url), host.revision()) == (HEAD, "host2")


@pytest.mark.parametrize("way", ["begun", "begun-late", "no-transaction", "read-first"])
def test_a_transaction_of_env_py_is_its_own(host: Host, way: str) -> None:
    """What env.py began, it commits, and with it ours; where the host's own revisions stay, ours do."""

    def run(context: Any, connection: Any) -> None:
        if way == "begun":
            with connection.begin():
                host.configure(context, connection)
                context.run_migrations()
        elif way == "begun-late":
            host.configure(context, connection)
            with connection.begin():
                context.run_migrations()
        elif way == "no-transaction":
            host.configure(context, connection)
            context.run_migrations()
            connection.commit()
        else:
            connection.execute(text("SELECT 1"))
            host.run_as_templates_do(context, connection)
            connection.commit()

    host.given["run"] = run
    for _ in range(2):
        command.upgrade(host.config, "head")
        assert (current(host.url), host.revision()) == (HEAD, "host2")


def test_upgrade_as_a_last_line_is_stored_as_well(host: Host) -> None:
    """`upgrade(connection)` behind the host's own run does not take Alembic's look for the caller's transaction."""

    def run(context: Any, connection: Any) -> None:
        host.run_as_templates_do(context, connection)
        upgrade(connection)

    command.upgrade(host.config, "head")
    downgrade(host.url, "base")
    host.given.pop("added")
    host.given["run"] = run
    for settings in (AT_ONCE, EACH, {"transactional_ddl": False}):
        host.given["options"] = settings
        command.upgrade(host.config, "head")
        assert current(host.url) == HEAD
        downgrade(host.url, "base")


def test_a_failing_revision_of_the_host_leaves_ours_out(host: Host) -> None:
    """The host's error is the one that is seen, and nothing of ours is there."""
    path = host.place / "versions" / "host2.py"
    path.write_text(path.read_text(encoding="utf-8").replace("def upgrade():", "def upgrade():\n    1 / 0"))
    with pytest.raises(ZeroDivisionError):
        command.upgrade(host.config, "head")
    assert current(host.url) is None


def test_an_error_of_ours_is_alembics(host: Host) -> None:
    """A database that a newer release migrated stops the command in one line, and changes nothing of ours."""
    upgrade(host.url)
    engine = create_engine(host.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE chatstore_alembic_version SET version_num = 'chatstore_9999'"))
    engine.dispose()
    with pytest.raises(CommandError, match="chatstore: the database is at revision chatstore_9999, which"):
        command.upgrade(host.config, "head")
    assert current(host.url) == "chatstore_9999"


# ------------------------------------------------------------------------------------------------ other commands


def test_no_other_command_touches_ours(host: Host) -> None:
    """stamp, current, check, history, revision, ensure_version make nothing; downgrade leaves what is there."""
    others: tuple[Callable[[], object], ...] = (
        lambda: command.stamp(host.config, "host1"),
        lambda: command.current(host.config),
        lambda: command.history(host.config, indicate_current=True),
        lambda: command.ensure_version(host.config),
        lambda: command.downgrade(host.config, "host1"),
        lambda: command.stamp(host.config, "base"),
    )
    for other in others:
        other()
        assert current(host.url) is None
    command.upgrade(host.config, "head")
    host.config.set_main_option("revision_environment", "true")
    command.revision(host.config, "upgrade", rev_id="host3")
    downgrade(host.url, "chatstore_0001")
    command.downgrade(host.config, "base")
    assert (current(host.url), host.revision()) == ("chatstore_0001", None)
    command.stamp(host.config, "heads", purge=True)
    assert (current(host.url), host.revision()) == ("chatstore_0001", "host3")


def test_part_of_the_way_up_is_an_upgrade(host: Host) -> None:
    """`+1`, one revision by name, and `heads` bring ours to what the release needs; a downgrade leaves it there."""
    for revision in ("+1", "host2", "heads"):
        command.upgrade(host.config, revision)
        assert current(host.url) == HEAD
        downgrade(host.url, "base")
    command.downgrade(host.config, "-1")
    assert current(host.url) is None
    command.upgrade(host.config, "+1")
    assert (current(host.url), host.revision()) == (HEAD, "host2")


def test_autogenerate_does_not_see_ours(host: Host) -> None:
    """`check` is clean beside filters of the host's own, which work on; a new revision has nothing of ours in it."""
    looked: set[str] = set()

    def include_name(name: str, kind: str, _: object) -> bool:
        looked.add(f"name {kind}")
        return name != "theirs"

    def include_object(_: object, name: str, kind: str, *__: object) -> bool:
        looked.add(f"object {kind} {name}")
        return True

    host.given["options"] = {
        "include_name": include_name,
        "include_object": include_object,
        "include_schemas": host.url.startswith("postgresql"),  # elsewhere a schema is a whole database
        "compare_type": True,
    }
    command.upgrade(host.config, "head")
    engine = create_engine(host.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id integer)"))
    engine.dispose()
    assert differences(host.config) == []
    assert {"name table", "object table host1"} <= looked
    assert [one for one in looked if "chatstore" in one] == []
    for table in models.Base.metadata.tables.values():
        table.to_metadata(host.given["metadata"])
    assert differences(host.config) == []
    made: Any = command.revision(host.config, "more", autogenerate=True)
    assert "chatstore" not in (host.place / "versions" / f"{made.revision}_more.py").read_text(
        encoding="utf-8"
    )
    command.upgrade(host.config, "head")
    host.given["metadata"] = MetaData()
    assert differences(host.config) == ["remove_table"]


def test_objects_beside_tables_are_hidden_too() -> None:
    """Packages that compare views, functions and triggers ask with their schema in the name; columns are seen."""
    ours = ("public.chatstore_transcript", "chatstore_usage_daily", "chat.chatstore_words(value text)")
    assert [name for name in ours for kind in ("view", "function") if ignore(name, kind, {})] == []
    assert ignore("public.my_chatstore_report", "view", {})
    assert ignore("chatstore_session_id", "column", {})
    assert ignore("chatstore_reports", "table", {})


# ------------------------------------------------------------------------------------------------------- programs


def test_a_function_of_a_program_is_known_by_what_it_does(small_host: Host) -> None:
    """Alembic's EnvironmentContext with any function: up brings ours along, down, stamps and looks do not."""
    script = ScriptDirectory.from_config(small_host.config)

    def run(work: Callable[..., Any], **options: Any) -> str | None:
        with EnvironmentContext(small_host.config, script, fn=work, **options):
            script.run_env()
        found = current(small_host.url)
        downgrade(small_host.url, "base")
        return found

    assert run(lambda heads, _: script._upgrade_revs("host1", heads)) == HEAD
    assert run(lambda heads, _: script._upgrade_revs("host1", heads)) is None
    assert run(lambda heads, _: script._upgrade_revs("head", heads), destination_rev="head") == HEAD
    assert run(lambda heads, _: script._upgrade_revs("head", heads), destination_rev="head") == HEAD
    assert run(lambda _, __: []) is None
    assert run(lambda heads, _: script._downgrade_revs("base", heads), destination_rev="base") is None
    assert run(lambda heads, _: script._stamp_revs("host2", heads)) is None


def test_a_connection_that_a_program_passes(host: Host) -> None:
    """With the program's connection in `config.attributes`, the program commits, or takes all of it back."""
    shared = create_engine(host.url)
    with shared.connect() as connection:
        host.given["run"] = lambda context, _: host.run_as_templates_do(context, connection)
        if (
            shared.dialect.name == "postgresql"
        ):  # the only one of them that takes tables back with this driver
            with connection.begin() as transaction:
                command.upgrade(host.config, "head")
                transaction.rollback()
            assert current(host.url) is None
        with connection.begin():
            command.upgrade(host.config, "head")
        assert current(host.url) == HEAD
    shared.dispose()


def test_a_program_says_it_where_it_makes_its_config(host: Host) -> None:
    """With `add_to_config` no line stands in env.py, and upgrades, scripts and autogenerate are as with one."""
    del host.given["added"]
    command.upgrade(host.config, "head")
    assert current(host.url) is None
    add_to_config(host.config)
    assert "CREATE TABLE chatstore_sessions" in host.script()
    assert current(host.url) is None
    command.upgrade(host.config, "head")
    assert (current(host.url), host.revision()) == (HEAD, "host2")
    assert check(host.url) == differences(host.config) == []
    command.downgrade(host.config, "base")
    assert current(host.url) == HEAD


def test_a_program_may_only_hide(small_host: Host) -> None:
    """Without *upgrades* the tables are hidden, and neither made nor changed; a line in env.py goes before."""
    added = small_host.given.pop("added")
    add_to_config(small_host.config, upgrades=False)
    command.upgrade(small_host.config, "head")
    assert current(small_host.url) is None
    upgrade(small_host.url)
    assert differences(small_host.config) == []
    downgrade(small_host.url, "base")
    small_host.given["added"] = added
    command.upgrade(small_host.config, "head")
    assert current(small_host.url) == HEAD


# -------------------------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize("settings", WIDE)
def test_a_script_has_ours_in_it(host: Host, settings: str) -> None:
    """`--sql` changes nothing; its script, sent as it is, makes both, and what the models expect."""
    host.given["options"] = SETTINGS[settings]
    script = host.script()
    assert (current(host.url), host.revision()) == (None, None)
    executed(host.url, script)
    assert (current(host.url), host.revision()) == (HEAD, "host2")
    assert check(host.url) == differences(host.config) == []
    begun = [line for line in script.split("\n") if line in {"BEGIN;", "COMMIT;"}]
    assert begun == ["BEGIN;", "COMMIT;"] * (len(begun) // 2)
    assert "%%" not in script


def test_a_script_from_a_revision_asks_for_ours(host: Host) -> None:
    """Where the host's part starts is no word on ours: it is asked for, and taken from -x chatstore=."""
    command.upgrade(host.config, "host1")
    downgrade(host.url, "chatstore_0001")
    with pytest.raises(CommandError, match="-x chatstore=REVISION with what `chatstore current` says"):
        host.script("host1:head")
    host.config.cmd_opts = Namespace(x=["chatstore=chatstore_0001"])
    script = host.script("host1:head")
    assert "CREATE TABLE chatstore_sessions" not in script
    executed(host.url, script)
    assert (current(host.url), host.revision()) == (HEAD, "host2")
    host.config.cmd_opts = Namespace(x=["chatstore=no_such"])
    with pytest.raises(CommandError, match=r"chatstore: .*no_such"):
        host.script()
    host.config.cmd_opts = Namespace(x=[f"chatstore={HEAD}"])
    assert "chatstore_" not in host.script("host1:head").replace(f"{HEAD} -> {HEAD}", "")


def test_scripts_of_other_commands_have_nothing_of_ours(small_host: Host) -> None:
    """`downgrade --sql` and `stamp --sql` are the host's alone."""
    command.downgrade(small_host.config, "host2:base", sql=True)
    command.stamp(small_host.config, "head", sql=True)
    said = small_host.written.getvalue()
    assert "host2" in said
    assert "chatstore" not in said


# -------------------------------------------------------------------------------------------------------- schemas


@pytest.mark.postgres
@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
def test_a_schema_of_ours(postgres_url: str, tmp_path: Path, *, offline: bool) -> None:
    """With `schema=` ours is in it, and it is made; a host that looks into every schema does not see ours there."""
    host = Host(tmp_path, postgres_url)
    host.given.update(added={"schema": "Chat Room"}, options={"include_schemas": True})
    if offline:
        executed(postgres_url, host.script())
    command.upgrade(host.config, "head")
    assert (current(postgres_url), current(postgres_url, schema="Chat Room")) == (None, HEAD)
    assert check(postgres_url, schema="Chat Room") == []
    assert differences(host.config) == []


@pytest.mark.postgres
def test_a_host_that_puts_one_schema_in_the_place_of_another(postgres_url: str, tmp_path: Path) -> None:
    """With a map of schemas, as hosts with one schema a tenant have it, all of ours is in each tenant's."""
    host = Host(tmp_path, postgres_url)

    def run(context: Any, connection: Any) -> None:
        for tenant in ("one", "two"):
            connection.execute(CreateSchema(tenant, if_not_exists=True))
            connection.commit()
            connection.execution_options(schema_translate_map={None: tenant})
            host.given["options"] = {"version_table_schema": tenant}
            host.run_as_templates_do(context, connection)
            assert connection.get_execution_options()["schema_translate_map"][None] == tenant

    host.given["run"] = run
    for _ in range(2):
        command.upgrade(host.config, "head")
        assert [current(postgres_url, schema=name) for name in ("one", "two", None)] == [HEAD, HEAD, None]
        assert check(postgres_url, schema="two") == []


# ---------------------------------------------------------------------------------------------- several databases


def test_only_one_of_several_databases(small_host: Host, tmp_path: Path) -> None:
    """`engine_name=` says which; without it, with a wrong one, or with one too many, it is an error."""
    host, other = small_host, f"sqlite:///{tmp_path}/other.db"

    def run(context: Any, connection: Any) -> None:
        engine = create_engine(other)
        with engine.connect() as second:
            for name, link in (("main", connection), ("other", second)):
                host.configure(context, link)
                with context.begin_transaction():
                    context.run_migrations(engine_name=name)
        engine.dispose()

    for path in (host.place / "versions").glob("*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace("grade()", "grade(engine_name)"))
    host.given["run"] = run
    with pytest.raises(CommandError, match=r"say in which one .* add_to\(context, engine_name='main'\)"):
        command.upgrade(host.config, "head")
    host.given["added"] = {"engine_name": "mian"}
    with pytest.raises(CommandError, match="did not run: engine_name='mian' is none of 'main', 'other'"):
        command.upgrade(host.config, "head")
    host.given["added"] = {"engine_name": "other"}
    command.upgrade(host.config, "head")
    assert (current(host.url), current(other)) == (None, HEAD)
    host.given["run"] = host.run_as_templates_do
    with pytest.raises(CommandError, match="without engine_name: leave it out"):
        command.upgrade(host.config, "head")


def test_a_call_in_the_wrong_place_is_refused(small_host: Host) -> None:
    """Below the host's own run, or outside of an env.py, add_to says where it belongs."""

    def late(context: Any, connection: Any) -> None:
        small_host.run_as_templates_do(context, connection)
        add_to(context)

    small_host.given["run"] = late
    with pytest.raises(CommandError, match=r"too late: call it at the top of env.py"):
        command.upgrade(small_host.config, "head")
    with pytest.raises(CommandError, match=r"works in an env.py that Alembic runs"):
        add_to(context)
