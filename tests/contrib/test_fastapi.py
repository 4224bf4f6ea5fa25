"""chatstore.contrib.fastapi in this process: owners, routes, errors, streams that are left, OpenAPI."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI, Header
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import make_url

import chatstore
from chatstore import AIMessage, HumanMessage, errors
from chatstore.contrib.fastapi import Chatstore
from chatstore.contrib.fastapi import streaming as handing
from chatstore.migrations import downgrade
from tests import servers
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PROBLEM = "application/problem+json"
WORDS = ["a ", "bé ", "c"]


async def who(x_user: Annotated[str | None, Header()] = None) -> str | None:
    """Say who is asking."""
    return x_user


class Model:
    """Gives `WORDS`; the first at once, the others once `go` is set."""

    def __init__(self) -> None:
        """Wait for nobody."""
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.asked: list[str] = []
        self.fault: Exception | None = None

    async def __call__(self, messages: Any) -> AsyncIterator[str]:
        """Answer *messages*."""
        self.asked = [message.content for message in messages]
        self.begun.set()
        yield WORDS[0]
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        for word in WORDS[1:]:
            yield word


class Shop:
    """An application on the database at *url*, and clients of it."""

    def __init__(self, url: str) -> None:
        """Make it; nothing is connected to."""
        self.model = Model()
        self.chats = Chatstore(url, owner=who)
        self.app = FastAPI(lifespan=self.chats.lifespan)
        self.chats.init_app(self.app)
        self.app.include_router(self.chats.router(answer=self.model), prefix="/chats")

    def client(self, user: str | None = "ada") -> httpx.AsyncClient:
        """Return a client of *user*'s."""
        headers = {} if user is None else {"X-User": user}
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)

    async def begun(self, client: httpx.AsyncClient, **new: Any) -> str:
        """Begin a chat; return its path."""
        answer = await client.post("/chats", json=new)
        assert answer.status_code == 201, answer.text
        return f"/chats/{answer.json()['id']}"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Shop]:
    """Give an application with its lifespan."""
    shop = Shop(url)
    async with shop.chats.lifespan(shop.app):
        yield shop


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a database with chatstore's tables."""
    with servers.migrated_url(request.param) as made:
        yield made


def events(body: str) -> list[tuple[str, str | None, Any]]:
    """Return kind, id and data of each event of *body*."""
    found = []
    for block in body.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines.get("event", "message"), lines.get("id"), json.loads(lines["data"])))
    return found


def refused(answer: httpx.Response, status: int) -> str:
    """See to it that *answer* is a problem of *status*; return what it says."""
    assert (status, PROBLEM) == (answer.status_code, answer.headers["content-type"]), answer.text
    body = answer.json()
    assert status == body["status"]
    assert set(body) == {"type", "title", "status", "detail"}
    return str(body["detail"])


# ------------------------------------------------------------------------------------------------ what people do


def test_a_day_of_chats(url: str) -> None:
    """Begin, ask, read upwards, regenerate, fork, rename, archive, search, delete: each does what its name says."""

    async def day() -> None:
        async with opened(url) as shop, shop.client() as ada:
            chat = await shop.begun(ada, title="Garden", metadata={"a": 1})
            for number in range(3):
                body = (await ada.post(f"{chat}/answers", json={"text": f"q{number}"})).text
                *texts, done = events(body)
                assert WORDS == [data["text"] for _, _, data in texts]
                assert ("done", "complete", 2 * number + 2) == (
                    done[0],
                    done[2]["state"],
                    done[2]["position"],
                )
            assert ["q0", "a bé c", "q1", "a bé c", "q2"] == shop.model.asked
            page = (await ada.get(f"{chat}/messages", params={"limit": 4})).json()
            assert [3, 4, 5, 6] == [one["position"] for one in page["items"]]
            above = (await ada.get(f"{chat}/messages", params={"limit": 4, "before": page["before"]})).json()
            assert ([1, 2], None) == ([one["position"] for one in above["items"]], above["before"])

            again = events((await ada.post(f"{chat}/regenerate", json={"position": 3})).text)
            assert 7 == again[-1][2]["position"]
            assert ["q0", "a bé c", "q1"] == shop.model.asked
            said = (await ada.get(f"{chat}/messages")).json()["items"]
            assert [1, 2, 3, 7] == [one["position"] for one in said]

            copy = (await ada.post(f"{chat}/fork", json={"through": 2})).json()
            assert (2, chat.rpartition("/")[2]) == (copy["message_count"], copy["forked_from"])
            changed = (await ada.patch(chat, json={"title": "Yard", "archived": True})).json()
            assert ("Yard", {"a": 1}) == (changed["title"], changed["metadata"])
            listed = (await ada.get("/chats")).json()
            assert [copy["id"]] == [one["id"] for one in listed["items"]]
            assert 2 == len((await ada.get("/chats/search", params={"q": "q0"})).json()["items"])
            first = (await ada.post(f"{chat}/messages", json={"text": "note", "id": "n1"})).json()
            assert first == (await ada.post(f"{chat}/messages", json={"text": "note", "id": "n1"})).json()
            assert 204 == (await ada.delete(chat)).status_code
            refused(await ada.delete(chat), 404)

    asyncio.run(day())


