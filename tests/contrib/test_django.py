"""`chatstore.contrib.django` in a project: tests pass under Django's own runner, and never touch the real database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from tests import servers
from tests.contrib.server import written
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
DATABASES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]
ENDS = re.compile(r"Ran (\d+) tests? in .*\n\nOK(?: \(skipped=(\d+)\))?\n")


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    said: str


class Project:
    """The project `shop`, whose settings name the real database at *url*."""

    def __init__(self, folder: Path, url: str) -> None:
        """Migrate nothing yet."""
        self.folder, self.url = folder, url
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSTORE_")}
        self.environment = {
            **kept,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "contrib")]),
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "SHOP_URL": url,
        }

    def manage(self, *words: str, warnings: str = "error") -> Ran:
        """Run a command as ``manage.py`` does; a warning is an error."""
        return self.run("-W", warnings, "-m", "django", *words)

    def python_module(self, *words: str) -> Ran:
        """Run a module of Python's."""
        return self.run("-m", *words)

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
            timeout=250,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

    def python(self, code: str) -> str:
        """Run *code* in the project; return what it prints."""
        ran = self.manage("shell", "-c", code)
        assert 0 == ran.code, ran.said
        return ran.said

    def rows(self, url: str | None = None) -> dict[str, int]:
        """Count the rows of every table in the real database."""
        engine = create_engine(url or self.url)
        try:
            with engine.connect() as connection:
                names = [
                    name
                    for name in inspect(connection).get_table_names()
                    if not name.startswith("chatstore_m")
                ]
                quote = connection.dialect.identifier_preparer.quote
                return {
                    name: connection.scalar(text(f"SELECT count(*) FROM {quote(name)}")) or 0
                    for name in names
                }
        finally:
            engine.dispose()

    def databases(self) -> set[str]:
        """Name the server's databases that are for tests."""
        if self.url.startswith("sqlite"):
            return set()
        engine = create_engine(make_url(self.url), isolation_level="AUTOCOMMIT")
        ask = "SHOW DATABASES" if "postgres" not in self.url else "SELECT datname FROM pg_database"
        try:
            with engine.connect() as connection:
                own = f"test_{make_url(self.url).database}"
                return {name for name in connection.execute(text(ask)).scalars() if name.startswith(own)}
        finally:
            engine.dispose()


@pytest.fixture(params=DATABASES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """Give the project with an empty real database."""
    with servers.fresh_database(request.param) as url:
        yield Project(tmp_path, url)


def assert_passed(ran: Ran, least: int) -> None:
    """Look whether at least *least* tests ran, and all of them passed."""
    ended = ENDS.search(ran.said)
    assert 0 == ran.code, ran.said[-6000:]
    assert ended is not None, ran.said[-6000:]
    assert int(ended[1]) - int(ended[2] or 0) >= least, ran.said[-2000:]


def test_its_tests_pass_and_leave_no_trace(project: Project) -> None:
    """With Django's runner: all pass, the test database is gone, and the real one is as it was, to the last row."""
    assert 0 == project.manage("migrate").code
    project.python("from chatstore.contrib.django import repository as r; r.create_session('real')")
    before = project.rows()

    ran = project.manage("test", "shop")

    assert_passed(ran, 30)
    assert before == project.rows()
    assert 1 == before["chatstore_sessions"]
    assert set() == project.databases()


def test_the_example_has_sixty_lines(tmp_path: Path) -> None:
    """The settings and the views of the page, which are all that a project needs."""
    written(ROOT / "docs" / "how-to" / "django.md", tmp_path)
    files = [(tmp_path / "chats" / name).read_text(encoding="utf-8") for name in ("settings.py", "views.py")]

    assert sum(len(text.splitlines()) for text in files) <= 60


def test_a_trace_would_be_seen(tmp_path: Path) -> None:
    """A repository with a connection of its own, in a project whose tests pass, is found out by its row."""
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'app.db'}")
    assert 0 == project.manage("migrate").code
    before = project.rows()

    assert_passed(project.manage("test", "shop.early"), 1)

    assert before | {"chatstore_sessions": 1} == project.rows()


