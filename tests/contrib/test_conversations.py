"""The Conversations API over HTTP: routes, owners, pages, errors in OpenAI's shape, tokens, and the command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from chatstore import AIMessage, HumanMessage, OpaqueMessage, ToolMessage, connect, migrations
from chatstore.contrib.conversations import ConversationsAPI, Tokens
from chatstore.contrib.conversations.tokens import add
from chatstore.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from chatstore.repository import Repository

HELLO = {"role": "user", "content": "Hello"}
SECONDS = 60


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve *app* on a port of its own, in a thread; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    ready = threading.Event()
    startup = server.startup

    async def started(*given: Any, **named: Any) -> None:
        await startup(*given, **named)
        ready.set()

    server.startup = started  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(SECONDS)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(SECONDS)


@contextlib.contextmanager
def api(target: Any, **options: Any) -> Iterator[httpx.Client]:
    """Serve the API below ``/v1``; yield a client of it."""
    application = ConversationsAPI(target, **{"owner": None, **options})
    with (
        served(Starlette(routes=[Mount("/v1", app=application)], lifespan=application.lifespan)) as address,
        httpx.Client(base_url=f"{address}/v1", timeout=SECONDS) as client,
    ):
        yield client


@pytest.fixture
def repository(sqlite_url: str) -> Iterator[Repository]:
    """Give the store behind the API, as other programs use it."""
    with connect(sqlite_url) as repository:
        yield repository


@pytest.fixture
def client(repository: Repository, sqlite_url: str) -> Iterator[httpx.Client]:
    """Give a client of an API that everybody may ask."""
    del repository
    with api(sqlite_url) as client:
        yield client


def created(client: httpx.Client, *items: Any, **named: Any) -> str:
    """Make a conversation of *items*; return its id."""
    answer = client.post("/conversations", json={"items": list(items), **named})
    assert 200 == answer.status_code, answer.text
    return str(answer.json()["id"])


def said(answer: httpx.Response) -> Any:
    """Return what the error in *answer* says."""
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.json()["error"]["message"]


# ------------------------------------------------------------------------------------------------ routes


def test_what_other_frameworks_keep_in_the_metadata_stays(
    client: httpx.Client, repository: Repository
) -> None:
    """Law: metadata that is another framework's is not shown, not replaced, and its keys are taken."""
    id_ = repository.create_session(
        "c", metadata={"google-adk": {"app": "garden"}, "claude_project": "p", "topic": "sea"}
    ).session_id

    assert {"topic": "sea"} == client.get(f"/conversations/{id_}").json()["metadata"]
    changed = client.post(f"/conversations/{id_}", json={"metadata": {"place": "hills"}})
    assert {"place": "hills"} == changed.json()["metadata"]
    for key in ("google-adk", "claude_project", "claude_session"):
        refused = client.post(f"/conversations/{id_}", json={"metadata": {key: "x"}})
        assert (400, True) == (refused.status_code, f"'{key}'" in said(refused))
    kept = {"google-adk": {"app": "garden"}, "claude_project": "p"}
    assert kept | {"place": "hills"} == repository.get_session(id_).metadata


def test_a_conversation_is_made_read_changed_and_deleted(client: httpx.Client) -> None:
    """The four routes of a conversation, with what OpenAI answers."""
    made = client.post("/conversations", json={"metadata": {"topic": "sea"}}).json()
    assert re.fullmatch("conv_[0-9a-f]{48}", made["id"])
    assert made == {
        "id": made["id"], "object": "conversation", "created_at": made["created_at"], "metadata": {"topic": "sea"}
    }  # fmt: skip
    path = f"/conversations/{made['id']}"
    assert made == client.get(path).json()
    assert {"topic": "hills"} == client.post(path, json={"metadata": {"topic": "hills"}}).json()["metadata"]
    deleted = {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert deleted == client.delete(path).json()
    assert [404, 404] == [client.delete(path).status_code, client.get(path).status_code]
    assert "no such conversation" in said(client.get(path))


ITEMS: list[dict[str, Any]] = [
    HELLO,
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1.0}'},
    {"type": "function_call_output", "call_id": "c1", "output": "a sea"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "\x00ü"},
    {"type": "some_later_item", "value": [1, 1.0, None, {"x": "y"}]},
]  # fmt: skip


