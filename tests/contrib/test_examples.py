"""The example application of each framework, served by several processes and used over HTTP."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests import servers
from tests.contrib import chatting
from tests.contrib.browsing import Browser
from tests.contrib.counting import glue
from tests.contrib.frameworks import FRAMEWORKS, set_up
from tests.contrib.server import written
from tests.reliability.campaign import Campaign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contrib.server import Server

pytestmark = pytest.mark.timeout(300)
PLACES = [(name, kind) for name, framework in FRAMEWORKS.items() for kind in framework.databases]


@pytest.mark.parametrize(("name", "kind"), PLACES)
def test_two_users_chat(name: str, kind: str) -> None:
    """They see their own chats only, regenerate, branch and search; the server is stopped, and killed, in between."""
    with servers.fresh_database(kind) as url, set_up(name, url) as server:
        chatting.two_users(server, FRAMEWORKS[name].browser)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_body_of_20_mb(name: str) -> None:
    """It is answered with 413, by the limit that the example sets, and nothing of it is stored."""
    with servers.fresh_database("sqlite") as url, set_up(name, url) as server:
        chatting.oversized(server, FRAMEWORKS[name].browser)


EVERYBODYS = ("chats.mine.", "chats.repository.")
LEFT_OPEN = (
    "    question = [",
    "    app.extensions.setdefault('open', []).append(db.engine.connect())\n    question = [",
)
#: What people write first: the answer is stored when it is whole.
AT_THE_END = (
    "    return chats.stream(answer, ",
    """\
    def whole(pieces, mine=chats.mine):
        text = ""
        for piece in pieces:
            text += piece
            yield events.text_event(piece, "", len(text))
        mine.add_messages(chat, [AIMessage(text)])
    answer.stop()
    return app.response_class(whole(""",
)
IMPORTS = (
    "from chatstore import HumanMessage",
    "from chatstore import AIMessage, HumanMessage\nfrom chatstore.contrib import events",
)
CLOSED = ("incomplete=False)))", "incomplete=False))), mimetype='text/event-stream')")


def planted(*faults: tuple[str, str]) -> contextlib.AbstractContextManager[tuple[str, Server]]:
    """Give the Flask example with faults in it, and where its database is."""

    @contextlib.contextmanager
    def made() -> Iterator[tuple[str, Server]]:
        with servers.fresh_database("sqlite") as url, set_up("flask", url, *faults) as server:
            yield url, server

    return made()


def test_a_chat_that_is_everybodys_is_found() -> None:
    """Without the scope of a user, two users see each other; the crowd counts it."""
    with planted(EVERYBODYS) as (_, server), pytest.raises(AssertionError):
        chatting.two_users(server, Browser)
    with (
        planted(EVERYBODYS) as (url, server),
        pytest.raises(AssertionError, match=r"'other_peoples_data': [1-9]"),
    ):
        chatting.mixed(server, Browser, url, 100, 4)


def test_a_connection_that_stays_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a view opened and nobody closed is counted."""
    monkeypatch.setattr(chatting, "SECONDS", 2.0)
    with (
        planted(LEFT_OPEN) as (url, server),
        pytest.raises(AssertionError, match=r"'connections_left_out': [1-9]"),
    ):
        chatting.mixed(server, Browser, url, 50, 4)


def test_an_answer_that_is_stored_at_its_end_is_lost() -> None:
    """If the client leaves in the middle, nothing of it is there; it is counted."""
    campaign = Campaign("planted: clients that leave", 4)
    with planted(IMPORTS, AT_THE_END, CLOSED) as (_, server):
        counted = chatting.leaving(server, Browser, campaign, together=4)
    assert 4 == counted["lost"]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_example_is_short(name: str, tmp_path: Path) -> None:
    """A whole application takes few lines, and few of these are about chats."""
    framework = FRAMEWORKS[name]
    written(framework.page, tmp_path)
    source = (tmp_path / framework.application).read_text(encoding="utf-8")

    assert 20 <= len(source.splitlines()) <= framework.lines
    assert 4 <= len(glue(source)) <= framework.glue
