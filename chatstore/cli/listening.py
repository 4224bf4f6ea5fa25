"""Where a server of a command listens: addresses that only this machine reaches, and sockets.

This module knows addresses; it refuses to know what is served.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Final

from chatstore.cli.target import Refused

#: The names of hosts by which only this machine is meant.
LOOPBACK: Final = ("127.0.0.1", "localhost")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches *host*."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `Refused` where the port is taken or the address is not here."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, proto)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        msg = f"cannot listen on {host}, port {port} ({error.strerror or error}): choose another --port or --host"
        raise Refused(msg) from error
    return made


def address_of(host: str, listening: socket.socket) -> str:
    """Return what to type to reach a server on *listening*, as in ``127.0.0.1:8000``."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{listening.getsockname()[1]}"
