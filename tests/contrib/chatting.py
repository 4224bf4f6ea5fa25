"""What the example application of every framework must do over HTTP, whatever it is built with.

`two_users` is a day of two people, with the server killed in between; `leaving` are clients that go in the middle of
an answer; `mixed` is a crowd that does everything at once. Each runs against a `Server` that `frameworks.set_up`
gives, and raises AssertionError. Refuses to know frameworks and addresses: those are in `frameworks` and `browsing`.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import httpx

import chatstore
from tests import databases
from tests.contrib.browsing import Broken, Browser, Refused, Said
from tests.contrib.frameworks import answer_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contrib.server import Server
    from tests.reliability.campaign import Campaign

    Open = Callable[[Server], Browser]

SECONDS = 30.0
DONE, LEFT = "complete", "incomplete"


def status_of(call: Callable[..., Any], *arguments: Any) -> int:
    """Return the status of a call that is refused; AssertionError if it is not, or says no problem."""
    try:
        got = call(*arguments)
    except Refused as refused:
        return refused.as_problem()
    raise AssertionError(f"nobody refused it: other people's data, perhaps: {got}")


def turns(*questions: str) -> list[tuple[str, str]]:
    """Return what stands in a chat after *questions*, each answered."""
    return [pair for text in questions for pair in (("human", text), ("ai", answer_to(text)))]


def texts(said: list[Said]) -> list[tuple[str, str]]:
    """Return types and texts of messages."""
    return [(one.type, one.text) for one in said]


def settled(browser: Browser, chat: str) -> list[Said]:
    """Return the messages of a chat once none of them streams any more."""
    deadline = time.monotonic() + SECONDS
    while True:
        said = browser.said(chat)
        if all(one.state != "streaming" for one in said):
            return said
        assert time.monotonic() < deadline, f"an answer is left streaming: {said}"
        time.sleep(0.05)  # between two looks


# --------------------------------------------------------------------------------------------------- two users


def two_users(server: Server, open_: Open) -> None:
    """Two people chat, see only their own, regenerate, branch and search; the server is killed and comes back."""
    with ExitStack() as stack:
        with server:
            ada, bob = (stack.enter_context(open_(server)) for _ in range(2))
            assert 401 == status_of(ada.chats)
            ada.login("ada")
            bob.login("bob")
            garden, kitchen = ada.begin("Garden"), bob.begin("Kitchen")
            for one, chat, text in ((ada, garden, "tulips 3x0"), (bob, kitchen, "pears 4x1")):
                assert answer_to(text) == one.ask(chat, text)
            assert answer_to("roses 2x0") == ada.ask(garden, "roses 2x0")
            assert turns("tulips 3x0", "roses 2x0") == texts(ada.said(garden))
            assert {DONE} == {one.state for one in ada.said(garden) if one.type == "ai"}
            strangers(ada, kitchen, bob, garden)
        with server:  # it was stopped, and started again
            ada.reconnect()
            bob.reconnect()
            assert turns("tulips 3x0", "roses 2x0") == texts(ada.said(garden))
            regenerated(ada, garden)
            branched(ada, garden)
            found(ada, garden, bob)
            kept = begun(server, ada, garden)
            server.kill()
        with server:
            ada.reconnect()
            bob.reconnect()
            after_a_kill(ada, garden, kept)
            strangers(ada, kitchen, bob, garden)
            ada.delete(garden)
            assert 404 == status_of(ada.said, garden)
            assert turns("pears 4x1") == texts(bob.said(kitchen))


def oversized(server: Server, open_: Open) -> None:
    """Refuse a body of 20 MB, and store nothing of it; the next request is answered."""
    with server, open_(server) as ada:
        ada.login("ada")
        garden = ada.begin("Garden")
        status = 200
        try:
            ada.ask(garden, "x" * 20_000_000)
        except Refused as refused:
            status = refused.status  # the framework may say it in its own words
        assert 413 == status
        assert [] == ada.said(garden)
        assert answer_to("roses 2x0") == ada.ask(garden, "roses 2x0")


def strangers(ada: Browser, kitchen: str, bob: Browser, garden: str) -> None:
    """Neither finds, reads, changes or takes the other's chat; to both it looks like one that does not exist."""
    for one, theirs in ((ada, kitchen), (bob, garden), (ada, "no-such-chat")):
        assert theirs not in dict(one.chats())
        for call in (
            one.said,
            one.regenerate,
            partial(one.ask, text="mine 1x0"),
            partial(one.branch, through=1),
        ):
            assert 404 == status_of(call, theirs)
    assert not [hit for hit in ada.search("pears") if hit]
    assert not [hit for hit in bob.search("tulips") if hit]