def test_pages_of_a_list_end(url: str) -> None:
    """Every chat stands on one page, whatever the size of pages."""

    async def pages() -> list[str]:
        found, cursor = [], None
        async with opened(url) as shop, shop.client() as ada:
            for number in range(7):
                await shop.begun(ada, id=f"c{number}")
            while True:
                query = {"limit": 3} | ({} if cursor is None else {"cursor": cursor})
                page = (await ada.get("/chats", params=query)).json()
                found += [one["id"] for one in page["items"]]
                if (cursor := page["next_cursor"]) is None:
                    return found

    assert [f"c{number}" for number in reversed(range(7))] == asyncio.run(pages())


# ------------------------------------------------------------------------------------------------ owners


def test_nobody_and_strangers(url: str) -> None:
    """Nobody gets 401; another user's chat looks like one that is not there, and stays as it is."""

    async def strangers() -> None:
        async with (
            opened(url) as shop,
            shop.client() as ada,
            shop.client("bob") as bob,
            shop.client(None) as no,
        ):
            chat = await shop.begun(ada, title="Mine")
            await ada.post(f"{chat}/answers", json={"text": "secret"})
            before = (await ada.get(f"{chat}/messages")).json()
            for client, status in ((no, 401), (bob, 404)):
                refused(await client.get(chat), status)
                refused(await client.get(f"{chat}/messages"), status)
                refused(await client.patch(chat, json={"title": "x"}), status)
                refused(await client.delete(chat), status)
                refused(await client.post(f"{chat}/messages", json={"text": "x"}), status)
                refused(await client.post(f"{chat}/answers", json={"text": "x"}), status)
                refused(await client.post(f"{chat}/regenerate", json={}), status)
                refused(await client.post(f"{chat}/fork", json={}), status)
                refused(await client.get(f"{chat}/answers/{before['items'][1]['id']}"), status)
            refused(await no.get("/chats"), 401)
            refused(await bob.post("/chats", json={"id": chat.rpartition("/")[2]}), 409)
            assert [] == (await bob.get("/chats/search", params={"q": "secret"})).json()["items"]
            assert before == (await ada.get(f"{chat}/messages")).json()

    asyncio.run(strangers())


@pytest.mark.parametrize("found", ["", None])
def test_an_owner_that_is_empty_is_nobody(found: str | None) -> None:
    """A header that is not set must never mean everybody."""

    async def asked() -> httpx.Response:
        chats = Chatstore("memory:", owner=lambda: found)
        app = FastAPI()
        chats.init_app(app)
        app.include_router(chats.router(), prefix="/chats")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            return await client.get("/chats")

    refused(asyncio.run(asked()), 401)


def test_a_router_without_an_owner_refuses_to_start() -> None:
    """The chats would be everybody's."""
    with pytest.raises(RuntimeError, match="pass owner="):
        Chatstore("memory:").router()


def test_an_owner_may_have_a_tenant() -> None:
    """A dict goes to `scope`."""

    async def made() -> Any:
        chats = Chatstore("memory:", owner=lambda: {"tenant_id": "acme", "user_id": "7"})
        app = FastAPI()
        app.include_router(chats.router(), prefix="/chats")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            made = await client.post("/chats", json={})
        return await chats.repository.get_session(made.json()["id"])

    session = asyncio.run(made())
    assert ("acme", "7") == (session.tenant_id, session.user_id)


# ------------------------------------------------------------------------------------------------ bad input


