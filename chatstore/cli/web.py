"""``web``: the viewer, served on this machine.

This module knows who may reach the server: the loopback interface only, or whoever has the token. It refuses to know
what the pages show.
"""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Final

import click

from chatstore.cli.listening import LOOPBACK, address_of, is_loopback, listen
from chatstore.cli.options import examples, owner_options
from chatstore.cli.output import note, say
from chatstore.cli.target import Refused, Target, on_target
from chatstore.extras import not_installed

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN: Final = "CHATSTORE_WEB_TOKEN"  # noqa: S105 - the name of a variable
#: A token that can be guessed is none.
_SHORTEST: Final = 16


@click.command(
    epilog=examples(
        "chatstore web --url sqlite:///chat.db",
        "chatstore web --user ada --port 8080",
        "chatstore web --host 0.0.0.0 --name support.example --token-new",
    )
)
@owner_options("Show only sessions of this {}.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free."
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="A name, or HOST:PORT, by which browsers reach the viewer; may be repeated. Others are refused.",
)
@click.option(
    "--token",
    envvar=TOKEN,
    metavar="TEXT",
    help=f"What a browser must tell once  [default: {TOKEN}, else none]",
)
@click.option("--token-new", is_flag=True, help="Make a token, and print it.")
@click.option("--allow-delete", is_flag=True, help="Let readers delete conversations.")
@click.option("--allow-export", is_flag=True, help="Let readers download conversations.")
@on_target()
def web(
    target: Target,
    *,
    user: str | None,
    tenant: str | None,
    host: str,
    port: int,
    names: tuple[str, ...],
    token: str | None,
    token_new: bool,
    allow_delete: bool,
    allow_export: bool,
) -> None:
    """Show conversations in a browser, until Ctrl-C.

    Pages only read. Without a token the viewer listens on the loopback interface only, so that nobody else reaches it.
    """
    try:
        from werkzeug.serving import make_server

        from chatstore.viewer import Viewer
    except ImportError as error:
        raise not_installed("The viewer", "viewer") from error
    token = secrets.token_urlsafe(24) if token_new else token or None
    _refuse_open(host, token)
    with target.reading() as whole:
        whole.list_sessions(limit=1)  # what is wrong with the storage is said before anybody looks
        repository = whole if user is None and tenant is None else whole.scope(user_id=user, tenant_id=tenant)
        listening = listen(host, port)
        port = listening.getsockname()[1]
        viewer = Viewer(
            repository,
            allow_delete=allow_delete,
            allow_export=allow_export,
            hosts=_hosts(host, port, names),
            token=token,
        )
        server = make_server(
            host, port, viewer, threaded=True, request_handler=_handler(), fd=listening.fileno()
        )
        say(f"showing    {target.shown}")
        say(f"at         http://{names[0] if names else address_of(host, listening)}/")
        if token_new:
            say(f"token      {token}")
        note("Ctrl-C ends it")
        sys.stdout.flush()
        try:
            server.serve_forever()
        finally:
            server.server_close()


COMMANDS = (web,)


def _refuse_open(host: str, token: str | None) -> None:
    """Raise `Refused` where somebody else could come in without a token, or guess it."""
    if token is not None and len(token) < _SHORTEST:
        msg = f"the token is short enough to be guessed: use {_SHORTEST} characters or more, or --token-new"
        raise Refused(msg)
    if token is None and not is_loopback(host):
        msg = f"on {host} others could read everything: add --token-new, or listen on 127.0.0.1"
        raise Refused(msg)


def _hosts(host: str, port: int, names: Iterable[str]) -> set[str]:
    """Return the values of ``Host`` that are answered: what browsers send for these names."""
    own = {f"[{host}]" if ":" in host else host, *LOOPBACK, "[::1]"}
    found = {f"{name}:{port}" for name in own} | ({*own} if port in {80, 443} else set())
    for name in names:
        found |= {name, f"{name}:{port}"}
    return found


def _handler() -> type:
    """Return the class that reads requests, which logs none: addresses have ids and searches in them."""
    from werkzeug.serving import WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        timeout = 30

        def log(self, type: str, message: str, *args: object) -> None:
            """Log nothing."""

        def version_string(self) -> str:
            return "chatstore"

    return Quiet
