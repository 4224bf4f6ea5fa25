"""Applications with an Alembic of their own: each template of Alembic and of Flask-Migrate, with the one line in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from chatstore.migrations import HEAD, check, current, downgrade
from tests import servers
from tests.snippets import ROOT
from tests.sql.scripts import executed

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def test_flask_migrate(url: str, tmp_path: Path) -> None:
    """The same for `flask db …`, and for `flask_migrate.upgrade()` in a program."""
    (tmp_path / "app.py").write_text(FLASK, encoding="utf-8")

    def flask(*words: str) -> str:
        return run(tmp_path, "-m", "flask", "--app", "app", "db", *words, MAIN_URL=url)

    flask("init")
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
