"""The example applications, by framework: where each stands, how it is set up and served, and what is asked of it.

A framework plugs in with an entry in `FRAMEWORKS`; `chatting` has what all of them must do.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.contrib.browsing import Browser, RouterBrowser
from tests.contrib.server import SOCKET, Server, written
from tests.django_host import settings_of
from tests.snippets import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOW_TO = ROOT / "docs" / "how-to"
#: Takes the place of the page's own model. A question such as "ada 40x5" is answered with forty words, "ada0 ada1 …",
#: one every five milliseconds.
MODEL = """
import time


def ask_model(messages):
    word, _, how = next(one.content for one in reversed(messages) if one.type == "human").partition(" ")
    count, _, pause = how.partition("x")
    for number in range(int(count)):
        time.sleep(int(pause) / 1000)
        yield f"{word}{number} "
"""
#: What the tests ask the Flask application from inside.
FLASK = """
import os

from app import app, db


@app.get("/inside")
def inside():
    return {"pid": os.getpid(), "out": db.engine.pool.checkedout()}
"""
#: The same of the FastAPI application.
FASTAPI = """
import os

from app import app, chats


@app.get("/inside")
async def inside():
    repository = chats.repository
    if hasattr(repository, "_inner"):
        engine = repository._inner._lease.lend(repository._inner._user).engine
    else:
        engine = repository._lease.lend_awaiting(repository._user).engine
    return {"pid": os.getpid(), "out": engine.pool.checkedout()}
"""


#: The Django application's processes; a driver that projects without a compiler use stands for MariaDB's.
DJANGO_START = """
from tests.django_host import stand_in

stand_in()
"""
#: What the tests ask it from inside: which connections of Django's are open.
DJANGO = """
import os
from weakref import WeakSet

from django.core.{kind} import get_{kind}_application
from django.db.backends.signals import connection_created

application = get_{kind}_application()

from chats.views import urlpatterns
from django.http import JsonResponse
from django.urls import path

opened = WeakSet()
connection_created.connect(lambda connection, **_: opened.add(connection), weak=False)


def inside(request):
    return JsonResponse({{"pid": os.getpid(), "out": sum(one.connection is not None for one in list(opened))}})


urlpatterns.append(path("inside", inside))
"""
#: The Django application once more, in asynchronous views.
AWAITED = """
import asyncio
from uuid import uuid4

from chatstore import HumanMessage
from chatstore.contrib.django import async_repository, stream
from django.contrib.auth import alogin, get_user_model
from django.http import JsonResponse
from django.urls import path
from model import ask_model


async def pieces(messages):
    for piece in ask_model(messages):
        await asyncio.sleep(0)
        yield piece


async def enter(request):
    user, _ = await get_user_model().objects.aget_or_create(username=request.POST["user"])
    await alogin(request, user)
    return JsonResponse({"user": user.username})


async def index(request):
    mine = async_repository.for_user(await request.auser())
    if request.method == "POST":
        made = await mine.create_session(uuid4().hex, title=request.POST.get("title"))
        return JsonResponse({"id": made.session_id})
    page = await mine.list_sessions(cursor=request.GET.get("cursor"))
    listed = [{"id": one.session_id, "title": one.title} for one in page.items]
    return JsonResponse({"chats": listed, "cursor": page.next_cursor})


async def chat(request, chat, after=None):
    mine = async_repository.for_user(await request.auser())
    session = await mine.get_session(chat)
    if request.method == "DELETE":
        return JsonResponse({"deleted": await mine.delete_session(chat)})
    if request.method == "POST":
        question = [HumanMessage(request.POST["text"])] if "text" in request.POST else []
        answer = await mine.begin_answer(chat, question, after=after)
        return stream(answer, pieces(await mine.get_messages(chat, incomplete=False)))
    said = [
        {"position": one.position, "type": one.message.type, "text": one.message.content, "state": one.state}
        for one in await mine.get_records(chat, last=50)
    ]
    return JsonResponse({"title": session.title, "messages": said})


async def branch(request, chat, through):
    mine = async_repository.for_user(await request.auser())
    return JsonResponse({"id": (await mine.fork_session(chat, uuid4().hex, through=through)).session_id})


async def search(request):
    mine = async_repository.for_user(await request.auser())
    hits = await mine.search(request.GET.get("q", ""))
    return JsonResponse({"hits": [{"id": hit.session_id, "text": hit.content} for hit in hits]})


