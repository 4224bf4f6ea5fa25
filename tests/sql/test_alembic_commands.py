"""Alembic's own commands in a checkout, and with the ini printed for whoever installed the package."""

from __future__ import annotations

import configparser
import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import make_url, text

from chatstore.backends.sql import migrations
from chatstore.backends.sql.models import HEAD
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.config import Config
    from sqlalchemy import Engine

ROOT = Path(__file__).parents[2]
PASSWORD = "p%40:/@ü"


def alembic(*arguments: str, cwd: Path = ROOT, fails: bool = False, **environment: str) -> str:
    """Run Alembic's command in a folder; return what it prints, the errors too."""
    return run([sys.executable, "-m", "alembic", *arguments], cwd=cwd, fails=fails, **environment)


def run(words: list[str], *, cwd: Path = ROOT, fails: bool = False, **environment: str) -> str:
    """Run a program that must end well, or fail with an exit code and no traceback; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSTORE_")}
    kept |= {"PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(words, cwd=cwd, env=kept, capture_output=True, encoding="utf-8", check=False)
    said = done.stdout + done.stderr
    assert bool(done.returncode) is fails, said
    assert "Traceback" not in said
    return said


def write_ini(folder: Path, url: str | None = None, *, raw: bool = False) -> None:
    """Write the printed ini into *folder*, with *url* in it, its % doubled unless *raw*."""
    ini = migrations.alembic_ini()
    if url is not None:
        line = f"sqlalchemy.url = {url if raw else url.replace('%', '%%')}"
        ini = ini.replace("path_separator = newline", f"path_separator = newline\n{line}")
    (folder / "alembic.ini").write_text(ini, encoding="utf-8")


def test_the_commands_of_a_checkout(sqlite_url: str) -> None:
    """`upgrade`, `current`, `check` and `downgrade` do in the checkout what they say, on CHATSTORE_URL."""
    alembic("upgrade", "head", CHATSTORE_URL=sqlite_url)
    assert migrations.check(sqlite_url) == []
    assert f"{HEAD} (head)" in alembic("current", CHATSTORE_URL=sqlite_url)
    assert "No new upgrade operations detected." in alembic("check", CHATSTORE_URL=sqlite_url)
    alembic("downgrade", "-1", CHATSTORE_URL=sqlite_url)
    assert migrations.current(sqlite_url) == f"chatstore_{int(HEAD[-4:]) - 1:04}"
    assert "not up to date" in alembic("check", CHATSTORE_URL=sqlite_url, fails=True)
    alembic("downgrade", "base", CHATSTORE_URL=sqlite_url)
    assert migrations.current(sqlite_url) is None


@pytest.mark.wide  # each command is a process of its own
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_the_commands_on_a_server(kind: str) -> None:
    """The same commands, in one process, on a server: each ends well, and nothing is left at the end."""
    program = (
        "from alembic.config import main\n"
        "lines = ('upgrade head', 'current', 'check', 'downgrade -1', 'upgrade head --sql', "
        "'upgrade +1', 'current', 'downgrade base', 'current')\n"
        "for line in lines: main(line.split())"
    )
    with servers.fresh_database(kind) as url:
        said = run([sys.executable, "-c", program], CHATSTORE_URL=url)
        assert said.count("(head)") == 2
        assert said.count("No new upgrade operations detected.") == 1
        assert migrations.current(url) is None


def test_the_script_is_the_one_we_write(sqlite_url: str) -> None:
    """`upgrade --sql` prints the script of `upgrade_sql`, and `downgrade --sql` one that takes it back."""
    printed = alembic("-x", f"url={sqlite_url}", "upgrade", "head", "--sql")
    assert migrations.upgrade_sql(sqlite_url) in printed
    assert migrations.upgrade_sql("mssql") in alembic(
        "-x", "url=mssql+pymssql://h/d", "upgrade", "head", "--sql"
    )
    back = alembic("-x", f"url={sqlite_url}", "downgrade", f"{HEAD}:base", "--sql")
    dropped = ["chatstore_messages_fts;", "VIEW IF EXISTS chatstore_transcript;", "TABLE chatstore_sessions;"]
    assert [word for word in dropped if word not in back] == []
    assert not Path(make_url(sqlite_url).database or "").exists()


@pytest.mark.wide
def test_where_the_url_comes_from(tmp_path: Path) -> None:
    """-x url= comes before CHATSTORE_URL, and that before the ini; without any there is a line of advice."""
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("argument", "environment", "ini")]
    write_ini(tmp_path, urls[2])
    arguments = ("-x", f"url={urls[0]}", "upgrade", "head")
    alembic(*arguments, cwd=tmp_path, CHATSTORE_URL=urls[1])
    assert [migrations.current(url) for url in urls] == [HEAD, None, None]
    alembic("upgrade", "head", cwd=tmp_path, CHATSTORE_URL=urls[1])
    assert [migrations.current(url) for url in urls] == [HEAD, HEAD, None]
    alembic("upgrade", "head", cwd=tmp_path)
    assert [migrations.current(url) for url in urls] == [HEAD, HEAD, HEAD]
    write_ini(tmp_path)
    assert "set CHATSTORE_URL" in alembic("upgrade", "head", cwd=tmp_path, fails=True)


@pytest.mark.wide
@pytest.mark.parametrize(
    "words", ["upgrade head", "current", "check", "stamp base", "downgrade base", "history -i"]
)
def test_every_command_names_its_database(words: str, tmp_path: Path) -> None:
    """One line on the error stream, so that nobody migrates the ini's file unawares; -q leaves it out."""
    write_ini(tmp_path, "sqlite:///default.db")
    assert "database   sqlite:///default.db\n" in alembic("upgrade", "head", cwd=tmp_path)
    assert alembic(*words.split(), cwd=tmp_path).count("database   sqlite:///default.db\n") == 1
    assert "database   " not in alembic("-q", *words.split(), cwd=tmp_path)


