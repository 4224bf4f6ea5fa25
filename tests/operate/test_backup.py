"""The backups of docs/how-to/operate.md, made while applications write, restore to what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import chatstore
from chatstore.cli import main
from chatstore.cli.samples import store
from chatstore.messages import HumanMessage
from chatstore.migrations import check, current, upgrade
from tests.operate import clusters
from tests.operate.writing import writing

if TYPE_CHECKING:
    from pathlib import Path

#: A word of each block of the page, and the tools that it runs.
BLOCKS = {"postgres": ("pg_dump", ("pg_dump", "createdb", "pg_restore"))}
BLOCKS["mariadb"] = ("mariadb-dump", ("mariadb-dump", "mariadb-admin", "mariadb"))


def fill(url: str) -> None:
    """Store the sample conversations, and what a database cannot hold as it is."""
    with chatstore.connect(url) as repository:
        store(repository)
        repository.add_messages(
            "hostile", [HumanMessage("NUL \0, half \ud800, flag 🏳️‍🌈, quote ' \\ \"\n\tend")]
        )


def export(url: str) -> str:
    """Return all that is stored but what the applications wrote, as `chatstore export` writes it."""
    done = CliRunner().invoke(main, ["export", "--all", "--url", url])
    assert done.exit_code == 0, done.output
    return "\n".join(line for line in done.stdout.splitlines() if "writer-" not in line)


def assert_whole(url: str, owner: str, before: str, acknowledged: dict[str, list[str]]) -> None:
    """Assert that the copy at *url* is one moment's state, that nothing from before is missing, and that it works."""
    assert [] == check(owner)
    assert current(owner) is not None
    assert before == export(url)
    with chatstore.connect(url) as copy:
        for name, told in acknowledged.items():
            found = [message.content for message in copy.get_messages(name)]
            assert 0 < len(found) == copy.get_session(name).message_count <= len(told)
            assert told[: len(found)] == found
        assert copy.search("needle", limit=1)
        record = copy.add_messages("writer-0", [HumanMessage("After the restore")])[0]
        assert record.position == copy.get_session("writer-0").last_position
        assert copy.search("restore")
    doctor = CliRunner().invoke(main, ["doctor", "--url", url])
    assert doctor.exit_code == 0, doctor.output


@pytest.mark.parametrize("kind", clusters.KINDS)
def test_a_dump_restores(kind: str, tmp_path: Path) -> None:
    """The page's commands, with three applications appending: rows, views, index and the accounts' rights are back."""
    word, tools = BLOCKS[kind]
    for tool in tools:
        clusters.need_tool(tool)
    dump, *restore = clusters.written("sh", word).splitlines()
    with clusters.ready(kind) as cluster:
        app = cluster.url("chat_app")
        fill(app)
        before = export(app)
        with writing(app) as writers:
            cluster.shell(dump, tmp_path)
        assert [] == writers.errors
        cluster.shell("\n".join(restore), tmp_path)
        if kind == "mariadb":  # where rights are the server's and name the database
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                cluster.run(
                    f"GRANT {right} ON restored.* TO chat_app;\nGRANT {right} ON restored.* TO chat_owner"
                )

        restored = cluster.url("chat_app", "restored")
        assert_whole(restored, cluster.url("chat_owner", "restored"), before, writers.stored)


def test_a_schema_of_its_own_is_dumped_alone(tmp_path: Path) -> None:
    """`pg_dump --schema=chat` has all that chatstore needs, and nothing of the application's."""
    for tool in BLOCKS["postgres"][1]:
        clusters.need_tool(tool)
    with clusters.started("postgres") as cluster:
        cluster.run("GRANT CREATE ON DATABASE app TO chat_owner;\nCREATE TABLE customers (id INT)")
        owner = cluster.url("chat_owner")
        upgrade(owner, schema="chat")
        with chatstore.connect(owner, schema="chat") as repository:
            repository.add_messages("s", [HumanMessage("a needle")])

        cluster.shell(
            "pg_dump --format=custom --schema=chat --file=chat.dump app; createdb restored; "
            "pg_restore --exit-on-error --dbname=restored chat.dump",
            tmp_path,
        )

        with chatstore.connect(cluster.url("chat_owner", "restored"), schema="chat") as copy:
            assert ["s"] == [hit.session_id for hit in copy.search("needle")]
            assert [] == check(cluster.url("chat_owner", "restored"), schema="chat")
        with pytest.raises(AssertionError, match="customers"):
            cluster.shell("psql --no-psqlrc -c 'SELECT * FROM customers' restored", tmp_path)


def test_a_sqlite_file_is_copied_while_it_is_written(tmp_path: Path) -> None:
    """SQLite's own command makes a whole file of a moment."""
    clusters.need_tool("sqlite3")
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    fill(url)
    before = export(url)
    with writing(url) as writers:
        clusters.bash(clusters.written("sh", ".backup"), tmp_path)

    restored = f"sqlite:///{tmp_path / 'restored.db'}"
    assert [] == writers.errors
    assert_whole(restored, restored, before, writers.stored)