def test_pytest_django(project: Project) -> None:
    """The same tests under pytest-django, whose fixtures make the database."""
    ran = project.python_module(
        "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(project.folder),
        str(ROOT / "tests" / "contrib" / "shop" / "tests.py"), "-k", "Everywhere or Models",
    )  # fmt: skip

    assert 0 == ran.code, ran.said[-6000:]
    assert re.search(r"\b[23]\d passed", ran.said), ran.said[-2000:]
    assert {} == project.rows()
    assert set() == project.databases()


def test_its_tests_need_no_real_tables(project: Project) -> None:
    """Against a real database without a single table, and in parallel: nothing appears in it."""
    assert_passed(project.manage("test", "shop", "--parallel", "2"), 30)

    assert {} == project.rows()
    assert set() == project.databases()


@pytest.mark.parametrize("key", ["uuids", "texts"])
def test_users_of_any_key(project: Project, key: str) -> None:
    """Joins find users whose key is a UUID or a text, however the database stores it."""
    project.environment["SHOP_KEY"] = key

    assert_passed(project.manage("test", "shop.tests.Models", "shop.tests.Admin"), 9)


def test_chats_in_a_database_of_their_own(project: Project, tmp_path: Path) -> None:
    """Routers say where tables are made, read and written."""
    with ExitStack() as stack:
        kind = (
            "postgres"
            if "postgres" in project.url
            else "mariadb"
            if "m" == make_url(project.url).drivername[0]
            else "sqlite"
        )
        other = stack.enter_context(servers.fresh_database(kind))
        project.environment["SHOP_OTHER_URL"] = other
        assert_passed(project.manage("test", "shop"), 20)

        for alias in ("default", "other"):
            assert 0 == project.manage("migrate", "--database", alias).code
        project.python("from chatstore.contrib.django import repository as r; r.create_session('x')")
        assert not [name for name in project.rows() if name.startswith("chatstore")]
        assert 1 == project.rows(other)["chatstore_sessions"]
        assert "shop_account" not in project.rows(other)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "options",
    [
        {"OPTIONS": {"server_side_binding": True}},
        {"OPTIONS": {"isolation_level": 4}},  # serializable
        {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True},
        {"OPTIONS": {"prepare_threshold": 0}},
    ],
    ids=["server side binding", "serializable", "persistent", "prepared"],
)
def test_options_of_postgresql(tmp_path: Path, options: dict[str, object]) -> None:
    """What `OPTIONS` say holds for chatstore too, since the connection is the same."""
    with servers.fresh_database("postgres") as url:
        project = Project(tmp_path, url)
        project.environment["SHOP_OPTIONS"] = json.dumps(options)
        assert_passed(project.manage("test", "shop.tests.Everywhere", "shop.tests.Committed"), 25)


@pytest.mark.postgres
def test_the_older_driver(tmp_path: Path) -> None:
    """Where there is no psycopg 3, Django takes psycopg2, and so does chatstore."""
    with servers.fresh_database("postgres") as url:
        project = Project(tmp_path, url)
        project.environment["SHOP_PSYCOPG2"] = "yes"
        assert_passed(project.manage("test", "shop.tests.Everywhere", "shop.tests.Committed"), 25)


def test_without_django(tmp_path: Path) -> None:
    """The command that installs the extra's packages is named."""
    (tmp_path / "no.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'django' else found(name, *rest)\n"
        "import chatstore.contrib.django\n",
        encoding="utf-8",
    )
    ran = Project(tmp_path, "sqlite://").run("no.py")

    assert 1 == ran.code
    assert "MissingDependency: Django is not installed: " in ran.said
    assert "install 'django>=5.2'" in ran.said


def test_options_of_sqlite(tmp_path: Path) -> None:
    """A file for tests, with its own way to begin transactions."""
    project = Project(tmp_path, f"sqlite:///{tmp_path / 'app.db'}")
    project.environment["SHOP_OPTIONS"] = json.dumps(
        {
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            "TEST": {"NAME": str(tmp_path / "t.db")},
        }
    )
    assert_passed(project.manage("test", "shop"), 30)
    assert not (tmp_path / "app.db").exists()
    assert not (tmp_path / "t.db").exists()


def answers(project: Project) -> dict[str, tuple[Any, str]]:
    """Return what the views answer on a bad day; errors that go on are by their names."""
    ran = project.python_module("shop.bad_day")
    assert 0 == ran.code, ran.said
    found: dict[str, tuple[Any, str]] = json.loads(ran.said.splitlines()[-1])
    return found


