"""Applications with an Alembic of their own: three ways to live beside it, every template, Flask-Migrate."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from chatstore import HumanMessage
from chatstore.connect import connect
from chatstore.migrations import HEAD, check, current, downgrade, version_location
from tests import servers
from tests.snippets import ROOT
from tests.sql.scripts import executed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 60.0
ASYNCHRONOUS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mariadb": "mariadb+aiomysql",
    "mysql": "mysql+aiomysql",
}
MODELS = """
import sqlalchemy as sa
metadata = sa.MetaData()
notes = sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
#: Several commands in one process, in which `sys.argv` has none of their words.
COMMANDS = """
import sys
from alembic.config import main
for line in sys.stdin.read().splitlines():
    main(line.split())
"""
FLASK = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["MAIN_URL"]
if "CHATS_URL" in os.environ:
    app.config["SQLALCHEMY_BINDS"] = {"chats": os.environ["CHATS_URL"]}
db = SQLAlchemy(app)
Migrate(app, db)


class Note(db.Model):
    id = db.Column(db.Integer, primary_key=True)
"""
#: The same with chatstore in it, which tells Flask-Migrate by itself.
EXTENSION = """
from chatstore.contrib.flask import Chatstore

app.config.from_prefixed_env()  # FLASK_CHATSTORE_BIND_KEY, FLASK_CHATSTORE_URL
Chatstore(app)
"""
#: What a host's own program does.
HOSTS_PROGRAM = """
from alembic import command
from alembic.config import Config

command.upgrade(Config("alembic.ini"), "heads")
"""
PROGRAM = """
from app import app
import flask_migrate
with app.app_context():
    flask_migrate.upgrade()
"""


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give an empty database of each kind in turn."""
    with servers.fresh_database(request.param) as made:
        yield made


@pytest.fixture
def chats_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a second one of the same kind, for chatstore."""
    with servers.fresh_database(request.node.callspec.params["url"]) as made:
        yield made


def run(folder: Path, *words: str, told: str = "", fails: bool = False, **environment: str) -> str:
    """Run `python` with *words* in the host's folder; return what it prints, or what it says when it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSTORE_")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", **environment},
        input=told,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert bool(done.returncode) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr if fails else done.stdout


def alembic(folder: Path, *lines: str) -> str:
    """Run Alembic's commands, one after the other in one process."""
    return run(folder, "-c", COMMANDS, told="\n".join(lines))


def edited(path: Path, *changes: tuple[str, str]) -> None:
    """Replace lines of a file that a template wrote; each must be there."""
    source = path.read_text(encoding="utf-8")
    for pattern, replacement in changes:
        source, count = re.subn(pattern, replacement.replace("\\", r"\\"), source, flags=re.MULTILINE)
        assert count, pattern
    path.write_text(source, encoding="utf-8")


def joined(folder: Path, argument: str = "") -> None:
    """Put the one line of the how-to page into env.py."""
    line = f"import chatstore.migrations\n\nchatstore.migrations.add_to(context{argument})\n\nconfig = context.config"
    edited(folder / "migrations" / "env.py", ("^config = context.config$", line))


def tables(url: str) -> set[str]:
    """Return the host's tables."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = inspect(connection).get_table_names()
    engine.dispose()
    return {name for name in found if not name.startswith("chatstore_")}


def revisions(folder: Path) -> str:
    """Return the text of all of the host's revisions."""
    return "".join(
        path.read_text(encoding="utf-8") for path in (folder / "migrations" / "versions").glob("*.py")
    )


def started(folder: Path, url: str) -> None:
    """Make a host with one table, as `alembic init` does, on the database at *url*."""
    (folder / "models.py").write_text(MODELS, encoding="utf-8")
    alembic(folder, "init migrations")
    edited(folder / "alembic.ini", ("^sqlalchemy.url = .*", f"sqlalchemy.url = {url.replace('%', '%%')}"))
    metadata = "from models import metadata as target_metadata"
    edited(folder / "migrations" / "env.py", ("^target_metadata = None$", metadata))


def hidden(folder: Path) -> None:
    """Tell only autogenerate what is not the host's: the host's env.py brings nothing."""
    env = folder / "migrations" / "env.py"
    edited(
        env,
        (
            "^from alembic import context$",
            "from alembic import context\nfrom chatstore.migrations import ignore",
        ),
    )
    edited(
        env, ("target_metadata=target_metadata,?", "target_metadata=target_metadata, include_name=ignore,")
    )


