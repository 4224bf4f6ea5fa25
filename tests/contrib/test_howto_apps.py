"""The applications of docs/how-to/flask.md and django.md, served by gunicorn and driven over HTTP."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from sqlalchemy import make_url

from tests import databases, servers
from tests.contrib.server import Server, written
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

REQUESTS = 200
CHATS = 20

#: What the tests ask the Flask application from inside.
FLASK = """
import os

from app import Account, app, db


@app.get("/inside")
def inside():
    return {"pid": os.getpid(), "out": db.engine.pool.checkedout()}


@app.post("/ruin")
def ruin():
    db.session.query(Account).update({"credits": 0})
    db.session.commit()
    return {}
"""

#: What the tests ask the Django application from inside. Django's own connections end with each request.
DJANGO = """
import os

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from chats.apps import engine
from chats.models import Account
from chats.views import urlpatterns
from django.http import JsonResponse
from django.urls import path
from sqlalchemy import event

out = set()  # a pool that keeps nothing does not count either
event.listen(engine, "checkout", lambda connection, record, lent: out.add(id(record)))
event.listen(engine, "checkin", lambda connection, record: out.discard(id(record)))


def inside(request):
    return JsonResponse({"pid": os.getpid(), "out": len(out)})


def ruin(request):
    Account.objects.update(credits=0)
    return JsonResponse({})


urlpatterns += [path("inside", inside), path("ruin", ruin)]
"""


class Application(NamedTuple):
    """One page: what is served, and what is asked of somebody who guesses the name of another user's chat."""

    page: Path
    wrapper: str
    target: str
    environment: Callable[[str], dict[str, str]]
    commands: list[list[str]]
    guess: int
    lines: int


def flask_environment(url: str) -> dict[str, str]:
    """Tell Flask where the database is; one on SQLite waits as long as the page says."""
    return {
        "DATABASE_URL": f"{url}?timeout=20" if url.startswith("sqlite") else url,
        "SECRET_KEY": "for tests",
    }


def django_environment(url: str) -> dict[str, str]:
    """Tell Django the same: without a host it is the page's SQLite file, in the folder of the application."""
    parts = make_url(url)
    told = {"DJANGO_SETTINGS_MODULE": "chats.settings", "SECRET_KEY": "for tests"}
    if parts.get_backend_name() == "sqlite":
        return told
    values = (parts.database, parts.username, parts.password, parts.host, parts.port)
    names = ("DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_PORT")
    return told | {name: str(value or "") for name, value in zip(names, values, strict=True)}


HOW_TO = ROOT / "docs" / "how-to"
APPLICATIONS = {
    "flask": Application(
        HOW_TO / "flask.md",
        FLASK,
        "inside:app",
        flask_environment,
        [["-m", "flask", "--app", "app", "init"]],
        404,
        60,
    ),
    "django": Application(
        HOW_TO / "django.md",
        DJANGO,
        "inside:application",
        django_environment,
        [["-m", "django", "migrate", "--run-syncdb"]],
        200,
        110,
    ),
}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give an empty database."""
    with servers.fresh_database(request.param) as made:
        yield made


@pytest.fixture(params=APPLICATIONS)
def server(request: pytest.FixtureRequest, url: str) -> Iterator[Server]:
    """Give the page's application, its tables made by the page's own commands, not yet running."""
    application = APPLICATIONS[request.param]
    with tempfile.TemporaryDirectory(prefix="chatstore-") as name:  # short, as the name of a socket must be
        folder = Path(name)
        written(application.page, folder)
        made = Server(folder, application.target, application.environment(url))
        for words in application.commands:
            made.command(*words)
        (folder / "inside.py").write_text(application.wrapper, encoding="utf-8")
        yield made


@pytest.fixture
def guess(request: pytest.FixtureRequest) -> int:
    """Give the answer to somebody who writes to a name that another user's chat has."""
    return APPLICATIONS[request.node.callspec.params["server"]].guess


@contextlib.contextmanager
def user(server: Server, name: str) -> Iterator[httpx.Client]:
    """Give a browser in which *name* is logged in."""
    with server.client() as client:
        assert {"user": name, "credits": 1000} == client.post("/login", data={"user": name}).json()
        yield client


