"""``serve`` and ``token``: the Conversations API on a port, and who may ask it.

This module knows who may reach the server; it refuses to know what it answers.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from chatstore.cli.listening import LOOPBACK, address_of, is_loopback, listen
from chatstore.cli.options import examples, owner_options
from chatstore.cli.output import note, say
from chatstore.cli.target import Refused, Target, on_target
from chatstore.extras import not_installed

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from chatstore.contrib.conversations import ConversationsAPI


@click.command(
    epilog=examples(
        "chatstore serve --url sqlite:///chat.db",
        "chatstore serve --tokens tokens.json --host 0.0.0.0 --port 8080",
    )
)
@click.option(
    "--tokens",
    metavar="FILE",
    help="Who may ask, and whose conversations they see: a file that chatstore token makes.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free."
)
@on_target()
def serve(target: Target, *, tokens: str | None, host: str, port: int) -> None:
    """Answer OpenAI's clients as their API does, until Ctrl-C.

    This is the Conversations API on your own database. Give a client the address as its base_url. Without --tokens,
    everybody who reaches the server sees everything, so that it then listens on the loopback interface only.
    """
    if tokens is None and not is_loopback(host):
        msg = f"on {host} others could read and change everything: pass --tokens, or listen on 127.0.0.1"
        raise Refused(msg)
    try:
        import uvicorn

        from chatstore.contrib.conversations import ConversationsAPI, Tokens
    except ImportError as error:
        raise not_installed("The server of conversations", "serve") from error
    with target.reading() as repository:
        repository.list_sessions(limit=1)  # what is wrong with the storage is said before anybody asks
    owner = None if tokens is None else Tokens(tokens)
    api = ConversationsAPI(target.url, owner=owner, schema=target.schema)
    listening = listen(host, port)
    say(f"serving    {target.shown}")
    say(f"at         http://{address_of(host, listening)}/v1")
    note("Ctrl-C ends it")
    sys.stdout.flush()
    config = uvicorn.Config(_application(api, guarded=owner is None), log_level="warning", access_log=False)
    with listening, suppress(KeyboardInterrupt):  # which uvicorn raises once more when it has ended
        uvicorn.Server(config).run(sockets=[listening])


def _application(api: ConversationsAPI, *, guarded: bool) -> Starlette:
    """Return *api* below ``/v1``; if *guarded*, a page of another site in a browser here cannot ask it."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Mount

    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))] if guarded else []
    return Starlette(routes=[Mount("/v1", app=api)], middleware=guards, lifespan=api.lifespan)


@click.command(
    epilog=examples(
        "chatstore token tokens.json --user ada", "chatstore token tokens.json --tenant acme --user ada"
    )
)
@click.argument("file")
@owner_options("The {} whose conversations it opens.")
def token(file: str, *, user: str | None, tenant: str | None) -> None:
    """Make a token for `chatstore serve`, and print it once.

    The file keeps only its hash, beside the owner. To take a token back, delete its line: the server reads the file
    again.
    """
    from chatstore.contrib.conversations.tokens import add

    say(add(file, user_id=user, tenant_id=tenant))


COMMANDS = (serve, token)