def regenerated(ada: Browser, garden: str) -> None:
    """Ask for the last answer once more; it takes the place of the one before."""
    assert answer_to("roses 2x0") == ada.regenerate(garden)
    assert turns("tulips 3x0", "roses 2x0") == texts(ada.said(garden))


def branched(ada: Browser, garden: str) -> None:
    """From the first answer on there are two chats, and each goes its own way."""
    branch = ada.branch(garden, ada.said(garden)[1].position)
    assert answer_to("lilies 2x0") == ada.ask(branch, "lilies 2x0")
    assert turns("tulips 3x0", "lilies 2x0") == texts(ada.said(branch))
    assert turns("tulips 3x0", "roses 2x0") == texts(ada.said(garden))
    assert {branch, garden} == set(dict(ada.chats()))


def found(ada: Browser, garden: str, bob: Browser) -> None:
    """Search: a word leads to the chat that it stands in, for whom the chat belongs to."""
    assert {garden} == {chat for chat, _ in ada.search("roses0")}
    assert [] == bob.search("roses0")


def begun(server: Server, ada: Browser, garden: str) -> str:
    """Begin an answer that will not end; return what must outlive a kill now: all but the last half second."""
    pieces: list[tuple[float, str]] = []
    asking = ada.asking(garden, "moss 500x20")
    for piece in asking:
        pieces.append((time.monotonic(), piece))
        if len(pieces) == 60:
            break
    server.kill()  # while the client still listens
    now = time.monotonic()
    with suppress(httpx.HTTPError, Broken):
        list(asking)
    return "".join(piece for at, piece in pieces if at < now - 0.5)


def after_a_kill(ada: Browser, garden: str, kept: str) -> None:
    """Look: the question is there, and the answer up to the last flush, not called complete; the chat goes on."""
    *before, question, answer = ada.said(garden)
    assert turns("tulips 3x0", "roses 2x0") == texts(before)
    assert ("human", "moss 500x20") == (question.type, question.text)
    assert answer.state != DONE
    assert kept
    assert answer.text.startswith(kept)
    assert answer_to(question.text).startswith(answer.text)
    assert answer_to("fern 2x0") == ada.ask(garden, "fern 2x0")
    assert ("ai", answer_to("fern 2x0")) == texts(ada.said(garden))[-1]


# ------------------------------------------------------------------------------------- clients that leave


def leaving(server: Server, open_: Open, campaign: Campaign, *, together: int) -> Counter[str]:
    """Let clients ask and go away in the middle, *together* of them in a round; count what became of the answers.

    Every piece that a client got is in the store, in order, and the answer says that it is incomplete, unless the model
    came to its end all the same. `lost` counts answers of which less is there, or that are left streaming.
    """
    counted: Counter[str] = Counter()
    with server, ExitStack() as stack:
        people = [stack.enter_context(open_(server)) for _ in range(together)]
        for number, one in enumerate(people):
            one.login(f"user{number}")

        def leave(number: int, one: Browser) -> str:
            chat, question = one.begin(f"leaving {number}"), f"word{number}x 60x5"
            with closing(one.asking(chat, question)) as pieces:  # type: ignore[type-var]
                got = "".join(itertools.islice(pieces, random.Random(number).randrange(1, 20)))
            said = settled(one, chat)
            assert [("human", question), "ai"] == [
                (said[0].type, said[0].text),
                *(other.type for other in said[1:]),
            ]
            stored, state, whole = said[1].text, said[1].state, answer_to(question)
            if not (
                stored.startswith(got) and whole.startswith(stored) and (state == LEFT or stored == whole)
            ):
                return "lost"
            return str(state)

        with ThreadPoolExecutor(together) as pool:
            for number in campaign.rounds():
                wave = range(number * together, (number + 1) * together)
                counted.update(pool.map(leave, wave, people))
                campaign.done += together
    return counted


