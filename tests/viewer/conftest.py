"""A workshop's conversations, a viewer over them, a server on the loopback interface, a real Chromium.

Where there is no Chromium, what needs one is skipped, with the reason counted; `CHATSTORE_TEST_REQUIRE=chromium` makes
that a failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client

from chatstore.connect import connect
from chatstore.viewer import Viewer
from tests import servers
from tests.viewer import workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from chatstore.repository import Repository

#: Flags for a machine without a screen and without a network: Chromium must look for nothing by itself.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(application: Any) -> Iterator[str]:
    """Serve *application* on a free port; give the address of its first page."""
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def repository() -> Iterator[Repository]:
    """Give the workshop's conversations, in SQLite; tests only read them."""
    with servers.fresh_database("sqlite") as url, connect(url) as made:
        workshop.fill(made)
        yield made


@pytest.fixture(scope="session")
def client(repository: Repository) -> Client:
    """Give somebody who asks for pages without a browser."""
    return Client(Viewer(repository, rate=None))


@pytest.fixture(scope="session")
def address(repository: Repository) -> Iterator[str]:
    """Give the address of a viewer that runs."""
    with served(Viewer(repository, rate=None)) as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Give a running Chromium, that of the system."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    required = "chromium" in os.environ.get(servers.REQUIRE, "")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        why = "no Chromium, or no Playwright: apt-get install chromium, pip install '.[test-viewer]'"
        if required:
            pytest.fail(why)
        pytest.skip(why)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, address: str) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a page of the viewer; what it complains about fails the test at its end."""
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:

        def opened(path: str = "", *, at: str | None = None, **options: Any) -> Any:
            context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(f"{path}: {error}"))
            page.on(
                "console",
                lambda said: complaints.append(f"{path}: {said.text}") if said.type == "error" else None,
            )
            page.goto((at or address) + path)
            return page

        yield opened
    assert [] == complaints