def test_bad_input_is_refused_and_changes_nothing(url: str) -> None:
    """Forged cursors, unknown fields, foreign event ids, ids and positions that cannot be, 20 MB."""

    async def bad() -> None:
        async with opened(url) as shop, shop.client() as ada:
            chat = await shop.begun(ada, id="c")
            await ada.post(f"{chat}/answers", json={"text": "q", "id": "q1"})
            before = (await ada.get(chat)).json()
            answer = (await ada.get(f"{chat}/messages")).json()["items"][1]["id"]
            refused(await ada.get("/chats", params={"cursor": "bm90"}), 400)
            refused(await ada.get("/chats/%00"), 400)
            refused(await ada.post("/chats", json={"id": " c"}), 400)
            for unreachable in ("x/y", "search", ".", ".."):  # by any other route
                assert 422 == (await ada.post("/chats", json={"id": unreachable})).status_code
            refused(await ada.post("/chats", json={"id": "c"}), 409)
            refused(await ada.post(f"{chat}/messages", json={"text": "other", "id": "q1"}), 409)
            refused(await ada.post(f"{chat}/regenerate", json={"position": 2}), 400)
            refused(await ada.post(f"{chat}/regenerate", json={"position": 99}), 404)
            for forged in ("x", f"{answer}:-1", f"{answer}:1e3", f"other:{1}", f"{answer}:" + "9" * 400):
                headers = {"Last-Event-ID": forged}
                refused(await ada.get(f"{chat}/answers/{answer}", headers=headers), 400)
            for body in ({"text": 1}, {"txt": "x"}, {"text": "x", "role": "system"}):
                assert 422 == (await ada.post(f"{chat}/messages", json=body)).status_code
            big = b'{"text": "' + b"x" * 20_000_000 + b'"}'
            for path in (f"{chat}/messages", f"{chat}/answers"):
                refused(await ada.post(path, content=big), 413)
            assert before == (await ada.get(chat)).json()

    asyncio.run(bad())


# ------------------------------------------------------------------------------------------------ bad days


def test_a_database_at_an_old_schema() -> None:
    """Is said as 503, with what a user can do: wait."""
    with servers.migrated_url("sqlite") as url:
        downgrade(url, "chatstore_0001")

        async def asked() -> httpx.Response:
            async with opened(url) as shop, shop.client() as ada:
                return await ada.get("/chats")

        answer = asyncio.run(asked())
        assert "try again later" in refused(answer, 503)
        assert "Retry-After" in answer.headers


def test_a_database_that_is_down_and_comes_back() -> None:
    """503 meanwhile; afterwards it is as if nothing had been."""
    with servers.migrated_url("postgres") as url, _proxied(url) as (proxy, behind):

        async def asked() -> None:
            async with opened(behind) as shop, shop.client() as ada:
                chat = await shop.begun(ada)
                proxy.arm(Mode.REFUSE)
                proxy.cut_all()
                refused(await ada.post(f"{chat}/messages", json={"text": "lost"}), 503)
                refused(await ada.post(f"{chat}/answers", json={"text": "lost"}), 503)
                proxy.disarm()
                assert 201 == (await ada.post(f"{chat}/messages", json={"text": "kept"})).status_code
                said = (await ada.get(f"{chat}/messages")).json()["items"]
                assert ["kept"] == [one["text"] for one in said]

        asyncio.run(asked())


@contextmanager
def _proxied(url: str) -> Iterator[tuple[FaultProxy, str]]:
    at = make_url(url)
    with FaultProxy(at.host or "127.0.0.1", at.port or 5432) as proxy:
        yield proxy, at.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


def test_an_expired_chat_is_gone(url: str) -> None:
    """404, as for one that was deleted."""

    async def asked() -> None:
        async with opened(url) as shop, shop.client() as ada:
            chat = await shop.begun(ada, id="c")
            past = datetime.now(UTC) - timedelta(seconds=1)
            await shop.chats.repository.update_session("c", expires_at=past)
            for answer in (await ada.get(chat), await ada.post(f"{chat}/answers", json={"text": "x"})):
                refused(answer, 404)

    asyncio.run(asked())