def test_the_named_database_hides_its_secrets(tmp_path: Path) -> None:
    """Neither the password nor an option that is one is shown, and the script on standard output stays SQL."""
    write_ini(tmp_path)
    script = "import sys; from alembic.config import main; sys.stdout = open('out', 'w'); main()"
    url = "postgresql://ada:hunter2@db/chats?sslpassword=hunter3"
    words = [sys.executable, "-c", script, "upgrade", "head", "--sql"]
    said = run(words, cwd=tmp_path, CHATSTORE_URL=url, CHATSTORE_SCHEMA="one")
    assert "database   postgresql+psycopg://ada:***@db/chats?sslpassword=*** (schema one)\n" in said
    written = (tmp_path / "out").read_text(encoding="utf-8")
    assert written.startswith("BEGIN;\n\nCREATE SCHEMA IF NOT EXISTS one;\n\n")
    assert [
        word for word in ("hunter", "database   ") if word in said.replace("database   p", "") + written
    ] == []


@pytest.mark.wide
@pytest.mark.postgres
def test_where_the_schema_comes_from(postgres_url: str) -> None:
    """-x schema= comes before CHATSTORE_SCHEMA; the version table and the offline script follow it."""
    alembic("-x", "schema=one", "upgrade", "head", CHATSTORE_URL=postgres_url, CHATSTORE_SCHEMA="two")
    assert [migrations.current(postgres_url, schema=name) for name in ("one", "two", None)] == [
        HEAD,
        None,
        None,
    ]
    alembic("upgrade", "head", CHATSTORE_URL=postgres_url, CHATSTORE_SCHEMA="two")
    assert [migrations.current(postgres_url, schema=name) for name in ("one", "two", None)] == [
        HEAD,
        HEAD,
        None,
    ]
    alembic("check", CHATSTORE_URL=postgres_url, CHATSTORE_SCHEMA="two")
    script = alembic("-x", "schema=one", "upgrade", "head", "--sql", CHATSTORE_URL=postgres_url)
    assert migrations.upgrade_sql("postgresql", schema="one") in script


@pytest.mark.wide
@pytest.mark.mariadb
def test_a_password_survives(mariadb_url: str, tmp_path: Path, new_engine: Callable[..., Engine]) -> None:
    """A password with %, @, :, / and an umlaut reaches the server from every place a URL comes from."""
    user, host = f"cs_{secrets.token_hex(4)}", make_url(mariadb_url).host
    server = new_engine(mariadb_url)
    # PyMySQL sends passwords in Latin-1; the hash is what the server would keep of that
    scrambled = "*" + _sha1(_sha1(PASSWORD.encode("latin-1")).digest()).hexdigest().upper()
    with server.begin() as connection:
        connection.execute(text(f"CREATE USER {user}@'%' IDENTIFIED BY PASSWORD '{scrambled}'"))
        connection.execute(text(f"GRANT ALL ON *.* TO {user}@'%'"))
    assert host == "127.0.0.1"
    url = make_url(mariadb_url).set(username=user, password=PASSWORD).render_as_string(hide_password=False)
    try:
        for raw in (False, True):
            write_ini(tmp_path, url, raw=raw)
            assert HEAD in alembic("upgrade", "head", cwd=tmp_path) + alembic("current", cwd=tmp_path)
        alembic("downgrade", "base", CHATSTORE_URL=url)
        alembic("-x", f"url={url}", "upgrade", "head")
        assert migrations.current(url) == HEAD
        wrong = make_url(url).set(password="secret-word").render_as_string(hide_password=False)
        said = alembic("upgrade", "head", CHATSTORE_URL=wrong, fails=True)
        assert "refuses access" in said
        assert "secret-word" not in said
    finally:
        with server.begin() as connection:
            connection.execute(text(f"DROP USER {user}@'%'"))