def test_items_come_back_as_they_were_sent(client: httpx.Client, repository: Repository) -> None:
    """Each keeps its own fields, and gets what every answer has; the columns are filled for everybody else."""
    id_ = created(client)
    answer = client.post(f"/conversations/{id_}/items", json={"items": ITEMS}).json()
    found = client.get(f"/conversations/{id_}/items", params={"order": "asc"}).json()
    assert answer == found
    assert [found["data"][0]["id"], found["data"][-1]["id"], False] == [
        found["first_id"], found["last_id"], found["has_more"]
    ]  # fmt: skip
    text = {"type": "input_text", "text": "Hello"}
    assert [text] == found["data"][0]["content"]
    for sent, got in zip(ITEMS[2:], found["data"][2:], strict=True):
        assert sent == {name: value for name, value in got.items() if name in sent}
    assert ["completed"] * 4 == [one["status"] for one in found["data"][:4]]
    assert "rs_1" == found["data"][4]["id"]
    records = repository.get_records(id_)
    assert ["human", "ai", "ai", "tool", "openai:reasoning", "openai:some_later_item"] == [
        record.message.type for record in records
    ]
    for one in found["data"]:
        assert one == client.get(f"/conversations/{id_}/items/{one['id']}").json()


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_are_the_whole_list(
    client: httpx.Client, repository: Repository, order: str, limit: int
) -> None:
    """However it is cut, also in the middle of a message that is several items, or none."""
    calls = [{"name": "look", "args": {"n": n}, "id": f"c{n}", "type": "tool_call"} for n in range(3)]
    repository.add_messages(
        "theirs/session",
        [
            HumanMessage("Look."),
            AIMessage("I look.", tool_calls=calls),
            OpaqueMessage(type="other:thing", data={"content": "not an item"}),
            ToolMessage("a sea", tool_call_id="c0"),
            AIMessage("The sea."),
        ],
    )
    whole = [one["id"] for one in _pages(client, "theirs%2Fsession", order="asc", limit=100)]
    assert [7, 7] == [len(whole), len(set(whole))]
    found = [one["id"] for one in _pages(client, "theirs%2Fsession", order=order, limit=limit)]
    assert (whole if order == "asc" else whole[::-1]) == found