def test_a_database_that_is_down(project: Project) -> None:
    """503 and one sentence from every view, be it that the user or the chat cannot be read; no traceback."""
    if project.url.startswith("sqlite"):
        project.environment["SHOP_URL"] = f"sqlite:///{project.folder}/nowhere/app.db"
    else:
        project.environment["SHOP_URL"] = (
            make_url(project.url).set(port=1).render_as_string(hide_password=False)
        )

    for name, (status, said) in answers(project).items():
        assert 503 == status, (name, said)
        assert 1 == said.count("."), said


def test_a_database_at_an_old_schema(project: Project) -> None:
    """503 from every view, whether tables are missing or old; nothing is made on the way."""
    for words in ((), ("migrate", "auth"), ("migrate", "chatstore", "0004")):
        if words:
            assert 0 == project.manage(*words).code
        for name, (status, said) in answers(project).items():
            if name != "lazy":  # there is no user
                assert (503, "Chats wait for an upgrade of the service: try again later.") == (
                    status,
                    said,
                ), name
    assert 0 == project.rows()["chatstore_sessions"]


@pytest.mark.postgres
def test_a_database_that_is_read_only(tmp_path: Path) -> None:
    """What reads works; what writes is 503 and stores nothing."""
    with servers.fresh_database("postgres") as url:
        project = Project(tmp_path, url)
        assert 0 == project.manage("migrate").code
        made = "from django.contrib.auth import get_user_model as u; u().objects.create_user('ada')"
        project.python(made)
        project.environment["SHOP_OPTIONS"] = (
            '{"OPTIONS": {"options": "-c default_transaction_read_only=on"}}'
        )
        found = answers(project)
        assert [404, 200, 503, 503, 503, 200] == [status for status, _ in found.values()], found
        assert "tell who runs this service" in found["ask"][1]
        assert 0 == project.rows()["chatstore_sessions"]


def test_tables_that_are_not_what_django_says(project: Project) -> None:
    """The check names tables that somebody took back behind Django's back, and the command that brings them."""
    from chatstore.migrations import downgrade

    first = project.manage("migrate")
    assert (0, False) == (first.code, "chatstore.W" in first.said)
    assert "no issues" in project.manage("check", "--database", "default").said
    for revision in ("chatstore_0003", "base"):
        downgrade(project.url, revision)
        said = project.manage("check", "--database", "default").said
        assert "chatstore.W001" in said
        assert "run manage.py chatstore upgrade" in said
        assert 0 == project.manage("chatstore", "upgrade").code
        assert "no issues" in project.manage("check", "--database", "default").said


def test_tables_that_are_there_already(project: Project) -> None:
    """A database that `chatstore upgrade` made is taken over by `migrate`, with what is in it."""
    from chatstore import HumanMessage, connect
    from chatstore.migrations import upgrade

    upgrade(project.url)
    with connect(project.url) as repository:
        repository.add_messages("old", [HumanMessage("kept")])

    ran = project.manage("migrate")

    assert 0 == ran.code, ran.said
    print_them = (
        "from chatstore.contrib.django import repository as r; print(r.get_messages('old')[0].content)"
    )
    assert "kept" in project.python(print_them)
    assert 0 == project.manage("migrate", "--check").code
    assert 0 == project.manage("makemigrations", "--check", "--dry-run").code


def test_the_command_line(project: Project) -> None:
    """`manage.py chatstore` works on the project's database, and leaves migrations to Django."""
    assert 0 == project.manage("migrate").code
    project.python(
        "from chatstore.contrib.django import repository as r\nfrom chatstore import HumanMessage\n"
        "r.scope(user_id='7').add_messages('trip', [HumanMessage('to the sea')])"
    )

    listed = project.manage("chatstore", "sessions", "--json")
    assert 0 == listed.code, listed.said
    assert "trip" in listed.said
    assert "to the sea" in project.manage("chatstore", "--database", "default", "show", "trip").said
    doctor = project.manage("chatstore", "doctor", "--json")
    assert json.loads(doctor.said)["revision"] == json.loads(doctor.said)["head"], doctor.said
    refused = project.manage("chatstore", "downgrade", "base")
    assert 2 == refused.code
    assert "run manage.py migrate chatstore NAME" in refused.said
    assert 1 == project.manage("chatstore", "show", "nothing").code
    called = "from django.core.management import call_command; call_command('chatstore', 'show', 'trip')"
    assert "to the sea" in project.python(called)