def _sha1(data: bytes) -> Any:
    return hashlib.new("sha1", data, usedforsecurity=False)


def test_reading_commands_create_nothing(tmp_path: Path) -> None:
    """`current` and `check` on a SQLite file that is missing leave it missing; an empty one stays empty."""
    url = f"sqlite:///{tmp_path}/missing.db"
    assert HEAD not in alembic("current", CHATSTORE_URL=url)
    assert list(tmp_path.iterdir()) == []
    empty = tmp_path / "empty.db"
    empty.touch()
    alembic("check", CHATSTORE_URL=f"sqlite:///{empty}", fails=True)
    assert migrations.check(f"sqlite:///{empty}")[0][0] == "add_table"
    assert empty.stat().st_size <= 4096  # the header that switching to WAL writes, and no table


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("not a url", "write one like sqlite:///chat.db"),
        ("nosuchdatabase://host/name", "begin the URL with"),
        ("sqlite:////nowhere/at/all/chat.db", "check that its folder is there"),
    ],
)
def test_a_wrong_url_is_one_line_of_advice(url: str, advice: str) -> None:
    """What cannot be connected to fails with one line that says what to do, and without a traceback."""
    assert advice in alembic("upgrade", "head", CHATSTORE_URL=url, fails=True)


def test_both_inis_say_the_same() -> None:
    """The checkout's ini is the printed one but for where things are and which URL is the default."""
    printed, ours = (configparser.RawConfigParser() for _ in range(2))
    printed.read_string(migrations.alembic_ini())
    ours.read_string((ROOT / "alembic.ini").read_text(encoding="utf-8"))
    for name in ("script_location", "sqlalchemy.url", "prepend_sys_path"):
        printed.remove_option("alembic", name)
        ours.remove_option("alembic", name)
    assert {name: dict(printed[name]) for name in printed} == {name: dict(ours[name]) for name in ours}


def test_the_folder_of_the_migrations_is_no_package() -> None:
    """An __init__.py there would hide the library of the same name from whoever runs in the checkout."""
    assert list((ROOT / "alembic").rglob("__init__.py")) == []
    assert migrations.script_location() == ROOT / "alembic"
    assert migrations.version_location() == ROOT / "alembic" / "versions"


def test_a_configuration_for_alembics_functions(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, new_engine: Callable[..., Engine]
) -> None:
    """`config()` works with alembic.command, on CHATSTORE_URL or on a connection that is lent to it."""
    monkeypatch.setenv("CHATSTORE_URL", sqlite_url)
    command.upgrade(migrations.config(), "chatstore_0001")
    assert migrations.current(sqlite_url) == "chatstore_0001"
    with new_engine(sqlite_url).connect() as connection:
        lent = migrations.config()
        lent.attributes["connection"] = connection
        command.upgrade(lent, "head")
    assert migrations.current(sqlite_url) == HEAD
    monkeypatch.delenv("CHATSTORE_URL")
    with pytest.raises(CommandError, match=r"into the ini file$"):
        command.upgrade(migrations.config(), "head")


@pytest.mark.parametrize(
    "call", [command.check, lambda config: command.revision(config, "x", autogenerate=True)]
)
def test_the_advice_fits_what_alembic_says(
    call: Callable[[Config], Any], sqlite_url: str, plant: Any
) -> None:
    """A revision is asked for where one is unknown, and not where the database is behind."""
    plant("def upgrade(): pass\ndef downgrade(): pass\n")
    config = migrations.config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHATSTORE_URL", sqlite_url)
        command.upgrade(config, "chatstore_0001")

        with pytest.raises(CommandError) as caught:
            call(config)
        assert str(caught.value).startswith("Alembic refuses (Target database is not up to date): ")
        with pytest.raises(CommandError, match="name a revision from"):
            command.upgrade(config, "bogus")


@pytest.mark.wide
@pytest.mark.parametrize("taken", ["renamed", "dropped"])
def test_tables_of_unknown_revision_are_looked_at(
    taken: str, any_url: str, monkeypatch: pytest.MonkeyPatch, new_engine: Callable[..., Engine]
) -> None:
    """Alembic's own upgrade takes tables without a version table as they should be only; a stamp takes any."""
    monkeypatch.setenv("CHATSTORE_URL", any_url)
    migrations.upgrade(any_url)
    with new_engine(any_url).begin() as connection:
        connection.execute(text(f"DROP TABLE {migrations.VERSION_TABLE}"))
        if taken == "renamed":
            connection.execute(text("ALTER TABLE chatstore_messages RENAME COLUMN name TO nickname"))

    if taken == "renamed":
        with pytest.raises(CommandError, match="not as this release expects"):
            command.upgrade(migrations.config(), "head")
        assert migrations.current(any_url) is None
        command.stamp(migrations.config(), "head")
    else:
        command.upgrade(migrations.config(), "head")

    assert HEAD == migrations.current(any_url)