# ------------------------------------------------------------------------------------------------- a crowd


class Crowd:
    """Users on two devices each, who do everything at random; each device keeps to its own chats."""

    def __init__(self, server: Server, open_: Open, *, users: int = 8) -> None:
        """Nobody is logged in yet."""
        self.server, self.open = server, open_
        self.devices = [(f"person{number % users}x", number) for number in range(users * 2)]
        self.lock = Lock()
        self.chats: dict[str, list[str]] = {user: [] for user, _ in self.devices}
        self.requests = 0
        self.faults: list[str] = []

    def run(self, requests: int) -> None:
        """Send at least *requests* requests, from all devices at once."""
        with ThreadPoolExecutor(len(self.devices)) as pool:
            list(pool.map(partial(self.live, -(-requests // len(self.devices))), self.devices))

    def live(self, requests: int, who: tuple[str, int]) -> None:
        """Do things on one device until it has sent so many *requests*."""
        with self.open(self.server) as browser:
            device = Device(self, browser, *who)
            while device.requests < requests:
                doing = device.chance.choice(DEEDS) if device.mine else Device.begin
                try:
                    doing(device)
                except (AssertionError, httpx.HTTPError) as error:
                    self.faults.append(f"{who[0]}, {doing.__name__}: {type(error).__name__}: {error}")
            self.requests += device.requests

    def theirs(self, user: str) -> list[str]:
        """Return the chats of everybody else."""
        with self.lock:
            return [chat for name, chats in self.chats.items() if name != user for chat in chats]


class Device:
    """One user's browser on one device, and what is done there."""

    def __init__(self, crowd: Crowd, browser: Browser, user: str, number: int) -> None:
        """Log in."""
        self.crowd, self.browser, self.user = crowd, browser, user
        self.chance = random.Random(f"crowd {number}")
        self.mine: list[str] = []
        browser.login(user)

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self.browser.requests

    def question(self, count: int, pause: int = 0) -> str:
        """Return a question that says whose it is, and so does its answer."""
        return f"{self.user} {count}x{pause}"

    def seen(self, *what: str) -> None:
        """See to it that everything the user is shown is the user's own."""
        others = [text for text in what if not text.startswith(self.user)]
        assert not others, f"other people's: {others}"

    def begin(self) -> None:
        """Begin a chat."""
        chat = self.browser.begin(f"{self.user} {self.chance.random()}")
        self.mine.append(chat)
        with self.crowd.lock:
            self.crowd.chats[self.user].append(chat)

    def look(self) -> None:
        """List the chats."""
        self.seen(*(title for _, title in self.browser.chats()))

    def read(self) -> None:
        """Read a chat."""
        self.seen(*(one.text for one in self.browser.said(self.chance.choice(self.mine))))

    def ask(self) -> None:
        """Ask, and read the answer while it streams."""
        question, chat = self.question(self.chance.randrange(1, 12), self.chance.randrange(3)), self.mine[-1]
        assert answer_to(question) == self.browser.ask(chat, question)
        assert turns(question) == texts(self.browser.said(chat))[-2:]

    def leave(self) -> None:
        """Ask, and go in the middle, for good."""
        chat = self.browser.begin(f"{self.user} left")
        with closing(self.browser.asking(chat, self.question(40, 5))) as pieces:  # type: ignore[type-var]
            self.seen(next(pieces))

    def regenerate(self) -> None:
        """Ask for another answer."""
        chat, question = self.browser.begin(f"{self.user} again"), self.question(3)
        self.browser.ask(chat, question)
        assert answer_to(question) == self.browser.regenerate(chat)
        assert turns(question) == texts(self.browser.said(chat))

    def branch(self) -> None:
        """Branch a chat that has something in it."""
        if said := self.browser.said(self.mine[-1]):
            copy = self.browser.branch(self.mine[-1], said[-1].position)
            assert texts(said) == texts(self.browser.said(copy))[-len(said) :]

    def search(self) -> None:
        """Search for words of one's own, and of somebody else's."""
        self.seen(*(text for _, text in self.browser.search(f"{self.user}0")))
        other = next(name for name in self.crowd.chats if name != self.user)
        assert [] == self.browser.search(f"{other}0")

    def intrude(self) -> None:
        """Guess the id of somebody else's chat."""
        if theirs := self.crowd.theirs(self.user):
            chat = self.chance.choice(theirs)
            assert 404 == status_of(self.browser.said, chat)
            assert 404 == status_of(self.browser.ask, chat, self.question(1))

    def forge(self) -> None:
        """Make a cursor up."""
        assert 400 == status_of(partial(self.browser.chats, cursor="bm90IGEgY3Vyc29y"))

    def delete(self) -> None:
        """Delete a chat."""
        chat = self.mine.pop(self.chance.randrange(len(self.mine)))
        with self.crowd.lock:
            self.crowd.chats[self.user].remove(chat)
        self.browser.delete(chat)
        assert 404 == status_of(self.browser.said, chat)


DEEDS = (
    *[Device.ask] * 4,
    *[Device.read] * 3,
    *[Device.look] * 2,
    Device.begin,
    Device.leave,
    Device.regenerate,
    Device.branch,
    Device.search,
    Device.intrude,
    Device.forge,
    Device.delete,
)


def mixed(server: Server, open_: Open, url: str, requests: int, processes: int) -> dict[str, int]:
    """Do about *requests* things from a crowd at once; count errors, other people's data, and connections left out."""
    with server:
        crowd = Crowd(server, open_)
        crowd.run(requests)
        foreign = [fault for fault in crowd.faults if "other people's" in fault]
        counts = {
            "errors": len(crowd.faults) - len(foreign),
            "other_peoples_data": len(foreign) + strays(url),
            "connections_left_out": left_out(server, url, processes),
        }
        assert {0} == set(counts.values()), f"{counts}\n{crowd.faults[:5]}\n{server.log()[-3000:]}"
        return {"requests": crowd.requests, **counts}


def strays(url: str) -> int:
    """Count the messages that are stored in a chat of somebody they do not come from; an owner's id may be any."""
    wrong, names = 0, dict[str | None, str]()
    with chatstore.connect(url) as repository:
        cursor = None
        while True:
            page = repository.list_sessions(limit=1000, cursor=cursor)
            for one in page.items:
                for message in repository.get_messages(one.session_id):
                    text = str(message.content)
                    if message.type == "human":  # it begins with the name of who asks
                        name = text.partition(" ")[0]
                        wrong += name != names.setdefault(one.user_id, name)
                    # An answer whose client left before its first word is nobody's.
                    wrong += text != "" and not text.startswith(names[one.user_id])
            if (cursor := page.next_cursor) is None:
                assert names, "nobody has said anything"
                return wrong + len(names) - len(set(names.values()))


def left_out(server: Server, url: str, processes: int) -> int:
    """Count the connections that stay checked out, or in a transaction; an answer is sent before the end."""
    deadline = time.monotonic() + SECONDS
    while True:
        out = sum(process["out"] for process in server.inside(processes).values())
        if (found := out + open_transactions(url)) == 0 or time.monotonic() > deadline:
            return int(found)
        time.sleep(0.1)  # between two looks


def open_transactions(url: str) -> int:
    """Count the connections to a server's database that hold a transaction open; 0 on SQLite."""
    if url.startswith("sqlite"):
        return 0
    question = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        if url.startswith("postgresql")
        else "SELECT COUNT(*) FROM information_schema.innodb_trx"
    )
    with databases.connection(url) as cursor:
        cursor.execute(question)
        (found,) = cursor.fetchone()
    return int(found)
