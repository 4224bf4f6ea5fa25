"""An HTTP server that answers the requests by which azure-cosmos reads all documents of a container.

Knows the account, the container, its one range of partition keys, and one query, in pages; everything else is 501,
and every request that could write is kept in *writes*.
"""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "c2VjcmV0IGtleSBvZiBub2JvZHk="
QUERIES = ("SELECT * FROM c", "SELECT * FROM c WHERE c.id = @session")


class Container:
    """The documents of the container ``chats/history``, and what was asked of it."""

    def __init__(self) -> None:
        """Begin empty."""
        self.documents: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.pages = 0
        self.status = 200
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    """Answers for *container*."""

    container: Container
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with what the account, the container or its ranges are."""
        match self.path.strip("/").split("/"):
            case [""]:
                self.answer(200, account(self.container.url))
            case ["dbs", "chats", "colls", "history"]:
                paths = {"paths": ["/user_id"], "kind": "Hash"}
                self.answer(200, {"id": "history", "_rid": "abc=", "partitionKey": paths})
            case ["dbs", "chats", "colls", "history", "pkranges"]:
                one = {"id": "0", "minInclusive": "", "maxExclusive": "FF"}
                self.answer(200, {"PartitionKeyRanges": [one], "_count": 1}, {"etag": '"1"'})
            case _:
                self.answer(404, {"code": "NotFound"})

    def do_POST(self) -> None:
        """Answer a query."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers.get("x-ms-documentdb-isquery", "").lower() != "true":
            self.container.writes.append(self.path)
            self.answer(501, {"code": "NotImplemented"})
        elif "history" not in self.path:
            self.answer(404, {"code": "NotFound"})
        elif self.container.status != 200:
            self.answer(self.container.status, {"code": "Refused", "message": "secret text of the server"})
        elif asked.get("query") not in QUERIES:
            self.answer(501, {"code": "NotImplemented"})
        else:
            self.page([one["value"] for one in asked.get("parameters") or []])

    def page(self, wanted: list[Any]) -> None:
        """Answer with as many documents as were asked for, and how to go on."""
        found = [one for one in self.container.documents if not wanted or one["id"] in wanted]
        start = int(self.headers.get("x-ms-continuation") or 0)
        end = start + int(self.headers["x-ms-max-item-count"])
        self.container.pages += 1
        more = {"x-ms-continuation": str(end)} if end < len(found) else {}
        self.answer(200, {"Documents": found[start:end], "_count": len(found[start:end])}, more)

    def answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Send *body* as JSON."""
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(text))}.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    def refuse(self) -> None:
        """Keep a request that would write."""
        self.container.writes.append(f"{self.command} {self.path}")
        self.answer(501, {"code": "NotImplemented"})

    do_PUT = do_DELETE = do_PATCH = refuse

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[Container]:
    """Run a server on a port of its own; its container has the URL to read it by."""
    container = Container()
    handler = type("Handler", (Handler,), {"container": container})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    container.url = f"http://127.0.0.1:{server.server_address[1]}/chats/history"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield container
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def account(url: str) -> dict[str, Any]:
    """Return what the account says of itself: its one place is here."""
    place = [{"name": "here", "databaseAccountEndpoint": url.removesuffix("chats/history")}]
    consistency = {"defaultConsistencyLevel": "Session"}
    return {
        "id": "here",
        "writableLocations": place,
        "readableLocations": place,
        "enableMultipleWriteLocations": False,
        "userConsistencyPolicy": consistency,
    }
