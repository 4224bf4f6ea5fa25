"""Who comes in: hosts, the token, where forms come from, how often and how much; and what every answer says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import Client

from chatstore.connect import connect
from chatstore.errors import StorageUnavailable
from chatstore.messages import HumanMessage
from chatstore.viewer import Viewer, gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.repository import Repository

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def store() -> Iterator[Repository]:
    """Give one conversation."""
    with connect("memory:") as made:
        made.add_messages("one", [HumanMessage("hello")])
        yield made


def test_every_answer_forbids_what_no_page_needs(store: Repository) -> None:
    """Pages, files, errors and redirects have the same strict headers; a policy allows nothing inline."""
    client = Client(Viewer(store))

    for path in ("/", "/session?id=one", "/static/viewer.js", "/nothing", "/search"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "unsafe" not in policy
        assert "nosniff" == headers["X-Content-Type-Options"]
        assert "no-referrer" == headers["Referrer-Policy"]
        assert "DENY" == headers["X-Frame-Options"]


def test_no_page_has_a_script_or_a_style_in_it(store: Repository) -> None:
    """Whatever a browser would think of the policy: there is nothing inline, and nothing from elsewhere."""
    client = Client(Viewer(store, allow_delete=True, allow_export=True))

    for path in ("/", "/session?id=one", "/numbers", "/delete?id=one", "/search?q=hello", "/nothing"):
        text = client.get(path).text
        assert 1 == text.count("<script") == text.count('<script src="static/')
        assert not [
            found
            for found in ("<style", " style=", " onclick", "javascript:", "http:", "https:")
            if found in text
        ]


def test_only_its_own_names_are_answered(store: Repository) -> None:
    """A page of another site that has its name point here is told nothing."""
    client = Client(Viewer(store, hosts={"127.0.0.1:8000", "localhost:8000"}))

    for host, status in (
        ("localhost:8000", 200),
        ("LOCALHOST:8000", 200),
        ("evil.example", 403),
        ("localhost", 403),
    ):
        assert status == client.get("/", headers={"Host": host}).status_code, host


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://localhost.evil.example", "https://localhost:1"]
)
def test_a_form_of_another_page_changes_nothing(store: Repository, origin: str | None) -> None:
    """Browsers say where a form comes from; without that, or from elsewhere, it is refused."""
    client = Client(Viewer(store, allow_delete=True))
    headers = {} if origin is None else {"Origin": origin}

    assert 403 == client.post("/delete", data={"id": "one", "sure": "yes"}, headers=headers).status_code
    assert 1 == store.count_messages("one")


def test_forms_are_taken_by_pages_that_have_one(store: Repository) -> None:
    """Everything else is read with GET."""
    client = Client(Viewer(store))

    for path in ("/", "/session?id=one", "/search?q=x", "/export?id=one"):
        assert 405 == client.post(path, headers={"Origin": "http://localhost"}).status_code
    assert 405 == client.delete("/", headers={"Origin": "http://localhost"}).status_code


def test_a_token_opens_the_door_once(store: Repository) -> None:
    """Nothing is shown before; the cookie that it brings is not the token, and no script reads it."""
    client = Client(Viewer(store, token=TOKEN))
    before = client.get("/session?id=one")
    assert (401, False) == (before.status_code, "hello" in before.text)
    assert 200 == client.get("/static/viewer.css").status_code

    answer = client.get(f"/?token={TOKEN}")

    assert (303, "/") == (answer.status_code, answer.headers["Location"])
    cookie = answer.headers["Set-Cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "hello" in client.get("/session?id=one").text
    assert 401 == Client(Viewer(store, token=TOKEN + "!")).get("/", headers={"Cookie": cookie}).status_code


def test_a_token_is_typed_into_a_form(store: Repository) -> None:
    """As well as written in the address."""
    client = Client(Viewer(store, token=TOKEN))
    own = {"Origin": "http://localhost"}

    assert "not the token" in client.post("/sign-in", data={"token": "wrong"}, headers=own).text
    assert 303 == client.post("/sign-in", data={"token": TOKEN}, headers=own).status_code
    assert 200 == client.get("/").status_code


def test_tokens_cannot_be_guessed_fast(store: Repository) -> None:
    """Ten wrong ones a minute; the right one is still taken."""
    client = Client(Viewer(store, token=TOKEN))

    answers = [client.get(f"/?token=wrong-{number}").status_code for number in range(12)]

    assert [401] * 10 + [429] * 2 == answers
    assert 303 == client.get(f"/?token={TOKEN}").status_code


def test_a_client_that_asks_too_often_waits(store: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times its rate at once, then its rate; another client goes on."""
    now = [0.0]
    monkeypatch.setattr(gate, "monotonic", lambda: now[0])
    client = Client(Viewer(store, rate=2))

    answers = [client.get("/").status_code for _ in range(12)]
    refused = client.get("/")
    others = client.get("/", environ_overrides={"REMOTE_ADDR": "192.0.2.1"}).status_code
    now[0] += 1
    later = [client.get("/").status_code for _ in range(3)]

    assert [200] * 10 + [429] * 2 == answers
    assert "1" == refused.headers["Retry-After"]
    assert 200 == others
    assert [200, 200, 429] == later


def test_clients_that_are_counted_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes up addresses does not fill the memory."""
    monkeypatch.setattr(gate, "_CLIENTS", 5)
    bucket = gate.Bucket(1, 1)

    for number in range(100):
        bucket.wait(str(number))

    assert 5 == len(bucket._left)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/search?q=" + "x" * 9_000, {}, 414),
        ("POST", "/delete", {"data": {"id": "x" * 20_000}}, 413),
        ("POST", "/delete", {"data": {"id": "one"}, "headers": {"Transfer-Encoding": "chunked"}}, 413),
    ],
)
def test_what_is_too_large_is_refused(
    store: Repository, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    """Before anything is read of it."""
    headers = {"Origin": "http://localhost", **options.pop("headers", {})}

    assert (
        status
        == Client(Viewer(store, allow_delete=True))
        .open(path, method=method, headers=headers, **options)
        .status_code
    )


def test_a_storage_that_fails_is_told_without_what_it_said(
    store: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The page says that it cannot be read, the log says why; anything unforeseen is a page, too."""
    client = Client(Viewer(store))
    monkeypatch.setattr(
        store, "get_session", lambda _: (_ for _ in ()).throw(StorageUnavailable("secret host"))
    )

    with caplog.at_level(logging.WARNING):
        down = client.get("/session?id=one")
    monkeypatch.setattr(store, "get_session", lambda _: 1 / 0)
    wrong = client.get("/session?id=one")

    assert (503, False) == (down.status_code, "secret" in down.text)
    assert "secret host" in caplog.text
    assert (500, False) == (wrong.status_code, "ZeroDivisionError" in wrong.text)


def test_addresses_stay_below_where_it_is_mounted(store: Repository) -> None:
    """Pages link to each other wherever they are; the first one ends with a slash, or leads there."""
    viewer = Viewer(store)
    mounted = Client(viewer.at("/a/b/"))

    answer = mounted.get("/a/b")
    assert (308, "/a/b/") == (answer.status_code, answer.headers["Location"])
    text = mounted.get("/a/b/").text
    assert 'href="session?id=one"' in text
    assert "hello" in mounted.get("/a/b/session?id=one").text
    assert 404 == mounted.get("/a/bc/session?id=one").status_code
    assert 200 == Client(viewer.at("/")).get("/session?id=one").status_code
