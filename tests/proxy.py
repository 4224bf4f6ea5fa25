"""A TCP proxy on loopback that breaks connections where a test says: before a COMMIT, after it, idle.

Knows bytes and connections, nothing of any protocol: the pattern that triggers a fault is plain bytes or a
predicate on what a client sent. It counts the faults it injects, so that a campaign can say how many it
survived.
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 16
REMEMBERED = 1 << 12  # bytes kept, so that a pattern split over two packets is found
MAX_CONNECTIONS = 256
POLL_SECONDS = 0.05  # how soon a thread sees that the proxy was closed; no answer waits for it
QUIET_SECONDS = 0.03  # a server that has answered and is silent for so long has done its work
SEND_SECONDS = 30.0  # a peer that does not read for so long is cut
RESET = struct.pack("ii", 1, 0)  # as SO_LINGER: closing sends RST, as a peer that died


class Mode(enum.Enum):
    """What happens to connections."""

    #: everything is forwarded
    PASS = enum.auto()
    #: both ends are cut when the pattern comes from a client; the server never sees those bytes
    BEFORE = enum.auto()
    #: the bytes with the pattern are forwarded, the answer is swallowed, then both ends are cut
    AFTER = enum.auto()
    #: every new connection is reset at once
    REFUSE = enum.auto()
    #: connections are accepted, and nothing goes either way
    BLACKHOLE = enum.auto()


class Link:
    """A client's connection, the one to the server behind it, and what was done to them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        """Take both ends."""
        self.client, self.server = client, server
        self.tail = b""
        self.muted = self.answered = self.swallowed = False
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(SEND_SECONDS)

    def cut(self) -> None:
        """Reset both ends; the server rolls back what is open."""
        reset(self.client)
        reset(self.server)


class FaultProxy:
    """Forward 127.0.0.1:`port` to *host*:*port*, and break what `arm` says; a context manager.

    `injected` counts the faults so far.
    """

    def __init__(self, host: str, port: int) -> None:
        """Remember the server; nothing listens before the context is entered."""
        self._upstream = (host, port)
        self._listener = socket.socket()
        self._lock = threading.RLock()
        self._links: set[Link] = set()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._mode, self._left = Mode.PASS, 0
        self._matches: Callable[[bytes], bool] = bool
        self.injected = 0

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(MAX_CONNECTIONS)
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(self, *problem: object) -> None:
        self._closed.set()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        self._listener.close()

    def arm(
        self, mode: Mode, pattern: bytes | Callable[[bytes], bool] = b"COMMIT", *, times: int | None = None
    ) -> None:
        """Switch to *mode*, for open connections too; after *times* faults everything passes again."""
        with self._lock:
            self._mode, self._left = mode, -1 if times is None else times
            self._matches = (lambda sent: pattern in sent) if isinstance(pattern, bytes) else pattern
            for link in self._links:
                link.tail = b""
                if link.swallowed:
                    link.cut()  # its two ends no longer agree on where they are

    def disarm(self) -> None:
        """Pass everything from now on."""
        self.arm(Mode.PASS)

    def cut_all(self) -> int:
        """Reset every open connection, as a firewall does to idle ones; return how many there were."""
        with self._lock:
            links, self._links = self._links, set()
            self.injected += len(links)
        for link in links:
            link.cut()
        return len(links)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._links)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._threads = [*(one for one in self._threads if one.is_alive()), thread]
            thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            if not select.select([self._listener], [], [], POLL_SECONDS)[0]:
                continue
            client, _ = self._listener.accept()
            try:
                self._open(client)
            except OSError:
                reset(client)

    def _open(self, client: socket.socket) -> None:
        if self.connections >= MAX_CONNECTIONS or self._strikes(Mode.REFUSE):
            reset(client)
            return
        link = Link(client, socket.create_connection(self._upstream, 5))
        with self._lock:
            self._links.add(link)
        self._start(lambda: self._pump(link, self._up))
        self._start(lambda: self._pump(link, self._down))

    def _pump(self, link: Link, carry: Callable[[Link], bool]) -> None:
        """Carry bytes one way until an end closes, a fault cuts the link, or the proxy ends."""
        try:
            while not self._closed.is_set() and carry(link):
                pass
        except (OSError, ValueError):
            pass  # an end was closed by its peer, or by the other thread of this link
        finally:
            with self._lock:
                self._links.discard(link)
            link.cut()

    def _up(self, link: Link) -> bool:
        """Forward what the client sends, or inject the fault; False when the link is to be cut."""
        if not select.select([link.client], [], [], POLL_SECONDS)[0]:
            return True
        data = link.client.recv(CHUNK)
        if not data:
            return False
        if self._swallows(link):
            return True
        sent = link.tail + data
        link.tail = sent[-REMEMBERED:]
        if not link.muted:
            if self._strikes(Mode.BEFORE, sent):
                return False
            link.muted = self._strikes(Mode.AFTER, sent)
        link.server.sendall(data)  # also what follows the pattern, until the server has answered
        return True

    def _down(self, link: Link) -> bool:
        """Forward what the server answers; False when it closes, or has finished a muted answer."""
        wait = QUIET_SECONDS if link.answered else POLL_SECONDS
        if not select.select([link.server], [], [], wait)[0]:
            return not link.answered
        data = link.server.recv(CHUNK)
        if link.muted:
            link.answered = True
        elif data and not self._swallows(link):
            link.client.sendall(data)
        return bool(data)

    def _strikes(self, mode: Mode, sent: bytes | None = None) -> bool:
        """Tell whether a fault of *mode* happens now, and count it."""
        with self._lock:
            if self._mode is not mode or (sent is not None and not self._matches(sent)):
                return False
            self._count()
            return True

    def _swallows(self, link: Link) -> bool:
        """Tell whether bytes of *link* disappear; the first ones count as a fault."""
        with self._lock:
            if self._mode is Mode.BLACKHOLE and not link.swallowed:
                link.swallowed = True
                self._count()
            return link.swallowed

    def _count(self) -> None:
        self.injected += 1
        self._left -= 1
        if self._left == 0:
            self._mode = Mode.PASS


def reset(end: socket.socket) -> None:
    """Close *end* the hard way."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    end.close()
