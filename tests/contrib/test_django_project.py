"""Test runs of the project in docs/how-to/django.md: they use the test database, and leave no trace in the real one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from chatstore.connect import connect
from tests import servers
from tests.contrib.server import written
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
PAGE = ROOT / "docs" / "how-to" / "django.md"
TESTS = ["-m", "django", "test", "chats.tests", "chats.more"]
#: Tests that a project may have, beside those of the page.
MORE = """
import chatstore
from chats.apps import repository
from chats.models import Account
from django.test import Client, SimpleTestCase, TransactionTestCase
from django.test.testcases import DatabaseOperationForbidden


def browser(user):
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    assert client.post("/login", {"user": user}).status_code == 200
    return client


class Chats(TransactionTestCase):
    def test_messages_are_stored_and_listed(self):
        client = browser("ada")
        for number in range(3):
            self.assertEqual(200, client.post(f"/chats/{number}", {"text": "Hello!"}).status_code)
        self.assertEqual(3, len(client.get("/chats").json()))


class Refused(TransactionTestCase):
    def test_what_is_refused_costs_nothing(self):
        repository.scope(user_id="bob").history("eve/garden").add_user_message("mine")
        client = browser("eve")
        for _ in range(2):
            self.assertEqual(500, client.post("/chats/garden", {"text": "Hello?"}).status_code)
        self.assertEqual(1000, Account.objects.get(user="eve").credits)


class NoDatabase(SimpleTestCase):
    def test_the_store_is_as_forbidden_as_the_database(self):
        with self.assertRaises(DatabaseOperationForbidden):
            repository.add_messages("forbidden", [chatstore.HumanMessage("Hello!")])
"""
#: What the page must not say: a repository on the address of the settings, made when the project is loaded.
EARLY = """
import chatstore
from django.conf import settings
from sqlalchemy import URL

