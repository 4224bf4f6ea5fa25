"""`ChatstoreSessionStore`: the SDK's own suite, its own runs, and what others read of a transcript."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest
from claude_agent_sdk import (
    ResultMessage,
    fold_session_summary,
    list_sessions_from_store,
    project_key_for_directory,
)
from claude_agent_sdk.testing import run_session_store_conformance

import chatstore
from chatstore import AIMessage, HumanMessage, ToolMessage
from chatstore.errors import InvalidMessage, SessionExists
from chatstore.integrations.claude_agent import ChatstoreSessionStore
from tests import servers
from tests.doors.claude_agent.cli import SESSION, converse
from tests.doors.claude_agent.driver import turn

ROOT = Path(__file__).parents[3]
KEY: Any = {"project_key": "proj", "session_id": SESSION}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis"])
def test_the_suite_of_the_sdk(kind: str) -> None:
    """Law: all fourteen contracts of the SDK hold, on every kind of storage."""
    made = 0

    async def main(url: str) -> None:
        async with chatstore.connect_async(url) as store:

            async def make() -> Any:
                nonlocal made
                made += 1
                for session in (await store.list_sessions(limit=1_000)).items:
                    await store.delete_session(session.session_id)
                return ChatstoreSessionStore(store)

            await run_session_store_conformance(make)
            await make()

    if kind == "memory":
        asyncio.run(main("memory:"))
    elif kind == "redis":
        asyncio.run(main(f"{servers.obtain('redis')}?key_prefix=claude-{os.getpid()}"))
    else:
        with servers.migrated_url(kind) as url:
            asyncio.run(main(url))
    assert made > 14


def test_a_transcript_of_another_owner_is_refused(store: chatstore.Repository) -> None:
    """Law: in a scope, another owner's transcript looks as if it were not there, and is not written to."""

    async def main() -> None:
        async with (
            ChatstoreSessionStore(store.scope(user_id="ada")) as hers,
            ChatstoreSessionStore(store.scope(user_id="bob")) as his,
        ):
            await hers.append(KEY, turn("one"))
            assert await his.load(KEY) is None
            assert [] == await his.list_sessions("proj")
            with pytest.raises(SessionExists):
                await his.append(KEY, turn("two"))
            assert turn("one") == await hers.load(KEY)

    asyncio.run(main())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the SDK's key of a project in a folder of its own."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    return str(project_key_for_directory(str(tmp_path)))


@pytest.mark.parametrize("flush", ["eager", "batched"])
def test_a_run(
    flush: Literal["eager", "batched"], store: chatstore.Repository, project: str, tmp_path: Path
) -> None:
    """Law: what the SDK mirrors is there, deep-equal, with its summary; sent again it is not there twice."""
    key: Any = {"project_key": project, "session_id": SESSION}
    title = {"type": "custom-title", "customTitle": "Tomatoes", "sessionId": SESSION}
    lines = [*turn("one"), title, *turn("two")]

    async def main() -> None:
        async with ChatstoreSessionStore(store) as door:
            heard = await converse(door, project, [lines[:3], lines[3:4], lines[4:]], flush)
            assert [ResultMessage] == [type(message) for message in heard]
            assert lines == await door.load(key)
            await converse(door, project, [turn("one")], flush)
            assert lines == await door.load(key)
            (summary,) = await door.list_session_summaries(project)
            assert fold_session_summary(None, key, lines)["data"] == summary["data"]
            (info,) = await list_sessions_from_store(door, directory=str(tmp_path))
            assert ("Tomatoes", SESSION) == (info.custom_title, info.session_id)

    asyncio.run(main())
    said = [(type(message), message.text) for message in store.get_messages(f"{project}/{SESSION}", limit=4)]
    assert [
        (HumanMessage, "one question"),
        (AIMessage, ""),
        (ToolMessage, "one output"),
        (AIMessage, "one answer"),
    ] == said
    counted = {row.model: (row.input_tokens, row.output_tokens) for row in store.usage(by=("model",))}
    assert (28, 8) == counted["claude-test"]
    assert [f"{project}/{SESSION}"] == [hit.session_id for hit in store.search("question two")]


def test_an_answer_of_several_lines_is_counted_once(store: chatstore.Repository) -> None:
    """Law: the lines of one answer repeat its tokens; they count once, also across appends and repeated ones."""
    lines: list[Any] = [
        {
            "type": "assistant",
            "uuid": str(number),
            "message": {
                "role": "assistant",
                "id": "msg",
                "content": [],
                "usage": {"input_tokens": 7, "output_tokens": 2},
            },
        }
        for number in range(3)
    ]

    async def main() -> None:
        async with ChatstoreSessionStore(store) as door:
            await door.append(KEY, lines[:1])
            await door.append(KEY, lines[1:])
            await door.append(KEY, lines)
            assert lines == await door.load(KEY)

    asyncio.run(main())
    (row,) = store.usage(by=("session_id",))
    assert (7, 2, 3) == (row.input_tokens, row.output_tokens, row.messages)