def _pages(client: httpx.Client, id_: str, **wanted: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    while True:
        page = client.get(f"/conversations/{id_}/items", params=wanted).json()
        items += page["data"]
        if not page["has_more"]:
            return items
        wanted["after"] = page["last_id"]


def test_an_item_is_deleted_unless_it_is_a_part_of_another_frameworks_message(
    client: httpx.Client, repository: Repository
) -> None:
    """The conversation comes back; what would take more away than was asked for is refused."""
    id_ = created(client, HELLO, HELLO)
    first = client.get(f"/conversations/{id_}/items").json()["last_id"]
    assert id_ == client.delete(f"/conversations/{id_}/items/{first}").json()["id"]
    assert 404 == client.get(f"/conversations/{id_}/items/{first}").status_code
    assert 1 == repository.count_messages(id_)
    call = {"name": "look", "args": {}, "id": "c", "type": "tool_call"}
    repository.add_messages(id_, [AIMessage("I look.", tool_calls=[call], id="two")])
    for part in ("two", "two:1"):
        assert "delete it there" in said(client.delete(f"/conversations/{id_}/items/{part}"))
    assert 404 == client.get(f"/conversations/{id_}/items/two:2").status_code
    assert 2 == repository.count_messages(id_)


def test_what_openai_has_not_lists_and_searches(client: httpx.Client) -> None:
    """Conversations, the newest first, page by page; and messages by their words, with the places of these."""
    words = ("red", "black", "white")
    made = [created(client, {"role": "user", "content": f"The {word} sea"}) for word in words]
    first = client.get("/conversations", params={"limit": 2}).json()
    rest = client.get("/conversations", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert made[::-1] == [one["id"] for one in [*first["data"], *rest["data"]]]
    assert [True, False, None] == [first["has_more"], rest["has_more"], rest["next_cursor"]]
    [hit] = client.get("/search", params={"query": "black"}).json()["data"]
    assert [made[1], "The black sea", [[4, 9]]] == [
        hit["conversation_id"], hit["snippet"], hit["highlights"]
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ what is refused

REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "", {"content": b"{"}, 400, "not JSON"),
    ("POST", "", {"content": b"[" * 100_000}, 400, "not JSON"),
    ("POST", "", {"content": b"[]"}, 400, "not a JSON object"),
    ("POST", "", {"content": b"\xff"}, 400, "not JSON"),
    ("POST", "", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "application/json"),
    ("POST", "", {"json": {"metadata": {"x": 1}}}, 400, "object of strings"),
    ("POST", "", {"json": {"metadata": ["x"]}}, 400, "object of strings"),
    ("POST", "", {"json": {"metadata": {str(n): "" for n in range(17)}}}, 400, "at most 16"),
    ("POST", "", {"json": {"metadata": {"k": "x" * 513}}}, 400, "512"),
    ("POST", "", {"json": {"items": {"role": "user"}}}, 400, "array of objects"),
    ("POST", "", {"json": {"items": ["Hello"]}}, 400, "array of objects"),
    ("POST", "/ID/items", {"json": {}}, 400, "array of objects"),
    ("POST", "/ID/items", {"content": b'{"items": [{"role": "user", "content": "a", "x": NaN}]}'}, 400, "is nan"),
    ("POST", "/ID/items", {"content": b"x" * 100_001}, 413, "fewer items"),
    ("GET", "/ID/items?limit=0", {}, 400, "from 1 to 100"),
    ("GET", "/ID/items?limit=101", {}, 400, "from 1 to 100"),
    ("GET", "/ID/items?limit=%D9%A3x", {}, 400, "from 1 to 100"),
    ("GET", "/ID/items?order=up", {}, 400, "asc or desc"),
    ("GET", "/ID/items?after=nothing", {}, 404, "no such item"),
    ("GET", "/ID/items/nothing", {}, 404, "no such item"),
    ("GET", "/ID/items/msg:1", {}, 404, "no such item"),
    ("GET", "/none/items", {}, 404, "no such conversation"),
    ("POST", "/none/items", {"json": {"items": [HELLO]}}, 404, "no such conversation"),
    ("POST", "/none", {"json": {"metadata": {}}}, 404, "no such conversation"),
    ("PUT", "/ID", {}, 405, "GET and POST and DELETE"),
    ("GET", "/ID/items/a/b", {}, 404, "it begins with"),
    ("GET", "?cursor=x", {}, 400, "cursor"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "sent", "status", "told"), REFUSED)
def test_what_is_wrong_is_said_and_changes_nothing(
    sqlite_url: str, method: str, path: str, sent: dict[str, Any], status: int, told: str
) -> None:
    """Each in OpenAI's shape, with what to do."""
    with api(sqlite_url, max_body=100_000) as client, connect(sqlite_url) as repository:
        id_ = created(client, HELLO)
        before = repository.get_session(id_)
        headers = {"content-type": "application/json"} if "content" in sent else {}
        answer = client.request(
            method, f"/conversations{path.replace('ID', id_)}", **{"headers": headers, **sent}
        )
        assert [status, True] == [answer.status_code, told in said(answer)], answer.text
        assert "invalid_request_error" == answer.json()["error"]["type"]
        assert [before] == repository.list_sessions().items


def test_an_id_is_taken_once(client: httpx.Client, repository: Repository) -> None:
    """The same item again, as a client sends it that heard no answer, is stored once; another one is refused."""
    id_ = created(client, {**HELLO, "id": "msg_a"})
    again = {"items": [{**HELLO, "id": "msg_a"}, HELLO]}
    assert 200 == client.post(f"/conversations/{id_}/items", json=again).status_code
    assert 2 == repository.count_messages(id_)
    other = {"items": [{"role": "user", "content": "Bye", "id": "msg_a"}]}
    assert 409 == client.post(f"/conversations/{id_}/items", json=other).status_code
    for _ in range(2):
        headers = {"Idempotency-Key": "once"}
        added = client.post(f"/conversations/{id_}/items", json={"items": [HELLO]}, headers=headers)
        assert 200 == added.status_code
        made = client.post("/conversations", json={"items": [HELLO]}, headers=headers)
        assert 1 == repository.count_messages(made.json()["id"])
    assert 3 == repository.count_messages(id_)


def test_storage_that_is_away_is_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without its address; what an operator needs is in the log."""
    with api(f"sqlite:///{tmp_path}/away/chat.db") as client:
        answer = client.post("/conversations", json={})
    assert [503, "server_error"] == [answer.status_code, answer.json()["error"]["type"]]
    assert "away" not in answer.text
    assert "away" in caplog.text


def test_the_servers_own_fault_is_500_without_a_trace(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that says who is asking may fail, too."""

    def broken(_request: object) -> str:
        raise LookupError("the password is hunter2")

    with api(sqlite_url, owner=broken) as client:
        answer = client.get("/conversations")
    assert [500, "server_error"] == [answer.status_code, answer.json()["error"]["type"]]
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


# ------------------------------------------------------------------------------------------------ owners


def test_each_token_sees_its_owners_conversations(sqlite_url: str, tmp_path: Path) -> None:
    """Others' are not there, in no route; a token that was taken out of the file is refused at once."""
    path = tmp_path / "tokens.json"
    ada, ben = add(path, user_id="ada"), add(path, user_id="ben", tenant_id="acme")
    assert [ada in path.read_text(), 0o600] == [False, path.stat().st_mode & 0o777]
    with api(sqlite_url, owner=Tokens(path)) as client:
        hers, his = ({"Authorization": f"Bearer {token}"} for token in (ada, ben))
        client.headers = hers
        id_ = created(client, HELLO)
        item = client.get(f"/conversations/{id_}/items").json()["first_id"]
        for method, place in [
            ("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/items"), ("POST", "/items"),
            ("GET", f"/items/{item}"), ("DELETE", f"/items/{item}"),
        ]:  # fmt: skip
            sent = {"json": {"items": [HELLO], "metadata": {}}} if method == "POST" else {}
            answer = client.request(method, f"/conversations/{id_}{place}", headers=his, **sent)  # type: ignore[arg-type]
            assert 404 == answer.status_code, (method, place)
        assert [] == client.get("/conversations", headers=his).json()["data"]
        assert [] == client.get("/search", params={"query": "hello"}, headers=his).json()["data"]
        with connect(sqlite_url) as repository:
            assert [("ada", None, 1)] == [
                (one.user_id, one.tenant_id, one.message_count) for one in repository.list_sessions().items
            ]
        for wrong in ("", "Bearer", "Bearer x", f"Basic {ada}", ada):
            answer = client.get("/conversations", headers={"Authorization": wrong})
            assert [401, "invalid_api_key"] == [answer.status_code, answer.json()["error"]["code"]]
        kept = json.loads(path.read_text())
        path.write_text(json.dumps({key: owner for key, owner in kept.items() if owner["user_id"] != "ada"}))
        assert 401 == client.get("/conversations").status_code
        assert 200 == client.get("/conversations", headers=his).status_code


def test_a_file_that_broke_meanwhile_is_not_the_clients_fault(
    sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who runs the server reads in the log what is wrong; a client hears nothing of files, and may ask again later."""
    path = tmp_path / "tokens.json"
    with api(sqlite_url, owner=Tokens(path_with(path))) as client:
        path.write_text("{")
        answer = client.get("/conversations", headers={"Authorization": "Bearer x"})
        assert [503, "server_error"] == [answer.status_code, answer.json()["error"]["type"]]
        assert "tokens" not in answer.text
        assert "chatstore token" in caplog.text
        path.unlink()
        assert 503 == client.get("/conversations").status_code


def path_with(path: Path) -> Path:
    """Return *path* with a token of Ada's in it."""
    add(path, user_id="ada")
    return path


@pytest.mark.parametrize(
    "text", ["", "[]", '{"x": {}}', '{"x": {"user_id": ""}}', '{"x": {"user": "ada"}}', '{"x": "ada"}']
)
def test_a_file_that_names_nobody_opens_nothing(text: str, tmp_path: Path) -> None:
    """It is refused when it is read, and not taken for everybody; adding to it leaves it as it is."""
    path = tmp_path / "tokens.json"
    with pytest.raises(Invalid, match="chatstore token"):
        Tokens(path)
    path.write_text(text)
    with pytest.raises(Invalid, match="chatstore token"):
        Tokens(path)
    with pytest.raises(Invalid):
        add(path, user_id="ada")
    assert text == path.read_text()
    with pytest.raises(Invalid, match="needs an owner"):
        add(tmp_path / "new.json")


def test_it_mounts_in_an_application_with_users_of_its_own(repository: Repository) -> None:
    """Below any path, over the application's own repository, which stays open; who is asking may be awaited."""

    async def who(request: Any) -> dict[str, str] | None:
        return {"user_id": name} if (name := request.headers.get("x-user")) else None

    application = FastAPI()
    api_ = ConversationsAPI(repository, owner=who)
    application.mount("/deep/v1", api_)
    with served(application) as address, httpx.Client(base_url=f"{address}/deep/v1") as client:
        assert 401 == client.get("/conversations").status_code
        client.headers["x-user"] = "ada"
        id_ = created(client, HELLO)
        assert 1 == len(client.get(f"/conversations/{id_}/items").json()["data"])
    assert "ada" == repository.get_session(id_).user_id


# ------------------------------------------------------------------------------------------------ at once


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_many_clients_append_to_one_conversation(kind: str, request: pytest.FixtureRequest) -> None:
    """Nothing is lost, doubled or torn, and everybody reads the same order."""
    url = request.getfixturevalue(f"{kind}_url")
    migrations.upgrade(url)
    with api(url) as client:
        id_ = created(client)

        def append(writer: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=SECONDS) as mine:
                for turn in range(20):
                    pair = [{"role": role, "content": f"{writer}.{turn}"} for role in ("user", "assistant")]
                    answer = mine.post(f"/conversations/{id_}/items", json={"items": pair})
                    assert 200 == answer.status_code, answer.text

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(append, range(8)))
        found = [one["content"][0]["text"] for one in _pages(client, id_, order="asc", limit=100)]
    assert found[::2] == found[1::2]
    assert {f"{writer}.{turn}" for writer in range(8) for turn in range(20)} == set(found)
    assert 320 == len(found)


# ------------------------------------------------------------------------------------------------ the command


def chatstore(*words: str) -> list[str]:
    """Return the command line of `chatstore`."""
    return [sys.executable, "-m", "chatstore", *words]


def test_the_command_serves_until_ctrl_c(sqlite_url: str, tmp_path: Path) -> None:
    """With tokens that another command makes; it says where, and ends by itself."""
    subprocess.run(chatstore("upgrade", "--url", sqlite_url), check=True, capture_output=True)
    path = str(tmp_path / "tokens.json")
    made = subprocess.run(chatstore("token", path, "--user", "ada"), check=True, capture_output=True)
    with subprocess.Popen(
        chatstore("serve", "--url", sqlite_url, "--tokens", path, "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().split() for _ in range(2)]
            assert ["serving", "at"] == [line[0] for line in lines]
            address = lines[1][1]
            headers = {"Authorization": f"Bearer {made.stdout.decode().strip()}"}
            assert 401 == httpx.get(f"{address}/conversations").status_code
            assert 200 == httpx.get(f"{address}/conversations", headers=headers, timeout=SECONDS).status_code
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=SECONDS)
    assert (0, ["Ctrl-C ends it"]) == (process.returncode, errors.splitlines())


def test_the_command_without_tokens_is_for_this_machine(sqlite_url: str, tmp_path: Path) -> None:
    """It listens nowhere else, and answers no page of another site, whatever its name is said to be."""
    refused = subprocess.run(
        chatstore("serve", "--url", sqlite_url, "--host", "0.0.0.0"),  # noqa: S104 - refused
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [2, True] == [refused.returncode, "--tokens" in refused.stderr]
    missing = subprocess.run(
        chatstore("serve", "--url", f"sqlite:///{tmp_path}/none.db"), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert [1, True] == [missing.returncode, "there is nothing at" in missing.stderr]
    subprocess.run(chatstore("upgrade", "--url", sqlite_url), check=True, capture_output=True)
    with subprocess.Popen(
        chatstore("serve", "--url", sqlite_url, "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            address = [process.stdout.readline().split()[-1] for _ in range(2)][1]
            assert 200 == httpx.get(f"{address}/conversations").status_code
            rebound = httpx.get(f"{address}/conversations", headers={"Host": "evil.example"})
            assert 400 == rebound.status_code
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)
