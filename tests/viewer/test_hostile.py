"""Whatever is stored, nothing of it runs, fetches, frames or leads astray, in a real Chromium.

The walls are tried one at a time: all vectors with the policy, all of them without it (so that escaping alone has to
hold), and planted faults, which the same look must find.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from markupsafe import Markup

from chatstore.connect import connect
from chatstore.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from chatstore.viewer import Viewer, app, prose
from tests.viewer.conftest import served
from tests.viewer.vectors import all_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from chatstore.messages import Message
    from chatstore.repository import Repository

pytestmark = pytest.mark.timeout(300)
VECTORS = all_vectors()
#: Vectors in one conversation, each in every place of a message.
TOGETHER = 10
#: Makes what a vector calls count, wherever it is called from.
COUNTING = """window.hits = 0; window.hit = () => { window.hits += 1; };
for (const name of ['alert', 'confirm', 'prompt', 'open']) window[name] = window.hit;"""
UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
HOVER = """document.querySelectorAll('main *').forEach(
    one => one.dispatchEvent(new MouseEvent('mouseover', { bubbles: true })))"""
#: What no page may hold, whether it has an effect now or not.
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")


def fill(repository: Repository, vectors: list[str]) -> list[str]:
    """Store *vectors* in every place that there is; return the ids of the conversations."""
    ids = []
    for start in range(0, len(vectors), TOGETHER):
        some = vectors[start : start + TOGETHER]
        session_id = f"v{start}"
        repository.create_session(session_id, metadata={text: text for text in some if "\0" not in text})
        for number, text in enumerate(some):
            repository.add_messages(session_id, spoken(text, f"{start}-{number}"))
        ids.append(session_id)
    for number, text in enumerate(vectors):
        own = (
            "".join(char if char.isprintable() else " " for char in f"{number} {text}").strip()[:255].strip()
        )
        repository.create_session(own, title=text.replace("\0", " "), user_id=own, tenant_id=own)
        repository.add_messages(own, [HumanMessage(f"findme {text}")])
    return ids


def spoken(text: str, key: str) -> list[Message]:
    """Return messages with *text* in their texts, names, calls, results, files, pictures and what is known of them."""
    name = text[:200]
    blocks: list[Any] = [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": text}},
        {"type": "image", "base64": text, "mime_type": text},
        {"type": "file", "file": {"filename": text, "file_data": text}},
        {"type": text, text: text},
        {"type": "thinking", "thinking": text},
    ]
    calls = [{"name": text, "args": {text: text}, "id": key, "type": "tool_call"}]
    wrong = [{"name": text, "args": text, "id": text, "error": text, "type": "invalid_tool_call"}]
    about = {"model_name": name, "finish_reason": name}
    return [
        SystemMessage(text),
        HumanMessage(blocks, name=name),
        AIMessage(text, tool_calls=calls, invalid_tool_calls=wrong, response_metadata=about, name=name),
        ToolMessage(text, tool_call_id=key, name=text, status="error"),
        ToolMessage(text, tool_call_id=f"{key}!", name=text),
    ]


class Watched:
    """A page that counts what happens on it."""

    def __init__(self, chromium: Browser, address: str, *, bypass: bool = False) -> None:
        """Open an empty one."""
        self.context = chromium.new_context(bypass_csp=bypass)
        self.context.add_init_script(COUNTING)
        self.page = self.context.new_page()
        self.address, self.found = address, list[str]()
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.on("dialog", self._dialog)
        self.context.on("page", lambda page: self.found.append(f"opened {page.url}"))

    def _requested(self, url: str) -> None:
        own = url.startswith(self.address) and urlsplit(url).path in PATHS
        if not own and not url.startswith("data:image/"):
            self.found.append(f"fetched {url}")

    def _dialog(self, dialog: Any) -> None:
        self.found.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def visit(self, path: str) -> list[str]:
        """Open a page, unfold it, move over it, press its keys; return what it did and should not."""
        page, before = self.page, len(self.found)
        page.goto(self.address + path)
        page.evaluate(UNFOLD)
        page.evaluate(HOVER)
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.wait_for_timeout(
            60
        )  # for what an element does once it is there; what comes later counts on the next page
        self.found += [f"ran, {hits} times" for hits in [page.evaluate("window.hits")] if hits]
        self.found += [f"framed {frame.url}" for frame in page.frames[1:]]
        self.found += [f"left for {page.url}"] * (page.url != self.address + path)
        self.found += page.evaluate(LOOK)
        return [f"{path}: {one}" for one in self.found[before:]]


#: Where pages of the viewer are.
PATHS = {f"/{name}" for name in ("", "search", "session", "message", "turn", "picture", "numbers", "static/viewer.css",
                                 "static/viewer.js", "static/icon.svg")}  # fmt: skip


@contextlib.contextmanager
def watching(
    chromium: Browser, vectors: list[str], *, bypass: bool = False
) -> Iterator[tuple[Watched, list[str], Repository]]:
    """Serve *vectors*, and give a page that watches."""
    with connect("memory:") as store:
        ids = fill(store, vectors)
        with served(Viewer(store, rate=None)) as address:
            watched = Watched(chromium, address, bypass=bypass)
            try:
                yield watched, ids, store
            finally:
                watched.context.close()


def all_pages(store: Repository, ids: list[str]) -> list[str]:
    """Return the pages that show everything: lists, conversations to their end, hits, messages, numbers."""
    pages = [""]
    cursor = store.list_sessions(limit=50).next_cursor
    while cursor:
        pages.append(f"?cursor={cursor}")
        cursor = store.list_sessions(limit=50, cursor=cursor).next_cursor
    for one in ids:
        pages += [f"session?id={one}&after={after}" for after in (0, 25)]
    pages += [f"search?q=findme&page={number}" for number in range(1, 6)]
    pages += [f"message?id={ids[0]}&at={at}" for at in (1, 2, 3, 4)]
    return [*pages, "numbers"]


def test_there_are_many_vectors() -> None:
    """At least two hundred, all different."""
    assert len(VECTORS) >= 200
    assert len(VECTORS) == len(set(VECTORS))


@pytest.mark.parametrize("bypass", [False, True], ids=["with the policy", "without the policy"])
def test_nothing_that_is_stored_does_anything(chromium: Browser, bypass: bool) -> None:
    """No vector in any place runs, fetches, frames, leads away or leaves an attribute behind: 0 of all of them."""
    with watching(chromium, VECTORS, bypass=bypass) as (watched, ids, store):
        found = [one for path in all_pages(store, ids) for one in watched.visit(path)]

    assert [] == found


def test_the_policy_holds_by_itself(chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where markup of strangers got into a page, the policy would still keep it from running and fetching."""
    monkeypatch.setattr(prose, "render", Markup)
    some = [one for one in VECTORS if one.startswith("<")][::9]
    with watching(chromium, some) as (watched, ids, _):
        page = watched.page
        ran = []
        for one in ids:
            page.goto(f"{watched.address}session?id={one}&after=0", wait_until="commit")
            page.wait_for_timeout(300)
            ran.append(page.evaluate("window.hits") or 0)
        fetched = [one for one in watched.found if "elsewhere" in one and "fetched" in one]

    assert 0 == sum(ran)
    # a refresh to another page is a link that follows itself, which no policy of today forbids; all else is
    assert [] == [one for one in fetched if "http-equiv" in one]


@pytest.mark.parametrize("fault", ["markdown", "escaping", "links"])
def test_a_planted_fault_is_found(chromium: Browser, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The same look finds markup that gets through, in each of the places where it could."""
    if fault == "markdown":
        monkeypatch.setattr(prose, "render", Markup)
    elif fault == "links":
        prose._parser.cache_clear()
        monkeypatch.setattr(prose, "is_link", lambda _: True)
        monkeypatch.setattr("nh3.clean", lambda html, **_: html)  # which knows of itself where links may lead
    monkeypatch.setattr(app, "POLICY", "default-src *")
    vectors = ["<img src=x onerror=hit()>", "[x](javascript:hit())"]
    with watching(chromium, vectors, bypass=True) as (watched, ids, store):
        found = _unescaped(watched, store) if fault == "escaping" else watched.visit(f"session?id={ids[0]}")
    prose._parser.cache_clear()

    assert found


def _unescaped(watched: Watched, store: Repository) -> list[str]:
    """Look at a viewer whose templates escape nothing."""
    viewer = Viewer(store, rate=None)
    viewer.looks._jinja.autoescape = False
    with served(viewer) as address:
        watched.address = address
        return watched.visit("")