def credits_of(client: httpx.Client, name: str) -> int:
    """Return how many questions *name* may still ask."""
    return int(client.post("/login", data={"user": name}).json()["credits"])


def said(client: httpx.Client, chat: str) -> list[list[str]]:
    """Return the messages of a chat, each as type and content."""
    messages: list[list[str]] = client.get(f"/chats/{chat}").json()["messages"]
    return messages


def turn(number: int, text: str) -> list[list[str]]:
    """Return the two messages of the *number*th turn."""
    return [["human", text], ["ai", f"You have said {number} things."]]


def open_transactions(url: str) -> int:
    """Count the connections to a PostgreSQL database that hold a transaction open; 0 on SQLite."""
    if url.startswith("sqlite"):
        return 0
    with databases.connection(url) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_application_is_short(name: str, tmp_path: Path) -> None:
    """A complete application has few lines (Django's with its tests), and every one of them is on the page."""
    lines = written(APPLICATIONS[name].page, tmp_path)

    assert 30 <= len(lines) <= APPLICATIONS[name].lines


def test_two_users_chat_and_cannot_see_each_other(server: Server, url: str, guess: int) -> None:
    """Each lists and reads own chats only, also after a restart; a guessed name shows and changes nothing."""
    with server, user(server, "ada") as ada, user(server, "bob") as bob:
        for text in ("hello", "Grüße 🙂"):
            assert 200 == ada.post("/chats/garden", data={"text": text}).status_code
        assert 200 == bob.post("/chats/kitchen", data={"text": "hi"}).status_code

        before = said(ada, "garden")
        assert turn(1, "hello") + turn(2, "Grüße 🙂") == before
        assert [] == said(bob, "garden")
        assert guess == bob.post("/chats/garden", data={"text": "mine?"}).status_code
        assert before == said(ada, "garden")
        listed = [ada.get("/chats").json(), bob.get("/chats").json()]
        cookies = ada.cookies

    assert [4] == list(listed[0].values())
    assert all("garden" in key for key in listed[0])
    assert any("kitchen" in key for key in listed[1])
    with server, server.client() as again:
        again.cookies = cookies
        assert before == said(again, "garden")
        assert listed[0] == again.get("/chats").json()
        with server.client() as nobody:
            assert 403 == nobody.get("/chats").status_code
    assert 0 == open_transactions(url)


def test_an_exception_takes_back_the_rows_and_the_messages(server: Server) -> None:
    """When the view raises after both were written, the credit and the messages are as before, and it goes on."""
    with server, user(server, "ada") as ada:
        ada.post("/chats/garden", data={"text": "hello"})
        ada.post("/ruin")

        assert 403 == ada.post("/chats/garden", data={"text": "too much"}).status_code
        assert 403 == ada.post("/chats/another", data={"text": "too much"}).status_code
        assert turn(1, "hello") == said(ada, "garden")
        assert [] == said(ada, "another")
        assert [2] == list(ada.get("/chats").json().values())
        assert 0 == credits_of(ada, "ada")


def test_after_many_requests_at_once_nothing_is_checked_out(server: Server, url: str) -> None:
    """200 parallel questions are all stored, every process has answered some, and no connection stays out."""
    with server, user(server, "ada") as ada:

        def ask(number: int) -> int:
            return ada.post(f"/chats/chat{number % CHATS}", data={"text": str(number)}).status_code

        with ThreadPoolExecutor(REQUESTS) as pool:
            codes = Counter(pool.map(ask, range(REQUESTS)))

        assert {200: REQUESTS} == codes, server.log()[-3000:]
        chats = [said(ada, f"chat{number}") for number in range(CHATS)]
        texts = Counter(text for chat in chats for type_, text in chat if type_ == "human")
        assert Counter(map(str, range(REQUESTS))) == texts
        assert 1000 - REQUESTS == credits_of(ada, "ada")
        assert 3 == len(server.inside())
        assert_nothing_out(server, url)


def assert_nothing_out(server: Server, url: str) -> None:
    """Look until no connection is checked out and no transaction open: an answer is sent before the end."""
    deadline = time.monotonic() + 10
    while True:
        out = sum(process["out"] for process in server.inside().values())
        held = open_transactions(url)
        if (out, held) == (0, 0) or time.monotonic() > deadline:
            break
        time.sleep(0.05)  # between two looks
    assert (0, 0) == (out, held)