def test_what_is_no_json_is_refused_whole(store: chatstore.Repository) -> None:
    """Law: a line that would not come back equal stores nothing, neither itself nor those beside it."""

    async def main() -> None:
        async with ChatstoreSessionStore(store) as door:
            with pytest.raises(InvalidMessage):
                await door.append(KEY, [*turn("one"), {"type": "x", "value": float("nan")}])
            assert await door.load(KEY) is None
            assert [] == await door.list_sessions("proj")

    asyncio.run(main())


def test_odd_lines_come_back_equal(store: chatstore.Repository) -> None:
    """Law: lines that are not shaped like any the SDK writes today come back deep-equal, repeats included."""
    lines: list[Any] = [
        {"type": "system", "subtype": "init", "content": "text"},
        {"type": "human", "x": 1},
        {"type": "a type that is much longer than a column", "nul": "a\u0000b \ud800"},
        {"type": "user", "message": "no object"},
        {
            "type": "user",
            "uuid": "",
            "message": {"role": "user", "content": [{"type": "image", "source": {}}]},
        },
        {
            "type": "assistant",
            "message": {"content": [{"type": "tool_use", "input": "text"}], "usage": "none"},
        },
        {"type": "summary", "summary": "About tomatoes", "leafUuid": "1"},
        {},
    ]

    async def main() -> None:
        async with ChatstoreSessionStore(store) as door:
            await door.append(KEY, lines)
            await door.append(KEY, lines)
            assert lines + lines == await door.load(KEY)

    asyncio.run(main())


def test_what_another_framework_wrote(store: chatstore.Repository) -> None:
    """Law: it comes as lines that the SDK reads as the same conversation, behind those of its own."""
    call = {"name": "climate", "args": {"city": "Graz"}, "id": "c1", "type": "tool_call"}

    async def main() -> list[Any]:
        async with ChatstoreSessionStore(store) as door:
            await door.append(KEY, turn("one"))
            store.add_messages(
                f"proj/{SESSION}",
                [
                    HumanMessage("And in Graz?"),
                    AIMessage("", tool_calls=[call]),
                    ToolMessage("mild", tool_call_id="c1"),
                ],
            )
            return await door.load(KEY) or []

    lines = asyncio.run(main())
    assert turn("one") == lines[:4]
    assert [
        {"role": "user", "content": "And in Graz?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "climate", "input": {"city": "Graz"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "mild"}]},
    ] == [line["message"] for line in lines[4:]]
    assert [line["uuid"] for line in lines[3:-1]] == [line["parentUuid"] for line in lines[4:]]


def test_summaries_of_writers_at_once(durable: str) -> None:
    """Law: of appends at the same time none is missing in the summary."""

    async def main() -> None:
        async with chatstore.connect_async(durable) as store:
            door = ChatstoreSessionStore(store)
            titles: list[Any] = [{"type": "x", "uuid": str(n), "customTitle": str(n)} for n in range(20)]
            await asyncio.gather(*(door.append(KEY, [title]) for title in titles))
            stored = await door.load(KEY) or []
            (summary,) = await door.list_session_summaries("proj")
            assert sorted(map(json.dumps, titles)) == sorted(map(json.dumps, stored))
            assert fold_session_summary(None, KEY, stored)["data"] == summary["data"]

    asyncio.run(main())


KILLED = """
import asyncio, sys
from tests.doors.frameworks import quietly
quietly("claude_agent")
import chatstore
from chatstore.integrations.claude_agent import ChatstoreSessionStore
from tests.doors.claude_agent.driver import turn
from tests.doors.claude_agent.cli import converse

async def main():
    async with chatstore.connect_async(sys.argv[1]) as store:
        frames = [turn(str(number)) for number in range(2_000)]
        await converse(ChatstoreSessionStore(store), "proj", frames, sys.argv[2])

asyncio.run(main())
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flush", ["eager", "batched"])
def test_resumed_after_a_kill(flush: str, durable: str, project: str) -> None:
    """Law: a killed process leaves the beginning of its transcript, whole; what is sent again, overlapping, fits on."""
    whole = [line for number in range(2_000) for line in turn(str(number))]
    process = subprocess.Popen([sys.executable, "-c", KILLED, durable, flush], cwd=ROOT)
    with chatstore.connect(durable) as reading:
        while reading.count_messages(f"proj/{SESSION}") < 100 and process.poll() is None:
            time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    async def main() -> None:
        async with chatstore.connect_async(durable) as store:
            door = ChatstoreSessionStore(store)
            found = await door.load(KEY) or []
            assert 100 <= len(found) < len(whole)
            assert whole[: len(found)] == found
            await door.append(KEY, whole[len(found) - 50 : len(found) + 50])
            assert whole[: len(found) + 50] == await door.load(KEY)

    asyncio.run(main())
