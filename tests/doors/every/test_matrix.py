"""The matrix: what one framework wrote is read by every other, and is what it was when the first one reads it again."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import chatstore
from chatstore import AIMessage, ToolMessage
from tests.doors.frameworks import FRAMEWORKS, extra_of, is_here

ROOT = Path(__file__).parents[3]
#: An id that each door can be asked for: Google's is made of application, user and name, Claude's of project, session
#: and subagent.
SESSION = "garden/ada/tomatoes"
#: Whose it is.
OWNER = {"tenant_id": "garden", "user_id": "ada"}
DRIVERS: dict[str, Any] = {
    name: importlib.import_module(f"tests.doors.{name}.driver") for name in FRAMEWORKS if is_here(name)
}
DRIVERS["langchain"] = importlib.import_module("tests.doors.langchain_driver")
DOORS = [*DRIVERS]
#: What stands in the column `source` where that is not the extra's name.
SOURCES = {"langchain": None, "serve": "openai-conversations"}
SAID = ["question", "climate", "output", "answer"]
#: What stands in nothing but a call: its argument, as JSON without blanks and what quotes it.
CALL = 'city":"{}"'


async def write(url: str, door: str, label: str) -> None:
    """Store a turn by *door*."""
    driver = DRIVERS[door]
    async with chatstore.connect_async(url) as store:
        await driver.append(store.scope(**OWNER), SESSION, driver.turn(label))


async def read(url: str, door: str) -> list[Any]:
    """Return the conversation as *door* gives it."""
    async with chatstore.connect_async(url) as store:
        items: list[Any] = await DRIVERS[door].read(store.scope(**OWNER), SESSION)
        return items


def told(item: Any) -> str:
    """Return all that *item* says, as JSON: what is JSON inside of it looks as if it were not."""
    text = json.dumps(item, default=lambda message: message.model_dump(include={"content", "tool_calls"}))
    return text.replace("\\", "").replace(": ", ":")


@pytest.mark.parametrize("reader", DOORS)
@pytest.mark.parametrize("writer", DOORS)
def test_written_by_one_read_by_another(writer: str, reader: str, durable: str) -> None:
    """Law: the reader gets all that the writer said; both then get their own part back deep-equal, and the other's."""
    asyncio.run(write(durable, writer, "first"))
    seen = asyncio.run(read(durable, reader))
    asyncio.run(write(durable, reader, "second"))
    by_writer, by_reader = asyncio.run(read(durable, writer)), asyncio.run(read(durable, reader))

    ours, theirs = DRIVERS[writer].turn("first"), DRIVERS[reader].turn("second")
    assert ours == by_writer[: len(ours)]
    assert theirs == by_reader[-len(theirs) :]
    assert things("first") == spoken(seen)
    assert 8 == len(spoken(by_writer)) == len(spoken(by_reader))


def things(label: str) -> list[str]:
    """Return what each of the four things that a turn of *label* says has in it, in order."""
    return [CALL.format(label) if word == "climate" else f"{label} {word}" for word in SAID]


def spoken(items: list[Any]) -> list[str]:
    """Return which of the things that the turns say are said, in order: an item may say several, or none."""
    wanted = [*things("first"), *things("second")]
    return [thing for item in items for thing in wanted if thing in told(item)]


@pytest.mark.parametrize("writer", DOORS)
def test_what_everybody_sees(writer: str, durable: str) -> None:
    """Law: whatever wrote it, a conversation is listed, found, counted and read, and its columns are filled."""
    asyncio.run(write(durable, writer, "first"))

    with chatstore.connect(durable) as store:
        (session,) = store.list_sessions().items
        assert (SESSION, 4) == (session.session_id, session.message_count)
        assert ["first answer"] == [hit.content for hit in store.search("answer")]
        messages = store.get_messages(SESSION)
    _, call, output, answer = messages
    assert ["first question", "", "first output", "first answer"] == [message.text for message in messages]
    assert isinstance(call, AIMessage)
    assert [("climate", {"city": "first"}, "first")] == [
        (one["name"], one["args"], one["id"]) for one in call.tool_calls
    ]
    assert isinstance(output, ToolMessage)
    assert isinstance(answer, AIMessage)
    assert [
        ("human", "first question", None),
        ("ai", "", None),
        ("tool", "first output", "first"),
        ("ai", "first answer", None),
    ] == columns(durable, "type, content, tool_call_id")
    source = SOURCES.get(writer, extra_of(writer))
    assert [(source,)] * 4 == columns(durable, "source")


@pytest.mark.parametrize("door", [name for name in DOORS if hasattr(DRIVERS[name], "listed")])
@pytest.mark.parametrize("writer", DOORS)
def test_what_other_doors_list_and_find(writer: str, door: str, durable: str) -> None:
    """Law: a door that lists, or searches, has the conversations of its user, whatever wrote them."""
    asyncio.run(write(durable, writer, "first"))

    async def look() -> tuple[list[str], list[str]]:
        async with chatstore.connect_async(durable) as store:
            scope, driver = store.scope(**OWNER), DRIVERS[door]
            found = (
                await driver.searched(scope, "answer") if hasattr(driver, "searched") else ["first answer"]
            )
            return await driver.listed(scope), found

    assert ([{"google_adk": "tomatoes"}.get(door, SESSION)], ["first answer"]) == asyncio.run(look())


@pytest.mark.parametrize("writer", DOORS)
def test_the_command_line_shows_and_exports_it(writer: str, durable: str) -> None:
    """Law: `chatstore show` and `chatstore export` have every word of it."""
    asyncio.run(write(durable, writer, "first"))

    for command in (["show", SESSION], ["export", SESSION, "--format", "openai"]):
        run = subprocess.run(
            [sys.executable, "-m", "chatstore", *command, "--url", durable],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == run.returncode, run.stderr
        assert [] == [word for word in SAID if word not in run.stdout], run.stdout


def columns(url: str, names: str) -> list[tuple[Any, ...]]:
    """Return columns of the stored messages, in order."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT {names} FROM chatstore_messages ORDER BY position"))
        rows = [tuple(row) for row in found]
    engine.dispose()
    return rows
