"""The pages, asked for without a browser: what is on them, where they lead, how large they are."""

from __future__ import annotations

import re
from base64 import b64decode
from contextlib import nullcontext
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
from sqlalchemy import create_engine
from werkzeug.test import Client

from chatstore.backends.sql import browsing, statistics
from chatstore.connect import connect
from chatstore.errors import StorageUnavailable
from chatstore.messages import AIMessage, HumanMessage, ToolMessage
from chatstore.viewer import Viewer
from chatstore.viewer.source import Source
from tests import servers
from tests.viewer import workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.backends.sql.repository import SQLRepository
    from chatstore.repository import Repository

LISTED = re.compile(r'<a class="go" href="session\?id=([^"&]+)')
TURN = re.compile(r'<article class="turn [^"]*" id="m(\d+)"')


def get(client: Client, path: str) -> str:
    """Return a page, which must be there."""
    answer = client.get(urljoin("/", path))
    assert 200 == answer.status_code, (path, answer.text)
    assert len(answer.data) <= 100_000, path
    return answer.text


def links(text: str, words: str) -> list[str]:
    """Return where the links that say *words* lead."""
    return [
        unescape(href)
        for href, said in re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', text)
        if words in said
    ]


def walk(client: Client, path: str, words: str, pattern: re.Pattern[str]) -> list[list[str]]:
    """Follow the links that say *words*; return what *pattern* finds on each page."""
    pages = []
    while True:
        text = get(client, path)
        pages.append(pattern.findall(text))
        found = links(text, words)
        if not found:
            return pages
        path = found[0]


PLACES = ["memory", "sqlite", "postgres", "mariadb"]


@pytest.fixture(scope="module", params=PLACES)
def anywhere(request: pytest.FixtureRequest) -> Iterator[Repository]:
    """Give the workshop in each kind of storage, where all tests of it run together."""
    memory = nullcontext("memory:")
    with (
        memory if request.param == "memory" else servers.migrated_url(request.param) as url,
        connect(url) as made,
    ):
        workshop.fill(made)
        yield made


def is_sql(repository: Repository) -> bool:
    """Tell whether the pages can ask with SQL."""
    return Source(repository).sql is not None


def test_the_list_is_walked_to_its_end_and_back(anywhere: Repository) -> None:
    """Every session that is not archived is there once, newest first; on SQL also by the way back."""
    client = Client(Viewer(anywhere, rate=None))
    expected, cursor = [], None
    while True:
        page = anywhere.list_sessions(cursor=cursor)
        expected += [one.session_id for one in page.items]
        if (cursor := page.next_cursor) is None:
            break

    pages = walk(client, "", "Older", LISTED)
    assert expected == [one for page in pages for one in page]
    assert [50, 50, 26] == [len(page) for page in pages]

    if is_sql(anywhere):
        last = get(client, "")
        for _ in pages[1:]:
            last = get(client, links(last, "Older")[0])
        back = [LISTED.findall(last)]
        while newer := links(last, "Newer"):
            last = get(client, newer[0])
            back.append(LISTED.findall(last))
        assert expected == [one for page in reversed(back) for one in page]


@pytest.mark.parametrize(
    ("query", "some"),
    [
        ("user=ada", "ada-chain"),
        ("tenant=wheelhouse&user=kenji", "kenji-invoice"),
        ("archived=only", "chat-0003"),
        ("failed=1", "ada-lights"),
        ("model=wheel-1-vision&user=ada", "ada-lights"),
        ("type=system", "leila-headset"),
    ],
)
def test_filters_keep_what_they_say(anywhere: Repository, query: str, some: str) -> None:
    """A filter leaves some and not all; each that is on can be taken away by a link."""
    client = Client(Viewer(anywhere, rate=None))

    if not is_sql(anywhere) and re.search("failed|model|type", query):
        assert 501 == client.get(f"/?{query}").status_code
        return
    text = get(client, f"?{query}")

    assert some in LISTED.findall(text)
    pages = walk(client, f"?{query}", "Older", LISTED)
    found = [one for page in pages for one in page]
    everything = {one.session_id for one in anywhere.list_sessions(archived=None, limit=1000).items}
    assert len(found) == len(set(found))
    assert set(found) < everything
    assert query.count("=") == text.count('class="chip"')