def test_a_model_that_fails(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """What came is stored, marked incomplete; the client hears of it, the log has the error, and no secrets leave."""

    async def asked() -> None:
        async with opened(url) as shop, shop.client() as ada:
            chat = await shop.begun(ada)
            shop.model.fault = ValueError("key sk-123 is wrong")
            body = (await ada.post(f"{chat}/answers", json={"text": "q"})).text
            assert ["message", "problem"] == [kind for kind, _, _ in events(body)]
            assert "sk-123" not in body
            said = (await ada.get(f"{chat}/messages")).json()["items"][1]
            assert ("a ", "incomplete", "error") == (said["text"], said["state"], said["finish_reason"])
            shop.model.fault = None
            await ada.post(f"{chat}/answers", json={"text": "again"})
            assert ["q", "again"] == shop.model.asked  # the broken one is not read by the model

    asyncio.run(asked())
    assert "sk-123" in caplog.text


def test_a_chat_that_is_deleted_while_its_answer_streams(url: str) -> None:
    """The stream ends with a problem, and nothing of the chat comes back."""

    async def asked() -> None:
        async with opened(url) as shop, shop.client() as ada:
            chat = await shop.begun(ada, id="c")
            shop.model.go.clear()
            asking = asyncio.create_task(ada.post(f"{chat}/answers", json={"text": "q"}))
            await shop.model.begun.wait()
            assert 204 == (await ada.delete(chat)).status_code
            shop.model.go.set()
            kind, _, problem = events((await asking).text)[-1]
            assert ("problem", 404) == (kind, problem["status"])
            assert None is await _session(shop, "c")

    asyncio.run(asked())


async def _session(shop: Shop, session_id: str) -> Any:
    try:
        return await shop.chats.repository.get_session(session_id)
    except errors.SessionNotFound:
        return None


# ------------------------------------------------------------------------------------------------ leaving, going on


def test_an_answer_goes_on_without_its_reader(url: str) -> None:
    """A browser that leaves and comes back reads on behind the last event it had, and gets each character once."""

    async def left() -> None:
        async with opened(url) as shop, shop.client() as ada:
            chat = await shop.begun(ada, id="c")
            shop.model.go.clear()
            answer = await shop.chats.repository.begin_answer("c", [HumanMessage("q")])
            response = shop.chats.stream(answer, shop.model([]))
            body: Any = response.body_iterator
            ((_, last, data),) = events(await anext(body))
            await body.aclose()  # the browser is gone
            path = f"{chat}/answers/{answer.message_id}"
            going_on = asyncio.create_task(ada.get(path, headers={"Last-Event-ID": last or ""}))
            await asyncio.sleep(0)
            shop.model.go.set()
            *rest, done = events((await going_on).text)
            assert "".join(WORDS) == data["text"] + "".join(one["text"] for _, _, one in rest)
            assert ("done", "complete") == (done[0], done[2]["state"])
            whole = events((await ada.get(path)).text)
            assert "".join(WORDS) == "".join(one["text"] for _, _, one in whole[:-1])

    asyncio.run(left())


def test_an_application_that_ends_ends_its_answers(url: str) -> None:
    """What came until then is stored, and marked."""

    async def ended() -> Any:
        async with opened(url) as shop:
            await shop.chats.repository.create_session("c")
            shop.model.go.clear()
            answer = await shop.chats.repository.begin_answer("c", [HumanMessage("q")])
            body: Any = shop.chats.stream(answer, shop.model([])).body_iterator
            await anext(body)
        async with chatstore.connect_async(url) as repository:
            return await repository.get_message("c", answer.message_id)

    record = asyncio.run(ended())
    assert ("a ", "incomplete", "cancelled") == (record.message.content, record.state, record.finish_reason)


def test_a_model_that_blocks_runs_in_a_thread() -> None:
    """Pieces that are not awaited do not stop the loop."""
    threads = set()

    def pieces() -> Iterator[str]:
        for word in WORDS:
            threads.add(threading.get_ident())
            yield word

    async def asked() -> Any:
        chats = Chatstore("memory:", owner=who)
        answer = await chats.repository.begin_answer("c", [HumanMessage("q")])
        body: Any = chats.stream(answer, pieces()).body_iterator
        _ = [event async for event in body]
        return await chats.repository.get_messages("c")

    assert [HumanMessage("q"), AIMessage("a bé c")] == asyncio.run(asked())
    assert threading.get_ident() not in threads


def test_a_silent_answer_keeps_the_line_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment is sent now and then, which no browser shows."""
    monkeypatch.setattr(handing, "KEEP_ALIVE", 0.01)

    async def asked() -> str:
        feed = handing.Feed()
        reading = feed.read()
        first = await anext(reading)
        await reading.aclose()  # type: ignore[attr-defined]
        return first

    assert asyncio.run(asked()).startswith(":")


# ------------------------------------------------------------------------------------------------ OpenAPI


def test_the_application_is_what_its_openapi_says(tmp_path: Path) -> None:
    """Schemathesis finds no answer that the schema does not have, and no server error."""
    counts = _calls(Shop(f"sqlite:///{tmp_path}/chat.db").app)
    assert (12, 300) == (len(counts), sum(counts))


def test_an_answer_that_openapi_does_not_have_is_found() -> None:
    """So the test above can fail."""
    app = Shop("memory:").app
    for path in app.openapi()["paths"].values():
        for operation in path.values():
            del operation["responses"]["404"]
    with pytest.raises(FailureGroup, match="distinct failure"):
        _calls(app)


def _calls(app: FastAPI) -> list[int]:
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    return [_call(result.ok()) for result in schema.get_all_operations()]


def _call(operation: Any) -> int:
    """Call *operation* with whatever its schema allows, and some that it does not; return how often."""
    count = 0

    @given(case=operation.as_strategy())
    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def call(case: Any) -> None:
        nonlocal count
        count += 1
        # A schema cannot say which cursors there are, nor which ids have a space at an end.
        case.call_and_validate(headers={"X-User": "ada"}, excluded_checks=[positive_data_acceptance])

    call()
    return count
