"""The fault proxy does what it says to a toy server, and counts it."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Self, cast

import pytest

from tests.embedded import free_port, wait_until
from tests.proxy import FaultProxy, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 5.0


class Toy(socketserver.ThreadingTCPServer):
    """Answers each line with the same line in capitals, and remembers it."""

    daemon_threads = True
    lines: list[bytes]


class Lines(socketserver.StreamRequestHandler):
    """One connection to the toy."""

    def handle(self) -> None:
        """Greet, then answer until the client goes."""
        try:
            self.wfile.write(b"hello\n")
            for line in self.rfile:
                cast("Toy", self.server).lines.append(line.strip())
                self.wfile.write(line.upper())
        except ConnectionError:
            pass  # being cut is what these tests do


@pytest.fixture
def toy() -> Iterator[Toy]:
    """Run a toy server."""
    with Toy(("127.0.0.1", 0), Lines) as server:
        server.lines = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(toy: Toy) -> Iterator[FaultProxy]:
    """Put a proxy before the toy; afterwards it must have let go of everything."""
    before = threading.active_count()
    with FaultProxy("127.0.0.1", toy.server_address[1]) as running:
        yield running
    assert running.connections == 0
    wait_until(lambda: threading.active_count() <= before, DEADLINE, "threads of the proxy and the toy")


class Client:
    """A connection through the proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", proxy.port), DEADLINE)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.file.close()
        self.socket.close()

    def greeted(self) -> Self:
        """Read the greeting."""
        if self.file.readline() != b"hello\n":
            raise ConnectionResetError("no greeting")
        return self

    def say(self, text: bytes) -> bytes:
        """Send a line, return the answer; ConnectionError when cut."""
        self.socket.sendall(text + b"\n")
        answer = self.file.readline()
        if not answer:
            raise ConnectionResetError("closed")
        return answer.strip()


def test_it_passes_everything_while_nothing_is_armed(proxy: FaultProxy, toy: Toy) -> None:
    """Bytes go both ways unchanged, also many at once on several connections."""
    long = b"x" * 1_000_000
    with Client(proxy).greeted() as one, Client(proxy).greeted() as two:
        assert one.say(b"commit") == b"COMMIT"
        assert two.say(long) == long.upper()
        assert proxy.connections == 2

    assert toy.lines == [b"commit", long]
    assert proxy.injected == 0


def test_cut_before_the_pattern_never_reaches_the_server(proxy: FaultProxy, toy: Toy) -> None:
    """The client loses the connection and the server never saw the bytes; then everything passes again."""
    proxy.arm(Mode.BEFORE, b"commit", times=1)

    with Client(proxy).greeted() as client:
        assert client.say(b"insert") == b"INSERT"
        with pytest.raises(ConnectionError):
            client.say(b"commit")
    with Client(proxy).greeted() as again:
        assert again.say(b"commit") == b"COMMIT"

    assert toy.lines == [b"insert", b"commit"]
    assert proxy.injected == 1


def test_cut_after_the_pattern_loses_only_the_answer(proxy: FaultProxy, toy: Toy) -> None:
    """The server did the work, the client lost the connection without a word."""
    proxy.arm(Mode.AFTER, b"commit", times=1)

    with Client(proxy).greeted() as client:
        assert client.say(b"insert") == b"INSERT"
        with pytest.raises(ConnectionError):
            client.say(b"commit")

    assert toy.lines == [b"insert", b"commit"]
    assert proxy.injected == 1


def test_what_follows_the_pattern_still_arrives(proxy: FaultProxy, toy: Toy) -> None:
    """A message longer than a packet is forwarded to its end before the cut."""
    proxy.arm(Mode.AFTER, b"commit", times=1)
    rest = b"x" * 1_000_000

    with Client(proxy).greeted() as client:
        client.socket.sendall(b"commit ")
        with pytest.raises(ConnectionError):
            client.say(rest)

    assert toy.lines == [b"commit " + rest]


def test_a_pattern_split_over_packets_is_found(proxy: FaultProxy, toy: Toy) -> None:
    """What the network cuts in two is still one pattern."""
    proxy.arm(Mode.BEFORE, b"commit")

    with Client(proxy).greeted() as client:
        client.socket.sendall(b"insert\ncom")
        assert client.file.readline() == b"INSERT\n"
        with pytest.raises(ConnectionError):
            client.say(b"mit")

    assert proxy.injected == 1
    assert b"commit" not in toy.lines


def test_a_predicate_chooses_the_victim(proxy: FaultProxy) -> None:
    """A function of the bytes may decide, and what was sent before arming does not count."""
    with Client(proxy).greeted() as client:
        client.say(b"one two")
        proxy.arm(Mode.BEFORE, lambda sent: sent.count(b"two") == 2)
        assert client.say(b"two") == b"TWO"
        with pytest.raises(ConnectionError):
            client.say(b"two")

    assert proxy.injected == 1


def test_idle_connections_are_cut(proxy: FaultProxy) -> None:
    """Every open connection is reset, each counts; new ones work."""
    with Client(proxy).greeted() as one, Client(proxy).greeted() as two:
        assert proxy.cut_all() == 2
        for client in (one, two):
            with pytest.raises(ConnectionError):
                client.say(b"still there?")
    with Client(proxy).greeted() as again:
        assert again.say(b"x") == b"X"

    assert proxy.injected == 2


def test_refuse_keeps_new_connections_out(proxy: FaultProxy) -> None:
    """New connections are reset, as often as armed; an open one goes on."""
    with Client(proxy).greeted() as client:
        proxy.arm(Mode.REFUSE, times=2)
        for _ in range(2):
            with pytest.raises(ConnectionError), Client(proxy) as refused:
                refused.greeted()
        assert client.say(b"y") == b"Y"
    with Client(proxy).greeted() as again:
        assert again.say(b"z") == b"Z"

    assert proxy.injected == 2


def test_a_blackhole_swallows_without_a_sign(proxy: FaultProxy, toy: Toy) -> None:
    """Nothing goes either way, nothing is closed until it is disarmed: then the deaf connections are cut."""
    with contextlib.ExitStack() as clients:
        old = clients.enter_context(Client(proxy)).greeted()
        proxy.arm(Mode.BLACKHOLE)
        new = clients.enter_context(Client(proxy))
        for client in (old, new):
            client.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.say(b"anybody?")
        assert proxy.injected == 2
        proxy.disarm()
        wait_until(lambda: proxy.connections == 0, DEADLINE, "the deaf connections")
    with Client(proxy).greeted() as again:
        assert again.say(b"x") == b"X"

    assert toy.lines == [b"x"]


def test_a_server_that_is_not_there_closes_the_client() -> None:
    """Without a server behind it the proxy accepts and resets; it does not fall over."""
    with FaultProxy("127.0.0.1", free_port()) as proxy:
        for _ in range(2):
            with pytest.raises(ConnectionError), Client(proxy) as client:
                client.greeted()

        assert proxy.injected == 0