def test_a_page_of_the_list_looks_at_so_many_and_goes_on(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no index helps, a page says that it ended early, and its link leads on to what fits."""
    monkeypatch.setattr(browsing, "LOOKED", 40)
    monkeypatch.setattr(browsing, "AT_ONCE", 20)
    client = Client(Viewer(repository, rate=None))

    pages = walk(client, "?model=wheel-1-vision&user=ada", "Older", LISTED)
    back = walk(client, "?model=none", "Older", LISTED)

    monkeypatch.undo()
    (at_once,) = walk(client, "?model=wheel-1-vision&user=ada", "Older", LISTED)
    assert at_once == [one for page in pages for one in page]
    assert [[], [], [], []] == back


def test_search_marks_what_it_found(anywhere: Repository) -> None:
    """The words are marked, hits lead to their message, best and newest first differ only in order."""
    client = Client(Viewer(anywhere, rate=None))

    newest = get(client, "search?q=chain")
    best = get(client, "search?q=grinds&order=best")

    assert "<mark>chain</mark>" in newest
    assert re.search(r'href="session\?id=ada-chain&amp;at=2#m2"', best)
    assert "No message says that" in get(client, "search?q=nothingofthekind")
    pages = walk(client, "search?q=warranty&tenant=wheelhouse", "More", LISTED)
    assert len(pages) > 1
    assert len(anywhere.search("warranty", tenant_id="wheelhouse", limit=1000)) == sum(map(len, pages))


@pytest.fixture(scope="module")
def long_one() -> Iterator[tuple[Client, Repository]]:
    """Give a conversation of a thousand messages with calls and results in it, and some that are long."""
    with servers.fresh_database("sqlite") as url, connect(url) as made:
        messages: list[Any] = []
        for number in range(250):
            call = {"name": "look", "args": {"n": number}, "id": f"c{number}", "type": "tool_call"}
            messages += [
                HumanMessage(f"question {number} " + "word " * (2_000 if number % 50 == 7 else 10)),
                AIMessage("", tool_calls=[call]),
                ToolMessage(f"result {number}", tool_call_id=f"c{number}"),
                AIMessage(f"answer {number}"),
            ]
        made.add_messages("long", messages)
        yield Client(Viewer(made, rate=None)), made


def test_a_long_conversation_is_read_both_ways(long_one: tuple[Client, Repository]) -> None:
    """From its end upwards and from its beginning downwards, every turn is there once, in order, calls with results."""
    client, _ = long_one

    up = walk(client, "session?id=long", "Earlier", TURN)
    down = walk(client, "session?id=long&after=0", "Later", TURN)

    expected = [str(n) for n in range(1, 1_001) if n % 4 != 3]
    assert expected == [one for page in down for one in page]
    assert expected == [one for page in reversed(up) for one in page]


@pytest.mark.parametrize("position", [1, 2, 3, 129, 500, 998, 1_000])
def test_a_permalink_shows_its_message(long_one: tuple[Client, Repository], position: int) -> None:
    """A page around a message has it, a tool's answer at its call, and leads both ways."""
    client, _ = long_one

    text = get(client, f"session?id=long&at={position}")

    assert f'id="m{position}"' in text
    assert (position > 100) is bool(links(text, "Earlier"))
    assert (position < 900) is bool(links(text, "Later"))


def test_long_messages_are_cut_and_whole_on_their_own_page(repository: Repository) -> None:
    """A page stays small whatever a message holds; all of it is behind a link, in parts."""
    text = "".join(f"line {number} of many\n" for number in range(20_000))
    with connect("memory:") as made:
        made.add_messages("huge", [HumanMessage(text), ToolMessage(text, tool_call_id="x"), AIMessage(text)])
        client = Client(Viewer(made, rate=None))
        assert len(links(get(client, "session?id=huge&after=0"), "Show all 368,890 characters")) >= 1
        parts = walk(client, "message?id=huge&at=1", "More", re.compile(r"line (\d+) of many"))

    del repository
    numbers = [int(one) for part in parts for one in part]
    assert 20_000 - 10 <= len(numbers) <= 20_000  # a line may be cut in two where a part ends
    assert sorted(numbers) == numbers


def test_a_conversation_shows_what_messages_hold(client: Client) -> None:
    """Markdown is rendered, reasoning and calls are folded, a failed call says so, pictures come from their data."""
    text = get(client, f"session?id={workshop.SHOWCASE}")

    assert "<td>upper bearing</td>" in text
    assert '<details class="reasoning"><summary>Reasoning</summary>' in text
    assert "✕ failed" in text
    assert 'id="m5"' in text  # the result of the failed call, at its call
    assert "1040 → 186 tokens" in text
    assert "after 8 s" in text
    shown = client.get(f"/picture?id={workshop.SHOWCASE}&at=2&number=1")
    assert (200, "image/png") == (shown.status_code, shown.mimetype)
    assert b64decode(workshop.png()) == shown.data
    assert "sandbox" in shown.headers["Content-Security-Policy"]


def test_forks_lead_to_each_other(client: Client) -> None:
    """The copy names its source, copied turns are marked, the source shows where it was forked."""
    copy, source = get(client, "session?id=ada-brakes-again"), get(client, "session?id=ada-brakes")

    assert 'A fork of <a href="session?id=ada-brakes&amp;at=7#m7">' in copy
    assert 6 == len(re.findall(r'class="turn \w+ copied"', copy))  # seven messages, one a result
    assert 'Forked from here: <a href="session?id=ada-brakes-again">' in source


def test_a_streaming_answer_is_told_from_others(sqlite_url: str) -> None:
    """While it is written it says so, and where a script finds it again; what was broken off says so, too."""
    with connect(sqlite_url) as made:
        client = Client(Viewer(made, rate=None))
        answer = made.begin_answer("chat", [HumanMessage("Tell me.")])
        answer.append("Once upon")
        while "Once" not in made.get_message("chat", 2).message.text:
            pass
        during = get(client, "session?id=chat")
        turn = get(client, "turn?id=chat&at=2")
        answer.stop()
        after = get(client, "session?id=chat")

    assert 'data-grows="turn?id=chat&amp;at=2"' in during
    assert "writing…" in during
    assert "Look again" in during
    assert "Once upon" in turn
    assert "broken off: stopped" in after
    assert "data-grows" not in after


def test_numbers_are_shown_with_their_sql(anywhere: Repository) -> None:
    """Each figure is a plot, a table and a statement that gives the table; without SQL, what cannot be said says so."""
    client = Client(Viewer(anywhere, rate=None))

    text = get(client, f"numbers?{workshop.MONTH}")

    statements = [
        unescape(one)
        for one in re.findall(r"<summary>SQL</summary><pre[^>]*><code>(.*?)</code>", text, re.DOTALL)
    ]
    plots = text.count('<svg class="plot"')
    if not is_sql(anywhere):
        assert (4, 4, 0) == (plots, text.count("This needs a SQL database"), len(statements))
        return
    assert (8, 8) == (plots, len(statements))
    engine = create_engine(anywhere._lease.url)  # type: ignore[attr-defined]
    with engine.connect() as connection:
        for statement in statements:
            assert connection.exec_driver_sql(statement.rstrip(";").replace("%", "%%")).all()
    engine.dispose()


def test_a_question_that_takes_too_long_leaves_the_others(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figure says what to do; the page is there with the rest."""
    ask = statistics.ask

    def slow(repository: SQLRepository, question: str, period: statistics.Period) -> statistics.Answer | None:
        if question == "tools":
            raise StorageUnavailable("the deadline")
        return ask(repository, question, period)

    monkeypatch.setattr(statistics, "ask", slow)

    text = get(client, f"numbers?{workshop.MONTH}")

    assert (1, 7) == (text.count("This took too long"), text.count('<svg class="plot"'))


def test_every_number_is_right(client: Client, repository: Repository) -> None:
    """The table of the models is what `usage` counts; that of the tools is what the conversations say."""
    text = get(client, f"numbers?{workshop.MONTH}")

    tables = re.findall(r'id="f-(\w+)">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    rows = {
        key: [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", body)]
        for key, body in tables
    }
    models = {row.model: f"{row.messages:,}" for row in repository.usage(by=["model"]) if row.model}
    assert models == {row[0]: row[1] for row in rows["models"]}
    assert sum(int(row[1].replace(",", "")) for row in rows["messages"]) == sum(
        row.messages for row in repository.usage(by=["day"])
    )
    failed = dict.fromkeys((*workshop.TOOLS, "wind"), 0)
    for session in repository.list_sessions(limit=1000, archived=None).items:
        if not session.forked_from:
            for message in repository.get_messages(session.session_id):
                if getattr(message, "status", None) == "error":
                    failed[str(message.name)] += 1  # type: ignore[union-attr]
    assert failed == {row[0]: int(row[2]) for row in rows["tools"]}
    asked = [int(row[1]) for row in rows["hours"]]
    assert sum(asked) == sum(
        message.type == "human"
        for session in repository.list_sessions(limit=1000, archived=None).items
        for message in repository.get_messages(session.session_id)[session.forked_at or 0 :]
    )


@pytest.mark.parametrize(
    "path",
    ["session", "session?id=", "session?id=nobody", "message?id=ada-brakes&at=99", "message?id=ada-brakes", "nothing",
     "static/../app.py", "picture?id=ada-brakes&at=2&number=1", "delete?id=ada-brakes", "export?id=ada-brakes"],
)  # fmt: skip
def test_what_is_not_there_is_a_404(client: Client, path: str) -> None:
    """And the page says where to go on; deleting and exporting are not there unless allowed."""
    answer = client.get(f"/{path}")

    assert 404 == answer.status_code
    assert '<a href="./">All conversations</a>' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "?since=yesterday",
        "?since=9999-12-31",
        "?older=x",
        "?older=99999999999999999999999~x",
        "?newer=1~",
        "?cursor=x&archived=all",
        "?user=" + "u" * 256,
        "search?q=" + "w" * 1001,
        "search?q=x&id=" + "i" * 300,
        "session?id=ada-brakes&at=x",
    ],
)
def test_a_wrong_address_is_told(path: str) -> None:
    """With 400, and with what to do; nothing fails."""
    with connect("memory:") as made:
        answer = Client(Viewer(made, rate=None)).get(f"/{path}")

    assert (404 if path.startswith("session") else 400) == answer.status_code, answer.text


def test_another_owners_conversation_is_a_404(repository: Repository) -> None:
    """On every page that names one, read by somebody whose scope does not have it; lists and numbers leave it out."""
    client = Client(
        Viewer(repository.scope(user_id="kenji"), rate=None, allow_delete=True, allow_export=True)
    )

    for page in ("session", "message", "turn", "picture", "delete", "export"):
        assert 404 == client.get(f"/{page}?id=ada-lights&at=1&number=1").status_code, page
    form = {"id": "ada-lights", "sure": "yes"}
    assert 404 == client.post("/delete", data=form, headers={"Origin": "http://localhost"}).status_code
    assert 5 == repository.count_messages("ada-lights")
    assert [] == [one for one in LISTED.findall(get(client, "")) if one.startswith("ada")]
    assert "No message says that" in get(client, "search?q=halogen")
    users = re.findall(r'<th scope="row"><bdi>(\w+)</bdi>', get(client, f"numbers?{workshop.MONTH}"))
    assert "kenji" in users
    assert "ada" not in users


def test_deleting_and_exporting_where_they_are_allowed(sqlite_url: str) -> None:
    """A form asks first; a download is what chatstore reads again."""
    with connect(sqlite_url) as made:
        workshop.showcase(made)
        client = Client(Viewer(made, rate=None, allow_delete=True, allow_export=True))
        page = get(client, f"session?id={workshop.SHOWCASE}")
        assert links(page, "Export")
        exported = client.get(f"/export?id={workshop.SHOWCASE}")
        assert 8 == len(exported.get_json())
        assert "attachment" in exported.headers["Content-Disposition"]

        assert "will be lost" in get(client, f"delete?id={workshop.SHOWCASE}")
        own = {"Origin": "http://localhost"}
        assert 400 == client.post("/delete", data={"id": workshop.SHOWCASE}, headers=own).status_code
        assert 8 == made.count_messages(workshop.SHOWCASE)
        form = {"id": workshop.SHOWCASE, "sure": "yes"}
        assert 303 == client.post("/delete", data=form, headers=own).status_code
        assert 404 == client.get(f"/session?id={workshop.SHOWCASE}").status_code


def test_any_session_id_has_a_page(sqlite_url: str) -> None:
    """Ids are any text; what paths would lose is kept, since ids are in the query."""
    ids = ["..", "../..", "a/b", "a b", "?x=1&y", "#m1", "%2e%2e", "日本", "é\u0301", "<script>", "'\"", "."]
    with connect(sqlite_url) as made:
        for one in ids:
            made.add_messages(one, [HumanMessage(f"in {one!r}")])
        client = Client(Viewer(made, rate=None))
        listed = [unescape(href) for href in re.findall(r'<a class="go" href="([^"]+)"', get(client, ""))]
        for href in listed:
            assert 1 == len(TURN.findall(get(client, href)))

    assert len(ids) == len(listed) == len(set(listed))