urlpatterns = [
    path("login", enter), path("chats", index), path("chats/<chat>", chat), path("chats/<chat>/<int:after>", chat),
    path("chats/<chat>/<int:through>/branch", branch), path("search", search),
]
"""


def answer_to(question: str) -> str:
    """Return what the model of the tests answers."""
    word, count = re.match(r"(\w+) (\d+)x", question).groups()  # type: ignore[union-attr]
    return "".join(f"{word}{number} " for number in range(int(count)))


class Framework(NamedTuple):
    """The example application of one framework."""

    #: The page it stands on, and which of the page's files is the application.
    page: Path
    application: str
    #: How many lines the application may have, and how many of them may be about chats.
    lines: int
    glue: int
    #: The databases it is tested on, and how it is told where one is.
    databases: Sequence[str]
    environment: Callable[[str], dict[str, str]]
    #: What a deployment runs once, as arguments of Python's.
    setup: Sequence[Sequence[str]]
    #: What serves it, a module of Python's with options, and the module and name of what is served.
    serve: Sequence[str]
    target: str
    #: Files that are added to those of the page, or take their places: the tests' model, and what looks from inside.
    files: dict[str, str]
    browser: type[Browser] = Browser
    #: How many processes serve it, and whether an answer goes on when its reader leaves.
    processes: int = 4
    goes_on: bool = False


def flask_environment(url: str) -> dict[str, str]:
    """Tell Flask where the database is; one on SQLite waits as long as the page says."""
    return {
        "FLASK_SQLALCHEMY_DATABASE_URI": f"{url}?timeout=20" if url.startswith("sqlite") else url,
        "FLASK_SECRET_KEY": "for tests",
    }


def django_environment(url: str) -> dict[str, str]:
    """Tell Django where the database is; of a SQLite file the name alone, so that it gets the page's options."""
    told = {"DJANGO_SETTINGS_MODULE": "chats.settings", "SECRET_KEY": "for tests"}
    names = {"NAME"} if url.startswith("sqlite") else set(settings_of(url))
    return told | {f"DB_{name}": settings_of(url)[name] for name in names}


class DjangoBrowser(Browser):
    """Knows how the Django example says where a branch begins."""

    def branch(self, chat: str, through: int) -> str:
        """Go on from a message in a chat of its own; return its id."""
        return str(self.call("POST", f"/chats/{chat}/{through}/branch")["id"])


FRAMEWORKS = {
    "flask": Framework(
        page=HOW_TO / "flask.md",
        application="app.py",
        lines=60,
        glue=40,
        databases=("sqlite", "postgres"),
        environment=flask_environment,
        setup=[
            ["-m", "flask", "--app", "app", "db", "init"],
            ["-m", "flask", "--app", "app", "db", "migrate"],
            ["-m", "flask", "--app", "app", "db", "upgrade"],
        ],
        serve=("gunicorn", "--preload", "--workers", "4", "--threads", "4", "--bind", f"unix:{SOCKET}"),
        target="inside:app",
        files={"model.py": MODEL, "inside.py": FLASK},
    ),
    "fastapi": Framework(
        page=HOW_TO / "fastapi.md",
        application="app.py",
        lines=60,
        glue=30,
        databases=("sqlite", "postgres"),
        environment=lambda url: {"CHATSTORE_URL": url, "SECRET_KEY": "for tests"},
        setup=[["-m", "chatstore", "upgrade"]],
        serve=("uvicorn", "--workers", "2", "--no-access-log", "--uds", SOCKET),
        target="inside:app",
        files={"model.py": MODEL, "inside.py": FASTAPI},
        browser=RouterBrowser,
        processes=2,
        goes_on=True,
    ),
    "django": Framework(
        page=HOW_TO / "django.md",
        application="chats/views.py",
        lines=46,  # and fourteen of settings: see test_django
        glue=40,
        databases=("sqlite", "postgres", "mariadb"),
        environment=django_environment,
        setup=[["-m", "django", "migrate", "--run-syncdb"]],
        serve=("gunicorn", "--preload", "--workers", "4", "--threads", "4", "--bind", f"unix:{SOCKET}"),
        target="inside:application",
        files={"model.py": MODEL, "chats/__init__.py": DJANGO_START, "inside.py": DJANGO.format(kind="wsgi")},
        browser=DjangoBrowser,
    ),
    "django awaited": Framework(
        page=HOW_TO / "django.md",
        application="chats/views.py",
        lines=46,
        glue=40,
        databases=("sqlite", "postgres", "mariadb"),
        environment=django_environment,
        setup=[["-m", "django", "migrate", "--run-syncdb"]],
        serve=("uvicorn", "--workers", "4", "--uds", SOCKET, "--timeout-graceful-shutdown", "10"),
        target="inside:application",
        files={
            "model.py": MODEL,
            "chats/__init__.py": DJANGO_START,
            "chats/views.py": AWAITED,
            "inside.py": DJANGO.format(kind="asgi"),
        },
        browser=DjangoBrowser,
    ),
}


@contextmanager
def set_up(name: str, url: str, *planted: tuple[str, str]) -> Iterator[Server]:
    """Give the example of framework *name* on the empty database at *url*, with its tables, not yet running.

    Each of *planted* is a text of the application and what takes its place: a fault that the tests shall find.
    """
    framework = FRAMEWORKS[name]
    with tempfile.TemporaryDirectory(prefix="chatstore-") as made:  # short, as the name of a socket must be
        folder = Path(made)
        written(framework.page, folder)
        for file, text in framework.files.items():
            (folder / file).write_text(text, encoding="utf-8")
        application = folder / framework.application
        for right, wrong in planted:
            source = application.read_text(encoding="utf-8")
            assert right in source, right
            application.write_text(source.replace(right, wrong), encoding="utf-8")
        server = Server(folder, framework.target, framework.environment(url), framework.serve)
        for words in framework.setup:
            server.command(*words)
        yield server
