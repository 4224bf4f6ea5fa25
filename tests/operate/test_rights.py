"""The rights of docs/how-to/operate.md: enough for each account, and no more."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect

import chatstore
from chatstore import HumanMessage
from chatstore.cli import main
from chatstore.errors import StorageError
from chatstore.migrations import downgrade, upgrade
from chatstore.testing import RepositoryContract
from tests import databases
from tests.operate import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore import Repository
    from tests.operate.clusters import Cluster

DENIED = (psycopg.errors.InsufficientPrivilege, pymysql.err.OperationalError, pymysql.err.ProgrammingError)


@pytest.fixture(scope="module", params=clusters.KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Give a server with the accounts and the tables."""
    with clusters.ready(request.param) as found:
        yield found


@pytest.fixture(autouse=True)
def _without_sessions(cluster: Cluster) -> Iterator[None]:
    yield
    databases.empty(cluster.admin)


@pytest.fixture(scope="module")
def application(cluster: Cluster) -> Iterator[Any]:
    """Give a repository that is used by the application's account."""
    with chatstore.connect(cluster.url("chat_app")) as repository:
        yield repository


def cli(*args: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it said."""
    done = CliRunner().invoke(main, args)
    return done.exit_code, done.output


def tables(cluster: Cluster) -> list[str]:
    """Return every table of chatstore's that there is."""
    engine = create_engine(cluster.admin)
    names = [name for name in inspect(engine).get_table_names() if name.startswith("chatstore")]
    engine.dispose()
    return names


@pytest.mark.whole
class TestContract(RepositoryContract):
    """The application's account can do all that a repository promises."""

    @pytest.fixture
    def repository(self, application: Any) -> Any:
        """Give the repository of the application's account."""
        return application


def test_the_analyst_reads_the_views(cluster: Cluster) -> None:
    """Each of them, with what the application stored in it."""
    with chatstore.connect(cluster.url("chat_app")) as repository:
        repository.scope(user_id="ada").add_messages("s", [HumanMessage("Hello!")])

    assert [("ada", "Hello!")] == cluster.run(
        "SELECT user_id, content FROM chatstore_transcript", "chat_analyst"
    )
    for view in clusters.VIEWS:
        cluster.run(f"SELECT count(*) FROM {view}", "chat_analyst")


def test_the_analyst_reads_no_table_and_writes_nothing(cluster: Cluster) -> None:
    """Tables, the version's and the search index's too, are closed to them."""
    closed = tables(cluster)
    assert {"chatstore_sessions", "chatstore_messages", "chatstore_alembic_version"} <= set(closed)

    for table in closed:
        with pytest.raises(DENIED, match="denied"):
            cluster.run(f"SELECT count(*) FROM {table}", "chat_analyst")
    for view in clusters.VIEWS:
        with pytest.raises((*DENIED, psycopg.Error), match=r"denied|not updatable|cannot delete"):
            cluster.run(f"DELETE FROM {view}", "chat_analyst")
    with pytest.raises(StorageError, match=r"denies this user a right .*chatstore_alembic_version"):
        chatstore.connect(cluster.url("chat_analyst")).list_sessions()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE chatstore_extra (a INT)",
        "DROP TABLE chatstore_messages",
        "ALTER TABLE chatstore_sessions ADD COLUMN extra INT",
        "UPDATE chatstore_alembic_version SET version_num = 'chatstore_0001'",
        "SELECT count(*) FROM chatstore_transcript",
    ],
)
def test_the_application_changes_no_schema(cluster: Cluster, statement: str) -> None:
    """What it does not need it has no right to."""
    with pytest.raises(DENIED, match=r"denied|must be owner"):
        cluster.run(statement, "chat_app")


def test_commands_that_change_tables_are_the_owners(cluster: Cluster) -> None:
    """The application's account is refused in one line; doctor is content with what it has."""
    for words in (("index", "drop"), ("downgrade", "base", "--yes")):
        code, said = cli(*words, "--url", cluster.url("chat_app"))
        assert code == 1
        assert "denies this user a right" in said.splitlines()[-1]

    code, said = cli("doctor", "--url", cluster.url("chat_app"))
    assert (0, True) == (code, "(head)" in said), said


def _do_some_of_everything(repository: Repository) -> None:
    repository.add_messages("s", [HumanMessage("Hello!", id="a")])
    repository.get_messages("s")
    repository.update_message("s", 1, HumanMessage("Hello?"))
    repository.update_session("s", title="Greetings")
    repository.truncate("s", after=0)
    repository.delete_session("s")


#: What the page gives to the application's account.
NEEDED = [
    ("SELECT", "chatstore_alembic_version"),
    *product(("SELECT", "INSERT", "UPDATE", "DELETE"), ("chatstore_sessions", "chatstore_messages")),
]


def test_each_right_is_needed_and_its_lack_is_named(cluster: Cluster) -> None:
    """Without any one of them some call fails, and the error names the table and says what to do."""
    on = "ON app." if cluster.kind == "mariadb" else "ON "
    for right, table in NEEDED:
        cluster.run(f"REVOKE {right} {on}{table} FROM chat_app")
        try:
            with (
                chatstore.connect(cluster.url("chat_app")) as repository,
                pytest.raises(StorageError, match=rf"denies this user a right .*{table}.*: grant it"),
            ):
                _do_some_of_everything(repository)
        finally:
            cluster.give_rights()
        databases.empty(cluster.admin)


def test_rights_outlast_an_upgrade(cluster: Cluster) -> None:
    """Views are replaced and not dropped; giving the rights once more after a way back makes all well."""
    owner = cluster.url("chat_owner")
    downgrade(owner, "chatstore_0003")
    for view in clusters.VIEWS:
        cluster.run(f"GRANT SELECT ON {view} TO chat_analyst")
    upgrade(owner)
    for view in clusters.VIEWS:
        cluster.run(f"SELECT count(*) FROM {view}", "chat_analyst")

    downgrade(owner, "base")
    upgrade(owner)
    cluster.give_rights()
    cluster.give_rights()
    with chatstore.connect(cluster.url("chat_app")) as repository:
        repository.add_messages("s", [HumanMessage("Hello!")])
    assert [(1,)] == [
        tuple(row) for row in cluster.run("SELECT count(*) FROM chatstore_transcript", "chat_analyst")
    ]


def test_the_owner_needs_each_of_its_rights(cluster: Cluster) -> None:
    """A way back and an upgrade without one of them says which one is missing."""
    owner = cluster.url("chat_owner")
    rights = {
        "postgres": {"CREATE ON SCHEMA public": "permission denied for schema public"},
        "mariadb": {
            f"{right} ON app.*": f"{right} command denied"
            for right in (
                "CREATE",
                "ALTER",
                "DROP",
                "INDEX",
                "CREATE VIEW",
                "SELECT",
                "INSERT",
                "UPDATE",
                "DELETE",
            )
        },
    }
    for right, said in rights[cluster.kind].items():
        cluster.run(f"REVOKE {right} FROM chat_owner")
        try:
            with pytest.raises(StorageError, match=rf"denies this user a right .*{said}"):
                _there_and_back(owner)
        finally:
            cluster.run(f"GRANT {right} TO chat_owner")
        _there_and_back(owner)
    cluster.give_rights()


def _there_and_back(owner: str) -> None:
    downgrade(owner, "base")
    upgrade(owner)