database = settings.DATABASES["default"]
address = (str(database.get(key) or "") or None for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME"))
repository = chatstore.connect(URL.create(database["ENGINE"].split(".")[-1].removesuffix("3"), *address))
"""


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    said: str


class Project:
    """The page's files in a folder, its settings pointing to the real database at *url*."""

    def __init__(self, folder: Path, url: str) -> None:
        """Write the files."""
        self.folder, parts = folder, make_url(url)
        written(PAGE, folder)
        (folder / "chats" / "more.py").write_text(MORE, encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSTORE_")}
        self.environment = {**kept, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "chats.settings"}
        self.url = f"sqlite:///{folder / 'app.db'}"
        if parts.get_backend_name() != "sqlite":
            self.url = url
            values = (parts.database, parts.username, parts.password, parts.host, parts.port)
            names = ("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_PORT")
            self.environment |= {name: str(value or "") for name, value in zip(names, values, strict=True)}

    def change(self, name: str, *changes: tuple[str, str]) -> None:
        """Replace text in a file of the project; each piece must be there."""
        path = self.folder / "chats" / name
        source = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in source
            source = source.replace(old, new)
        path.write_text(source, encoding="utf-8")

    def run(self, *words: str) -> Ran:
        """Run `python` with *words* in the folder."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

    def migrate(self) -> None:
        """Make the tables by the page's command, and store one conversation."""
        ran = self.run("-m", "django", "migrate", "--run-syncdb")
        assert 0 == ran.code, ran.said
        with connect(self.url) as repository:
            repository.history("real").add_user_message("Here since yesterday.")

    def holds(self) -> dict[str, list[tuple[object, ...]]]:
        """Return all rows of the real database, by table."""
        if self.url.startswith("sqlite") and not (self.folder / "app.db").exists():
            return {}
        engine = create_engine(self.url)
        with contextlib.closing(engine.connect()) as connection:
            names = inspect(connection).get_table_names()
            rows = {name: connection.execute(text(f"SELECT * FROM {name}")).all() for name in names}
        engine.dispose()
        return {name: sorted(map(tuple, found), key=str) for name, found in rows.items()}

    def databases(self) -> set[str]:
        """Name what a test database may be left as: the files in the folder, or the server's databases of this name."""
        if self.url.startswith("sqlite"):
            return {path.name for path in self.folder.iterdir()} - {"app.db-wal", "app.db-shm"}
        engine = create_engine(self.url)
        with contextlib.closing(engine.connect()) as connection:
            ours = f"%{make_url(self.url).database}%"
            names = connection.execute(
                text("SELECT datname FROM pg_database WHERE datname LIKE :ours"), {"ours": ours}
            )
            found = set(names.scalars())
        engine.dispose()
        return found


def faults(project: Project, *words: str) -> list[str]:
    """Run the tests; name what a test run must not do."""
    before = project.holds(), project.databases()
    ran = project.run(*words)
    found = [f"it failed: {ran.said}"] if ran.code or "0 tests" in ran.said else []
    if before[0] != project.holds():
        found.append("the real database is another")
    left = project.databases() - before[1] - {"app.db", ".pytest_cache"}
    return [*found, *(f"it left {name}" for name in sorted(left))]


@pytest.fixture(params=["sqlite", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """Give the project on an empty real database."""
    with servers.fresh_database(request.param) as url:
        made = Project(tmp_path, url)
        yield made
        if request.param == "postgres":
            drop(made)


def drop(project: Project) -> None:
    """Drop the test databases that a planted fault has left."""
    engine = create_engine(project.url, isolation_level="AUTOCOMMIT")
    with contextlib.closing(engine.connect()) as connection:
        for name in project.databases() - {make_url(project.url).database}:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.mark.parametrize("more", [(), ("--parallel", "2")], ids=["one process", "parallel"])
def test_a_test_run_leaves_the_real_database_as_it_is(project: Project, more: tuple[str, ...]) -> None:
    """All tests pass on a test database that has the tables, and is gone at the end; the real rows are the same."""
    project.migrate()

    assert [] == faults(project, *TESTS, *more)


def test_a_test_run_needs_no_real_tables(project: Project) -> None:
    """Where nobody has migrated yet, tests run all the same, and nothing is made in the real database."""
    assert [] == faults(project, *TESTS)
    assert {} == project.holds()


def test_a_test_database_in_a_file(tmp_path: Path) -> None:
    """`TEST` in the settings is followed, too; the file is gone at the end, its companions as well."""
    project = Project(tmp_path, "sqlite://")
    project.change("settings.py", ('"NAME": "app.db"', '"NAME": "app.db", "TEST": {"NAME": "tests.db"}'))
    project.migrate()

    assert [] == faults(project, *TESTS)
    assert [] == faults(project, *TESTS, "--parallel", "2")


def test_a_run_without_a_test_database_cannot_reach_the_real_one(project: Project) -> None:
    """Django makes no test database for tests that may not use one; the repository is refused there, too."""
    project.migrate()

    assert [] == faults(project, "-m", "django", "test", "chats.more.NoDatabase")


def test_pytest_django_leaves_the_real_database_as_it_is(project: Project) -> None:
    """The same tests under pytest-django, which blocks the database wherever it is not asked for."""
    project.migrate()
    (project.folder / "test_plain.py").write_text(
        "import pytest\nfrom chats.apps import repository\n\n\n"
        "def test_blocked():\n    with pytest.raises(RuntimeError, match='not allowed'):\n"
        "        repository.count_messages('s')\n\n\n"
        "@pytest.mark.django_db(transaction=True)\n"
        "def test_allowed():\n    repository.history('s').add_user_message('Hello!')\n",
        encoding="utf-8",
    )

    files = ["chats/tests.py", "chats/more.py", "test_plain.py"]
    assert [] == faults(project, "-m", "pytest", "-q", "--rootdir=.", "-p", "no:cacheprovider", *files)


def test_options_reach_the_driver(project: Project) -> None:
    """What stands in `OPTIONS` holds for chatstore's connections as for Django's."""
    postgres = not project.url.startswith("sqlite")
    if postgres:
        options = '"OPTIONS": {"application_name": "of the settings"}'
        project.change("settings.py", ('postgresql", **there}', f'postgresql", {options}, **there}}'))
        query, expected = "SHOW application_name", "of the settings"
    else:
        project.change("settings.py", ('"timeout": 20', '"timeout": 7'))
        query, expected = "PRAGMA busy_timeout", "7000"

    ran = project.run(
        "-c",
        "import django; django.setup()\nfrom chats.apps import engine\nwith engine.connect() as connection:\n"
        f"    print(connection.exec_driver_sql({query!r}).scalar())",
    )

    assert (0, expected) == (ran.code, ran.said.strip())


def test_the_early_store_is_found(project: Project) -> None:
    """A repository on the address that the settings had at import writes into the real database: the check says so."""
    project.migrate()
    (project.folder / "chats" / "apps.py").write_text(EARLY, encoding="utf-8")

    assert "the real database is another" in faults(project, "-m", "django", "test", "chats.more.Chats")


def test_connections_that_stay_open_are_found(tmp_path: Path) -> None:
    """A pool that keeps connections stands in the way of dropping the test database: the check says so."""
    with servers.fresh_database("postgres") as url:
        project = Project(tmp_path, url)
        project.migrate()
        project.change("apps.py", ("poolclass=NullPool", "pool_size=5"))

        failed, left = faults(project, "-m", "django", "test", "chats.more.Chats")
        drop(project)

    assert "accessed by other users" in failed
    assert f"it left test_{make_url(url).database}" == left


def test_missing_tables_are_found(project: Project) -> None:
    """Without the handler of `post_migrate` the test database lacks the tables: the check says so."""
    project.migrate()
    project.change("apps.py", ("post_migrate.connect(make_tables, sender=self)", "pass"))

    (failed,) = faults(project, "-m", "django", "test", "chats.more.Chats")
    assert failed.startswith("it failed")
