"""The fake's HTTP side: routes, headers, authorization, faults.

Knows the REST interface as the unmodified SDK speaks it, and which of its requests stand for which operation. What
the fake does not do gets 501. Faults are asked for by tests, by the name of an operation; the names are in `_NAMES`.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import re
import socket
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from tests.cosmos_fake import queries
from tests.cosmos_fake.store import RANGES, Container, Refused, Store, range_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The key of every fake, as a connection string would have it.
KEY: Final = base64.b64encode(b"the key of a fake Cosmos DB account, worth nothing").decode()


@dataclass
class Fault:
    """What happens to the next *times* requests of an *operation*.

    *action*: a status to answer with, "drop before" or "drop after" the work is done, "503 after" it, or a function to
    call first.
    """

    operation: str
    action: int | str | Callable[[], object]
    times: int = 1
    retry_after: int = 0
    skip: int = 0


@dataclass
class Fake:
    """A Cosmos DB account on loopback, for as long as the context lasts.

    *asked* counts the requests by operation, *sent* keeps the largest body of each.
    """

    store: Store = field(default_factory=Store)
    faults: list[Fault] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    sent: dict[str, int] = field(default_factory=dict)
    key: str = KEY
    url: str = ""

    def fail(
        self,
        operation: str,
        action: int | str | Callable[[], object],
        times: int = 1,
        *,
        retry_after: int = 0,
        skip: int = 0,
    ) -> None:
        """Let the next *times* requests of *operation*, after *skip* more, meet *action*; milliseconds to wait."""
        self.faults.append(Fault(operation, action, times, retry_after, skip))

    def fault(self, operation: str) -> Fault | None:
        """Count a request, and take the fault that it meets."""
        with self.store.lock:
            self.asked[operation] += 1
            for fault in self.faults:
                if fault.operation in {operation, "any"}:
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    @contextlib.contextmanager
    def running(self, port: int = 0) -> Iterator[Fake]:
        """Serve until the context ends; the address is in ``url``."""
        server = _Server(("127.0.0.1", port), _Handler)
        server.fake = self
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            server.hang_up()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    fake: Fake

    def __init__(self, *arguments: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close what clients keep open: a server that is gone answers nobody."""
        for link in list(self.open):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hung up."""


def _read(body: bytes) -> Any:
    """Read JSON as the service does: numbers are doubles, text is Unicode; 400 for anything else."""
    try:
        found = json.loads(body, parse_int=_number)
        json.dumps(found, ensure_ascii=False).encode()
    except ValueError as fault:
        raise Refused(400, "The request payload is invalid.") from fault
    return found


def _number(text: str) -> int | float:
    return int(text) if abs(int(text)) <= 2**53 else float(text)


class _Dropped(ConnectionError):
    """The connection is closed without an answer."""


_NAMES: Final = (
    ("GET", r"", "account"),
    ("POST", r"dbs", "create database"),
    ("GET", r"dbs/[^/]+", "read database"),
    ("DELETE", r"dbs/[^/]+", "delete database"),
    ("POST", r"dbs/[^/]+/colls", "create container"),
    ("GET", r"dbs/[^/]+/colls/[^/]+", "read container"),
    ("PUT", r"dbs/[^/]+/colls/[^/]+", "replace container"),
    ("DELETE", r"dbs/[^/]+/colls/[^/]+", "delete container"),
    ("GET", r"dbs/[^/]+/colls/[^/]+/pkranges", "partitions"),
    ("POST", r"dbs/[^/]+/colls/[^/]+/docs", "write"),
    ("GET", r"dbs/[^/]+/colls/[^/]+/docs/[^/]+", "read"),
    ("PUT", r"dbs/[^/]+/colls/[^/]+/docs/[^/]+", "replace"),
    ("DELETE", r"dbs/[^/]+/colls/[^/]+/docs/[^/]+", "delete"),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/") if part]
        name = self._name()
        fake = self.server.fake
        fake.sent[name] = max(fake.sent.get(name, 0), len(body))
        try:
            fault = fake.fault(name)
            if fault is not None:
                self._meet(fault, "drop before")
            self._authorize()
            with fake.store.lock:
                status, answer, headers = self._dispatch(name, body)
            if fault is not None:
                self._meet(fault, "drop after")
        except Refused as refused:
            status, headers = refused.status, {**refused.headers, "x-ms-substatus": str(refused.substatus)}
            answer = {"code": str(refused.status), "message": refused.message}
        except _Dropped:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(status, answer, headers)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the base class calls them

    def _meet(self, fault: Fault, moment: str) -> None:
        """Let the request meet its *fault*, if this is the *moment* for it."""
        if fault.action == moment:
            raise _Dropped
        if fault.action == "503 after" and moment == "drop after":
            raise Refused(503, "asked for by a test")
        if moment == "drop before" and callable(fault.action):
            fault.action()
        if moment == "drop before" and isinstance(fault.action, int):
            headers = {"x-ms-retry-after-ms": str(fault.retry_after)} if fault.action == 429 else {}
            substatus = 3200 if fault.action == 429 else 0
            raise Refused(fault.action, "asked for by a test", substatus, headers)

    def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        body = b"" if answer is None else json.dumps(answer, separators=(",", ":")).encode()
        self.send_response(status)
        for name, value in {
            "x-ms-request-charge": "1",
            "x-ms-activity-id": str(uuid.uuid4()),
            **headers,
        }.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # ---- what is asked

    def _flag(self, name: str) -> bool:
        return str(self.headers.get(name, "")).lower() == "true"

    def _name(self) -> str:
        """Return the operation that is asked for; "" for what the fake does not do."""
        path = "/".join(part.replace("/", "%2F") for part in self.parts)
        name = next(
            (n for method, form, n in _NAMES if method == self.command and re.fullmatch(form, path)), ""
        )
        if name == "write":
            if self._flag("x-ms-cosmos-is-batch-request"):
                return "batch" if self._flag("x-ms-cosmos-batch-atomic") else ""
            if self._flag("x-ms-cosmos-is-query-plan-request"):
                return "plan"
            if self._flag("x-ms-documentdb-isquery"):
                return "query"
            return "upsert" if self._flag("x-ms-documentdb-is-upsert") else "create"
        return "" if "A-IM" in self.headers and name != "partitions" else name

    def _authorize(self) -> None:
        """Check the signature of the master key: verb, type, link and date."""
        whole = len(self.parts) % 2 == 0
        kind = (self.parts[-2] if whole else self.parts[-1]) if self.parts else ""
        link = "/".join(self.parts if whole else self.parts[:-1])
        text = f"{self.command.lower()}\n{kind}\n{link}\n{self.headers.get('x-ms-date', '').lower()}\n\n"
        digest = hmac.digest(base64.b64decode(self.server.fake.key), text.encode(), "sha256")
        wanted = f"type=master&ver=1.0&sig={base64.b64encode(digest).decode()}"
        if not hmac.compare_digest(wanted.encode(), unquote(self.headers.get("authorization", "")).encode()):
            raise Refused(401, "The input authorization token can't serve the request.")

    # ---- what is done

    def _dispatch(self, name: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if not name:
            raise Refused(501, f"The fake does not do {self.command} {self.path}.")
        store, sent = self.server.fake.store, _read(body or b"{}")
        if name == "account" or name.endswith(("database", "container")):
            return *self._structure(store, name, sent), {}
        found = store.container(self.parts[1], self.parts[3])
        if name == "partitions":
            return self._partitions(found)
        if name == "plan":
            return 200, queries.plan(sent["query"]), {}
        if name == "query":
            return self._query(store, found, sent)
        return self._document(store, found, name, sent, len(body))

    def _account(self) -> dict[str, Any]:
        here = [{"name": "Fake", "databaseAccountEndpoint": f"{self.server.fake.url}/"}]
        return {
            "id": "fake",
            "writableLocations": here,
            "readableLocations": here,
            "enableMultipleWriteLocations": False,
            "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
        }

    def _structure(self, store: Store, name: str, sent: Any) -> tuple[int, Any]:
        """Do what is about databases and containers."""
        database, container = [*self.parts[1::2], "", ""][:2]
        doing: dict[str, Callable[[], tuple[int, Any]]] = {
            "account": lambda: (200, self._account()),
            "create database": lambda: (201, store.create_database(sent)),
            "read database": lambda: (200, store.database(database)),
            "delete database": lambda: (204, store.delete_database(database)),
            "create container": lambda: (201, store.create_container(database, sent)),
            "read container": lambda: (200, store.container(database, container).properties),
            "replace container": lambda: (200, store.replace_container(database, container, sent)),
            "delete container": lambda: (204, store.delete_container(database, container)),
        }
        return doing[name]()

    def _partitions(self, container: Container) -> tuple[int, Any, dict[str, str]]:
        if self.headers.get("if-none-match") == '"1"':
            return 304, None, {"etag": '"1"'}
        ranges = [
            {"id": name, "_rid": f"range-{name}", "minInclusive": low, "maxExclusive": high, "parents": []}
            for name, low, high in RANGES
        ]
        answer = {"_rid": container.properties["_rid"], "PartitionKeyRanges": ranges, "_count": len(ranges)}
        return 200, answer, {"etag": '"1"'}

    def _seen(self) -> dict[str, int]:
        """Return what the client has seen of each physical partition, from its session token."""
        tokens = (one.partition(":") for one in self.headers.get("x-ms-session-token", "").split(",") if one)
        return {place: int(token.split("#")[1]) for place, _, token in tokens}

    def _token(self, container: Container, place: str) -> dict[str, str]:
        """Return the headers from which a client knows what it has seen."""
        return {
            "x-ms-session-token": f"{place}:0#{container.sequence[place]}",
            "x-ms-documentdb-partitionkeyrangeid": place,
            "x-ms-alt-content-path": "/".join(self.parts[:4]),
        }

    def _query(self, store: Store, container: Container, sent: Any) -> tuple[int, Any, dict[str, str]]:
        count = int(self.headers.get("x-ms-max-item-count") or -1)
        key = self.headers.get("x-ms-documentdb-partitionkey")
        asked = queries.Asked(
            text=sent["query"],
            parameters={one["name"]: one["value"] for one in sent.get("parameters", [])},
            key=json.dumps(json.loads(key)) if key else None,
            range_id=self.headers.get("x-ms-documentdb-partitionkeyrangeid"),
            cross=self._flag("x-ms-documentdb-query-enablecrosspartition"),
            most=count if count > 0 else queries.DEFAULT_COUNT,
            continuation=self.headers.get("x-ms-continuation"),
            seen=self._seen(),
        )
        page, token = queries.answer(store, container, asked)
        headers = {"x-ms-item-count": str(len(page))}
        if token is not None:
            headers["x-ms-continuation"] = token
        place = range_of(asked.key) if asked.key else asked.range_id
        if place is not None:
            headers |= self._token(container, place)
        return 200, {"_rid": container.properties["_rid"], "Documents": page, "_count": len(page)}, headers

    def _document(
        self, store: Store, container: Container, name: str, sent: Any, size: int
    ) -> tuple[int, Any, dict[str, str]]:
        key = self.headers.get("x-ms-documentdb-partitionkey")
        if key is None:
            raise Refused(400, "x-ms-documentdb-partitionkey is missing.")
        key = json.dumps(json.loads(key))
        place = range_of(key)
        if name == "delete":
            sent = None
        if name == "batch":
            answers = store.batch(container, key, sent, size)
            failed = any(answer["statusCode"] >= 400 for answer in answers)
            return (207 if failed else 200), answers, self._token(container, place)
        if name == "read":
            document = store.find(
                container, key, self.parts[5], store.snapshot(container, place, self._seen().get(place))
            )
            if document is None:
                raise Refused(404, "Resource Not Found.", 0, self._token(container, place))
            if self.headers.get("if-none-match") == document["_etag"]:
                return 304, None, self._token(container, place)
            return 200, document, {"etag": document["_etag"], **self._token(container, place)}
        operation = {
            "operationType": name.capitalize(),
            "resourceBody": sent,
            "id": self.parts[5] if len(self.parts) > 5 else None,
            "ifMatch": self.headers.get("if-match"),
            "ifNoneMatch": self.headers.get("if-none-match"),
        }
        try:
            status, document = store.write(container, key, operation)
        except Refused as refused:
            refused.headers |= self._token(container, place)
            raise
        headers = self._token(container, place)
        return status, document or None, headers | ({"etag": document["_etag"]} if document else {})