def one_history(folder: Path) -> None:
    """Put chatstore's revisions among the host's."""
    edited(folder / "alembic.ini", ("^path_separator = .*", "path_separator = newline"))
    both = f"version_locations =\n    %(here)s/migrations/versions\n    {version_location()}"
    edited(folder / "alembic.ini", ("^path_separator = newline$", f"path_separator = newline\n{both}"))


class Way(NamedTuple):
    """One of the ways to keep chatstore's tables beside a host's own."""

    #: What is changed in the host's files, one after the other.
    edits: tuple[Callable[[Path], None], ...]
    #: How the host makes its first revision, and the ones after it.
    first: str
    later: str
    #: Whether the host's own upgrade brings chatstore's tables.
    brings: bool


REVISION = "revision --autogenerate -m notes"
WAYS = {
    "two commands": Way((hidden,), REVISION, REVISION, brings=False),
    "one history": Way(
        (joined, one_history),
        f"{REVISION} --head base --branch-label app --version-path migrations/versions",
        f"{REVISION} --head app@head",
        brings=True,
    ),
    "at the end of env.py": Way((joined,), REVISION, REVISION, brings=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_live_beside_a_host(url: str, way: str, tmp_path: Path) -> None:
    """Online, offline and from a program both are at their heads, and neither proposes to change the other's."""
    edits, first, later, brings = WAYS[way]
    started(tmp_path, url)
    for edit in edits:
        edit(tmp_path)
    if way == "one history":  # Alembic makes no revision while another head is behind
        alembic(tmp_path, "upgrade heads")
    alembic(tmp_path, first)

    alembic(tmp_path, "upgrade heads")
    assert brings is bool(current(url))
    run(tmp_path, "-m", "chatstore", "upgrade", "--url", url)
    assert (current(url), check(url)) == (HEAD, [])
    with connect(url) as repository:
        repository.add_messages("kept", [HumanMessage("Hello!")])
        said = alembic(tmp_path, "check", later, "upgrade heads")
        assert "No new upgrade operations detected." in said
        assert "chatstore" not in revisions(tmp_path).replace("chatstore_0", "")
        assert ["Hello!"] == [message.content for message in repository.get_messages("kept")]
    assert len(set(homes(url))) == 1

    wiped(url)
    script = alembic(tmp_path, "upgrade heads --sql")
    assert (current(url), tables(url)) == (None, set())
    executed(url, script)
    assert (HEAD if brings else None, {"alembic_version", "notes"}) == (current(url), tables(url))
    wiped(url)
    run(tmp_path, "-c", HOSTS_PROGRAM)
    assert (HEAD if brings else None, {"alembic_version", "notes"}) == (current(url), tables(url))


def homes(url: str) -> list[str]:
    """Return the version tables in which a revision of chatstore's stands."""
    engine, found = create_engine(url), []
    with engine.connect() as connection:
        for name in ("alembic_version", "chatstore_alembic_version"):
            if inspect(connection).has_table(name):
                versions = connection.execute(text(f"SELECT version_num FROM {name}")).scalars()
                found += [name for version in versions if version.startswith("chatstore_")]
    engine.dispose()
    return found


def wiped(url: str) -> None:
    """Take everything out of the database: what chatstore's downgrade leaves, and the host's tables."""
    engine = create_engine(url)
    with engine.begin() as connection:
        if homes(url) == [
            "alembic_version"
        ]:  # a host's own history goes down by itself; here only its tables matter
            connection.execute(
                text("CREATE TABLE chatstore_alembic_version (version_num VARCHAR(32) NOT NULL)")
            )
            connection.execute(text("INSERT INTO chatstore_alembic_version VALUES (:head)"), {"head": HEAD})
            connection.execute(text("DELETE FROM alembic_version"))
    if current(url):
        downgrade(url, "base")
    with engine.begin() as connection:
        for name in inspect(connection).get_table_names():
            connection.execute(text(f"DROP TABLE {name}"))
    engine.dispose()


@pytest.mark.parametrize("template", ["generic", "async", "pyproject", "pyproject_async"])
def test_a_template_of_alembics(url: str, template: str, tmp_path: Path) -> None:
    """One line; then `upgrade` brings ours along, at head too, `--sql` writes it, and nothing else touches it."""
    parts = make_url(url)
    mine = parts.set(drivername=ASYNCHRONOUS[parts.get_backend_name()]) if "async" in template else parts
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")
    alembic(tmp_path, f"init -t {template} migrations")
    shown = mine.render_as_string(hide_password=False).replace("%", "%%")
    edited(tmp_path / "alembic.ini", ("^sqlalchemy.url = .*", f"sqlalchemy.url = {shown}"))
    metadata = "from models import metadata as target_metadata"
    edited(tmp_path / "migrations" / "env.py", ("^target_metadata = None$", metadata))
    joined(tmp_path)

    alembic(tmp_path, "revision --autogenerate -m upgrade", "current", "stamp base", "history -i")
    script = alembic(tmp_path, "upgrade head --sql")
    assert (current(url), tables(url)) == (None, {"alembic_version"})
    alembic(tmp_path, "upgrade head")
    assert (current(url), tables(url), check(url)) == (HEAD, {"alembic_version", "notes"}, [])
    downgrade(url, "base")
    said = alembic(tmp_path, "upgrade head", "check", "revision --autogenerate -m more")
    assert "No new upgrade operations detected." in said
    assert "chatstore" not in revisions(tmp_path)
    alembic(tmp_path, "downgrade base")
    assert (current(url), tables(url)) == (HEAD, {"alembic_version"})

    downgrade(url, "base")
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in ("alembic_version", "chatstore_alembic_version"):
            connection.execute(text(f"DROP TABLE {table}"))
    engine.dispose()
    executed(url, script)
    assert (current(url), tables(url), check(url)) == (HEAD, {"alembic_version", "notes"}, [])


def test_alembics_template_for_several_databases(url: str, chats_url: str, tmp_path: Path) -> None:
    """With `engine_name=`, ours is in that database alone: online, and in that database's own script."""
    alembic(tmp_path, "init -t multidb migrations")
    one, two = (each.replace("%", "%%") for each in (url, chats_url))
    edited(
        tmp_path / "alembic.ini",
        ("^databases = .*", "databases = main, chats"),
        (r"^\[engine1\]\nsqlalchemy.url = .*", f"[main]\nsqlalchemy.url = {one}"),
        (r"^\[engine2\]\nsqlalchemy.url = .*", f"[chats]\nsqlalchemy.url = {two}"),
    )
    metadata = (
        "from sqlalchemy import MetaData\n\ntarget_metadata = {'main': MetaData(), 'chats': MetaData()}"
    )
    edited(tmp_path / "migrations" / "env.py", (r"^target_metadata = \{\}$", metadata))
    joined(tmp_path, ", engine_name='chats'")
    alembic(tmp_path, "revision -m upgrade", "upgrade head --sql")
    assert (current(url), current(chats_url)) == (None, None)
    scripts = [(tmp_path / f"{name}.sql").read_text(encoding="utf-8") for name in ("main", "chats")]
    assert ["chatstore" in script for script in scripts] == [False, True]
    for _ in range(2):
        alembic(tmp_path, "upgrade head")
        assert (current(url), current(chats_url)) == (None, HEAD)
        alembic(tmp_path, "check")
    alembic(tmp_path, "downgrade base")
    assert current(chats_url) == HEAD


@pytest.mark.parametrize("told", ["by a line", "by the extension"])
def test_flask_migrate(url: str, told: str, tmp_path: Path) -> None:
    """The same for `flask db …`, and for `flask_migrate.upgrade()` in a program; the extension needs no line."""
    (tmp_path / "app.py").write_text(FLASK if told == "by a line" else FLASK + EXTENSION, encoding="utf-8")

    def flask(*words: str) -> str:
        return run(tmp_path, "-m", "flask", "--app", "app", "db", *words, MAIN_URL=url)

    flask("init")
    if told == "by a line":
        joined(tmp_path)
    flask("migrate", "-m", "notes")
    flask("revision", "-m", "upgrade")
    script = flask("upgrade", "--sql")
    assert (current(url), tables(url)) == (None, {"alembic_version"})
    assert "INSERT INTO chatstore_alembic_version" in script
    flask("upgrade")
    assert (current(url), tables(url), check(url)) == (HEAD, {"alembic_version", "note"}, [])
    flask("migrate", "-m", "more")
    assert "chatstore" not in revisions(tmp_path)
    assert "No new upgrade operations detected." in flask("check")
    downgrade(url, "base")
    run(tmp_path, "-c", PROGRAM, MAIN_URL=url)
    assert (current(url), check(url)) == (HEAD, [])
    flask("downgrade", "base")
    assert (current(url), tables(url)) == (HEAD, {"alembic_version"})


def test_flask_migrate_with_several_databases(url: str, chats_url: str, tmp_path: Path) -> None:
    """With `engine_name=` of a bind, ours is in that bind's database alone."""
    (tmp_path / "app.py").write_text(FLASK, encoding="utf-8")

    def flask(*words: str, fails: bool = False) -> str:
        words = ("-m", "flask", "--app", "app", "db", *words)
        return run(tmp_path, *words, fails=fails, MAIN_URL=url, CHATS_URL=chats_url)

    flask("init", "--multidb")
    joined(tmp_path)
    assert "say in which one chatstore's tables are" in flask("migrate", "-m", "notes", fails=True)
    edited(tmp_path / "migrations" / "env.py", (r"add_to\(context\)", "add_to(context, engine_name='chats')"))
    flask("migrate", "-m", "notes")
    flask("upgrade", "--sql")
    assert (current(url), current(chats_url)) == (None, None)
    assert "chatstore" in (tmp_path / "chats.sql").read_text(encoding="utf-8")
    for _ in range(2):
        flask("upgrade")
        assert (current(url), current(chats_url), check(chats_url)) == (None, HEAD, [])
        assert tables(url) == {"alembic_version", "note"}
    flask("migrate", "-m", "more")
    assert "chatstore" not in revisions(tmp_path)


def test_the_extension_with_several_databases(url: str, chats_url: str, tmp_path: Path) -> None:
    """With CHATSTORE_BIND_KEY, ours is in that bind's database alone; no line says so."""
    (tmp_path / "app.py").write_text(FLASK + EXTENSION, encoding="utf-8")

    def flask(*words: str) -> str:
        words = ("-m", "flask", "--app", "app", *words)
        return run(tmp_path, *words, MAIN_URL=url, CHATS_URL=chats_url, FLASK_CHATSTORE_BIND_KEY="chats")

    flask("db", "init", "--multidb")
    flask("db", "migrate", "-m", "notes")
    flask("db", "upgrade", "--sql")
    assert (current(url), current(chats_url)) == (None, None)
    assert [False, True] == ["chatstore" in (tmp_path / f"{name}.sql").read_text() for name in ("", "chats")]
    for _ in range(2):
        flask("db", "upgrade")
        assert (current(url), current(chats_url), check(chats_url)) == (None, HEAD, [])
    flask("db", "migrate", "-m", "more")
    assert "chatstore" not in revisions(tmp_path)
    assert f"{HEAD} (head)" in flask("chatstore", "current")


def test_the_extension_and_a_line_are_one(url: str, tmp_path: Path) -> None:
    """Where the line stands in env.py too, a script has ours in it once."""
    (tmp_path / "app.py").write_text(FLASK + EXTENSION, encoding="utf-8")

    def flask(*words: str) -> str:
        return run(tmp_path, "-m", "flask", "--app", "app", "db", *words, MAIN_URL=url)

    flask("init")
    joined(tmp_path)
    assert 1 == flask("upgrade", "--sql").count("CREATE TABLE chatstore_sessions")


@pytest.mark.parametrize("place", ["elsewhere", "the same"])
def test_the_extension_with_a_url_of_its_own(url: str, chats_url: str, place: str, tmp_path: Path) -> None:
    """With CHATSTORE_URL, `flask db` sees no tables of ours and brings none: `flask chatstore upgrade` does."""
    (tmp_path / "app.py").write_text(FLASK + EXTENSION, encoding="utf-8")
    own = url if place == "the same" else chats_url

    def flask(*words: str) -> str:
        return run(tmp_path, "-m", "flask", "--app", "app", *words, MAIN_URL=url, FLASK_CHATSTORE_URL=own)

    flask("db", "init")
    flask("chatstore", "upgrade")
    flask("db", "migrate", "-m", "notes")
    flask("db", "upgrade")
    assert "No new upgrade operations detected." in flask("db", "check")
    assert "chatstore" not in revisions(tmp_path)
    assert [current(url), current(own), check(own)] == [HEAD if own == url else None, HEAD, []]
    assert {"alembic_version", "note"} == tables(url)
