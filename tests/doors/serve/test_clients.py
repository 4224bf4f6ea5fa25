"""The official clients, unmodified, on a server of ours: Python's, JavaScript's, and the session of the Agents SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
import uvicorn
from agents import Agent, OpenAIConversationsSession, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from starlette.applications import Starlette
from starlette.routing import Mount

import chatstore
from chatstore import AIMessage, HumanMessage
from chatstore.contrib.conversations import ConversationsAPI, Tokens
from chatstore.contrib.conversations.tokens import add
from tests import environments

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SECONDS = 120


@pytest.fixture
def served(durable: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Serve the API on a database; give its address and the token of Ada."""
    path = tmp_path / "tokens.json"
    token = add(path, user_id="ada")
    api = ConversationsAPI(durable, owner=Tokens(path))
    app = Starlette(routes=[Mount("/v1", app=api)], lifespan=api.lifespan)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    ready, startup = threading.Event(), server.startup

    async def started(*given: Any, **named: Any) -> None:
        await startup(*given, **named)
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(SECONDS)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1", token
    server.should_exit = True
    thread.join(SECONDS)


def test_pythons_client(served: tuple[str, str]) -> None:
    """Every method of `client.conversations`, and every kind of item parsed as the class that it is."""
    address, token = served
    with openai.OpenAI(base_url=address, api_key=token) as client:
        made = client.conversations.create(
            items=[{"type": "message", "role": "user", "content": "Where to?"}], metadata={"topic": "trip"}
        )
        items: list[Any] = [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Look:"}]},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "a sea"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        ]  # fmt: skip
        added = client.conversations.items.create(made.id, items=items)
        listed = list(client.conversations.items.list(made.id, order="asc", limit=2))
        assert listed[1:] == added.data
        assert [
            "Message", "Message", "ResponseFunctionToolCallItem", "ResponseFunctionToolCallOutputItem",
            "ResponseReasoningItem",
        ] == [type(one).__name__ for one in listed]  # fmt: skip
        assert listed[::-1] == list(client.conversations.items.list(made.id))
        assert added.data[0] == client.conversations.items.retrieve(added.data[0].id, conversation_id=made.id)
        assert made.id == client.conversations.items.delete("rs_1", conversation_id=made.id).id
        assert {"topic": "sea"} == client.conversations.update(made.id, metadata={"topic": "sea"}).metadata
        assert made.id == client.conversations.retrieve(made.id).id
        assert client.conversations.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError, match="no such conversation"):
            client.conversations.retrieve(made.id)
    with (
        openai.OpenAI(base_url=address, api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.conversations.create()


def test_the_session_of_the_agents_sdk(served: tuple[str, str], durable: str) -> None:
    """Two turns with a tool; what it stored is read as messages, and what others stored is read by it."""
    address, token = served

    @function_tool
    def look(place: str) -> str:
        """Look at a place."""
        return f"a sea at {place}"

    async def talk() -> str:
        async with openai.AsyncOpenAI(base_url=address, api_key=token) as client:
            session = OpenAIConversationsSession(openai_client=client)
            model = ScriptedModel(
                [[function_call("look", {"place": "home"}, call_id="c")], [assistant_message("To the sea.")]]
            )
            agent = Agent(name="guide", model=model, tools=[look])
            await Runner.run(agent, "Where to?", session=session)
            assert 4 == len(await session.get_items())
            assert 2 == len(await session.get_items(limit=2))
            id_: str = await session._get_session_id()
            with chatstore.connect(durable) as repository:
                repository.scope(user_id="ada").add_messages(
                    id_, [HumanMessage("And then?"), AIMessage("Home.")]
                )
            assert ["And then?", "Home."] == [_text(item) for item in (await session.get_items())[4:]]
            assert "Home." == _text(await session.pop_item())
            return id_

    id_ = asyncio.run(talk())
    with chatstore.connect(durable) as repository:
        records = repository.get_records(id_)
    assert ["human", "ai", "tool", "ai", "human"] == [record.message.type for record in records]
    assert isinstance(records[1].message, AIMessage)
    assert ["look"] == [call["name"] for call in records[1].message.tool_calls]
    assert "a sea at home" == records[2].message.content


def _text(item: Any) -> Any:
    content = item["content"]
    return content if isinstance(content, str) else content[0]["text"]


def test_javascripts_client(served: tuple[str, str], durable: str) -> None:
    """The npm package `openai`: make, append, page, retrieve, update, delete, errors by class."""
    address, token = served
    client = _with_packages() / f"client-{os.getpid()}.mjs"
    shutil.copy(HERE / "client.mjs", client)
    run = subprocess.run(
        ["node", client],
        env={**os.environ, "BASE_URL": address, "TOKEN": token},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert 0 == run.returncode, run.stderr
    told = json.loads(run.stdout)
    with chatstore.connect(durable) as repository:
        records = repository.get_records(told["id"])
    assert ["Where to?", "To the sea.", "And then?"] == [record.message.text for record in records]
    assert told["asc"] == [record.message_id for record in records]
    assert [told["asc"][::-1], "NotFoundError", {"topic": "sea"}] == [
        told["desc"], told["error"], told["metadata"]
    ]  # fmt: skip
    with contextlib.suppress(chatstore.SessionNotFound), chatstore.connect(durable) as repository:
        pytest.fail(f"not deleted: {repository.get_session(told['deleted'])}")


def _with_packages() -> Path:
    """Return a folder in which the npm package is found; tests beside this one may make it at the same moment."""
    npm = shutil.which("npm")
    assert npm, "npm is missing: install Node.js 20 or newer"
    folder = environments.cache() / "openai-javascript"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".javascript-", dir=folder.parent))
        subprocess.run([npm, "install", "--prefix", making, "openai@6"], check=True, capture_output=True)
        try:
            making.rename(folder)
        except OSError:  # another was faster
            shutil.rmtree(making)
    return folder
